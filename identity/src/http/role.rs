//! Roles.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted, Target};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, extra, frees, guard_change, list, merge, options, with_extra};
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX, NAME_CHARS_MAX};
use crate::model::{Domain, Role};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/roles";
    const ONE: &str = "/v3/roles/{role_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_roles", index),
        Route::new(Method::POST, ALL, "identity:create_role", create),
        Route::new(Method::GET, ONE, "identity:get_role", show),
        Route::new(Method::PATCH, ONE, "identity:update_role", update),
        Route::new(Method::DELETE, ONE, "identity:delete_role", delete),
    ]
}

pub(super) fn view(call: &Call, role: &Role) -> Value {
    let view = json!({
        "id": role.id,
        "name": role.name,
        "domain_id": role.domain_id,
        "description": role.description,
        "options": role.options,
        "links": {"self": call.links.to(&format!("/v3/roles/{}", role.id))},
    });
    with_extra(view, &role.extra)
}

/// Managers of a domain see the roles that they may give. The policy learns which domain the caller is in.
fn readable(call: &Call) -> Result<Granted, Fault> {
    let own = call.caller()?.caller.domain_id.clone();
    call.authorize(&own.map_or_else(Target::none, |id| Target::none().with("caller_domain_id", id)))
}

pub(super) fn found(call: &Call, id: &str) -> Result<Arc<Role>, Fault> {
    call.service.directory.get::<Role>(id).ok_or_else(|| Fault::missing("role", id))
}

/// Without `domain_id` the global roles only, as upstream.
async fn index(call: Call) -> Answer {
    let granted = readable(&call)?;
    let domain_id = call.query.get("domain_id");
    let directory = call.service.directory.view();
    let wanted = |it: &Role| it.domain_id.as_deref() == domain_id && call.query.admits("name", &it.name);
    let rows = directory.roles.rows().filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "roles", "/v3/roles", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let granted = readable(&call)?;
    let role = found(&call, call.param("role_id"))?;
    Ok(granted.ok(json!({"role": view(&call, &role)})))
}

async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "role")?;
    let domain_id = fields.text("domain_id", ID_CHARS_MAX)?;
    if let Some(id) = &domain_id {
        call.service.directory.get::<Domain>(id).ok_or_else(|| Fault::missing("domain", id))?;
    }
    let role = Role {
        id: anello_base::id::hex_id(),
        name: fields.required("name", NAME_CHARS_MAX)?,
        domain_id,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?,
        options: options(&mut fields)?.unwrap_or_default(),
        extra: extra(fields),
    };
    let role = call.service.directory.create(role).await?;
    Ok(granted.created(json!({"role": view(&call, &role)})))
}

async fn update(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let role = found(&call, call.param("role_id"))?;
    let mut fields = Fields::of(call.json()?, "role")?;
    let frees = frees(&fields);
    if fields.text("domain_id", ID_CHARS_MAX)?.is_some_and(|id| Some(id) != role.domain_id) {
        return Err(Fault::forbidden("The domain_id of a role can't be changed."));
    }
    let name = fields.replaced("name", NAME_CHARS_MAX)?;
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    let options = options(&mut fields)?;
    let extra = extra(fields);
    let change = |it: &mut Role| {
        guard_change("role", &it.id, &it.options, frees)?;
        it.name = name.clone().unwrap_or_else(|| it.name.clone());
        it.description = description.clone().or_else(|| it.description.clone());
        options.iter().for_each(|options| merge(&mut it.options, options));
        it.extra.extend(extra.clone());
        Ok(())
    };
    let role = call.service.directory.update(&role.id, change).await?;
    Ok(granted.ok(json!({"role": view(&call, &role)})))
}

async fn delete(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let role = found(&call, call.param("role_id"))?;
    guard_change("role", &role.id, &role.options, false)?;
    call.service.forget::<Role>(&role.id).await?;
    Ok(granted.no_content())
}
