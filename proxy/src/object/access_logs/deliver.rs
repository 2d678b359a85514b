//! The daemon that puts records into log objects. Every host that keeps data has one; the records of a bucket are claimed
//! by a conditional write before they are delivered, so that one host does it at a time. A log object is named after its
//! first record, so that what is delivered again takes its own place.

use std::sync::Arc;

use anello_base::Timestamp;
use anello_storage::daemon::watch::{Unit, Watch};
use anello_storage::store::{IfMissing, ObjectHead, ObjectUpdate};
use anello_storage::{Error, ListQuery, Listed, ObjectEntry, ObjectInfo, ObjectPath, Precondition, Result, Store};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use md5::{Digest, Md5};
use time::OffsetDateTime;

use super::{ACCOUNT, CONTAINER, Partition, TARGET_NAME, Target};
use crate::object::limits::{
    ACCESS_LOG_AGE, ACCESS_LOG_CLAIM, ACCESS_LOG_INTERVAL, ACCESS_LOG_RECORDS_MAX, REAP_CONCURRENCY,
};
use crate::object::vault::Vault;
use crate::object::writer::Writer;

/// The container of claims, beside that of the records.
const CLAIMS: &str = "access-log-claims";
/// When a bucket's records were last claimed: ticks, in decimal digits.
const CLAIMED_NAME: &str = "x-object-sysmeta-claimed";

/// The daemon. One per store.
#[derive(Debug)]
pub struct Deliverer {
    store: Store,
    /// Through which log objects are written, as other objects are.
    vault: Vault,
    watch: Arc<Watch>,
    region: String,
}

/// A record that was read.
struct Record {
    path: ObjectPath,
    /// Its place among the others, and its chance.
    id: String,
    target: Target,
    line: Bytes,
}

impl Deliverer {
    /// A deliverer of the records in this store; the region is for names of log objects.
    pub fn new(vault: impl Into<Vault>, region: &str) -> Self {
        let vault = vault.into();
        let store = vault.store().clone();
        Self { watch: store.watch("access logs", Unit::Objects), store, vault, region: region.to_owned() }
    }

    /// Steps for ever. A failed one is logged and tried again. May be dropped at any point.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(ACCESS_LOG_INTERVAL).await;
            if let Err(error) = self.step(self.store.clock().wall()).await {
                tracing::warn!(%error, "access logs could not be delivered, will be tried again");
                self.watch.failed(&error);
            }
        }
    }

    /// Delivers what has gathered for long enough, or is enough for a log object; tells how many records.
    pub async fn step(&self, now: Timestamp) -> Result<u64> {
        self.watch.begin(None);
        let (mut delivered, mut marker) = (0, None);
        // One bucket after another: the first record that is behind those of the last one names the next.
        while let Some(first) = self.rows("", marker.take(), 1).await?.pop() {
            let Some(source) = first.name.rsplit_once('/').map(|(source, _)| source.to_owned()) else {
                marker = Some(first.name);
                continue;
            };
            delivered += self.bucket(&source, now).await?;
            // `0` comes right after `/`.
            marker = Some(format!("{source}0"));
        }
        self.watch.end();
        Ok(delivered)
    }

    /// The records of a bucket, if there are enough and nobody else delivers them.
    async fn bucket(&self, source: &str, now: Timestamp) -> Result<u64> {
        let mut delivered = 0;
        loop {
            let rows = self.rows(&format!("{source}/"), None, ACCESS_LOG_RECORDS_MAX).await?;
            let is_full = rows.len() == ACCESS_LOG_RECORDS_MAX;
            let is_due = rows.first().is_some_and(|row| is_full || row.timestamp.plus(ACCESS_LOG_AGE) <= now);
            if !is_due || !self.claim(source, now).await? {
                return Ok(delivered);
            }
            let done = self.batch(source, rows, now).await;
            self.release(source).await?;
            delivered += done?;
            if !is_full {
                return Ok(delivered);
            }
        }
    }

    /// Puts records into log objects, one for each target and day, and deletes them.
    async fn batch(&self, source: &str, rows: Vec<ObjectEntry>, now: Timestamp) -> Result<u64> {
        let read = |row: ObjectEntry| self.read(row);
        let records: Vec<Option<Record>> =
            stream::iter(rows).map(read).buffered(REAP_CONCURRENCY).try_collect().await?;
        let records: Vec<Record> = records.into_iter().flatten().collect();
        let mut rest = records.as_slice();
        while let Some(first) = rest.first() {
            let is_alike = |other: &Record| other.target == first.target && other.day() == first.day();
            let count = rest.iter().take_while(|other| is_alike(other)).count();
            let (alike, others) = rest.split_at(count);
            self.write(source, alike, now).await?;
            rest = others;
        }
        let delete = |record: &Record| {
            let path = record.path.clone();
            async move {
                match self.store.object_delete(&path, &Precondition::default()).await {
                    Ok(_) | Err(Error::Missing(_)) => Ok(()),
                    Err(error) => Err(error),
                }
            }
        };
        let work: Vec<_> = records.iter().map(delete).collect();
        stream::iter(work).buffer_unordered(REAP_CONCURRENCY).try_collect::<Vec<()>>().await?;
        self.watch.advance(records.len() as u64);
        Ok(records.len() as u64)
    }

    /// A record. One that makes no sense is deleted: keeping it would only block the others.
    async fn read(&self, row: ObjectEntry) -> Result<Option<Record>> {
        let path = ObjectPath::new(ACCOUNT, CONTAINER, row.name.as_str());
        let Some(mut reader) = self.store.object_read(&path).await? else { return Ok(None) };
        let mut line = Vec::new();
        while let Some(data) = reader.next().await? {
            line.extend_from_slice(&data);
        }
        let target = reader.info().metadata.iter().find(|(name, _)| name == TARGET_NAME);
        let target = target.and_then(|(_, text)| Target::parse(text));
        let Some((target, (_, id))) = target.zip(row.name.rsplit_once('/')) else {
            tracing::error!(%path, "a record of an access log can't be read, and is deleted");
            self.watch.found(1);
            self.store.object_delete(&path, &Precondition::default()).await?;
            return Ok(None);
        };
        Ok(Some(Record { id: id.to_owned(), target, line: line.into(), path }))
    }

    /// Writes a log object. Where its bucket is gone there is nobody to deliver to.
    async fn write(&self, source: &str, records: &[Record], now: Timestamp) -> Result<()> {
        let (Some(first), Some((account, bucket))) = (records.first(), source.split_once('/')) else { return Ok(()) };
        let Target { bucket: to, .. } = &first.target;
        let Some(container) = self.store.container_settings(account, to).await? else {
            tracing::warn!(source, to, records = records.len(), "the bucket for access logs is gone, and so are they");
            return Ok(());
        };
        let mut data = Vec::new();
        records.iter().for_each(|record| data.extend_from_slice(&record.line));
        let path = ObjectPath::new(account, to.as_str(), first.name(account, bucket, &self.region, now));
        let etag = hex::encode(Md5::digest(&data));
        let head = ObjectHead { etag, content_type: "text/plain".into(), ..ObjectHead::default() };
        let mut writer = Writer::begin(&self.vault, &container, &path, Some(data.len() as u64)).await?;
        writer.write(data.into()).await?;
        match writer.finish(head, &Precondition::default()).await {
            Err(Error::Missing(_)) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn rows(&self, prefix: &str, marker: Option<String>, limit: usize) -> Result<Vec<ObjectEntry>> {
        let query = ListQuery { prefix: prefix.to_owned(), marker, limit, ..ListQuery::default() };
        let page = match self.store.container_list(ACCOUNT, CONTAINER, &query).await {
            Err(Error::Missing(_)) => return Ok(Vec::new()),
            page => page?,
        };
        let entry = |row| match row {
            Listed::Entry(entry) => Some(entry),
            Listed::Prefix(_) => None,
        };
        Ok(page.into_iter().filter_map(entry).collect())
    }

    /// Whether a bucket's records are this host's from now on.
    async fn claim(&self, source: &str, now: Timestamp) -> Result<bool> {
        let path = ObjectPath::new(ACCOUNT, CLAIMS, source);
        let claimed = |at: Timestamp| vec![(CLAIMED_NAME.to_owned(), at.ticks().to_string())];
        let change = |info: &ObjectInfo| {
            let before = info.metadata.iter().find(|(name, _)| name == CLAIMED_NAME);
            let before = before.and_then(|(_, ticks)| ticks.parse().ok()).map(Timestamp::from_ticks);
            match before.is_some_and(|before| now < before.plus(ACCESS_LOG_CLAIM)) {
                true => Err(Error::Precondition),
                false => Ok(ObjectUpdate { content_type: None, delete_at: None, metadata: claimed(now) }),
            }
        };
        match self.store.object_update(&path, change).await {
            Ok(_) => return Ok(true),
            Err(Error::Precondition) => return Ok(false),
            Err(Error::Missing(_)) => {}
            Err(error) => return Err(error),
        }
        let head = ObjectHead { etag: "claim".into(), metadata: claimed(now), ..ObjectHead::default() };
        let put = || self.store.object_put(&path, Bytes::new(), head.clone(), &ABSENT);
        let written = match put().await {
            Err(Error::Missing(_)) => {
                let policy = self.store.policies().default_policy().index;
                self.store.container_update(ACCOUNT, CLAIMS, Vec::new(), policy, IfMissing::Create).await?;
                put().await
            }
            other => other,
        };
        match written {
            Ok(_) => Ok(true),
            Err(Error::Precondition) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn release(&self, source: &str) -> Result<()> {
        let path = ObjectPath::new(ACCOUNT, CLAIMS, source);
        match self.store.object_delete(&path, &Precondition::default()).await {
            Ok(_) | Err(Error::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Only where nobody has claimed.
static ABSENT: Precondition =
    Precondition { if_match: None, if_none_match: Some(anello_storage::Etags::Any), if_unmodified_since: None };

impl Record {
    /// When it was written down.
    fn time(&self) -> Timestamp {
        let ticks = self.id.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        Timestamp::from_ticks(ticks.unwrap_or(0))
    }

    /// The day that it belongs to, where that counts.
    fn day(&self) -> Option<u64> {
        (self.target.partition == Some(Partition::EventTime)).then(|| self.time().seconds() / (24 * 3600))
    }

    /// The name of the log object whose first record it is.
    fn name(&self, account: &str, bucket: &str, region: &str, now: Timestamp) -> String {
        let Target { prefix, partition, .. } = &self.target;
        let owner = account.strip_prefix("AUTH_").unwrap_or(account);
        let time = match partition {
            // The same each time, so that what is delivered twice is there once.
            None => self.time(),
            Some(Partition::EventTime) => Timestamp::from_seconds(self.time().seconds() / (24 * 3600) * 24 * 3600),
            Some(Partition::DeliveryTime) => now,
        };
        let time = OffsetDateTime::from(time.system_time());
        let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let unique = self.id.get(16..).unwrap_or(&self.id).to_ascii_uppercase();
        let directory = match partition {
            None => String::new(),
            Some(_) => format!("{owner}/{region}/{bucket}/{year:04}/{month:02}/{day:02}/"),
        };
        format!("{prefix}{directory}{year:04}-{month:02}-{day:02}-{hour:02}-{minute:02}-{second:02}-{unique}")
    }
}
