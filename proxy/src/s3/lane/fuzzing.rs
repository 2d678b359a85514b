//! What the lane reads.

use http::{HeaderMap, HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;

use super::request::{self, Work};
use super::signature;

/// A path that is taken names what it names for everybody else.
pub(crate) fn path(path: &str) {
    let Some((bucket, key)) = request::path(path) else { return };
    assert!(!bucket.is_empty() && !key.is_empty() && !bucket.contains('/'));
    assert_eq!(percent_decode_str(path).decode_utf8_lossy(), format!("/{bucket}/{key}"));
}

pub(crate) fn work(method: &Method, headers: &HeaderMap) {
    for payload in ["UNSIGNED-PAYLOAD", &"ab".repeat(32), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"] {
        let work = Work::read(method, headers, payload);
        let is_streamed = payload.starts_with("STREAMING");
        assert!(!(is_streamed && matches!(work, Some(Work::Put(_)))), "a signed stream is not for the lane");
    }
}

/// Reads what is stated, at the time that it states where there is one.
pub(crate) fn signature(uri: &Uri, headers: &HeaderMap) {
    check_signature(uri, headers);
    let mut now = headers.clone();
    let time = time::OffsetDateTime::now_utc();
    let date = format!("{:04}{:02}{:02}", time.year(), u8::from(time.month()), time.day());
    now.insert("x-amz-date", HeaderValue::from_str(&format!("{date}T{:02}0000Z", time.hour())).expect("digits"));
    if let Some(text) = headers.get("authorization").and_then(|value| value.to_str().ok()) {
        now.insert("authorization", HeaderValue::from_str(&text.replace("DATE", &date)).expect("it was one"));
    }
    check_signature(uri, &now);
}

fn check_signature(uri: &Uri, headers: &HeaderMap) {
    let Some(stated) = signature::read(headers) else { return };
    let query = uri.query().unwrap_or_default();
    let canonical = signature::canonical(&stated, &Method::GET, uri.path(), query, headers, "UNSIGNED-PAYLOAD");
    let Some(canonical) = canonical else { return };
    let key = signature::derive("a secret that no input knows", stated.date, stated.region);
    assert!(!signature::holds(&stated, &key, &canonical), "a signature was guessed");
}
