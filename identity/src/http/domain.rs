//! Domains.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Target};
use http::Method;
use serde_json::{Value, json};

use super::project_tag::tags;
use super::{Answer, Call, Route, extra, frees, guard_change, in_domain, list, merge, options, with_extra};
use crate::cascade::Cascades;
use crate::directory::View;
use crate::error::Error;
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX, PROJECT_NAME_CHARS_MAX};
use crate::model::{Domain, DomainConfig, Grant, Group, Limit, Limited, Project, Revoked, Role, Scope, User};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/domains";
    const ONE: &str = "/v3/domains/{domain_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_domains", index),
        Route::new(Method::POST, ALL, "identity:create_domain", create),
        Route::new(Method::GET, ONE, "identity:get_domain", show),
        Route::new(Method::PATCH, ONE, "identity:update_domain", update),
        Route::new(Method::DELETE, ONE, "identity:delete_domain", delete),
    ]
}

pub(super) fn view(call: &Call, domain: &Domain) -> Value {
    let view = json!({
        "id": domain.id,
        "name": domain.name,
        "description": domain.description,
        "enabled": domain.enabled,
        "tags": domain.tags,
        "options": domain.options,
        "links": {"self": call.links.to(&format!("/v3/domains/{}", domain.id))},
    });
    with_extra(view, &domain.extra)
}

async fn index(call: Call) -> Answer {
    let own = call.caller()?.caller.domain_id.clone();
    let granted = call.authorize(&in_domain(own.as_deref()))?;
    let query = &call.query;
    let wanted = |it: &Domain| {
        own.as_ref().is_none_or(|own| *own == it.id)
            && query.admits("name", &it.name)
            && query.admits_bool("enabled", it.enabled)
    };
    let directory = call.service.directory.view();
    let rows = directory.domains.rows().filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "domains", "/v3/domains", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let id = call.param("domain_id");
    let granted = call.authorize(&in_domain(Some(id)))?;
    let domain = call.service.directory.get::<Domain>(id).ok_or_else(|| Fault::missing("domain", id))?;
    Ok(granted.ok(json!({"domain": view(&call, &domain)})))
}

async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let domain = make(&call, Fields::of(call.json()?, "domain")?).await?;
    Ok(granted.created(json!({"domain": view(&call, &domain)})))
}

/// Makes a domain, also where it is asked for as a project.
pub(super) async fn make(call: &Call, mut fields: Fields) -> Result<Arc<Domain>, Fault> {
    let id = fields.text("explicit_domain_id", ID_CHARS_MAX)?;
    if id.as_ref().is_some_and(|id| id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(fields.wrong("explicit_domain_id", "is not 32 hex digits"));
    }
    // A project that acts as a domain has the domain's id.
    if id.as_ref().is_some_and(|id| call.service.directory.get::<Project>(id).is_some()) {
        return Err(Fault::conflict("A project has this id."));
    }
    let domain = Domain {
        id: id.unwrap_or_else(anello_base::id::hex_id),
        name: fields.required("name", PROJECT_NAME_CHARS_MAX)?,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?.unwrap_or_default(),
        enabled: fields.flag("enabled")?.unwrap_or(true),
        tags: fields.list("tags")?.map(tags).transpose()?.unwrap_or_default(),
        options: options(&mut fields)?.unwrap_or_default(),
        extra: extra(fields),
    };
    Ok(call.service.directory.create(domain).await?)
}

async fn update(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let fields = Fields::of(call.json()?, "domain")?;
    let domain = change(&call, call.param("domain_id"), fields).await?;
    Ok(granted.ok(json!({"domain": view(&call, &domain)})))
}

/// Changes a domain, also where it is named as a project.
pub(super) async fn change(call: &Call, id: &str, mut fields: Fields) -> Result<Arc<Domain>, Fault> {
    let frees = frees(&fields);
    let name = fields.replaced("name", PROJECT_NAME_CHARS_MAX)?;
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    let enabled = fields.flag("enabled")?;
    let new_tags = fields.list("tags")?.map(tags).transpose()?;
    let options = options(&mut fields)?;
    let extra = extra(fields);
    let change = |it: &mut Domain| {
        guard_change("domain", &it.id, &it.options, frees)?;
        it.name = name.clone().unwrap_or_else(|| it.name.clone());
        it.description = description.clone().unwrap_or_else(|| it.description.clone());
        it.enabled = enabled.unwrap_or(it.enabled);
        it.tags = new_tags.clone().unwrap_or_else(|| it.tags.clone());
        options.iter().for_each(|options| merge(&mut it.options, options));
        it.extra.extend(extra.clone());
        Ok(())
    };
    let domain = call.service.directory.update(id, change).await?;
    if enabled == Some(false) {
        call.service.revoke(Revoked::Domain(domain.id.clone())).await?;
    }
    Ok(domain)
}

async fn delete(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    remove(&call, call.param("domain_id")).await?;
    Ok(granted.no_content())
}

/// Deletes what is in the domain first, so that a deletion that was cut short is finished by repeating it.
pub(super) async fn remove(call: &Call, id: &str) -> Result<(), Fault> {
    let directory = &call.service.directory;
    let domain = directory.get::<Domain>(id).ok_or_else(|| Fault::missing("domain", id))?;
    guard_change("domain", id, &domain.options, false)?;
    if domain.enabled {
        return Err(Fault::forbidden("Cannot delete a domain that is enabled, please disable it first."));
    }
    guard_contents(&directory.view(), id)?;
    call.service.records.check_settled(id)?;
    // What comes from a directory is no longer shown then. What is in the domain's database is deleted there first.
    let has_database = call.service.records.has(id);
    if !has_database {
        forget_configuration(call, id).await?;
    }
    let ids = |view: &View| -> (Vec<String>, Vec<String>, Vec<String>) {
        (
            view.users.iter().filter(|it| it.domain_id == id).map(|it| it.id.clone()).collect(),
            view.groups.iter().filter(|it| it.domain_id == id).map(|it| it.id.clone()).collect(),
            view.projects.iter().filter(|it| it.domain_id == id).map(|it| it.id.clone()).collect(),
        )
    };
    let (users, groups, projects) = ids(&directory.view());
    for user in &users {
        call.service.forget::<User>(user).await?;
    }
    for group in &groups {
        call.service.forget::<Group>(group).await?;
    }
    for project in &projects {
        call.service.forget::<Project>(project).await?;
    }
    // What was given on the project that acts as the domain, which is no record itself.
    Project::delete_dependents(directory, id).await?;
    directory.delete_all(|it: &Role| it.domain_id.as_deref() == Some(id)).await?;
    directory.delete_all(|it: &Grant| it.scope == Scope::Domain(id.to_owned())).await?;
    directory.delete_all(|it: &Limit| it.of == Limited::Domain(id.to_owned())).await?;
    if has_database {
        forget_configuration(call, id).await?;
    }
    directory.delete::<Domain>(id).await?;
    Ok(())
}

/// 403 where something in the domain is immutable.
fn guard_contents(view: &View, id: &str) -> Result<(), Error> {
    for project in view.projects.iter().filter(|it| it.domain_id == id) {
        guard_change("project", &project.id, &project.options, false)?;
    }
    for role in view.roles.iter().filter(|it| it.domain_id.as_deref() == Some(id)) {
        guard_change("role", &role.id, &role.options, false)?;
    }
    Ok(())
}

async fn forget_configuration(call: &Call, id: &str) -> Result<(), Fault> {
    call.service.directory.delete_all(|it: &DomainConfig| it.domain_id == id).await?;
    call.service.follow_configurations();
    Ok(())
}
