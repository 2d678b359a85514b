//! Clients come first: work in the background waits for a moment in which none of their requests is at the device, and
//! goes on after a while all the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::limits::BACKGROUND_BYTES_PER_SECOND_MIN;

/// Requests of clients that are at a device.
#[derive(Debug, Default)]
pub(crate) struct Precedence {
    in_flight: AtomicUsize,
    calm: Notify,
}

/// A client's request, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Precedence);

impl Precedence {
    /// A client's request begins.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
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
    use tokio::time::Instant;

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
}
