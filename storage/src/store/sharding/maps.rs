//! The maps of shards: the object that each of them is, what of it is published at its container, and what this
//! process remembers.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use anello_base::Timestamp;
use futures::future::join_all;

use super::super::lives::merged;
use super::super::placement::Placement;
use super::super::quorum::Outcome;
use super::super::{IfMissing, ObjectHead, Store};
use super::Rows;
use crate::error::{Error, Result};
use crate::key::{KeyHash, ObjectPath};
use crate::model::{ContainerInfo, Etags, Known, Metadata, Precondition};
use crate::mutation::PathHashes;
use crate::node::Node;
use crate::shards::{ITSELF, MAP_ITEM, ShardMap, fence, fence_item, hide, shards_of};

/// Where the maps of an account's containers are, beside their shards.
const MAPS: &str = "maps";

/// Containers whose maps are remembered, some KiB each.
const REMEMBERED_MAX: usize = 10_000;

/// Maps as they were last seen, of containers that have shards.
#[derive(Debug, Default)]
pub(in super::super) struct KnownMaps(RwLock<HashMap<KeyHash, Arc<ShardMap>>>);

impl KnownMaps {
    pub(super) fn get(&self, container: KeyHash) -> Option<Arc<ShardMap>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&container).cloned()
    }

    fn note(&self, container: KeyHash, map: Option<&Arc<ShardMap>>) {
        if map.is_none() && self.get(container).is_none() {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match map {
            Some(map) => {
                if known.len() >= REMEMBERED_MAX {
                    known.clear();
                }
                known.insert(container, Arc::clone(map));
            }
            None => drop(known.remove(&container)),
        }
    }
}

/// A map as its object has it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) map: ShardMap,
    etag: String,
}

/// A container and the map of its shards, where it has some.
pub(in super::super) type Seen = (ContainerInfo, Option<Arc<ShardMap>>);

impl Store {
    /// What replicas know of a container as clients see it; and the map of its shards, the latest that any of them has.
    pub(in super::super) fn seen(&self, container: KeyHash, found: Vec<Known<ContainerInfo>>) -> Result<Option<Seen>> {
        let latest = found.iter().filter_map(|known| known.info.as_ref()).filter_map(|info| {
            let version = fence(&info.metadata)?;
            Some((version, info.metadata.clone()))
        });
        let latest = latest.max_by_key(|(version, _)| *version);
        let Some(mut info) = merged(found) else {
            self.inner.shard_maps.note(container, None);
            return Ok(None);
        };
        // One from before the container was deleted and made anew says nothing.
        let latest = latest.filter(|(version, _)| *version > info.deleted);
        let map = match latest {
            Some((version, items)) => match self.inner.shard_maps.get(container) {
                Some(known) if known.version == version => Some(known),
                _ => ShardMap::published(&items)?.map(Arc::new),
            },
            None => None,
        };
        self.inner.shard_maps.note(container, map.as_ref());
        hide(&mut info.metadata);
        Ok(Some((info, map)))
    }

    /// Asks all who keep a container for the map of its shards: what was known was not the latest, or not known to
    /// all of them.
    pub(in super::super) async fn look_for_shards(&self, placement: &Placement, hashes: PathHashes) -> Result<()> {
        let sets = placement.container_sets(hashes.container).concat();
        let ask = |node: Node| async move { node.container(hashes.container).await };
        let answers = join_all(sets.into_iter().map(|slot| ask(placement.node(slot).clone()))).await;
        self.seen(hashes.container, answers.into_iter().flatten().collect()).map(drop)
    }

    /// Whether a row's place may be another one than this, after a shard was missing there.
    pub(in super::super) async fn have_rows_moved(
        &self,
        placement: &Placement,
        path: &ObjectPath,
        hashes: PathHashes,
        rows: &Rows,
    ) -> Result<bool> {
        self.look_for_shards(placement, hashes).await?;
        match self.rows_of(path, hashes) {
            Err(Error::OldShards) => Ok(true),
            now => Ok(now?.map != rows.map),
        }
    }

    fn map_path(account: &str, container: &str) -> ObjectPath {
        ObjectPath::new(shards_of(account), MAPS, container)
    }

    /// The map of a container's shards; `None` where it never had any.
    pub(super) async fn map_of(&self, account: &str, container: &str) -> Result<Option<Kept>> {
        let Some(mut reader) = self.object_read(&Self::map_path(account, container)).await? else { return Ok(None) };
        let (version, etag) = (reader.info().timestamp, reader.info().etag.clone());
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await? {
            bytes.extend_from_slice(&piece);
        }
        let text = String::from_utf8(bytes).map_err(|_| Error::Message("map of shards: not text".to_owned()))?;
        Ok(Some(Kept { map: ShardMap::decode(&text, version)?, etag }))
    }

    /// Puts a map in the place of another, which must still be there.
    pub(super) async fn replace_map(
        &self,
        account: &str,
        container: &str,
        before: Option<&Kept>,
        map: ShardMap,
    ) -> Result<Kept> {
        let path = Self::map_path(account, container);
        if before.is_none() {
            self.container_update(&path.account, MAPS, Metadata::new(), 0, IfMissing::Create).await?;
        }
        let condition = match before {
            Some(kept) => {
                Precondition { if_match: Some(Etags::List(vec![kept.etag.clone()])), ..Precondition::default() }
            }
            None => Precondition::absent(),
        };
        let text = map.encode()?;
        // Two maps that say the same are not the same: what one publishes may have been refused.
        let etag = hex::encode(&blake3::hash(format!("{} {text}", self.clock().tick()).as_bytes()).as_bytes()[..16]);
        let head =
            ObjectHead { etag: etag.clone(), content_type: "application/json".to_owned(), ..ObjectHead::default() };
        let written = self.object_put(&path, text.into(), head, &condition).await?;
        Ok(Kept { map: ShardMap { version: written.timestamp, ..map }, etag })
    }

    /// Lets go of a container's map.
    pub(super) async fn forget_map(&self, account: &str, container: &str, kept: &Kept) -> Result<()> {
        let condition =
            Precondition { if_match: Some(Etags::List(vec![kept.etag.clone()])), ..Precondition::default() };
        match self.object_delete(&Self::map_path(account, container), &condition).await {
            Ok(_) | Err(Error::Precondition) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a map known to a majority of those who keep the container, and has the shards that it takes rows from
    /// refuse what comes by an older one.
    pub(super) async fn publish(&self, account: &str, container: &str, mut kept: Kept) -> Result<Kept> {
        loop {
            let version = kept.map.version;
            let fence = fence_item(version);
            let map = (MAP_ITEM.to_owned(), kept.map.encode()?);
            let mut outcome = self.publish_items(account, container, version, vec![fence.clone(), map]).await?;
            for shard in kept.map.fenced().into_iter().filter(|shard| *shard != ITSELF) {
                let shard = self.shard(account, container, shard);
                match self.publish_items(&shard.account, &shard.container, version, vec![fence.clone()]).await {
                    Ok(of_shard) => outcome = outcome.max(of_shard),
                    // It was emptied and let go of before.
                    Err(Error::Missing(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            let Some(later) = outcome else { return Ok(kept) };
            // Something later was promised or stands there.
            self.clock().observe(later);
            let map = kept.map.clone();
            kept = self.replace_map(account, container, Some(&kept), map).await?;
        }
    }

    /// Sets items under a version; tells the later one that hinders it.
    async fn publish_items(
        &self,
        account: &str,
        container: &str,
        version: Timestamp,
        items: Metadata,
    ) -> Result<Option<Timestamp>> {
        match self.container_set(account, container, version, items).await {
            Ok(Outcome::Refused(later)) if later != version => Ok(Some(later)),
            Ok(_) => Ok(None),
            // Some have it already, and have since promised nothing earlier to somebody who was to delete it.
            Err(Error::NoQuorum { cause, done, wanted }) => match *cause {
                Error::Promised { until } => Ok(Some(until)),
                _ => Err(Error::NoQuorum { cause, done, wanted }),
            },
            Err(error) => Err(error),
        }
    }
}
