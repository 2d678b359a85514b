//! Records in memory: for tests, and for trying the room without a store. Optionally stops after a number of
//! writes, as a process that is killed does. Its snapshots can be tampered with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anello_base::{HybridClock, SystemClock, Timestamp};
use bytes::Bytes;
use futures::future::{BoxFuture, ready};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::{Copied, Expect, Kind, Records, Snapshots, State, Version, etag};
use crate::error::{Error, Result};

#[derive(Debug, Default)]
struct Held {
    records: BTreeMap<(Kind, String), (Version, Bytes)>,
    snapshots: BTreeMap<Kind, (Timestamp, Vec<Copied>)>,
    reads: usize,
    /// Listings, and writes of each kind.
    lists: usize,
    writes: BTreeMap<Kind, u64>,
    writes_left: Option<usize>,
}

/// Records in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryRecords {
    state: Arc<Mutex<Held>>,
    clock: Arc<HybridClock>,
}

impl Default for MemoryRecords {
    fn default() -> Self {
        Self { state: Arc::default(), clock: Arc::new(HybridClock::new(SystemClock)) }
    }
}

impl MemoryRecords {
    /// Lets `writes` more writes pass and fails all behind them; `None` lets every one pass.
    pub fn stop_after(&self, writes: Option<usize>) {
        self.held().writes_left = writes;
    }

    /// How many records were read one by one.
    pub fn reads(&self) -> usize {
        self.held().reads
    }

    /// How often the records of a kind were listed.
    pub fn lists(&self) -> usize {
        self.held().lists
    }

    /// The snapshot of a kind.
    pub fn snapshot(&self, kind: Kind) -> Vec<Copied> {
        self.held().snapshots.get(&kind).map(|(_, copies)| copies.clone()).unwrap_or_default()
    }

    /// Puts these copies in the place of a snapshot.
    pub fn set_snapshot(&self, kind: Kind, copies: Vec<Copied>) {
        self.held().snapshots.insert(kind, (self.clock.tick(), copies));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(state: &mut Held, kind: Kind, id: &str, expect: Expect<'_>) -> Result<()> {
        if let Some(left) = &mut state.writes_left {
            *left = left.checked_sub(1).ok_or(Error::Store(anello_storage::Error::Stopped))?;
        }
        let found = state.records.get(&(kind, id.to_owned())).map(|(version, _)| version.etag.as_str());
        let holds = match expect {
            Expect::Anything => true,
            Expect::Absent => found.is_none(),
            Expect::Etag(etag) => found == Some(etag),
        };
        if !holds {
            return Err(Error::Changed);
        }
        *state.writes.entry(kind).or_default() += 1;
        Ok(())
    }

    fn put_now(&self, kind: Kind, id: &str, data: Bytes, expect: Expect<'_>) -> Result<Version> {
        let mut state = self.held();
        Self::check(&mut state, kind, id, expect)?;
        let version = Version { timestamp: self.clock.tick(), etag: etag(&data) };
        state.records.insert((kind, id.to_owned()), (version.clone(), data));
        Ok(version)
    }

    fn delete_now(&self, kind: Kind, id: &str, expect: Expect<'_>) -> Result<Option<Timestamp>> {
        let mut state = self.held();
        match Self::check(&mut state, kind, id, expect) {
            Ok(()) => Ok(state.records.remove(&(kind, id.to_owned())).map(|(version, _)| version.timestamp)),
            Err(error) => Err(error),
        }
    }
}

impl Records for MemoryRecords {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(ready(Ok(())))
    }

    fn versions(&self, kind: Kind) -> BoxFuture<'_, Result<Vec<(String, Version)>>> {
        let mut state = self.held();
        state.lists += 1;
        let of_kind = state.records.iter().filter(|((found, _), _)| *found == kind);
        let versions = of_kind.map(|((_, id), (version, _))| (id.clone(), version.clone())).collect();
        Box::pin(ready(Ok(versions)))
    }

    fn get<'a>(&'a self, kind: Kind, id: &'a str) -> BoxFuture<'a, Result<Option<(Version, Bytes)>>> {
        let mut state = self.held();
        state.reads += 1;
        Box::pin(ready(Ok(state.records.get(&(kind, id.to_owned())).cloned())))
    }

    fn put<'a>(&'a self, kind: Kind, id: &'a str, data: Bytes, expect: Expect<'a>) -> BoxFuture<'a, Result<Version>> {
        Box::pin(ready(self.put_now(kind, id, data, expect)))
    }

    fn delete<'a>(&'a self, kind: Kind, id: &'a str, expect: Expect<'a>) -> BoxFuture<'a, Result<Option<Timestamp>>> {
        Box::pin(ready(self.delete_now(kind, id, expect)))
    }

    fn state(&self, kind: Kind) -> BoxFuture<'_, Result<Option<State>>> {
        let writes = self.held().writes.get(&kind).copied().unwrap_or_default();
        Box::pin(ready(Ok(Some(State::Writes(writes)))))
    }

    fn copies(&self, kind: Kind) -> BoxStream<'_, Result<Vec<Copied>>> {
        stream::iter([Ok(self.snapshot(kind))]).boxed()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }
}

impl Snapshots for MemoryRecords {
    fn written(&self, kind: Kind) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        Box::pin(ready(Ok(self.held().snapshots.get(&kind).map(|(written, _)| *written))))
    }

    fn keep<'a>(&'a self, kind: Kind, copies: BoxStream<'a, Result<Copied>>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let copies = copies.try_collect().await?;
            self.set_snapshot(kind, copies);
            Ok(())
        })
    }
}
