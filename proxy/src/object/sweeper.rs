//! Finds parts that a crash left behind: their upload has no record any more, and the object that they
//! were uploaded for does not list them. Uploads younger than a day are not looked at, and what is found
//! is deleted only when a second round, an hour or more later, finds it again: by then whatever was under
//! way has ended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anello_storage::daemon::watch::{Unit, Watch};
use anello_storage::{Error, ListQuery, Listed, ObjectEntry, ObjectPath, Precondition, Result, Store};

use super::limits::{SWEEP_AGE, SWEEP_FOUND_MAX, SWEEP_INTERVAL, SWEEP_PAGE, SWEEP_PAUSE};
use super::names;
use super::parts::PARTS_ACCOUNT;
use super::reaper::listed;
use super::vault::Vault;
use super::versions::Versions;

/// The worker. One per store.
#[derive(Debug)]
pub struct Sweeper {
    store: Store,
    watch: Arc<Watch>,
    age: Duration,
    pause: Duration,
    /// Parts that the last round found, and when it began.
    found: HashSet<ObjectPath>,
    since: Option<Instant>,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Parts found that nothing needs.
    pub found: usize,
    /// Of those, deleted.
    pub deleted: usize,
}

impl Sweeper {
    /// A sweeper of what is a day old.
    pub fn new(store: impl Into<Store>) -> Self {
        let store = store.into();
        let watch = store.watch("part sweeper", Unit::Uploads);
        Self { store, watch, age: SWEEP_AGE, pause: SWEEP_PAUSE, found: HashSet::new(), since: None }
    }

    /// A sweeper of uploads of any age, in a hurry.
    pub fn at_once(store: impl Into<Store>) -> Self {
        Self { age: Duration::ZERO, pause: Duration::ZERO, ..Self::new(store) }
    }

    /// Rounds for ever. A failed one is logged and tried again. May be dropped at any point.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            if let Err(error) = self.round(Instant::now()).await {
                tracing::warn!(%error, "the search for parts left behind failed, will be tried again");
                self.watch.failed(&error);
            }
        }
    }

    /// One round over all containers of parts, that begins at `now`.
    pub async fn round(&mut self, now: Instant) -> Result<Swept> {
        let is_second = self.since.is_some_and(|since| now.duration_since(since) >= SWEEP_INTERVAL);
        let mut swept = Swept::default();
        let mut found = HashSet::new();
        let mut marker = None;
        self.watch.begin(None);
        loop {
            let prefix = names::parts_containers();
            let query = ListQuery { prefix, marker: marker.take(), limit: SWEEP_PAGE, ..ListQuery::default() };
            let page = self.store.account_list(PARTS_ACCOUNT, &query).await?;
            for listed in &page {
                let Listed::Entry(container) = listed else { continue };
                for path in self.orphans(&container.name).await? {
                    swept.found += 1;
                    if is_second && self.found.contains(&path) {
                        self.store.object_delete(&path, &Precondition::default()).await?;
                        swept.deleted += 1;
                    } else if found.len() < SWEEP_FOUND_MAX {
                        found.insert(path);
                    }
                }
                marker = Some(container.name.clone());
            }
            if page.len() < SWEEP_PAGE {
                break;
            }
        }
        if is_second || self.since.is_none() {
            (self.found, self.since) = (found, Some(now));
        }
        // Found in one round, deleted in the next.
        self.watch.waits((swept.found - swept.deleted) as u64);
        self.watch.found(swept.deleted as u64);
        self.watch.end();
        Ok(swept)
    }

    /// Parts of a container that nothing needs.
    async fn orphans(&self, container: &str) -> Result<Vec<ObjectPath>> {
        let Some((account, bucket)) = names::owner_of_parts(container) else { return Ok(Vec::new()) };
        let oldest = self.store.clock().wall().microseconds().saturating_sub(self.age.as_micros() as u64);
        let mut orphans = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let Some(first) = rows(&self.store, container, "", marker.take(), 1).await?.pop() else {
                return Ok(orphans);
            };
            let Some((id, _)) = names::split_part(&first.name) else { return Ok(orphans) };
            // Ids sort by time: behind the first that is too young, all are.
            if names::begun(id).microseconds() > oldest {
                return Ok(orphans);
            }
            orphans.extend(parts_of(&self.store, account, bucket, id).await?);
            marker = Some(format!("{id}0"));
            self.watch.advance(1);
            tokio::time::sleep(self.pause).await;
        }
    }
}

/// Of an upload's parts, those that neither its record nor its object accounts for.
pub(super) async fn parts_of(store: &Store, account: &str, bucket: &str, id: &str) -> Result<Vec<ObjectPath>> {
    let container = names::parts_container(account, bucket);
    let rows = rows(store, &container, &format!("{id}/"), None, usize::MAX).await?;
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let path = ObjectPath::new(PARTS_ACCOUNT, container.as_str(), first.name.as_str());
    let Some(info) = store.object(&path).await? else { return Ok(Vec::new()) };
    let key = info.metadata.iter().find(|(name, _)| name == names::PART_KEY_NAME).map(|(_, key)| key.as_str());
    let Some(key) = key else { return Ok(Vec::new()) };
    let uploads = names::uploads_container(account, bucket);
    let record = ObjectPath::new(PARTS_ACCOUNT, uploads, names::record(key, Some(id)));
    if store.object(&record).await?.is_some() {
        return Ok(Vec::new());
    }
    let places = match Versions::of_container(&Vault::from(store.clone()), account, bucket).await? {
        Some(versions) => versions.places_of_upload(key, id).await?,
        None => vec![ObjectPath::new(account, bucket, key)],
    };
    let mut in_use = HashSet::new();
    for place in &places {
        in_use.extend(listed(store, place).await?.into_iter().map(|path| path.object));
    }
    let unlisted = rows.into_iter().map(|row| row.name).filter(|name| !in_use.contains(name));
    Ok(unlisted.map(|name| ObjectPath::new(PARTS_ACCOUNT, container.as_str(), name)).collect())
}

/// Rows of a container, up to `limit` of them.
async fn rows(
    store: &Store,
    container: &str,
    prefix: &str,
    marker: Option<String>,
    limit: usize,
) -> Result<Vec<ObjectEntry>> {
    let mut query =
        ListQuery { prefix: prefix.to_owned(), marker, limit: limit.min(SWEEP_PAGE), ..ListQuery::default() };
    let mut rows = Vec::new();
    loop {
        let page = match store.container_list(PARTS_ACCOUNT, container, &query).await {
            Err(Error::Missing(_)) => return Ok(rows),
            other => other?,
        };
        let is_last = page.len() < query.limit;
        rows.extend(page.into_iter().filter_map(|listed| match listed {
            Listed::Entry(entry) => Some(entry),
            Listed::Prefix(_) => None,
        }));
        if is_last || rows.len() >= limit {
            return Ok(rows);
        }
        query.marker = rows.last().map(|row| row.name.clone());
    }
}
