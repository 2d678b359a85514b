//! Group commit. Everything that arrived while one batch was written forms the next one; a lone record
//! goes at once.
//!
//! What is synced before an acknowledgement, in this order: (1) the data volumes that the record names,
//! (2) the log volume, with the batch that holds the record. After that the batch is applied to the
//! index, in memory, and the record is acknowledged. One batch is in flight at a time, so that a torn
//! one is always the last one in the log.
//!
//! A record that compaction copies is checked to be live after everything before it has been applied,
//! and stands at the front of its batch: so no copy of an object stands behind the tombstone that
//! killed it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::run::{Engine, Pending};
use super::{Commit, Queued};
use crate::device::backend::Operation;
use crate::device::buffer::AlignedBuffer;
use crate::device::codec::batch::Plan;
use crate::device::status::DeviceState;
use crate::device::volume::{Volume, VolumeKind};
use crate::error::{Error, Result};
use crate::index::{Effect, Placed};
use crate::limits::{BATCH_BYTES_BEHIND_CLIENTS, BATCH_BYTES_MAX, SPACE_RESERVE_BYTES};
use crate::mutation::{Location, LogPosition};

/// A batch that is being written.
#[derive(Debug)]
pub(super) struct Assembled {
    /// Its records and where they will stand; copies come first.
    records: Vec<(Queued, Location)>,
    volume: Arc<Volume>,
    position: LogPosition,
    length: usize,
}

/// A batch that is durable and not applied yet.
#[derive(Debug)]
pub(super) struct Finished {
    records: Vec<(Queued, Location)>,
    position: LogPosition,
}

impl Engine {
    /// Writes the next batch, if there is anything to write and none is being written.
    pub(super) fn start_batch(&mut self) {
        if self.assembled.is_some() || (self.ready.is_empty() && self.moves.is_empty() && self.restored.is_empty()) {
            return;
        }
        if let Some(error) = self.shared.refusal() {
            self.refuse_all(&error);
        }
        if !self.moves.is_empty() {
            self.apply_finished();
            self.drop_dead_moves();
        }
        let Some((mut plan, mut records)) = self.choose() else { return };
        if self.needs_volume(plan.length()) && self.is_short_of_space() {
            self.shared.state.set(DeviceState::Full);
            for commit in records.into_iter().rev() {
                self.waiting(&commit).push_front(commit);
            }
            self.refuse_all(&self.shared.full());
            let Some(privileged) = self.choose() else { return };
            (plan, records) = privileged;
        }
        match self.make_room(plan.length()) {
            Ok(volume) => self.write_batch(&plan, records, volume),
            Err(error) => {
                for commit in records {
                    self.refuse(commit, error.clone());
                }
            }
        }
    }

    /// Takes as many records as fit a batch, copies first. While clients are about, what they don't wait for takes a
    /// small part of it: whoever comes next waits until it is written.
    fn choose(&mut self) -> Option<(Plan, Vec<Queued>)> {
        let mut plan = Plan::default();
        let mut records = Vec::new();
        let behind = if self.shared.precedence.has_clients() { BATCH_BYTES_BEHIND_CLIENTS } else { BATCH_BYTES_MAX };
        let mut left = behind as usize;
        for queue in [&mut self.moves, &mut self.ready, &mut self.restored] {
            while let Some(commit) = queue.front() {
                let (length, is_clients) = (commit.encoded.length(), commit.moved.is_none() && !commit.is_restored);
                if (!is_clients && left == 0) || !plan.add(length) {
                    break;
                }
                left = if is_clients { left } else { left.saturating_sub(length) };
                records.extend(queue.pop_front());
            }
        }
        (!records.is_empty()).then_some((plan, records))
    }

    /// Answers everything that a device out of service does not take.
    fn refuse_all(&mut self, error: &Error) {
        let full = self.shared.state.get() == DeviceState::Full;
        for commit in self.ready.drain(..).chain(self.restored.drain(..)).collect::<Vec<_>>() {
            if full && commit.is_privileged() {
                self.waiting(&commit).push_back(commit);
            } else {
                self.refuse(commit, error.clone());
            }
        }
        if !full {
            for commit in self.moves.drain(..).collect::<Vec<_>>() {
                self.refuse(commit, error.clone());
            }
        }
    }

    /// Takes copies of what has died since they were read out of the queue.
    fn drop_dead_moves(&mut self) {
        for commit in self.moves.drain(..).collect::<Vec<_>>() {
            let Some(from) = commit.moved else { continue };
            match self.catalog.is_live(&commit.mutation, from) {
                Ok(true) => self.moves.push_back(commit),
                Ok(false) => {
                    self.leave_queue(1);
                    let _ = commit.done.send(Ok(Effect::default()));
                }
                Err(error) => self.refuse(commit, error),
            }
        }
    }

    fn needs_volume(&self, length: usize) -> bool {
        self.tail.volume.is_none() || self.tail.offset + length as u64 > self.log_volume_bytes
    }

    /// Whether one more volume would take what is kept back for deletions and compaction.
    fn is_short_of_space(&self) -> bool {
        let wanted = self.log_volume_bytes + SPACE_RESERVE_BYTES.min(self.log_volume_bytes);
        match self.volumes.disk.space() {
            Ok((free, _)) => free < wanted,
            // Then making the volume will tell.
            Err(_) => false,
        }
    }

    /// The volume that takes a batch of `length` bytes: the present one, or a new one.
    fn make_room(&mut self, length: usize) -> Result<Arc<Volume>> {
        if let Some(volume) = &self.tail.volume
            && !self.needs_volume(length)
        {
            return Ok(Arc::clone(volume));
        }
        // On this thread, and not ahead of need: with the cut below it takes 1 to 10 ms every 256 MiB of log
        // (ext4 on a busy virtual disk, 32 PUTs of 4 KiB in flight), no more than a few of the flushes that
        // the records behind it wait for anyway.
        let id = self.tail.last_id + 1;
        let volume = self
            .volumes
            .create(VolumeKind::Log, id, self.log_volume_bytes)
            .map_err(|error| self.shared.write_failed(&error))?;
        // The old volume's blocks behind its last batch will not be used. Where this fails they stay taken.
        if let Some(old) = self.tail.volume.take()
            && let Err(error) = old.file.truncate(self.tail.offset)
        {
            tracing::warn!(file = %old.path.display(), %error, "the volume's rest was not freed");
        }
        self.tail.last_id = id;
        self.shared.tail_volume.store(id, Ordering::Release);
        self.tail.volume = Some(Arc::clone(&volume));
        self.tail.offset = 0;
        Ok(volume)
    }

    fn write_batch(&mut self, plan: &Plan, records: Vec<Queued>, volume: Arc<Volume>) {
        let mut buffer = self.buffer.take().expect("the buffer is here while no batch is being written");
        let length = plan.length();
        let (offset, sequence) = (self.tail.offset, self.tail.sequence + 1);
        let mut end = 0;
        let mut placed = Vec::with_capacity(records.len());
        for (commit, start) in records.into_iter().zip(plan.offsets()) {
            let (head, data) = (&commit.encoded.head, &commit.encoded.data);
            if end > 0 {
                buffer[end..start].fill(0);
            }
            let data_start = start + head.len();
            end = data_start + data.len();
            buffer[start..data_start].copy_from_slice(head);
            buffer[data_start..end].copy_from_slice(data);
            let location = commit.encoded.location(volume.id, offset + start as u64);
            placed.push((commit, location));
        }
        buffer[end..length].fill(0);
        plan.seal(&mut buffer[..length], sequence, self.tag, volume.id, offset);
        let position = LogPosition { volume: volume.id, offset: offset + length as u64, sequence };
        let operation = Operation::WriteSync { file: Arc::clone(&volume.file), offset, buffer, length };
        self.assembled = Some(Assembled { records: placed, volume, position, length });
        self.submit(operation, Pending::Batch);
    }

    /// The batch is durable, or failed.
    pub(super) fn batch_done(&mut self, buffer: AlignedBuffer, result: std::io::Result<usize>) {
        self.buffer = Some(buffer);
        let Assembled { records, volume, position, length } =
            self.assembled.take().expect("a batch that completes was assembled");
        self.shared.counters.flushes.add(1);
        match result {
            Ok(_) => {
                self.tail.offset = position.offset;
                self.tail.sequence = position.sequence;
                self.shared.counters.batches.add(1);
                self.shared.counters.records.add(records.len() as u64);
                self.shared.counters.log_bytes_written.add(length as u64);
                self.finished = Some(Finished { records, position });
            }
            Err(error) => {
                // The place is used again by the next batch, where there is one; what stands there now
                // was never acknowledged.
                let error = self.shared.write_failed(&volume.error("append to", &error));
                for (commit, _) in records {
                    self.refuse(commit, error.clone());
                }
            }
        }
    }

    /// Applies the batch that is durable, and acknowledges its records.
    pub(super) fn apply_finished(&mut self) {
        let Some(Finished { records, position }) = self.finished.take() else { return };
        self.leave_queue(records.len());
        let (mut commits, mut batch, mut moves) = (Vec::new(), Vec::new(), Vec::new());
        let mut moved = Vec::new();
        for (commit, location) in records {
            let Commit { mutation, applies, moved: from, done, .. } = *commit;
            match from {
                None => {
                    commits.push(done);
                    batch.push(Placed { mutation, applies, location });
                }
                Some(from) => {
                    moved.push(done);
                    moves.push((Placed { mutation, applies, location: from }, location));
                }
            }
        }
        // The position belongs to both; records first, because copies can be made again.
        if !batch.is_empty() {
            match self.apply(&batch, position) {
                Ok(effects) => {
                    let dead: Vec<_> = effects.iter().flat_map(|effect| effect.dead_extents.clone()).collect();
                    for (done, effect) in commits.into_iter().zip(effects) {
                        // A caller that went away has its record all the same.
                        let _ = done.send(Ok(effect));
                    }
                    dead.into_iter().for_each(|extent| self.free(extent));
                }
                Err(error) => commits.into_iter().for_each(|done| drop(done.send(Err(error.clone())))),
            }
        }
        if !moves.is_empty() {
            let result = self.relocate(&moves, position);
            for done in moved {
                let _ = done.send(result.clone().map(|()| Effect::default()));
            }
        }
    }

    fn apply(&mut self, batch: &[Placed], position: LogPosition) -> Result<Vec<Effect>> {
        self.check_index()?;
        let applied = self.catalog.apply(batch, position);
        applied.inspect_err(|error| self.index_failed(error))
    }

    fn relocate(&mut self, moves: &[(Placed, Location)], position: LogPosition) -> Result<()> {
        self.check_index()?;
        let relocated = self.catalog.relocate(moves, position);
        relocated.inspect_err(|error| self.index_failed(error))
    }

    fn check_index(&self) -> Result<()> {
        match self.shared.refusal() {
            Some(error) if self.index_behind => Err(error),
            _ => Ok(()),
        }
    }

    /// The log is ahead of the index, which must not go on without what it missed; a restart replays.
    fn index_failed(&mut self, error: &Error) {
        tracing::error!(device = %self.shared.path.display(), %error, "the index failed");
        self.index_behind = true;
        self.shared.state.set(DeviceState::ReadOnly(error.to_string()));
    }
}
