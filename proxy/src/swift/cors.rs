//! Requests from other web sites (CORS): which origins may see a container's answers, as its metadata
//! `Access-Control-Allow-Origin`, `-Max-Age` and `-Expose-Headers` say.

use std::collections::BTreeSet;

use anello_storage::Metadata;
use http::{HeaderMap, Response, StatusCode};

use super::SwiftDoor;
use super::call::Call;
use super::fault::Fault;
use super::policy::{self, Resource};
use super::{metadata, reply};
use crate::body::Body;

/// Headers that every site that is allowed at all may read.
const EXPOSED: [&str; 10] = [
    "cache-control",
    "content-language",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "pragma",
    "x-openstack-request-id",
    "x-timestamp",
    "x-trans-id",
];

/// What a container says of other sites.
struct Sharing<'a> {
    metadata: &'a Metadata,
    always: &'a [String],
}

impl Sharing<'_> {
    fn item(&self, name: &str) -> Option<&str> {
        metadata::value(self.metadata, &format!("x-container-meta-access-control-{name}"))
    }

    fn allows(&self, origin: &str) -> bool {
        let mut listed = self.item("allow-origin").unwrap_or("").split_whitespace();
        let is_listed = listed.any(|allowed| allowed == "*" || allowed == origin);
        is_listed || self.always.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// Says which origin may read the answer.
    fn set_origin(&self, origin: &str, headers: &mut HeaderMap) {
        if self.item("allow-origin").is_some_and(|allowed| allowed.trim() == "*") {
            reply::set(headers, "access-control-allow-origin", "*");
        } else {
            reply::set(headers, "access-control-allow-origin", origin);
            reply::vary(headers, "Origin");
        }
    }
}

/// `OPTIONS`: what is offered, and whether a site that asks beforehand would be let through.
pub(super) async fn preflight(door: &SwiftDoor, call: &Call, resource: Resource) -> Result<Response<Body>, Fault> {
    let methods = policy::allowed(resource);
    let mut response = reply::allow(call, &methods);
    let (Some(origin), Some((account, container))) = (call.header("origin"), call.target.container()) else {
        return Ok(response);
    };
    let info = door.store.container_settings(account, container).await?;
    let metadata = info.map(|info| info.metadata).unwrap_or_default();
    let sharing = Sharing { metadata: &metadata, always: &door.config.cors_allow_origin };
    let asked = call.header("access-control-request-method").unwrap_or("");
    if !sharing.allows(origin) || policy::rule(resource, asked).is_none() {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    let headers = response.headers_mut();
    sharing.set_origin(origin, headers);
    if let Some(age) = sharing.item("max-age") {
        reply::set(headers, "access-control-max-age", age);
    }
    reply::set(headers, "access-control-allow-methods", &methods);
    if let Some(asked) = call.header("access-control-request-headers").filter(|asked| !asked.is_empty()) {
        let names: Vec<_> = asked.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        reply::set(headers, "access-control-allow-headers", names.join(", "));
        reply::vary(headers, "Access-Control-Request-Headers");
    }
    Ok(response)
}

/// Lets the site that a request comes from read the answer, where the container allows it.
pub(super) async fn share(door: &SwiftDoor, call: &Call, response: &mut Response<Body>) -> Result<(), Fault> {
    let (Some(origin), Some((account, container))) = (call.header("origin"), call.target.container()) else {
        return Ok(());
    };
    let info = door.store.container_settings(account, container).await?;
    let metadata = info.map(|info| info.metadata).unwrap_or_default();
    let sharing = Sharing { metadata: &metadata, always: &door.config.cors_allow_origin };
    if door.config.strict_cors_mode && !sharing.allows(origin) {
        return Ok(());
    }
    let headers = response.headers_mut();
    let mut exposed: BTreeSet<String> = EXPOSED.iter().map(|name| (*name).to_owned()).collect();
    let is_metadata = |name: &&str| name.starts_with("x-container-meta") || name.starts_with("x-object-meta");
    exposed.extend(headers.keys().map(http::HeaderName::as_str).filter(is_metadata).map(str::to_owned));
    let more = sharing.item("expose-headers").unwrap_or("").split_whitespace();
    exposed.extend(more.map(|name| name.trim_matches(',').to_ascii_lowercase()));
    let exposed = exposed.into_iter().collect::<Vec<_>>().join(", ");
    reply::set(headers, "access-control-expose-headers", exposed);
    sharing.set_origin(origin, headers);
    Ok(())
}
