//! Clients that race for a few objects through every host, while hosts fail and the rings change; what they were
//! answered must be linearizable (`linearizability`). Seeds choose what is done and what goes wrong, not how threads
//! are scheduled: a seed that fails once may pass when it is repeated.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anello_base::{Class, Timestamp};
use anello_storage::store::ObjectHead;
use anello_storage::{Error, Etags, Precondition, Result, Store};
use bytes::Bytes;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::growth::is_calm;
use crate::linearizability::{
    Condition, Event, OPERATIONS_MAX, Operation, Value, culprit, is_linearizable, minimal, without_glimpses,
};
use crate::network::{Cluster, Weather, path, pattern};
use crate::replication::{eager, eventually};

/// Objects that are raced for at a time: few, so that operations meet.
const OBJECTS: usize = 4;
const CLIENTS: usize = 6;
/// Of each client before the histories are checked: some sixty for an object.
const OPERATIONS: usize = 40;
/// A client's pause between operations, so that a round outlives some faults.
const PAUSE_MS_MAX: u64 = 25;
/// One object in this many is too large for its record.
const LARGE_ONE_IN: u32 = 12;

/// Rounds of each test, each with a seed of its own: `ANELLO_HISTORY_ROUNDS`.
fn rounds() -> u64 {
    std::env::var("ANELLO_HISTORY_ROUNDS").map_or(4, |text| text.parse().expect("a number"))
}

/// The first round's seed: `ANELLO_HISTORY_SEED`.
fn first_seed() -> u64 {
    std::env::var("ANELLO_HISTORY_SEED").map_or(1, |text| text.parse().expect("a number"))
}

/// The stores that clients go through: one for each host that runs.
type Doors = Arc<RwLock<Vec<Option<Store>>>>;

fn doors(cluster: &Cluster) -> Doors {
    Arc::new(RwLock::new(cluster.stores.iter().cloned().map(Some).collect()))
}

/// One round's objects and what was asked of each.
struct Round {
    seed: u64,
    doors: Doors,
    order: AtomicU64,
    values: AtomicU32,
    objects: [Mutex<History>; OBJECTS],
}

/// What was asked of an object, and which value each of its versions was seen to have.
#[derive(Default)]
struct History {
    operations: Vec<Operation>,
    versions: BTreeMap<Timestamp, Value>,
}

/// What was checked.
#[derive(Debug, Default)]
struct Counts {
    histories: usize,
    operations: usize,
    unknown: usize,
}

impl Counts {
    /// Tells them; a test of nothing but unknown outcomes would pass whatever happened.
    fn report(&self, what: &str) {
        let Self { histories, operations, unknown } = self;
        eprintln!(
            "{what}: {histories} histories with {operations} operations are linearizable, {unknown} outcomes unknown"
        );
        assert!(unknown * 4 < operations * 3, "too many outcomes are unknown: {self:?}");
    }
}

impl Round {
    fn new(seed: u64, doors: &Doors) -> Arc<Self> {
        let (order, values) = (AtomicU64::new(0), AtomicU32::new(1));
        Arc::new(Self { seed, doors: Arc::clone(doors), order, values, objects: Default::default() })
    }

    fn name(&self, object: usize) -> String {
        format!("r{}-o{object}", self.seed)
    }

    fn now(&self) -> u64 {
        self.order.fetch_add(1, Ordering::SeqCst)
    }

    /// All clients, to their end.
    async fn run(self: &Arc<Self>) {
        let client = |client| tokio::spawn(Arc::clone(self).client(client));
        for client in join_all((0..CLIENTS as u64).map(client)).await {
            client.expect("no client failed");
        }
    }

    async fn client(self: Arc<Self>, client: u64) {
        let mut random = StdRng::seed_from_u64(self.seed * CLIENTS as u64 + client);
        let mut seen = [None; OBJECTS];
        for _ in 0..OPERATIONS {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..=PAUSE_MS_MAX))).await;
            let object = random.random_range(0..OBJECTS);
            let store = {
                let doors = self.doors.read().expect("lock");
                doors[random.random_range(0..doors.len())].clone()
            };
            let Some(store) = store else { continue };
            let invoked = self.now();
            let event = self.act(&mut random, &store, object, seen[object]).await;
            let returned = self.now();
            let Some(event) = event else { continue };
            match event {
                Event::Read(value) | Event::Delete(_, value) => seen[object] = value,
                Event::Put(_, value) => seen[object] = Some(value),
                Event::Refused(_) | Event::Unknown(..) => {}
            }
            let history = &mut self.objects[object].lock().expect("lock").operations;
            assert!(history.len() < OPERATIONS_MAX, "seed {}: too many operations on one object", self.seed);
            history.push(Operation { invoked, returned, event });
        }
    }

    /// One operation; `None` where its answer says nothing.
    async fn act(&self, random: &mut StdRng, store: &Store, object: usize, seen: Option<Value>) -> Option<Event> {
        let name = self.name(object);
        let condition = match (random.random_range(0..4), seen) {
            (0..2, _) => Condition::Always,
            (2, Some(value)) | (3, Some(value)) => Condition::Is(value),
            _ => Condition::Absent,
        };
        match random.random_range(0..10) {
            0..4 => self.read(store, object).await.map(Event::Read),
            4..8 => {
                let value = self.values.fetch_add(1, Ordering::Relaxed);
                let head = ObjectHead { etag: value.to_string(), ..ObjectHead::default() };
                let put = store.object_put(&path(&name), content(value), head, &precondition(condition)).await;
                let put = put.map(|written| {
                    self.has_seen(object, written.timestamp, value);
                    Event::Put(condition, value)
                });
                Some(outcome(put, condition, Some(value)))
            }
            _ => {
                let condition = if condition == Condition::Absent { Condition::Always } else { condition };
                let deleted = store.object_delete(&path(&name), &precondition(condition)).await;
                let deleted = deleted.map(|deleted| {
                    let before = deleted.map(|info| {
                        self.has_seen(object, info.timestamp, value_of(&info.etag));
                        value_of(&info.etag)
                    });
                    Event::Delete(condition, before)
                });
                Some(outcome(deleted, condition, None))
            }
        }
    }

    fn has_seen(&self, object: usize, version: Timestamp, value: Value) {
        let before = self.objects[object].lock().expect("lock").versions.insert(version, value);
        assert!(before.is_none_or(|before| before == value), "{version:?} is the version of two writes");
    }

    /// What stands as a reader sees it; `None` where too few replicas answer to be sure.
    async fn read(&self, store: &Store, object: usize) -> Option<Option<Value>> {
        let is_busy = |error: Error| assert_eq!(error.class(), Class::Busy, "{error}");
        let reader = store.object_read(&path(&self.name(object))).await.map_err(is_busy).ok()?;
        let Some(mut reader) = reader else { return Some(None) };
        let value = value_of(&reader.info().etag);
        self.has_seen(object, reader.info().timestamp, value);
        let mut data = Vec::new();
        while let Some(piece) = reader.next().await.map_err(is_busy).ok()? {
            data.extend_from_slice(&piece);
        }
        assert!(data == content(value), "another write's data are taken for those of {value}");
        reader.may_be_stale().is_none().then_some(Some(value))
    }

    /// Checks each object's history.
    fn check(&self, counts: &mut Counts) {
        for (object, history) in self.objects.iter().enumerate() {
            let history = without_glimpses(&history.lock().expect("lock").operations);
            counts.histories += 1;
            counts.operations += history.len();
            counts.unknown += history.iter().filter(|it| matches!(it.event, Event::Unknown(..))).count();
            if !is_linearizable(&history) {
                let (culprit, contradiction) = (culprit(&history), minimal(history.clone()));
                panic!("seed {}, object {object}: {culprit:?}\nin {contradiction:#?}\nof {history:?}", self.seed);
            }
        }
    }
}

fn content(value: Value) -> Bytes {
    let size = if value.is_multiple_of(LARGE_ONE_IN) { 300_000 } else { 100 };
    Bytes::from([value.to_string().as_bytes(), b" ", &pattern(size)[..]].concat())
}

fn value_of(etag: &str) -> Value {
    etag.parse().expect("a value")
}

fn precondition(condition: Condition) -> Precondition {
    match condition {
        Condition::Always => Precondition::default(),
        Condition::Absent => Precondition::absent(),
        Condition::Is(value) => {
            Precondition { if_match: Some(Etags::List(vec![value.to_string()])), ..Precondition::default() }
        }
    }
}

fn outcome(done: Result<Event>, condition: Condition, leaves: Option<Value>) -> Event {
    match done {
        Ok(event) => event,
        Err(Error::Precondition) => Event::Refused(condition),
        Err(error) => {
            assert_eq!(error.class(), Class::Busy, "{error}");
            Event::Unknown(condition, leaves)
        }
    }
}

/// One thing goes wrong, for a while.
async fn fault(cluster: &mut Cluster, doors: &Doors, random: &mut StdRng) {
    let host = random.random_range(0..cluster.stores.len());
    match random.random_range(0..4) {
        0 => cluster.cut(host),
        1 => cluster.pause(host),
        2 => {
            doors.write().expect("lock")[host] = None;
            cluster.restart(host).await;
            doors.write().expect("lock")[host] = Some(cluster.stores[host].clone());
        }
        _ => bad_weather(cluster, random),
    }
    tokio::time::sleep(Duration::from_millis(random.random_range(50..400))).await;
    cluster.heal();
    tokio::time::sleep(Duration::from_millis(random.random_range(0..200))).await;
}

fn bad_weather(cluster: &Cluster, random: &mut StdRng) {
    let (lost, late) = (random.random_range(0..8), random.random_range(0..60));
    let weather = Weather { random: StdRng::seed_from_u64(random.random()), lost, late };
    *cluster.network.weather.lock().expect("lock") = Some(weather);
}

async fn histories_with_faults(hosts: usize) {
    let mut cluster = Cluster::form_with(hosts, eager()).await;
    let doors = doors(&cluster);
    let mut counts = Counts::default();
    for seed in first_seed()..first_seed() + rounds() {
        let round = Round::new(seed, &doors);
        let mut random = StdRng::seed_from_u64(seed);
        let is_over = AtomicBool::new(false);
        let clients = async {
            round.run().await;
            is_over.store(true, Ordering::Relaxed);
        };
        let faults = async {
            while !is_over.load(Ordering::Relaxed) {
                fault(&mut cluster, &doors, &mut random).await;
            }
        };
        tokio::join!(clients, faults);
        round.check(&mut counts);
    }
    counts.report(&format!("{hosts} hosts that fail"));
    doors.write().expect("lock").clear();
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_that_fail() {
    histories_with_faults(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hosts_that_fail() {
    histories_with_faults(5).await;
}

/// Rounds go on for as long as the change takes, in bad weather.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_come_and_go() {
    let mut cluster = Cluster::form_with(3, eager()).await;
    let doors = doors(&cluster);
    let is_over = AtomicBool::new(false);
    let mut random = StdRng::seed_from_u64(first_seed());
    let clients = async {
        let mut counts = Counts::default();
        let mut seed = first_seed();
        while !is_over.load(Ordering::Relaxed) || seed < first_seed() + rounds() {
            let round = Round::new(seed, &doors);
            round.run().await;
            round.check(&mut counts);
            seed += 1;
        }
        counts
    };
    let changes = async {
        for hosts in [4, 5] {
            bad_weather(&cluster, &mut random);
            cluster.join().await;
            doors.write().expect("lock").push(Some(cluster.stores[hosts - 1].clone()));
            eventually("the newcomer is in", || is_calm(&cluster.stores, hosts)).await;
        }
        cluster.heal();
        cluster.stores[2].drain_host("h1").await.expect("drains");
        bad_weather(&cluster, &mut random);
        eventually("it is drained", || is_calm(&cluster.stores, 5)).await;
        cluster.heal();
        is_over.store(true, Ordering::Relaxed);
    };
    let (counts, ()) = tokio::join!(clients, changes);
    counts.report("hosts that come and go");
    doors.write().expect("lock").clear();
    cluster.close().await;
}
