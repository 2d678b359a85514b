//! Registered limits: how much of a resource everybody may have, unless a limit says otherwise.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Target};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, list};
use crate::error::Error;
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX, LIMITS_AT_ONCE_MAX, NAME_CHARS_MAX};
use crate::model::{Limit, Region, RegisteredLimit, Service};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/registered_limits";
    const ONE: &str = "/v3/registered_limits/{registered_limit_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_registered_limits", index),
        Route::new(Method::POST, ALL, "identity:create_registered_limits", create),
        Route::new(Method::GET, ONE, "identity:get_registered_limit", show),
        Route::new(Method::PATCH, ONE, "identity:update_registered_limit", update),
        Route::new(Method::DELETE, ONE, "identity:delete_registered_limit", delete),
    ]
}

fn view(call: &Call, limit: &RegisteredLimit) -> Value {
    json!({
        "id": limit.id,
        "service_id": limit.service_id,
        "region_id": limit.region_id,
        "resource_name": limit.resource_name,
        "default_limit": limit.default_limit,
        "description": limit.description,
        "links": {"self": call.links.to(&format!("/v3/registered_limits/{}", limit.id))},
    })
}

async fn index(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let directory = call.service.directory.view();
    let wanted = |it: &RegisteredLimit| {
        call.query.admits("service_id", &it.service_id)
            && call.query.admits_option("region_id", it.region_id.as_deref())
            && call.query.admits("resource_name", &it.resource_name)
    };
    let rows = directory.registered_limits.rows().filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "registered_limits", "/v3/registered_limits", rows, |it| view(&call, it))?))
}

fn found(call: &Call) -> Result<Arc<RegisteredLimit>, Fault> {
    let id = call.param("registered_limit_id");
    call.service.directory.get::<RegisteredLimit>(id).ok_or_else(|| Fault::missing("registered limit", id))
}

async fn show(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    Ok(granted.ok(json!({"registered_limit": view(&call, &*found(&call)?)})))
}

/// A list of limits from a body.
pub(super) fn wanted(call: &Call, plural: &str) -> Result<Vec<Value>, Fault> {
    let body = call.json()?;
    let wanted = body.get(plural).and_then(Value::as_array).cloned();
    let wanted = wanted.ok_or_else(|| Fault::invalid(format!("'{plural}' is a required list")))?;
    if wanted.is_empty() || wanted.len() > LIMITS_AT_ONCE_MAX {
        return Err(Fault::invalid(format!("'{plural}' holds 1 to {LIMITS_AT_ONCE_MAX} limits")));
    }
    Ok(wanted)
}

/// A limit's number: −1 is no limit.
pub(super) fn amount(fields: &mut Fields, name: &str) -> Result<Option<i64>, Fault> {
    let Some(value) = fields.value(name) else { return Ok(None) };
    let amount = value.as_i64().filter(|amount| (-1..=i64::from(i32::MAX)).contains(amount));
    Ok(Some(amount.ok_or_else(|| fields.wrong(name, "is no number from -1 to 2147483647"))?))
}

/// The service and region that a limit names.
pub(super) fn place(call: &Call, fields: &mut Fields) -> Result<(Option<String>, Option<String>), Fault> {
    let service_id = fields.text("service_id", ID_CHARS_MAX)?;
    let region_id = fields.text("region_id", ID_CHARS_MAX)?;
    if service_id.as_ref().is_some_and(|id| call.service.directory.get::<Service>(id).is_none()) {
        return Err(fields.wrong("service_id", "names a service that is not there"));
    }
    if region_id.as_ref().is_some_and(|id| call.service.directory.get::<Region>(id).is_none()) {
        return Err(fields.wrong("region_id", "names a region that is not there"));
    }
    Ok((service_id, region_id))
}

fn parse(call: &Call, value: Value) -> Result<RegisteredLimit, Fault> {
    let mut fields = Fields::bare(value, "registered_limits")?;
    let (service_id, region_id) = place(call, &mut fields)?;
    let default_limit = amount(&mut fields, "default_limit")?;
    Ok(RegisteredLimit {
        id: anello_base::id::hex_id(),
        service_id: service_id.ok_or_else(|| fields.wrong("service_id", "is required"))?,
        region_id,
        resource_name: fields.required("resource_name", NAME_CHARS_MAX)?,
        default_limit: default_limit.ok_or_else(|| fields.wrong("default_limit", "is required"))?,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?,
    })
}

fn is_same(one: &RegisteredLimit, other: &RegisteredLimit) -> bool {
    (&one.service_id, &one.region_id, &one.resource_name) == (&other.service_id, &other.region_id, &other.resource_name)
}

/// 409 where a limit for the same is there, or stands twice in the request.
fn check_new(call: &Call, new: &[RegisteredLimit]) -> Result<(), Fault> {
    let view = call.service.directory.view();
    for (place, limit) in new.iter().enumerate() {
        if view.registered_limits.iter().any(|it| is_same(it, limit))
            || new[..place].iter().any(|it| is_same(it, limit))
        {
            return Err(Fault::conflict(format!("A registered limit for {} is there already.", limit.resource_name)));
        }
    }
    Ok(())
}

async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let new = wanted(&call, "registered_limits")?.into_iter().map(|it| parse(&call, it));
    let new = new.collect::<Result<Vec<_>, _>>()?;
    check_new(&call, &new)?;
    let mut shown = Vec::new();
    for limit in new {
        shown.push(view(&call, &*call.service.directory.create(limit).await?));
    }
    Ok(granted.created(json!({ "registered_limits": shown })))
}

/// 403 where limits of projects or domains stand on it.
fn check_unused(call: &Call, limit: &RegisteredLimit) -> Result<(), Fault> {
    let stands_on_it = |it: &Limit| {
        (&it.service_id, &it.region_id, &it.resource_name)
            == (&limit.service_id, &limit.region_id, &limit.resource_name)
    };
    match call.service.directory.view().limits.iter().any(|it| stands_on_it(it)) {
        true => Err(Fault::forbidden("Limits of projects or domains stand on this registered limit.")),
        false => Ok(()),
    }
}

async fn update(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let limit = found(&call)?;
    let mut fields = Fields::of(call.json()?, "registered_limit")?;
    let mut new = RegisteredLimit::clone(&limit);
    let sets_region = fields.has("region_id");
    let (service_id, region_id) = place(&call, &mut fields)?;
    new.service_id = service_id.unwrap_or(new.service_id);
    if sets_region {
        new.region_id = region_id;
    }
    new.resource_name = fields.replaced("resource_name", NAME_CHARS_MAX)?.unwrap_or(new.resource_name);
    new.default_limit = amount(&mut fields, "default_limit")?.unwrap_or(new.default_limit);
    new.description = fields.text("description", DESCRIPTION_CHARS_MAX)?.or(new.description);
    if !is_same(&new, &limit) {
        check_unused(&call, &limit)?;
        check_new(&call, std::slice::from_ref(&new))?;
    }
    let change = |it: &mut RegisteredLimit| -> Result<(), Error> {
        *it = new.clone();
        Ok(())
    };
    let limit = call.service.directory.update(&limit.id, change).await?;
    Ok(granted.ok(json!({"registered_limit": view(&call, &limit)})))
}

async fn delete(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let limit = found(&call)?;
    check_unused(&call, &limit)?;
    call.service.directory.delete::<RegisteredLimit>(&limit.id).await?;
    Ok(granted.no_content())
}
