//! Rows on their way from one shard to another. What is copied are listings that a majority agrees on: whatever was
//! acknowledged before the map was announced is in them, and what came later went to both.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use super::super::Store;
use super::super::listing::Of;
use super::super::placement::Placement;
use super::super::quorum;
use super::super::settling::UnderWay;
use super::Shard;
use crate::daemon::watch::Watch;
use crate::error::{Error, Result};
use crate::limits::SHARD_ROWS_STEP;
use crate::model::{Known, ListQuery, Listed, Metadata, ObjectEntry};
use crate::mutation::{Body, Mutation, ObjectPost, ObjectPut};
use crate::node::Write;
use crate::shards::{ShardMap, keeper};
use anello_base::Timestamp;

/// Rows that are written at once.
const AT_ONCE: usize = 64;

impl Store {
    /// Brings the rows of a container to the shards that are to keep them.
    pub(super) async fn copy_rows(&self, account: &str, container: &str, map: &ShardMap, watch: &Watch) -> Result<()> {
        let Some(next) = &map.next else { return Ok(()) };
        let placement = self.placement();
        let mut query = ListQuery { limit: SHARD_ROWS_STEP, ..ListQuery::default() };
        loop {
            let rows = self.list_shards(&placement, (account, container), map, &query).await?;
            let is_last = rows.len() < query.limit;
            let mut moves: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
            for name in rows.into_iter().filter_map(name) {
                let (from, to) = (keeper(&map.ranges, &name), keeper(next, &name));
                query.marker = Some(name.clone());
                if from != to {
                    moves.entry((from, to)).or_default().push(name);
                }
            }
            for ((from, to), names) in moves {
                let count = names.len();
                let (from, to) = (self.shard(account, container, from), self.shard(account, container, to));
                self.copy_names(&placement, &from, &to, names).await?;
                watch.advance(count as u64);
                self.rest(count).await;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Copies what `to` lacks of these rows.
    async fn copy_names(&self, placement: &Placement, from: &Shard, to: &Shard, names: Vec<String>) -> Result<()> {
        let of = |shard: &Shard, of_two| {
            let (hash, names) = (shard.container_hash, names.clone());
            async move {
                let sets = placement.container_sets(hash);
                self.known_rows::<ObjectEntry>(placement, hash, &sets, &names, of_two).await
            }
        };
        // What only some of them have is lacking: others may be writing it, and may fail.
        let (have, has) = (of(from, Of::Newest).await?, of(to, Of::Oldest).await?);
        let lacking = have.into_iter().zip(has).flat_map(|(have, has)| mutations(self, to, have, &has));
        let write = |mutation| async move {
            // These versions stand: what was promised since does not concern them.
            let make = |_, _| Ok(Write { restores: true, ..Write::of(Mutation::clone(&mutation)) });
            let shares = self.shard_shares(placement, to, &UnderWay::default(), make);
            match quorum::commit(shares, self.background()).await {
                // Who did not take it has something later.
                Err(Error::NoQuorum { cause, .. }) if matches!(*cause, Error::Promised { .. }) => Ok(()),
                other => other.map(drop),
            }
        };
        stream::iter(lacking).map(write).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Deletes the rows of a shard that others have taken over, or of the container itself.
    pub(super) async fn empty_shard(&self, account: &str, container: &str, shard: u64) -> Result<()> {
        let (placement, shard) = (self.placement(), self.shard(account, container, shard));
        let (hash, query) = (shard.container_hash, ListQuery { limit: SHARD_ROWS_STEP, ..ListQuery::default() });
        loop {
            let rows = self.list::<ObjectEntry>(&placement, hash, &placement.container_sets(hash), &query).await?;
            let count = rows.len();
            let delete = |name: String| {
                let (path, hashes) = self.row_in(&shard, &name);
                let (timestamp, policy) = (self.clock().tick(), 0);
                let delete = Mutation::ObjectDelete { path, hashes, timestamp, policy };
                let (placement, shard) = (&placement, &shard);
                async move {
                    let make = |_, _| Ok(Write { shards: Timestamp::MAX, ..Write::of(delete.clone()) });
                    let shares = self.shard_shares(placement, shard, &UnderWay::default(), make);
                    quorum::commit(shares, self.background()).await.map(drop)
                }
            };
            let deleted = stream::iter(rows.into_iter().filter_map(name)).map(delete);
            deleted.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
            if count < query.limit {
                return Ok(());
            }
            self.rest(count).await;
        }
    }

    async fn rest(&self, rows: usize) {
        let pace = self.inner.sharding.rows_per_second.max(1) as f64;
        tokio::time::sleep(Duration::from_secs_f64(rows as f64 / pace)).await;
    }
}

fn name(row: Listed<ObjectEntry>) -> Option<String> {
    match row {
        Listed::Entry(entry) => Some(entry.name),
        Listed::Prefix(_) => None,
    }
}

/// What makes `has` the row that is to be had. The time of its data and that of later metadata are told apart: a
/// deletion of the one may be older than the other. What some replica has of it already it takes again.
fn mutations(store: &Store, to: &Shard, have: Known<ObjectEntry>, has: &Known<ObjectEntry>) -> Vec<Mutation> {
    if (has.version, has.changes) >= (have.version, have.changes) {
        return Vec::new();
    }
    let Some(entry) = have.info else { return Vec::new() };
    let (path, hashes) = store.row_in(to, &entry.name);
    let (timestamp, policy, content_type) = (have.version, 0, entry.content_type);
    let has_metadata_of_its_own = have.changes > have.version.order();
    let put = Mutation::ObjectPut(ObjectPut {
        path: path.clone(),
        hashes,
        timestamp,
        policy,
        size: entry.size,
        etag: entry.etag,
        content_type: content_type.clone(),
        content: entry.content,
        delete_at: None,
        metadata: Metadata::new(),
        body: Body::Absent(entry.size),
    });
    let post = has_metadata_of_its_own.then(|| {
        Mutation::ObjectPost(ObjectPost {
            path,
            hashes,
            timestamp: Timestamp::from_order(have.changes),
            policy,
            content_type: Some(content_type),
            delete_at: None,
            metadata: Metadata::new(),
        })
    });
    [put].into_iter().chain(post).collect()
}
