//! Fields of a record's head: little-endian integers, LEB128 varints, length-prefixed strings. A read
//! past the end, an overlong varint and broken UTF-8 are [`Malformed`], never a panic.

use anello_base::Timestamp;

use super::Malformed;
use crate::key::KeyHash;

/// A varint of 64 bits has at most ten bytes.
const VARINT_BYTES_MAX: u32 = 10;

/// Appends fields to a head.
pub(super) trait Write {
    /// A varint.
    fn varint(&mut self, value: u64);
    /// A varint length and the text.
    fn text(&mut self, text: &str);
    /// A time as eight bytes of ticks.
    fn time(&mut self, time: Timestamp);
}

impl Write for Vec<u8> {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn text(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.extend_from_slice(text.as_bytes());
    }

    fn time(&mut self, time: Timestamp) {
        self.extend_from_slice(&time.to_bits().to_le_bytes());
    }
}

/// Takes fields from the front of a slice.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(Malformed::mismatch(what, count as u64, self.rest.len() as u64))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N, what)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn hash(&mut self) -> Result<KeyHash, Malformed> {
        Ok(KeyHash(self.array("key hash")?))
    }

    pub(super) fn time(&mut self, what: &'static str) -> Result<Timestamp, Malformed> {
        time_from(u64::from_le_bytes(self.array(what)?), what)
    }

    pub(super) fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for index in 0..VARINT_BYTES_MAX {
            let byte = self.byte(what)?;
            let part = u64::from(byte & 0x7f);
            let shifted = part << (7 * index);
            if shifted >> (7 * index) != part {
                break;
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                // One value has one spelling, so that equal records are equal bytes.
                let overlong = byte == 0 && index > 0;
                return if overlong { Err(Malformed::plain(what)) } else { Ok(value) };
            }
        }
        Err(Malformed::plain(what))
    }

    /// A varint that counts things of at least `unit` bytes each that are still to come.
    pub(super) fn count(&mut self, unit: usize, what: &'static str) -> Result<usize, Malformed> {
        let count = self.varint(what)?;
        let possible = (self.rest.len() / unit) as u64;
        if count > possible {
            return Err(Malformed::mismatch(what, possible, count));
        }
        Ok(count as usize)
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<String, Malformed> {
        let length = self.count(1, what)?;
        let text = std::str::from_utf8(self.bytes(length, what)?).map_err(|_| Malformed::plain(what))?;
        Ok(text.to_owned())
    }

    /// Fails where something is left over.
    pub(super) fn end(&self, what: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::mismatch(what, 0u64, self.rest.len() as u64)) }
    }
}

/// A timestamp within its range; anything else is not cut to it but refused.
pub(crate) fn time_from(bits: u64, what: &'static str) -> Result<Timestamp, Malformed> {
    Timestamp::from_bits(bits).ok_or_else(|| Malformed::mismatch(what, Timestamp::MAX.to_bits(), bits))
}
