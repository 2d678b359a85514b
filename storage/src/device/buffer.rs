//! Memory at addresses that O_DIRECT accepts, and a pool that keeps it for the next use.

#![expect(unsafe_code, reason = "the standard library has no buffer with a chosen alignment")]

use std::ffi::c_void;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::mm::{MapFlags, ProtFlags};

use crate::limits::ALIGNMENT;

/// A buffer of a fixed size at a multiple of [`ALIGNMENT`]. It is zeroed when it is made, and takes
/// memory only as it is used: it is a mapping of its own.
pub(crate) struct AlignedBuffer {
    start: NonNull<u8>,
    size: usize,
    home: Option<Arc<BufferPool>>,
}

// SAFETY: the memory is owned by this value alone, like that of a `Box<[u8]>`.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared references only read it.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// A buffer of `size` bytes, which is not zero.
    pub(crate) fn new(size: usize) -> Self {
        assert!(size > 0, "an aligned buffer holds something");
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: without an address asked for, the kernel maps new memory that nobody else knows.
        let mapped = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), size, protection, flags) };
        let start = mapped.ok().and_then(|start| NonNull::new(start.cast::<u8>()));
        let start = start.unwrap_or_else(|| std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 4096]>()));
        assert!((start.as_ptr() as usize).is_multiple_of(ALIGNMENT as usize), "pages are as large as blocks at least");
        Self { start, size, home: None }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `size` bytes, which the kernel has zeroed and which stay mapped as long
        // as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` proves that nobody else refers to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take()
            && home.keep(self)
        {
            return;
        }
        // SAFETY: this is the whole mapping that `new` made, and it ends once: where the pool kept it, this
        // line is not reached.
        if let Err(error) = unsafe { rustix::mm::munmap(self.start.as_ptr().cast::<c_void>(), self.size) } {
            tracing::warn!(%error, "a buffer was not unmapped");
        }
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Keeps up to a number of buffers of one size, whose pages are mapped already. Their contents are
/// what the last user left.
#[derive(Debug)]
pub(crate) struct BufferPool {
    size: usize,
    idle_max: usize,
    idle: Mutex<Vec<AlignedBuffer>>,
}

impl BufferPool {
    pub(crate) fn new(size: usize, idle_max: usize) -> Arc<Self> {
        Arc::new(Self { size, idle_max, idle: Mutex::new(Vec::new()) })
    }

    /// A buffer; it comes back here when it is dropped.
    pub(crate) fn take(self: &Arc<Self>) -> AlignedBuffer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = idle.unwrap_or_else(|| AlignedBuffer::new(self.size));
        buffer.home = Some(Arc::clone(self));
        buffer
    }

    /// Takes over the memory of a buffer that is being dropped, if there is room.
    fn keep(&self, dropped: &AlignedBuffer) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= self.idle_max {
            return false;
        }
        idle.push(AlignedBuffer { start: dropped.start, size: dropped.size, home: None });
        true
    }
}
