//! The end of a container that has shards: nothing more is taken by any of them, and all are empty; then it is deleted
//! as others are, and its shards after it.

use anello_base::Timestamp;

use super::super::Store;
use super::maps::Kept;
use crate::error::{Error, Result};
use crate::limits::SHARD_LOST_AFTER;
use crate::model::{ListQuery, Listed};
use crate::shards::{ITSELF, ShardMap, number_of, shards_begin, shards_of};

/// Names of shards that are looked at at once.
const SHARDS_STEP: usize = 1000;

impl Store {
    /// Has all shards of a container refuse rows and sees that they are empty; tells the version of the map that says
    /// so. [`Error::NotEmpty`] otherwise, and they go on as before.
    pub(in super::super) async fn close_shards(&self, account: &str, container: &str) -> Result<Timestamp> {
        let Some(kept) = self.map_of(account, container).await? else { return Err(Error::Contended) };
        self.is_empty_by(account, container, &kept.map).await?;
        let closed = ShardMap { is_closed: true, ..kept.map.clone() };
        let closed = self.replace_map(account, container, Some(&kept), closed).await?;
        let closed = self.publish(account, container, closed).await?;
        match self.is_empty_by(account, container, &closed.map).await {
            Ok(()) => Ok(closed.map.version),
            Err(error) => {
                self.open_shards(account, container, closed).await?;
                Err(error)
            }
        }
    }

    /// Has the shards of a container that was not deleted in the end take rows again.
    pub(super) async fn open_shards(&self, account: &str, container: &str, closed: Kept) -> Result<Kept> {
        let open = ShardMap { is_closed: false, ..closed.map.clone() };
        let open = self.replace_map(account, container, Some(&closed), open).await?;
        self.publish(account, container, open).await
    }

    async fn is_empty_by(&self, account: &str, container: &str, map: &ShardMap) -> Result<()> {
        let query = ListQuery { limit: 1, ..ListQuery::default() };
        let rows = self.list_shards(&self.placement(), (account, container), map, &query).await?;
        if rows.is_empty() { Ok(()) } else { Err(Error::NotEmpty) }
    }

    /// Lets go of the shards of a container that is gone. What fails here is done by the sharder, should there be
    /// another container of this name.
    pub(in super::super) async fn remove_shards(&self, account: &str, container: &str) {
        // Whoever never had shards is not asked for them.
        let hash = self.hasher().container(account, container);
        if self.inner.shard_maps.get(hash).is_none() {
            return;
        }
        match self.map_of(account, container).await {
            Ok(Some(kept)) => {
                if let Err(error) = self.remove_all_shards(account, container, &kept).await {
                    tracing::warn!(%error, "shards of a deleted container stay behind");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "shards of a deleted container stay behind"),
        }
    }

    pub(super) async fn remove_all_shards(&self, account: &str, container: &str, kept: &Kept) -> Result<()> {
        for shard in kept.map.shards() {
            self.remove_shard(account, container, shard).await?;
        }
        self.forget_map(account, container, kept).await
    }

    /// Empties a shard that nobody reads any more, and deletes it.
    pub(super) async fn remove_shard(&self, account: &str, container: &str, shard: u64) -> Result<()> {
        self.empty_shard(account, container, shard).await?;
        if shard == ITSELF {
            return Ok(());
        }
        let shard = self.shard(account, container, shard);
        match Box::pin(self.container_delete(&shard.account, &shard.container)).await {
            Ok(()) | Err(Error::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes shards that no map tells of: they were made for one that was lost, as writes can be which fail.
    pub(super) async fn sweep_shards(&self, account: &str, container: &str, map: &ShardMap) -> Result<()> {
        let (known, lost) = (map.shards(), self.clock().wall().minus(SHARD_LOST_AFTER));
        let mut query = ListQuery { prefix: shards_begin(container), limit: SHARDS_STEP, ..ListQuery::default() };
        loop {
            let rows = self.account_list(&shards_of(account), &query).await?;
            let is_last = rows.len() < query.limit;
            for row in rows {
                let Listed::Entry(entry) = row else { continue };
                let number = number_of(container, &entry.name).filter(|number| !known.contains(number));
                if let Some(number) = number.filter(|_| entry.created < lost) {
                    self.remove_shard(account, container, number).await?;
                }
                query.marker = Some(entry.name);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
