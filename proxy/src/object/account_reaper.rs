//! Empties accounts that were deleted with all that is in them, and deletes them in the end: their containers, versions
//! of objects that are not current, uploads and parts. What is to be done stands in the account itself, so a step may be
//! cut anywhere; whoever keeps the account begins it again.

use std::sync::Arc;
use std::time::Duration;

use anello_storage::daemon::watch::{Unit, Watch};
use anello_storage::{ContainerEntry, Error, ListQuery, Listed, ObjectEntry, ObjectPath, Precondition, Result, Store};
use futures::{StreamExt, TryStreamExt, stream};

use super::limits::{ACCOUNT_REAP_INTERVAL, ACCOUNT_REAP_PAGE, ACCOUNT_REAP_PER_SECOND, REAP_CONCURRENCY};
use super::names;
use super::parts::PARTS_ACCOUNT;
use super::versions;

/// The worker. One per store.
#[derive(Debug)]
pub struct AccountReaper {
    store: Store,
    watch: Arc<Watch>,
}

impl AccountReaper {
    /// A reaper of the accounts that the store's own devices are the first to be asked for.
    pub fn new(store: impl Into<Store>) -> Self {
        let store = store.into();
        Self { watch: store.watch("account reaper", Unit::Objects), store }
    }

    /// Steps for ever. A failed one is logged and tried again. May be dropped at any point.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(ACCOUNT_REAP_INTERVAL).await;
            if let Err(error) = self.step().await {
                tracing::warn!(%error, "a deleted account was not emptied, will be tried again");
                self.watch.failed(&error);
            }
        }
    }

    /// Empties every account that waits for it; tells how many are gone. One that somebody still writes to, or whose
    /// totals have yet to follow, is left for the next step.
    pub async fn step(&self) -> Result<usize> {
        self.watch.begin(None);
        let mut gone = 0;
        for account in self.store.leaving_accounts().await? {
            gone += usize::from(self.reap(&account).await?);
        }
        self.watch.end();
        Ok(gone)
    }

    async fn reap(&self, account: &str) -> Result<bool> {
        if !self.store.account(account).await?.is_some_and(|info| info.is_leaving) {
            return Ok(false);
        }
        self.remove_containers(account, "").await?;
        // What belongs to containers, and is found without them.
        self.remove_containers(versions::ACCOUNT, &versions::places_of(account)).await?;
        for prefix in [names::uploads_container(account, ""), names::parts_container(account, "")] {
            self.remove_containers(PARTS_ACCOUNT, &prefix).await?;
        }
        match self.store.account_delete(account).await {
            Ok(()) => Ok(true),
            Err(Error::NotEmpty | Error::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Empties and deletes the containers of an account whose names begin so.
    async fn remove_containers(&self, account: &str, prefix: &str) -> Result<()> {
        let mut query = ListQuery { prefix: prefix.to_owned(), limit: ACCOUNT_REAP_PAGE, ..ListQuery::default() };
        loop {
            let containers = entries(self.store.account_list(account, &query).await?, |row: ContainerEntry| row.name);
            for container in &containers {
                match self.remove_container(account, container).await {
                    // It is gone already, or somebody wrote to it again.
                    Ok(()) | Err(Error::Missing(_) | Error::NotEmpty) => {}
                    Err(error) => return Err(error),
                }
            }
            if containers.len() < ACCOUNT_REAP_PAGE {
                return Ok(());
            }
            query.marker = containers.into_iter().next_back();
        }
    }

    async fn remove_container(&self, account: &str, container: &str) -> Result<()> {
        let mut query = ListQuery { limit: ACCOUNT_REAP_PAGE, ..ListQuery::default() };
        loop {
            let listed = self.store.container_list(account, container, &query).await?;
            let objects = entries(listed, |row: ObjectEntry| row.name);
            query.marker = objects.last().cloned();
            let count = objects.len();
            let delete = |object: String| {
                let path = ObjectPath::new(account, container, object);
                async move { self.store.object_delete(&path, &Precondition::default()).await }
            };
            let deleted = stream::iter(objects).map(delete).buffer_unordered(REAP_CONCURRENCY);
            deleted.try_for_each(async |_| Ok(())).await?;
            self.watch.advance(count as u64);
            if count < ACCOUNT_REAP_PAGE {
                return self.store.container_delete(account, container).await;
            }
            tokio::time::sleep(Duration::from_secs_f64(count as f64 / ACCOUNT_REAP_PER_SECOND as f64)).await;
        }
    }
}

fn entries<E>(rows: Vec<Listed<E>>, name: impl Fn(E) -> String) -> Vec<String> {
    let name = |row| match row {
        Listed::Entry(entry) => Some(name(entry)),
        Listed::Prefix(_) => None,
    };
    rows.into_iter().filter_map(name).collect()
}
