//! The daemon that copies. Every host that is a proxy and keeps data has one; a container is one host's for a while, by a
//! conditional write. A pass over a container may be cut anywhere: what has been copied is written down object by object,
//! and what is done twice does no harm.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anello_base::Timestamp;
use anello_storage::daemon::watch::{Unit, Watch};
use anello_storage::store::{ContainerState, ObjectUpdate};
use anello_storage::{Error, ListQuery, Listed, ObjectInfo, ObjectPath, Precondition, Result};
use sha2::{Digest, Sha256};

use super::push::{Client, Copied};
use super::rows::{self, Change, Rows};
use super::{ACCOUNT, CONTAINERS, Realms, Target, put_row, setting};
use crate::swift::SwiftDoor;
use crate::swift::config::Middleware;
use crate::swift::limits::{SYNC_FAILURES_MAX, SYNC_PAGE};

/// When a container was last claimed: ticks.
const CLAIMED_NAME: &str = "x-object-sysmeta-claimed";

/// Where what has been copied of it is written down.
const ROWS_NAME: &str = "x-object-sysmeta-rows";

/// The worker. One per host.
#[derive(Debug)]
pub struct Synchronizer {
    door: SwiftDoor,
    client: Client,
    watch: Arc<Watch>,
    interval: Duration,
    container_time: Duration,
    pause: Duration,
    passes: HashMap<String, Pass>,
}

/// How far a pass over a container has come.
#[derive(Debug, Default)]
struct Pass {
    /// What it goes by: where the container is copied to.
    rows: String,
    /// The container as it was when the pass began.
    began: Option<ContainerState>,
    /// The last name that was seen to; at the end of a pass none.
    at: Option<String>,
    has_failed: bool,
    /// The container as it was when the last pass began that came to its end without failures.
    done: Option<ContainerState>,
}

impl Synchronizer {
    /// A worker for what is behind a door; `None` where that does not offer it.
    pub fn new(door: &SwiftDoor) -> Option<Self> {
        let config = &door.config.container_sync;
        if !door.config.offers(Middleware::ContainerSync) || config.realms.is_empty() {
            return None;
        }
        let client = Client::new(Realms::of(config));
        let client = client.inspect_err(|error| tracing::error!(%error, "containers can't be copied")).ok()?;
        Some(Self {
            watch: door.store.watch("container sync", Unit::Objects),
            door: door.clone(),
            client,
            interval: Duration::from_secs(config.interval_seconds),
            container_time: Duration::from_secs(config.container_time_seconds),
            pause: Duration::from_secs(1) / config.objects_per_second.max(1),
            passes: HashMap::new(),
        })
    }

    /// Steps for ever. A failed one is logged and tried again. May be dropped at any point.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(self.interval).await;
            if let Err(error) = self.step().await {
                tracing::warn!(%error, "containers were not copied, will be tried again");
                self.watch.failed(&error);
            }
        }
    }

    /// Goes through the containers that are copied and that no other host sees to; tells how many objects were copied or
    /// deleted.
    pub async fn step(&mut self) -> Result<usize> {
        self.watch.begin(None);
        let (mut count, mut waiting) = (0, 0);
        let mut query = ListQuery { limit: SYNC_PAGE, ..ListQuery::default() };
        let mut seen = Vec::new();
        loop {
            let page = match self.door.store.store().container_list(ACCOUNT, CONTAINERS, &query).await {
                Err(Error::Missing(_)) => break,
                page => page?,
            };
            let names = page.iter().filter_map(|row| match row {
                Listed::Entry(entry) => Some(entry.name.clone()),
                Listed::Prefix(_) => None,
            });
            let names: Vec<String> = names.collect();
            query.marker = names.last().cloned();
            for name in &names {
                let (done, is_whole) = self.container(name).await?;
                count += done;
                waiting += u64::from(!is_whole);
            }
            seen.extend(names);
            if page.len() < SYNC_PAGE {
                break;
            }
        }
        self.passes.retain(|name, _| seen.contains(name));
        self.watch.waits(waiting);
        self.watch.end();
        Ok(count)
    }

    /// A pass over a container: how many objects were copied or deleted, and whether nothing is left to do.
    async fn container(&mut self, name: &str) -> Result<(usize, bool)> {
        let note = ObjectPath::new(ACCOUNT, CONTAINERS, name);
        let Some((account, container)) = name.split_once('/') else { return Ok((0, true)) };
        let store = self.door.store.clone();
        let info = store.container_settings(account, container).await?;
        let place = info.as_ref().and_then(setting).map(|(to, key)| (to.to_owned(), key.to_owned()));
        let rows = place.as_ref().map(|(to, _)| rows_container(account, container, to));
        let Some(before) = self.claim(&note, rows.as_deref()).await? else { return Ok((0, true)) };
        if let Some(before) = before.filter(|before| Some(before) != rows.as_ref()) {
            self.forget(&before).await?;
        }
        let (Some((to, key)), Some(rows)) = (place, rows) else {
            store.store().object_delete(&note, &Precondition::default()).await?;
            return Ok((0, true));
        };
        let target = match self.client.realms().target(&to) {
            Ok(target) => target,
            Err(reason) => {
                tracing::warn!(account, container, reason, "a container can't be copied");
                self.watch.failed(&reason);
                return Ok((0, false));
            }
        };
        let mut pass = self.passes.remove(name).filter(|pass| pass.rows == rows).unwrap_or_default();
        pass.rows = rows;
        let result = self.pass(&mut pass, (account, container), (&target, &key)).await;
        let is_whole = pass.at.is_none() && !pass.has_failed;
        self.passes.insert(name.to_owned(), pass);
        result.map(|count| (count, is_whole))
    }

    async fn pass(
        &self,
        pass: &mut Pass,
        (account, container): (&str, &str),
        (target, key): (&Target, &str),
    ) -> Result<usize> {
        let store = &self.door.store;
        let until = Instant::now() + self.container_time;
        if pass.at.is_none() {
            let state = store.container_state(account, container).await?;
            if pass.done.as_ref().is_some_and(|done| state.is_still(done)) {
                return Ok(0);
            }
            (pass.began, pass.has_failed) = (Some(state), false);
        }
        let mut objects = Rows::behind(store, account, container, pass.at.clone());
        let mut copied = Rows::behind(store, ACCOUNT, &pass.rows, pass.at.clone());
        let (mut count, mut failures) = (0, 0);
        while Instant::now() < until && failures < SYNC_FAILURES_MAX {
            let Some((name, change)) = rows::next(&mut objects, &mut copied).await? else {
                pass.at = None;
                pass.done = pass.began.take().filter(|_| !pass.has_failed);
                return Ok(count);
            };
            if let Some(change) = change {
                match self.change(&pass.rows, (account, container), (target, key), change).await? {
                    Ok(()) => {
                        count += 1;
                        self.watch.advance(1);
                    }
                    Err(reason) => {
                        tracing::info!(
                            account,
                            container,
                            name,
                            reason,
                            "an object was not copied, will be tried again"
                        );
                        self.watch.failed(&reason);
                        pass.has_failed = true;
                        failures += 1;
                    }
                }
                tokio::time::sleep(self.pause).await;
            }
            pass.at = Some(name);
        }
        // Where nothing goes through, the next pass begins at the beginning.
        if failures >= SYNC_FAILURES_MAX {
            pass.at = None;
        }
        Ok(count)
    }

    /// Does what is to be done about an object, and writes down that it is.
    async fn change(
        &self,
        rows: &str,
        place: (&str, &str),
        (target, key): (&Target, &str),
        change: Change,
    ) -> Result<std::result::Result<(), String>> {
        let store = self.door.store.store();
        let row = |name: &str| ObjectPath::new(ACCOUNT, rows, name);
        match change {
            Change::Copy(name, at) => match self.client.copy(&self.door, place, (target, key, &name), at).await {
                Ok(Copied::Gone) => {}
                Ok(Copied::Before) => put_row(store, &row(&name), &rows::tag(at)).await?,
                Ok(Copied::Now(at)) => put_row(store, &row(&name), &rows::tag(at)).await?,
                Err(reason) => return Ok(Err(reason)),
            },
            // Whatever is later than what was copied came from somebody else.
            Change::Delete(name, at) => {
                let at = Timestamp::from_ticks(at.ticks() + 1);
                if let Err(reason) = self.client.delete((target, key, &name), at).await {
                    return Ok(Err(reason));
                }
                store.object_delete(&row(&name), &Precondition::default()).await?;
            }
        }
        Ok(Ok(()))
    }

    /// Claims a container for one interval. `None` if another host has it; otherwise where its copies were written down.
    async fn claim(&self, note: &ObjectPath, rows: Option<&str>) -> Result<Option<Option<String>>> {
        let now = self.door.store.clock().wall();
        let mut before = None;
        let change = |info: &ObjectInfo| {
            let item =
                |name: &str| info.metadata.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
            let claimed = item(CLAIMED_NAME).and_then(|ticks| ticks.parse().ok()).map(Timestamp::from_ticks);
            if claimed.is_some_and(|claimed| now < claimed.plus(self.interval / 2)) {
                return Err(Error::Precondition);
            }
            before = item(ROWS_NAME);
            let mut metadata = vec![(CLAIMED_NAME.to_owned(), now.ticks().to_string())];
            metadata.extend(rows.map(|rows| (ROWS_NAME.to_owned(), rows.to_owned())));
            Ok(ObjectUpdate { content_type: None, delete_at: None, metadata })
        };
        match self.door.store.store().object_update(note, change).await {
            Ok(_) => Ok(Some(before)),
            Err(Error::Precondition | Error::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes what was written down about copies to a place that is none any more.
    async fn forget(&self, rows: &str) -> Result<()> {
        let mut all = Rows::behind(&self.door.store, ACCOUNT, rows, None);
        while let Some(name) = all.next_name().await? {
            self.door
                .store
                .store()
                .object_delete(&ObjectPath::new(ACCOUNT, rows, name), &Precondition::default())
                .await?;
        }
        match self.door.store.container_delete(ACCOUNT, rows).await {
            Ok(()) | Err(Error::Missing(_) | Error::NotEmpty) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Where it is written down what has been copied from a container to a place.
fn rows_container(account: &str, container: &str, to: &str) -> String {
    let digest = Sha256::digest(format!("{account}\0{container}\0{to}"));
    format!("rows/{}", &hex::encode(digest)[..32])
}
