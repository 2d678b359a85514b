//! The volumes of a device: files of the log, and files of large objects' data. Both kinds are numbered
//! from one on. A [`Volume`] stays readable as long as somebody holds it, also when it has been removed.
//!
//! A data volume also knows which extents are being read, so that the blocks of a deleted object are
//! not freed under its last reader.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::disk::{Disk, DiskFile, VOLUMES};
use crate::error::{Error, Result};
use crate::mutation::Extent;

/// What a volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VolumeKind {
    /// Batches.
    Log,
    /// Extents.
    Data,
}

impl VolumeKind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log.vol",
            Self::Data => ".data.vol",
        }
    }

    /// Name of the volume's file.
    pub(crate) fn file_name(self, id: u32) -> String {
        format!("{VOLUMES}/{id:08}{}", self.suffix())
    }

    /// The number in a file's name, where it is a volume of this kind.
    fn parse(self, name: &str) -> Option<u32> {
        let digits = name.strip_suffix(self.suffix())?;
        let well_formed = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|id| well_formed && *id > 0)
    }
}

/// A volume that is open.
#[derive(Debug)]
pub(crate) struct Volume {
    /// Its number among its kind.
    pub(crate) id: u32,
    /// What it holds.
    pub(crate) kind: VolumeKind,
    /// Its name, for messages.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) file: Arc<dyn DiskFile>,
    /// Writers that may still name extents in it.
    writers: AtomicU32,
    /// Extents being read, by offset.
    pins: Mutex<BTreeMap<u64, Pin>>,
}

#[derive(Debug, Default)]
struct Pin {
    readers: u32,
    length: u64,
    /// What died while this was being read, and lies in the same place.
    dead: Vec<Extent>,
}

impl Volume {
    fn pins(&self) -> MutexGuard<'_, BTreeMap<u64, Pin>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an extent from being freed until [`Volume::unpin`].
    pub(crate) fn pin(&self, extent: Extent) {
        let mut pins = self.pins();
        let pin = pins.entry(extent.offset).or_default();
        pin.readers += 1;
        pin.length = pin.length.max(extent.length);
    }

    /// Ends a [`Volume::pin`]; returns extents that died meanwhile and may be freed now.
    pub(crate) fn unpin(&self, offset: u64) -> Vec<Extent> {
        let mut pins = self.pins();
        let Some(pin) = pins.get_mut(&offset) else { return Vec::new() };
        pin.readers -= 1;
        if pin.readers > 0 {
            return Vec::new();
        }
        pins.remove(&offset).map(|pin| pin.dead).unwrap_or_default()
    }

    /// The extent is dead. Whether it can be freed at once; otherwise a reader will do so at its end.
    pub(crate) fn retire(&self, extent: Extent) -> bool {
        let mut pins = self.pins();
        let read = pins.range_mut(..extent.offset + extent.length).rev();
        let Some((_, pin)) = read.into_iter().find(|(offset, pin)| **offset + pin.length > extent.offset) else {
            return true;
        };
        pin.dead.push(extent);
        false
    }

    /// A writer begins to place extents here.
    pub(crate) fn enter(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends [`Volume::enter`].
    pub(crate) fn leave(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a writer may still name extents in it.
    pub(crate) fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    /// Reads and checks nothing; blocks.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        super::disk::read_vec(&*self.file, offset, length).map_err(|error| self.error("read", &error))
    }

    /// An I/O error in this volume.
    pub(crate) fn error(&self, action: &'static str, error: &std::io::Error) -> Error {
        Error::io(action, &self.path, error)
    }
}

/// All volumes of a device.
#[derive(Debug)]
pub(crate) struct Volumes {
    /// The directory they are in.
    pub(crate) disk: Arc<dyn Disk>,
    open: RwLock<BTreeMap<(VolumeKind, u32), Arc<Volume>>>,
}

impl Volumes {
    /// Opens every volume that is there.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self> {
        let names = disk.list(VOLUMES).map_err(|error| Error::io("list", disk.path(VOLUMES), &error))?;
        let mut open = BTreeMap::new();
        for name in names {
            let kinds = [VolumeKind::Log, VolumeKind::Data];
            let Some((kind, id)) = kinds.iter().find_map(|kind| Some((*kind, kind.parse(&name)?))) else {
                tracing::warn!(file = %disk.path(VOLUMES).join(&name).display(), "not a volume; left alone");
                continue;
            };
            let name = kind.file_name(id);
            let path = disk.path(&name);
            let file = disk.open_volume(&name).map_err(|error| Error::io("open", &path, &error))?;
            open.insert((kind, id), Arc::new(Volume::new(id, kind, path, file)));
        }
        Ok(Self { disk, open: RwLock::new(open) })
    }

    /// A volume that is there.
    pub(crate) fn get(&self, kind: VolumeKind, id: u32) -> Option<Arc<Volume>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&(kind, id)).cloned()
    }

    /// All volumes of a kind, by number.
    pub(crate) fn all(&self, kind: VolumeKind) -> Vec<Arc<Volume>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().filter(|volume| volume.kind == kind).cloned().collect()
    }

    /// Makes volume `id`. A log volume's blocks are all reserved now; a data volume's as they are used.
    pub(crate) fn create(&self, kind: VolumeKind, id: u32, size: u64) -> Result<Arc<Volume>> {
        let name = kind.file_name(id);
        let path = self.disk.path(&name);
        let file = self
            .disk
            .create_volume(&name, size, kind == VolumeKind::Log)
            .map_err(|error| Error::io("create", &path, &error))?;
        let volume = Arc::new(Volume::new(id, kind, path, file));
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert((kind, id), Arc::clone(&volume));
        Ok(volume)
    }

    /// Removes a volume, durably. Its readers finish undisturbed.
    pub(crate) fn remove(&self, kind: VolumeKind, id: u32) -> Result<()> {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&(kind, id));
        let name = kind.file_name(id);
        self.disk.remove(&name).map_err(|error| Error::io("remove", self.disk.path(&name), &error))
    }
}

impl Volume {
    fn new(id: u32, kind: VolumeKind, path: PathBuf, file: Arc<dyn DiskFile>) -> Self {
        Self { id, kind, path, file, writers: AtomicU32::new(0), pins: Mutex::default() }
    }
}
