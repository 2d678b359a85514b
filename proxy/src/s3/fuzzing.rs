//! What clients send to the S3 door, as far as it is read here: `s3s` reads the rest.

use http::{HeaderMap, HeaderValue, Method};

use super::acl::Permission;
use super::acl::list::List;
use super::bucket_policy::{Asker, Facts, Policy, Verdict};
use super::checksum::Algorithm;
use super::lane;
use super::{form, gate, listing, tagging};
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

/// A policy that is taken decides in no time to speak of, and lets nobody in whom nothing is known of unless it is public.
pub(crate) fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(policy) = Policy::parse(text, "b") else { return };
    let mut facts = Facts::default();
    for key in ["aws:username", "s3:prefix", "aws:SourceIp", "aws:CurrentTime", "s3:max-keys"] {
        facts.add(key, text.get(..16).unwrap_or("1"));
    }
    let is_public = policy.is_public();
    for resource in ["arn:aws:s3:::b", "arn:aws:s3:::b/k/x"] {
        let verdict = policy.decide(Asker::default(), "s3:GetObject", resource, &Facts::default());
        assert!(is_public || verdict != Verdict::Allow, "nobody is let in by a policy that is not public");
        let _ = policy.decide(Asker { signed: Some(("p", "u", "n")) }, "s3:GetObject", resource, &facts);
    }
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

/// A form: the first line is its media type.
pub(crate) fn form(bytes: &[u8]) {
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let boundary = std::str::from_utf8(&bytes[..at]).ok().and_then(form::boundary);
    form::read_all(&bytes[at + 1..], boundary.as_deref().unwrap_or("B"));
}

/// An access list is read as it was written, and gives nobody without a project what is not the public's.
pub(crate) fn access_list(bytes: &[u8]) {
    let Some(list) = std::str::from_utf8(bytes).ok().and_then(List::parse) else { return };
    assert_eq!(List::parse(&list.text()).as_ref(), Some(&list));
    let gives = |ignored| list.permits(None, false, Permission::Read, ignored);
    assert!(!gives(true) && (list.is_public() || !gives(false)), "a list lets in whom it does not name");
}

/// A web site as it is stored.
pub(crate) fn website(bytes: &[u8]) {
    super::website::feed(bytes);
}
