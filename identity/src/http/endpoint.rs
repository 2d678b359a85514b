//! Endpoints of the catalog.

use anello_api::rest::{Fault, Fields, Target};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, extra, list, with_extra};
use crate::error::Error;
use crate::limits::{ID_CHARS_MAX, URL_CHARS_MAX};
use crate::model::{Endpoint, Extra, Interface, Region, Service};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/endpoints";
    const ONE: &str = "/v3/endpoints/{endpoint_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_endpoints", index),
        Route::new(Method::POST, ALL, "identity:create_endpoint", create),
        Route::new(Method::GET, ONE, "identity:get_endpoint", show),
        Route::new(Method::PATCH, ONE, "identity:update_endpoint", update),
        Route::new(Method::DELETE, ONE, "identity:delete_endpoint", delete),
    ]
}

pub(super) fn view(call: &Call, endpoint: &Endpoint) -> Value {
    let view = json!({
        "id": endpoint.id,
        "service_id": endpoint.service_id,
        "interface": endpoint.interface.word(),
        "url": endpoint.url,
        "region": endpoint.region_id,
        "region_id": endpoint.region_id,
        "enabled": endpoint.enabled,
        "links": {"self": call.links.to(&format!("/v3/endpoints/{}", endpoint.id))},
    });
    with_extra(view, &endpoint.extra)
}

async fn index(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let directory = call.service.directory.view();
    let wanted = |it: &Endpoint| {
        call.query.admits("interface", it.interface.word())
            && call.query.admits("service_id", &it.service_id)
            && call.query.admits_option("region_id", it.region_id.as_deref())
    };
    let rows = directory.endpoints.rows().filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "endpoints", "/v3/endpoints", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let id = call.param("endpoint_id");
    let endpoint = call.service.directory.get::<Endpoint>(id).ok_or_else(|| Fault::missing("endpoint", id))?;
    Ok(granted.ok(json!({"endpoint": view(&call, &endpoint)})))
}

fn interface(fields: &Fields, word: &str) -> Result<Interface, Fault> {
    Interface::parse(word).ok_or_else(|| fields.wrong("interface", "is none of public, internal and admin"))
}

/// The region of the request. The old name `region` makes one that is not there, as upstream.
async fn region(call: &Call, fields: &mut Fields) -> Result<Option<String>, Fault> {
    let old = fields.text("region", ID_CHARS_MAX)?;
    let Some(id) = fields.text("region_id", ID_CHARS_MAX)?.or_else(|| old.clone()) else { return Ok(None) };
    if call.service.directory.get::<Region>(&id).is_none() {
        if old.is_none() {
            return Err(fields.wrong("region_id", "names a region that is not there"));
        }
        let (description, extra) = (String::new(), Extra::new());
        let region = Region { id: id.clone(), description, parent_region_id: None, extra };
        match call.service.directory.create(region).await {
            Ok(_) | Err(Error::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(id))
}

fn service(call: &Call, fields: &Fields, id: &str) -> Result<(), Fault> {
    let found = call.service.directory.get::<Service>(id);
    found.map(|_| ()).ok_or_else(|| fields.wrong("service_id", "names a service that is not there"))
}

async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "endpoint")?;
    let service_id = fields.required("service_id", ID_CHARS_MAX)?;
    service(&call, &fields, &service_id)?;
    let word = fields.required("interface", ID_CHARS_MAX)?;
    let endpoint = Endpoint {
        id: anello_base::id::hex_id(),
        service_id,
        interface: interface(&fields, &word)?,
        url: fields.required("url", URL_CHARS_MAX)?,
        region_id: region(&call, &mut fields).await?,
        enabled: fields.flag("enabled")?.unwrap_or(true),
        extra: extra(fields),
    };
    let endpoint = call.service.directory.create(endpoint).await?;
    Ok(granted.created(json!({"endpoint": view(&call, &endpoint)})))
}

async fn update(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "endpoint")?;
    let service_id = fields.replaced("service_id", ID_CHARS_MAX)?;
    if let Some(id) = &service_id {
        service(&call, &fields, id)?;
    }
    let word = fields.replaced("interface", ID_CHARS_MAX)?;
    let interface = word.map(|word| interface(&fields, &word)).transpose()?;
    let url = fields.replaced("url", URL_CHARS_MAX)?;
    let region_id = region(&call, &mut fields).await?;
    let enabled = fields.flag("enabled")?;
    let extra = extra(fields);
    let change = |it: &mut Endpoint| {
        it.service_id = service_id.clone().unwrap_or_else(|| it.service_id.clone());
        it.interface = interface.unwrap_or(it.interface);
        it.url = url.clone().unwrap_or_else(|| it.url.clone());
        it.region_id = region_id.clone().or_else(|| it.region_id.clone());
        it.enabled = enabled.unwrap_or(it.enabled);
        it.extra.extend(extra.clone());
        Ok(())
    };
    let endpoint = call.service.directory.update(call.param("endpoint_id"), change).await?;
    Ok(granted.ok(json!({"endpoint": view(&call, &endpoint)})))
}

async fn delete(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    call.service.forget::<Endpoint>(call.param("endpoint_id")).await?;
    Ok(granted.no_content())
}
