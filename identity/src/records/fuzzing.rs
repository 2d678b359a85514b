//! A snapshot's copies.

use bytes::BytesMut;

use super::snapshot::{decode, encode};

/// What is taken of a buffer is what stands there.
pub(crate) fn snapshot(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(copy)) = decode(&mut buffer) {
        let mut written = BytesMut::new();
        encode(&copy, &mut written).expect("it was read");
        let place = bytes.len() - buffer.len();
        assert_eq!(written, bytes[place - written.len()..place]);
    }
}
