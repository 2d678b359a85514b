//! The catalog as one caller sees it: enabled services and endpoints, with his ids in their addresses.

use serde_json::{Value, json};

use super::Authority;
use crate::directory::View;

/// The services with their endpoints. An endpoint whose address needs an id that the caller has not is left out.
pub(crate) fn catalog(view: &View, authority: &Authority) -> Value {
    let mut services = Vec::new();
    for service in view.services.iter().filter(|service| service.enabled) {
        let mut endpoints = Vec::new();
        for endpoint in view.endpoints.iter().filter(|it| it.enabled && it.service_id == service.id) {
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
