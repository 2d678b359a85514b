//! Runs one phase: threads of workers, a progress bar, and the probe's readings at both ends of the
//! measurement.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::bench::args::Plan;
use crate::bench::probe::{Probe, Reading};
use crate::bench::recorder::Recorder;
use crate::bench::target::Target;
use crate::bench::worker::{Shared, work};
use crate::bench::workload::{Source, Workload};

/// How often the bar moves and the clock is looked at.
const TICK: Duration = Duration::from_millis(20);

/// Threads need a moment to start; the load begins together.
const START_DELAY: Duration = Duration::from_millis(20);

/// What is due in an open loop and not sent this long after the end is given up and counted.
const OVERTIME: Duration = Duration::from_secs(30);

/// What a phase does.
pub(crate) struct Job {
    pub(crate) source: Source,
    pub(crate) concurrency: usize,
    pub(crate) threads: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) count: Option<u64>,
    pub(crate) window: Window,
    pub(crate) probe: Option<Probe>,
}

/// What of a phase is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    /// Without it until the source is empty.
    pub(crate) duration: Option<Duration>,
}

impl Job {
    /// Every key once, all of it measured, in a closed loop.
    pub(crate) fn sequence(plan: &Plan, source: Source) -> Self {
        Self {
            source,
            concurrency: plan.concurrency,
            threads: plan.threads,
            rate: None,
            count: None,
            window: Window { warm_up: Duration::ZERO, duration: None },
            probe: None,
        }
    }
}

/// How a phase went.
pub(crate) struct Done {
    pub(crate) recorder: Recorder,
    /// Length of the measurement.
    pub(crate) elapsed: Duration,
    /// Requests that were due in an open loop and never sent.
    pub(crate) unsent: u64,
    pub(crate) readings: Option<(Reading, Reading)>,
}

/// Runs a phase to its end.
pub(crate) fn run_job(
    job: Job,
    target: &Arc<Target>,
    workload: &Arc<Workload>,
    bar: &ProgressBar,
) -> std::io::Result<Done> {
    let Job { source, concurrency, threads, rate, count, window, mut probe } = job;
    let start = Instant::now() + START_DELAY;
    let shared = Arc::new(Shared {
        source,
        target: target.clone(),
        workload: workload.clone(),
        start,
        warm_up: window.warm_up,
        duration: window.duration,
        count,
        rate,
        tickets: AtomicU64::new(0),
        done: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let handles = (0..threads)
        .map(|thread| {
            let workers = concurrency / threads + usize::from(thread < concurrency % threads);
            let shared = shared.clone();
            std::thread::Builder::new()
                .name(format!("bench-{thread}"))
                .spawn(move || run_thread(&shared, workers, (thread as u64) << 32))
        })
        .collect::<std::io::Result<Vec<_>>>()?;
    let from = start + window.warm_up;
    watch(&handles, Some(from), &shared, bar, window);
    let before = probe.as_mut().map(Probe::read_first);
    let until = window.duration.map(|duration| from + duration);
    watch(&handles, until, &shared, bar, window);
    let ended = Instant::now();
    let after = probe.as_mut().map(Probe::read);
    if let Some(until) = until {
        watch(&handles, Some(until + OVERTIME), &shared, bar, window);
        shared.stop.store(true, Ordering::Relaxed);
    }
    let mut recorder = Recorder::new();
    for handle in handles {
        recorder.merge(handle.join().map_err(|_| std::io::Error::other("a worker thread panicked"))??);
    }
    bar.finish_and_clear();
    let due = rate.zip(window.duration).map_or(0, |(rate, duration)| (rate * duration.as_secs_f64()) as u64);
    let unsent = due.saturating_sub(recorder.count() + recorder.errors());
    Ok(Done { recorder, elapsed: ended.saturating_duration_since(from), unsent, readings: before.zip(after) })
}

/// One thread's workers; each is a task.
fn run_thread(shared: &Arc<Shared>, workers: usize, seed: u64) -> std::io::Result<Recorder> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorder = Rc::new(RefCell::new(Recorder::new()));
    let tasks = tokio::task::LocalSet::new();
    for worker in 0..workers {
        let (shared, recorder) = (shared.clone(), recorder.clone());
        tasks.spawn_local(async move {
            tokio::time::sleep_until(shared.start.into()).await;
            work(&shared, &recorder, seed + worker as u64).await;
        });
    }
    runtime.block_on(tasks);
    Ok(recorder.replace(Recorder::new()))
}

type Handles = [JoinHandle<std::io::Result<Recorder>>];

/// Moves the bar until the time has come, or all workers have ended.
fn watch(handles: &Handles, until: Option<Instant>, shared: &Shared, bar: &ProgressBar, window: Window) {
    while !handles.iter().all(JoinHandle::is_finished) {
        let now = Instant::now();
        if until.is_some_and(|until| now >= until) {
            return;
        }
        std::thread::sleep(until.map_or(TICK, |until| TICK.min(until - now)));
        let done = shared.done.load(Ordering::Relaxed);
        if window.duration.is_some() {
            bar.set_position(now.saturating_duration_since(shared.start).as_secs());
            bar.set_prefix(format!("{done} done"));
        } else {
            bar.set_position(done);
        }
    }
}
