//! Where the bytes of an object come from, range by range. One [`Source`] is one version of an object:
//! every range that is opened of it belongs to that version, or fails.

use std::ops::Range;

use anello_base::Timestamp;
use anello_storage::{Error, ObjectInfo, ObjectPath, Store};
use bytes::Bytes;

use crate::object::{self, Reader};

/// An object that can be read.
pub(super) struct Source {
    /// What it is like.
    pub(super) info: ObjectInfo,
    path: ObjectPath,
    opened: Option<Reader>,
}

impl Source {
    /// The object without its data: enough for HEAD, and opened when a range is asked for.
    pub(super) async fn look_up(store: &Store, path: &ObjectPath) -> Result<Option<Self>, Error> {
        let info = store.object(path).await?;
        Ok(info.map(|info| Self { info, path: path.clone(), opened: None }))
    }

    /// The object, ready to be read.
    pub(super) async fn open(store: &Store, path: &ObjectPath) -> Result<Option<Self>, Error> {
        let reader = object::open(store, path).await?;
        Ok(reader.map(|reader| Self { info: reader.info().clone(), path: path.clone(), opened: Some(reader) }))
    }

    /// Begins to read a range, or all of it.
    pub(super) async fn read(&mut self, store: &Store, range: Option<Range<u64>>) -> Result<Chunks, Error> {
        let mut reader = match self.opened.take() {
            Some(reader) => reader,
            None => open_version(store, &self.path, self.info.timestamp).await?,
        };
        if let Some(range) = range {
            reader.set_range(range);
        }
        Ok(Chunks(reader))
    }
}

/// Opens an object again, if it still is the version that it was.
async fn open_version(store: &Store, path: &ObjectPath, version: Timestamp) -> Result<Reader, Error> {
    let reader = object::open(store, path).await?.ok_or(Error::Missing("object"))?;
    match reader.info().timestamp {
        found if found == version => Ok(reader),
        current => Err(Error::Stale { current }),
    }
}

/// The bytes of one range, in order.
pub(super) struct Chunks(Reader);

impl Chunks {
    /// The next bytes, verified; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.0.next().await
    }
}
