//! Objects made of other objects of the same account: Swift's static large objects. Such an object's data
//! are a list of segments (the manifest) in Swift's stored form; read as a whole, the segments come one
//! after another. Unlike the parts of [`super::parts`] segments belong to whoever wrote them: they outlive
//! the manifest, and they may change under it. A segment that isn't what it was when the manifest was made
//! ends the reading with an error: wrong bytes are never given out.

use std::ops::Range;
use std::sync::Arc;

use anello_base::Timestamp;
use anello_storage::{Content, Error, ObjectInfo, ObjectPath, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::Reader;
use super::limits::SEGMENT_DEPTH_MAX;
use super::vault::Vault;
use super::{link, versions};

/// MD5 of the manifest's text.
pub const MANIFEST_ETAG: &str = "x-object-sysmeta-slo-manifest-etag";

/// One item of the list as it is stored: Swift's form.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Stored {
    /// `/container/object`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The segment's tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The segment's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Which of its bytes count, `first-last`; all where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Its media type when the list was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// When it was last changed by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Whether it is a manifest itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_slo: Option<bool>,
    /// Bytes of its own instead of a segment, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// Whether an object is a manifest.
pub fn is_manifest(info: &ObjectInfo) -> bool {
    info.content == Content::Segments && !link::is_link(info)
}

/// MD5 of the manifest's text, where the object is one.
pub fn manifest_etag(info: &ObjectInfo) -> Option<&str> {
    info.metadata.iter().find(|(name, _)| name == MANIFEST_ETAG).map(|(_, value)| value.as_str())
}

/// The manifest's text.
pub async fn text(store: &Vault, path: &ObjectPath, version: Timestamp) -> Result<Bytes> {
    let mut reader = store.object_read(path).await?.ok_or(Error::Missing("manifest"))?;
    let current = reader.info().timestamp;
    if current != version {
        return Err(Error::Stale { current });
    }
    let mut text = Vec::new();
    while let Some(data) = reader.next().await? {
        text.extend_from_slice(&data);
    }
    Ok(text.into())
}

/// What the manifest lists.
pub async fn pieces(store: &Vault, path: &ObjectPath, version: Timestamp) -> Result<Vec<Piece>> {
    let text = text(store, path, version).await?;
    let account = versions::account_of(path);
    let pieces = items(&text).and_then(|items| items.into_iter().map(|item| piece(account, item)).collect());
    pieces.ok_or_else(|| {
        tracing::error!(%path, "a stored manifest can't be read");
        Error::Missing("manifest")
    })
}

/// The items of a stored manifest.
pub fn items(text: &[u8]) -> Option<Vec<Stored>> {
    serde_json::from_slice(text).ok()
}

/// What an item stands for; `None` where it makes no sense.
pub fn piece(account: &str, item: Stored) -> Option<Piece> {
    if let Some(data) = item.data {
        return Some(Piece::Inline(BASE64_STANDARD.decode(data).ok()?.into()));
    }
    let (etag, size, name) = (item.hash?, item.bytes?, item.name?);
    let path = segment_path(account, &name)?;
    let range = match item.range {
        None => 0..size,
        Some(range) => {
            let (first, last) = range.split_once('-')?;
            first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?
        }
    };
    (range.start <= range.end && range.end <= size).then_some(Piece::Segment(Segment { path, etag, size, range }))
}

/// `/container/object` in an account.
pub fn segment_path(account: &str, name: &str) -> Option<ObjectPath> {
    let (container, object) = name.trim_start_matches('/').split_once('/')?;
    (!container.is_empty() && !object.is_empty()).then(|| ObjectPath::new(account, container, object))
}

/// One piece of a large object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that stand in the manifest.
    Inline(Bytes),
    /// A range of another object.
    Segment(Segment),
}

/// A range of another object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub path: ObjectPath,
    /// The tag that it must have.
    pub etag: String,
    /// The size that it must have.
    pub size: u64,
    /// Which of its bytes count.
    pub range: Range<u64>,
}

impl Piece {
    /// How many bytes it gives to the whole.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(data) => data.len() as u64,
            Self::Segment(segment) => segment.range.end - segment.range.start,
        }
    }

    /// A part of it; `range` lies within it.
    fn cut(&self, range: Range<u64>) -> Self {
        match self {
            Self::Inline(data) => Self::Inline(data.slice(range.start as usize..range.end as usize)),
            Self::Segment(segment) => {
                let start = segment.range.start;
                Self::Segment(Segment { range: start + range.start..start + range.end, ..segment.clone() })
            }
        }
    }
}

/// The pieces that hold a range of the whole, cut to it.
pub fn cut(pieces: &[Piece], range: Range<u64>) -> Vec<Piece> {
    let mut offset = 0;
    let mut kept = Vec::new();
    for piece in pieces {
        let (start, end) = (offset, offset + piece.size());
        offset = end;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            kept.push(piece.cut(from - start..to - start));
        }
    }
    kept
}

/// Who says whether the one who reads a manifest may read its segments too. A manifest is no key.
pub trait Gate: Send + Sync {
    /// Whether the object may be read.
    fn may_read<'a>(&'a self, path: &'a ObjectPath) -> BoxFuture<'a, bool>;
}

/// Reads pieces one after another. Segments that are manifests themselves are entered, never deeper than
/// [`SEGMENT_DEPTH_MAX`]; one manifest of each level is in memory.
pub struct Joined {
    store: Vault,
    gate: Option<Arc<dyn Gate>>,
    levels: Vec<std::vec::IntoIter<Piece>>,
    current: Option<Reader>,
    first: Option<Bytes>,
}

impl std::fmt::Debug for Joined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined").field("levels", &self.levels.len()).finish_non_exhaustive()
    }
}

impl Joined {
    /// Reads `pieces`, where a gate is given only what it lets through.
    pub fn new(store: Vault, gate: Option<Arc<dyn Gate>>, pieces: Vec<Piece>) -> Self {
        Self { store, gate, levels: vec![pieces.into_iter()], current: None, first: None }
    }

    /// Reads the first bytes, which the next call gives again: so that what is wrong with the first segment
    /// is known before anything has been said to a client.
    pub async fn peek(&mut self) -> Result<()> {
        self.first = self.next().await?;
        Ok(())
    }

    /// The next bytes; `None` at the end. [`Error::Missing`] and [`Error::Precondition`] say that a segment
    /// is gone, and that it is another or denied.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        loop {
            if let Some(reader) = &mut self.current {
                if let Some(data) = reader.next().await? {
                    return Ok(Some(data));
                }
                self.current = None;
            }
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            match level.next() {
                None => drop(self.levels.pop()),
                Some(Piece::Inline(data)) => return Ok(Some(data)),
                Some(Piece::Segment(segment)) => self.enter(segment).await?,
            }
        }
    }

    /// Opens a segment, or the manifest that it is.
    async fn enter(&mut self, segment: Segment) -> Result<()> {
        let path = &segment.path;
        if let Some(gate) = &self.gate
            && !gate.may_read(path).await
        {
            tracing::info!(%path, "a segment may not be read by whoever reads its manifest");
            return Err(Error::Precondition);
        }
        let mut reader = super::open(&self.store, path).await?.ok_or(Error::Missing("segment"))?;
        let resolved;
        let path = match link::is_link(reader.info()) {
            false => path,
            true => {
                resolved = link::resolve(&self.store, self.gate.as_deref(), path).await?;
                reader = super::open(&self.store, &resolved).await?.ok_or(Error::Missing("segment"))?;
                &resolved
            }
        };
        let info = reader.info();
        if info.etag != segment.etag || info.size != segment.size {
            tracing::info!(%path, "a segment is not what its manifest says");
            return Err(Error::Precondition);
        }
        if is_manifest(info) {
            if self.levels.len() >= SEGMENT_DEPTH_MAX {
                tracing::info!(%path, "manifests are nested too deeply");
                return Err(Error::Precondition);
            }
            let pieces = pieces(&self.store, path, info.timestamp).await?;
            self.levels.push(cut(&pieces, segment.range).into_iter());
        } else {
            reader.set_range(segment.range);
            self.current = Some(reader);
        }
        Ok(())
    }
}

/// A manifest being read as the whole that it stands for, without a gate: for doors that hold the account's
/// segments as open as the manifest.
#[derive(Debug)]
pub(super) struct Whole {
    store: Vault,
    path: ObjectPath,
    info: ObjectInfo,
    range: Range<u64>,
    joined: Option<Joined>,
}

impl Whole {
    pub(super) fn new(store: Vault, path: ObjectPath, info: ObjectInfo) -> Self {
        let range = 0..info.size;
        Self { store, path, info, range, joined: None }
    }

    pub(super) fn info(&self) -> &ObjectInfo {
        &self.info
    }

    pub(super) fn set_range(&mut self, range: Range<u64>) {
        self.range = range;
    }

    /// Boxed, for a segment is read through [`Reader`] again.
    pub(super) fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            if self.joined.is_none() {
                let pieces = pieces(&self.store, &self.path, self.info.timestamp).await?;
                self.joined = Some(Joined::new(self.store.clone(), None, cut(&pieces, self.range.clone())));
            }
            match &mut self.joined {
                Some(joined) => joined.next().await,
                None => Ok(None),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_the_whole_is_found_in_its_pieces() {
        let segment = |range: Range<u64>| {
            let path = ObjectPath::new("a", "c", "o");
            Piece::Segment(Segment { path, etag: "e".into(), size: 100, range })
        };
        let inline = |text: &'static str| Piece::Inline(Bytes::from_static(text.as_bytes()));
        let pieces = [segment(10..20), inline("hello"), segment(0..5)];
        let check = |range: Range<u64>, want: &[Piece]| assert_eq!(cut(&pieces, range.clone()), want, "{range:?}");
        check(0..20, &pieces);
        check(0..1, &[segment(10..11)]);
        check(9..11, &[segment(19..20), inline("h")]);
        check(11..14, &[inline("ell")]);
        check(14..16, &[inline("o"), segment(0..1)]);
        check(19..20, &[segment(4..5)]);
        check(5..5, &[]);
    }
}
