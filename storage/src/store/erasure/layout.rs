//! How an object is cut into fragments, and what they are called. Format: `docs/formats/fragments.md`.
//!
//! The data are taken in stripes of `data × unit` bytes. A stripe's first `unit` bytes go to fragment 0, the next to
//! fragment 1, and so on; `parity` more units are computed from them. The last stripe has shorter units, padded with
//! zeros to a multiple of two bytes.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::key::{KeyHash, ObjectPath};
use crate::limits::BLOCK_BYTES;
use crate::model::Metadata;

/// Bytes of a stripe in one fragment: what a fragment's checksums cover, so that a read of one unit reads no other.
pub(super) const UNIT_BYTES: u64 = BLOCK_BYTES;

/// Bytes of whole stripes that are computed at once: making up for what is missing takes a quarter of a millisecond
/// before its first byte.
const TOGETHER_BYTES: u64 = 1 << 20;

/// The coder takes words of two bytes.
const WORD_BYTES: u64 = 2;

/// Where fragments are, by their policy.
const ACCOUNT: &str = ".fragments";

const MAGIC: [u8; 4] = *b"ANFR";
const VERSION: u8 = 1;
const ENCODED_BYTES: usize = 4 + 4 + 4 + 8 + 16 + 16;

/// Names of a fragment's items.
const INDEX: &str = "fragment-index";
const LAYOUT: &str = "fragment-layout";

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Layout {
    pub(in super::super) policy: u32,
    pub(super) data: u8,
    pub(super) parity: u8,
    /// Bytes of the object.
    pub(super) length: u64,
    /// The object that it belongs to.
    pub(in super::super) object: KeyHash,
    /// Chosen at random for this version of it.
    pub(super) id: [u8; 16],
}

impl Layout {
    pub(super) fn fragments(&self) -> usize {
        usize::from(self.data) + usize::from(self.parity)
    }

    fn stripe_bytes(&self) -> u64 {
        u64::from(self.data) * UNIT_BYTES
    }

    pub(super) fn stripes(&self) -> u64 {
        self.length.div_ceil(self.stripe_bytes())
    }

    /// The bytes of the object that are in a stripe.
    pub(super) fn stripe(&self, stripe: u64) -> Range<u64> {
        let start = stripe * self.stripe_bytes();
        start..(start + self.stripe_bytes()).min(self.length)
    }

    /// Stripes from this one on, and before `end`, that are computed at once.
    pub(super) fn together(&self, first: u64, end: u64) -> Range<u64> {
        let (whole, most) = (self.length / self.stripe_bytes(), TOGETHER_BYTES / self.stripe_bytes());
        first..end.min(whole).min(first + most).max(first + 1)
    }

    /// The stripe that this byte is in.
    pub(super) fn stripe_of(&self, byte: u64) -> u64 {
        byte / self.stripe_bytes()
    }

    /// Bytes of a stripe in each fragment, padding included.
    pub(super) fn unit(&self, stripe: u64) -> u64 {
        let bytes = self.stripe(stripe);
        unit_of(bytes.end - bytes.start, self.data)
    }

    /// Where a stripe begins in each fragment.
    pub(super) fn unit_start(stripe: u64) -> u64 {
        stripe * UNIT_BYTES
    }

    /// Bytes of a fragment.
    pub(in super::super) fn fragment_bytes(&self) -> u64 {
        match self.stripes() {
            0 => 0,
            stripes => Self::unit_start(stripes - 1) + self.unit(stripes - 1),
        }
    }

    /// What the fragments are called; all of one object have one name, on different devices.
    pub(super) fn path(&self) -> ObjectPath {
        let name = format!("{}/{}", hex::encode(self.object.0), hex::encode(self.id));
        ObjectPath::new(ACCOUNT, self.policy.to_string(), name)
    }

    /// What is kept beside a fragment, so that the others can be made from it without the object.
    pub(super) fn items(&self, index: usize) -> Metadata {
        vec![(INDEX.to_owned(), index.to_string()), (LAYOUT.to_owned(), hex::encode(self.encode()))]
    }

    /// See [`Layout::items`].
    pub(in super::super) fn of_items(metadata: &Metadata) -> Result<(usize, Self)> {
        let item = |name| metadata.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let index = item(INDEX).and_then(|index| index.parse().ok());
        let layout = item(LAYOUT).and_then(|layout| Self::decode(&hex::decode(layout).ok()?).ok());
        match (index, layout) {
            (Some(index), Some(layout)) if index < layout.fragments() => Ok((index, layout)),
            _ => Err(corrupt(&[])),
        }
    }

    pub(in super::super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENCODED_BYTES);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, self.data, self.parity, 0]);
        bytes.extend(self.policy.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(self.object.0);
        bytes.extend(self.id);
        bytes
    }

    pub(in super::super) fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = || corrupt(bytes);
        let exact: &[u8; ENCODED_BYTES] = bytes.try_into().map_err(|_| damaged())?;
        let (head, rest) = exact.split_at(8);
        let [m0, m1, m2, m3, version, data, parity, 0] = *head else { return Err(damaged()) };
        let (policy, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (object, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let id = rest.try_into().map_err(|_| damaged())?;
        let layout = Self {
            policy: u32::from_le_bytes(*policy),
            data,
            parity,
            length: u64::from_le_bytes(*length),
            object: KeyHash(*object),
            id,
        };
        let is_one = [m0, m1, m2, m3] == MAGIC && version == VERSION && data > 0 && parity > 0;
        if is_one { Ok(layout) } else { Err(damaged()) }
    }
}

/// What should be a layout is none.
fn corrupt(bytes: &[u8]) -> Error {
    let found = bytes.first_chunk().map_or(0, |magic| u32::from_be_bytes(*magic));
    Error::Corrupt {
        what: "layout of fragments",
        file: ACCOUNT.into(),
        offset: 0,
        expected: u32::from_be_bytes(MAGIC).into(),
        found: found.into(),
    }
}

/// Bytes of each unit of a stripe of so many bytes.
pub(super) fn unit_of(bytes: u64, data: u8) -> u64 {
    bytes.div_ceil(u64::from(data)).next_multiple_of(WORD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(length: u64) -> Layout {
        let (object, id) = (KeyHash([7; 16]), [9; 16]);
        Layout { policy: 1, data: 4, parity: 2, length, object, id }
    }

    #[test]
    fn stripes_cover_the_object_and_units_the_stripe() {
        for length in [1, 2, 7, 8, 1000, 4 * UNIT_BYTES - 1, 4 * UNIT_BYTES, 4 * UNIT_BYTES + 1, 9_999_999] {
            let layout = layout(length);
            let mut end = 0;
            for stripe in 0..layout.stripes() {
                let bytes = layout.stripe(stripe);
                assert_eq!(bytes.start, end);
                assert!(4 * layout.unit(stripe) >= bytes.end - bytes.start);
                assert!(layout.unit(stripe) <= UNIT_BYTES && layout.unit(stripe).is_multiple_of(2));
                assert_eq!(layout.stripe_of(bytes.end - 1), stripe);
                end = bytes.end;
            }
            assert_eq!(end, length);
            assert!(layout.fragment_bytes() * 4 >= length && layout.fragment_bytes() * 4 < length + 4 * 4);
        }
    }

    /// Without this a stripe is left out, or computed with one of another length.
    #[test]
    fn stripes_that_are_computed_together_cover_the_object_and_are_of_one_length() {
        let stripe = 4 * UNIT_BYTES;
        for (length, ends) in
            [(1, &[1][..]), (stripe, &[1]), (stripe + 1, &[1, 2]), (4 * stripe, &[4]), (9 * stripe + 5, &[4, 8, 9, 10])]
        {
            let (layout, mut next) = (layout(length), 0);
            for end in ends {
                assert_eq!(layout.together(next, layout.stripes()), next..*end, "{length}");
                next = *end;
            }
            assert_eq!(next, layout.stripes(), "{length}");
        }
        assert_eq!(layout(9 * stripe).together(2, 4), 2..4);
        assert_eq!(Layout { data: 64, ..layout(u64::MAX / 2) }.together(3, 9), 3..4, "one is too much already");
    }

    #[test]
    fn a_layout_is_read_as_it_was_written() {
        let layout = layout(1 << 40);
        let bytes = layout.encode();
        assert_eq!(
            hex::encode(&bytes),
            concat!(
                "414e4652",
                "01040200",
                "01000000",
                "0000000000010000",
                "07070707070707070707070707070707",
                "09090909090909090909090909090909"
            )
        );
        assert_eq!(Layout::decode(&bytes).expect("decodes"), layout);
        assert_eq!(Layout::of_items(&layout.items(5)).expect("is one"), (5, layout));
        assert!(Layout::of_items(&layout.items(6)).is_err());
        for cut in 0..bytes.len() {
            assert!(Layout::decode(&bytes[..cut]).is_err());
        }
        for at in 0..5 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Layout::decode(&damaged).is_err());
        }
    }
}
