//! Version documents.

use anello_api::rest::{KEYSTONE, Status, Target, Version, version_document, versions_document};
use http::{Method, StatusCode};

use super::{Answer, Call, Route};

/// What is spoken here: Keystone's API of the 2023.2 release and later.
const V3: Version = Version {
    id: "v3.14",
    status: Status::Stable,
    path: "/v3/",
    updated: "2020-04-07T00:00:00Z",
    media_type: Some("application/vnd.openstack.identity-v3+json"),
    microversions: None,
};

const RULE: &str = "identity:versions";

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(Method::GET, "/", RULE, root), Route::new(Method::GET, "/v3", RULE, v3)]
}

/// 300: several choices, of which there is one.
async fn root(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let document = versions_document(&KEYSTONE, &[V3], &call.links);
    Ok(granted.status(StatusCode::MULTIPLE_CHOICES, Some(document)).with("location", &call.links.to(V3.path)))
}

async fn v3(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    Ok(granted.ok(version_document(&KEYSTONE, &V3, &call.links)))
}
