//! Which endpoints, and groups of them, a project sees (OS-EP-FILTER).

use std::sync::Arc;

use anello_api::rest::{Fault, Granted, Target};
use http::Method;
use serde_json::json;

use super::{Answer, Call, Route, endpoint, endpoint_group, list, project};
use crate::model::{Endpoint, EndpointFilter, EndpointGroup, Filtered, Kept, Project};

pub(super) fn routes() -> Vec<Route> {
    const ENDPOINT: &str = "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}";
    const GROUP: &str = "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}";
    const OF_ENDPOINT: &str = "/v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects";
    const OF_GROUP: &str = "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects";
    const ENDPOINTS: &str = "/v3/OS-EP-FILTER/projects/{project_id}/endpoints";
    const GROUPS: &str = "/v3/OS-EP-FILTER/projects/{project_id}/endpoint_groups";
    vec![
        Route::new(Method::PUT, ENDPOINT, "identity:add_endpoint_to_project", create),
        Route::new(Method::GET, ENDPOINT, "identity:check_endpoint_in_project", check),
        Route::new(Method::DELETE, ENDPOINT, "identity:remove_endpoint_from_project", delete),
        Route::new(Method::PUT, GROUP, "identity:add_endpoint_group_to_project", create),
        Route::new(Method::GET, GROUP, "identity:get_endpoint_group_in_project", show_group),
        Route::new(Method::DELETE, GROUP, "identity:remove_endpoint_group_from_project", delete),
        Route::new(Method::GET, OF_ENDPOINT, "identity:list_projects_for_endpoint", list_projects),
        Route::new(Method::GET, OF_GROUP, "identity:list_projects_associated_with_endpoint_group", list_projects),
        Route::new(Method::GET, ENDPOINTS, "identity:list_endpoints_for_project", list_endpoints),
        Route::new(Method::GET, GROUPS, "identity:list_endpoint_groups_for_project", list_groups),
    ]
}

fn project(call: &Call) -> Result<Arc<Project>, Fault> {
    let id = call.param("project_id");
    call.service.directory.project(id).ok_or_else(|| Fault::missing("project", id))
}

/// The endpoint or group that the path names.
fn named(call: &Call) -> Result<Filtered, Fault> {
    if call.param("endpoint_id").is_empty() {
        return Ok(Filtered::Group(endpoint_group::found(call)?.id.clone()));
    }
    let id = call.param("endpoint_id");
    let endpoint = call.service.directory.get::<Endpoint>(id).ok_or_else(|| Fault::missing("endpoint", id))?;
    Ok(Filtered::Endpoint(endpoint.id.clone()))
}

fn association(call: &Call) -> Result<(Granted, EndpointFilter), Fault> {
    let granted = call.authorize(&Target::none())?;
    Ok((granted, EndpointFilter { project_id: project(call)?.id.clone(), sees: named(call)? }))
}

fn known(call: &Call, association: &EndpointFilter) -> Result<(), Fault> {
    let found = call.service.directory.get::<EndpointFilter>(&association.id());
    found.map(|_| ()).ok_or_else(|| Fault::missing("endpoint association with project", &association.project_id))
}

async fn create(call: Call) -> Answer {
    let (granted, association) = association(&call)?;
    call.service.directory.put(association).await?;
    Ok(granted.no_content())
}

async fn check(call: Call) -> Answer {
    let (granted, association) = association(&call)?;
    known(&call, &association)?;
    Ok(granted.no_content())
}

async fn show_group(call: Call) -> Answer {
    let (granted, association) = association(&call)?;
    known(&call, &association)?;
    let group = endpoint_group::found(&call)?;
    Ok(granted.ok(json!({"endpoint_group": endpoint_group::view(&call, &group)})))
}

async fn delete(call: Call) -> Answer {
    let (granted, association) = association(&call)?;
    known(&call, &association)?;
    call.service.directory.delete::<EndpointFilter>(&association.id()).await?;
    Ok(granted.no_content())
}

async fn list_projects(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let sees = named(&call)?;
    let path = match &sees {
        Filtered::Endpoint(id) => format!("/v3/OS-EP-FILTER/endpoints/{id}/projects"),
        Filtered::Group(id) => format!("/v3/OS-EP-FILTER/endpoint_groups/{id}/projects"),
    };
    let directory = call.service.directory.view();
    let who = directory.endpoint_filters.iter().filter(|it| it.sees == sees);
    let rows = who.filter_map(|it| Some((it.project_id.as_str(), directory.project(&it.project_id)?)));
    Ok(granted.ok(list(&call, "projects", &path, rows, |it| project::view(&call, &it))?))
}

async fn list_endpoints(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let project = project(&call)?;
    let directory = call.service.directory.view();
    let seen = crate::auth::seen_endpoints(&directory, &project.id);
    let is_seen = |it: &Endpoint| seen.as_ref().is_some_and(|seen| seen.contains(it.id.as_str()));
    let rows = directory.endpoints.rows().filter(|(_, it)| is_seen(it));
    let path = format!("/v3/OS-EP-FILTER/projects/{}/endpoints", project.id);
    Ok(granted.ok(list(&call, "endpoints", &path, rows, |it| endpoint::view(&call, it))?))
}

async fn list_groups(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let project = project(&call)?;
    let directory = call.service.directory.view();
    let own = directory.endpoint_filters.with_prefix(&format!("{}|", project.id));
    let groups = own.filter_map(|it| match &it.sees {
        Filtered::Group(id) => directory.endpoint_groups.get(id),
        Filtered::Endpoint(_) => None,
    });
    let rows = groups.map(|it: &Arc<EndpointGroup>| (it.id.as_str(), it));
    let path = format!("/v3/OS-EP-FILTER/projects/{}/endpoint_groups", project.id);
    Ok(granted.ok(list(&call, "endpoint_groups", &path, rows, |it| endpoint_group::view(&call, it))?))
}
