//! What a device asks of its disk: a directory of files, some of them volumes. [`real`] is the
//! machine's filesystem, [`simulated`] a disk in memory that records every write and loses power on
//! demand. Everything here blocks; what must not is asked of a [backend](super::backend).

pub(crate) mod real;
#[cfg(test)]
pub(crate) mod simulated;

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the volumes are.
pub(crate) const VOLUMES: &str = "volumes";
/// Where damaged bytes are kept.
pub(crate) const QUARANTINE: &str = "quarantine";

/// The directory of one device. Names are relative to it.
pub(crate) trait Disk: Debug + Send + Sync {
    /// The full name, for messages.
    fn path(&self, name: &str) -> PathBuf;
    /// Names of the files in a folder, sorted; none where the folder is absent.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes a volume of `size` bytes that read as zeros, with its blocks reserved if `allocate`; its
    /// name is durable on return.
    fn create_volume(&self, name: &str, size: u64, allocate: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a volume.
    fn open_volume(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Removes a file, durably. Whoever has it open can still read it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The whole of a small file.
    fn read_file(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Writes a small file, all or nothing, durably.
    fn replace_file(&self, name: &str, contents: &[u8]) -> io::Result<()>;
    /// Bytes that are free, and bytes in all.
    fn space(&self) -> io::Result<(u64, u64)>;
}

/// One volume. Offsets, lengths and buffers of writes are multiples of [`crate::limits::ALIGNMENT`].
pub(crate) trait DiskFile: Debug + Send + Sync {
    /// Reads what the page cache holds, without waiting: [`io::ErrorKind::WouldBlock`] where it holds
    /// less than `buffer`.
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Reads into `buffer`; fewer bytes only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `data`; not durable before [`DiskFile::sync`].
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written before durable.
    fn sync(&self) -> io::Result<()>;
    /// Reserves blocks.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Frees blocks: they read as zeros.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Cuts the file's end off.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Length of the file.
    fn size(&self) -> io::Result<u64>;
    /// Bytes of blocks that it takes on the disk.
    fn allocated(&self) -> io::Result<u64>;
    /// For io_uring: a descriptor that stays open as long as the file; for reads through the page cache,
    /// and for everything but writes.
    fn buffered(&self) -> Option<RawFd>;
    /// For io_uring: a descriptor that stays open as long as the file; for writes past the page cache.
    fn direct(&self) -> Option<RawFd>;
}

/// Reads exactly `length` bytes, or fewer at the end of the file.
pub(crate) fn read_vec(file: &dyn DiskFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let count = file.read_at(&mut buffer, offset)?;
    buffer.truncate(count);
    Ok(buffer)
}
