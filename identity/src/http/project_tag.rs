//! Labels of projects, and of domains, each of which is also a project.

use std::collections::BTreeSet;
use std::sync::Arc;

use anello_api::rest::{Fault, Granted, Query, Target};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::project::target;
use super::{Answer, Call, Route, guard_change};
use crate::error::Error;
use crate::limits::{NAME_CHARS_MAX, TAGS_MAX};
use crate::model::{Domain, Project};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/projects/{project_id}/tags";
    const ONE: &str = "/v3/projects/{project_id}/tags/{tag}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_project_tags", index),
        Route::new(Method::PUT, ALL, "identity:update_project_tags", replace),
        Route::new(Method::DELETE, ALL, "identity:delete_project_tags", clear),
        Route::new(Method::GET, ONE, "identity:get_project_tag", check),
        Route::new(Method::PUT, ONE, "identity:create_project_tag", add),
        Route::new(Method::DELETE, ONE, "identity:delete_project_tag", remove),
    ]
}

/// Labels from a request: at most [`TAGS_MAX`], each of 1 to 255 characters without `/` and `,`.
pub(super) fn tags(list: Vec<Value>) -> Result<BTreeSet<String>, Fault> {
    let is_tag = |text: &&str| !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.contains(['/', ',']);
    let tags = list.iter().map(|tag| tag.as_str().filter(is_tag).map(str::to_owned));
    let tags: Option<BTreeSet<String>> = tags.collect();
    match tags {
        Some(tags) if tags.len() <= TAGS_MAX => Ok(tags),
        Some(_) => Err(Fault::invalid(format!("A project has at most {TAGS_MAX} tags."))),
        None => Err(Fault::invalid("A tag has 1 to 255 characters, none of them '/' or ','.")),
    }
}

/// The filters `tags` (all of these), `tags-any`, `not-tags` (not all of these) and `not-tags-any`.
pub(super) fn admits_tags(query: &Query, tags: &BTreeSet<String>) -> bool {
    let all = |list: &str| list.split(',').all(|tag| tags.contains(tag));
    let any = |list: &str| list.split(',').any(|tag| tags.contains(tag));
    query.get("tags").is_none_or(all)
        && query.get("tags-any").is_none_or(any)
        && !query.get("not-tags").is_some_and(all)
        && !query.get("not-tags-any").is_some_and(any)
}

fn authorized(call: &Call, is_change: bool) -> Result<(Granted, Arc<Project>), Fault> {
    let id = call.param("project_id");
    let project = call.service.directory.project(id);
    // As a domain is changed by the cloud's administrators alone, so are its labels.
    let of = if is_change && project.as_ref().is_some_and(|it| it.is_domain()) {
        Target::none()
    } else {
        target(project.as_deref())
    };
    let granted = call.authorize(&of)?;
    Ok((granted, project.ok_or_else(|| Fault::missing("project", id))?))
}

fn shown(call: &Call, tags: &BTreeSet<String>) -> Value {
    let path = call.links.to(&format!("/v3/projects/{}/tags", call.param("project_id")));
    json!({"tags": tags, "links": {"self": path, "next": null, "previous": null}})
}

/// Changes the labels, and tells what they are then.
async fn set(call: &Call, change: impl Fn(&mut BTreeSet<String>) + Send + Sync) -> Result<BTreeSet<String>, Error> {
    let apply = |tags: &mut BTreeSet<String>| {
        change(tags);
        match tags.len() > TAGS_MAX {
            true => Err(Error::Invalid(format!("A project has at most {TAGS_MAX} tags."))),
            false => Ok(()),
        }
    };
    let (directory, id) = (&call.service.directory, call.param("project_id"));
    if directory.get::<Domain>(id).is_some() {
        let change = |it: &mut Domain| {
            guard_change("domain", &it.id, &it.options, false)?;
            apply(&mut it.tags)
        };
        return Ok(directory.update(id, change).await?.tags.clone());
    }
    let change = |it: &mut Project| {
        guard_change("project", &it.id, &it.options, false)?;
        apply(&mut it.tags)
    };
    Ok(directory.update(id, change).await?.tags.clone())
}

async fn index(call: Call) -> Answer {
    let (granted, project) = authorized(&call, false)?;
    Ok(granted.ok(shown(&call, &project.tags)))
}

async fn replace(call: Call) -> Answer {
    let (granted, _) = authorized(&call, true)?;
    let body = call.json()?;
    let list = body.get("tags").and_then(Value::as_array).cloned();
    let wanted = tags(list.ok_or_else(|| Fault::invalid("'tags' is a required list"))?)?;
    let tags = set(&call, |tags| tags.clone_from(&wanted)).await?;
    Ok(granted.ok(shown(&call, &tags)))
}

async fn clear(call: Call) -> Answer {
    let (granted, _) = authorized(&call, true)?;
    set(&call, BTreeSet::clear).await?;
    Ok(granted.no_content())
}

async fn check(call: Call) -> Answer {
    let (granted, project) = authorized(&call, false)?;
    match project.tags.contains(call.param("tag")) {
        true => Ok(granted.no_content()),
        false => Err(Fault::missing("project tag", call.param("tag"))),
    }
}

async fn add(call: Call) -> Answer {
    let (granted, _) = authorized(&call, true)?;
    let wanted = tags(vec![call.param("tag").into()])?;
    set(&call, |tags| tags.extend(wanted.clone())).await?;
    Ok(granted.status(StatusCode::CREATED, None))
}

async fn remove(call: Call) -> Answer {
    let (granted, project) = authorized(&call, true)?;
    let tag = call.param("tag");
    if !project.tags.contains(tag) {
        return Err(Fault::missing("project tag", tag));
    }
    set(&call, |tags| tags.retain(|held| held != tag)).await?;
    Ok(granted.no_content())
}
