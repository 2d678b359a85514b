//! The answer of operations on many objects: how many it did, and what failed with which. Its form is
//! Swift's, plain or JSON as `Accept` wants.

use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use serde_json::json;

use super::call::Call;
use super::fault::{self, Fault};
use super::reply;
use super::slo::Outcome;
use crate::body::{self, Body};

/// 202 with how the upload of a manifest ended in its body, after the blank that a heartbeat begins with.
pub(super) fn heartbeat(call: &Call, outcome: Result<Outcome, Fault>) -> Response<Body> {
    let (status, etag, changed, errors) = match outcome {
        Ok(Ok((etag, written))) => {
            let changed = reply::http_date(written.timestamp.seconds_ceil());
            (StatusCode::CREATED, Some(etag), Some(changed), Vec::new())
        }
        Ok(Err(report)) => (StatusCode::BAD_REQUEST, None, None, report.errors),
        Err(fault) => (fault.status_code(), None, None, Vec::new()),
    };
    let reason = status.canonical_reason().unwrap_or("");
    let line = format!("{} {reason}", status.as_u16());
    let failure = format!("{reason}\n{}", fault::standing_text(status));
    let text = if status.is_success() { "" } else { failure.as_str() };
    let is_json = call.header("accept").is_some_and(|accept| accept.contains("application/json"));
    let (media_type, text) = if is_json {
        let mut said = json!({"Response Status": line, "Response Body": text, "Errors": errors});
        if let (Some(etag), Some(changed)) = (etag, changed) {
            said["Etag"] = etag.into();
            said["Last Modified"] = changed.into();
        }
        ("application/json", said.to_string())
    } else {
        let mut said = format!("Response Status: {line}\nResponse Body: {text}\n");
        if let (Some(etag), Some(changed)) = (etag, changed) {
            said.push_str(&format!("Etag: {etag}\nLast Modified: {changed}\n"));
        }
        ("text/plain", said + &plain_errors(&errors))
    };
    let chunks = [Bytes::from_static(b" "), Bytes::from(format!("\r\n\r\n{text}"))].map(Ok);
    let mut response = Response::new(body::stream(stream::iter(chunks)));
    *response.status_mut() = StatusCode::ACCEPTED;
    reply::set(response.headers_mut(), "content-type", media_type);
    response
}

/// The errors as the plain form lists them.
fn plain_errors(errors: &[(String, String)]) -> String {
    let lines = errors.iter().map(|(name, reason)| format!("{name}, {reason}\n"));
    format!("Errors:\n{}", lines.collect::<String>())
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
        text.push_str(&self.plain_errors());
        text
    }

    /// The errors as the plain form lists them.
    pub(super) fn plain_errors(&self) -> String {
        plain_errors(&self.errors)
    }
}
