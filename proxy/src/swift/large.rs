//! What both kinds of large objects stand on: segments, each an object of its own (or bytes in the
//! manifest), read one after another as if they were one. A segment that isn't what it was when the
//! manifest was made breaks the answer off: wrong bytes are never sent.

use std::ops::Range;
use std::sync::Arc;

use anello_storage::{Error, ObjectPath};
use bytes::Bytes;
use http::StatusCode;

use super::SwiftDoor;
use super::call::Call;
use super::fault::Fault;
use super::limits::SLO_DEPTH_MAX;
use super::policy::Rule;
use super::slo;
use crate::object::{self, Reader};

/// One piece of a large object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes that stand in the manifest.
    Inline(Bytes),
    /// A range of another object.
    Segment(Segment),
}

/// A range of another object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its name.
    pub(super) path: ObjectPath,
    /// The tag that it must have.
    pub(super) etag: String,
    /// The size that it must have.
    pub(super) size: u64,
    /// Which of its bytes count.
    pub(super) range: Range<u64>,
}

impl Piece {
    /// How many bytes it gives to the whole.
    pub(super) fn len(&self) -> u64 {
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

/// Whether a request is about the manifest and not what it stands for.
pub(super) fn asks_for_manifest(call: &Call) -> bool {
    call.query.get("multipart-manifest") == Some("get")
}

/// The pieces that hold a range of the whole, cut to it.
pub(super) fn cut(pieces: &[Piece], range: Range<u64>) -> Vec<Piece> {
    let mut offset = 0;
    let mut kept = Vec::new();
    for piece in pieces {
        let (start, end) = (offset, offset + piece.len());
        offset = end;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            kept.push(piece.cut(from - start..to - start));
        }
    }
    kept
}

/// Reads pieces one after another. Segments that are static large objects themselves are entered, never
/// deeper than [`SLO_DEPTH_MAX`]; one manifest of each level is in memory.
pub(super) struct Joined {
    door: SwiftDoor,
    call: Arc<Call>,
    /// Containers whose objects the caller was found to be allowed to read.
    allowed: Vec<(String, String)>,
    levels: Vec<std::vec::IntoIter<Piece>>,
    current: Option<Reader>,
    first: Option<Bytes>,
}

impl Joined {
    pub(super) fn new(door: &SwiftDoor, call: &Arc<Call>, pieces: Vec<Piece>) -> Self {
        let levels = vec![pieces.into_iter()];
        Self { door: door.clone(), call: call.clone(), allowed: Vec::new(), levels, current: None, first: None }
    }

    /// Reads the first bytes, so that what is wrong with the first segment is known before the status is sent.
    pub(super) async fn prime(&mut self) -> Result<(), Fault> {
        match self.next().await {
            Ok(first) => {
                self.first = first;
                Ok(())
            }
            Err(Error::Missing(_) | Error::Stale { .. } | Error::Precondition) => {
                Err(Fault::status(StatusCode::CONFLICT))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
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
    async fn enter(&mut self, segment: Segment) -> Result<(), Error> {
        let path = &segment.path;
        self.check_access(path).await?;
        let mut reader = object::open(&self.door.store, path).await?.ok_or(Error::Missing("segment"))?;
        let info = reader.info();
        if info.etag != segment.etag || info.size != segment.size {
            tracing::info!(%path, "a segment is not what its manifest says");
            return Err(Error::Precondition);
        }
        if slo::is_manifest(info) {
            if self.levels.len() >= SLO_DEPTH_MAX {
                tracing::info!(%path, "manifests are nested too deeply");
                return Err(Error::Precondition);
            }
            let pieces = slo::pieces(&self.door.store, path, info.timestamp).await?;
            self.levels.push(cut(&pieces, segment.range).into_iter());
        } else {
            reader.set_range(segment.range);
            self.current = Some(reader);
        }
        Ok(())
    }

    /// A manifest is no key to what its reader may not read.
    async fn check_access(&mut self, path: &ObjectPath) -> Result<(), Error> {
        let is_known =
            |(account, container): &(String, String)| *account == path.account && *container == path.container;
        if self.allowed.iter().any(is_known) {
            return Ok(());
        }
        let found = self.door.authorize(&self.call, Rule::ObjectRead, &path.account, Some(&path.container)).await;
        if found.is_err() {
            tracing::info!(%path, "a segment may not be read by whoever reads its manifest");
            return Err(Error::Precondition);
        }
        self.allowed.push((path.account.clone(), path.container.clone()));
        Ok(())
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
