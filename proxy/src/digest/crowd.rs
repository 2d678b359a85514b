//! How many large uploads are about: those that are open, or those that began a moment ago. The second
//! number matters for bodies that arrive in one piece: each of them is open for the blink in which it is
//! hashed, and never sees another, however many come.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use super::limits::LINGER;

/// Counts large uploads. Nothing but the choice of how to hash hangs on it, so relaxed order will do.
#[derive(Debug)]
pub(super) struct Crowd {
    open: AtomicUsize,
    /// Beginnings in the slot of [`LINGER`] with the number in the upper half: low 16 bits those of the slot,
    /// next 16 those of the slot before.
    began: AtomicU64,
    epoch: Instant,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self { open: AtomicUsize::new(0), began: AtomicU64::new(0), epoch: Instant::now() }
    }

    /// Counts one more, until [`Crowd::leave`].
    pub(super) fn enter(&self) {
        self.open.fetch_add(1, Relaxed);
        let slot = self.slot();
        // The closure always returns a value, so this cannot fail.
        let _ = self.began.fetch_update(Relaxed, Relaxed, |began| {
            let (now, before) = counts(began, slot);
            Some(u64::from(slot) << 32 | u64::from(before) << 16 | u64::from(now.saturating_add(1)))
        });
    }

    /// Takes back one [`Crowd::enter`].
    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Large uploads that may be expected to have something to hash.
    pub(super) fn size(&self) -> usize {
        let (now, before) = counts(self.began.load(Relaxed), self.slot());
        self.open.load(Relaxed).max(usize::from(now) + usize::from(before))
    }

    fn slot(&self) -> u32 {
        // Wraps after 99 days; a wrong count for one slot costs a few microseconds.
        (self.epoch.elapsed().as_millis() / LINGER.as_millis()) as u32
    }
}

/// Beginnings in `slot` and in the one before.
fn counts(began: u64, slot: u32) -> (u16, u16) {
    let (now, before) = (began as u16, (began >> 16) as u16);
    match slot.wrapping_sub((began >> 32) as u32) {
        0 => (now, before),
        1 => (0, now),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_forgotten_after_two_slots() {
        let began = 7 << 32 | 4 << 16 | 9;
        for (slot, expected) in [(7, (9, 4)), (8, (0, 9)), (9, (0, 0)), (6, (0, 0))] {
            assert_eq!(counts(began, slot), expected, "slot {slot}");
        }
    }

    #[test]
    fn open_uploads_count_until_they_leave() {
        let crowd = Crowd::new();
        for _ in 0..5 {
            crowd.enter();
        }
        assert_eq!(crowd.size(), 5);
        std::thread::sleep(LINGER * 3);
        crowd.leave();
        assert_eq!(crowd.size(), 4);
    }
}
