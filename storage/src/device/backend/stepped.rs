//! Does operations in a simulation's time: each takes a while that chance decides, so that they end in another order
//! than they began. The engine is a task instead of a thread.
//!
//! What is written shows at once and is durable at the end of the sync, so that a loss of power in between tears it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Backend, Completion, Operation, Wake, run};
use crate::device::engine::Engine;
use crate::simulation::chance;

/// What its simulation decides.
#[derive(Debug, Clone)]
pub(crate) struct StepOptions {
    /// Nothing is done any more once this is cancelled.
    pub(crate) power: CancellationToken,
    /// The longest that an operation takes, in milliseconds.
    pub(crate) longest_ms: Arc<AtomicU64>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stepped {
    options: StepOptions,
    bell: Arc<Bell>,
}

/// What wakes the engine's task.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    notify: Notify,
    would_block: AtomicBool,
    done: Mutex<Vec<Completion>>,
}

impl Stepped {
    /// Starts the engine's task; tells the backend's name.
    pub(crate) fn start(options: StepOptions, build: impl FnOnce(Box<dyn Backend>) -> Engine) -> &'static str {
        let (bell, power) = (Arc::new(Bell::default()), options.power.clone());
        let backend = Self { options, bell: Arc::clone(&bell) };
        let name = backend.name();
        let engine = build(Box::new(backend));
        tokio::spawn(async move { power.run_until_cancelled(engine.run_stepped(bell)).await });
        name
    }
}

impl Bell {
    /// Whether the last poll had nothing to give and would have waited.
    pub(crate) fn would_block(&self) -> bool {
        self.would_block.load(Ordering::Relaxed)
    }

    /// Waits for a call, and takes it.
    pub(crate) async fn rung(&self) {
        self.notify.notified().await;
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.notify.notify_one();
    }
}

impl Backend for Stepped {
    fn submit(&mut self, token: u64, mut operation: Operation) {
        let written = match &mut operation {
            Operation::WriteSync { file, offset, buffer, length } => Some(file.write_at(&buffer[..*length], *offset)),
            Operation::Write { .. } => Some(run(&mut operation).map(drop)),
            _ => None,
        };
        let (bell, power) = (Arc::clone(&self.bell), self.options.power.clone());
        let takes = Duration::from_millis(chance::below(self.options.longest_ms.load(Ordering::Relaxed) + 1));
        tokio::spawn(async move {
            if power.run_until_cancelled(tokio::time::sleep(takes)).await.is_none() {
                return;
            }
            let result = match (written, &mut operation) {
                (Some(Err(error)), _) => Err(error),
                (Some(Ok(())), Operation::WriteSync { file, length, .. }) => file.sync().map(|()| *length),
                (Some(Ok(())), Operation::Write { length, .. }) => Ok(*length),
                (_, operation) => run(operation),
            };
            bell.done.lock().unwrap_or_else(PoisonError::into_inner).push(Completion { token, operation, result });
            bell.wake();
        });
    }

    fn poll(&mut self, block: bool, done: &mut Vec<Completion>) -> io::Result<()> {
        done.append(&mut self.bell.done.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.would_block.store(block && done.is_empty(), Ordering::Relaxed);
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.bell) as Arc<dyn Wake>
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}
