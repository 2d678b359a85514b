//! How a device's thread does I/O without waiting for it: it submits operations and collects their
//! completions. [`uring`] asks the kernel, [`threads`] a few threads where io_uring is refused, and
//! `inline` does everything at once and `stepped` in its own time, for the simulated disk.

#[cfg(test)]
pub(crate) mod inline;
#[cfg(test)]
pub(crate) mod stepped;
pub(crate) mod threads;
pub(crate) mod uring;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use super::buffer::AlignedBuffer;
use super::disk::DiskFile;

/// Memory that a read fills: a pooled window, or a small vector.
#[derive(Debug)]
pub(crate) enum ReadBuffer {
    /// A window of the pool, of which the first bytes are filled.
    Window(AlignedBuffer, usize),
    /// Exactly as long as the read.
    Small(Vec<u8>),
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Window(buffer, length) => &buffer[..*length],
            Self::Small(bytes) => bytes,
        }
    }
}

impl AsMut<[u8]> for ReadBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Window(buffer, length) => &mut buffer[..*length],
            Self::Small(bytes) => bytes,
        }
    }
}

impl From<ReadBuffer> for bytes::Bytes {
    fn from(buffer: ReadBuffer) -> Self {
        match buffer {
            ReadBuffer::Small(bytes) => bytes.into(),
            window @ ReadBuffer::Window(..) => Self::from_owner(window),
        }
    }
}

/// One thing to do with a volume. Buffers come back with the completion.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Fill the buffer from `offset`; the result is the count of bytes.
    Read { file: Arc<dyn DiskFile>, offset: u64, buffer: ReadBuffer },
    /// Write the first `length` bytes of the buffer.
    Write { file: Arc<dyn DiskFile>, offset: u64, buffer: AlignedBuffer, length: usize },
    /// Write, and once that is done, make it durable.
    WriteSync { file: Arc<dyn DiskFile>, offset: u64, buffer: AlignedBuffer, length: usize },
    /// Make everything written to the file before durable.
    Sync { file: Arc<dyn DiskFile> },
    /// Reserve blocks.
    Allocate { file: Arc<dyn DiskFile>, offset: u64, length: u64 },
    /// Free blocks.
    Punch { file: Arc<dyn DiskFile>, offset: u64, length: u64 },
}

/// How an operation ended. Where the result is `Ok`, all of it was done; a read may have met the end
/// of the file and tells how many bytes it got.
#[derive(Debug)]
pub(crate) struct Completion {
    /// What the submitter called it.
    pub(crate) token: u64,
    /// The operation, with its buffer.
    pub(crate) operation: Operation,
    /// How it ended.
    pub(crate) result: io::Result<usize>,
}

/// Does operations in any order. Used by one thread.
pub(crate) trait Backend: Debug + Send {
    /// Hands an operation over; it may wait until [`Backend::poll`].
    fn submit(&mut self, token: u64, operation: Operation);
    /// Starts what was submitted and collects what is done. With `block`, waits until something is
    /// done or somebody calls the waker.
    fn poll(&mut self, block: bool, done: &mut Vec<Completion>) -> io::Result<()>;
    /// Interrupts a [`Backend::poll`] that waits, or the next one that would.
    fn waker(&self) -> Arc<dyn Wake>;
    /// For `status`.
    fn name(&self) -> &'static str;
}

/// See [`Backend::waker`].
pub(crate) trait Wake: Debug + Send + Sync {
    /// Wakes the thread.
    fn wake(&self);
}

/// Does an operation on this thread.
pub(crate) fn run(operation: &mut Operation) -> io::Result<usize> {
    match operation {
        Operation::Read { file, offset, buffer } => file.read_at(buffer.as_mut(), *offset),
        Operation::Write { file, offset, buffer, length } => {
            file.write_at(&buffer[..*length], *offset).map(|()| *length)
        }
        Operation::WriteSync { file, offset, buffer, length } => {
            file.write_at(&buffer[..*length], *offset)?;
            file.sync().map(|()| *length)
        }
        Operation::Sync { file } => file.sync().map(|()| 0),
        Operation::Allocate { file, offset, length } => file.allocate(*offset, *length).map(|()| 0),
        Operation::Punch { file, offset, length } => file.punch(*offset, *length).map(|()| 0),
    }
}
