//! Listings over the shards of a container, one after the other.

use super::super::Store;
use super::super::placement::Placement;
use crate::error::Result;
use crate::model::{ListQuery, Listed, ObjectEntry};
use crate::shards::ShardMap;

impl Store {
    /// Rows of a container by the map of its shards.
    pub(in super::super) async fn list_shards(
        &self,
        placement: &Placement,
        (account, container): (&str, &str),
        map: &ShardMap,
        query: &ListQuery,
    ) -> Result<Vec<Listed<ObjectEntry>>> {
        let (mut listed, mut query) = (Vec::<Listed<ObjectEntry>>::new(), query.clone());
        let wanted = query.limit;
        for shard in map.listed(&query) {
            if listed.len() >= wanted {
                break;
            }
            let hash = self.shard(account, container, shard).container_hash;
            query.limit = wanted - listed.len();
            listed.extend(self.list(placement, hash, &placement.container_sets(hash), &query).await?);
            if let Some(last) = listed.last() {
                // A prefix that the next one has, too, is not listed again.
                query.marker = Some(key(last).to_owned());
            }
        }
        Ok(listed)
    }
}

fn key(row: &Listed<ObjectEntry>) -> &str {
    match row {
        Listed::Entry(entry) => &entry.name,
        Listed::Prefix(prefix) => prefix,
    }
}
