//! A disk in memory. It records everything that is done to it, so that a test can make the disk that a
//! loss of power would have left at any moment ([`Crashes`]), and fails on demand ([`Faults`]).
//!
//! What is modelled: a write or a hole is durable once its file has been synced; before, each of its
//! sectors of 512 bytes may or may not be there, in any combination with those of other writes. Names
//! are durable at once, as [`Disk::create_volume`] promises, but a volume may be found half made.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};
use crate::limits::ALIGNMENT;

const BLOCK: usize = ALIGNMENT as usize;

/// What a disk writes all or nothing.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// What goes wrong from now on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Writes and syncs fail with this error number.
    pub(crate) write_error: Option<i32>,
    /// Reads of volumes do.
    pub(crate) read_error: Option<i32>,
    /// Free space in bytes; without bounds where `None`.
    pub(crate) free_bytes: Option<u64>,
    /// Reads miss the page cache.
    pub(crate) cold: bool,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, u64>,
    files: BTreeMap<u64, Content>,
    journal: Vec<Event>,
    /// What was there, durably, before the journal begins.
    base: Base,
    faults: Faults,
    next_file: u64,
}

/// Names and files at a moment, and the number of the last file.
type Base = (BTreeMap<String, u64>, BTreeMap<u64, Content>, u64);

/// A file's bytes; blocks that are not there read as zeros.
#[derive(Debug, Clone, Default)]
struct Content {
    blocks: BTreeMap<u64, Arc<[u8; BLOCK]>>,
    size: u64,
}

/// One thing that was done to the disk.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A file came to be, empty.
    Create { name: String, file: u64 },
    /// Bytes were written, or punched to zeros.
    Write { file: u64, offset: u64, data: Arc<[u8]> },
    /// The file's length changed, durably for a new one.
    Resize { file: u64, size: u64, durable: bool },
    /// All that was written to the file is durable.
    Sync { file: u64 },
    /// The name is gone.
    Remove { name: String },
    /// A small file was replaced as a whole.
    Replace { name: String, file: u64, contents: Arc<[u8]> },
}

impl Content {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let (number, start) = (at / BLOCK as u64, at as usize % BLOCK);
            let count = (BLOCK - start).min(data.len() - done);
            let part = &data[done..done + count];
            let is_zero = count == BLOCK && part.iter().all(|byte| *byte == 0);
            if is_zero {
                self.blocks.remove(&number);
            } else {
                let block = self.blocks.entry(number).or_insert_with(|| Arc::new([0; BLOCK]));
                Arc::make_mut(block)[start..start + count].copy_from_slice(part);
            }
            done += count;
        }
        self.size = self.size.max(offset + data.len() as u64);
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let length = buffer.len().min(self.size.saturating_sub(offset) as usize);
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let (number, start) = (at / BLOCK as u64, at as usize % BLOCK);
            let count = (BLOCK - start).min(length - done);
            match self.blocks.get(&number) {
                Some(block) => buffer[done..done + count].copy_from_slice(&block[start..start + count]),
                None => buffer[done..done + count].fill(0),
            }
            done += count;
        }
        length
    }

    fn resize(&mut self, size: u64) {
        self.size = size;
        self.blocks.retain(|number, _| number * (BLOCK as u64) < size);
    }

    /// Applies an event of this file as far as `keep` says, sector by sector.
    fn apply(&mut self, event: &Event, mut keep: impl FnMut() -> bool) {
        match event {
            Event::Write { offset, data, .. } => {
                let size = self.size;
                for (index, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                    if keep() {
                        self.write(offset + (index * SECTOR_BYTES) as u64, sector);
                    }
                }
                self.size = self.size.max(size);
            }
            Event::Resize { size, .. } if keep() => self.resize(*size),
            _ => {}
        }
    }
}

impl SimulatedDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, this goes wrong.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Whether writes or reads fail.
    pub(crate) fn fails(&self) -> bool {
        let faults = self.lock().faults;
        faults.write_error.or(faults.read_error).is_some()
    }

    /// Events so far: a moment to cut the power at.
    pub(crate) fn moment(&self) -> usize {
        self.lock().journal.len()
    }

    /// Everything done so far.
    pub(crate) fn journal(&self) -> Vec<Event> {
        self.lock().journal.clone()
    }

    /// Inverts bits of one stored byte, unnoticed.
    pub(crate) fn flip(&self, name: &str, offset: u64, bits: u8) {
        let mut state = self.lock();
        let file = state.names[name];
        let content = state.files.get_mut(&file).expect("a name has a file");
        let mut byte = [0];
        content.read(&mut byte, offset);
        content.write(offset, &[byte[0] ^ bits]);
    }

    /// The whole of a file.
    pub(crate) fn contents(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        let content = &state.files[&state.names[name]];
        let mut bytes = vec![0; content.size as usize];
        content.read(&mut bytes, 0);
        bytes
    }

    /// The disk as it is found when the power is back; this one is as it was.
    pub(crate) fn lose_power(&self, loss: Loss) -> Self {
        let state = self.lock();
        let (names, durable, next_file) = state.base.clone();
        let mut crashes = Crashes { names, durable, next_file, ..Crashes::default() };
        state.journal.iter().for_each(|event| crashes.advance(event));
        drop(state);
        let found = crashes.disk(loss);
        let mut state = found.lock();
        state.base = (state.names.clone(), state.files.clone(), state.next_file);
        drop(state);
        found
    }

    /// Volumes of a kind (`.log.vol`, `.data.vol`) and where each of their blocks that is not empty begins.
    pub(crate) fn written(&self, kind: &str) -> Vec<(String, u64)> {
        let state = self.lock();
        let volumes = state.names.iter().filter(|(name, _)| name.ends_with(kind));
        let blocks = volumes.flat_map(|(name, file)| {
            let blocks = state.files.get(file).into_iter().flat_map(|content| content.blocks.keys());
            blocks.map(move |number| (name.clone(), number * BLOCK as u64))
        });
        blocks.collect()
    }

    /// An independent copy.
    pub(crate) fn copy(&self) -> Self {
        let state = self.lock();
        let (names, files, next_file) = (state.names.clone(), state.files.clone(), state.next_file);
        let copy = State { names, files, next_file, ..State::default() };
        Self { state: Arc::new(Mutex::new(copy)) }
    }

    fn file(&self, number: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimulatedFile { disk: self.clone(), number })
    }
}

impl State {
    fn check_write(&self) -> io::Result<()> {
        self.faults.write_error.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }

    fn create(&mut self, name: &str) -> u64 {
        self.next_file += 1;
        self.names.insert(name.to_owned(), self.next_file);
        self.files.insert(self.next_file, Content::default());
        self.next_file
    }

    fn change(&mut self, file: u64, event: Event) -> io::Result<()> {
        self.check_write()?;
        self.files.entry(file).or_default().apply(&event, || true);
        self.journal.push(event);
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/simulated").join(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.lock();
        let in_folder = |name: &String| Some(name.strip_prefix(folder)?.strip_prefix('/')?.to_owned());
        Ok(state.names.keys().filter_map(in_folder).collect())
    }

    fn create_volume(&self, name: &str, size: u64, allocate: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.check_write()?;
        if allocate && state.faults.free_bytes.is_some_and(|free| free < size) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let file = state.create(name);
        state.journal.push(Event::Create { name: name.to_owned(), file });
        state.change(file, Event::Resize { file, size, durable: true })?;
        drop(state);
        Ok(self.file(file))
    }

    fn open_volume(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.lock().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check_write()?;
        // The bytes stay, for whoever has it open.
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.journal.push(Event::Remove { name: name.to_owned() });
        Ok(())
    }

    fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        let known = self.lock().names.contains_key(name);
        if known { Ok(self.contents(name)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn replace_file(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.check_write()?;
        let file = state.create(name);
        state.files.entry(file).or_default().write(0, contents);
        state.journal.push(Event::Replace { name: name.to_owned(), file, contents: contents.into() });
        Ok(())
    }

    fn space(&self) -> io::Result<(u64, u64)> {
        Ok((self.lock().faults.free_bytes.unwrap_or(u64::MAX / 2), u64::MAX / 2))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    number: u64,
}

impl DiskFile for SimulatedFile {
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.disk.lock().faults.cold {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.read_at(buffer, offset)?;
        if count == buffer.len() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        if let Some(code) = state.faults.read_error {
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(state.files.get(&self.number).map_or(0, |content| content.read(buffer, offset)))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let aligned = offset.is_multiple_of(ALIGNMENT) && data.len().is_multiple_of(BLOCK);
        assert!(aligned, "direct I/O takes whole blocks: {offset} {}", data.len());
        let event = Event::Write { file: self.number, offset, data: data.into() };
        self.disk.lock().change(self.number, event)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock().change(self.number, Event::Sync { file: self.number })
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        assert!(offset.is_multiple_of(ALIGNMENT) && length.is_multiple_of(ALIGNMENT));
        let state = self.disk.lock();
        state.check_write()?;
        match state.faults.free_bytes {
            Some(free) if free < length => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            _ => Ok(()),
        }
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        assert!(offset.is_multiple_of(ALIGNMENT) && length.is_multiple_of(ALIGNMENT));
        let mut state = self.disk.lock();
        // A hole never makes a file longer.
        let size = state.files.get(&self.number).map_or(0, |content| content.size);
        let length = length.min(size.saturating_sub(offset));
        let event = Event::Write { file: self.number, offset, data: vec![0; length as usize].into() };
        state.change(self.number, event)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let event = Event::Resize { file: self.number, size: length, durable: false };
        self.disk.lock().change(self.number, event)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files.get(&self.number).map_or(0, |content| content.size))
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files.get(&self.number).map_or(0, |content| (content.blocks.len() * BLOCK) as u64))
    }

    fn buffered(&self) -> Option<RawFd> {
        None
    }

    fn direct(&self) -> Option<RawFd> {
        None
    }
}

/// What becomes of writes that were not synced when the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// None of them is there.
    All,
    /// All of them are there.
    Nothing,
    /// Each sector is there or not, as this seed decides.
    Some(u64),
}

/// Goes through a journal and makes the disk that a loss of power would have left after each event.
#[derive(Debug, Default)]
pub(crate) struct Crashes {
    names: BTreeMap<String, u64>,
    durable: BTreeMap<u64, Content>,
    pending: BTreeMap<u64, Vec<Event>>,
    next_file: u64,
}

impl Crashes {
    /// Takes the next event of the journal.
    pub(crate) fn advance(&mut self, event: &Event) {
        match event {
            Event::Create { name, file } => {
                self.name(name, *file);
            }
            Event::Replace { name, file, contents } => {
                self.name(name, *file);
                self.durable.entry(*file).or_default().write(0, contents);
            }
            Event::Remove { name } => {
                self.names.remove(name);
            }
            Event::Resize { file, size, durable: true } => self.durable.entry(*file).or_default().resize(*size),
            Event::Write { file, .. } | Event::Resize { file, .. } => {
                self.pending.entry(*file).or_default().push(event.clone());
            }
            Event::Sync { file } => {
                let content = self.durable.entry(*file).or_default();
                for event in self.pending.remove(file).unwrap_or_default() {
                    content.apply(&event, || true);
                }
            }
        }
    }

    fn name(&mut self, name: &str, file: u64) {
        self.names.insert(name.to_owned(), file);
        self.durable.insert(file, Content::default());
        self.next_file = self.next_file.max(file);
    }

    /// The disk as it is found when the power is back.
    pub(crate) fn disk(&self, loss: Loss) -> SimulatedDisk {
        self.disk_where(loss, |_| false)
    }

    /// As if everything had reached the disk but what was not synced in data volumes.
    pub(crate) fn disk_without_unsynced_data(&self) -> SimulatedDisk {
        let is_data = |file: u64| self.names.iter().any(|(name, at)| *at == file && name.ends_with(".data.vol"));
        self.disk_where(Loss::Nothing, is_data)
    }

    fn disk_where(&self, loss: Loss, loses_all: impl Fn(u64) -> bool) -> SimulatedDisk {
        let mut files = self.durable.clone();
        let mut random = match loss {
            Loss::Some(seed) => seed.wrapping_mul(2).wrapping_add(1),
            Loss::All | Loss::Nothing => 1,
        };
        for (file, events) in self.pending.iter().filter(|(file, _)| !loses_all(**file)) {
            let content = files.entry(*file).or_default();
            for event in events {
                content.apply(event, || match loss {
                    Loss::All => false,
                    Loss::Nothing => true,
                    Loss::Some(_) => coin(&mut random),
                });
            }
        }
        let state = State { names: self.names.clone(), files, next_file: self.next_file, ..State::default() };
        SimulatedDisk { state: Arc::new(Mutex::new(state)) }
    }
}

/// xorshift64: enough to choose sectors by a seed.
fn coin(state: &mut u64) -> bool {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state & 1 == 1
}
