//! Operations through io_uring: one ring, used by the device's thread alone. Batches and extents are
//! written with O_DIRECT; reads go through the page cache, so that they fill it.
//!
//! Memory safety: the kernel reads and writes buffers while an operation is in flight. Each operation
//! lives in [`Uring::flights`] with its buffer and its file until its completion has come, and dropping
//! the ring waits for all of them.

#![expect(unsafe_code, reason = "the kernel is given addresses; no safe interface to io_uring exists")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::EventfdFlags;

use super::{Backend, Completion, Operation, Wake, run};

/// Submission slots. What comes beyond waits in [`Uring::waiting`].
const RING_ENTRIES: u32 = 256;

/// Operations in flight at once: with two entries for a write and its sync, all of them fit the
/// completion ring, which has twice the submission slots.
const FLIGHTS_MAX: usize = 192;

/// The completion of the wake-up read.
const TOKEN_WAKE: u64 = u64::MAX;

/// Marks the write of a [`Operation::WriteSync`], whose sync bears the slot alone.
const TOKEN_FIRST: u64 = 1 << 32;

const FALLOCATE_KEEP_SIZE: i32 = libc::FALLOC_FL_KEEP_SIZE;
const FALLOCATE_PUNCH: i32 = libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE;

/// See the module.
pub(crate) struct Uring {
    ring: IoUring,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    waiting: VecDeque<(u64, Operation)>,
    /// Done here, without the kernel.
    done_here: Vec<Completion>,
    bell: Arc<Bell>,
    /// Where the kernel puts the count of wake-up calls; boxed, so that it stays in place.
    bell_count: Box<[u8; 8]>,
    bell_armed: bool,
}

#[derive(Debug)]
struct Flight {
    token: u64,
    operation: Operation,
    /// Completions still to come.
    pending: u8,
    result: io::Result<usize>,
}

#[derive(Debug)]
struct Bell {
    event: OwnedFd,
}

impl Wake for Bell {
    fn wake(&self) {
        // Fails only when 2^64-1 calls are waiting, and then the thread is being woken already.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Uring {
    /// A ring, to be used by the calling thread; fails where the kernel refuses it or lacks an
    /// operation.
    pub(crate) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_coop_taskrun()
            .setup_single_issuer()
            .build(RING_ENTRIES)
            .or_else(|_| IoUring::new(RING_ENTRIES))?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Read::CODE, opcode::Write::CODE, opcode::Fsync::CODE, opcode::Fallocate::CODE];
        if !needed.iter().all(|code| probe.is_supported(*code)) {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self {
            ring,
            flights: (0..FLIGHTS_MAX).map(|_| None).collect(),
            free: (0..FLIGHTS_MAX).rev().collect(),
            waiting: VecDeque::new(),
            done_here: Vec::new(),
            bell: Arc::new(Bell { event }),
            bell_count: Box::new([0; 8]),
            bell_armed: false,
        })
    }

    fn push(&mut self, entries: &[squeue::Entry]) {
        let room = {
            let submission = self.ring.submission();
            submission.capacity() - submission.len()
        };
        if room < entries.len() {
            // The kernel takes all of them; an error shows again at the submission in `poll`.
            let _ = self.ring.submit();
        }
        // SAFETY: the entries point to a buffer of `self.flights` or to `bell_count`, which stay where
        // they are until the completion has been taken, and to descriptors that the flight's file (an
        // Arc) or the bell keeps open.
        let pushed = unsafe { self.ring.submission().push_multiple(entries) };
        assert!(pushed.is_ok(), "FLIGHTS_MAX keeps the submission ring from overflowing");
    }

    /// Starts as much of what waits as there is room for.
    fn start(&mut self) {
        while !self.waiting.is_empty() {
            let Some(slot) = self.free.pop() else { return };
            let Some((token, mut operation)) = self.waiting.pop_front() else { return };
            if let Some((entries, count)) = entries(&mut operation, slot as u64) {
                self.flights[slot] = Some(Flight { token, operation, pending: count, result: Ok(0) });
                self.push(&entries[..usize::from(count)]);
            } else {
                // A file without descriptors is not the kernel's.
                self.free.push(slot);
                let result = run(&mut operation);
                self.done_here.push(Completion { token, operation, result });
            }
        }
    }

    fn arm_bell(&mut self) {
        if !self.bell_armed {
            let event = types::Fd(self.bell.event.as_raw_fd());
            let read = opcode::Read::new(event, self.bell_count.as_mut_ptr(), 8).build().user_data(TOKEN_WAKE);
            self.push(&[read]);
            self.bell_armed = true;
        }
    }

    fn take_completions(&mut self, done: &mut Vec<Completion>) {
        loop {
            let Some(entry) = self.ring.completion().next() else { break };
            if entry.user_data() == TOKEN_WAKE {
                self.bell_armed = false;
            } else {
                self.note(&entry, done);
            }
        }
        done.append(&mut self.done_here);
    }

    fn note(&mut self, entry: &cqueue::Entry, done: &mut Vec<Completion>) {
        let slot = (entry.user_data() & (TOKEN_FIRST - 1)) as usize;
        let flight = self.flights[slot].as_mut().expect("a completion belongs to a flight");
        flight.pending -= 1;
        let is_first = entry.user_data() & TOKEN_FIRST != 0;
        let result = check(&flight.operation, is_first, entry.result());
        // The first failure counts: a sync that was cancelled because its write failed says nothing.
        if flight.result.is_ok() {
            flight.result = result;
        }
        if flight.pending == 0 {
            self.land(slot, done);
        }
    }

    fn land(&mut self, slot: usize, done: &mut Vec<Completion>) {
        if let Some(Flight { token, operation, result, .. }) = self.flights[slot].take() {
            self.free.push(slot);
            done.push(Completion { token, operation, result });
        }
    }

    fn in_flight(&self) -> usize {
        self.flights.len() - self.free.len()
    }
}

/// The submission entries of an operation: one, or two that are linked.
fn entries(operation: &mut Operation, slot: u64) -> Option<([squeue::Entry; 2], u8)> {
    let nop = || opcode::Nop::new().build();
    let one = |entry: squeue::Entry| Some(([entry.user_data(slot), nop()], 1));
    match operation {
        Operation::Read { file, offset, buffer } => {
            let target = types::Fd(file.buffered()?);
            let buffer = buffer.as_mut();
            let length = u32::try_from(buffer.len()).expect("a read is at most a batch long");
            one(opcode::Read::new(target, buffer.as_mut_ptr(), length).offset(*offset).build())
        }
        Operation::Write { file, offset, buffer, length } => {
            let target = types::Fd(file.direct()?);
            one(opcode::Write::new(target, buffer.as_ptr(), *length as u32).offset(*offset).build())
        }
        Operation::WriteSync { file, offset, buffer, length } => {
            let target = types::Fd(file.direct()?);
            let write = opcode::Write::new(target, buffer.as_ptr(), *length as u32).offset(*offset).build();
            let write = write.flags(squeue::Flags::IO_LINK).user_data(slot | TOKEN_FIRST);
            let sync = opcode::Fsync::new(target).flags(types::FsyncFlags::DATASYNC).build();
            Some(([write, sync.user_data(slot)], 2))
        }
        Operation::Sync { file } => {
            let target = types::Fd(file.buffered()?);
            one(opcode::Fsync::new(target).flags(types::FsyncFlags::DATASYNC).build())
        }
        Operation::Allocate { file, offset, length } => {
            let target = types::Fd(file.buffered()?);
            one(opcode::Fallocate::new(target, *length).offset(*offset).mode(FALLOCATE_KEEP_SIZE).build())
        }
        Operation::Punch { file, offset, length } => {
            let target = types::Fd(file.buffered()?);
            one(opcode::Fallocate::new(target, *length).offset(*offset).mode(FALLOCATE_PUNCH).build())
        }
    }
}

/// What the kernel's answer means. A short write is a failure: the kernel cancels the linked sync, and
/// only a full disk makes one.
fn check(operation: &Operation, is_first: bool, code: i32) -> io::Result<usize> {
    if code < 0 {
        return Err(io::Error::from_raw_os_error(-code));
    }
    let count = code as usize;
    let wanted = match operation {
        Operation::Write { length, .. } => Some(*length),
        Operation::WriteSync { length, .. } if is_first => Some(*length),
        _ => None,
    };
    match wanted {
        Some(length) if count < length => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
        _ => Ok(count),
    }
}

impl Backend for Uring {
    fn submit(&mut self, token: u64, operation: Operation) {
        self.waiting.push_back((token, operation));
    }

    fn poll(&mut self, block: bool, done: &mut Vec<Completion>) -> io::Result<()> {
        self.start();
        if block {
            self.arm_bell();
        }
        let taken_before = done.len();
        self.take_completions(done);
        let wait = block && done.len() == taken_before && self.bell_armed;
        match self.ring.submit_and_wait(usize::from(wait)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The completion ring must be emptied first.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
        self.take_completions(done);
        self.start();
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.bell) as Arc<dyn Wake>
    }

    fn name(&self) -> &'static str {
        "io_uring"
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.waiting.clear();
        self.bell.wake();
        let mut done = Vec::new();
        while self.in_flight() > 0 || self.bell_armed {
            if self.ring.submit_and_wait(1).is_err() {
                // The kernel still holds addresses in these: give the memory up instead of freeing it.
                std::mem::forget(std::mem::take(&mut self.flights));
                std::mem::forget(std::mem::replace(&mut self.bell_count, Box::new([0; 8])));
                return;
            }
            self.take_completions(&mut done);
        }
    }
}
