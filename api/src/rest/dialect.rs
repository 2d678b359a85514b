//! What tells one service's HTTP from another's, declared as data: the shape of its faults, the headers
//! that every answer of it carries, and the envelope of its version list.

use http::StatusCode;
use serde_json::{Value, json};

use super::Fault;

/// How one service speaks.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// For logs.
    pub name: &'static str,
    /// A fault's JSON.
    pub fault: fn(&Fault) -> Value,
    /// Response headers that carry the request id.
    pub request_id_headers: &'static [&'static str],
    /// `Vary` of every answer.
    pub vary: Option<&'static str>,
    /// Path that `WWW-Authenticate: Keystone uri="…"` names, below the service's own root, where a 401
    /// says it.
    pub challenge_path: Option<&'static str>,
    /// Envelope of the version list: `{"versions":{"values":[…]}}` where true, else `{"versions":[…]}`.
    pub nested_versions: bool,
}

/// Keystone's: `{"error":{"code","title","message"}}`.
pub const KEYSTONE: Dialect = Dialect {
    name: "identity",
    fault: keystone_fault,
    request_id_headers: &["x-openstack-request-id"],
    vary: Some("X-Auth-Token"),
    challenge_path: Some("/v3"),
    nested_versions: true,
};

fn keystone_fault(fault: &Fault) -> Value {
    json!({"error": {"code": fault.status.as_u16(), "title": title(fault.status), "message": fault.message}})
}

/// The words of a status line, in the spelling of Python's `http.client`, which clients show to people.
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        status => status.canonical_reason().unwrap_or("Error"),
    }
}
