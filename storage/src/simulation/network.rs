//! The network between simulated hosts: calls are late, lost, repeated, and cut off in either direction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{chance, trace};
use crate::error::{Error, Result};
use crate::node::{DEAD_CONNECTION_TIMEOUT, DataStream, Incoming, NodeService, Transport};

/// How the network is. Percentages are of ways, there or back.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    pub(crate) lost_percent: u64,
    pub(crate) repeated_percent: u64,
    pub(crate) late_percent: u64,
    /// The longest way in milliseconds, and that of one which is late.
    pub(crate) longest_ms: u64,
    pub(crate) latest_ms: u64,
}

impl Weather {
    pub(crate) const FAIR: Self =
        Self { lost_percent: 0, repeated_percent: 0, late_percent: 0, longest_ms: 3, latest_ms: 3 };
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Network(Mutex<State>);

#[derive(Debug)]
struct State {
    /// With what is cancelled when the host ends.
    hosts: BTreeMap<String, (Arc<NodeService>, CancellationToken)>,
    /// Ways that nothing passes, from one address to another.
    cut: BTreeSet<(String, String)>,
    weather: Weather,
}

impl Network {
    pub(crate) fn new() -> Arc<Self> {
        let state = State { hosts: BTreeMap::new(), cut: BTreeSet::new(), weather: Weather::FAIR };
        Arc::new(Self(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attach(&self, address: &str, service: Arc<NodeService>, power: CancellationToken) {
        self.state().hosts.insert(address.to_owned(), (service, power));
    }

    pub(crate) fn detach(&self, address: &str) {
        self.state().hosts.remove(address);
    }

    pub(crate) fn detach_all(&self) {
        let hosts = std::mem::take(&mut self.state().hosts);
        drop(hosts);
    }

    pub(crate) fn cut(&self, from: &str, to: &str) {
        self.state().cut.insert((from.to_owned(), to.to_owned()));
    }

    /// Everything passes again.
    pub(crate) fn mend(&self) {
        self.state().cut.clear();
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Goes from one host to another; `None` where it does not arrive.
    async fn travel(&self, from: &str, to: &str) -> Option<()> {
        let Weather { lost_percent, late_percent, longest_ms, latest_ms, .. } = self.state().weather;
        let is_late = chance::percent(late_percent);
        let takes = chance::below(1 + if is_late { latest_ms } else { longest_ms });
        let is_lost = chance::percent(lost_percent);
        if is_late {
            trace::count("calls late");
        }
        if is_lost {
            trace::count("calls lost");
        }
        if takes > 0 {
            tokio::time::sleep(Duration::from_millis(takes)).await;
        }
        (!is_lost && self.passes(from, to)).then_some(())
    }

    fn passes(&self, from: &str, to: &str) -> bool {
        let passes = !self.state().cut.contains(&(from.to_owned(), to.to_owned()));
        if !passes {
            trace::count("calls cut off");
        }
        passes
    }

    fn service(&self, address: &str) -> Option<(Arc<NodeService>, CancellationToken)> {
        self.state().hosts.get(address).cloned()
    }

    /// Whether this service is the one of the host that runs now.
    fn runs(&self, address: &str, service: &Arc<NodeService>) -> bool {
        self.state().hosts.get(address).is_some_and(|(now, _)| Arc::ptr_eq(now, service))
    }
}

/// One host's view of the network, for as long as it has power.
pub(crate) struct Link {
    pub(crate) network: Arc<Network>,
    pub(crate) from: String,
    pub(crate) power: CancellationToken,
}

impl Transport for Link {
    fn call<'a>(&'a self, address: &'a str, message: Bytes, data: DataStream) -> BoxFuture<'a, Result<Incoming>> {
        Box::pin(async move {
            let gone = CancellationToken::new();
            let _gone_with_the_caller = gone.clone().drop_guard();
            let call = Call {
                network: Arc::clone(&self.network),
                from: self.from.clone(),
                to: address.to_owned(),
                power: self.power.clone(),
                gone,
            };
            let (sender, answer) = oneshot::channel();
            // The other host does not notice at once that its caller has gone.
            tokio::spawn(async move { drop(sender.send(call.run(message, data).await)) });
            match answer.await.ok().flatten() {
                Some(answered) => answered,
                None => Err(lost(address).await),
            }
        })
    }
}

/// What the caller learns where no answer comes.
async fn lost(address: &str) -> Error {
    let (at_once, waits) = match chance::below(4) {
        // A kept connection has ended: the call is repeated, whether it was heard or not.
        0 => (true, Duration::ZERO),
        1 => (false, DEAD_CONNECTION_TIMEOUT),
        _ => (false, Duration::from_millis(chance::below(1000))),
    };
    tokio::time::sleep(waits).await;
    Error::Unreachable { node: address.to_owned(), at_once, message: "lost".to_owned() }
}

struct Call {
    network: Arc<Network>,
    from: String,
    to: String,
    /// Of the caller.
    power: CancellationToken,
    /// The caller waits no more.
    gone: CancellationToken,
}

impl Call {
    /// `None` where no answer comes.
    async fn run(&self, message: Bytes, data: DataStream) -> Option<Result<Incoming>> {
        let Self { network, from, to, power, .. } = self;
        trace::count("calls");
        trace::note(format_args!("{from} calls {to}: {}", &blake3::hash(&message).to_hex()[..16]));
        if power.is_cancelled() {
            return None;
        }
        network.travel(from, to).await?;
        let (service, callee) = network.service(to)?;
        let data = self.wire(&service, data, from, to);
        let answer = service.answer(Incoming { message: message.clone(), data });
        // A connection ends with the host at its other end.
        let answered = callee.run_until_cancelled(answer).await?;
        let repeated_percent = network.state().weather.repeated_percent;
        if chance::percent(repeated_percent) {
            trace::count("calls repeated");
            let nothing: DataStream = Box::pin(futures::stream::empty());
            // It was recorded on the way and is sent once more: refused, and its answer goes nowhere.
            let _ = service.answer(Incoming { message, data: nothing }).await;
        }
        network.travel(to, from).await?;
        if !network.runs(to, &service) || power.is_cancelled() {
            return None;
        }
        let answer = answered.map(|(message, data)| Incoming { message, data: self.wire(&service, data, to, from) });
        if let Ok(Incoming { message, .. }) = &answer {
            trace::note(format_args!("{to} answers {from}: {}", &blake3::hash(message).to_hex()[..16]));
        }
        Some(answer)
    }

    /// Data behind a message: they break off where the way is cut or one of the two has gone.
    fn wire(&self, service: &Arc<NodeService>, data: DataStream, from: &str, to: &str) -> DataStream {
        let (network, service, caller) = (Arc::clone(&self.network), Arc::clone(service), self.power.clone());
        let (callee, from, to) = (self.to.clone(), from.to_owned(), to.to_owned());
        let gone = (from == self.from).then(|| self.gone.clone());
        let cut = move || {
            let is_cut = !network.passes(&from, &to) || !network.runs(&callee, &service) || caller.is_cancelled();
            is_cut || gone.as_ref().is_some_and(CancellationToken::is_cancelled)
        };
        let node = self.to.clone();
        let end = futures::stream::iter([None]);
        Box::pin(data.map(Some).chain(end).filter_map(move |piece| {
            let broken = || Error::Message(format!("data of {node} were cut off"));
            let piece = if cut() { Some(Err(broken())) } else { piece };
            std::future::ready(piece)
        }))
    }
}
