//! The catalog as one caller sees it: enabled services and endpoints, with his ids in their addresses.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Authority;
use crate::directory::View;
use crate::model::{Endpoint, Filtered};

/// The services with their endpoints. An endpoint whose address needs an id that the caller has not is left out.
pub(crate) fn catalog(view: &View, authority: &Authority) -> Value {
    let seen = authority.caller.project_id.as_deref().and_then(|id| seen_endpoints(view, id));
    let is_seen = |it: &Endpoint| seen.as_ref().is_none_or(|seen| seen.contains(it.id.as_str()));
    let mut services = Vec::new();
    for service in view.services.iter().filter(|service| service.enabled) {
        let mut endpoints = Vec::new();
        for endpoint in view.endpoints.iter().filter(|it| it.enabled && it.service_id == service.id && is_seen(it)) {
            let Some(url) = substitute(&endpoint.url, authority) else { continue };
            endpoints.push(json!({
                "id": endpoint.id,
                "interface": endpoint.interface.word(),
                "region": endpoint.region_id,
                "region_id": endpoint.region_id,
                "url": url,
            }));
        }
        let name = service.name.as_deref().unwrap_or("");
        services.push(json!({"id": service.id, "type": service.kind, "name": name, "endpoints": endpoints}));
    }
    Value::Array(services)
}

/// The endpoints that a project is associated with, by itself or by groups of them; `None` where it is with none, and
/// sees all.
pub(crate) fn seen_endpoints<'a>(view: &'a View, project_id: &str) -> Option<HashSet<&'a str>> {
    let mut seen = None;
    for filter in view.endpoint_filters.with_prefix(&format!("{project_id}|")) {
        let seen = seen.get_or_insert_with(HashSet::new);
        match &filter.sees {
            Filtered::Endpoint(id) => seen.extend(view.endpoints.get(id).map(|it| it.id.as_str())),
            Filtered::Group(id) => {
                let group = view.endpoint_groups.get(id);
                let endpoints = view.endpoints.iter().filter(|it| group.is_some_and(|group| group.has(it)));
                seen.extend(endpoints.map(|it| it.id.as_str()));
            }
        }
    }
    seen
}

/// Puts ids in the place of `%(project_id)s`, `$(project_id)s` and the like; `None` where one is not there.
fn substitute(template: &str, authority: &Authority) -> Option<String> {
    let mut url = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(start) = rest.find("%(").into_iter().chain(rest.find("$(")).min() {
        let (before, from) = rest.split_at(start);
        let end = from.find(")s")?;
        let value = match from.get(2..end)? {
            "project_id" | "tenant_id" => authority.caller.project_id.as_deref()?,
            "user_id" => &authority.caller.user_id,
            "domain_id" => authority.caller.domain_id.as_deref()?,
            _ => return None,
        };
        url.push_str(before);
        url.push_str(value);
        rest = &from[end + 2..];
    }
    url.push_str(rest);
    Some(url)
}
