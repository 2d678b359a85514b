//! The jobs that are being hashed now, each in a lane of the kernel. Lanes advance in lock step by as many
//! blocks as all of them have lying together; a lane whose job is done is free at once.

use std::time::Instant;

use fearless_simd::Level;
use tokio::sync::oneshot;

use super::{
    kernel::{self, Block, LANES, State, md5},
    limits::{QUANTUM_BLOCKS, STRIDE_BLOCKS},
    work::Work,
};

/// A part of one upload, to be hashed in order after the parts before it.
#[derive(Debug)]
pub(super) struct Job {
    /// The state after everything before this job.
    pub(super) state: State,
    /// At least one block.
    pub(super) work: Work,
    /// Gets the state after this job. Closed when the upload has been given up; then nobody minds.
    pub(super) answer: oneshot::Sender<State>,
    /// When it was handed over.
    pub(super) since: Instant,
}

impl Job {
    /// Hashes all of it on the spot, and answers.
    pub(super) fn run_here(mut self) {
        hash(&mut self.state, &mut self.work);
        self.answer();
    }

    fn answer(self) {
        // When nobody listens any more, the upload was given up, and its state goes with it.
        let _ = self.answer.send(self.state);
    }
}

/// Takes all of `work` into `state`, without company.
pub(super) fn hash(state: &mut State, work: &mut Work) {
    while work.blocks() > 0 {
        work.prepare();
        let count = work.run().len();
        state.take(work.run());
        work.advance(count);
    }
}

/// Up to [`LANES`] jobs in lock step.
#[derive(Debug)]
pub(super) struct Lanes {
    level: Level,
    jobs: Vec<Job>,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { level: Level::new(), jobs: Vec::with_capacity(LANES) }
    }

    /// Jobs in the lanes.
    pub(super) fn busy(&self) -> usize {
        self.jobs.len()
    }

    /// When the job was handed over that has been here longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.jobs.iter().map(|job| job.since).min()
    }

    /// Gives `job` a lane. There must be a free one.
    pub(super) fn take(&mut self, job: Job) {
        assert!(self.jobs.len() < LANES, "{} jobs for {LANES} lanes", self.jobs.len() + 1);
        self.jobs.push(job);
    }

    /// Hashes until a job is done, and answers it; or, while lanes are free, for a short quantum, so that
    /// newcomers need not wait for the end of a job.
    pub(super) fn step(&mut self) {
        let mut quantum = if self.jobs.len() < LANES { QUANTUM_BLOCKS } else { usize::MAX };
        while !self.jobs.is_empty() && quantum > 0 {
            let count = self.advance(quantum);
            quantum -= count;
            if self.jobs.iter().any(|job| job.work.blocks() == 0) {
                self.jobs.extract_if(.., |job| job.work.blocks() == 0).for_each(Job::answer);
                return;
            }
        }
    }

    /// Advances every lane by the same number of blocks, at most `limit`, and returns that number.
    fn advance(&mut self, limit: usize) -> usize {
        for job in &mut self.jobs {
            job.work.prepare();
        }
        let together = self.jobs.iter().map(|job| job.work.run().len()).min().unwrap_or(0);
        let count = together.min(limit).min(STRIDE_BLOCKS);
        match self.jobs.len() {
            1 => {
                let Job { state, work, .. } = &mut self.jobs[0];
                state.take(&work.run()[..count]);
            }
            2..=4 => self.lock_step(md5::four, count),
            5..=8 => self.lock_step(md5::eight, count),
            _ => self.lock_step(md5::sixteen, count),
        }
        for job in &mut self.jobs {
            job.work.advance(count);
        }
        count
    }

    /// Runs a kernel of `L` lanes, of which the first ones are the jobs'; the others repeat the last job.
    /// SHA-256, where it is wanted, follows while the bytes are near.
    fn lock_step<const L: usize>(&mut self, kernel: md5::Kernel<L>, count: usize) {
        let last = self.jobs.len() - 1;
        let mut states: [md5::State; L] = std::array::from_fn(|lane| self.jobs[lane.min(last)].state.md5);
        let blocks: [&[Block]; L] = std::array::from_fn(|lane| self.jobs[lane.min(last)].work.run());
        kernel(self.level, &mut states, &blocks, count);
        for (job, state) in self.jobs.iter_mut().zip(states) {
            job.state.md5 = state;
        }
        kernel::sha256_of_each(self.jobs.iter_mut().map(|job| (&mut job.state, &job.work.run()[..count])));
    }
}
