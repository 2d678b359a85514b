//! What clients send to the S3 door, as far as it is read here: `s3s` reads the rest.

use http::{HeaderMap, HeaderValue, Method};

use super::checksum::Algorithm;
use super::lane;
use super::{gate, listing, tagging};
use crate::fuzzing::request;
use crate::s3::receive::Promise;

/// The gate, and the lane's reading of requests.
pub(crate) fn head(bytes: &[u8]) {
    let Some(mut request) = request(bytes) else { return };
    let _ = gate::refuse(&request);
    gate::ignore_malformed_range(&mut request);
    lane::fuzzing::path(request.uri().path());
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        lane::fuzzing::work(&method, request.headers());
    }
    let _ = Promise::from_headers(request.headers(), Some(-1));
}

/// No signature holds that was not made with the key.
pub(crate) fn signature(bytes: &[u8]) {
    let Some(request) = request(bytes) else { return };
    lane::fuzzing::signature(request.uri(), request.headers());
}

/// Tags that are taken are stored and read as the same.
pub(crate) fn tags(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(tags) = tagging::parse_header(text) else { return };
    let mut metadata = Vec::new();
    tagging::store(&tags, &mut metadata);
    assert_eq!(tagging::stored(&metadata), tags);
}

/// Continuation tokens and digests.
pub(crate) fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert_eq!(listing::from_token(&listing::to_token(text)).ok().as_deref(), Some(text));
    if let Ok(name) = listing::from_token(text) {
        assert_eq!(listing::to_token(&name), text);
    }
    for algorithm in Algorithm::ALL {
        assert!(algorithm.parse(text).is_none_or(|digest| digest.len() == algorithm.length()));
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(text) {
        let _ = gate::range(&value);
        headers.insert("x-amz-trailer", value);
        let _ = Promise::from_headers(&headers, Some(1));
    }
}
