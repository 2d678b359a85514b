//! Limits of projects and domains. The model is Keystone's *flat*: a limit counts for its project or domain alone.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted, Target};
use http::Method;
use serde_json::{Value, json};

use super::registered_limit::{amount, place, wanted};
use super::{Answer, Call, Route, in_domain, list};
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX, NAME_CHARS_MAX};
use crate::model::{Domain, Limit, Limited, RegisteredLimit};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/limits";
    const ONE: &str = "/v3/limits/{limit_id}";
    vec![
        Route::new(Method::GET, "/v3/limits/model", "identity:get_limit_model", show_model),
        Route::new(Method::GET, ALL, "identity:list_limits", index),
        Route::new(Method::POST, ALL, "identity:create_limits", create),
        Route::new(Method::GET, ONE, "identity:get_limit", show),
        Route::new(Method::PATCH, ONE, "identity:update_limit", update),
        Route::new(Method::DELETE, ONE, "identity:delete_limit", delete),
    ]
}

fn view(call: &Call, limit: &Limit) -> Value {
    let (project_id, domain_id) = match &limit.of {
        Limited::Project(id) => (Some(id), None),
        Limited::Domain(id) => (None, Some(id)),
    };
    json!({
        "id": limit.id,
        "project_id": project_id,
        "domain_id": domain_id,
        "service_id": limit.service_id,
        "region_id": limit.region_id,
        "resource_name": limit.resource_name,
        "resource_limit": limit.resource_limit,
        "description": limit.description,
        "links": {"self": call.links.to(&format!("/v3/limits/{}", limit.id))},
    })
}

async fn show_model(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let description = "Limit enforcement and validation does not take project hierarchy into consideration.";
    Ok(granted.ok(json!({"model": {"name": "flat", "description": description}})))
}

/// Whose the limit is, for the policy: a project's is also its domain's.
fn target(call: &Call, limit: Option<&Limit>) -> Target {
    match limit.map(|it| &it.of) {
        None => Target::none(),
        Some(Limited::Domain(id)) => in_domain(Some(id)),
        Some(Limited::Project(id)) => {
            let domain = call.service.directory.project(id).map(|it| it.domain_id.clone());
            in_domain(domain.as_deref()).with("project_id", id.clone())
        }
    }
}

/// Everybody sees the limits of his own scope; who may see all sees all.
async fn index(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let all: Vec<Arc<Limit>> = call.service.directory.view().limits.iter().cloned().collect();
    let query = &call.query;
    let wanted = |it: &&Arc<Limit>| {
        let (project_id, domain_id) = match &it.of {
            Limited::Project(id) => (Some(id.as_str()), None),
            Limited::Domain(id) => (None, Some(id.as_str())),
        };
        query.admits("service_id", &it.service_id)
            && query.admits_option("region_id", it.region_id.as_deref())
            && query.admits("resource_name", &it.resource_name)
            && query.admits_option("project_id", project_id)
            && query.admits_option("domain_id", domain_id)
            && call.authorize_as("identity:get_limit", &target(&call, Some(it))).is_ok()
    };
    let rows = all.iter().filter(wanted).map(|it| (it.id.as_str(), it));
    Ok(granted.ok(list(&call, "limits", "/v3/limits", rows, |it| view(&call, it))?))
}

fn authorized(call: &Call) -> Result<(Granted, Arc<Limit>), Fault> {
    let id = call.param("limit_id");
    let limit = call.service.directory.get::<Limit>(id);
    let granted = call.authorize(&target(call, limit.as_deref()))?;
    Ok((granted, limit.ok_or_else(|| Fault::missing("limit", id))?))
}

async fn show(call: Call) -> Answer {
    let (granted, limit) = authorized(&call)?;
    Ok(granted.ok(json!({"limit": view(&call, &limit)})))
}

fn of(call: &Call, fields: &mut Fields) -> Result<Limited, Fault> {
    let (project, domain) = (fields.text("project_id", ID_CHARS_MAX)?, fields.text("domain_id", ID_CHARS_MAX)?);
    match (project, domain) {
        (Some(id), None) if call.service.directory.project(&id).is_some() => Ok(Limited::Project(id)),
        (None, Some(id)) if call.service.directory.get::<Domain>(&id).is_some() => Ok(Limited::Domain(id)),
        (Some(id), None) => Err(Fault::invalid(format!("There is no project {id}."))),
        (None, Some(id)) => Err(Fault::invalid(format!("There is no domain {id}."))),
        _ => Err(Fault::invalid("A limit is for exactly one of project_id and domain_id.")),
    }
}

fn parse(call: &Call, value: Value) -> Result<Limit, Fault> {
    let mut fields = Fields::bare(value, "limits")?;
    let of = of(call, &mut fields)?;
    let (service_id, region_id) = place(call, &mut fields)?;
    let resource_limit = amount(&mut fields, "resource_limit")?;
    let limit = Limit {
        id: anello_base::id::hex_id(),
        of,
        service_id: service_id.ok_or_else(|| fields.wrong("service_id", "is required"))?,
        region_id,
        resource_name: fields.required("resource_name", NAME_CHARS_MAX)?,
        resource_limit: resource_limit.ok_or_else(|| fields.wrong("resource_limit", "is required"))?,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?,
    };
    let stands_on = |it: &Arc<RegisteredLimit>| {
        (&it.service_id, &it.region_id, &it.resource_name)
            == (&limit.service_id, &limit.region_id, &limit.resource_name)
    };
    if !call.service.directory.view().registered_limits.iter().any(stands_on) {
        return Err(Fault::forbidden(format!("There is no registered limit for {}.", limit.resource_name)));
    }
    Ok(limit)
}

fn is_same(one: &Limit, other: &Limit) -> bool {
    let key = |it: &Limit| (it.of.clone(), it.service_id.clone(), it.region_id.clone(), it.resource_name.clone());
    key(one) == key(other)
}

async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let new = wanted(&call, "limits")?.into_iter().map(|it| parse(&call, it)).collect::<Result<Vec<_>, _>>()?;
    for (place, limit) in new.iter().enumerate() {
        let is_there = call.service.directory.view().limits.iter().any(|it| is_same(it, limit));
        if is_there || new[..place].iter().any(|it| is_same(it, limit)) {
            return Err(Fault::conflict(format!("A limit for {} is there already.", limit.resource_name)));
        }
    }
    let mut shown = Vec::new();
    for limit in new {
        shown.push(view(&call, &*call.service.directory.create(limit).await?));
    }
    Ok(granted.created(json!({ "limits": shown })))
}

/// Only how much, and the description: for something else there is another limit.
async fn update(call: Call) -> Answer {
    let (granted, limit) = authorized(&call)?;
    let mut fields = Fields::of(call.json()?, "limit")?;
    let amount = amount(&mut fields, "resource_limit")?;
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    if let Some(name) = fields.rest().keys().next() {
        return Err(Fault::invalid(format!("The {name} of a limit can't be changed.")));
    }
    let change = |it: &mut Limit| {
        it.resource_limit = amount.unwrap_or(it.resource_limit);
        it.description = description.clone().or_else(|| it.description.clone());
        Ok(())
    };
    let limit = call.service.directory.update(&limit.id, change).await?;
    Ok(granted.ok(json!({"limit": view(&call, &limit)})))
}

async fn delete(call: Call) -> Answer {
    let (granted, limit) = authorized(&call)?;
    call.service.directory.delete::<Limit>(&limit.id).await?;
    Ok(granted.no_content())
}
