//! The bytes of the log: how mutations become [records](record) and records become [batches](batch).
//! The layout is documented with byte tables in `docs/formats/volume.md`; golden files in
//! `storage/tests/golden` hold it.
//!
//! Invariant: a decoder takes every byte for hostile. Lengths are checked before they are used for
//! arithmetic or allocation, reserved bytes must be zero, and nothing is replaced by a default.

pub(crate) mod batch;
pub(crate) mod fields;
pub(crate) mod record;
mod wire;

pub(crate) use wire::time_from;

use std::path::Path;

use crate::error::Error;

/// Bytes are not what the format says. The caller knows in which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Which part of the format.
    pub(crate) what: &'static str,
    /// What should have been there.
    pub(crate) expected: u64,
    /// What is there.
    pub(crate) found: u64,
}

impl Malformed {
    /// Wrong bytes without a number to compare.
    pub(crate) const fn plain(what: &'static str) -> Self {
        Self { what, expected: 0, found: 0 }
    }

    /// `found` stands where `expected` should.
    pub(crate) fn mismatch(what: &'static str, expected: impl Into<u64>, found: impl Into<u64>) -> Self {
        Self { what, expected: expected.into(), found: found.into() }
    }

    /// The engine's error for these bytes at `offset` of `file`.
    pub(crate) fn at(self, file: &Path, offset: u64) -> Error {
        Error::Corrupt { what: self.what, file: file.to_owned(), offset, expected: self.expected, found: self.found }
    }
}
