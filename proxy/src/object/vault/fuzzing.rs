//! For the fuzzer: sealed values and lists of parts whose digests are sealed.

use super::body::BodyKey;
use super::seal::{Sealed, decode_items};
use crate::object::parts::PartList;

/// What can be read is written as it was.
pub(crate) fn feed(bytes: &[u8]) {
    let mut with_checksum = bytes.to_vec();
    with_checksum.extend(crc32fast::hash(bytes).to_le_bytes());
    if let Some(sealed) = std::str::from_utf8(bytes).ok().and_then(Sealed::parse) {
        assert_eq!(Sealed::parse(&sealed.text()), Some(sealed));
    }
    if let Some(key) = BodyKey::decode(bytes) {
        assert_eq!(BodyKey::decode(&key.encode()), Some(key));
    }
    let _whatever_but_no_panic = decode_items(bytes);
    if let Ok(read) = PartList::decode_any(&with_checksum) {
        let mut list = read.list;
        let _whether_they_fit = list.set_digests(bytes);
        if let Some(digests) = read.digests {
            let again = PartList::decode_any(&list.encode_sealed(&digests)).map(|again| again.digests);
            assert_eq!(again, Ok(Some(digests)));
        }
    }
}
