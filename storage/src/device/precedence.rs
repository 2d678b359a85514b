//! Clients come first: work in the background waits for a moment in which none of their requests is at the device, and
//! goes on after a while all the same.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::{BACKGROUND_BYTES_PER_SECOND_MIN, CLIENTS_LINGER};

/// Requests of clients that are at a device.
#[derive(Debug)]
pub(crate) struct Precedence {
    in_flight: AtomicUsize,
    calm: Notify,
    since: Instant,
    /// When the last one began, in milliseconds since then and one, or zero.
    last_ms: AtomicU64,
}

/// A client's request, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Precedence);

impl Default for Precedence {
    fn default() -> Self {
        let (in_flight, calm, last_ms) = (AtomicUsize::new(0), Notify::new(), AtomicU64::new(0));
        Self { in_flight, calm, since: Instant::now(), last_ms }
    }
}

impl Precedence {
    /// A client's request begins.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// Whether clients were about of late.
    pub(crate) fn has_clients(&self) -> bool {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        let is_late = self.now_ms().saturating_sub(last_ms) <= CLIENTS_LINGER.as_millis() as u64;
        self.in_flight.load(Ordering::Relaxed) > 0 || (last_ms > 0 && is_late)
    }

    fn now_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64 + 1
    }

    /// Waits for a moment without clients, no longer than `bytes` take at the least rate that background work has.
    pub(crate) async fn after_clients(&self, bytes: usize) {
        let is_calm = || self.in_flight.load(Ordering::Relaxed) == 0;
        if is_calm() {
            return;
        }
        let longest = Duration::from_secs_f64(bytes as f64 / BACKGROUND_BYTES_PER_SECOND_MIN as f64);
        let calm = async {
            loop {
                let notified = self.calm.notified();
                if is_calm() {
                    return;
                }
                notified.await;
            }
        };
        let _ = tokio::time::timeout(longest, calm).await;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.calm.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::poll;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn background_work_waits_for_clients_and_not_for_ever() {
        let precedence = Arc::new(Precedence::default());
        let second = BACKGROUND_BYTES_PER_SECOND_MIN as usize;
        let begun = Instant::now();
        precedence.after_clients(second).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);

        let (one, other) = (precedence.enter(), precedence.enter());
        let mut waits = Box::pin(precedence.after_clients(second));
        assert!(poll!(&mut waits).is_pending());
        drop(one);
        assert!(poll!(&mut waits).is_pending());
        drop(other);
        waits.await;
        assert_eq!(begun.elapsed(), Duration::ZERO);

        let _client = precedence.enter();
        precedence.after_clients(second).await;
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_about_for_a_while_after_their_last_request() {
        let precedence = Precedence::default();
        assert!(!precedence.has_clients());
        let client = precedence.enter();
        tokio::time::advance(2 * CLIENTS_LINGER).await;
        assert!(precedence.has_clients());
        drop(client);
        assert!(!precedence.has_clients());
        drop(precedence.enter());
        assert!(precedence.has_clients());
        tokio::time::advance(2 * CLIENTS_LINGER).await;
        assert!(!precedence.has_clients());
    }
}
