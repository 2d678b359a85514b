//! Services of the catalog.

use anello_api::rest::{Fault, Fields, Target};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, extra, list, with_extra};
use crate::limits::{DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use crate::model::Service;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/services";
    const ONE: &str = "/v3/services/{service_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_services", index),
        Route::new(Method::POST, ALL, "identity:create_service", create),
        Route::new(Method::GET, ONE, "identity:get_service", show),
        Route::new(Method::PATCH, ONE, "identity:update_service", update),
        Route::new(Method::DELETE, ONE, "identity:delete_service", delete),
    ]
}

fn view(call: &Call, service: &Service) -> Value {
    let mut view = json!({
        "id": service.id,
        "type": service.kind,
        "enabled": service.enabled,
        "links": {"self": call.links.to(&format!("/v3/services/{}", service.id))},
    });
    if let Some(name) = &service.name {
        view["name"] = name.as_str().into();
    }
    if let Some(description) = &service.description {
        view["description"] = description.as_str().into();
    }
    with_extra(view, &service.extra)
}

async fn index(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let directory = call.service.directory.view();
    let wanted =
        |it: &Service| call.query.admits("type", &it.kind) && call.query.admits_option("name", it.name.as_deref());
    let rows = directory.services.rows().filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "services", "/v3/services", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let id = call.param("service_id");
    let service = call.service.directory.get::<Service>(id).ok_or_else(|| Fault::missing("service", id))?;
    Ok(granted.ok(json!({"service": view(&call, &service)})))
}

async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "service")?;
    let service = Service {
        id: anello_base::id::hex_id(),
        kind: fields.required("type", NAME_CHARS_MAX)?,
        name: fields.text("name", NAME_CHARS_MAX)?,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?,
        enabled: fields.flag("enabled")?.unwrap_or(true),
        extra: extra(fields),
    };
    let service = call.service.directory.create(service).await?;
    Ok(granted.created(json!({"service": view(&call, &service)})))
}

async fn update(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "service")?;
    let kind = fields.replaced("type", NAME_CHARS_MAX)?;
    let name = fields.text("name", NAME_CHARS_MAX)?;
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    let enabled = fields.flag("enabled")?;
    let extra = extra(fields);
    let change = |it: &mut Service| {
        it.kind = kind.clone().unwrap_or_else(|| it.kind.clone());
        it.name = name.clone().or_else(|| it.name.clone());
        it.description = description.clone().or_else(|| it.description.clone());
        it.enabled = enabled.unwrap_or(it.enabled);
        it.extra.extend(extra.clone());
        Ok(())
    };
    let service = call.service.directory.update(call.param("service_id"), change).await?;
    Ok(granted.ok(json!({"service": view(&call, &service)})))
}

async fn delete(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    call.service.forget::<Service>(call.param("service_id")).await?;
    Ok(granted.no_content())
}
