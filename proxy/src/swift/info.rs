//! `/info` and `/healthcheck`. What `/info` announces is offered; clients choose by it what they do.

use http::{Response, StatusCode};
use serde_json::json;

use super::SwiftDoor;
use super::limits::{
    ACCOUNT_NAME_BYTES_MAX, CONTAINER_NAME_BYTES_MAX, DLO_SEGMENTS_MAX, FILE_BYTES_MAX, HEADER_BYTES_MAX,
    LISTING_ENTRIES_MAX, META_BYTES_MAX, META_COUNT_MAX, META_NAME_BYTES_MAX, META_VALUE_BYTES_MAX,
    OBJECT_NAME_BYTES_MAX, SLO_MANIFEST_BYTES_MAX, SLO_SEGMENTS_MAX,
};
use super::reply;
use crate::body::Body;

/// GET and HEAD of `/info`.
pub(super) fn read(door: &SwiftDoor) -> Response<Body> {
    let policies = door.store.policies();
    let offered: Vec<_> = policies
        .iter()
        .filter(|policy| !policy.is_deprecated)
        .map(|policy| {
            let name = &policy.name;
            let mut shown = json!({"name": name, "aliases": name});
            if policy.index == policies.default_policy().index {
                shown["default"] = true.into();
            }
            shown
        })
        .collect();
    let text = json!({
        "swift": {
            "version": env!("CARGO_PKG_VERSION"),
            "max_file_size": FILE_BYTES_MAX,
            "max_meta_name_length": META_NAME_BYTES_MAX,
            "max_meta_value_length": META_VALUE_BYTES_MAX,
            "max_meta_count": META_COUNT_MAX,
            "max_meta_overall_size": META_BYTES_MAX,
            "max_header_size": HEADER_BYTES_MAX,
            "extra_header_count": 0,
            "max_account_name_length": ACCOUNT_NAME_BYTES_MAX,
            "max_container_name_length": CONTAINER_NAME_BYTES_MAX,
            "max_object_name_length": OBJECT_NAME_BYTES_MAX,
            "account_listing_limit": LISTING_ENTRIES_MAX,
            "container_listing_limit": LISTING_ENTRIES_MAX,
            "policies": offered,
            "strict_cors_mode": door.config.strict_cors_mode,
            "allow_account_management": door.config.allow_account_management,
            "account_autocreate": true,
            "valid_api_versions": ["v1", "v1.0"],
        },
        "slo": {
            "max_manifest_segments": SLO_SEGMENTS_MAX,
            "max_manifest_size": SLO_MANIFEST_BYTES_MAX,
            "min_segment_size": 1,
            "yield_frequency": 10,
            "allow_async_delete": false,
        },
        "dlo": {"max_segments": DLO_SEGMENTS_MAX},
        "keystoneauth": {},
    });
    reply::with_body(StatusCode::OK, "application/json; charset=UTF-8", text.to_string())
}

/// GET and HEAD of `/healthcheck`.
pub(super) fn health() -> Response<Body> {
    reply::with_body(StatusCode::OK, "text/plain", "OK")
}
