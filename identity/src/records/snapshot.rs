//! Snapshots: all records of a kind in one object, so that a start reads them at one go instead of one by one.
//!
//! The records are the truth, and a snapshot is a cache of them: it may be old, lack records or have records that are
//! gone. Each copy bears the version that it is of, and is taken only where the listing of the records shows this
//! version and the data have its tag ([`Copied::is`]). So neither an old snapshot nor a damaged one can show what is
//! not there; at worst a start is slow. The form is in `docs/formats/identity-snapshot.md`.

use anello_base::Timestamp;
use anello_storage::store::{ObjectHead, ObjectReader};
use anello_storage::{ObjectPath, Precondition, Store};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use md5::{Digest, Md5};

use super::objects::ACCOUNT;
use super::{Kind, Version, etag};
use crate::error::{Error, Result};
use crate::limits::{RECORD_BYTES_MAX, RECORD_ID_BYTES_MAX, SNAPSHOT_PART_BYTES};

/// The container of the snapshots; each is called as its kind's container.
pub(super) const CONTAINER: &str = "snapshots";

/// What a snapshot begins with; the version of its form stands behind.
const MAGIC: &[u8; 8] = b"ANLOSNAP";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 16;

/// Length of the id, length of the data, ticks, MD5.
const COPY_HEAD_BYTES: usize = 4 + 4 + 8 + MD5_BYTES;
const MD5_BYTES: usize = 16;

/// A record as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its id.
    pub id: String,
    /// The version that the data are said to be of.
    pub version: Version,
    /// Its data.
    pub data: Bytes,
}

impl Copied {
    /// Whether this is the version that stands, whole.
    pub fn is(&self, listed: &Version) -> bool {
        self.version == *listed && etag(&self.data) == listed.etag
    }
}

/// Where a back end whose records are slow to read one by one keeps snapshots of them.
pub trait Snapshots: Send + Sync {
    /// When the snapshot of a kind was written; `None` where there is none.
    fn written(&self, kind: Kind) -> BoxFuture<'_, Result<Option<Timestamp>>>;

    /// Writes these copies in the place of the snapshot before. Dropped or killed half-way, that one stays.
    fn keep<'a>(&'a self, kind: Kind, copies: BoxStream<'a, Result<Copied>>) -> BoxFuture<'a, Result<()>>;
}

fn path(kind: Kind) -> ObjectPath {
    ObjectPath::new(ACCOUNT, CONTAINER, kind.container())
}

/// When a snapshot was written.
pub(super) async fn written(store: &Store, kind: Kind) -> Result<Option<Timestamp>> {
    Ok(store.object(&path(kind)).await?.map(|info| info.timestamp))
}

/// Writes a snapshot.
pub(super) async fn keep(store: &Store, kind: Kind, mut copies: BoxStream<'_, Result<Copied>>) -> Result<()> {
    let mut writer = store.object_write(&path(kind), None).await?;
    let (mut part, mut digest) = (BytesMut::with_capacity(2 * SNAPSHOT_PART_BYTES), Md5::new());
    part.put_slice(MAGIC);
    part.put_u32_le(FORMAT);
    part.put_u32_le(0);
    while let Some(copy) = copies.try_next().await? {
        encode(&copy, &mut part)?;
        if part.len() >= SNAPSHOT_PART_BYTES {
            let full = part.split().freeze();
            digest.update(&full);
            writer.write(full).await?;
        }
    }
    digest.update(&part);
    writer.write(part.freeze()).await?;
    let content_type = "application/octet-stream".to_owned();
    let head = ObjectHead { etag: hex::encode(digest.finalize()), content_type, ..ObjectHead::default() };
    writer.finish(head, &Precondition::default()).await?;
    Ok(())
}

/// The copies of a snapshot, a part of it at a time. Behind what can't be read there is nothing.
pub(super) fn copies(store: &Store, kind: Kind) -> BoxStream<'_, Result<Vec<Copied>>> {
    let parts = stream::try_unfold(None, move |reading: Option<Reading>| async move {
        let mut reading = match reading {
            Some(reading) => reading,
            None => match store.object_read(&path(kind)).await? {
                Some(reader) => Reading { reader, buffer: BytesMut::new(), is_begun: false },
                None => return Ok(None),
            },
        };
        Ok(reading.part().await?.map(|copies| (copies, Some(reading))))
    });
    parts.boxed()
}

struct Reading {
    reader: ObjectReader,
    buffer: BytesMut,
    is_begun: bool,
}

impl Reading {
    /// The copies of the next part; `None` at the end.
    async fn part(&mut self) -> Result<Option<Vec<Copied>>> {
        let mut copies = Vec::new();
        while self.buffer.len() < SNAPSHOT_PART_BYTES {
            match self.reader.next().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    self.decode(&mut copies)?;
                    return match self.buffer.is_empty() {
                        true => Ok(Some(copies)),
                        false => Err(unreadable("it ends in the middle of a record")),
                    };
                }
            }
        }
        self.decode(&mut copies)?;
        Ok(Some(copies))
    }

    /// Takes what is whole from the buffer.
    fn decode(&mut self, copies: &mut Vec<Copied>) -> Result<()> {
        if !self.is_begun {
            if self.buffer.len() < HEADER_BYTES || self.buffer[..MAGIC.len()] != MAGIC[..] {
                return Err(unreadable("its beginning is another one's"));
            }
            self.buffer.advance(MAGIC.len());
            let (format, reserved) = (self.buffer.get_u32_le(), self.buffer.get_u32_le());
            if (format, reserved) != (FORMAT, 0) {
                return Err(unreadable("its format is not known"));
            }
            self.is_begun = true;
        }
        while let Some(copy) = decode(&mut self.buffer)? {
            copies.push(copy);
        }
        Ok(())
    }
}

fn unreadable(why: &str) -> Error {
    Error::Corrupt { kind: CONTAINER, id: String::new(), why: why.to_owned() }
}

pub(super) fn encode(copy: &Copied, out: &mut BytesMut) -> Result<()> {
    let mut md5 = [0; MD5_BYTES];
    let lengths = (u32::try_from(copy.id.len()), u32::try_from(copy.data.len()));
    let (Ok(id), Ok(data), Ok(())) = (lengths.0, lengths.1, hex::decode_to_slice(&copy.version.etag, &mut md5)) else {
        return Err(Error::Internal("a record that no snapshot can hold".to_owned()));
    };
    out.put_u32_le(id);
    out.put_u32_le(data);
    out.put_u64_le(copy.version.timestamp.to_bits());
    out.put_slice(&md5);
    out.put_slice(copy.id.as_bytes());
    out.put_slice(&copy.data);
    Ok(())
}

/// The next copy, where it is here as a whole.
pub(super) fn decode(buffer: &mut BytesMut) -> Result<Option<Copied>> {
    let Some(mut head) = buffer.get(..COPY_HEAD_BYTES) else { return Ok(None) };
    let (id_bytes, data_bytes) = (head.get_u32_le() as usize, head.get_u32_le() as usize);
    if id_bytes > RECORD_ID_BYTES_MAX || data_bytes > RECORD_BYTES_MAX {
        return Err(unreadable("a record is longer than records are"));
    }
    let timestamp = Timestamp::from_bits(head.get_u64_le());
    let timestamp = timestamp.ok_or_else(|| unreadable("a version is later than any"))?;
    let version = Version { timestamp, etag: hex::encode(head) };
    if buffer.len() < COPY_HEAD_BYTES + id_bytes + data_bytes {
        return Ok(None);
    }
    buffer.advance(COPY_HEAD_BYTES);
    let id = String::from_utf8(buffer.split_to(id_bytes).into());
    let id = id.map_err(|_| unreadable("an id is no text"))?;
    Ok(Some(Copied { id, version, data: buffer.split_to(data_bytes).freeze() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(id: &str, data: &'static [u8]) -> Copied {
        let version = Version { timestamp: Timestamp::from_ticks(77), etag: etag(data) };
        Copied { id: id.to_owned(), version, data: Bytes::from_static(data) }
    }

    /// The bytes of the form's description.
    #[test]
    fn a_copy_is_as_its_format_says_and_comes_back() {
        let mut out = BytesMut::new();
        encode(&copy("id", b"{}"), &mut out).expect("short");
        let text = "02000000020000004d00000000000000".to_owned() + "99914b932bd37a50b983c5e7c90ae93b" + "6964" + "7b7d";
        assert_eq!(hex::encode(&out), text);
        assert_eq!(decode(&mut out).expect("whole"), Some(copy("id", b"{}")));
        assert!(out.is_empty());
        // A version that is later than any is not cut to the latest: that would be another one.
        encode(&copy("id", b"{}"), &mut out).expect("short");
        out[8..16].fill(0xff);
        assert!(decode(&mut out).is_err());
    }

    #[test]
    fn a_copy_is_not_taken_for_another_version_nor_with_other_data() {
        let whole = copy("id", b"{}");
        assert!(whole.is(&whole.version));
        let later = Version { timestamp: Timestamp::from_ticks(78), ..whole.version.clone() };
        assert!(!whole.is(&later));
        let damaged = Copied { data: Bytes::from_static(b"[]"), ..whole.clone() };
        assert!(!damaged.is(&whole.version));
    }

    #[test]
    fn no_damage_makes_decoding_take_more_than_there_is() {
        let mut whole = BytesMut::new();
        encode(&copy("id", b"{\"a\":1}"), &mut whole).expect("short");
        for length in 0..whole.len() {
            assert_eq!(decode(&mut BytesMut::from(&whole[..length])).expect("short of bytes"), None);
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(Some(copied)) = decode(&mut damaged) {
                let is_same = copied.id == "id" && copied.is(&copy("id", b"{\"a\":1}").version);
                assert!(!is_same, "bit {bit}");
            }
        }
    }
}
