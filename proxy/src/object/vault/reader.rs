//! Reading an object through the lock: chunk after chunk, each opened where it was read. Nothing of a chunk is given out
//! before its seal was found to be whole. Memory: one chunk, or the list of an object's parts.

use std::ops::Range;

use anello_storage::{Content, Error, ObjectInfo, ObjectPath, Result};
use bytes::{Bytes, BytesMut};

use super::body::{BodyCipher, CHUNK_BYTES, SEALED_BYTES, TAG_BYTES, damaged, last_chunk, stored_range};
use super::keys::ContainerKeys;
use super::seal::{self, Opened};
use crate::object::limits::PART_LIST_BYTES_MAX;
use crate::object::parts::{PartList, SealedList};

/// As [`anello_storage::ObjectReader`]: one version, as if it had never been sealed.
#[derive(Debug)]
pub struct ObjectReader(Kind);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum Kind {
    Open(anello_storage::ObjectReader),
    Sealed(Box<SealedReader>),
}

#[derive(Debug)]
struct SealedReader {
    path: ObjectPath,
    info: ObjectInfo,
    inner: anello_storage::ObjectReader,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// As they are stored: only the metadata are sealed.
    AsStored,
    /// In chunks.
    Chunks { cipher: Box<BodyCipher>, range: Range<u64>, length: u64, gathered: BytesMut },
    /// A list of parts.
    Whole(Option<Bytes>),
}

impl From<anello_storage::ObjectReader> for ObjectReader {
    fn from(reader: anello_storage::ObjectReader) -> Self {
        Self(Kind::Open(reader))
    }
}

impl ObjectReader {
    /// A reader of an object of which something is sealed.
    pub(super) async fn sealed(
        keys: Option<&ContainerKeys>,
        path: &ObjectPath,
        mut inner: anello_storage::ObjectReader,
        opened: Opened,
    ) -> Result<Self> {
        let Opened { mut info, body } = opened;
        let data = if info.content == Content::Multipart && seal::is_text(&inner.info().etag) {
            let list = list_in(keys, path, &mut inner).await?.encode();
            info.stored_size = list.len() as u64;
            Data::Whole(Some(list))
        } else if let Some(key) = body {
            let (cipher, length) = (Box::new(BodyCipher::new(&key)), key.length);
            Data::Chunks { cipher, range: 0..length, length, gathered: BytesMut::new() }
        } else {
            Data::AsStored
        };
        Ok(Self(Kind::Sealed(Box::new(SealedReader { path: path.clone(), info, inner, data }))))
    }

    /// What it is like.
    pub fn info(&self) -> &ObjectInfo {
        match &self.0 {
            Kind::Open(reader) => reader.info(),
            Kind::Sealed(sealed) => &sealed.info,
        }
    }

    /// Reads only this range of the data, cut to their end; to be called before the first [`ObjectReader::next`].
    pub fn set_range(&mut self, wanted: Range<u64>) {
        match &mut self.0 {
            Kind::Open(reader) => reader.set_range(wanted),
            Kind::Sealed(sealed) => sealed.set_range(wanted),
        }
    }

    /// The next bytes in order, verified; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match &mut self.0 {
            Kind::Open(reader) => reader.next().await,
            Kind::Sealed(sealed) => Box::pin(sealed.next()).await,
        }
    }
}

impl SealedReader {
    fn set_range(&mut self, wanted: Range<u64>) {
        match &mut self.data {
            Data::AsStored => self.inner.set_range(wanted),
            Data::Chunks { range, length, .. } => {
                let end = wanted.end.min(*length);
                *range = wanted.start.min(end)..end;
                self.inner.set_range(stored_range(range, *length));
            }
            Data::Whole(list) => {
                let length = list.as_ref().map_or(0, Bytes::len);
                let end = usize::try_from(wanted.end).map_or(length, |end| end.min(length));
                let start = usize::try_from(wanted.start).map_or(end, |start| start.min(end));
                *list = list.take().map(|list| list.slice(start..end));
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Self { path, inner, data, .. } = self;
        let (cipher, range, length, gathered) = match data {
            Data::AsStored => return inner.next().await,
            Data::Whole(list) => return Ok(list.take().filter(|list| !list.is_empty())),
            Data::Chunks { cipher, range, length, gathered } => (cipher, range, *length, gathered),
        };
        if range.is_empty() {
            return Ok(None);
        }
        let chunk = CHUNK_BYTES as u64;
        let (number, last) = (range.start / chunk, last_chunk(length));
        let bytes = (length - number * chunk).min(chunk) as usize + TAG_BYTES;
        while gathered.len() < bytes {
            let Some(more) = inner.next().await? else {
                return Err(Error::Truncated { missing: range.end - range.start });
            };
            gathered.reserve(SEALED_BYTES);
            gathered.extend_from_slice(&more);
        }
        let mut opened = gathered.split_to(bytes);
        cipher.open(path, number, number == last, &mut opened)?;
        let from = range.start - number * chunk;
        let to = (range.end - number * chunk).min(opened.len() as u64);
        range.start = number * chunk + to;
        Ok(Some(opened.freeze().slice(from as usize..to as usize)))
    }
}

/// Reads a list of parts, and opens their digests.
async fn list_in(
    keys: Option<&ContainerKeys>,
    path: &ObjectPath,
    inner: &mut anello_storage::ObjectReader,
) -> Result<PartList> {
    let corrupt = || damaged("part list", path, 0);
    if inner.info().stored_size > PART_LIST_BYTES_MAX {
        return Err(corrupt());
    }
    let mut bytes = BytesMut::new();
    while let Some(more) = inner.next().await? {
        bytes.extend_from_slice(&more);
    }
    let SealedList { mut list, digests } = PartList::decode_any(&bytes).map_err(|_| corrupt())?;
    if let Some(digests) = digests {
        let digests = seal::open_digests(keys, &path.object, &digests)?;
        list.set_digests(&digests).ok_or_else(corrupt)?;
    }
    Ok(list)
}
