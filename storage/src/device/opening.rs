//! Putting a device together: lock, superblock, volumes, index, replay, thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anello_base::units::MIB;
use anello_base::{Clock, SystemClock};
use tokio::sync::oneshot;

use super::backend::Backend;
#[cfg(test)]
use super::backend::inline::Inline;
#[cfg(test)]
use super::backend::stepped::{StepOptions, Stepped};
use super::backend::threads::Threads;
use super::backend::uring::Uring;
use super::buffer::BufferPool;
use super::catalog::Catalog;
use super::disk::Disk;
use super::disk::real::RealDisk;
use super::engine::{Engine, Request, Shared};
use super::extent::DataSpace;
use super::reader::Access;
use super::recovery::{Recovery, find_space};
use super::superblock::{self, Superblock};
use super::volume::{Volume, VolumeKind, Volumes};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::limits::{DATA_VOLUME_BYTES, LOG_VOLUME_BYTES, READ_WINDOW_BYTES, READ_WINDOWS_IDLE_MAX};
use crate::mutation::LogPosition;

/// Name of the index's folder.
pub(crate) const INDEX: &str = "index";

/// Memory for blocks of the index that were read, where nothing else is said.
const INDEX_CACHE_BYTES: u64 = 64 * MIB;

/// Which way a device does I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// io_uring where the kernel grants it, else threads.
    #[default]
    Auto,
    /// A few threads with pread and pwrite.
    Threads,
}

/// How a device is opened.
#[derive(Debug, Clone)]
pub struct DeviceOptions {
    /// The device that is expected, by its id (32 hexadecimal digits); any of the cluster where `None`.
    pub device_id: Option<String>,
    /// Which way it does I/O.
    pub backend: BackendChoice,
    /// Memory for the index's block cache in bytes.
    pub index_cache_bytes: u64,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self { device_id: None, backend: BackendChoice::Auto, index_cache_bytes: INDEX_CACHE_BYTES }
    }
}

/// Sizes of the volumes that are made; smaller ones let tests cross their ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) log_volume_bytes: u64,
    pub(crate) data_volume_bytes: u64,
}

impl Default for Geometry {
    fn default() -> Self {
        Self { log_volume_bytes: LOG_VOLUME_BYTES, data_volume_bytes: DATA_VOLUME_BYTES }
    }
}

/// All that belongs to a device.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) superblock: Superblock,
    pub(crate) index: Option<Arc<Index>>,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) space: Arc<DataSpace>,
    pub(crate) access: Arc<Access>,
    pub(crate) backend: &'static str,
    /// Data volumes that were there at the start, and how far extents had been placed in each.
    pub(crate) searchable: Vec<(Arc<Volume>, u64)>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread does I/O with, as it is chosen.
#[derive(Debug, Clone)]
pub(crate) enum BackendKind {
    Chosen(BackendChoice),
    #[cfg(test)]
    Inline,
    /// A task of a simulation in place of the thread.
    #[cfg(test)]
    Stepped(StepOptions),
}

impl Inner {
    pub(crate) fn open(dir: &Path, cluster_id: &str, options: &DeviceOptions) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir, true)?);
        let superblock = open_superblock(&*disk, dir, cluster_id, options.device_id.as_deref())?;
        let (index, position) = Index::open_or_renew(&dir.join(INDEX), options.index_cache_bytes as usize)?;
        let index = Arc::new(index);
        let catalog = Arc::clone(&index) as Arc<dyn Catalog>;
        let kind = BackendKind::Chosen(options.backend);
        let mut inner = Self::assemble(disk, superblock, catalog, position, Geometry::default(), kind)?;
        inner.index = Some(index);
        Ok(inner)
    }

    /// Replays the log and starts the thread.
    pub(crate) fn assemble(
        disk: Arc<dyn Disk>,
        superblock: Superblock,
        catalog: Arc<dyn Catalog>,
        position: LogPosition,
        geometry: Geometry,
        kind: BackendKind,
    ) -> Result<Self> {
        let Geometry { log_volume_bytes, data_volume_bytes } = geometry;
        let shared = Arc::new(Shared::new(disk.path(""), log_volume_bytes));
        let volumes = Arc::new(Volumes::open(disk)?);
        let tag = superblock.tag();
        let mut silent = |_| {};
        let recovery = Recovery::new(&volumes, &*catalog, &shared.counters, tag, log_volume_bytes, &mut silent);
        let tail = recovery.run(position)?;
        let space = Arc::new(find_space(&volumes, &*catalog, data_volume_bytes)?);
        // What is behind these offsets is new from now on, and none of the compactor's business.
        let searchable = volumes.all(VolumeKind::Data).into_iter().map(|volume| {
            let end = space.handed_out(volume.id);
            (volume, end)
        });
        let searchable = searchable.collect();
        forget_removed(&volumes, &*catalog)?;
        let windows = BufferPool::new(READ_WINDOW_BYTES as usize, READ_WINDOWS_IDLE_MAX);
        let (thread, backend) = {
            let (shared, catalog, volumes, space) =
                (Arc::clone(&shared), Arc::clone(&catalog), Arc::clone(&volumes), Arc::clone(&space));
            let path = shared.path.clone();
            let build =
                move |backend| Engine::new(shared, catalog, volumes, space, backend, tail, tag, log_volume_bytes);
            start(kind, &path, build)?
        };
        let access = Access { shared: Arc::clone(&shared), volumes: Arc::clone(&volumes), catalog, windows };
        Ok(Self {
            superblock,
            index: None,
            volumes,
            shared,
            space,
            access: Arc::new(access),
            backend,
            searchable,
            thread,
        })
    }
}

/// Ends a compaction that a crash interrupted after it had removed the volume.
fn forget_removed(volumes: &Volumes, catalog: &dyn Catalog) -> Result<()> {
    for (id, _) in catalog.dead_bytes()? {
        if volumes.get(VolumeKind::Log, id).is_none() {
            catalog.forget_volume(id)?;
        }
    }
    Ok(())
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Refused where it has stopped already.
        let _ = self.shared.push(Request::Stop(oneshot::channel().0));
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Reads the superblock and checks it, or makes a new device of an empty directory.
fn open_superblock(disk: &dyn Disk, dir: &Path, cluster_id: &str, device_id: Option<&str>) -> Result<Superblock> {
    if let Some(found) = superblock::read(disk)? {
        superblock::check(&found, dir, cluster_id, device_id)?;
        return Ok(found);
    }
    let has_volumes = disk.list(super::disk::VOLUMES).is_ok_and(|names| !names.is_empty());
    if has_volumes || device_id.is_some() {
        let expected = device_id.map_or_else(|| format!("a device of cluster {cluster_id}"), str::to_owned);
        let found = if has_volumes { "volumes without a superblock" } else { "no superblock" };
        return Err(Error::WrongDevice { path: PathBuf::from(dir), expected, found: found.to_owned() });
    }
    let created = SystemClock.wall();
    let superblock = Superblock { cluster_id: cluster_id.to_owned(), device_id: rand::random(), created };
    superblock::create(disk, &superblock)?;
    tracing::info!(device = %dir.display(), id = superblock.device_hex(), "a new device");
    Ok(superblock)
}

/// Starts the thread; the backend is made on it, because a ring belongs to one thread.
fn start(
    kind: BackendKind,
    path: &Path,
    build: impl FnOnce(Box<dyn Backend>) -> Engine + Send + 'static,
) -> Result<(Option<JoinHandle<()>>, &'static str)> {
    #[cfg(test)]
    if let BackendKind::Stepped(options) = kind {
        return Ok((None, Stepped::start(options, build)));
    }
    let (started, answer) = std::sync::mpsc::channel();
    let body = move || match make_backend(kind) {
        Ok(backend) => {
            let name = backend.name();
            let engine = build(backend);
            // The opener waits for this.
            let _ = started.send(Ok(name));
            engine.run();
        }
        Err(error) => drop(started.send(Err(error))),
    };
    let failed = |error: &std::io::Error| Error::io("start the thread of", path, error);
    let thread = std::thread::Builder::new().name("device".to_owned()).spawn(body).map_err(|error| failed(&error))?;
    match answer.recv() {
        Ok(Ok(name)) => Ok((Some(thread), name)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(Error::Stopped),
    }
}

fn make_backend(kind: BackendKind) -> std::io::Result<Box<dyn Backend>> {
    match kind {
        #[cfg(test)]
        BackendKind::Inline => Ok(Box::new(Inline::default())),
        #[cfg(test)]
        BackendKind::Stepped(_) => Err(std::io::ErrorKind::Unsupported.into()),
        BackendKind::Chosen(BackendChoice::Threads) => Ok(Box::new(Threads::new()?)),
        BackendKind::Chosen(BackendChoice::Auto) => match Uring::new() {
            Ok(ring) => Ok(Box::new(ring)),
            Err(error) => {
                tracing::warn!(%error, "io_uring is refused, going on with threads");
                Ok(Box::new(Threads::new()?))
            }
        },
    }
}
