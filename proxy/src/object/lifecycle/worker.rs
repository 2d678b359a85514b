//! The daemon that carries out lifecycle rules. Every host that keeps data has one; a bucket is claimed by a conditional
//! write before it is gone through, so that one host does it at a time, and where that host dies another one goes on
//! from where it last noted that it stood. A bucket is gone through once a day, and anew when its rules are put.
//!
//! What is deleted was looked at right before, and is deleted only if it still is that; a step that is cut or done twice
//! does no harm. What Object Lock protects stays.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anello_base::Timestamp;
use anello_storage::daemon::watch::{Unit, Watch};
use anello_storage::{
    ContainerInfo, Error, Etags, ListQuery, Listed, ObjectEntry, ObjectInfo, ObjectPath, Precondition, Result, Store,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::claim::Claim;
use super::rule::{DAY, Rules, Subject, day_of};
use super::{ACCOUNT, CONTAINER, forget, load, name_of, owner};
use crate::object::limits::{
    LIFECYCLE_DELETIONS_PER_SECOND, LIFECYCLE_INTERVAL, LIFECYCLE_LOOKS_PER_SECOND, LIFECYCLE_PAGE,
    LIFECYCLE_REMEMBERED_MAX, LIFECYCLE_UNUSED, REAP_CONCURRENCY, UPLOAD_CLAIM,
};
use crate::object::parts::PARTS_ACCOUNT;
use crate::object::vault::Vault;
use crate::object::versions::listing::{ListedVersion, VersionEntry, VersionQuery};
use crate::object::versions::{Behind, Found, Stamp, VersionId, Versions};
use crate::object::{lock, names, sweeper, tags};

/// The daemon. One per store.
#[derive(Debug)]
pub struct Lifecycle {
    store: Store,
    /// Through which objects are read: their tags may be sealed.
    vault: Vault,
    watch: Arc<Watch>,
    day: Duration,
    /// Rules that were carried out on this day.
    through: (u64, HashSet<String>),
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Buckets gone through.
    pub buckets: usize,
    /// Objects, versions and delete markers that expired.
    pub expired: u64,
    /// Uploads aborted.
    pub aborted: u64,
}

/// A bucket that is being gone through.
struct Bucket<'a> {
    account: &'a str,
    name: &'a str,
    made: Timestamp,
    versions: Option<Versions>,
    rules: Rules,
    now: Timestamp,
}

/// Something that expires.
enum Expiring {
    /// The current version, or the only one.
    Current(String),
    /// A version that is not current, since when and before how many others of the kind; or a delete marker.
    Noncurrent { key: String, id: VersionId, size: u64, since: Timestamp, newer: u64, is_marker: bool },
    /// A delete marker that nothing is behind.
    Marker { key: String, id: VersionId },
}

/// The versions of a key that were gone through, from the newest on.
#[derive(Default)]
struct Seen {
    key: String,
    count: u64,
    last: Option<Timestamp>,
    /// The delete marker that is the newest of them.
    marker: Option<(VersionId, Timestamp)>,
}

impl Lifecycle {
    /// A daemon for the rules of this store.
    pub fn new(vault: impl Into<Vault>) -> Self {
        let vault = vault.into();
        let store = vault.store().clone();
        Self { watch: store.watch("lifecycle", Unit::Objects), store, vault, day: DAY, through: (0, HashSet::new()) }
    }

    /// The same with days of another length, to try rules out.
    pub fn with_day(self, day: Duration) -> Self {
        Self { day, ..self }
    }

    /// Steps for ever. A failed one is logged and tried again. May be dropped at any point.
    pub async fn run(mut self) {
        let pause = LIFECYCLE_INTERVAL.min(self.day / 10);
        loop {
            tokio::time::sleep(pause).await;
            if let Err(error) = self.step(self.store.clock().wall()).await {
                tracing::warn!(%error, "lifecycle rules could not be carried out, will be tried again");
                self.watch.failed(&error);
            }
        }
    }

    /// Goes through every bucket whose rules were not carried out on the day that it is at `now`. One that fails is
    /// left for the next step.
    pub async fn step(&mut self, now: Timestamp) -> Result<Done> {
        let today = day_of(now, self.day);
        if self.through.0 != today {
            self.through = (today, HashSet::new());
        }
        self.watch.begin(None);
        let (mut done, mut failed) = (Done::default(), None);
        let mut query = ListQuery { limit: LIFECYCLE_PAGE, ..ListQuery::default() };
        loop {
            let page = entries(match self.store.container_list(ACCOUNT, CONTAINER, &query).await {
                Err(Error::Missing(_)) => Vec::new(),
                page => page?,
            });
            query.marker = page.last().map(|entry| entry.name.clone());
            let is_last = page.len() < query.limit;
            for entry in page {
                if self.through.1.contains(&entry.name) {
                    continue;
                }
                match self.visit(&entry, now, &mut done).await {
                    Ok(true) if self.through.1.len() < LIFECYCLE_REMEMBERED_MAX => {
                        self.through.1.insert(entry.name);
                    }
                    Ok(_) | Err(Error::Replaced) => {}
                    Err(error) => {
                        tracing::warn!(%error, rules = entry.name, "a bucket's lifecycle rules could not be carried out");
                        failed = Some(error);
                    }
                }
            }
            if is_last {
                break;
            }
        }
        match failed {
            Some(error) => Err(error),
            None => {
                self.watch.end();
                Ok(done)
            }
        }
    }

    /// Goes through the bucket of these rules, if nobody else does; whether it is done with for today.
    async fn visit(&self, entry: &ObjectEntry, now: Timestamp, done: &mut Done) -> Result<bool> {
        let name = entry.name.as_str();
        let Some((account, bucket)) = owner(name) else { return Ok(true) };
        let container = self.store.container_settings(account, bucket).await?;
        let Some(container) = container.filter(|container| name_of(container) == Some(name)) else {
            // They are being put, or nobody's any more.
            if now > entry.timestamp.plus(LIFECYCLE_UNUSED) {
                forget(&self.store, name).await?;
            }
            return Ok(false);
        };
        let Some(mut claim) = Claim::of(&self.store, name, now, self.day).await? else { return Ok(true) };
        if !claim.is_held() {
            return Ok(false);
        }
        let Some(rules) = load(&self.store, name).await? else { return Ok(true) };
        let bucket = self.bucket(account, bucket, &container, rules, now);
        if bucket.rules.has_expirations() {
            done.expired += match &bucket.versions {
                None => self.objects(&bucket, &mut claim).await?,
                Some(versions) => self.versions(&bucket, versions, &mut claim).await?,
            };
        }
        if bucket.rules.has_aborts() {
            done.aborted += self.uploads(&bucket, &mut claim).await?;
        }
        let began = claim.finish(self.day).await?;
        done.buckets += 1;
        Ok(began == Some(self.through.0))
    }

    fn bucket<'a>(
        &self,
        account: &'a str,
        name: &'a str,
        container: &ContainerInfo,
        rules: Rules,
        now: Timestamp,
    ) -> Bucket<'a> {
        let versions = Versions::of(&self.vault, account, name, container);
        Bucket { account, name, made: container.created, versions, rules, now }
    }

    /// Objects of a bucket that never kept versions.
    async fn objects(&self, bucket: &Bucket<'_>, claim: &mut Claim<'_>) -> Result<u64> {
        let mut expired = 0;
        let mut query = ListQuery {
            prefix: bucket.rules.common_prefix(),
            marker: claim.marker(),
            limit: LIFECYCLE_PAGE,
            ..ListQuery::default()
        };
        loop {
            let page = entries(self.store.container_list(bucket.account, bucket.name, &query).await?);
            let is_last = page.len() < query.limit;
            query.marker = page.last().map(|entry| entry.name.clone());
            let may = |entry: &ObjectEntry| {
                bucket.rules.may_expire(&entry.name, entry.size, bucket.made, bucket.now, self.day)
            };
            let work = page.into_iter().filter(may).map(|entry| Expiring::Current(entry.name)).collect();
            expired += self.expire(bucket, work).await?;
            if is_last {
                return Ok(expired);
            }
            claim.stands_at(query.marker.as_deref()).await?;
        }
    }

    /// All versions of a bucket's objects.
    async fn versions(&self, bucket: &Bucket<'_>, versions: &Versions, claim: &mut Claim<'_>) -> Result<u64> {
        let (mut expired, mut seen) = (0, Seen::default());
        let mut query = VersionQuery {
            prefix: bucket.rules.common_prefix(),
            marker: claim.marker(),
            limit: LIFECYCLE_PAGE,
            ..VersionQuery::default()
        };
        loop {
            let page = versions.list(&query).await?;
            let mut work = Vec::new();
            let mut through = None;
            for listed in page.listed {
                let ListedVersion::Version(entry) = listed else { continue };
                if seen.key != entry.key {
                    through = Some(seen.key.clone()).filter(|key| !key.is_empty()).or(through);
                    work.extend(self.lone_marker(bucket, &mut seen));
                    seen = Seen { key: entry.key.clone(), ..Seen::default() };
                }
                work.extend(self.version(bucket, &mut seen, &entry));
                (query.marker, query.version_marker) = (Some(entry.key), Some(entry.stamp.id));
            }
            if !page.is_truncated {
                work.extend(self.lone_marker(bucket, &mut seen));
            }
            expired += self.expire(bucket, work).await?;
            if !page.is_truncated {
                return Ok(expired);
            }
            if let Some(key) = through {
                claim.stands_at(Some(&key)).await?;
            }
        }
    }

    /// Whether a version is to be looked at, which comes behind those of its key that were seen.
    fn version(&self, bucket: &Bucket<'_>, seen: &mut Seen, entry: &VersionEntry) -> Option<Expiring> {
        let Bucket { rules, made, now, .. } = bucket;
        let (key, size, is_marker) = (entry.key.as_str(), entry.size, entry.stamp.is_marker);
        let (place, since) = (seen.count, seen.last.replace(entry.stamp.time()));
        seen.count += 1;
        if place == 0 {
            seen.marker = is_marker.then(|| (entry.stamp.id.clone(), entry.stamp.time()));
            // One that is neither current nor behind another was taken from its place through Swift; nothing tells when.
            let may = entry.is_latest && !is_marker && rules.may_expire(key, size, *made, *now, self.day);
            return may.then(|| Expiring::Current(key.to_owned()));
        }
        let (since, newer) = (since?, place - 1);
        let may = rules.may_end_noncurrent(key, size, since, newer, *now, self.day);
        let (key, id) = (key.to_owned(), entry.stamp.id.clone());
        may.then_some(Expiring::Noncurrent { key, id, size, since, newer, is_marker })
    }

    /// The delete marker that was all there is of a key.
    fn lone_marker(&self, bucket: &Bucket<'_>, seen: &mut Seen) -> Option<Expiring> {
        let (id, made) = seen.marker.take().filter(|_| seen.count == 1)?;
        let ends = bucket.rules.ends_marker(&seen.key, made, bucket.now, self.day);
        ends.then(|| Expiring::Marker { key: seen.key.clone(), id })
    }

    /// Looks at what may expire, and deletes what does; tells how much.
    async fn expire(&self, bucket: &Bucket<'_>, work: Vec<Expiring>) -> Result<u64> {
        let count = work.len() as u64;
        let one = |expiring| async move {
            match expiring {
                Expiring::Current(key) => self.current(bucket, &key).await,
                Expiring::Noncurrent { key, id, size, since, newer, is_marker } => {
                    self.noncurrent(bucket, &key, &id, size, since, newer, is_marker).await
                }
                Expiring::Marker { key, id } => self.remove(bucket, &key, &id).await,
            }
        };
        let work: Vec<_> = work.into_iter().map(one).collect();
        let ended: Vec<bool> = stream::iter(work).buffer_unordered(REAP_CONCURRENCY).try_collect().await?;
        let expired = ended.into_iter().filter(|it| *it).count() as u64;
        self.watch.advance(expired);
        let pause =
            count as f64 / LIFECYCLE_LOOKS_PER_SECOND as f64 + expired as f64 / LIFECYCLE_DELETIONS_PER_SECOND as f64;
        tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        Ok(expired)
    }

    /// Lets a current version expire, if its time has come.
    async fn current(&self, bucket: &Bucket<'_>, key: &str) -> Result<bool> {
        let path = ObjectPath::new(bucket.account, bucket.name, key);
        let Some(info) = self.vault.object(&path).await? else { return Ok(false) };
        let tags = tags::stored(&info.metadata);
        let subject = Subject { key, size: info.size, tags: &tags };
        let expiry = bucket.rules.expiry(subject, Stamp::of(&info).time(), self.day);
        if expiry.is_none_or(|(due, _)| due > bucket.now) {
            return Ok(false);
        }
        let is_it = |current: Option<&ObjectInfo>| {
            current.is_some_and(|it| (it.timestamp, it.meta_timestamp) == (info.timestamp, info.meta_timestamp))
        };
        let deleted = match &bucket.versions {
            None => self.store.object_delete_if(&path, is_it).await.map(|deleted| deleted.is_some()),
            Some(versions) => {
                let condition = Precondition {
                    if_match: Some(Etags::List(vec![info.etag.clone()])),
                    if_unmodified_since: Some(info.timestamp.seconds_ceil()),
                    ..Precondition::default()
                };
                versions.delete(key, &condition).await.map(|marked| marked.was_there)
            }
        };
        match deleted {
            // It is another now.
            Err(Error::Precondition | Error::Missing(_)) => Ok(false),
            deleted => deleted,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what was found of the version")]
    async fn noncurrent(
        &self,
        bucket: &Bucket<'_>,
        key: &str,
        id: &VersionId,
        size: u64,
        since: Timestamp,
        newer: u64,
        is_marker: bool,
    ) -> Result<bool> {
        let Some(versions) = bucket.versions.as_ref() else { return Ok(false) };
        let tags = match versions.find(key, Some(id)).await? {
            Some(Found::Object(info)) if !is_marker => tags::stored(&info.metadata),
            Some(Found::Marker(_)) if is_marker => Vec::new(),
            _ => return Ok(false),
        };
        match bucket.rules.ends_noncurrent(Subject { key, size, tags: &tags }, since, newer, bucket.now, self.day) {
            true => self.remove(bucket, key, id).await,
            false => Ok(false),
        }
    }

    /// Deletes a version for good, unless it is locked.
    async fn remove(&self, bucket: &Bucket<'_>, key: &str, id: &VersionId) -> Result<bool> {
        let Some(versions) = bucket.versions.as_ref() else { return Ok(false) };
        let now = self.store.clock().wall().system_time().into();
        let may = |info: &ObjectInfo| if lock::forbids(info, now, false) { Err(Error::Precondition) } else { Ok(()) };
        match versions.delete_version(key, id, Behind::Next, may).await {
            Ok(deleted) => Ok(deleted.is_some()),
            Err(Error::Precondition | Error::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Aborts uploads that were not completed in time.
    async fn uploads(&self, bucket: &Bucket<'_>, claim: &mut Claim<'_>) -> Result<u64> {
        let container = names::uploads_container(bucket.account, bucket.name);
        let mut aborted = 0;
        let prefix = bucket.rules.common_prefix();
        let mut query = ListQuery { prefix, limit: LIFECYCLE_PAGE, ..ListQuery::default() };
        loop {
            let page = entries(match self.store.container_list(PARTS_ACCOUNT, &container, &query).await {
                Err(Error::Missing(_)) => return Ok(aborted),
                page => page?,
            });
            let is_last = page.len() < query.limit;
            query.marker = page.last().map(|entry| entry.name.clone());
            for entry in page {
                let Some((key, id)) = names::split_record(&entry.name) else { continue };
                let due = bucket.rules.abort(key, names::begun(id), self.day);
                if due.is_none_or(|(due, _)| due > bucket.now) {
                    continue;
                }
                aborted += u64::from(self.abort(bucket, &container, &entry, id).await?);
                self.watch.advance(1);
                claim.hold().await?;
            }
            if is_last {
                return Ok(aborted);
            }
        }
    }

    /// Aborts an upload that nobody is completing.
    async fn abort(&self, bucket: &Bucket<'_>, container: &str, record: &ObjectEntry, id: &str) -> Result<bool> {
        let is_free = |current: Option<&ObjectInfo>| {
            current.is_some_and(|info| info.etag == id || bucket.now > info.timestamp.plus(UPLOAD_CLAIM))
        };
        let path = ObjectPath::new(PARTS_ACCOUNT, container, record.name.as_str());
        match self.store.object_delete_if(&path, is_free).await {
            Ok(_) => {}
            Err(Error::Precondition | Error::Missing(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        // What is cut off from here on is the sweeper's.
        for part in sweeper::parts_of(&self.store, bucket.account, bucket.name, id).await? {
            match self.store.object_delete(&part, &Precondition::default()).await {
                Ok(_) | Err(Error::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn entries<E>(rows: Vec<Listed<E>>) -> Vec<E> {
    let entry = |row| match row {
        Listed::Entry(entry) => Some(entry),
        Listed::Prefix(_) => None,
    };
    rows.into_iter().filter_map(entry).collect()
}
