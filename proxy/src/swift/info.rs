//! `/info` and `/healthcheck`. What `/info` announces is offered; clients choose by it what they do.

use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::SwiftDoor;
use super::call::Call;
use super::config::{InfoConfig, Middleware};
use super::fault::Fault;
use super::limits::{
    ACCOUNT_NAME_BYTES_MAX, CONTAINER_NAME_BYTES_MAX, DLO_SEGMENTS_MAX, FILE_BYTES_MAX, HEADER_BYTES_MAX,
    LISTING_ENTRIES_MAX, META_BYTES_MAX, META_COUNT_MAX, META_NAME_BYTES_MAX, META_VALUE_BYTES_MAX,
    OBJECT_NAME_BYTES_MAX, SLO_MANIFEST_BYTES_MAX, SLO_SEGMENTS_MAX,
};
use super::reply;
use super::signature::Signature;
use crate::body::Body;
use crate::object::limits::LINKS_MAX;

/// Whom `/info` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Anybody,
    /// Who has signed with the administrators' key.
    Admin,
}

/// GET and HEAD of `/info`.
pub(super) fn read(door: &SwiftDoor, call: &Call) -> Result<Response<Body>, Fault> {
    let reader = reader(&door.config.info, call)?;
    if !door.config.info.expose {
        return Err(Fault::status(StatusCode::FORBIDDEN));
    }
    let mut sections = core(door);
    if door.tempauth.is_some() {
        sections.insert("tempauth".into(), json!({"account_acls": true}));
    }
    let of_core = [
        (Middleware::AccountQuotas, "account_quotas"),
        (Middleware::ContainerQuotas, "container_quotas"),
        (Middleware::ObjectVersioning, "object_versioning"),
    ];
    for (_, name) in of_core.into_iter().filter(|(middleware, _)| door.config.offers(*middleware)) {
        sections.insert(name.into(), json!({}));
    }
    if door.config.offers(Middleware::VersionedWrites) {
        let flags = json!(["x-versions-location", "x-history-location"]);
        sections.insert("versioned_writes".into(), json!({"allowed_flags": flags}));
    }
    if door.config.offers(Middleware::Symlink) {
        sections.insert("symlink".into(), json!({"symloop_max": LINKS_MAX, "static_links": true}));
    }
    for (name, section) in door.layers.iter().flat_map(|layer| layer.announce()) {
        sections.insert(name.into(), section);
    }
    let withheld = &door.config.info.disallowed_sections;
    match reader {
        Reader::Anybody => withheld.iter().for_each(|path| withhold(&mut sections, path)),
        Reader::Admin => {
            let mut admin = json!({"disallowed_sections": withheld});
            if door.config.offers(Middleware::Encryption) {
                admin["encryption"] = json!({"enabled": door.store.is_sealing()});
            }
            sections.insert("admin".into(), admin);
        }
    }
    let text = Value::Object(sections).to_string();
    Ok(reply::with_body(StatusCode::OK, "application/json; charset=UTF-8", text))
}

/// Takes a section away, or a key in it (`section.key`).
fn withhold(sections: &mut Map<String, Value>, path: &str) {
    match path.split_once('.') {
        None => drop(sections.remove(path)),
        Some((section, rest)) => {
            if let Some(inner) = sections.get_mut(section).and_then(Value::as_object_mut) {
                withhold(inner, rest);
            }
        }
    }
}

/// Who asks: an administrator signs method, end and path with his key.
fn reader(config: &InfoConfig, call: &Call) -> Result<Reader, Fault> {
    let (sig, expires) = (call.query.get("swiftinfo_sig"), call.query.get("swiftinfo_expires"));
    if sig.is_none() && expires.is_none() {
        return Ok(Reader::Anybody);
    }
    let denied = || Fault::status(StatusCode::UNAUTHORIZED).with("www-authenticate", "Swift realm=\"unknown\"");
    let (Some(key), Some(sig), Some(expires)) = (&config.admin_key, sig, expires) else {
        return Err(if config.admin_key.is_none() { Fault::status(StatusCode::FORBIDDEN) } else { denied() });
    };
    let end: u64 = expires.parse().map_err(|_| denied())?;
    let signature = Signature::parse(sig).ok_or_else(denied)?;
    let methods: &[&str] = if call.method == http::Method::HEAD { &["HEAD", "GET"] } else { &["GET"] };
    let is_signed = |method: &&str| signature.fits(key.as_bytes(), &format!("{method}\n{end}\n/info"));
    if end < call.now.seconds() || !methods.iter().any(is_signed) {
        return Err(denied());
    }
    Ok(Reader::Admin)
}

/// What the core offers.
fn core(door: &SwiftDoor) -> Map<String, Value> {
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
    let sections = json!({
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
            "allow_async_delete": door.config.slo.allow_async_delete,
        },
        "dlo": {"max_segments": DLO_SEGMENTS_MAX},
        "keystoneauth": {},
    });
    match sections {
        Value::Object(sections) => sections,
        _ => Map::new(),
    }
}

/// GET and HEAD of `/healthcheck`.
pub(super) fn health() -> Response<Body> {
    reply::with_body(StatusCode::OK, "text/plain", "OK")
}
