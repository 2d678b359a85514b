//! The container sharder: looks through the containers of which this host's devices are the first to be asked, splits
//! what has grown too large and joins what has become small. Each step is recorded in the container's map before it
//! begins, and may be cut anywhere and repeated, by this host or another one.

use std::sync::Arc;
use std::time::Duration;

use super::super::{IfMissing, Store};
use super::maps::Kept;
use crate::daemon::watch::{Unit, Watch};
use crate::environment::{blocking, random};
use crate::error::{Error, Result};
use crate::limits::SHARD_CONTAINERS_STEP;
use crate::model::{ContainerInfo, ListQuery, Listed, Metadata};
use crate::shards::{ITSELF, ShardMap, ShardRange, TOTALS_ITEM, totals_item};

/// Names that are looked at at once to find where to split.
const NAMES_STEP: usize = 10_000;

/// Shards that together have less than this part of what one may have are joined.
const JOIN_PART: u64 = 4;

/// Rests between looking at containers.
const REST: Duration = Duration::from_millis(50);

impl Store {
    pub(in super::super) fn start_sharder(&self) {
        let sharder = self.watch("container sharder", Unit::Rows);
        self.repeat(
            sharder,
            self.inner.sharding.interval,
            |store, watch| async move { store.shard_pass(&watch).await },
        );
    }

    async fn shard_pass(&self, watch: &Arc<Watch>) -> Result<()> {
        let mut failure = None;
        for local in self.locals() {
            let mut after = None;
            loop {
                let (device, rows_max) = (local.device.clone(), self.inner.sharding.rows_max);
                let look = move || device.index().to_shard(after, rows_max, SHARD_CONTAINERS_STEP);
                let step = blocking(look).await?;
                for (account, container) in step.found {
                    if !self.is_first(&local.device.id(), &account, &container) {
                        continue;
                    }
                    match self.tend(&account, &container, watch).await {
                        // Somebody else was faster, or it was deleted.
                        Ok(()) | Err(Error::Precondition | Error::Missing(_) | Error::OldShards) => {}
                        Err(error) => failure = Some(error),
                    }
                }
                after = step.last;
                if after.is_none() {
                    break;
                }
                tokio::time::sleep(REST).await;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Whether this device is the first of a container's that can be reached: one is to tend it, and nothing is lost if
    /// two do.
    fn is_first(&self, device: &str, account: &str, container: &str) -> bool {
        let placement = self.placement();
        placement.is_first(device, &placement.container_sets(self.hasher().container(account, container)))
    }

    /// Does what is to be done with a container: one change of its shards after the other, as far as they go now.
    async fn tend(&self, account: &str, container: &str, watch: &Watch) -> Result<()> {
        let Some(info) = self.container(account, container).await? else { return Ok(()) };
        let mut kept = self.map_of(account, container).await?;
        if let Some(old) = kept.take_if(|kept| kept.map.version < info.deleted) {
            // Of a container that had this name before.
            self.remove_all_shards(account, container, &old).await?;
        }
        let mut kept = match kept {
            Some(kept) => {
                self.make_shards(account, container, &kept.map).await?;
                self.publish(account, container, kept).await?
            }
            None => {
                let whole = ShardMap::default();
                let Some(next) = self.plan(account, container, &whole, &[info]).await? else { return Ok(()) };
                self.announce(account, container, None, whole.announce(next)).await?
            }
        };
        if kept.map.is_closed {
            kept = self.open_shards(account, container, kept).await?;
        }
        if kept.map.next.is_some() {
            if !kept.map.is_sealed {
                self.copy_rows(account, container, &kept.map, watch).await?;
                kept = self.advance(account, container, &kept, kept.map.seal()).await?;
            }
            kept = self.advance(account, container, &kept, kept.map.finish()).await?;
        }
        let counts = self.count_shards(account, container, &kept.map).await?;
        let left = self.clock().wall().minus(self.inner.sharding.grace);
        if !kept.map.leaving.is_empty() {
            if kept.map.version > left {
                return Ok(());
            }
            for shard in &kept.map.leaving {
                self.remove_shard(account, container, *shard).await?;
            }
            let settled = ShardMap { leaving: Vec::new(), ..kept.map.clone() };
            kept = self.advance(account, container, &kept, settled).await?;
        }
        self.sweep_shards(account, container, &kept.map).await?;
        if let Some(next) = self.plan(account, container, &kept.map, &counts).await? {
            self.announce(account, container, Some(&kept), kept.map.announce(next)).await?;
        }
        Ok(())
    }

    async fn advance(&self, account: &str, container: &str, before: &Kept, map: ShardMap) -> Result<Kept> {
        let kept = self.replace_map(account, container, Some(before), map).await?;
        self.publish(account, container, kept).await
    }

    /// Says that other shards come, and makes them.
    async fn announce(&self, account: &str, container: &str, before: Option<&Kept>, map: ShardMap) -> Result<Kept> {
        let kept = self.replace_map(account, container, before, map).await?;
        self.make_shards(account, container, &kept.map).await?;
        self.publish(account, container, kept).await
    }

    /// Makes what writes go to as soon as the map is published.
    async fn make_shards(&self, account: &str, container: &str, map: &ShardMap) -> Result<()> {
        for range in map.next.iter().flatten().filter(|_| !map.is_sealed) {
            let shard = self.shard(account, container, range.shard);
            self.container_update(&shard.account, &shard.container, Metadata::new(), 0, IfMissing::Create).await?;
        }
        Ok(())
    }

    /// What the shards count, in the order of the ranges that are read; told to the container, whose statistics it is.
    async fn count_shards(&self, account: &str, container: &str, map: &ShardMap) -> Result<Vec<ContainerInfo>> {
        let mut counts = Vec::with_capacity(map.ranges.len());
        let (mut objects, mut bytes, mut counts_itself) = (0, 0, false);
        for range in map.reads() {
            let shard = self.shard(account, container, range.shard);
            let info = self.container(&shard.account, &shard.container).await?.ok_or(Error::Missing("shard"))?;
            match range.shard {
                ITSELF => counts_itself = true,
                _ => (objects, bytes) = (objects + info.object_count, bytes + info.bytes_used),
            }
            counts.push(info);
        }
        let info = self.container(account, container).await?.ok_or(Error::Missing("container"))?;
        let was_itself = map.leaving.contains(&ITSELF);
        if counts_itself || was_itself || (info.object_count, info.bytes_used) != (objects, bytes) {
            let items = vec![(TOTALS_ITEM.to_owned(), totals_item(objects, bytes, counts_itself))];
            self.container_set(account, container, self.clock().tick(), items).await?;
        }
        Ok(counts)
    }

    /// The ranges that should follow, if any should: the first shard that is too large is split, or else the first two
    /// neighbours that have become small are joined.
    async fn plan(
        &self,
        account: &str,
        container: &str,
        map: &ShardMap,
        counts: &[ContainerInfo],
    ) -> Result<Option<Vec<ShardRange>>> {
        let rows_max = self.inner.sharding.rows_max;
        let rows: Vec<u64> = counts.iter().map(|info| info.object_count).collect();
        if let Some(at) = rows.iter().position(|rows| *rows > rows_max) {
            let hash = self.shard(account, container, map.ranges[at].shard).container_hash;
            let bounds = self.bounds(hash, (rows_max / 2).max(1)).await?;
            return Ok(Some(split(map, at, bounds)));
        }
        let is_small = |at: &usize| rows[*at] + rows[*at + 1] < rows_max / JOIN_PART;
        Ok((0..rows.len().saturating_sub(1)).find(is_small).map(|at| join(map, at)))
    }

    /// Every so manieth name of a shard but the first.
    async fn bounds(&self, hash: crate::KeyHash, every: u64) -> Result<Vec<String>> {
        let placement = self.placement();
        let sets = placement.container_sets(hash);
        let (mut bounds, mut seen) = (Vec::new(), 0);
        let mut query = ListQuery { limit: NAMES_STEP, ..ListQuery::default() };
        loop {
            let rows = self.list(&placement, hash, &sets, &query).await?;
            let is_last = rows.len() < query.limit;
            for row in rows {
                let Listed::Entry(entry) = row else { continue };
                let entry: crate::ObjectEntry = entry;
                if seen > 0 && seen % every == 0 {
                    bounds.push(entry.name.clone());
                }
                seen += 1;
                query.marker = Some(entry.name);
            }
            if is_last {
                return Ok(bounds);
            }
        }
    }
}

/// The ranges with that at `at` cut at these names.
fn split(map: &ShardMap, at: usize, bounds: Vec<String>) -> Vec<ShardRange> {
    let lowers = std::iter::once(map.ranges[at].lower.clone()).chain(bounds);
    let parts = lowers.map(|lower| ShardRange { lower, shard: new_shard() });
    let mut ranges = map.ranges.clone();
    ranges.splice(at..=at, parts);
    ranges
}

/// The ranges with that at `at` and the next one as one.
fn join(map: &ShardMap, at: usize) -> Vec<ShardRange> {
    let mut ranges = map.ranges.clone();
    ranges.remove(at + 1);
    ranges[at].shard = new_shard();
    ranges
}

/// A number that no other shard has: neither one that was left, whose tombstones would hide rows that come back, nor one
/// of a map that was lost.
fn new_shard() -> u64 {
    random::<u64>().max(ITSELF + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn lowers(ranges: &[ShardRange]) -> Vec<&str> {
        ranges.iter().map(|range| range.lower.as_str()).collect()
    }

    #[test]
    fn shards_get_new_numbers_whenever_they_change() {
        let whole = ShardMap::default();
        let two = whole.announce(split(&whole, 0, vec!["m".to_owned()])).seal().finish();
        let three = two.announce(split(&two, 1, vec!["s".to_owned()])).seal().finish();
        let joined = join(&three, 0);
        assert_eq!((lowers(&three.ranges), lowers(&joined)), (vec!["", "m", "s"], vec!["", "s"]));
        let numbers = [&two.ranges[0], &two.ranges[1], &three.ranges[1], &three.ranges[2], &joined[0]];
        let numbers: BTreeSet<u64> = numbers.into_iter().map(|range| range.shard).collect();
        assert!(numbers.len() == 5 && !numbers.contains(&ITSELF), "{numbers:?}");
        assert_eq!((three.ranges[0].shard, joined[1].shard), (two.ranges[0].shard, three.ranges[2].shard));
    }
}
