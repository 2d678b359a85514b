//! Reading: the newest version among the replicas, and its data from whichever has them whole.

use std::ops::Range;

use bytes::Bytes;
use futures::future::join_all;

use super::Store;
use super::placement::Slot;
use crate::device::{DataReader, Device};
use crate::error::{Error, Result};
use crate::index::{ObjectRow, ObjectState};
use crate::key::{KeyHash, ObjectPath};
use crate::limits::{LISTING_INLINE_MAX, SETTLE_TIMEOUT};
use crate::model::ObjectInfo;
use crate::mutation::PathHashes;

impl Store {
    /// The object without its data. `None` also where its time to be deleted has come.
    pub async fn object(&self, path: &ObjectPath) -> Result<Option<ObjectInfo>> {
        self.current(self.hashes(path))
    }

    /// The object, ready to be read.
    pub async fn object_read(&self, path: &ObjectPath) -> Result<Option<ObjectReader>> {
        let replicas = self.replicas_of(self.hashes(path))?;
        Ok(ObjectReader::new(replicas).filter(|reader| !self.is_expired(reader.info())))
    }

    pub(super) fn current(&self, hashes: PathHashes) -> Result<Option<ObjectInfo>> {
        Ok(self.current_or_expired(hashes)?.filter(|info| !self.is_expired(info)))
    }

    pub(super) fn current_or_expired(&self, hashes: PathHashes) -> Result<Option<ObjectInfo>> {
        Ok(self.replicas_of(hashes)?.pop().map(|replica| replica.row.info))
    }

    pub(super) fn is_expired(&self, info: &ObjectInfo) -> bool {
        info.delete_at.is_some_and(|second| second <= self.clock().wall().seconds())
    }

    /// The replicas that hold the newest version; none where that is a tombstone. Fails only where no
    /// device that keeps the object can be asked.
    fn replicas_of(&self, hashes: PathHashes) -> Result<Vec<Replica>> {
        let mut newest = Vec::new();
        let mut version = None;
        let mut failure = None;
        for slot in self.placement().object(hashes.object) {
            let device = self.placement().device(slot);
            let (timestamp, row) = match device.index().object_state(hashes.object) {
                Ok(ObjectState::Absent) => (None, None),
                Ok(ObjectState::Deleted(timestamp)) => (Some((timestamp, timestamp)), None),
                Ok(ObjectState::Live(row)) => (Some((row.info.timestamp, row.info.meta_timestamp)), Some(row)),
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            if timestamp > version {
                version = timestamp;
                newest.clear();
            }
            if timestamp == version {
                newest.extend(row.map(|row| Replica { device: device.clone(), hash: Some(hashes.object), row: *row }));
            }
        }
        match failure {
            Some(error) if version.is_none() => Err(error),
            _ => Ok(newest),
        }
    }

    /// The newest answer of several devices; fails only where none answers.
    pub(super) fn newest<T, K: Ord>(
        &self,
        slots: &[Slot],
        ask: impl Fn(&Device) -> Result<Option<T>>,
        version: impl Fn(&T) -> K,
    ) -> Result<Option<T>> {
        let mut best: Option<T> = None;
        let mut failure = None;
        for slot in slots {
            match ask(self.placement().device(*slot)) {
                Ok(Some(found)) if best.as_ref().is_none_or(|best| version(best) < version(&found)) => {
                    best = Some(found);
                }
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        match (best, failure) {
            (None, Some(error)) => Err(error),
            (best, _) => Ok(best),
        }
    }

    /// Waits until the devices have applied the rows below `rows_of` that were acknowledged before. A device
    /// that hangs is not waited for longer than [`SETTLE_TIMEOUT`].
    pub(super) async fn settle(&self, slots: &[Slot], rows_of: KeyHash) {
        if slots.len() > 1 {
            let all = slots.iter().map(|slot| self.placement().settling(*slot).settle(rows_of));
            let _ = tokio::time::timeout(SETTLE_TIMEOUT, join_all(all)).await;
        }
    }

    /// A listing of the rows below `rows_of` from the first device that answers; long ones off the reactor.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        rows_of: KeyHash,
        slots: Vec<Slot>,
        limit: usize,
        ask: impl Fn(&Device) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        self.settle(&slots, rows_of).await;
        let mut failure = Error::Stopped;
        for slot in slots {
            let device = self.placement().device(slot).clone();
            let answer = if limit <= LISTING_INLINE_MAX {
                ask(&device)
            } else {
                let ask = ask.clone();
                tokio::task::spawn_blocking(move || ask(&device)).await.map_err(|_| Error::Stopped)?
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

#[derive(Debug)]
struct Replica {
    device: Device,
    /// The object's key, where `row` is its present row.
    hash: Option<KeyHash>,
    row: ObjectRow,
}

/// An object being read: one version, whatever happens to its name meanwhile. A replica whose bytes prove
/// corrupt or unreadable is left, and the next one continues at the same byte.
#[derive(Debug)]
pub struct ObjectReader {
    replicas: Vec<Replica>,
    range: Range<u64>,
    data: Option<DataReader>,
}

impl ObjectReader {
    fn new(replicas: Vec<Replica>) -> Option<Self> {
        let range = 0..replicas.last()?.row.info.stored_size;
        Some(Self { replicas, range, data: None })
    }

    /// A reader of one replica's row.
    pub(super) fn of(device: Device, row: ObjectRow) -> Self {
        Self { range: 0..row.info.stored_size, replicas: vec![Replica { device, hash: None, row }], data: None }
    }

    fn serving(&self) -> &Replica {
        self.replicas.last().expect("there is one at the start, and the last one is never left")
    }

    /// What it is like.
    pub fn info(&self) -> &ObjectInfo {
        &self.serving().row.info
    }

    /// Reads only this range of the stored bytes, cut to their end; to be called before the first
    /// [`ObjectReader::next`].
    pub fn set_range(&mut self, range: Range<u64>) {
        let end = range.end.min(self.info().stored_size);
        self.range = range.start.min(end)..end;
    }

    /// The next bytes in order, verified; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.range.is_empty() {
                return Ok(None);
            }
            match self.step().await {
                Ok(Some(bytes)) => {
                    self.range.start += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Ok(None) => return Err(Error::Truncated { missing: self.range.end - self.range.start }),
                Err(error) if self.replicas.len() == 1 => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "a replica can't be read, going on with another");
                    self.data = None;
                    self.replicas.pop();
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Bytes>> {
        let data = match &mut self.data {
            Some(data) => data,
            None => {
                let replica = self.serving();
                let opened = replica.device.read(replica.hash, &replica.row, self.range.clone()).await?;
                self.data.insert(opened)
            }
        };
        data.next().await
    }
}
