//! Containers whose rows are spread over shards ([`crate::shards`]): where the rows of a name go, which every write
//! asks; listings over several shards; and the daemon that splits and joins them.

mod copy;
mod deletion;
mod listing;
mod maps;
mod sharder;

use std::time::Duration;

use anello_base::Timestamp;

use super::Store;
use super::listing::Of;
use super::placement::{Hashes, Placement, Slot};
use super::quorum::Share;
use super::settling::UnderWay;
use crate::error::{Error, Result};
use crate::key::{KeyHash, ObjectPath};
use crate::limits::{SHARD_GRACE, SHARD_INTERVAL, SHARD_ROWS_MAX, SHARD_ROWS_PER_SECOND};
use crate::model::ObjectEntry;
use crate::mutation::{Applies, PathHashes};
use crate::node::Write;
use crate::shards::{ITSELF, shard_of};
pub(super) use maps::{KnownMaps, Seen};

/// When containers are split, and how.
#[derive(Debug, Clone)]
pub struct ShardingOptions {
    /// Rows above which a container or a shard is split, into shards of half as many.
    pub rows_max: u64,
    /// From the end of a pass to the beginning of the next.
    pub interval: Duration,
    /// What a host copies at most from one shard to another.
    pub rows_per_second: u64,
    /// How long rows that others have taken over stay for listings that began before.
    pub grace: Duration,
}

impl Default for ShardingOptions {
    fn default() -> Self {
        Self {
            rows_max: SHARD_ROWS_MAX,
            interval: SHARD_INTERVAL,
            rows_per_second: SHARD_ROWS_PER_SECOND,
            grace: SHARD_GRACE,
        }
    }
}

/// Where the row of an object goes.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The version of the map that says so; zero where there is none.
    pub(super) map: Timestamp,
    /// Whether the container itself keeps it; shards do beside it, or instead.
    itself: bool,
    shards: Vec<Shard>,
}

/// A shard of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) account: String,
    pub(super) container: String,
    pub(super) account_hash: KeyHash,
    pub(super) container_hash: KeyHash,
}

impl Rows {
    /// Whether there are shards.
    pub(super) fn are_in_shards(&self) -> bool {
        self.map > Timestamp::ZERO
    }
}

impl Store {
    pub(super) fn shard(&self, account: &str, container: &str, shard: u64) -> Shard {
        let (account, container) = match shard {
            ITSELF => (account.to_owned(), container.to_owned()),
            shard => shard_of(account, container, shard),
        };
        let (account_hash, container_hash) =
            (self.hasher().account(&account), self.hasher().container(&account, &container));
        Shard { account, container, account_hash, container_hash }
    }

    /// Where the row of an object goes, as far as this process knows: whoever keeps it there knows better
    /// ([`Error::OldShards`]).
    pub(super) fn rows_of(&self, path: &ObjectPath, hashes: PathHashes) -> Result<Rows> {
        let Some(map) = self.inner.shard_maps.get(hashes.container) else {
            return Ok(Rows { itself: true, ..Rows::default() });
        };
        if map.is_closed {
            return Err(Error::OldShards);
        }
        let keepers = map.writes(&path.object);
        let shards = keepers.iter().filter(|shard| **shard != ITSELF);
        let shards = shards.map(|shard| self.shard(&path.account, &path.container, *shard)).collect();
        Ok(Rows { map: map.version, itself: keepers.contains(&ITSELF), shards })
    }

    /// Each device's share of a write of an object and its row, that `write` makes for it.
    pub(super) fn object_shares(
        &self,
        placement: &Placement,
        keys: (&ObjectPath, PathHashes, u32),
        rows: &Rows,
        under_way: &UnderWay,
        write: impl Fn(Slot, Applies) -> Result<Write>,
    ) -> Vec<Share> {
        let (path, hashes, policy) = keys;
        let all = Hashes::of(hashes, policy);
        let at = |write: Write| Write { shards: rows.map, ..write };
        let parts = match (rows.itself, all.object) {
            (false, Some(object)) => placement.object_alone(object),
            _ => placement.all(hashes, policy),
        };
        let mut shares = self.shares(placement, parts, all, under_way, |slot, applies| write(slot, applies).map(at));
        shares.extend(self.shares_in(placement, &rows.shards, (path, rows), under_way, write));
        shares
    }

    /// The shares of an object's row alone, in all its places.
    pub(super) fn row_shares(
        &self,
        placement: &Placement,
        row: (&ObjectPath, &Rows),
        under_way: &UnderWay,
        write: impl Fn(Slot, Applies) -> Result<Write>,
    ) -> Vec<Share> {
        self.shares_in(placement, &self.keepers(row.0, row.1), row, under_way, write)
    }

    /// The shares of an object's row in some of its places.
    fn shares_in(
        &self,
        placement: &Placement,
        shards: &[Shard],
        (path, rows): (&ObjectPath, &Rows),
        under_way: &UnderWay,
        write: impl Fn(Slot, Applies) -> Result<Write>,
    ) -> Vec<Share> {
        let shares = (1..).zip(shards).flat_map(|(number, shard)| {
            let of_row = |slot, applies| {
                let write = write(slot, applies)?;
                let (path, hashes) = self.row_in(shard, &path.object);
                let mutation = write.mutation.as_row_of(path, hashes);
                Ok(Write { mutation, of_data: None, shards: rows.map, ..write })
            };
            let shares = self.shard_shares(placement, shard, under_way, of_row);
            shares.into_iter().map(move |share| Share { shard: number, ..share })
        });
        shares.collect()
    }

    /// Who keeps a row: the container itself, or shards.
    fn keepers(&self, path: &ObjectPath, rows: &Rows) -> Vec<Shard> {
        let itself = rows.itself.then(|| self.shard(&path.account, &path.container, ITSELF));
        itself.into_iter().chain(rows.shards.iter().cloned()).collect()
    }

    /// Whether a majority of all who keep an object's row has it in this version or a later one.
    pub(super) async fn has_row(
        &self,
        placement: &Placement,
        path: &ObjectPath,
        rows: &Rows,
        version: Timestamp,
    ) -> Result<bool> {
        for shard in self.keepers(path, rows) {
            let (hash, names) = (shard.container_hash, std::slice::from_ref(&path.object));
            let sets = placement.container_sets(hash);
            let known = self.known_rows::<ObjectEntry>(placement, hash, &sets, names, Of::Oldest).await?;
            if known.iter().any(|known| known.version < version && known.changes < version.order()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The name of an object's row in a shard.
    fn row_in(&self, shard: &Shard, object: &str) -> (ObjectPath, PathHashes) {
        let path = ObjectPath::new(&shard.account, &shard.container, object);
        let object = self.hasher().object(&path);
        (path, PathHashes { account: shard.account_hash, container: shard.container_hash, object })
    }

    /// Each device's share of a row in one place.
    fn shard_shares(
        &self,
        placement: &Placement,
        shard: &Shard,
        under_way: &UnderWay,
        write: impl Fn(Slot, Applies) -> Result<Write>,
    ) -> Vec<Share> {
        let (container, account) = (shard.container_hash, shard.account_hash);
        let mut parts = placement.container_and_account(container, account);
        parts.retain(|(_, duty)| duty.applies().container);
        let hashes = Hashes { object: None, container: Some(container), account: Some(account) };
        self.shares(placement, parts, hashes, under_way, write)
    }
}
