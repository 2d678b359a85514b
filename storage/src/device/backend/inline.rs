//! Does each operation on the spot, in the order of submission: for the simulated disk, where a run
//! must be repeatable.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::{Backend, Completion, Operation, Wake, run};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Inline {
    done: Vec<Completion>,
    bell: Arc<Bell>,
}

/// A wake-up call that is not lost when nobody waits yet.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Waits for a call, and takes it.
    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            rung = self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
    }
}

impl Wake for Bell {
    fn wake(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

impl Backend for Inline {
    fn submit(&mut self, token: u64, mut operation: Operation) {
        let result = run(&mut operation);
        self.done.push(Completion { token, operation, result });
    }

    fn poll(&mut self, block: bool, done: &mut Vec<Completion>) -> io::Result<()> {
        if block && self.done.is_empty() {
            self.bell.wait();
        }
        done.append(&mut self.done);
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.bell) as Arc<dyn Wake>
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}
