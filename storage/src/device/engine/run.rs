//! The device's thread. Its loop takes requests, starts what can be started, lets the kernel work, and
//! only then applies the batch that was finished, so that the disk is never idle while the index is
//! busy.
//!
//! A record that names extents waits until a sync of every data volume it names, begun after the
//! record arrived, has ended; then it may join a batch. So a record in the log never names data that a
//! crash could take away, and no small record waits for another one's data.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::batch::{Assembled, Finished};
use super::{Answer, Commit, Queued, Request, Shared};
#[cfg(test)]
use crate::device::backend::stepped::Bell;
use crate::device::backend::{Backend, Completion, Operation, ReadBuffer};
use crate::device::buffer::AlignedBuffer;
use crate::device::catalog::Catalog;
use crate::device::extent::DataSpace;
use crate::device::volume::{Volume, VolumeKind, Volumes};
use crate::error::{Error, Result};
use crate::limits::{ALIGNMENT, BATCH_BYTES_MAX};
use crate::mutation::{Body, Extent, Mutation};

/// Where the next batch goes.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    /// The volume that is being written; `None` before the first.
    pub(crate) volume: Option<Arc<Volume>>,
    /// Number of the last volume there ever was.
    pub(crate) last_id: u32,
    /// Where its last batch ends.
    pub(crate) offset: u64,
    /// Number of the last batch.
    pub(crate) sequence: u64,
}

/// The thread's own state.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) volumes: Arc<Volumes>,
    pub(super) space: Arc<DataSpace>,
    pub(super) backend: Box<dyn Backend>,
    pub(super) tail: Tail,
    pub(super) tag: [u8; 8],
    pub(super) log_volume_bytes: u64,
    /// Records that may join the next batch.
    pub(super) ready: VecDeque<Queued>,
    /// Records that compaction copies.
    pub(super) moves: VecDeque<Queued>,
    /// Records that replicas brought.
    pub(super) restored: VecDeque<Queued>,
    /// The batch that is being written.
    pub(super) assembled: Option<Assembled>,
    /// A batch that is durable and not applied yet.
    pub(super) finished: Option<Finished>,
    /// The batch's memory, while no batch is being written.
    pub(super) buffer: Option<AlignedBuffer>,
    round: Option<Round>,
    next_round: Vec<Queued>,
    operations: HashMap<u64, Pending>,
    next_token: u64,
    /// Freed extents into which a write is still in flight.
    deferred: Vec<Extent>,
    stop: Option<Answer<()>>,
    /// Empty; its memory takes turns with the queue's.
    inbox: Vec<Request>,
    /// Set when the index missed a batch: no later one may be applied, or a replay would miss it too.
    pub(super) index_behind: bool,
}

/// One sync of data volumes, and the records that wait for it.
#[derive(Debug)]
struct Round {
    running: usize,
    failed: Option<Error>,
    commits: Vec<Queued>,
}

/// What a completion is for.
#[derive(Debug)]
pub(super) enum Pending {
    Batch,
    DataSync(Arc<Volume>),
    Read(Arc<Volume>, Answer<(ReadBuffer, usize)>),
    Write(Arc<Volume>, Extent, Answer<AlignedBuffer>),
    Allocate(Arc<Volume>, Answer<()>),
    Punch(Arc<Volume>, Extent),
}

impl Engine {
    #[expect(clippy::too_many_arguments, reason = "it is put together in one place")]
    pub(crate) fn new(
        shared: Arc<Shared>,
        catalog: Arc<dyn Catalog>,
        volumes: Arc<Volumes>,
        space: Arc<DataSpace>,
        backend: Box<dyn Backend>,
        tail: Tail,
        tag: [u8; 8],
        log_volume_bytes: u64,
    ) -> Self {
        // Set once, before anybody can push: `Device::open` waits for the thread.
        let _ = shared.waker.set(backend.waker());
        // Where no volume is being written, the next one is the first that must not be compacted.
        let tail_volume = tail.volume.as_ref().map_or(tail.last_id + 1, |volume| volume.id);
        shared.tail_volume.store(tail_volume, Ordering::Release);
        Self {
            shared,
            catalog,
            volumes,
            space,
            backend,
            tail,
            tag,
            log_volume_bytes,
            ready: VecDeque::new(),
            moves: VecDeque::new(),
            restored: VecDeque::new(),
            assembled: None,
            finished: None,
            buffer: Some(AlignedBuffer::new(BATCH_BYTES_MAX as usize)),
            round: None,
            next_round: Vec::new(),
            operations: HashMap::new(),
            next_token: 0,
            deferred: Vec::new(),
            stop: None,
            inbox: Vec::new(),
            index_behind: false,
        }
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut done = Vec::new();
        while self.turn(&mut done) {}
        self.finish();
    }

    /// Runs as a task of a simulation, until it is told to stop.
    #[cfg(test)]
    pub(crate) async fn run_stepped(mut self, bell: Arc<Bell>) {
        let mut done = Vec::new();
        while self.turn(&mut done) {
            if bell.would_block() {
                self.shared.sleeping.store(true, Ordering::SeqCst);
                bell.rung().await;
            }
        }
        self.finish();
    }

    /// One round of the loop; `false` where it is to end. `done` is empty before and after.
    fn turn(&mut self, done: &mut Vec<Completion>) -> bool {
        self.take_requests();
        self.start_round();
        self.start_batch();
        let block = self.finished.is_none();
        if block && self.stop.is_some() && self.is_drained() {
            return false;
        }
        let polled = self.poll(block, done);
        self.apply_finished();
        if let Err(error) = polled {
            let error = Error::io("poll", &self.shared.path, &error);
            self.shared.write_failed(&error);
            return false;
        }
        for completion in done.drain(..) {
            self.complete(completion);
        }
        true
    }

    fn is_drained(&self) -> bool {
        self.ready.is_empty()
            && self.moves.is_empty()
            && self.restored.is_empty()
            && self.next_round.is_empty()
            && self.round.is_none()
            && self.operations.is_empty()
    }

    fn poll(&mut self, block: bool, done: &mut Vec<Completion>) -> std::io::Result<()> {
        if !block {
            return self.backend.poll(false, done);
        }
        // Whoever pushes after this sees the flag; whoever pushed before it is seen here.
        self.shared.sleeping.store(true, Ordering::SeqCst);
        let empty = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).requests.is_empty();
        let result = self.backend.poll(empty, done);
        self.shared.sleeping.store(false, Ordering::SeqCst);
        result
    }

    fn take_requests(&mut self) {
        let mut requests = std::mem::take(&mut self.inbox);
        {
            let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut queue.requests, &mut requests);
        }
        for request in requests.drain(..) {
            self.take(request);
        }
        self.inbox = requests;
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Commit(commit) => match &commit.mutation {
                Mutation::ObjectPut(put) if commit.moved.is_none() && matches!(put.body, Body::Extents(_)) => {
                    self.next_round.push(commit);
                }
                _ => self.waiting(&commit).push_back(commit),
            },
            Request::Read { volume, offset, buffer, done } => {
                let operation = Operation::Read { file: Arc::clone(&volume.file), offset, buffer };
                self.submit(operation, Pending::Read(volume, done));
            }
            Request::Write { volume, offset, buffer, length, done } => {
                let extent = Extent { volume: volume.id, offset, length: length as u64 };
                let operation = Operation::Write { file: Arc::clone(&volume.file), offset, buffer, length };
                self.submit(operation, Pending::Write(volume, extent, done));
            }
            Request::Allocate { volume, offset, length, done } => {
                let operation = Operation::Allocate { file: Arc::clone(&volume.file), offset, length };
                self.submit(operation, Pending::Allocate(volume, done));
            }
            Request::Free(extents) => extents.into_iter().for_each(|extent| self.free(extent)),
            Request::Stop(done) => {
                self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
                self.stop = Some(done);
            }
        }
    }

    pub(super) fn submit(&mut self, operation: Operation, pending: Pending) {
        self.next_token += 1;
        self.operations.insert(self.next_token, pending);
        self.backend.submit(self.next_token, operation);
    }

    fn complete(&mut self, completion: Completion) {
        let pending = self.operations.remove(&completion.token).expect("every token was handed out here");
        let Completion { operation, result, .. } = completion;
        match (pending, operation) {
            (Pending::Batch, Operation::WriteSync { buffer, .. }) => self.batch_done(buffer, result),
            (Pending::DataSync(volume), _) => self.data_synced(&volume, result),
            (Pending::Read(volume, done), Operation::Read { buffer, .. }) => {
                // A reader that has gone away is not a failure.
                let _ = done.send(result.map(|count| (buffer, count)).map_err(|error| volume.error("read", &error)));
            }
            (Pending::Write(volume, extent, done), Operation::Write { buffer, .. }) => {
                self.shared.counters.data_bytes_written.add(extent.length);
                let result = result.map(|_| buffer).map_err(|error| volume.error("write", &error));
                let _ = done.send(result.map_err(|error| self.shared.write_failed(&error)));
                for extent in std::mem::take(&mut self.deferred) {
                    self.free(extent);
                }
            }
            (Pending::Allocate(volume, done), _) => {
                let result = match result {
                    // Not every filesystem can; then the writes find out whether there is space.
                    Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
                    other => other.map(|_| ()).map_err(|error| volume.error("allocate in", &error)),
                };
                let _ = done.send(result.map_err(|error| self.shared.write_failed(&error)));
            }
            (Pending::Punch(volume, extent), _) => self.punched(&volume, extent, result),
            (pending, operation) => unreachable!("{pending:?} was answered with {operation:?}"),
        }
    }

    /// Begins to sync the data that waiting records name.
    fn start_round(&mut self) {
        if self.round.is_some() || self.next_round.is_empty() {
            return;
        }
        let mut volumes: BTreeMap<u32, Arc<Volume>> = BTreeMap::new();
        let mut commits = Vec::new();
        for commit in std::mem::take(&mut self.next_round) {
            match self.named_volumes(&commit) {
                Ok(named) => {
                    volumes.extend(named.into_iter().map(|volume| (volume.id, volume)));
                    commits.push(commit);
                }
                Err(error) => self.refuse(commit, error),
            }
        }
        self.round = Some(Round { running: volumes.len(), failed: None, commits });
        let none = volumes.is_empty();
        for volume in volumes.into_values() {
            self.submit(Operation::Sync { file: Arc::clone(&volume.file) }, Pending::DataSync(volume));
        }
        if none {
            self.end_round();
        }
    }

    fn named_volumes(&self, commit: &Commit) -> Result<Vec<Arc<Volume>>> {
        let Mutation::ObjectPut(put) = &commit.mutation else { return Ok(Vec::new()) };
        let Body::Extents(extents) = &put.body else { return Ok(Vec::new()) };
        let mut ids: Vec<u32> = extents.pieces.iter().map(|piece| piece.volume).collect();
        ids.dedup();
        let get = |id: u32| self.volumes.get(VolumeKind::Data, id).ok_or(Error::Missing("data volume"));
        ids.into_iter().map(get).collect()
    }

    fn data_synced(&mut self, volume: &Volume, result: std::io::Result<usize>) {
        self.shared.counters.flushes.add(1);
        let round = self.round.as_mut().expect("a data sync belongs to the round that runs");
        round.running -= 1;
        if let Err(error) = result {
            round.failed = Some(self.shared.write_failed(&volume.error("sync", &error)));
        }
        if round.running == 0 {
            self.end_round();
        }
    }

    fn end_round(&mut self) {
        let Some(round) = self.round.take() else { return };
        match round.failed {
            None => round.commits.into_iter().for_each(|commit| self.waiting(&commit).push_back(commit)),
            Some(error) => round.commits.into_iter().for_each(|commit| self.refuse(commit, error.clone())),
        }
    }

    /// Where a record waits for its batch.
    pub(super) fn waiting(&mut self, commit: &Commit) -> &mut VecDeque<Queued> {
        match (commit.moved, commit.is_restored) {
            (Some(_), _) => &mut self.moves,
            (None, true) => &mut self.restored,
            (None, false) => &mut self.ready,
        }
    }

    /// Answers a record that was not written.
    pub(super) fn refuse(&self, commit: Queued, error: Error) {
        self.shared.records.fetch_sub(1, Ordering::Relaxed);
        let _ = commit.done.send(Err(error));
    }

    /// Answers records that are durable, or whose application failed.
    pub(super) fn leave_queue(&self, count: usize) {
        self.shared.records.fetch_sub(count, Ordering::Relaxed);
    }

    /// Frees an extent, unless it is being read or written; then whoever does so frees it.
    pub(super) fn free(&mut self, extent: Extent) {
        let Some(volume) = self.volumes.get(VolumeKind::Data, extent.volume) else { return };
        let writing = self.operations.values().any(|pending| match pending {
            Pending::Write(_, written, _) => overlap(written, &extent),
            _ => false,
        });
        if writing {
            self.deferred.push(extent);
        } else if volume.retire(extent) {
            let (file, length) = (Arc::clone(&volume.file), extent.length.next_multiple_of(ALIGNMENT));
            self.submit(Operation::Punch { file, offset: extent.offset, length }, Pending::Punch(volume, extent));
        }
    }

    fn punched(&mut self, volume: &Volume, extent: Extent, result: std::io::Result<usize>) {
        match result {
            Ok(_) => self.shared.counters.punched_bytes.add(extent.length.next_multiple_of(ALIGNMENT)),
            // The space stays taken until the next start looks for it.
            Err(error) => tracing::warn!(file = %volume.path.display(), ?extent, %error, "extent not freed"),
        }
        if let Err(error) = self.remove_if_dead(volume) {
            tracing::warn!(file = %volume.path.display(), %error, "empty volume not removed");
        }
    }

    /// Removes a data volume that takes no more writes and in which nothing lives.
    fn remove_if_dead(&self, volume: &Volume) -> Result<()> {
        let in_use = self.space.is_current(volume.id) || volume.has_writers();
        if in_use || volume.file.allocated().map_err(|error| volume.error("stat", &error))? > 0 {
            return Ok(());
        }
        if self.catalog.live_extents(volume.id)?.is_empty() && self.volumes.get(VolumeKind::Data, volume.id).is_some() {
            self.volumes.remove(VolumeKind::Data, volume.id)?;
        }
        Ok(())
    }

    fn finish(mut self) {
        let flushed = self.catalog.flush();
        self.shared.close();
        if let Some(done) = self.stop.take() {
            let _ = done.send(flushed);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Also where the thread panicked: nobody may wait for it for ever.
        self.shared.close();
    }
}

fn overlap(one: &Extent, other: &Extent) -> bool {
    one.volume == other.volume
        && one.offset < other.offset + other.length.next_multiple_of(ALIGNMENT)
        && other.offset < one.offset + one.length
}
