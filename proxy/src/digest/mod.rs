//! The MD5 of an upload (its entity tag), computed while it streams.

use bytes::Bytes;

/// MD5 of a stream.
#[derive(Debug, Default)]
pub struct Md5 {
    state: md5_simd::Md5,
}

impl Md5 {
    /// Takes the next bytes in order. Waits while the hashing is behind, so that memory stays bounded.
    pub async fn update(&mut self, data: Bytes) {
        self.state.update(&data);
    }

    /// The digest of everything taken.
    pub async fn finish(self) -> [u8; 16] {
        self.state.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_digest_is_rfc_1321s() {
        for (text, expected) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ] {
            let mut md5 = Md5::default();
            for byte in text.bytes() {
                md5.update(Bytes::copy_from_slice(&[byte])).await;
            }
            assert_eq!(hex::encode(md5.finish().await), expected, "{text}");
        }
    }
}
