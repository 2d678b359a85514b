//! The MD5 of an upload (its entity tag), computed while it streams.

use bytes::Bytes;

/// MD5 of a stream.
#[derive(Debug, Default)]
pub struct Md5 {}

impl Md5 {
    /// Takes the next bytes in order. Waits while the hashing is behind, so that memory stays bounded.
    pub async fn update(&mut self, data: Bytes) {
        todo!("{data:?}")
    }

    /// The digest of everything taken.
    pub async fn finish(self) -> [u8; 16] {
        todo!()
    }
}
