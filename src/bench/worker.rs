//! One worker: takes the next request, waits until it is due (open loop), sends it, judges and records
//! the answer.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bench::client::ClientError;
use crate::bench::payload::mix;
use crate::bench::recorder::Recorder;
use crate::bench::target::{Session, Target, Verdict};
use crate::bench::workload::{Operation, Source, Workload};

/// After a connection failed: long enough not to spin against a server that is gone.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// What all workers of a phase share.
pub(crate) struct Shared {
    pub(crate) source: Source,
    pub(crate) target: Arc<Target>,
    pub(crate) workload: Arc<Workload>,
    /// When the load begins; the measurement begins `warm_up` later.
    pub(crate) start: Instant,
    pub(crate) warm_up: Duration,
    /// Length of the measurement; otherwise until the source is empty or `count` requests are done.
    pub(crate) duration: Option<Duration>,
    pub(crate) count: Option<u64>,
    /// Open loop: requests per second.
    pub(crate) rate: Option<f64>,
    pub(crate) tickets: AtomicU64,
    pub(crate) done: AtomicU64,
    pub(crate) stop: AtomicBool,
}

/// Runs until the phase is over.
pub(crate) async fn work(shared: &Shared, recorder: &RefCell<Recorder>, seed: u64) {
    let mut session = shared.target.session();
    let mut key = String::with_capacity(64);
    let measured_from = shared.start + shared.warm_up;
    let measured_until = shared.duration.map(|duration| measured_from + duration);
    let mut random = mix(seed);
    while !shared.stop.load(Ordering::Relaxed) {
        let ticket = shared.tickets.fetch_add(1, Ordering::Relaxed);
        if shared.count.is_some_and(|count| ticket >= count) {
            return;
        }
        let due = shared.rate.map(|rate| shared.start + Duration::from_secs_f64(ticket as f64 / rate));
        let began = match due {
            Some(due) => wait_until(due, recorder).await,
            None => Instant::now(),
        };
        if measured_until.is_some_and(|until| began >= until) {
            return;
        }
        random = mix(random ^ ticket);
        let Some((operation, number)) = shared.source.next(random) else { return };
        key.clear();
        shared.workload.key(number, &mut key);
        let outcome = perform(shared, &mut session, operation, number, &key).await;
        let ended = Instant::now();
        shared.done.fetch_add(1, Ordering::Relaxed);
        // A closed loop counts what ends in the time, an open loop what was due in it.
        let moment = if due.is_some() { began } else { ended };
        let inside = moment >= measured_from && measured_until.is_none_or(|until| moment <= until);
        if let Err(error @ ClientError::Io(_)) = &outcome {
            tracing::debug!(%error, "request failed");
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
        if inside {
            let latency = |spent: Option<Duration>| spent.unwrap_or(ended - began);
            let mut recorder = recorder.borrow_mut();
            match outcome {
                Ok((Verdict::Good { amount }, spent)) => {
                    recorder.good(operation, moment - measured_from, latency(spent), amount);
                }
                Ok((Verdict::Missing, spent)) if is_forgiven(shared, operation, number) => {
                    recorder.good(operation, moment - measured_from, latency(spent), 0);
                }
                Ok((Verdict::Missing, _)) => recorder.wrong(operation, "404 for what must be there"),
                Ok((Verdict::Failed(text), _)) => recorder.failed(operation, &text),
                Ok((Verdict::Wrong(text), _)) => recorder.wrong(operation, &text),
                Err(error) => recorder.failed(operation, &error.to_string()),
            }
        }
    }
}

/// Waits until a request is due; gives the time from which its latency counts. One that is overdue counts
/// from when it was due. One that was waited for counts from when it is sent: the delay of the timer is
/// the generator's, and is recorded apart.
async fn wait_until(due: Instant, recorder: &RefCell<Recorder>) -> Instant {
    if due <= Instant::now() {
        return due;
    }
    tokio::time::sleep_until(due.into()).await;
    let now = Instant::now();
    recorder.borrow_mut().late(now - due);
    now
}

fn is_forgiven(shared: &Shared, operation: Operation, number: u64) -> bool {
    shared.source.forgives_missing()
        || matches!(operation, Operation::Get | Operation::Head) && shared.workload.may_be_gone(number)
}

/// Sends one request. A listing brings its own time.
async fn perform(
    shared: &Shared,
    session: &mut Session,
    operation: Operation,
    number: u64,
    key: &str,
) -> Result<(Verdict, Option<Duration>), ClientError> {
    let Shared { target, workload, .. } = shared;
    let payload = workload.payloads.of(number);
    let verify = workload.verify;
    let verdict = match operation {
        Operation::Put => session.put(target, key, payload).await?,
        Operation::Get => session.get(target, key, verify.then_some(payload.bytes)).await?,
        Operation::Head => session.head(target, key, verify.then_some(payload.bytes.len() as u64)).await?,
        Operation::Delete => session.delete(target, key).await?,
        Operation::List => {
            let prefix = workload.list_prefix(number);
            let certain = if verify { workload.list_certain() } else { 0 };
            let delimiter = workload.list_delimiter.as_deref();
            let (verdict, spent) = session.list(target, &prefix, delimiter, workload.list_keys, certain).await?;
            return Ok((verdict, Some(spent)));
        }
    };
    Ok((verdict, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a server that stalls hides the requests which it kept from being sent.
    #[test]
    fn an_overdue_request_counts_from_when_it_was_due() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
        let recorder = RefCell::new(Recorder::new());
        let due = Instant::now().checked_sub(Duration::from_secs(5)).expect("the machine is up for 5 s");
        assert_eq!(runtime.block_on(wait_until(due, &recorder)), due);
        assert_eq!(recorder.borrow().lateness.len(), 0);
        let due = Instant::now() + Duration::from_millis(5);
        assert!(runtime.block_on(wait_until(due, &recorder)) >= due);
        assert_eq!(recorder.borrow().lateness.len(), 1);
    }
}
