//! What `fuzz` feeds with bytes: whatever clients send, and what the doors keep in the store. Compiled with the feature
//! `fuzzing` alone.

use http::{HeaderName, HeaderValue, Request};

use crate::object::parts::PartList;
use crate::object::segments::{self, Piece};
use crate::{acl, s3, swift};

/// A name, and what is to be fed. It panics where something does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("swift-range", swift::fuzzing::range),
    ("swift-head", swift::fuzzing::head),
    ("swift-conditions", swift::fuzzing::conditions),
    ("swift-metadata", swift::fuzzing::metadata),
    ("swift-layers", swift::fuzzing::layers),
    ("swift-tar", swift::fuzzing::tar),
    ("swift-form", swift::fuzzing::form),
    ("slo-manifest", swift::fuzzing::manifest),
    ("slo-stored", stored_manifest),
    ("container-acl", container_acl),
    ("deletion-job", crate::object::deletions::feed),
    ("lifecycle-rules", crate::object::lifecycle::feed),
    ("part-list", part_list),
    ("s3-head", s3::fuzzing::head),
    ("s3-signature", s3::fuzzing::signature),
    ("s3-tags", s3::fuzzing::tags),
    ("s3-text", s3::fuzzing::text),
    ("s3-form", s3::fuzzing::form),
    ("s3-policy", s3::fuzzing::policy),
    ("s3-access-list", s3::fuzzing::access_list),
    ("s3-website", s3::fuzzing::website),
    ("sealed-values", crate::object::vault::fuzzing::feed),
    ("version-name", crate::object::versions::fuzzing::names),
];

/// A request's head: the first line is its address, the rest are headers.
pub(crate) fn request(bytes: &[u8]) -> Option<Request<()>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut request = Request::builder().uri(lines.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request = request.header(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    request.body(()).ok()
}

/// A list for writing lets no referrer through, and what is taken can be read.
fn container_acl(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for is_for_writing in [false, true] {
        let Ok(clean) = acl::clean(text, is_for_writing) else { continue };
        let read = acl::Acl::parse(&clean);
        assert!(!is_for_writing || read.referrer(Some("http://example.com/")).is_none(), "a referrer may write");
    }
}

/// A part list is read as it was written, as it comes and with its checksum put right.
fn part_list(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    sealed.extend(crc32fast::hash(bytes).to_le_bytes());
    for bytes in [bytes, &sealed] {
        let Ok(list) = PartList::decode(bytes) else { continue };
        // Of a list whose digests are sealed they are read apart.
        assert!(list.encode() == bytes || bytes[8..10] == [2, 0]);
        assert!(list.parts.iter().all(|part| part.size <= list.size()));
    }
}

/// A segment's range lies in the segment.
fn stored_manifest(bytes: &[u8]) {
    let Some(items) = segments::items(bytes) else { return };
    for piece in items.into_iter().filter_map(|item| segments::piece("a", item)) {
        if let Piece::Segment(segment) = &piece {
            assert!(segment.range.start <= segment.range.end && segment.range.end <= segment.size);
        }
        let cut = segments::cut(std::slice::from_ref(&piece), 1..5);
        assert_eq!(cut.iter().map(Piece::size).sum::<u64>(), piece.size().clamp(1, 5) - 1);
    }
}
