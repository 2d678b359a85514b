//! Objects as both doors see them: whole, also where their data are parts stored as objects of their own
//! in a system account ([`anello_storage::Content::Multipart`]).

use std::ops::Range;

use anello_storage::{ObjectInfo, ObjectPath, Result, Store};
use bytes::Bytes;

/// An object being read, its parts joined.
#[derive(Debug)]
pub struct Reader {}

/// Opens an object for reading; `None` where there is none.
pub async fn open(store: &Store, path: &ObjectPath) -> Result<Option<Reader>> {
    todo!("{store:?} {path}")
}

impl Reader {
    /// What it is like; `size` is the whole object's.
    pub fn info(&self) -> &ObjectInfo {
        todo!()
    }

    /// Reads only this range of the whole; to be called before the first [`Reader::next`].
    pub fn set_range(&mut self, range: Range<u64>) {
        todo!("{range:?}")
    }

    /// The next bytes in order, verified; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        todo!()
    }
}
