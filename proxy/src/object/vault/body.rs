//! An object's data: AES-256-GCM in chunks of 64 KiB, so that a range costs no more than the chunks that it touches. A
//! chunk's nonce is its number; the object's id, the number and whether it is the last one are authenticated with it, so
//! that chunks can be neither moved, nor left out, nor cut off at the end. The key is the object's own and is used for
//! nothing else.

use std::ops::Range;

use anello_storage::{Error, ObjectPath, Result};
use bytes::BytesMut;
use ring::aead::{Aad, LessSafeKey, Nonce};
use ring::rand::{SecureRandom, SystemRandom};

use super::keys::cipher;

/// Bytes of data in a chunk; the last one has what is left.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// What authenticates a chunk, behind it.
pub(super) const TAG_BYTES: usize = 16;

/// Bytes of a whole chunk as it is stored.
pub(super) const SEALED_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

const ID_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// Bytes of [`BodyKey::encode`].
const ENCODED_BYTES: usize = ID_BYTES + KEY_BYTES + 8;

/// The key of an object's data, and how long these are.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct BodyKey {
    id: [u8; ID_BYTES],
    key: [u8; KEY_BYTES],
    /// Bytes of data: what is stored of them without their seals.
    pub(super) length: u64,
}

impl std::fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyKey").field("length", &self.length).finish_non_exhaustive()
    }
}

impl BodyKey {
    /// A new one.
    pub(super) fn random() -> Result<Self> {
        let (mut id, mut key) = ([0; ID_BYTES], [0; KEY_BYTES]);
        let random = SystemRandom::new();
        let filled = random.fill(&mut id).and_then(|()| random.fill(&mut key));
        filled.map_err(|_| Error::Message("the system gives no random bytes".into()))?;
        Ok(Self { id, key, length: 0 })
    }

    pub(super) fn encode(&self) -> [u8; ENCODED_BYTES] {
        let mut bytes = [0; ENCODED_BYTES];
        bytes[..ID_BYTES].copy_from_slice(&self.id);
        bytes[ID_BYTES..ID_BYTES + KEY_BYTES].copy_from_slice(&self.key);
        bytes[ID_BYTES + KEY_BYTES..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        Some(Self { id: *id, key: *key, length: u64::from_le_bytes(rest.try_into().ok()?) })
    }
}

/// Seals and opens chunks.
pub(super) struct BodyCipher {
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

impl std::fmt::Debug for BodyCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyCipher")
    }
}

impl BodyCipher {
    pub(super) fn new(key: &BodyKey) -> Self {
        Self { id: key.id, key: cipher(&key.key) }
    }

    fn bound(&self, number: u64, is_last: bool) -> (Nonce, Aad<[u8; ID_BYTES + 9]>) {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        let mut aad = [0; ID_BYTES + 9];
        aad[..ID_BYTES].copy_from_slice(&self.id);
        aad[ID_BYTES..ID_BYTES + 8].copy_from_slice(&number.to_le_bytes());
        aad[ID_BYTES + 8] = u8::from(is_last);
        (Nonce::assume_unique_for_key(nonce), Aad::from(aad))
    }

    /// Seals a chunk in its place; it grows by [`TAG_BYTES`].
    pub(super) fn seal(&self, number: u64, is_last: bool, chunk: &mut BytesMut) {
        let (nonce, aad) = self.bound(number, is_last);
        self.key.seal_in_place_append_tag(nonce, aad, chunk).expect("a chunk is far shorter than GCM allows");
    }

    /// Opens a chunk in its place; it is shorter by [`TAG_BYTES`].
    pub(super) fn open(&self, path: &ObjectPath, number: u64, is_last: bool, chunk: &mut BytesMut) -> Result<()> {
        let (nonce, aad) = self.bound(number, is_last);
        let opened = self.key.open_in_place(nonce, aad, chunk).map(|data| data.len());
        let length = opened.map_err(|_| damaged("encrypted data", path, number * CHUNK_BYTES as u64))?;
        chunk.truncate(length);
        Ok(())
    }
}

/// What does not fit its seal.
pub(super) fn damaged(what: &'static str, path: &ObjectPath, offset: u64) -> Error {
    Error::Corrupt { what, file: path.to_string().into(), offset, expected: 0, found: 0 }
}

/// Bytes that so many bytes of data are stored as.
pub(super) fn sealed_length(length: u64) -> u64 {
    length.saturating_add(length.div_ceil(CHUNK_BYTES as u64).saturating_mul(TAG_BYTES as u64))
}

/// The number of the last chunk of so many bytes.
pub(super) fn last_chunk(length: u64) -> u64 {
    length.div_ceil(CHUNK_BYTES as u64).saturating_sub(1)
}

/// Where the chunks are stored that a range of the data touches; the range lies within `length`.
pub(super) fn stored_range(range: &Range<u64>, length: u64) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    let (chunk, sealed) = (CHUNK_BYTES as u64, SEALED_BYTES as u64);
    let (first, last) = (range.start / chunk, (range.end - 1) / chunk);
    first * sealed..((last + 1).saturating_mul(sealed)).min(sealed_length(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> ObjectPath {
        ObjectPath::new("a", "c", "o")
    }

    #[test]
    fn a_range_is_stored_in_the_chunks_that_it_touches() {
        let (chunk, sealed) = (CHUNK_BYTES as u64, SEALED_BYTES as u64);
        let length = 2 * chunk + 10;
        assert_eq!(sealed_length(0), 0);
        assert_eq!(sealed_length(chunk), sealed);
        assert_eq!(sealed_length(length), 2 * sealed + 10 + TAG_BYTES as u64);
        let check = |range: Range<u64>, want| assert_eq!(stored_range(&range, length), want, "{range:?}");
        check(0..length, 0..sealed_length(length));
        check(0..1, 0..sealed);
        check(chunk - 1..chunk, 0..sealed);
        check(chunk - 1..chunk + 1, 0..2 * sealed);
        check(chunk..chunk + 1, sealed..2 * sealed);
        check(2 * chunk..2 * chunk + 1, 2 * sealed..sealed_length(length));
        check(5..5, 0..0);
    }

    /// Without this whoever writes to a disk could serve what was never written.
    #[test]
    fn a_chunk_opens_in_its_place_alone() {
        let cipher = BodyCipher::new(&BodyKey::random().expect("a key"));
        let mut sealed = BytesMut::from(&b"hello"[..]);
        cipher.seal(3, false, &mut sealed);
        assert_eq!(sealed.len(), 5 + TAG_BYTES);
        let open = |cipher: &BodyCipher, number, is_last, bytes: &[u8]| {
            let mut chunk = BytesMut::from(bytes);
            cipher.open(&path(), number, is_last, &mut chunk).map(|()| chunk.to_vec())
        };
        assert_eq!(open(&cipher, 3, false, &sealed).expect("opens"), b"hello");
        assert!(open(&cipher, 2, false, &sealed).is_err(), "in another place");
        assert!(open(&cipher, 3, true, &sealed).is_err(), "as the last one");
        assert!(open(&cipher, 3, false, &sealed[..sealed.len() - 1]).is_err(), "cut");
        assert!(open(&cipher, 3, false, &[]).is_err(), "nothing");
        let other = BodyCipher::new(&BodyKey::random().expect("a key"));
        assert!(open(&other, 3, false, &sealed).is_err(), "of another object");
        for at in 0..sealed.len() {
            let mut flipped = sealed.to_vec();
            flipped[at] ^= 1;
            assert!(open(&cipher, 3, false, &flipped).is_err(), "flipped at {at}");
        }
    }
}
