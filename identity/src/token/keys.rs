//! Key repositories, as Keystone has them: numbered Fernet keys, of which 0 is staged (the next primary, known
//! everywhere before it is used), the highest is primary (it encrypts), and those between are secondary (they
//! still decrypt). Rotation makes the staged key primary, stages a new one and drops the oldest.
//!
//! A repository is one record, sealed under the cluster's secret: whoever reads a disk has no keys.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use fernet::{Fernet, MultiFernet};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::records::{Expect, Kind, Records};

/// A text that only holders of a key can read.
pub(crate) type Sealed = String;

/// The record of a repository: keys by their numbers, in Fernet's base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Repository {
    keys: BTreeMap<u32, String>,
}

/// The keys of a repository, ready for use.
pub(crate) struct KeyRing {
    repository: Repository,
    /// Tag of the record that they were read from.
    etag: String,
    primary: Fernet,
    /// Primary first.
    all: MultiFernet,
}

impl PartialEq for KeyRing {
    fn eq(&self, other: &Self) -> bool {
        self.repository == other.repository && self.etag == other.etag
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.repository.keys.len()).finish_non_exhaustive()
    }
}

impl Repository {
    fn new() -> Self {
        Self { keys: BTreeMap::from([(0, Fernet::generate_key()), (1, Fernet::generate_key())]) }
    }

    fn rotate(&mut self, keys_max: usize) {
        let primary = self.keys.keys().next_back().copied().unwrap_or(0);
        if let Some(staged) = self.keys.remove(&0) {
            self.keys.insert(primary + 1, staged);
        }
        self.keys.insert(0, Fernet::generate_key());
        while self.keys.len() > keys_max {
            let oldest = self.keys.keys().copied().find(|number| *number != 0);
            oldest.and_then(|number| self.keys.remove(&number));
        }
    }

    fn ring(self, etag: String) -> Result<KeyRing> {
        let broken = || Error::Internal("a key repository holds what is no key".to_owned());
        let newest_first = self.keys.values().rev().map(|key| Fernet::new(key).ok_or_else(broken));
        let keys = newest_first.collect::<Result<Vec<_>>>()?;
        let primary = keys.first().cloned().ok_or_else(broken)?;
        Ok(KeyRing { repository: self, etag, primary, all: MultiFernet::new(keys) })
    }
}

impl KeyRing {
    /// The repository `name`, made where it is not there. `secret` is the cluster's.
    pub(crate) async fn open(records: &dyn Records, name: &str, secret: &[u8]) -> Result<Self> {
        if let Some((version, data)) = records.get(Kind::Keys, name).await? {
            return unseal(name, secret, &data)?.ring(version.etag);
        }
        let repository = Repository::new();
        match records.put(Kind::Keys, name, seal(secret, &repository)?, Expect::Absent).await {
            Ok(version) => repository.ring(version.etag),
            Err(Error::Changed) => match records.get(Kind::Keys, name).await? {
                Some((version, data)) => unseal(name, secret, &data)?.ring(version.etag),
                None => Err(Error::Changed),
            },
            Err(error) => Err(error),
        }
    }

    /// The repository with its keys moved on by one. What was made before stays readable for `keys_max - 2` rotations.
    /// [`Error::Changed`] where it no longer holds these keys.
    pub(crate) async fn rotated(
        &self,
        records: &dyn Records,
        name: &str,
        secret: &[u8],
        keys_max: usize,
    ) -> Result<Self> {
        let mut repository = self.repository.clone();
        repository.rotate(keys_max);
        let expect = Expect::Etag(&self.etag);
        let version = records.put(Kind::Keys, name, seal(secret, &repository)?, expect).await?;
        repository.ring(version.etag)
    }

    /// Seals with the primary key; base64url without padding, as Keystone's tokens are.
    pub(crate) fn seal(&self, data: &[u8]) -> Sealed {
        self.primary.encrypt(data).trim_end_matches('=').to_owned()
    }

    /// A key that is made of `root` and of all these keys.
    pub(crate) fn derived(&self, root: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(root);
        for (number, key) in &self.repository.keys {
            hasher.update(&number.to_le_bytes()).update(key.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// Opens what any key of the repository sealed; `None` for everything else.
    pub(crate) fn open_sealed(&self, sealed: &str) -> Option<Vec<u8>> {
        self.all.decrypt(&padded(sealed)).ok()
    }

    /// Whether the primary key sealed it.
    pub(crate) fn is_current(&self, sealed: &str) -> bool {
        self.primary.decrypt(&padded(sealed)).is_ok()
    }

    /// The same, sealed with the primary key.
    pub(crate) fn sealed_anew(&self, sealed: &str) -> Option<Sealed> {
        Some(self.seal(&self.open_sealed(sealed)?))
    }
}

fn padded(sealed: &str) -> String {
    let padding = "=".repeat((4 - sealed.len() % 4) % 4);
    format!("{sealed}{padding}")
}

/// Second since 1970 at which a token was sealed. Only for tokens that could be opened.
pub(crate) fn sealed_at(sealed: &str) -> Option<u64> {
    // 12 letters of base64 are 9 bytes: the version, and the time in big-endian.
    let head = URL_SAFE.decode(sealed.get(..12)?).ok()?;
    Some(u64::from_be_bytes(head.get(1..9)?.try_into().ok()?))
}

fn wrapping(secret: &[u8]) -> Result<Fernet> {
    let key = blake3::derive_key("anello 2026-11 identity key repositories v1", secret);
    Fernet::new(&URL_SAFE.encode(key)).ok_or_else(|| Error::Internal("no key for the key repositories".to_owned()))
}

fn seal(secret: &[u8], repository: &Repository) -> Result<Bytes> {
    let json = serde_json::to_vec(repository).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(wrapping(secret)?.encrypt(&json).into())
}

fn unseal(name: &str, secret: &[u8], data: &[u8]) -> Result<Repository> {
    let corrupt = |why: &str| Error::Corrupt { kind: Kind::Keys.container(), id: name.to_owned(), why: why.to_owned() };
    let text = std::str::from_utf8(data).map_err(|_| corrupt("it is no text"))?;
    let json = wrapping(secret)?.decrypt(text).map_err(|_| corrupt("the cluster's secret does not open it"))?;
    serde_json::from_slice(&json).map_err(|_| corrupt("it is no key repository"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::MemoryRecords;

    #[tokio::test]
    async fn tokens_survive_rotations_until_their_key_is_dropped() {
        let records = MemoryRecords::default();
        let ring = KeyRing::open(&records, "token", b"secret").await.expect("new");
        let sealed = ring.seal(b"payload");
        assert!(sealed.starts_with("gAAAA") && !sealed.ends_with('='), "{sealed}");
        assert!(sealed_at(&sealed).expect("time") > 1_700_000_000);
        let once = ring.rotated(&records, "token", b"secret", 3).await.expect("rotated");
        let twice = once.rotated(&records, "token", b"secret", 3).await.expect("rotated");
        for (rotated, want) in [(&once, true), (&twice, false)] {
            assert_eq!(rotated.open_sealed(&sealed).is_some(), want);
            assert_eq!(rotated.repository.keys.len(), 3);
        }
        let late = once.rotated(&records, "token", b"secret", 3).await;
        assert!(matches!(late, Err(Error::Changed)), "another host has rotated these");
        let again = KeyRing::open(&records, "token", b"secret").await.expect("there");
        assert_eq!(again.open_sealed(&ring.seal(b"staged before")), None);
        assert!(KeyRing::open(&records, "token", b"other secret").await.is_err(), "the disk alone gives no keys");
    }

    #[test]
    fn a_changed_token_is_no_token() {
        let ring = Repository::new().ring(String::new()).expect("ring");
        let sealed = ring.seal(b"payload");
        assert_eq!(ring.open_sealed(&sealed).as_deref(), Some(&b"payload"[..]));
        for place in [0, 5, sealed.len() / 2, sealed.len() - 2] {
            let mut changed = sealed.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("letters");
            assert_eq!(ring.open_sealed(&changed), None, "letter {place}");
        }
        for text in ["", "=", "gAAAA", "☂", "a b"] {
            assert_eq!(ring.open_sealed(text), None, "{text:?}");
        }
    }
}
