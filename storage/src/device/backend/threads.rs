//! Does operations on a few threads with pread and pwrite, where the kernel refuses io_uring.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{Backend, Completion, Operation, Wake, run};

/// Threads of one device: one batch, one sync of data and some reads go on at a time.
const THREADS: usize = 4;

/// See the module. Its threads end with it.
#[derive(Debug)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(u64, Operation)>,
    done: Vec<Completion>,
    woken: bool,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some((token, mut operation)) = state.waiting.pop_front() {
                drop(state);
                let result = run(&mut operation);
                state = self.lock();
                state.done.push(Completion { token, operation, result });
                self.news.notify_one();
            } else if state.ended {
                return;
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Wake for Shared {
    fn wake(&self) {
        self.lock().woken = true;
        self.news.notify_one();
    }
}

impl Threads {
    pub(crate) fn new() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let threads = (0..THREADS)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name("device-io".to_owned()).spawn(move || shared.work())
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { shared, threads })
    }
}

impl Backend for Threads {
    fn submit(&mut self, token: u64, operation: Operation) {
        self.shared.lock().waiting.push_back((token, operation));
        self.shared.work.notify_one();
    }

    fn poll(&mut self, block: bool, done: &mut Vec<Completion>) -> io::Result<()> {
        let mut state = self.shared.lock();
        while block && state.done.is_empty() && !state.woken {
            state = self.shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.woken = false;
        done.append(&mut state.done);
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.shared) as Arc<dyn Wake>
    }

    fn name(&self) -> &'static str {
        "threads"
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of an I/O thread has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}
