//! Keeps a daemon's stream of bytes below a rate.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use crate::node::DataStream;

/// Bytes per second, shared by whoever has it.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: u64,
    /// When everything that was let through may have been sent.
    free_at: Mutex<Option<Instant>>,
}

impl Throttle {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free_at: Mutex::default() }
    }

    /// Waits for what was let through before, then lets `bytes` through.
    pub(super) async fn pass(&self, bytes: usize) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let begins = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let begins = free_at.unwrap_or_else(Instant::now).max(Instant::now());
            *free_at = Some(begins + takes);
            begins
        };
        tokio::time::sleep_until(begins).await;
    }

    /// `stream` at this rate.
    pub(super) fn slow(self: &std::sync::Arc<Self>, stream: DataStream) -> DataStream {
        let throttle = self.clone();
        Box::pin(stream.then(move |piece| {
            let throttle = throttle.clone();
            async move {
                throttle.pass(piece.as_ref().map_or(0, bytes::Bytes::len)).await;
                piece
            }
        }))
    }
}
