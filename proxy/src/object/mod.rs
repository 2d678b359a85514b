//! Objects as both doors see them: whole, also where their data are parts stored as objects of their own
//! in a system account ([`anello_storage::Content::Multipart`]), and where they are a list of segments
//! ([`segments`]).
//!
//! [`open`] reads either kind alike. Memory per reader is bounded: the part list, one chunk of the part
//! being read, and the first chunk of the next part, which is opened ahead. [`reaper`] deletes the parts
//! of objects that were replaced or deleted, [`sweeper`] those that a crash left behind, and [`deletions`] what is to
//! be deleted in the background, [`lifecycle`] what a bucket's rules let expire. Making joined
//! objects is the S3 door's work.

pub mod access_logs;
pub mod deletions;
pub mod lifecycle;
pub mod limits;
pub mod link;
pub(crate) mod lock;
pub mod names;
pub mod parts;
pub mod reaper;
pub mod segments;
pub mod sweeper;
pub(crate) mod tags;
pub mod vault;
pub mod versions;
pub mod writer;

pub mod account_reaper;
mod joined;

use std::ops::Range;

use anello_storage::store::Expired;
use anello_storage::{Content, ObjectInfo, ObjectPath, Result};
use bytes::Bytes;

pub use joined::read_list;
pub use parts::{PARTS_ACCOUNT, Part, PartList};
use vault::{ObjectReader, Vault};

/// An object being read, its parts joined.
#[derive(Debug)]
pub struct Reader {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Plain(Box<ObjectReader>),
    Joined(Box<joined::Joined>),
    Segments(Box<segments::Whole>),
}

/// Opens an object for reading; `None` where there is none.
pub fn open(store: &Vault, path: &ObjectPath) -> impl Future<Output = Result<Option<Reader>>> + Send {
    open_as(store, path, Expired::Absent)
}

/// The same, also one whose time has come.
pub async fn open_as(store: &Vault, path: &ObjectPath, expired: Expired) -> Result<Option<Reader>> {
    let Some(reader) = store.object_read_as(path, expired).await? else { return Ok(None) };
    let kind = match reader.info().content {
        // A link has no data; whoever follows it does so before.
        Content::Segments if link::is_link(reader.info()) => Kind::Plain(Box::new(reader)),
        Content::Segments => {
            let info = reader.info().clone();
            Kind::Segments(Box::new(segments::Whole::new(store.clone(), path.clone(), info)))
        }
        Content::Plain | Content::Fragments => Kind::Plain(Box::new(reader)),
        Content::Multipart => Kind::Joined(Box::new(joined::Joined::open(store.clone(), path, reader).await?)),
    };
    Ok(Some(Reader { kind }))
}

impl Reader {
    /// What it is like; `size` is the whole object's.
    pub fn info(&self) -> &ObjectInfo {
        match &self.kind {
            Kind::Plain(reader) => reader.info(),
            Kind::Joined(joined) => joined.info(),
            Kind::Segments(whole) => whole.info(),
        }
    }

    /// The list of its parts, where the object is joined.
    pub fn list(&self) -> Option<&PartList> {
        match &self.kind {
            Kind::Plain(_) | Kind::Segments(_) => None,
            Kind::Joined(joined) => Some(joined.list()),
        }
    }

    /// The parts in order, where the object is joined of parts that a client gave.
    pub fn parts(&self) -> Option<&[Part]> {
        let parts = self.list()?.parts.as_slice();
        // The data of a version that came in one piece are one part without a number.
        (!parts.iter().any(|part| part.number == 0)).then_some(parts)
    }

    /// Reads only this range of the whole; to be called before the first [`Reader::next`].
    pub fn set_range(&mut self, range: Range<u64>) {
        match &mut self.kind {
            Kind::Plain(reader) => reader.set_range(range),
            Kind::Joined(joined) => joined.set_range(range),
            Kind::Segments(whole) => whole.set_range(range),
        }
    }

    /// The next bytes in order, verified; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match &mut self.kind {
            Kind::Plain(reader) => reader.next().await,
            Kind::Joined(joined) => joined.next().await,
            Kind::Segments(whole) => whole.next().await,
        }
    }
}
