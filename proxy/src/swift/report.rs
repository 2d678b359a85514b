//! The answer of operations on many objects: how many it did, and what failed with which. Its form is
//! Swift's, plain or JSON as `Accept` wants.

use http::{Response, StatusCode};
use serde_json::json;

use super::call::Call;
use super::reply;
use crate::body::Body;

/// 202 with how an operation ended in its body.
pub(super) fn outcome(call: &Call, parts: &http::response::Parts, text: &str) -> Response<Body> {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let line = format!("{} {}", parts.status.as_u16(), parts.status.canonical_reason().unwrap_or(""));
    let is_json = call.header("accept").is_some_and(|accept| accept.contains("application/json"));
    let text = if parts.status.is_success() { "" } else { text };
    let (etag, changed) = (header("etag"), header("last-modified"));
    let (media_type, text) = if is_json {
        let text = json!({
            "Response Status": line, "Response Body": text, "Etag": etag, "Last Modified": changed, "Errors": [],
        });
        ("application/json", text.to_string())
    } else {
        let text = format!(
            "Response Status: {line}\nResponse Body: {text}\nEtag: {etag}\nLast Modified: {changed}\nErrors:\n"
        );
        ("text/plain", text)
    };
    reply::with_body(StatusCode::ACCEPTED, media_type, text)
}

/// What an operation on many objects did.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// How many objects were deleted.
    pub(super) deleted: u64,
    /// How many were not there.
    pub(super) not_found: u64,
    /// Names, and what failed with them.
    pub(super) errors: Vec<(String, String)>,
}

impl Report {
    /// The answer. A failed upload has its status in the status line, a deletion in the body.
    pub(super) fn answer(&self, call: &Call, status: StatusCode) -> Response<Body> {
        let line = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or(""));
        let is_deletion = call.method == http::Method::DELETE;
        let is_json = call.header("accept").is_some_and(|accept| accept.contains("application/json"));
        let (media_type, text) = match (is_json, is_deletion) {
            (true, true) => {
                let text = json!({
                    "Number Deleted": self.deleted, "Number Not Found": self.not_found,
                    "Response Status": line, "Response Body": "", "Errors": self.errors,
                });
                ("application/json", text.to_string())
            }
            (true, false) => ("application/json", json!({"Errors": self.errors}).to_string()),
            (false, _) => ("text/plain", self.plain(&line, is_deletion)),
        };
        reply::with_body(if is_deletion { StatusCode::OK } else { status }, media_type, text)
    }

    fn plain(&self, line: &str, is_deletion: bool) -> String {
        let mut text = String::new();
        if is_deletion {
            text = format!(
                "Number Deleted: {}\nNumber Not Found: {}\nResponse Body: \nResponse Status: {line}\n",
                self.deleted, self.not_found
            );
        }
        text.push_str("Errors:\n");
        for (name, reason) in &self.errors {
            text.push_str(&format!("{name}, {reason}\n"));
        }
        text
    }
}
