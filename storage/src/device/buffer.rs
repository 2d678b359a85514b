//! Memory at addresses that O_DIRECT accepts, and a pool that keeps it for the next use.

#![expect(unsafe_code, reason = "the standard library has no buffer with a chosen alignment")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::ALIGNMENT;

/// A buffer of a fixed size at a multiple of [`ALIGNMENT`]. It is zeroed when it is made.
pub(crate) struct AlignedBuffer {
    start: NonNull<u8>,
    layout: Layout,
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
        let layout = Layout::from_size_align(size, ALIGNMENT as usize).expect("ALIGNMENT is a power of two");
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(memory) else { handle_alloc_error(layout) };
        Self { start, layout, home: None }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `layout.size()` bytes, all initialized by `alloc_zeroed`, which
        // live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` proves that nobody else refers to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
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
        // SAFETY: `start` came from `alloc_zeroed` with this very layout, and is freed once: where the
        // pool kept it, this line is not reached.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("size", &self.layout.size()).finish_non_exhaustive()
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
        idle.push(AlignedBuffer { start: dropped.start, layout: dropped.layout, home: None });
        true
    }
}
