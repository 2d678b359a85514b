//! Groups of endpoints, chosen by what the endpoints are (OS-EP-FILTER).

use std::collections::BTreeMap;
use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Target};
use http::Method;
use serde_json::{Map, Value, json};

use super::{Answer, Call, Route, endpoint, list};
use crate::limits::{DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use crate::model::{EndpointGroup, Interface};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/OS-EP-FILTER/endpoint_groups";
    const ONE: &str = "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}";
    const ENDPOINTS: &str = "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/endpoints";
    vec![
        Route::new(Method::GET, ALL, "identity:list_endpoint_groups", index),
        Route::new(Method::POST, ALL, "identity:create_endpoint_group", create),
        Route::new(Method::GET, ONE, "identity:get_endpoint_group", show),
        Route::new(Method::PATCH, ONE, "identity:update_endpoint_group", update),
        Route::new(Method::DELETE, ONE, "identity:delete_endpoint_group", delete),
        Route::new(Method::GET, ENDPOINTS, "identity:list_endpoints_associated_with_endpoint_group", list_endpoints),
    ]
}

pub(super) fn view(call: &Call, group: &EndpointGroup) -> Value {
    json!({
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "filters": group.filters,
        "links": {"self": call.links.to(&format!("/v3/OS-EP-FILTER/endpoint_groups/{}", group.id))},
    })
}

pub(super) fn found(call: &Call) -> Result<Arc<EndpointGroup>, Fault> {
    let id = call.param("endpoint_group_id");
    call.service.directory.get::<EndpointGroup>(id).ok_or_else(|| Fault::missing("endpoint group", id))
}

async fn index(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let directory = call.service.directory.view();
    let rows = directory.endpoint_groups.rows().filter(|(_, it)| call.query.admits("name", &it.name));
    let path = "/v3/OS-EP-FILTER/endpoint_groups";
    Ok(granted.ok(list(&call, "endpoint_groups", path, rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    Ok(granted.ok(json!({"endpoint_group": view(&call, &*found(&call)?)})))
}

async fn list_endpoints(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let group = found(&call)?;
    let directory = call.service.directory.view();
    let rows = directory.endpoints.rows().filter(|(_, it)| group.has(it));
    let path = format!("/v3/OS-EP-FILTER/endpoint_groups/{}/endpoints", group.id);
    Ok(granted.ok(list(&call, "endpoints", &path, rows, |it| endpoint::view(&call, it))?))
}

/// What endpoints must have: attributes that endpoints have, with values that these can have.
fn filters(fields: &mut Fields) -> Result<Option<BTreeMap<String, Value>>, Fault> {
    let Some(filters): Option<Map<String, Value>> = fields.object("filters")? else { return Ok(None) };
    let is_good = |(name, value): (&String, &Value)| match name.as_str() {
        "interface" => value.as_str().and_then(Interface::parse).is_some(),
        "enabled" => value.is_boolean(),
        name => EndpointGroup::FILTERS.contains(&name) && value.is_string(),
    };
    if filters.is_empty() || !filters.iter().all(is_good) {
        return Err(fields.wrong("filters", "does not name service_id, region_id, interface or enabled with a value"));
    }
    Ok(Some(filters.into_iter().collect()))
}

async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "endpoint_group")?;
    let group = EndpointGroup {
        id: anello_base::id::hex_id(),
        name: fields.required("name", NAME_CHARS_MAX)?,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?,
        filters: filters(&mut fields)?.ok_or_else(|| fields.wrong("filters", "is required"))?,
    };
    let group = call.service.directory.create(group).await?;
    Ok(granted.created(json!({"endpoint_group": view(&call, &group)})))
}

async fn update(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let group = found(&call)?;
    let mut fields = Fields::of(call.json()?, "endpoint_group")?;
    // The openstack command sends null for what it does not change.
    let name = fields.text("name", NAME_CHARS_MAX)?;
    if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        return Err(fields.wrong("name", "is empty"));
    }
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    let filters = filters(&mut fields)?;
    let change = |it: &mut EndpointGroup| {
        it.name = name.clone().unwrap_or_else(|| it.name.clone());
        it.description = description.clone().or_else(|| it.description.clone());
        it.filters = filters.clone().unwrap_or_else(|| it.filters.clone());
        Ok(())
    };
    let group = call.service.directory.update(&group.id, change).await?;
    Ok(granted.ok(json!({"endpoint_group": view(&call, &group)})))
}

async fn delete(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let group = found(&call)?;
    call.service.forget::<EndpointGroup>(&group.id).await?;
    Ok(granted.no_content())
}
