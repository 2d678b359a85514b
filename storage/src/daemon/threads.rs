//! Threads for what clients don't wait for. The kernel runs them when no other has anything to do, and takes the
//! processor away from them at once when a request comes: a rebuild takes all the time that is left over, and none else.
//!
//! Where nothing is left over for a while, the same work goes on on other threads, which get a small share beside those
//! that serve clients: what was lost is made anew however busy a host is.

#![expect(unsafe_code, reason = "no safe interface to the scheduler's policies exists")]

use std::cell::Cell;
use std::io;
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Nice value of the threads that have a share: about a tenth of one that serves clients.
const NICE: i32 = 10;

/// How often it is looked whether the other threads get on …
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// … and how late they may begin something. No request takes the processors for as long.
const STARVED_AFTER: Duration = Duration::from_millis(250);

thread_local! {
    static POOL: Cell<Pool> = const { Cell::new(Pool::Serving) };
}

/// What a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    /// Requests, and whatever is not told otherwise.
    Serving,
    /// What no client waits for, in time that is left over.
    Idle,
    /// The same with a share of its own.
    Sharing,
}

impl Pool {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;

    /// That of the calling thread.
    pub(crate) fn here() -> Self {
        POOL.get()
    }
}

/// Both kinds of threads, until it is dropped; to be dropped outside of any runtime.
#[derive(Debug)]
pub struct Threads {
    idle: Runtime,
    sharing: Runtime,
    behind: Behind,
}

/// Where to have something done that no client waits for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Behind {
    idle: Handle,
    sharing: Handle,
    is_starved: watch::Receiver<bool>,
}

impl Threads {
    /// Starts them.
    pub fn start() -> io::Result<Self> {
        let (idle, sharing) = (runtime(Pool::Idle)?, runtime(Pool::Sharing)?);
        let (starved, is_starved) = watch::channel(false);
        let behind = Behind { idle: idle.handle().clone(), sharing: sharing.handle().clone(), is_starved };
        sharing.spawn(watch_over(behind.idle.clone(), starved));
        Ok(Self { idle, sharing, behind })
    }

    /// See [`Behind`].
    pub fn behind(&self) -> Behind {
        self.behind.clone()
    }

    /// Ends them, whatever they are at.
    pub fn end(self) {
        self.idle.shutdown_background();
        self.sharing.shutdown_background();
    }
}

impl Behind {
    /// Runs a task, now on the one kind of threads and now on the other. `None` where it panics, or they end.
    /// Dropped, the task is dropped, too.
    pub(crate) async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let mut task: BoxFuture<'static, T> = Box::pin(task);
        let mut is_starved = self.is_starved.clone();
        loop {
            let threads = if *is_starved.borrow_and_update() { &self.sharing } else { &self.idle };
            let mut changes = is_starved.clone();
            let turn = threads.spawn(async move {
                let changed = std::pin::pin!(async {
                    if changes.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                });
                match select(task, changed).await {
                    Either::Left((done, _)) => Ok(done),
                    Either::Right(((), rest)) => Err(rest),
                }
            });
            match AbortOnDropHandle::new(turn).await.ok()? {
                Ok(done) => return Some(done),
                Err(rest) => task = rest,
            }
        }
    }
}

fn runtime(pool: Pool) -> io::Result<Runtime> {
    let begin = move || {
        POOL.set(pool);
        let lowered = if pool == Pool::Idle { leave_processor_to_others() } else { share_processor() };
        if let Err(error) = lowered {
            tracing::warn!(%error, ?pool, "daemons run at the priority of requests");
        }
    };
    let name = if pool == Pool::Idle { "idle" } else { "sharing" };
    Builder::new_multi_thread().enable_all().thread_name(name).on_thread_start(begin).build()
}

/// Of the calling thread. A process without privileges can't take it back.
fn leave_processor_to_others() -> io::Result<()> {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the parameters while it is called.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Of the calling thread: Linux takes this for it alone.
fn share_processor() -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, NICE)?)
}

/// Tells whether `idle` has had to wait for the processor for too long.
async fn watch_over(idle: Handle, starved: watch::Sender<bool>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let is_starved = tokio::time::timeout(STARVED_AFTER, idle.spawn(async {})).await.is_err();
        if starved.send_replace(is_starved) != is_starved {
            tracing::debug!(is_starved, "daemons change threads");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Threads of a pool at the priority of all others: a machine that runs tests is never idle.
    fn plain(pool: Pool) -> Runtime {
        let mut workers = Builder::new_multi_thread();
        workers.worker_threads(1).enable_all().on_thread_start(move || POOL.set(pool));
        workers.build().expect("starts")
    }

    /// Without this nothing is made anew on a host whose processors are never idle.
    #[test]
    fn work_goes_on_where_there_is_time_for_it() {
        let (idle, sharing) = (plain(Pool::Idle), plain(Pool::Sharing));
        let (starved, is_starved) = watch::channel(false);
        let behind = Behind { idle: idle.handle().clone(), sharing: sharing.handle().clone(), is_starved };
        let (seen, mut pools) = tokio::sync::mpsc::unbounded_channel();
        let task = async move {
            let mut last = Pool::Serving;
            while seen.send(Pool::here()).is_ok() {
                last = Pool::here();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            last
        };
        let done = sharing.spawn(async move { behind.run(task).await });
        for (is_starved, pool) in [(false, Pool::Idle), (true, Pool::Sharing), (false, Pool::Idle)] {
            starved.send_replace(is_starved);
            while pools.blocking_recv().expect("it goes on") != pool {}
        }
        drop(pools);
        assert_eq!(sharing.block_on(done).expect("ends"), Some(Pool::Idle));
        idle.shutdown_background();
        sharing.shutdown_background();
    }

    #[test]
    fn idle_threads_that_do_not_get_on_are_noticed() {
        let (idle, sharing) = (plain(Pool::Idle), plain(Pool::Sharing));
        let (starved, mut is_starved) = watch::channel(false);
        sharing.spawn(watch_over(idle.handle().clone(), starved));
        let is_free = Arc::new(AtomicBool::new(false));
        let waits = Arc::clone(&is_free);
        idle.spawn(async move {
            while !waits.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        sharing.block_on(is_starved.wait_for(|is_starved| *is_starved)).expect("is watched");
        is_free.store(true, Ordering::Relaxed);
        sharing.block_on(is_starved.wait_for(|is_starved| !*is_starved)).expect("is watched");
        idle.shutdown_background();
        sharing.shutdown_background();
    }
}
