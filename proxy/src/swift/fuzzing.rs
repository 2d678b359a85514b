//! What clients send to the Swift door.

use anello_storage::{ObjectPath, Precondition};
use http::HeaderMap;

use super::call::{Call, Query};
use super::conditions::{self, Conditions};
use super::limits::{LISTING_ENTRIES_MAX, RANGES_MAX};
use super::metadata::Kind;
use super::range::Wanted;
use super::signature::Signature;
use super::target::Target;
use super::tempauth::{self, AccountAcl};
use super::{copy, dlo, expiry, layer, listing, manifest, metadata, octets, version};
use crate::fuzzing::request;

/// What is to be sent lies within what there is.
pub(crate) fn range(bytes: &[u8]) {
    let Some((size, header)) = bytes.split_first_chunk::<8>() else { return };
    let Ok(header) = std::str::from_utf8(header) else { return };
    for size in [u64::from_le_bytes(*size), 0, 10, u64::MAX] {
        if let Wanted::Parts(parts) = Wanted::parse(Some(header), size) {
            assert!((1..=RANGES_MAX).contains(&parts.len()));
            assert!(parts.iter().all(|part| part.start < part.end && part.end <= size), "{parts:?} of {size}");
        }
    }
}

fn call(bytes: &[u8]) -> Option<Call> {
    Call::read(request(bytes)?.into_parts().0).ok()
}

/// Path, query, listing parameters, formats, large objects, copies, times to be deleted.
pub(crate) fn head(bytes: &[u8]) {
    let Some(call) = call(bytes) else { return };
    if let Target::Object(path) = &call.target {
        assert!(!path.account.is_empty() && !path.container.is_empty() && !path.object.is_empty());
        assert!(!path.account.contains('/') && !path.container.contains('/'));
    }
    if let Some((account, container)) = call.target.container() {
        let encode = |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let again = Target::parse(&format!("/v1/{}/{}", encode(account), encode(container)));
        let wanted = Target::Container(account.to_owned(), container.to_owned());
        assert!(again.is_ok_and(|again| again == wanted), "{:?}", call.target);
    }
    if let Ok(query) = listing::query_of(&call) {
        assert!(query.limit <= LISTING_ENTRIES_MAX);
    }
    let _ = (listing::Format::of(&call), listing::accept_json(&call), dlo::check(&call), call.content_length());
    if let Ok(Some(asked)) = version::Asked::of(&call) {
        assert!(!asked.to_string().is_empty());
    }
    if let Ok(Some(second)) = expiry::delete_at(&call) {
        assert!(second > call.now.seconds());
    }
    if let Some(text) = call.header("x-copy-from")
        && let Ok((container, object)) = copy::split("X-Copy-From", text)
    {
        assert!(!container.is_empty() && !container.contains('/') && !object.is_empty());
    }
}

/// Conditions never let both a thing and its absence pass.
pub(crate) fn conditions(bytes: &[u8]) {
    let Some(call) = call(bytes) else { return };
    let read = Conditions::of(&call);
    if read.wants_absent() {
        assert!(read.refuse("e", 7).is_some(), "there is something");
    }
    let _ = conditions::if_range_holds(&call, "e", 7);
    if let Ok(write) = conditions::for_write(&call) {
        assert!(!(write.if_match.is_some() && write.holds(None)), "If-Match holds for nothing");
        assert!(write != Precondition::absent() || write.holds(None));
    }
}

/// What a client sends of metadata it gets back, byte by byte.
pub(crate) fn metadata(bytes: &[u8]) {
    let text = octets::to_text(bytes);
    assert_eq!(octets::to_bytes(&text), bytes);
    assert_eq!(octets::length(&text), bytes.len());
    let Some(call) = call(bytes) else { return };
    for kind in [Kind::Account, Kind::Container, Kind::Object] {
        let _ = (metadata::user_items(&call.headers, kind), metadata::changes(&call.headers, kind, true));
    }
    if let Ok(items) = metadata::user_items(&call.headers, Kind::Object) {
        let mut shown = HeaderMap::new();
        metadata::show_object(&items, &mut shown);
        let again = metadata::user_items(&shown, Kind::Object);
        assert!(again.is_ok_and(|again| again == items), "{items:?} is shown as {shown:?}");
    }
}

/// A list of segments, and a query.
pub(crate) fn manifest(bytes: &[u8]) {
    let path = ObjectPath::new("a", "c", "manifest");
    if let Ok(entries) = manifest::parse(bytes, &path) {
        for entry in entries {
            let manifest::Entry::Segment(asked) = entry else { continue };
            if let (Some(size), Some(range)) = (asked.size, asked.range) {
                let within = range.within(size).expect("it was checked");
                assert!(within.start < within.end && within.end <= size);
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Query::parse(text);
    }
}

/// What middlewares read: signatures and their queries, access lists of accounts, tokens, hosts.
pub(crate) fn layers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    if let Some(signature) = Signature::parse(first) {
        assert!(!signature.fits(b"key", rest), "a signature was guessed");
    }
    if let Ok(acl) = AccountAcl::parse(text) {
        let again = AccountAcl::parse(&acl.text());
        assert!(acl.text().is_ascii() && again.is_ok_and(|again| again == acl), "{text:?}");
    }
    assert!(tempauth::open_token(first, |_| Some(b"key".to_vec())).is_none(), "a token was guessed");
    layer::feed(first, rest);
}

/// An archive that is to be unpacked.
pub(crate) fn tar(bytes: &[u8]) {
    layer::bulk::feed(bytes);
}

/// A web form: its media type in the first line.
pub(crate) fn form(bytes: &[u8]) {
    layer::formpost::feed(bytes);
}
