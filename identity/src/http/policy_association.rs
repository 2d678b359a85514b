//! What a policy is for: an endpoint, a service, or a service in a region (OS-ENDPOINT-POLICY). For an endpoint counts
//! what is said of it, then of its service in its region or the regions around that, then of its service.

use std::sync::Arc;

use anello_api::rest::{Fault, Granted, Target};
use http::Method;
use serde_json::json;

use super::{Answer, Call, Route, endpoint, list, policy};
use crate::directory::View;
use crate::model::{Endpoint, Kept, Policy, PolicyAssociation, Region, Service};

pub(super) fn routes() -> Vec<Route> {
    const PLACES: [&str; 3] = [
        "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}",
        "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}",
        "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}",
    ];
    const RULES: [[&str; 3]; 3] = [
        [
            "identity:create_policy_association_for_endpoint",
            "identity:check_policy_association_for_endpoint",
            "identity:delete_policy_association_for_endpoint",
        ],
        [
            "identity:create_policy_association_for_service",
            "identity:check_policy_association_for_service",
            "identity:delete_policy_association_for_service",
        ],
        [
            "identity:create_policy_association_for_region_and_service",
            "identity:check_policy_association_for_region_and_service",
            "identity:delete_policy_association_for_region_and_service",
        ],
    ];
    const ENDPOINTS: &str = "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints";
    const POLICY: &str = "/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy";
    let mut routes = vec![
        Route::new(Method::GET, ENDPOINTS, "identity:list_endpoints_for_policy", list_endpoints),
        Route::new(Method::GET, POLICY, "identity:get_policy_for_endpoint", show_policy),
    ];
    for (path, [give, ask, take]) in PLACES.into_iter().zip(RULES) {
        routes.push(Route::new(Method::PUT, path, give, create));
        routes.push(Route::new(Method::GET, path, ask, check));
        routes.push(Route::new(Method::DELETE, path, take, delete));
    }
    routes
}

/// The association that the path names, once both ends are there.
fn association(call: &Call) -> Result<(Granted, PolicyAssociation), Fault> {
    let granted = call.authorize(&Target::none())?;
    let policy_id = policy::found(call)?.id.clone();
    let directory = &call.service.directory;
    let named = |name| Some(call.param(name)).filter(|id| !id.is_empty()).map(str::to_owned);
    let (endpoint_id, service_id, region_id) = (named("endpoint_id"), named("service_id"), named("region_id"));
    for (what, id, is_there) in [
        ("endpoint", &endpoint_id, endpoint_id.as_ref().is_none_or(|id| directory.get::<Endpoint>(id).is_some())),
        ("service", &service_id, service_id.as_ref().is_none_or(|id| directory.get::<Service>(id).is_some())),
        ("region", &region_id, region_id.as_ref().is_none_or(|id| directory.get::<Region>(id).is_some())),
    ] {
        if !is_there {
            return Err(Fault::missing(what, id.as_deref().unwrap_or_default()));
        }
    }
    Ok((granted, PolicyAssociation { endpoint_id, service_id, region_id, policy_id }))
}

async fn create(call: Call) -> Answer {
    let (granted, association) = association(&call)?;
    call.service.directory.put(association).await?;
    Ok(granted.no_content())
}

fn known(call: &Call, wanted: &PolicyAssociation) -> Result<(), Fault> {
    let found = call.service.directory.get::<PolicyAssociation>(&wanted.id()).filter(|it| **it == *wanted);
    found.map(|_| ()).ok_or_else(|| Fault::missing("policy association", &wanted.policy_id))
}

async fn check(call: Call) -> Answer {
    let (granted, association) = association(&call)?;
    known(&call, &association)?;
    Ok(granted.no_content())
}

async fn delete(call: Call) -> Answer {
    let (granted, association) = association(&call)?;
    known(&call, &association)?;
    call.service.directory.delete::<PolicyAssociation>(&association.id()).await?;
    Ok(granted.no_content())
}

/// The policy that counts for an endpoint.
fn policy_of(view: &View, endpoint: &Endpoint) -> Option<Arc<Policy>> {
    let find = |endpoint_id: Option<&str>, service_id: Option<&str>, region_id: Option<&str>| {
        let part = |it: Option<&str>| it.unwrap_or_default().to_owned();
        let id = format!("{}|{}|{}", part(endpoint_id), part(service_id), part(region_id));
        view.policy_associations.get(&id)
    };
    let above = |id: &String| view.regions.get(id).and_then(|it| it.parent_region_id.clone());
    let regions = std::iter::successors(endpoint.region_id.clone(), above).take(view.regions.len());
    let service = Some(endpoint.service_id.as_str());
    let by_region = regions.filter_map(|region| find(None, service, Some(&region))).next();
    let association = find(Some(&endpoint.id), None, None).or(by_region).or_else(|| find(None, service, None));
    view.policies.get(&association?.policy_id).cloned()
}

async fn list_endpoints(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let wanted = policy::found(&call)?;
    let view = call.service.directory.view();
    let is_for = |it: &&Arc<Endpoint>| policy_of(&view, it).is_some_and(|policy| policy.id == wanted.id);
    let rows = view.endpoints.iter().filter(is_for).map(|it| (it.id.as_str(), it));
    let path = format!("/v3/policies/{}/OS-ENDPOINT-POLICY/endpoints", wanted.id);
    Ok(granted.ok(list(&call, "endpoints", &path, rows, |it| endpoint::view(&call, it))?))
}

async fn show_policy(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let id = call.param("endpoint_id");
    let endpoint = call.service.directory.get::<Endpoint>(id).ok_or_else(|| Fault::missing("endpoint", id))?;
    let found = policy_of(&call.service.directory.view(), &endpoint);
    let found = found.ok_or_else(|| Fault::missing("policy for endpoint", id))?;
    Ok(granted.ok(json!({"policy": policy::view(&call, &found)})))
}
