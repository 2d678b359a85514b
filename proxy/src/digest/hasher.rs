//! The hashing thread: uploads hand it jobs, and it hashes them side by side.
//!
//! One thread serves the process. It starts with the first large upload, sleeps while there is nothing to
//! do, owns nothing but the jobs that it was given, and ends with the process. Sixteen lanes on one core
//! take some 6 GB/s; what comes on top is hashed by the uploads themselves, each on its own core.
//!
//! It waits a little before it starts, since full lanes cost little more than a single one: until as many jobs
//! are there as there were last time, or the oldest of them has waited for [`LINGER`]. How many it waits
//! for follows what happens: more when others came in the meantime, fewer when the wait was in vain.
//!
//! The queue's lock is held for a push or a pop, never while hashing or across an `.await`.

use std::{
    collections::VecDeque,
    sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    crowd::Crowd,
    kernel::{LANES, State},
    lanes::{Job, Lanes},
    limits::{CROWD_UPLOADS, LINGER, WAITING_JOBS},
    work::Work,
};

/// The way to the hashing thread.
#[derive(Debug)]
pub(super) struct Hasher {
    queue: Mutex<Queue>,
    arrived: Condvar,
    crowd: Crowd,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// The length of `jobs` at which the thread wants to be woken.
    wake_at: usize,
}

/// The process's hasher. None where the system gave no thread: then every upload hashes for itself.
static HASHER: LazyLock<Option<&'static Hasher>> = LazyLock::new(|| {
    let hasher: &'static Hasher = Box::leak(Box::new(Hasher::new()));
    let thread = thread::Builder::new().name("md5".to_owned());
    match thread.spawn(move || hasher.serve()) {
        Ok(_) => Some(hasher),
        Err(error) => {
            tracing::warn!(%error, "no thread for hashing uploads together; each hashes for itself");
            None
        }
    }
});

impl Hasher {
    /// The process's hasher, started when it is first asked for.
    pub(super) fn shared() -> Option<&'static Self> {
        *HASHER
    }

    fn new() -> Self {
        Self { queue: Mutex::default(), arrived: Condvar::new(), crowd: Crowd::new() }
    }

    /// The large uploads that are about.
    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// Whether there are enough of them for jobs to find company.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowd.size() >= CROWD_UPLOADS
    }

    /// Hands over `work`, to be hashed after `state`. The answer comes through the receiver, which may be
    /// dropped. Work that finds the queue full is hashed here and now.
    pub(super) fn submit(&self, state: State, work: Work) -> oneshot::Receiver<State> {
        let (answer, receiver) = oneshot::channel();
        let job = Job { state, work, answer, since: Instant::now() };
        let mut queue = self.lock();
        if queue.jobs.len() >= WAITING_JOBS {
            drop(queue);
            job.run_here();
            return receiver;
        }
        queue.jobs.push_back(job);
        let wake = queue.jobs.len() >= queue.wake_at;
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole between any two statements: a panic elsewhere leaves nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's life.
    fn serve(&self) -> ! {
        let mut lanes = Lanes::new();
        let mut wanted = 1;
        loop {
            wanted = self.fill(&mut lanes, wanted);
            lanes.step();
        }
    }

    /// Fills lanes from the queue and waits until it is worth going on. Takes how many jobs are wanted for
    /// that, and returns how many to want next time.
    fn fill(&self, lanes: &mut Lanes, mut wanted: usize) -> usize {
        let mut queue = self.lock();
        let mut waited = false;
        wanted = wanted.max((lanes.busy() + queue.jobs.len()).min(LANES));
        loop {
            while lanes.busy() < LANES
                && let Some(job) = queue.jobs.pop_front()
            {
                if !job.answer.is_closed() {
                    lanes.take(job);
                }
            }
            let Some(oldest) = lanes.oldest() else {
                queue.wake_at = 1;
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let missing = wanted.min(self.crowd.size()).saturating_sub(lanes.busy());
            let patience = LINGER.saturating_sub(oldest.elapsed());
            if missing == 0 {
                return wanted;
            }
            if patience.is_zero() {
                return if waited { lanes.busy() } else { wanted };
            }
            waited = true;
            queue.wake_at = missing;
            queue = self.arrived.wait_timeout(queue, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
