//! The machine's filesystem. A volume is open twice: reads go through the page cache, writes past it
//! (O_DIRECT), so that what clients upload does not push out what they read. Where the filesystem
//! refuses O_DIRECT, writes go through the cache too and the sync makes them durable all the same.
//!
//! The directory is locked (flock) as long as this lives, so that two processes never share a device.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::ReadWriteFlags;

use super::{Descriptors, Disk, DiskFile, QUARANTINE, VOLUMES};
use crate::error::{Error, Result};

/// Bytes of a block as `st_blocks` counts them (stat(2)).
const STAT_BLOCK_BYTES: u64 = 512;

/// A directory on a mounted filesystem.
#[derive(Debug)]
pub(crate) struct RealDisk {
    root: PathBuf,
    /// Holds the lock.
    _lock: OwnedFd,
}

impl RealDisk {
    /// Locks `root`; with `create` makes it and its folders where they are absent.
    pub(crate) fn open(root: &Path, create: bool) -> Result<Self> {
        if create {
            for folder in [root.to_owned(), root.join(VOLUMES), root.join(QUARANTINE)] {
                std::fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, &error))?;
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock =
            rustix::fs::open(root, flags, Mode::empty()).map_err(|error| Error::io("open", root, &error.into()))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let mut error = Error::io("lock", root, &error.into());
            if let Error::Io { code, message, .. } = &mut error
                && *code == Some(rustix::io::Errno::WOULDBLOCK.raw_os_error())
            {
                *message = "another process has this device open".to_owned();
            }
            error
        })?;
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    fn sync_folder(&self, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        File::open(path.parent().unwrap_or(&self.root))?.sync_all()
    }

    fn open_descriptors(path: &Path, flags: OFlags) -> io::Result<(File, File)> {
        let mode = Mode::from_raw_mode(0o600);
        let buffered = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC | flags, mode)?;
        let direct = match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::DIRECT, mode) {
            Ok(direct) => direct,
            Err(rustix::io::Errno::INVAL) => rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, mode)?,
            Err(error) => return Err(error.into()),
        };
        Ok((File::from(buffered), File::from(direct)))
    }
}

impl Disk for RealDisk {
    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_volume(&self, name: &str, size: u64, allocate: bool) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.root.join(name);
        let (buffered, direct) = Self::open_descriptors(&path, OFlags::CREATE | OFlags::EXCL)?;
        let file = RealFile { buffered, direct };
        let prepared = if allocate { file.allocate(0, size) } else { Ok(()) }
            .and_then(|()| file.buffered.set_len(size))
            .and_then(|()| file.buffered.sync_all())
            .and_then(|()| self.sync_folder(name));
        if let Err(error) = prepared {
            // Half a volume must not be found at the next start; if removing fails too, the start
            // takes it for an empty one.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open_volume(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (buffered, direct) = Self::open_descriptors(&self.root.join(name), OFlags::empty())?;
        Ok(Arc::new(RealFile { buffered, direct }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.root.join(name))?;
        self.sync_folder(name)
    }

    fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.root.join(name))
    }

    fn replace_file(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let (path, draft) = (self.root.join(name), self.root.join(format!("{name}.new")));
        let mut file = File::create(&draft)?;
        file.write_all(contents)?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        self.sync_folder(name)
    }

    fn space(&self) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
    }
}

#[derive(Debug)]
struct RealFile {
    buffered: File,
    direct: File,
}

impl DiskFile for RealFile {
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let wanted = buffer.len();
        let slices = &mut [IoSliceMut::new(buffer)];
        let count = rustix::io::preadv2(&self.buffered, slices, offset, ReadWriteFlags::NOWAIT)?;
        // Part of it may be cached; the rest is then read together with it.
        if count == wanted { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.buffered.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.direct.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.direct.sync_data()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.direct, FallocateFlags::KEEP_SIZE, offset, length)?)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.direct, flags, offset, length)?)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.buffered.set_len(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.buffered.metadata()?.len())
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.buffered.metadata()?.blocks() * STAT_BLOCK_BYTES)
    }

    fn descriptors(&self) -> Option<Descriptors> {
        Some(Descriptors { buffered: self.buffered.as_raw_fd(), direct: self.direct.as_raw_fd() })
    }
}
