//! Containers and accounts as several replicas know them. Each may have missed a change that the others have: what any of
//! them has heard of counts, as it will when they have come together.

use std::collections::BTreeMap;
use std::mem::take;

use anello_base::Timestamp;

use crate::limits::LEAVING_ITEM;
use crate::model::{AccountInfo, ContainerInfo, Known, Metadata};

/// What is known of a thing that has a life.
pub(super) trait Lived {
    /// What a replica knows, to be merged.
    fn take(&mut self) -> Told;
    /// What replicas know together; and when it was last deleted.
    fn put(&mut self, told: Told, deleted: Timestamp);
}

/// What is merged of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    created: Timestamp,
    modified: Timestamp,
    policy: u32,
    metadata: Metadata,
}

impl Lived for ContainerInfo {
    fn take(&mut self) -> Told {
        let Self { created, modified, policy, .. } = *self;
        Told { created, modified, policy, metadata: take(&mut self.metadata) }
    }

    fn put(&mut self, told: Told, deleted: Timestamp) {
        let Told { created, modified, policy, metadata } = told;
        *self = Self { created, modified, deleted, policy, metadata, ..take(self) };
    }
}

impl Lived for AccountInfo {
    fn take(&mut self) -> Told {
        let mut metadata = take(&mut self.metadata);
        if self.is_leaving {
            let place = metadata.partition_point(|(name, _)| name.as_str() < LEAVING_ITEM);
            metadata.insert(place, (LEAVING_ITEM.to_owned(), LEAVING_ITEM.to_owned()));
        }
        Told { created: self.created, modified: self.modified, policy: 0, metadata }
    }

    fn put(&mut self, told: Told, _: Timestamp) {
        let Told { created, modified, mut metadata, .. } = told;
        let before = metadata.len();
        metadata.retain(|(name, _)| name != LEAVING_ITEM);
        *self = Self { created, modified, is_leaving: metadata.len() < before, metadata, ..take(self) };
    }
}

/// What replicas know together; `None` where it is not there. Counts are those of the replica that has seen most.
pub(super) fn merged<T: Lived>(mut found: Vec<Known<T>>) -> Option<T> {
    let deleted = found.iter().map(|known| known.life.deleted).max().unwrap_or_default();
    found.retain(|known| known.version > deleted && known.info.is_some());
    found.sort_by_key(|known| (known.version, known.changes));
    let newest = found.last()?;
    let is_newest = |known: &Known<T>| known.life == newest.life && known.version == newest.version;
    if newest.life.deleted == deleted && found.iter().all(is_newest) {
        return found.pop()?.info;
    }
    let (mut first, mut modified) = ((Timestamp::MAX, 0), Timestamp::ZERO);
    let mut items: BTreeMap<String, (Timestamp, String)> = BTreeMap::new();
    for Known { info, version, life, .. } in &mut found {
        let Told { created, modified: own, policy, metadata } = info.as_mut()?.take();
        let created_since = match created > deleted {
            true => (created, policy),
            // It has not heard of the deletion: one of its later changes created the thing anew.
            false => {
                let again = life.policies.iter().find(|(timestamp, _)| *timestamp > deleted);
                again.copied().unwrap_or((if own > deleted { own } else { *version }, 0))
            }
        };
        (first, modified) = (first.min(created_since), modified.max(own).max(created_since.0));
        for (name, timestamp) in take(&mut life.items) {
            let place = metadata.binary_search_by(|(known, _)| known.as_str().cmp(&name));
            let value = place.map(|place| metadata[place].1.clone()).unwrap_or_default();
            let item = items.entry(name).or_default();
            if timestamp > deleted && (timestamp, &value) >= (item.0, &item.1) {
                *item = (timestamp, value);
            }
        }
    }
    let metadata = items.into_iter().map(|(name, (_, value))| (name, value)).filter(|(_, value)| !value.is_empty());
    let told = Told { created: first.0, modified, policy: first.1, metadata: metadata.collect() };
    let mut info = found.pop()?.info?;
    info.put(told, deleted);
    Some(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Life;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// A replica whose container was created, changed and deleted at these seconds, with items and their seconds.
    fn replica(created: (u64, u32), modified: u64, deleted: u64, items: &[(&str, &str, u64)]) -> Known<ContainerInfo> {
        let there = items.iter().filter(|(_, value, _)| !value.is_empty());
        let info = ContainerInfo {
            created: at(created.0),
            modified: at(modified),
            deleted: at(deleted),
            object_count: modified,
            policy: created.1,
            metadata: there.map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..ContainerInfo::default()
        };
        let items = items.iter().map(|(name, _, second)| ((*name).to_owned(), at(*second))).collect();
        let life = Life { created: at(created.0), deleted: at(deleted), policies: Vec::new(), items };
        Known { info: Some(info), version: at(modified.max(deleted)), changes: 0, life }
    }

    fn gone(deleted: u64) -> Known<ContainerInfo> {
        let life = Life { deleted: at(deleted), ..Life::default() };
        Known { info: None, version: at(deleted), changes: 0, life }
    }

    fn items(info: &ContainerInfo) -> Vec<(&str, &str)> {
        info.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn each_item_is_the_latest_that_any_has_heard_of() {
        let one = replica((1, 3), 5, 0, &[("acl", "", 5), ("color", "red", 2)]);
        let other = replica((7, 0), 7, 0, &[("acl", "everybody", 2), ("size", "big", 7)]);
        for found in [vec![one.clone(), other.clone()], vec![other, one]] {
            let info = merged(found).expect("is there");
            assert_eq!(items(&info), [("color", "red"), ("size", "big")]);
            assert_eq!((info.created, info.modified, info.policy), (at(1), at(7), 3));
            assert_eq!(info.object_count, 7, "the counts of the one that has seen most");
        }
    }

    /// It was not there when the container was created, and has heard of a later change, which says nothing of that.
    #[test]
    fn the_policy_is_that_of_the_creation() {
        let (one, other) = (replica((1, 3), 5, 0, &[("acl", "a", 5)]), replica((5, 0), 5, 0, &[("acl", "a", 5)]));
        for found in [vec![one.clone(), other.clone()], vec![other, one]] {
            let info = merged(found).expect("is there");
            assert_eq!((info.created, info.policy), (at(1), 3));
        }
    }

    #[test]
    fn what_one_knows_to_be_deleted_is_gone() {
        let behind = replica((1, 0), 2, 0, &[("color", "red", 2)]);
        assert_eq!(merged(vec![behind.clone(), gone(3)]), None);
        assert_eq!(merged(vec![gone(3), gone(1)]), None);
        assert_eq!(merged::<ContainerInfo>(vec![Known::nothing()]), None);
        assert!(merged(vec![behind, gone(1)]).is_some());
    }

    /// The one that was away when it was deleted knows the new one's policy, the other that the old one is gone.
    #[test]
    fn what_was_made_anew_has_its_own_policy_and_nothing_of_its_namesake() {
        let mut behind = replica((1, 1), 6, 0, &[("color", "red", 2), ("size", "big", 6)]);
        behind.life.policies = vec![(at(5), 2)];
        let info = merged(vec![behind.clone(), gone(4)]).expect("is there");
        assert_eq!(items(&info), [("size", "big")]);
        assert_eq!((info.created, info.policy, info.deleted), (at(5), 2, at(4)));
        behind.life.policies.clear();
        assert_eq!(merged(vec![gone(4), behind]).expect("is there").policy, 0);
    }

    #[test]
    fn an_account_leaves_where_one_has_heard_of_it() {
        let account = |modified, is_leaving, items: &[(&str, u64)]| {
            let info = AccountInfo { created: at(1), modified: at(modified), is_leaving, ..AccountInfo::default() };
            let items = items.iter().map(|(name, second)| ((*name).to_owned(), at(*second))).collect();
            Known { info: Some(info), version: at(modified), changes: 0, life: Life { items, ..Life::default() } }
        };
        let (leaving, later) = (account(5, true, &[(LEAVING_ITEM, 5)]), account(6, false, &[]));
        assert!(merged(vec![leaving, later]).expect("is there").is_leaving);
    }
}
