//! The machine's filesystem. Reads go through the page cache, writes past it (O_DIRECT), so that what
//! clients upload does not push out what they read. Where the filesystem refuses O_DIRECT, writes go
//! through the cache too and the sync makes them durable all the same. Only a volume that is being
//! written has a second descriptor for that.
//!
//! The directory is locked (flock) as long as this lives, so that two processes never share a device.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::ReadWriteFlags;

use super::{Disk, DiskFile, QUARANTINE, VOLUMES};
use crate::error::{Error, Result};

/// Bytes of a block as `st_blocks` counts them (stat(2)).
const STAT_BLOCK_BYTES: u64 = 512;

/// Volumes hold what clients stored: nobody else reads them.
const FILE_MODE: u32 = 0o600;

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

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<RealFile> {
        let path = self.root.join(name);
        let flags = OFlags::RDWR | OFlags::CLOEXEC | flags;
        let buffered = File::from(rustix::fs::open(&path, flags, Mode::from_raw_mode(FILE_MODE))?);
        Ok(RealFile { path, buffered, direct: OnceLock::new() })
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
        let file = self.open_file(name, OFlags::CREATE | OFlags::EXCL)?;
        let prepared = if allocate { file.allocate(0, size) } else { Ok(()) }
            .and_then(|()| file.buffered.set_len(size))
            .and_then(|()| file.buffered.sync_all())
            .and_then(|()| self.sync_folder(name));
        if let Err(error) = prepared {
            // Half a volume must not be found at the next start; if removing fails too, the start
            // takes it for an empty one.
            let _ = std::fs::remove_file(&file.path);
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open_volume(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_file(name, OFlags::empty())?))
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
    path: PathBuf,
    buffered: File,
    /// Opened with the first write.
    direct: OnceLock<File>,
}

impl RealFile {
    fn open_direct(&self) -> io::Result<&File> {
        if let Some(direct) = self.direct.get() {
            return Ok(direct);
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&self.path, flags | OFlags::DIRECT, Mode::empty());
        let direct = match opened {
            Err(rustix::io::Errno::INVAL) => File::from(rustix::fs::open(&self.path, flags, Mode::empty())?),
            other => File::from(other?),
        };
        // Where another thread was faster, its descriptor serves as well.
        Ok(self.direct.get_or_init(|| direct))
    }
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
        self.open_direct()?.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.buffered.sync_data()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.buffered, FallocateFlags::KEEP_SIZE, offset, length) {
            // Not every filesystem can; then the writes find out whether there is space.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.buffered, flags, offset, length)?)
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

    fn buffered(&self) -> Option<RawFd> {
        Some(self.buffered.as_raw_fd())
    }

    fn direct(&self) -> Option<RawFd> {
        self.open_direct().ok().map(AsRawFd::as_raw_fd)
    }
}
