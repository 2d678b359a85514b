//! Projects.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Target};
use http::Method;
use serde_json::{Map, Value, json};

use super::project_tag::{admits_tags, tags};
use super::{
    Answer, Call, Route, authorize_list, domain_for_new, extra, frees, guard_change, in_domain, list, merge, options,
    with_extra,
};
use crate::directory::View;
use crate::error::Error;
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX, PROJECT_DEPTH_MAX, PROJECT_NAME_CHARS_MAX};
use crate::model::{Domain, Project, Revoked};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/projects";
    const ONE: &str = "/v3/projects/{project_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_projects", index),
        Route::new(Method::POST, ALL, "identity:create_project", create),
        Route::new(Method::GET, ONE, "identity:get_project", show),
        Route::new(Method::PATCH, ONE, "identity:update_project", update),
        Route::new(Method::DELETE, ONE, "identity:delete_project", delete),
    ]
}

pub(super) fn view(call: &Call, project: &Project) -> Value {
    let view = json!({
        "id": project.id,
        "name": project.name,
        "domain_id": Some(&project.domain_id).filter(|_| !project.is_domain()),
        "parent_id": Some(project.above()).filter(|_| !project.is_domain()),
        "is_domain": project.is_domain(),
        "description": project.description,
        "enabled": project.enabled,
        "tags": project.tags,
        "options": project.options,
        "links": {"self": call.links.to(&format!("/v3/projects/{}", project.id))},
    });
    with_extra(view, &project.extra)
}

fn domain_view(call: &Call, domain: &Domain) -> Value {
    view(call, &Project::acting_as(domain))
}

/// The domain that the path names in the place of a project.
fn domain(call: &Call) -> Option<Arc<Domain>> {
    call.service.directory.get::<Domain>(call.param("project_id"))
}

/// A project for the policy: its id, and its domain's.
pub(super) fn target(project: Option<&Project>) -> Target {
    project.map_or_else(Target::none, |it| in_domain(Some(&it.domain_id)).with("project_id", it.id.clone()))
}

async fn index(call: Call) -> Answer {
    let (granted, own) = authorize_list(&call)?;
    let query = &call.query;
    let wanted = |it: &Project| {
        own.as_ref().is_none_or(|own| *own == it.domain_id)
            && query.admits("name", &it.name)
            && query.admits("domain_id", &it.domain_id)
            && query.admits("parent_id", it.above())
            && query.admits_bool("enabled", it.enabled)
            && admits_tags(query, &it.tags)
    };
    let directory = call.service.directory.view();
    if query.switch("is_domain") {
        let is_own = |it: &Domain| own.as_ref().is_none_or(|own| *own == it.id);
        let wanted = |it: &Domain| {
            is_own(it)
                && query.admits("name", &it.name)
                && query.admits_bool("enabled", it.enabled)
                && admits_tags(query, &it.tags)
        };
        let rows = directory.domains.rows().filter(|(_, it)| wanted(it));
        return Ok(granted.ok(list(&call, "projects", "/v3/projects", rows, |it| domain_view(&call, it))?));
    }
    let rows = super::in_domains::<Project>(&call, &directory).filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "projects", "/v3/projects", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let id = call.param("project_id");
    let project = call.service.directory.project(id);
    let granted = call.authorize(&target(project.as_deref()))?;
    let project = project.ok_or_else(|| Fault::missing("project", id))?;
    let mut shown = view(&call, &project);
    let directory = call.service.directory.view();
    let whole = |it: &Project| json!({"project": view(&call, it)});
    if call.query.switch("parents_as_list") {
        shown["parents"] = parents(&directory, &project).into_iter().map(whole).collect();
    } else if call.query.switch("parents_as_ids") {
        let innermost = if project.is_domain() { Value::Null } else { json!({project.domain_id.clone(): null}) };
        let nested = |inner, it: &Project| json!({it.id.clone(): inner});
        shown["parents"] = parents(&directory, &project).into_iter().rev().fold(innermost, nested);
    }
    if call.query.switch("subtree_as_list") {
        shown["subtree"] = subtree(&directory, id).into_iter().map(whole).collect();
    } else if call.query.switch("subtree_as_ids") {
        shown["subtree"] = subtree_ids(&directory, id);
    }
    Ok(granted.ok(json!({ "project": shown })))
}

/// From the next above to the topmost.
fn parents<'a>(view: &'a View, project: &'a Project) -> Vec<&'a Project> {
    let above = |it: &&'a Project| view.projects.get(it.parent_id.as_deref()?).map(|it| &**it);
    std::iter::successors(Some(project), above).skip(1).take(PROJECT_DEPTH_MAX).collect()
}

fn children<'a>(view: &'a View, id: &'a str) -> impl Iterator<Item = &'a Project> {
    view.projects.iter().map(|it| &**it).filter(move |it| it.above() == id)
}

fn subtree<'a>(view: &'a View, id: &'a str) -> Vec<&'a Project> {
    let mut below: Vec<&Project> = children(view, id).collect();
    let mut next = 0;
    while let Some(project) = below.get(next) {
        below.extend(children(view, &project.id).collect::<Vec<_>>());
        next += 1;
    }
    below
}

fn subtree_ids(view: &View, id: &str) -> Value {
    let below: Map<String, Value> = children(view, id).map(|it| (it.id.clone(), subtree_ids(view, &it.id))).collect();
    if below.is_empty() { Value::Null } else { Value::Object(below) }
}

async fn create(call: Call) -> Answer {
    let mut fields = Fields::of(call.json()?, "project")?;
    if fields.flag("is_domain")? == Some(true) {
        let granted = call.authorize(&Target::none())?;
        if fields.value("domain_id").is_some() || fields.value("parent_id").is_some() {
            return Err(Fault::invalid("A project that acts as a domain is in no domain and below no project."));
        }
        let domain = super::domain::make(&call, fields).await?;
        return Ok(granted.created(json!({"project": domain_view(&call, &domain)})));
    }
    let parent = fields.text("parent_id", ID_CHARS_MAX)?;
    let above = parent.as_deref().and_then(|id| call.service.directory.project(id));
    let domain_id = match &above {
        Some(it) if !fields.has("domain_id") => it.domain_id.clone(),
        _ => domain_for_new(&call, &mut fields)?,
    };
    let parent_project = above.filter(|it| !it.is_domain());
    let granted = call.authorize(&in_domain(Some(&domain_id)))?;
    check_place(&call, parent.as_deref(), parent_project.as_deref(), &domain_id)?;
    let project = Project {
        id: anello_base::id::hex_id(),
        name: fields.required("name", PROJECT_NAME_CHARS_MAX)?,
        parent_id: parent_project.map(|it| it.id.clone()),
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?.unwrap_or_default(),
        enabled: fields.flag("enabled")?.unwrap_or(true),
        tags: fields.list("tags")?.map(tags).transpose()?.unwrap_or_default(),
        options: options(&mut fields)?.unwrap_or_default(),
        extra: extra(fields),
        domain_id,
    };
    let project = call.service.directory.create(project).await?;
    Ok(granted.created(json!({"project": view(&call, &project)})))
}

/// Whether a project may lie there: in a domain that is there, below a project of it that is enabled, not too deep.
fn check_place(call: &Call, parent: Option<&str>, project: Option<&Project>, domain_id: &str) -> Result<(), Fault> {
    let directory = call.service.directory.view();
    directory.domains.get(domain_id).ok_or_else(|| Fault::missing("domain", domain_id))?;
    let Some(project) = project else {
        return match parent {
            Some(id) if id != domain_id => Err(Fault::missing("project", id)),
            _ => Ok(()),
        };
    };
    if project.domain_id != domain_id {
        return Err(Fault::invalid("The parent project is in another domain."));
    }
    if !project.enabled {
        return Err(Fault::forbidden("The parent project is disabled."));
    }
    if parents(&directory, project).len() + 2 > PROJECT_DEPTH_MAX {
        return Err(Fault::forbidden(format!("Projects can't be nested deeper than {PROJECT_DEPTH_MAX}.")));
    }
    Ok(())
}

async fn update(call: Call) -> Answer {
    let id = call.param("project_id");
    if domain(&call).is_some() {
        let granted = call.authorize(&Target::none())?;
        let mut fields = Fields::of(call.json()?, "project")?;
        if fields.flag("is_domain")? == Some(false) {
            return Err(Fault::invalid("A project that acts as a domain stays one."));
        }
        let domain = super::domain::change(&call, id, fields).await?;
        return Ok(granted.ok(json!({"project": domain_view(&call, &domain)})));
    }
    let project = call.service.directory.get::<Project>(id);
    let granted = call.authorize(&target(project.as_deref()))?;
    let project = project.ok_or_else(|| Fault::missing("project", id))?;
    let mut fields = Fields::of(call.json()?, "project")?;
    let frees = frees(&fields);
    for (fixed, is) in [("domain_id", project.domain_id.as_str()), ("parent_id", project.above())] {
        if fields.text(fixed, ID_CHARS_MAX)?.is_some_and(|wanted| wanted != is) {
            return Err(Fault::forbidden(format!("The {fixed} of a project can't be changed.")));
        }
    }
    if fields.flag("is_domain")? == Some(true) {
        return Err(Fault::invalid("A project can't be made to act as a domain."));
    }
    let name = fields.replaced("name", PROJECT_NAME_CHARS_MAX)?;
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    let enabled = fields.flag("enabled")?;
    let new_tags = fields.list("tags")?.map(tags).transpose()?;
    let options = options(&mut fields)?;
    let extra = extra(fields);
    check_enabled(&call, &project, enabled)?;
    let change = |it: &mut Project| {
        guard_change("project", &it.id, &it.options, frees)?;
        it.name = name.clone().unwrap_or_else(|| it.name.clone());
        it.description = description.clone().unwrap_or_else(|| it.description.clone());
        it.enabled = enabled.unwrap_or(it.enabled);
        it.tags = new_tags.clone().unwrap_or_else(|| it.tags.clone());
        options.iter().for_each(|options| merge(&mut it.options, options));
        it.extra.extend(extra.clone());
        Ok(())
    };
    let project = call.service.directory.update(id, change).await?;
    if enabled == Some(false) {
        call.service.revoke(Revoked::Project(project.id.clone())).await?;
    }
    Ok(granted.ok(json!({"project": view(&call, &project)})))
}

/// A disabled project has nothing enabled below it.
fn check_enabled(call: &Call, project: &Project, enabled: Option<bool>) -> Result<(), Error> {
    let directory = call.service.directory.view();
    let clash = match enabled {
        Some(false) => children(&directory, &project.id).any(|it| it.enabled),
        Some(true) => parents(&directory, project).iter().any(|it| !it.enabled),
        None => false,
    };
    if clash {
        return Err(Error::Forbidden("A project below a disabled one can't be enabled.".to_owned()));
    }
    Ok(())
}

async fn delete(call: Call) -> Answer {
    let id = call.param("project_id");
    if domain(&call).is_some() {
        let granted = call.authorize(&Target::none())?;
        super::domain::remove(&call, id).await?;
        return Ok(granted.no_content());
    }
    let project = call.service.directory.get::<Project>(id);
    let granted = call.authorize(&target(project.as_deref()))?;
    let project = project.ok_or_else(|| Fault::missing("project", id))?;
    guard_change("project", id, &project.options, false)?;
    if children(&call.service.directory.view(), id).next().is_some() {
        return Err(Fault::forbidden("Cannot delete a project that has projects below it."));
    }
    call.service.forget::<Project>(id).await?;
    Ok(granted.no_content())
}
