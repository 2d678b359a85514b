//! The part list: what is stored as the body of an object whose content is
//! [`anello_storage::Content::Multipart`]. The layout is `docs/formats/multipart.md`, and golden bytes
//! below hold it. Every length is checked before it is used: a list that was tampered with is an error,
//! never a wrong object.

use anello_storage::ObjectPath;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::limits::{PART_LIST_BYTES_MAX, PARTS_MAX};

/// The system account that keeps uploads and parts; no door reaches it by name.
pub const PARTS_ACCOUNT: &str = ".multipart";

const MAGIC: &[u8; 8] = b"ANPARTS\0";
const VERSION: u16 = 1;
/// Its digests are sealed.
const SEALED_VERSION: u16 = 2;
const MD5_BYTES: usize = 16;
const HEADER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number as the client gave it, 1 to 10,000.
    pub number: u16,
    /// Size in bytes.
    pub size: u64,
    /// MD5 of its data.
    pub md5: [u8; 16],
    /// Raw digest in the algorithm that the upload chose; empty where it chose none.
    pub checksum: Vec<u8>,
    /// Name of the object that holds it, in [`PartList::container`] of [`PARTS_ACCOUNT`].
    pub name: String,
}

/// The parts of an object, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartList {
    /// The object that the parts belong to.
    pub owner: ObjectPath,
    /// Container of the parts.
    pub container: String,
    /// The parts by ascending number.
    pub parts: Vec<Part>,
}

/// A list as it is stored: its digests may be sealed, and are zeros and nothing then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::object) struct SealedList {
    /// The list.
    pub(in crate::object) list: PartList,
    /// The digests, where they are sealed.
    pub(in crate::object) digests: Option<String>,
}

/// The bytes are not a part list of a version that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a part list: {0}")]
pub struct ParseError(&'static str);

impl PartList {
    /// Size of the whole object in bytes.
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// Where a part's data are.
    pub fn path(&self, part: &Part) -> ObjectPath {
        ObjectPath::new(PARTS_ACCOUNT, self.container.as_str(), part.name.as_str())
    }

    /// The bytes to store. Names are cut by nobody: a name longer than 65,535 bytes is a defect of the caller.
    pub fn encode(&self) -> Bytes {
        self.encode_as(VERSION, None)
    }

    /// The same without the digests, which are sealed.
    pub(in crate::object) fn encode_sealed(&self, digests: &str) -> Bytes {
        self.encode_as(SEALED_VERSION, Some(digests))
    }

    fn encode_as(&self, version: u16, digests: Option<&str>) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + 256 + self.parts.len() * 128);
        out.put_slice(MAGIC);
        out.put_u16_le(version);
        out.put_u16_le(0);
        out.put_u32_le(u32::try_from(self.parts.len()).expect("at most PARTS_MAX parts"));
        for text in [&self.owner.account, &self.owner.container, &self.owner.object, &self.container] {
            put_text(&mut out, text);
        }
        for part in &self.parts {
            out.put_u16_le(part.number);
            out.put_u64_le(part.size);
            match digests {
                None => put_digests(&mut out, part),
                Some(_) => out.put_bytes(0, MD5_BYTES + 1),
            }
            put_text(&mut out, &part.name);
        }
        if let Some(digests) = digests {
            out.put_u32_le(u32::try_from(digests.len()).expect("sealed values are below a MiB"));
            out.put_slice(digests.as_bytes());
        }
        let crc = crc32fast::hash(&out);
        out.put_u32_le(crc);
        out.freeze()
    }

    /// The digests of all parts, in order.
    pub(in crate::object) fn digests(&self) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.parts.iter().for_each(|part| put_digests(&mut out, part));
        out.into()
    }

    /// Gives the parts their digests; `None` where these are not those of so many.
    pub(in crate::object) fn set_digests(&mut self, mut bytes: &[u8]) -> Option<()> {
        let rest = &mut bytes;
        for part in &mut self.parts {
            part.md5 = *take(rest, MD5_BYTES).ok()?.first_chunk()?;
            let length = take(rest, 1).ok()?.get_u8();
            part.checksum = take(rest, usize::from(length)).ok()?.to_vec();
        }
        rest.is_empty().then_some(())
    }

    /// Reads what [`PartList::encode`] wrote; of a list whose digests are sealed, all but these.
    pub fn decode(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::decode_any(bytes).map(|read| read.list)
    }

    /// Reads a list as it is stored.
    pub(in crate::object) fn decode_any(bytes: &[u8]) -> Result<SealedList, ParseError> {
        if bytes.len() as u64 > PART_LIST_BYTES_MAX || bytes.len() < HEADER_BYTES + CRC_BYTES {
            return Err(ParseError("its length is out of bounds"));
        }
        let (mut rest, mut crc) = bytes.split_at(bytes.len() - CRC_BYTES);
        if crc32fast::hash(rest) != crc.get_u32_le() {
            return Err(ParseError("its checksum is wrong"));
        }
        let rest = &mut rest;
        if rest.split_to_array() != *MAGIC {
            return Err(ParseError("its magic is wrong"));
        }
        let is_sealed = match (rest.get_u16_le(), rest.get_u16_le()) {
            (VERSION, 0) => false,
            (SEALED_VERSION, 0) => true,
            _ => return Err(ParseError("its version is unknown")),
        };
        let count = rest.get_u32_le() as usize;
        if count > PARTS_MAX {
            return Err(ParseError("it has too many parts"));
        }
        let owner = ObjectPath::new(take_text(rest)?, take_text(rest)?, take_text(rest)?);
        let container = take_text(rest)?;
        let parts = (0..count).map(|_| take_part(rest)).collect::<Result<Vec<_>, _>>()?;
        let digests = is_sealed.then(|| take_digests(rest)).transpose()?;
        if !rest.is_empty() {
            return Err(ParseError("bytes follow its last part"));
        }
        if parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.size)).is_none() {
            return Err(ParseError("its size overflows"));
        }
        Ok(SealedList { list: Self { owner, container, parts }, digests })
    }
}

/// Takes the first `N` bytes; whoever calls it has checked that they are there.
trait SplitArray {
    fn split_to_array<const N: usize>(&mut self) -> [u8; N];
}

impl SplitArray for &[u8] {
    fn split_to_array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        self.copy_to_slice(&mut array);
        array
    }
}

fn put_digests(out: &mut BytesMut, part: &Part) {
    out.put_slice(&part.md5);
    out.put_u8(u8::try_from(part.checksum.len()).expect("a digest is at most 32 bytes"));
    out.put_slice(&part.checksum);
}

fn take_digests(rest: &mut &[u8]) -> Result<String, ParseError> {
    let length = take(rest, 4)?.get_u32_le();
    let text = take(rest, length as usize)?;
    std::str::from_utf8(text).map(str::to_owned).map_err(|_| ParseError("its digests are not UTF-8"))
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16_le(u16::try_from(text.len()).expect("names are below 64 KiB"));
    out.put_slice(text.as_bytes());
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], ParseError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(ParseError("it ends too early"))?;
    *rest = left;
    Ok(taken)
}

fn take_text(rest: &mut &[u8]) -> Result<String, ParseError> {
    let length = take(rest, 2)?.get_u16_le();
    let text = take(rest, usize::from(length))?;
    std::str::from_utf8(text).map(str::to_owned).map_err(|_| ParseError("a name is not UTF-8"))
}

fn take_part(rest: &mut &[u8]) -> Result<Part, ParseError> {
    let mut fixed = take(rest, 2 + 8 + 16 + 1)?;
    let (number, size, md5) = (fixed.get_u16_le(), fixed.get_u64_le(), fixed.split_to_array());
    let checksum = take(rest, usize::from(fixed.get_u8()))?.to_vec();
    Ok(Part { number, size, md5, checksum, name: take_text(rest)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> PartList {
        PartList {
            owner: ObjectPath::new("AUTH_a", "b", "k"),
            container: "parts/AUTH_a/b".into(),
            parts: vec![
                Part {
                    number: 1,
                    size: 5 << 20,
                    md5: [0x11; 16],
                    checksum: vec![1, 2, 3, 4],
                    name: "u/00001/x".into(),
                },
                Part { number: 9, size: 7, md5: [0x22; 16], checksum: Vec::new(), name: "u/00009/y".into() },
            ],
        }
    }

    const GOLDEN: &str = "414e50415254530001000000020000000600415554485f6101006201006b0e0070617274732f41555448\
        5f612f62010000005000000000001111111111111111111111111111111104010203040900752f30303030312f78090007000000\
        0000000022222222222222222222222222222222000900752f30303030392f79";

    #[test]
    fn version_1_bytes_stay_readable() {
        let mut bytes = hex::decode(GOLDEN).expect("hex");
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        assert_eq!(PartList::decode(&bytes), Ok(list()));
        assert_eq!(list().encode(), bytes, "{}", hex::encode(list().encode()));
    }

    #[test]
    fn digests_are_stored_apart_where_they_are_sealed() {
        let sealed = list().encode_sealed("~1..abc");
        let SealedList { list: mut found, digests } = PartList::decode_any(&sealed).expect("a list");
        assert_eq!(digests.as_deref(), Some("~1..abc"));
        assert_ne!(found, list());
        assert_eq!(found.set_digests(&list().digests()), Some(()));
        assert_eq!(found, list());
        assert_eq!(found.set_digests(&list().digests()[1..]), None);
    }

    #[test]
    fn a_damaged_list_is_refused_and_never_panics() {
        let bytes = list().encode();
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x40;
            assert!(PartList::decode(&flipped).is_err(), "flip at {at}");
            assert!(PartList::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let body = bytes.len() - CRC_BYTES;
        for at in HEADER_BYTES - 4..body {
            let mut forged = bytes[..body].to_vec();
            forged[at] = 0xff;
            let crc = crc32fast::hash(&forged);
            forged.extend(crc.to_le_bytes());
            let _whatever_but_no_panic = PartList::decode(&forged);
        }
    }
}
