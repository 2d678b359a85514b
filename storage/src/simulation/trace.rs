//! What happened in the simulation that the thread is in: a hash of everything, by which two runs are compared, counts
//! by kind, and on demand (`ANELLO_SIMULATION_TRACE`) the lines themselves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Arguments, Write as _};

use tokio::time::Instant;

thread_local! {
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    begun: Instant,
    hasher: blake3::Hasher,
    line: String,
    is_shown: bool,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Trace {
    /// What tells one history from another.
    pub(crate) fn hash(&self) -> String {
        self.hasher.finalize().to_hex()[..16].to_owned()
    }
}

/// Begins a trace, at the simulation's time zero.
pub(crate) fn begin() {
    let (hasher, line) = (blake3::Hasher::new(), String::new());
    let is_shown = std::env::var_os("ANELLO_SIMULATION_TRACE").is_some();
    let trace = Trace { begun: Instant::now(), hasher, line, is_shown, counts: BTreeMap::new() };
    TRACE.with_borrow_mut(|held| *held = Some(trace));
}

/// Ends it.
pub(crate) fn end() -> Trace {
    TRACE.with_borrow_mut(Option::take).expect("a trace was begun")
}

/// Something happened.
pub(crate) fn note(what: Arguments<'_>) {
    TRACE.with_borrow_mut(|trace| {
        let Some(trace) = trace else { return };
        trace.line.clear();
        let at = trace.begun.elapsed().as_millis();
        // Writing to a string does not fail.
        let _ = writeln!(trace.line, "{at} {what}");
        trace.hasher.update(trace.line.as_bytes());
        if trace.is_shown {
            eprint!("{}", trace.line);
        }
    });
}

/// Something of a kind that is counted happened.
pub(crate) fn count(kind: &'static str) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(trace) = trace {
            *trace.counts.entry(kind).or_default() += 1;
        }
    });
}

/// A fault happened, to `whom`.
pub(crate) fn fault(kind: &'static str, whom: Arguments<'_>) {
    count(kind);
    note(format_args!("fault: {kind}: {whom}"));
}
