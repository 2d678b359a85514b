//! What an account holds of each storage policy, where there are several. Accounts don't count by policy: the counts are
//! those of the account's containers, added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use anello_storage::{ContainerEntry, ListQuery, Listed};
use futures::stream::{self, StreamExt, TryStreamExt};
use moka::sync::Cache;

use super::SwiftDoor;
use super::fault::Fault;
use super::limits::{
    LISTING_ENTRIES_MAX, POLICY_LOOKUPS_AT_ONCE, POLICY_TOTALS_CACHE_MAX, POLICY_TOTALS_CONTAINERS_MAX,
    POLICY_TOTALS_LIFE,
};
use crate::object::versions;

/// What there is of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) containers: u64,
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

/// Totals by a policy's index.
pub(super) type ByPolicy = BTreeMap<u32, Totals>;

/// Totals of accounts that were asked for lately, for quotas.
pub(super) fn cache() -> Cache<String, Arc<ByPolicy>> {
    Cache::builder().max_capacity(POLICY_TOTALS_CACHE_MAX).time_to_live(POLICY_TOTALS_LIFE).build()
}

/// An account's totals; `None` where it has more containers than are added up.
pub(super) async fn of_account(door: &SwiftDoor, account: &str) -> Result<Option<ByPolicy>, Fault> {
    let mut totals = ByPolicy::new();
    let Some(containers) = add(door, account, "", &mut totals, true).await? else { return Ok(None) };
    // Versions are kept in a place for each container, of its policy.
    let of_versions = add(door, versions::ACCOUNT, &format!("{account}/"), &mut totals, false).await?;
    Ok(of_versions.filter(|more| containers + more <= POLICY_TOTALS_CONTAINERS_MAX).map(|_| totals))
}

/// The same as it was some seconds ago.
pub(super) async fn lately(door: &SwiftDoor, account: &str) -> Result<Option<Arc<ByPolicy>>, Fault> {
    if let Some(known) = door.policy_totals.get(account) {
        return Ok(Some(known));
    }
    let Some(totals) = of_account(door, account).await?.map(Arc::new) else { return Ok(None) };
    door.policy_totals.insert(account.to_owned(), Arc::clone(&totals));
    Ok(Some(totals))
}

/// Adds the containers of an account whose names begin so: their bytes, and as an account's own also what else there is
/// to count. How many they are; `None` if too many.
async fn add(
    door: &SwiftDoor,
    account: &str,
    prefix: &str,
    totals: &mut ByPolicy,
    is_own: bool,
) -> Result<Option<usize>, Fault> {
    let mut query = ListQuery { prefix: prefix.to_owned(), limit: LISTING_ENTRIES_MAX, ..ListQuery::default() };
    let mut seen = 0;
    loop {
        let page: Vec<ContainerEntry> = entries(door.store.account_list(account, &query).await?);
        query.marker = page.last().map(|entry| entry.name.clone());
        let count = page.len();
        seen += count;
        if seen > POLICY_TOTALS_CONTAINERS_MAX {
            return Ok(None);
        }
        let default = door.store.policies().default_policy().index;
        let with_policy = |entry: ContainerEntry| async move {
            let policy = door.store.container_policy(account, &entry.name).await?;
            Ok::<_, Fault>((policy.map_or(default, |policy| policy.index), entry))
        };
        let mut found = stream::iter(page).map(with_policy).buffer_unordered(POLICY_LOOKUPS_AT_ONCE);
        while let Some((policy, entry)) = found.try_next().await? {
            let of_policy = totals.entry(policy).or_default();
            of_policy.bytes += entry.bytes_used;
            if is_own {
                of_policy.containers += 1;
                of_policy.objects += entry.object_count;
            }
        }
        if count < LISTING_ENTRIES_MAX {
            return Ok(Some(seen));
        }
    }
}

fn entries(rows: Vec<Listed<ContainerEntry>>) -> Vec<ContainerEntry> {
    let entry = |row| match row {
        Listed::Entry(entry) => Some(entry),
        Listed::Prefix(_) => None,
    };
    rows.into_iter().filter_map(entry).collect()
}
