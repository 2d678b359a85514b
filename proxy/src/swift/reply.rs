//! Answers: what every one of them carries, and the forms that several resources share.

use std::time::{Duration, UNIX_EPOCH};

use anello_base::Timestamp;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::call::Call;
use super::limits::TRANSACTION_EXTRA_BYTES_MAX;
use crate::body::{self, Body};

/// What stands as it is in a quoted path.
pub(super) const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path as headers carry it: percent-encoded but for its slashes.
pub(super) fn quoted(path: &str) -> String {
    utf8_percent_encode(path, QUOTED).to_string()
}

/// An answer without a body.
pub(super) fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    response
}

/// An answer with a body that is at hand.
pub(super) fn with_body(status: StatusCode, media_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Sets a header; a value that no header can carry is left out.
pub(super) fn set(headers: &mut HeaderMap, name: &'static str, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_ref().as_bytes()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Adds names to `Vary`.
pub(super) fn vary(headers: &mut HeaderMap, names: &'static str) {
    headers.append(http::header::VARY, HeaderValue::from_static(names));
}

/// Sets `Last-Modified` to a second since 1970.
pub(super) fn set_last_modified(headers: &mut HeaderMap, second: u64) {
    if let Ok(value) = HeaderValue::from_str(&http_date(second)) {
        headers.insert(LAST_MODIFIED, value);
    }
}

/// A second since 1970 as HTTP writes it.
pub(super) fn http_date(second: u64) -> String {
    // The year 9999 is the last that the form can show.
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second.min(253_402_300_799)))
}

/// The id that a request is known by in headers and logs.
pub(super) fn transaction(headers: &HeaderMap, now: Timestamp) -> String {
    let id = anello_base::id::hex_id();
    let extra = headers.get("x-trans-id-extra").map(HeaderValue::as_bytes).unwrap_or_default();
    let extra: String = extra
        .iter()
        .take(TRANSACTION_EXTRA_BYTES_MAX)
        .map(|byte| char::from(*byte))
        .filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter))
        .collect();
    let dash = if extra.is_empty() { "" } else { "-" };
    format!("tx{}-{:010x}{dash}{extra}", &id[..21], now.seconds())
}

/// What every answer carries; and what HEAD does not.
pub(super) fn finish(mut response: Response<Body>, transaction: &str, is_head: bool) -> Response<Body> {
    let headers = response.headers_mut();
    set(headers, "x-trans-id", transaction);
    set(headers, "x-openstack-request-id", transaction);
    let has_body = !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_body
        && !response.headers().contains_key(CONTENT_LENGTH)
        && let Some(length) = response.body().size_hint().exact()
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if is_head { response.map(|_| body::empty()) } else { response }
}

/// The answer of `OPTIONS` where no other site asks.
pub(super) fn allow(call: &Call, methods: &str) -> Response<Body> {
    debug_assert_eq!(call.method.as_str(), "OPTIONS");
    let mut response = bare(StatusCode::OK);
    set(response.headers_mut(), "allow", methods);
    response
}
