//! What a device needs of its index. One implementation is the [`Index`]; the crash tests bring
//! another, which keeps everything in memory and can go back to what it was at its last flush.

use std::fmt::Debug;

use crate::error::Result;
use crate::index::{Effect, Index, ObjectRow, Placed};
use crate::key::KeyHash;
use crate::mutation::{Extent, Location, LogPosition, Mutation};

/// See [`Index`], whose methods these are.
pub(crate) trait Catalog: Debug + Send + Sync {
    /// See [`Index::apply`].
    fn apply(&self, batch: &[Placed], position: LogPosition) -> Result<Vec<Effect>>;
    /// See [`Index::relocate`].
    fn relocate(&self, moves: &[(Placed, Location)], position: LogPosition) -> Result<()>;
    /// See [`Index::object`].
    fn object(&self, hash: KeyHash) -> Result<Option<ObjectRow>>;
    /// See [`Index::scan_objects`].
    fn scan_objects(&self, after: Option<KeyHash>, limit: usize) -> Result<Vec<(KeyHash, ObjectRow)>>;
    /// See [`Index::live_extents`].
    fn live_extents(&self, volume: u32) -> Result<Vec<Extent>>;
    /// See [`Index::dead_bytes`].
    fn dead_bytes(&self) -> Result<Vec<(u32, u64)>>;
    /// See [`Index::is_live`].
    fn is_live(&self, mutation: &Mutation, location: Location) -> Result<bool>;
    /// See [`Index::forget_volume`].
    fn forget_volume(&self, volume: u32) -> Result<()>;
    /// See [`Index::flush`].
    fn flush(&self) -> Result<()>;
}

impl Catalog for Index {
    fn apply(&self, batch: &[Placed], position: LogPosition) -> Result<Vec<Effect>> {
        Self::apply(self, batch, position)
    }

    fn relocate(&self, moves: &[(Placed, Location)], position: LogPosition) -> Result<()> {
        Self::relocate(self, moves, position)
    }

    fn object(&self, hash: KeyHash) -> Result<Option<ObjectRow>> {
        Self::object(self, hash)
    }

    fn scan_objects(&self, after: Option<KeyHash>, limit: usize) -> Result<Vec<(KeyHash, ObjectRow)>> {
        Self::scan_objects(self, after, limit)
    }

    fn live_extents(&self, volume: u32) -> Result<Vec<Extent>> {
        Self::live_extents(self, volume)
    }

    fn dead_bytes(&self) -> Result<Vec<(u32, u64)>> {
        Self::dead_bytes(self)
    }

    fn is_live(&self, mutation: &Mutation, location: Location) -> Result<bool> {
        Self::is_live(self, mutation, location)
    }

    fn forget_volume(&self, volume: u32) -> Result<()> {
        Self::forget_volume(self, volume)
    }

    fn flush(&self) -> Result<()> {
        Self::flush(self)
    }
}
