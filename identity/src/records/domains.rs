//! A back end made of several: users and groups of some domains are in databases of their own, everything else (names
//! and who is in which group among it) in the main one.
//!
//! **A database speaks for its own domains only.** Who writes into one from outside makes no user of another domain,
//! and none with the id of a record that is elsewhere: such records are not there. **One that does not answer** leaves
//! what was listed as it was; what asks for it fails with [`Error::Elsewhere`], and everything else goes on. **While users
//! and groups are on their way** ([`crate::migrate`]) they are as they were at both ends, and nobody changes them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anello_base::Timestamp;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use futures::stream::BoxStream;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::{Copied, Expect, Kind, Records, Snapshots, SqlRecords, State, Version};
use crate::auth::now_us;
use crate::error::{Error, Result};
use crate::limits::{DOMAIN_DATABASE_REST, DOMAIN_DATABASE_TIMEOUT};

/// Ids with their versions, sorted.
type Listed = Vec<(String, Version)>;

/// The main back end and the domains' databases.
pub(crate) struct DomainRecords {
    main: Arc<dyn Records>,
    /// By domain; several may share one. Never held across an await; nothing else is locked while it is.
    homes: RwLock<BTreeMap<String, Arc<Home>>>,
    /// How often that has changed.
    follows: AtomicU64,
    /// Domains whose users and groups are on their way. Never held across an await; nothing else is locked while it is.
    moving: RwLock<BTreeSet<String>>,
    /// Shared by those who write users and groups, from their look at `moving` until they are done.
    writers: tokio::sync::RwLock<()>,
}

/// A database.
struct Home {
    url: String,
    /// Connected when it is asked first.
    records: OnceCell<SqlRecords>,
    /// What it held when it last answered. Never held across an await; nothing else is locked while it is.
    listed: Mutex<HashMap<Kind, Listed>>,
    /// When it may be listed again, in microseconds since 1970.
    rests_until_us: AtomicU64,
}

/// The part of a record that says where it belongs.
#[derive(Deserialize)]
struct Placed {
    record: InDomain,
}

#[derive(Deserialize)]
struct InDomain {
    domain_id: String,
}

/// The kinds whose records may be in a domain's database.
pub(crate) const PLACED: [Kind; 2] = [Kind::User, Kind::Group];

fn is_placed(kind: Kind) -> bool {
    PLACED.contains(&kind)
}

/// The domain of a record of such a kind, from its data.
pub(crate) fn domain_of(data: &[u8]) -> Option<String> {
    serde_json::from_slice(data).ok().map(|placed: Placed| placed.record.domain_id)
}

impl DomainRecords {
    /// All in one back end, until [`DomainRecords::follow`].
    pub(crate) fn new(main: Arc<dyn Records>) -> Self {
        Self {
            main,
            homes: RwLock::default(),
            follows: AtomicU64::new(0),
            moving: RwLock::default(),
            writers: tokio::sync::RwLock::default(),
        }
    }

    /// The back end of everything else.
    pub(crate) fn main(&self) -> &(dyn Records + 'static) {
        &*self.main
    }

    /// Takes over which domains have a database, by their ids and its address; tells whether that has changed. A
    /// database that stays keeps its connections.
    pub(crate) fn follow(&self, urls: &BTreeMap<String, String>) -> bool {
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        if homes.iter().map(|(id, home)| (id, &home.url)).eq(urls) {
            return false;
        }
        let mut by_url: HashMap<String, Arc<Home>> =
            homes.values().map(|home| (home.url.clone(), Arc::clone(home))).collect();
        let mut home = |url: &String| Arc::clone(by_url.entry(url.clone()).or_insert_with(|| Home::new(url)));
        *homes = urls.iter().map(|(id, url)| (id.clone(), home(url))).collect();
        self.follows.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Takes over which domains' users and groups are on their way.
    pub(crate) fn set_moving(&self, domains: BTreeSet<String>) {
        *self.moving.write().unwrap_or_else(PoisonError::into_inner) = domains;
    }

    /// [`Error::Moving`] where a domain's users and groups are on their way.
    pub(crate) fn check_settled(&self, domain_id: &str) -> Result<()> {
        match self.moving.read().unwrap_or_else(PoisonError::into_inner).contains(domain_id) {
            true => Err(Error::Moving),
            false => Ok(()),
        }
    }

    /// The same for a record of theirs.
    fn check_writable(&self, data: &[u8]) -> Result<()> {
        domain_of(data).map_or(Ok(()), |domain| self.check_settled(&domain))
    }

    /// Waits for those who began to write before they could know that a domain is on its way.
    pub(crate) async fn drain(&self) {
        drop(self.writers.write().await);
    }

    /// Whether a domain's users and groups are in a database of its own.
    pub(crate) fn has(&self, domain_id: &str) -> bool {
        self.home(domain_id).is_some()
    }

    fn home(&self, domain_id: &str) -> Option<Arc<Home>> {
        self.homes.read().unwrap_or_else(PoisonError::into_inner).get(domain_id).cloned()
    }

    /// Each database once.
    fn all(&self) -> Vec<Arc<Home>> {
        let homes = self.homes.read().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        homes.values().filter(|home| seen.insert(Arc::as_ptr(home))).cloned().collect()
    }

    /// The database that a record is in, and the record. Those that are known to hold others are not asked.
    async fn find(&self, kind: Kind, id: &str) -> Result<Option<(Arc<Home>, Version, Bytes)>> {
        let mut homes = self.all();
        if homes.iter().any(|home| home.has_listed(kind, id)) {
            homes.retain(|home| home.has_listed(kind, id));
        }
        let mut found = None;
        for home in homes {
            let read = home.records().await?.get(kind, id).await.map_err(elsewhere)?;
            let own = |data: &Bytes| self.home(&domain_of(data)?).filter(|own| Arc::ptr_eq(own, &home));
            let Some((version, data)) = read.filter(|(_, data)| own(data).is_some()) else { continue };
            if found.is_some() {
                tracing::warn!(kind = kind.noun(), id, "a record that several databases hold is not there");
                return Ok(None);
            }
            found = Some((home, version, data));
        }
        Ok(found)
    }
}

impl Home {
    fn new(url: &str) -> Arc<Self> {
        Arc::new(Self {
            url: url.to_owned(),
            records: OnceCell::new(),
            listed: Mutex::default(),
            rests_until_us: AtomicU64::new(0),
        })
    }

    async fn records(&self) -> Result<&SqlRecords> {
        let connected = self.records.get_or_try_init(|| async {
            let records = SqlRecords::connect(&self.url).await?;
            records.prepare().await?;
            Ok(records)
        });
        connected.await.map_err(elsewhere)
    }

    /// An answer; `None` while it does not give one. One that fails is not waited for again and again: revocations are
    /// read with the same refresh.
    async fn ask<T>(&self, asking: impl Future<Output = Result<T>>) -> Option<T> {
        if now_us() < self.rests_until_us.load(Ordering::Relaxed) {
            return None;
        }
        if let Ok(Ok(answer)) = tokio::time::timeout(DOMAIN_DATABASE_TIMEOUT, asking).await {
            return Some(answer);
        }
        tracing::warn!("a domain's database can't be read; it is tried again later");
        let rest_us = u64::try_from(DOMAIN_DATABASE_REST.as_micros()).unwrap_or(u64::MAX);
        self.rests_until_us.store(now_us().saturating_add(rest_us), Ordering::Relaxed);
        None
    }

    async fn state(&self, kind: Kind) -> Option<State> {
        self.ask(async { self.records().await?.state(kind).await }).await?
    }

    /// What it holds, or held when it last answered.
    async fn versions(&self, kind: Kind) -> Listed {
        let listed = self.ask(async { self.records().await?.versions(kind).await }).await;
        let mut known = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listed) = listed {
            known.insert(kind, listed.clone());
            return listed;
        }
        known.get(&kind).cloned().unwrap_or_default()
    }

    fn has_listed(&self, kind: Kind, id: &str) -> bool {
        let known = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&kind).is_some_and(|listed| listed.binary_search_by(|(known, _)| known.as_str().cmp(id)).is_ok())
    }
}

/// A failure of a domain's database, which is none of the main back end.
fn elsewhere(error: Error) -> Error {
    match error {
        Error::Changed | Error::Invalid(_) => error,
        error => {
            tracing::warn!(%error, "a domain's database fails");
            Error::Elsewhere
        }
    }
}

impl Records for DomainRecords {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        self.main.prepare()
    }

    fn versions(&self, kind: Kind) -> BoxFuture<'_, Result<Listed>> {
        Box::pin(async move {
            let mut listed = self.main.versions(kind).await?;
            if !is_placed(kind) {
                return Ok(listed);
            }
            // What is in several places is in none.
            let mut others: BTreeMap<String, Option<Version>> = BTreeMap::new();
            for home in self.all() {
                for (id, version) in home.versions(kind).await {
                    others.entry(id).and_modify(|it| *it = None).or_insert(Some(version));
                }
            }
            listed.iter().for_each(|(id, _)| drop(others.remove(id)));
            listed.extend(others.into_iter().filter_map(|(id, version)| Some((id, version?))));
            listed.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
            Ok(listed)
        })
    }

    fn state(&self, kind: Kind) -> BoxFuture<'_, Result<Option<State>>> {
        Box::pin(async move {
            if !is_placed(kind) || self.all().is_empty() {
                return self.main.state(kind).await;
            }
            // Before the others: who is where may change meanwhile.
            let mut states = vec![Some(State::Writes(self.follows.load(Ordering::Acquire)))];
            let Some(main) = self.main.state(kind).await? else { return Ok(None) };
            states.push(Some(main));
            states.extend(join_all(self.all().iter().map(|home| home.state(kind))).await);
            Ok(Some(State::Several(states)))
        })
    }

    fn copies(&self, kind: Kind) -> BoxStream<'_, Result<Vec<Copied>>> {
        self.main.copies(kind)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.main.snapshots()
    }

    /// What is in a domain's database stays there.
    fn is_copied(&self, kind: Kind, data: &[u8]) -> bool {
        !is_placed(kind) || self.all().is_empty() || domain_of(data).is_none_or(|domain| !self.has(&domain))
    }

    fn get<'a>(&'a self, kind: Kind, id: &'a str) -> BoxFuture<'a, Result<Option<(Version, Bytes)>>> {
        Box::pin(async move {
            match self.main.get(kind, id).await? {
                None if is_placed(kind) => Ok(self.find(kind, id).await?.map(|(_, version, data)| (version, data))),
                found => Ok(found),
            }
        })
    }

    fn put<'a>(&'a self, kind: Kind, id: &'a str, data: Bytes, expect: Expect<'a>) -> BoxFuture<'a, Result<Version>> {
        Box::pin(async move {
            if !is_placed(kind) {
                return self.main.put(kind, id, data, expect).await;
            }
            let _writer = self.writers.read().await;
            self.check_writable(&data)?;
            match domain_of(&data).and_then(|domain| self.home(&domain)) {
                Some(home) => home.records().await?.put(kind, id, data, expect).await.map_err(elsewhere),
                None => self.main.put(kind, id, data, expect).await,
            }
        })
    }

    fn delete<'a>(&'a self, kind: Kind, id: &'a str, expect: Expect<'a>) -> BoxFuture<'a, Result<Option<Timestamp>>> {
        Box::pin(async move {
            if !is_placed(kind) {
                return self.main.delete(kind, id, expect).await;
            }
            let _writer = self.writers.read().await;
            if let Some((_, data)) = self.main.get(kind, id).await? {
                self.check_writable(&data)?;
                return self.main.delete(kind, id, expect).await;
            }
            match self.find(kind, id).await? {
                Some((_, _, data)) if self.check_writable(&data).is_err() => Err(Error::Moving),
                Some((home, ..)) => home.records().await?.delete(kind, id, expect).await.map_err(elsewhere),
                None => self.main.delete(kind, id, expect).await,
            }
        })
    }
}
