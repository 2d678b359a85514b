//! Where the bytes of an object come from, range by range. One [`Source`] is one version of an object:
//! every range that is opened of it belongs to that version, or fails. A large object is read through its
//! segments.

use std::ops::Range;
use std::sync::Arc;

use anello_base::Timestamp;
use anello_storage::{Error, ObjectInfo, ObjectPath};
use bytes::Bytes;
use http::StatusCode;

use super::SwiftDoor;
use super::call::Call;
use super::dlo;
use super::expiry;
use super::fault::Fault;
use super::large::{self, CallerGate};
use super::symlink::{self, Found};
use super::version::{self, Opened};
use crate::object::link;
use crate::object::segments::{self, Joined, Piece};
use crate::object::{self, Reader, versions};

/// An object that can be read.
pub(super) struct Source {
    /// What it is like; size and tag are those of the whole where it is a large object.
    pub(super) info: ObjectInfo,
    /// Whether and how it is made of others.
    pub(super) form: Form,
    /// What it was reached through a link as.
    pub(super) location: Option<String>,
    /// The version that it is, where it is one.
    pub(super) version: Option<String>,
    path: ObjectPath,
    opened: Option<Reader>,
    pieces: Option<Vec<Piece>>,
}

/// What an object's bytes are to this door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Its own.
    Plain,
    /// Those of the segments that its manifest lists.
    Static,
    /// Those of the segments that have a prefix.
    Dynamic,
}

impl Source {
    /// The object (or the version of it that the request names), ready to be read, or what it leads to; `None` where
    /// there is none. For HEAD its data are left alone.
    pub(super) async fn open(door: &SwiftDoor, call: &Call, path: &ObjectPath) -> Result<Option<Self>, Fault> {
        let with_data = call.method != http::Method::HEAD;
        let Some(opened) = version::open(door, call, path, with_data).await? else { return Ok(None) };
        let Opened { path: place, info, reader: opened } = opened;
        let (form, location, version) = (Form::Plain, None, None);
        let mut source = Self { info, form, location, version, path: place, opened, pieces: None };
        if let Some(link) = link::of(&source.info, &path.account)
            && !symlink::asks_for_link(call)
        {
            let Found { path, info, location } = symlink::follow(door, call, link).await?;
            source = Self { info, path, location: Some(location), opened: None, ..source };
        }
        source.version = version::shown(door, call, &source.info)?;
        if segments::is_manifest(&source.info) {
            source.form = Form::Static;
            source.opened = None;
        } else if !large::asks_for_manifest(call)
            && let Some(prefix) = dlo::prefix_of(&source.info)
        {
            let segments = dlo::segments(door, call, versions::account_of(&source.path), prefix).await?;
            source.form = Form::Dynamic;
            source.opened = None;
            (source.info.size, source.info.etag) = (segments.size, segments.etag);
            source.pieces = Some(segments.pieces);
        }
        Ok(Some(source))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &ObjectPath {
        &self.path
    }

    /// What a large object is made of.
    pub(super) async fn pieces(&mut self, door: &SwiftDoor) -> Result<&[Piece], Error> {
        if self.pieces.is_none() {
            self.pieces = Some(segments::pieces(&door.store, &self.path, self.info.timestamp).await?);
        }
        Ok(self.pieces.as_deref().unwrap_or_default())
    }

    /// Begins to read a range, or all of it.
    pub(super) async fn read(
        &mut self,
        door: &SwiftDoor,
        call: &Arc<Call>,
        range: Option<Range<u64>>,
    ) -> Result<Chunks, Error> {
        if self.form != Form::Plain {
            let range = range.unwrap_or(0..self.info.size);
            let pieces = segments::cut(self.pieces(door).await?, range);
            let gate = Arc::new(CallerGate::new(door, call));
            return Ok(Chunks::Joined(Box::new(Joined::new(door.store.clone(), Some(gate), pieces))));
        }
        let mut reader = match self.opened.take() {
            Some(reader) => reader,
            None => open_version(door, call, &self.path, self.info.timestamp).await?,
        };
        if let Some(range) = range {
            reader.set_range(range);
        }
        Ok(Chunks::Plain(reader))
    }
}

/// Opens an object again, if it still is the version that it was.
async fn open_version(door: &SwiftDoor, call: &Call, path: &ObjectPath, version: Timestamp) -> Result<Reader, Error> {
    let reader =
        object::open_as(&door.store, path, expiry::expired(door, call)).await?.ok_or(Error::Missing("object"))?;
    match reader.info().timestamp {
        found if found == version => Ok(reader),
        current => Err(Error::Stale { current }),
    }
}

/// The bytes of one range, in order.
pub(super) enum Chunks {
    /// Of one object.
    Plain(Reader),
    /// Of several.
    Joined(Box<Joined>),
}

impl Chunks {
    /// The next bytes, verified; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Plain(reader) => reader.next().await,
            Self::Joined(joined) => joined.next().await,
        }
    }

    /// Makes sure that there is something to send before the answer's status is: a large object whose first
    /// segment is gone, changed or denied is a 409.
    pub(super) async fn prime(&mut self) -> Result<(), Fault> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Joined(joined) => match joined.peek().await {
                Ok(()) => Ok(()),
                Err(Error::Missing(_) | Error::Stale { .. } | Error::Precondition) => {
                    Err(Fault::status(StatusCode::CONFLICT))
                }
                Err(error) => Err(error.into()),
            },
        }
    }
}
