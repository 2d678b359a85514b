//! Names of things, and the keyed hashes by which the ring and the index know them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of an object. Names are arbitrary UTF-8 without NUL; the doors enforce their lengths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectPath {
    /// Account; a name that starts with `.` is the system's own and is never reached from a door.
    pub account: String,
    /// Container.
    pub container: String,
    /// Object; may contain `/`.
    pub object: String,
}

impl ObjectPath {
    /// The object `account/container/object`.
    pub fn new(account: impl Into<String>, container: impl Into<String>, object: impl Into<String>) -> Self {
        Self { account: account.into(), container: container.into(), object: object.into() }
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}/{}", self.account, self.container, self.object)
    }
}

/// 128 bits of a keyed BLAKE3: the index key, and the partition in its top bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyHash(pub [u8; 16]);

impl KeyHash {
    /// The partition of a ring with `2^power` of them: the top `power` bits (0 to 32).
    pub fn partition(self, power: u8) -> u32 {
        let top = u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]);
        top.checked_shr(32 - u32::from(power)).unwrap_or(0)
    }
}

/// Hashes names with the cluster's secret, so that nobody outside can aim at a partition.
#[derive(Clone)]
pub struct KeyHasher {
    key: [u8; 32],
}

impl KeyHasher {
    /// A hasher keyed with the cluster's secret (any length).
    pub fn new(cluster_secret: &[u8]) -> Self {
        Self { key: blake3::derive_key("anello 2026-11 placement key v1", cluster_secret) }
    }

    /// Hash of an account.
    pub fn account(&self, account: &str) -> KeyHash {
        self.hash(&[account])
    }

    /// Hash of a container.
    pub fn container(&self, account: &str, container: &str) -> KeyHash {
        self.hash(&[account, container])
    }

    /// Hash of an object.
    pub fn object(&self, path: &ObjectPath) -> KeyHash {
        self.hash(&[&path.account, &path.container, &path.object])
    }

    /// `/account/container/object`; an account or container with a `/` in it would collide, so each
    /// part but the last is followed by its length.
    fn hash(&self, parts: &[&str]) -> KeyHash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            hasher.update(part.as_bytes());
            hasher.update(&(part.len() as u64).to_le_bytes());
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        KeyHash(hash)
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_share_their_letters_do_not_share_a_hash() {
        let hasher = KeyHasher::new(b"secret");
        let paths = [("a", "b", "c/d"), ("a", "b/c", "d"), ("a/b", "c", "d")];
        let hashes: Vec<_> = paths.iter().map(|(a, c, o)| hasher.object(&ObjectPath::new(*a, *c, *o))).collect();
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
        assert_ne!(hashes[0], KeyHasher::new(b"other").object(&ObjectPath::new("a", "b", "c/d")));
    }

    #[test]
    fn the_partition_is_the_top_bits() {
        let hash = KeyHash([0xab, 0xcd, 0xef, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((hash.partition(0), hash.partition(4), hash.partition(16)), (0, 0xa, 0xabcd));
        assert_eq!(hash.partition(32), 0xabcd_ef01);
    }
}
