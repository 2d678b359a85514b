//! Reading a joined object: part after part, the next one opened while the current one is sent.
//!
//! A part is served only if it is what the list says (size and MD5 as stored); anything else is
//! [`Error::Corrupt`]. Dropped half-way, the opening of the next part is aborted and nothing remains.

use std::collections::VecDeque;
use std::ops::Range;

use anello_storage::{Error, ObjectInfo, ObjectPath, Result};
use bytes::{Bytes, BytesMut};
use tokio_util::task::AbortOnDropHandle;

use super::limits::PART_LIST_BYTES_MAX;
use super::parts::{Part, PartList};
use super::vault::{ObjectReader, Vault};

/// A part that was opened, with its first bytes.
type Opened = (ObjectReader, Option<Bytes>);

/// See the module.
#[derive(Debug)]
pub(super) struct Joined {
    store: Vault,
    info: ObjectInfo,
    list: PartList,
    /// What is still to be read: index of the part and range in it.
    ahead: VecDeque<(usize, Range<u64>)>,
    first: Option<Bytes>,
    current: Option<ObjectReader>,
    opening: Option<AbortOnDropHandle<Result<Opened>>>,
}

/// Reads the part list that `reader` holds; `path` is for the error's text.
pub async fn read_list(path: &ObjectPath, mut reader: ObjectReader) -> Result<PartList> {
    let length = reader.info().stored_size;
    if length > PART_LIST_BYTES_MAX {
        return Err(no_list(path, length));
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = reader.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    decoded(path, &bytes)
}

/// The same as it is stored: its digests may be sealed, and are not there then.
pub(super) async fn read_stored_list(path: &ObjectPath, mut reader: anello_storage::ObjectReader) -> Result<PartList> {
    let length = reader.info().stored_size;
    if length > PART_LIST_BYTES_MAX {
        return Err(no_list(path, length));
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = reader.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    decoded(path, &bytes)
}

fn decoded(path: &ObjectPath, bytes: &[u8]) -> Result<PartList> {
    PartList::decode(bytes).map_err(|error| {
        tracing::error!(%path, %error, "an object's part list can't be read");
        no_list(path, bytes.len() as u64)
    })
}

fn no_list(path: &ObjectPath, found: u64) -> Error {
    let (file, expected) = (path.to_string().into(), PART_LIST_BYTES_MAX);
    Error::Corrupt { what: "part list", file, offset: 0, expected, found }
}

impl Joined {
    /// Reads the list of parts.
    pub(super) async fn open(store: Vault, path: &ObjectPath, reader: ObjectReader) -> Result<Self> {
        let info = reader.info().clone();
        let list = read_list(path, reader).await?;
        if list.size() != info.size {
            return Err(Error::Corrupt {
                what: "part list's size",
                file: path.to_string().into(),
                offset: 0,
                expected: info.size,
                found: list.size(),
            });
        }
        let ahead = segments(&list.parts, 0..info.size);
        Ok(Self { store, info, list, ahead, first: None, current: None, opening: None })
    }

    pub(super) fn info(&self) -> &ObjectInfo {
        &self.info
    }

    pub(super) fn list(&self) -> &PartList {
        &self.list
    }

    pub(super) fn set_range(&mut self, range: Range<u64>) {
        self.ahead = segments(&self.list.parts, range);
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(first) = self.first.take() {
                return Ok(Some(first));
            }
            if let Some(current) = &mut self.current {
                match current.next().await? {
                    Some(bytes) => return Ok(Some(bytes)),
                    None => self.current = None,
                }
                continue;
            }
            let Some(opening) = self.opening.take().or_else(|| self.open_next()) else { return Ok(None) };
            let (reader, first) = opening.await.map_err(|_| Error::Stopped)??;
            (self.current, self.first) = (Some(reader), first);
            self.opening = self.open_next();
        }
    }

    fn open_next(&mut self) -> Option<AbortOnDropHandle<Result<Opened>>> {
        let (index, range) = self.ahead.pop_front()?;
        let part = self.list.parts[index].clone();
        let path = self.list.path(&part);
        Some(AbortOnDropHandle::new(tokio::spawn(open_part(self.store.clone(), path, part, range))))
    }
}

async fn open_part(store: Vault, path: ObjectPath, part: Part, range: Range<u64>) -> Result<Opened> {
    let Some(mut reader) = store.object_read(&path).await? else { return Err(Error::Missing("part")) };
    let info = reader.info();
    if info.size != part.size || info.etag != hex::encode(part.md5) {
        return Err(Error::Corrupt {
            what: "part",
            file: path.to_string().into(),
            offset: 0,
            expected: part.size,
            found: info.size,
        });
    }
    if range != (0..part.size) {
        reader.set_range(range);
    }
    let first = reader.next().await?;
    Ok((reader, first))
}

/// The parts that cover `range` of the whole, with the range in each; empty parts are left out.
fn segments(parts: &[Part], range: Range<u64>) -> VecDeque<(usize, Range<u64>)> {
    let mut segments = VecDeque::new();
    let mut start = 0;
    for (index, part) in parts.iter().enumerate() {
        let end = start + part.size;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            segments.push_back((index, from - start..to - start));
        }
        start = end;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_reads_exactly_the_parts_it_touches() {
        let part = |size| Part { number: 1, size, md5: [0; 16], checksum: Vec::new(), name: String::new() };
        let parts = [part(10), part(0), part(5), part(20)];
        let check = |range: Range<u64>, want: &[(usize, Range<u64>)]| {
            assert_eq!(segments(&parts, range.clone()), want.to_vec(), "{range:?}");
        };
        check(0..35, &[(0, 0..10), (2, 0..5), (3, 0..20)]);
        check(9..11, &[(0, 9..10), (2, 0..1)]);
        check(10..15, &[(2, 0..5)]);
        check(34..35, &[(3, 19..20)]);
        check(5..5, &[]);
        check(30..99, &[(3, 15..20)]);
    }
}
