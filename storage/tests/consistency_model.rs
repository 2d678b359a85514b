//! A model of the write protocol in `docs/consistency.md`, explored exhaustively: three replicas, clients
//! that write with and without conditions, messages that come late, in any order, twice or never. Every
//! history must be linearizable.
//!
//! What the model leaves out: a restart that forgets promises (a replica's floor makes it refuse instead, which
//! the model has as a lost message), and reads without a condition, which promise less.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use stateright::{Checker, Model, Property};

const REPLICAS: usize = 3;
const MAJORITY: usize = 2;

/// A version's timestamp: a clock's reading, and the client as tie-breaker.
type Stamp = (u8, u8);

/// What an object holds; zero is nothing.
type Value = u8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Op {
    Put(Value),
    /// `If-None-Match: *`
    Create(Value),
    /// `If-Match`
    Replace(Value, Value),
}

impl Op {
    fn holds(self, current: Value) -> bool {
        match self {
            Self::Put(_) => true,
            Self::Create(_) => current == 0,
            Self::Replace(expected, _) => current == expected,
        }
    }

    fn value(self) -> Value {
        match self {
            Self::Put(value) | Self::Create(value) | Self::Replace(_, value) => value,
        }
    }
}

/// What a client is told: whether the condition held.
type Outcome = bool;

/// The object as one copy would be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct OneCopy(Value);

impl SequentialSpec for OneCopy {
    type Op = Op;
    type Ret = Outcome;

    fn invoke(&mut self, op: &Op) -> Outcome {
        let holds = op.holds(self.0);
        if holds {
            self.0 = op.value();
        }
        holds
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Replica {
    promised: Stamp,
    version: (Stamp, Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reply {
    Promised(Stamp, Value),
    Accepted,
    /// A later promise or version stands.
    Refused(Stamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Preparing,
    Writing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Client {
    phase: Phase,
    /// Answered. Its messages may still be under way.
    done: bool,
    clock: u8,
    stamp: Stamp,
    /// Requests of this phase that are still under way.
    waiting: [bool; REPLICAS],
    replies: [Option<Reply>; REPLICAS],
    retries: u8,
}

impl Client {
    fn ask(&mut self, phase: Phase, me: usize) {
        if phase != Phase::Writing || self.phase != Phase::Preparing {
            self.clock += 1;
            self.stamp = (self.clock, me as u8);
        }
        (self.phase, self.waiting, self.replies) = (phase, [true; REPLICAS], [None; REPLICAS]);
    }

    fn count(&self, wanted: impl Fn(&Reply) -> bool) -> usize {
        self.replies.iter().flatten().filter(|reply| wanted(reply)).count()
    }

    /// Takes note of the timestamps that were refused in favour of.
    fn observe(&mut self) {
        for reply in self.replies.iter().flatten() {
            if let Reply::Refused((clock, _)) | Reply::Promised((clock, _), _) = reply {
                self.clock = self.clock.max(*clock);
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    replicas: [Replica; REPLICAS],
    clients: Vec<Client>,
    history: LinearizabilityTester<usize, OneCopy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Begin(usize),
    /// A client's request reaches a replica; the answer comes back or is lost.
    Deliver {
        client: usize,
        replica: usize,
        answered: bool,
    },
    /// A request comes a second time, late; nobody waits for the answer.
    Repeat {
        client: usize,
        replica: usize,
    },
    /// A client looks at the answers that it has.
    Step(usize),
    /// What one replica holds is copied to another behind the clients' backs.
    Replicate {
        from: usize,
        to: usize,
    },
}

#[derive(Default)]
struct Protocol {
    ops: Vec<Op>,
    /// Where each client's clock stands at first.
    clocks: Vec<u8>,
    /// Times that a client begins again.
    retries: u8,
    initial: Value,
    /// Whether answers are lost and requests come twice.
    lossy: bool,
    replicates: bool,
}

impl Protocol {
    fn is_conditional(&self, client: usize) -> bool {
        !matches!(self.ops[client], Op::Put(_))
    }

    /// What a replica does with a client's request.
    fn handle(&self, replica: &mut Replica, client: &Client, op: Op) -> Reply {
        let newest = replica.promised.max(replica.version.0);
        match client.phase {
            Phase::Preparing if client.stamp > newest => {
                replica.promised = client.stamp;
                Reply::Promised(replica.version.0, replica.version.1)
            }
            // The promise counts also where replication has brought this version here already: it was not there
            // when the preparer looked.
            Phase::Writing
                if client.stamp >= replica.promised
                    && (client.stamp > replica.version.0 || replica.version == (client.stamp, op.value())) =>
            {
                replica.version = (client.stamp, op.value());
                Reply::Accepted
            }
            _ => Reply::Refused(newest),
        }
    }

    /// What a client does with the answers that it has; `None` where there is nothing to do yet.
    fn step(&self, state: &State, me: usize) -> Option<State> {
        let mut next = state.clone();
        let client = &mut next.clients[me];
        let refused = client.count(|reply| matches!(reply, Reply::Refused(_)));
        match client.phase {
            Phase::Preparing => {
                let promises: Vec<_> = client
                    .replies
                    .iter()
                    .filter_map(|reply| match reply {
                        Some(Reply::Promised(stamp, value)) => Some((*stamp, *value)),
                        _ => None,
                    })
                    .collect();
                if promises.len() < MAJORITY {
                    return (refused > REPLICAS - MAJORITY).then(|| self.begin_again(next, me)).flatten();
                }
                let newest = promises.iter().copied().max().unwrap_or_default();
                if self.ops[me].holds(newest.1) {
                    client.ask(Phase::Writing, me);
                } else if promises.iter().filter(|version| **version == newest).count() >= MAJORITY {
                    client.done = true;
                    next.history.on_return(me, false).ok()?;
                } else {
                    // The version that speaks against it may yet be lost.
                    return self.begin_again(next, me);
                }
            }
            Phase::Writing => {
                if client.count(|reply| *reply == Reply::Accepted) >= MAJORITY {
                    client.done = true;
                    next.history.on_return(me, true).ok()?;
                } else if refused == REPLICAS {
                    return self.begin_again(next, me);
                } else {
                    // Some replica has it, or may have it: writing it again could make it happen twice.
                    return None;
                }
            }
            Phase::Idle => return None,
        }
        Some(next)
    }

    fn begin_again(&self, mut state: State, me: usize) -> Option<State> {
        let client = &mut state.clients[me];
        if client.retries == 0 {
            return None;
        }
        client.retries -= 1;
        client.observe();
        client.phase = Phase::Idle;
        client.ask(if self.is_conditional(me) { Phase::Preparing } else { Phase::Writing }, me);
        Some(state)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let replica = Replica { promised: (0, 0), version: ((0, 0), self.initial) };
        let client = |clock: &u8| Client {
            phase: Phase::Idle,
            done: false,
            clock: *clock,
            stamp: (0, 0),
            waiting: [false; REPLICAS],
            replies: [None; REPLICAS],
            retries: self.retries,
        };
        vec![State {
            replicas: [replica.clone(), replica.clone(), replica],
            clients: self.clocks.iter().map(client).collect(),
            history: LinearizabilityTester::new(OneCopy(self.initial)),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, client) in state.clients.iter().enumerate() {
            if client.phase == Phase::Idle {
                actions.push(Action::Begin(at));
                continue;
            }
            for replica in 0..REPLICAS {
                if client.waiting[replica] {
                    actions.push(Action::Deliver { client: at, replica, answered: true });
                    if self.lossy {
                        actions.push(Action::Deliver { client: at, replica, answered: false });
                    }
                } else if self.lossy {
                    actions.push(Action::Repeat { client: at, replica });
                }
            }
            if !client.done {
                actions.push(Action::Step(at));
            }
        }
        if self.replicates {
            let pairs = (0..REPLICAS).flat_map(|from| (0..REPLICAS).map(move |to| (from, to)));
            actions.extend(pairs.filter(|(from, to)| from != to).map(|(from, to)| Action::Replicate { from, to }));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Begin(me) => {
                let phase = if self.is_conditional(me) { Phase::Preparing } else { Phase::Writing };
                next.clients[me].ask(phase, me);
                next.history.on_invoke(me, self.ops[me]).ok()?;
            }
            Action::Deliver { client, replica, answered } => {
                let reply = self.handle(&mut next.replicas[replica], &state.clients[client], self.ops[client]);
                next.clients[client].waiting[replica] = false;
                next.clients[client].replies[replica] = answered.then_some(reply);
            }
            Action::Repeat { client, replica } => {
                self.handle(&mut next.replicas[replica], &state.clients[client], self.ops[client]);
            }
            Action::Step(me) => return self.step(state, me),
            Action::Replicate { from, to } => {
                let version = state.replicas[from].version;
                if version.0 <= state.replicas[to].version.0 {
                    return None;
                }
                next.replicas[to].version = version;
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("linearizable", |_, state: &State| state.history.serialized_history().is_some()),
            Property::sometimes("everybody is answered", |_, state: &State| {
                state.clients.iter().all(|client| client.done)
            }),
        ]
    }
}

fn check(name: &str, protocol: Protocol) {
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    eprintln!("{name}: {} states", checker.unique_state_count());
}

#[test]
fn two_that_create_and_one_that_puts() {
    for clocks in [vec![0, 0, 0], vec![0, 1, 2], vec![2, 1, 0], vec![0, 2, 1], vec![1, 0, 2]] {
        let ops = vec![Op::Create(1), Op::Create(2), Op::Put(3)];
        check("create, create, put", Protocol { ops, clocks, ..Protocol::default() });
    }
}

#[test]
fn a_chain_of_replacements_against_a_put() {
    for clocks in [vec![0, 0, 0], vec![0, 1, 2], vec![2, 0, 1]] {
        let ops = vec![Op::Put(1), Op::Replace(1, 2), Op::Replace(9, 3)];
        check("put, replace, replace", Protocol { ops, clocks, initial: 9, ..Protocol::default() });
    }
}

/// Two clients in all pairings of what one does to the other.
fn pairs() -> impl Iterator<Item = Protocol> {
    let ops = [
        (0, vec![Op::Create(1), Op::Put(2)]),
        (0, vec![Op::Create(1), Op::Create(2)]),
        (0, vec![Op::Create(1), Op::Replace(1, 2)]),
        (9, vec![Op::Replace(9, 1), Op::Put(2)]),
        (9, vec![Op::Replace(9, 1), Op::Replace(9, 2)]),
    ];
    let clocks = [vec![0, 0], vec![0, 1], vec![1, 0]];
    ops.into_iter().flat_map(move |(initial, ops)| {
        clocks.clone().map(|clocks| Protocol { ops: ops.clone(), clocks, initial, ..Protocol::default() })
    })
}

#[test]
fn requests_that_come_twice_and_answers_that_are_lost() {
    pairs().for_each(|protocol| check("lossy", Protocol { lossy: true, ..protocol }));
}

#[test]
fn replication_behind_the_writers_backs() {
    pairs().for_each(|protocol| check("replicated", Protocol { lossy: true, replicates: true, ..protocol }));
}

#[test]
fn writers_that_begin_again() {
    pairs().for_each(|protocol| check("again", Protocol { retries: 1, replicates: true, ..protocol }));
}
