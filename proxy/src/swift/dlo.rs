//! Dynamic large objects: an object with `X-Object-Manifest: container/prefix` stands for all objects whose
//! names start so, in the order of their names, as they are when it is read.

use anello_storage::{ListQuery, Listed, ObjectInfo, ObjectPath};
use http::StatusCode;
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;

use super::SwiftDoor;
use super::call::Call;
use super::fault::Fault;
use super::limits::{DLO_SEGMENTS_MAX, LISTING_ENTRIES_MAX};
use super::metadata;
use super::policy::Rule;
use crate::object::segments::{Piece, Segment};

/// The item that makes an object a manifest.
pub(super) const MANIFEST: &str = "x-object-manifest";

/// Segments as they are now.
pub(super) struct Segments {
    pub(super) pieces: Vec<Piece>,
    pub(super) size: u64,
    /// MD5 of their tags, one after the other.
    pub(super) etag: String,
}

/// What a manifest stands for, if it is one.
pub(super) fn prefix_of(info: &ObjectInfo) -> Option<&str> {
    metadata::value(&info.metadata, MANIFEST)
}

/// Checks the header of an upload.
pub(super) fn check(call: &Call) -> Result<(), Fault> {
    let Some(text) = call.header(MANIFEST).filter(|text| !text.is_empty()) else { return Ok(()) };
    let is_valid = split(text).is_some() && !text.contains(['?', '&']) && !text.starts_with('/');
    if is_valid {
        return Ok(());
    }
    Err(Fault::invalid("X-Object-Manifest must be in the format container/prefix"))
}

/// Lists the segments, for a caller who may list them.
pub(super) async fn segments(door: &SwiftDoor, call: &Call, account: &str, prefix: &str) -> Result<Segments, Fault> {
    let (container, prefix) = split(prefix).ok_or_else(|| Fault::status(StatusCode::CONFLICT))?;
    door.authorize(call, Rule::ContainerRead, account, Some(&container)).await?;
    let mut found = Segments { pieces: Vec::new(), size: 0, etag: String::new() };
    let mut digest = Md5::new();
    let mut query = ListQuery { prefix, limit: LISTING_ENTRIES_MAX, ..ListQuery::default() };
    loop {
        let rows = match door.store.container_list(account, &container, &query).await {
            Err(anello_storage::Error::Missing(_)) => Vec::new(),
            rows => rows?,
        };
        let is_last = rows.len() < LISTING_ENTRIES_MAX;
        for row in rows {
            let Listed::Entry(entry) = row else { continue };
            digest.update(entry.etag.as_bytes());
            found.size += entry.size;
            query.marker = Some(entry.name.clone());
            let path = ObjectPath::new(account, &container, entry.name);
            found.pieces.push(Piece::Segment(Segment {
                path,
                etag: entry.etag,
                size: entry.size,
                range: 0..entry.size,
            }));
        }
        if found.pieces.len() > DLO_SEGMENTS_MAX {
            let detail = format!("A dynamic large object has at most {DLO_SEGMENTS_MAX} segments.");
            return Err(Fault::because(StatusCode::CONFLICT, detail));
        }
        if is_last {
            break;
        }
    }
    found.etag = hex::encode(digest.finalize());
    Ok(found)
}

/// Container and prefix, percent-decoded.
fn split(text: &str) -> Option<(String, String)> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    let (container, prefix) = decoded.trim_start_matches('/').split_once('/')?;
    (!container.is_empty() && !prefix.is_empty()).then(|| (container.to_owned(), prefix.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swift::testing::call;

    #[test]
    fn a_manifest_names_container_and_prefix() {
        for (text, is_valid) in [
            ("c/p", true),
            ("c/a/b", true),
            ("c%20d/p", true),
            ("c", false),
            ("/c/p", false),
            ("c/", false),
            ("c/p?x", false),
        ] {
            assert_eq!(check(&call("PUT", "/v1/a/c/o", &[(MANIFEST, text)])).is_ok(), is_valid, "{text}");
        }
    }
}
