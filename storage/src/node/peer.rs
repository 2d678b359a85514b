//! Another host: its address, whether it answers, and what its answers tell of its clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anello_base::{HybridClock, Timestamp};
use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use super::epoch::Epoch;
use super::limits::{
    CLOCK_SKEW_MAX_TICKS, CLOCK_SKEW_SHOWN_TICKS, FAILURES_MAX, LOOK_UP_TIMEOUT, PEERS_MAX, SUSPENSION,
};
use super::message::{self, Answer, Call, Envelope, Fault, Reply};
use super::transport::{DataStream, Transport, nothing};
use crate::cluster::{ClusterMap, Host, Progress};
use crate::environment::random;
use crate::error::{Error, Result};

/// What all calls of this process have in common.
pub(crate) struct Peers {
    /// This host's name.
    host: String,
    /// When hosts that call were heard of last, by name.
    heard: Mutex<HashMap<String, Instant>>,
    transport: Arc<dyn Transport>,
    clock: Arc<HybridClock>,
    /// The cluster map that this process goes by.
    epoch: Arc<Epoch>,
    sender: u64,
    number: AtomicU64,
}

/// Another host.
#[derive(Debug)]
pub(crate) struct Peer {
    name: String,
    address: String,
    peers: Arc<Peers>,
    failures: AtomicU32,
    /// Since when it is left alone.
    suspended: Mutex<Option<Instant>>,
    /// Whether it answered when it was asked last, and when somebody wanted to know.
    answers: AtomicBool,
    answered: AtomicBool,
    /// Why it did not.
    problem: Mutex<Option<String>>,
    /// Its wall clock less ours, in ticks.
    skew: AtomicI64,
    is_clock_off: AtomicBool,
    /// The map that it went by when it answered last.
    epoch: AtomicU64,
}

/// Another host as `anello status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// Where its node listener is.
    pub address: String,
    /// Whether it is asked at present.
    pub reachable: bool,
    /// How far its clock is ahead of ours, in milliseconds.
    pub skew_ms: i64,
    /// Whether that is more than a second, so that one of the two clocks is wrong; by 30 the hosts refuse each other.
    pub is_clock_off: bool,
    /// Why it did not answer when it was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Peers {
    pub(crate) fn new(
        host: String,
        transport: Arc<dyn Transport>,
        clock: Arc<HybridClock>,
        epoch: Arc<Epoch>,
    ) -> Arc<Self> {
        Arc::new(Self {
            host,
            heard: Mutex::default(),
            transport,
            clock,
            epoch,
            sender: random(),
            number: AtomicU64::new(1),
        })
    }

    /// A host has called.
    pub(super) fn hear(&self, host: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < PEERS_MAX || heard.contains_key(host) {
            heard.insert(host.to_owned(), Instant::now());
        }
    }

    fn heard_since(&self, host: &str, when: Instant) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(host).is_some_and(|at| *at > when)
    }

    fn envelope(&self, device: &str, epoch: u64, call: Call) -> Envelope {
        Envelope {
            now: self.clock.wall(),
            sender: self.sender,
            number: self.number.fetch_add(1, Ordering::Relaxed),
            host: self.host.clone(),
            epoch,
            device: device.to_owned(),
            call,
        }
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Peer {
    pub(crate) fn new(name: String, address: String, peers: Arc<Peers>) -> Arc<Self> {
        let (failures, suspended) = (AtomicU32::new(0), Mutex::new(None));
        let (answers, answered) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self {
            name,
            address,
            peers,
            failures,
            suspended,
            answers,
            answered,
            problem: Mutex::new(None),
            skew: AtomicI64::new(0),
            is_clock_off: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
        })
    }

    /// Asks the host and waits up to `timeout` for the answer. Asked twice where the first time fails at once: a
    /// connection that was kept may have ended, and every call may be repeated. A host that has failed
    /// [`FAILURES_MAX`] times in a row is not asked for [`SUSPENSION`].
    pub(super) async fn call(
        &self,
        device: &str,
        epoch: u64,
        call: Call,
        timeout: Duration,
    ) -> Result<(Answer, DataStream)> {
        let again = call.clone();
        match self.call_with(device, epoch, call, nothing(), timeout).await {
            Err(Error::Unreachable { at_once: true, .. }) => {
                self.call_with(device, epoch, again, nothing(), timeout).await
            }
            answered => answered,
        }
    }

    /// As [`Peer::call`], once, with data behind the call.
    pub(super) async fn call_with(
        &self,
        device: &str,
        epoch: u64,
        call: Call,
        data: DataStream,
        timeout: Duration,
    ) -> Result<(Answer, DataStream)> {
        if !self.is_reachable() {
            return Err(self.unreachable("it did not answer lately"));
        }
        let message = Bytes::from(message::encode(&self.peers.envelope(device, epoch, call))?);
        let asked = self.peers.clock.wall();
        let answered = tokio::time::timeout(timeout, self.peers.transport.call(&self.address, message, data)).await;
        let incoming = match answered {
            Ok(Ok(incoming)) => incoming,
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_) => return Err(self.failed(self.unreachable("it did not answer in time"))),
        };
        let reply: Reply = message::decode(&incoming.message)?;
        self.failures.store(0, Ordering::Relaxed);
        self.answers.store(true, Ordering::Relaxed);
        self.epoch.store(reply.epoch, Ordering::Relaxed);
        self.note_clock(asked, &reply);
        match reply.answer {
            Ok(answer) => Ok((answer, incoming.data)),
            Err(fault) => Err(self.refused(fault)),
        }
    }

    /// Asks the host itself, not a device of it.
    async fn ask(&self, call: Call) -> Result<Answer> {
        Ok(self.call("", self.peers.epoch.get(), call, LOOK_UP_TIMEOUT).await?.0)
    }

    fn confused(&self) -> Error {
        Error::Message(format!("{} answered something else than was asked", self.name))
    }

    /// Whether the host answers; its clock is noted.
    pub(crate) async fn ping(&self) -> Result<()> {
        self.ask(Call::Ping).await.map(drop)
    }

    /// Asks the host for the cluster's map, and to be part of it; `None` while it is not complete.
    pub(crate) async fn join(&self, me: Host) -> Result<Option<ClusterMap>> {
        match self.ask(Call::Join(me)).await? {
            Answer::Map(map) => map.map(|bytes| ClusterMap::decode(&bytes)).transpose(),
            _ => Err(self.confused()),
        }
    }

    /// Asks the host for the map that it goes by.
    pub(crate) async fn map(&self) -> Result<Option<ClusterMap>> {
        match self.ask(Call::Map).await? {
            Answer::Map(map) => map.map(|bytes| ClusterMap::decode(&bytes)).transpose(),
            _ => Err(self.confused()),
        }
    }

    /// Asks the host how far it has come.
    pub(crate) async fn progress(&self) -> Result<Progress> {
        match self.ask(Call::Progress).await? {
            Answer::Progress(progress) => Ok(progress),
            _ => Err(self.confused()),
        }
    }

    /// The map that it went by when it answered last.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    fn refused(&self, fault: Fault) -> Error {
        let error = fault.at(&self.name);
        if let Error::Promised { until } | Error::Stale { current: until } = error {
            self.peers.clock.observe(until);
        }
        error
    }

    /// A call was made between `asked` and now; the node's clock is taken to have been read in the middle.
    fn note_clock(&self, asked: Timestamp, reply: &Reply) {
        let answered = self.peers.clock.wall().ticks();
        let skew = reply.wall.ticks().cast_signed() - asked.ticks().midpoint(answered).cast_signed();
        self.skew.store(skew, Ordering::Relaxed);
        let for_sure = skew.unsigned_abs().saturating_sub(answered.saturating_sub(asked.ticks()) / 2);
        let is_off = for_sure > CLOCK_SKEW_SHOWN_TICKS;
        if self.is_clock_off.swap(is_off, Ordering::Relaxed) != is_off {
            let (host, skew_ms) = (&self.name, skew / 100);
            match is_off {
                true => tracing::warn!(host, skew_ms, "another host's clock and ours differ: one of them is wrong"),
                false => tracing::info!(host, skew_ms, "another host's clock and ours agree again"),
            }
        }
        self.peers.clock.observe(reply.now);
    }

    /// Whether our clock, by its last answer, is further ahead of its own than clocks may differ.
    pub(crate) fn finds_us_ahead(&self) -> bool {
        self.skew.load(Ordering::Relaxed) < -(CLOCK_SKEW_MAX_TICKS.cast_signed())
    }

    /// Whether it is worth asking: it has not failed lately, or has called since.
    pub(crate) fn is_reachable(&self) -> bool {
        let mut suspended = self.suspended.lock().unwrap_or_else(PoisonError::into_inner);
        if suspended.is_some_and(|since| since.elapsed() >= SUSPENSION || self.peers.heard_since(&self.name, since)) {
            *suspended = None;
            self.failures.store(0, Ordering::Relaxed);
        }
        suspended.is_none()
    }

    /// Whether it answers, and did not when this was asked before.
    pub(crate) fn is_back(&self) -> bool {
        let answers = self.answers.load(Ordering::Relaxed);
        !self.answered.swap(answers, Ordering::Relaxed) && answers
    }

    fn failed(&self, error: Error) -> Error {
        self.answers.store(false, Ordering::Relaxed);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
            *self.suspended.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        error
    }

    fn unreachable(&self, message: &str) -> Error {
        Error::Unreachable { node: self.name.clone(), at_once: false, message: message.to_owned() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn status(&self) -> PeerStatus {
        let answers = self.answers.load(Ordering::Relaxed);
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        PeerStatus {
            name: self.name.clone(),
            address: self.address.clone(),
            reachable: self.is_reachable(),
            skew_ms: self.skew.load(Ordering::Relaxed) / 100,
            is_clock_off: self.is_clock_off.load(Ordering::Relaxed),
            problem: problem.filter(|_| !answers),
        }
    }
}
