//! Whether identity is to be reached: what `anello status` shows of it, what the log says, and when it is left alone.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anello_base::{Clock, SystemClock};
use serde::Serialize;
use tokio::sync::watch;

use super::limits::LOG_INTERVAL;
use crate::identity::IdentityError;

/// See the module.
pub(super) struct Reach {
    url: String,
    // Never held across an await; the only lock here.
    state: Mutex<State>,
    /// Whether all was well once.
    ready: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    answered: Option<Instant>,
    problem: Option<(Instant, String)>,
    logged: Option<(Instant, String)>,
    rests_until: Option<Instant>,
}

/// How it stands with another host's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemoteStatus {
    /// Where it is.
    pub url: String,
    /// Seconds since it last answered; `None` where it never did.
    pub answered_seconds_ago: Option<u64>,
    /// What was last wrong.
    pub problem: Option<String>,
    /// How many seconds ago.
    pub problem_seconds_ago: Option<u64>,
}

impl Reach {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), state: Mutex::default(), ready: watch::Sender::new(false) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error while identity is left alone.
    pub(super) fn check(&self) -> Result<(), IdentityError> {
        let state = self.state();
        match (&state.problem, state.rests_until) {
            (Some((_, problem)), Some(until)) if Instant::now() < until => {
                Err(IdentityError::Unavailable(problem.clone()))
            }
            _ => Ok(()),
        }
    }

    /// It has answered.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.answered = Some(Instant::now());
        if state.rests_until.take().is_some() {
            state.logged = None;
            drop(state);
            tracing::info!(url = self.url, "identity answers again");
        }
    }

    /// Something was wrong; identity is left alone for `rest`.
    pub(super) fn failed(&self, problem: String, rest: Option<Duration>) -> IdentityError {
        let now = Instant::now();
        let mut state = self.state();
        state.problem = Some((now, problem.clone()));
        state.rests_until = rest.map(|rest| now + rest).or(state.rests_until);
        let is_known = state.logged.as_ref().is_some_and(|(at, logged)| *logged == problem && now - *at < LOG_INTERVAL);
        if !is_known {
            state.logged = Some((now, problem.clone()));
            drop(state);
            tracing::warn!(url = self.url, problem, "identity can't be asked; what needs it is answered 503");
        }
        IdentityError::Unavailable(problem)
    }

    /// All is well.
    pub(super) fn is_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Waits until all was well once.
    pub(super) async fn wait(&self) {
        // The sender lives as long as this.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    pub(super) fn status(&self) -> RemoteStatus {
        let state = self.state();
        RemoteStatus {
            url: self.url.clone(),
            answered_seconds_ago: state.answered.map(|at| at.elapsed().as_secs()),
            problem: state.problem.as_ref().map(|(_, problem)| problem.clone()),
            problem_seconds_ago: state.problem.as_ref().map(|(at, _)| at.elapsed().as_secs()),
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemClock.wall().seconds()
}
