//! Clients that race for a few objects through every host, and what they were answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anello_base::{Class, Timestamp};
use bytes::Bytes;

use super::linearizability::{
    Condition, Event, OPERATIONS_MAX, Operation, Value, culprit, is_linearizable, without_glimpses,
};
use super::world::{ACCOUNT, CONTAINERS, Doors};
use super::{chance, trace};
use crate::store::{ObjectHead, ObjectUpdate};
use crate::{Error, Etags, ListQuery, Listed, ObjectInfo, ObjectPath, Precondition, Result, Store};

/// Objects of each container: few, so that operations meet.
const OBJECTS: usize = 3;
const CLIENTS: usize = 5;
/// Listings behind the last operations, and reads through every host, are part of a history, too.
const ROOM: usize = 24;
/// What a listing shows at most.
const LIMIT: usize = 100;

/// All that was asked, by object.
pub(crate) struct Workload {
    doors: Doors,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    order: u64,
    values: Value,
    objects: BTreeMap<Name, History>,
    is_over: bool,
}

/// A container's number and an object's in it.
pub(crate) type Name = (usize, usize);

/// What was asked of an object, and which values its versions were seen to have.
#[derive(Default)]
struct History {
    operations: Vec<Operation>,
    /// What listings showed of it. A write that was not acknowledged may have come to the object and not to its row.
    listed: Vec<Operation>,
    versions: BTreeMap<Timestamp, BTreeSet<Value>>,
    /// Versions of metadata by the version of the data that they are of, and when they were acknowledged.
    posts: Vec<(Timestamp, Timestamp, u64)>,
}

pub(crate) fn names() -> impl Iterator<Item = Name> {
    (0..CONTAINERS.len()).flat_map(|container| (0..OBJECTS).map(move |object| (container, object)))
}

pub(crate) fn path((container, object): Name) -> ObjectPath {
    ObjectPath::new(ACCOUNT, CONTAINERS[container], format!("o{object}"))
}

/// The bytes that are written as a value. Some are too large for their record.
pub(crate) fn content(value: Value) -> Bytes {
    const SIZES: [usize; 10] = [0, 100, 100, 5000, 5000, 60_000, 150_000, 300_000, 400_000, 700_000];
    let size = SIZES[value as usize * 7 % SIZES.len()];
    let mut bytes = value.to_string().into_bytes();
    bytes.resize(bytes.len() + size, value as u8);
    bytes.into()
}

pub(crate) fn value_of(etag: &str) -> Value {
    etag.parse().expect("a value")
}

/// An object as a client reads it.
pub(crate) struct Read {
    info: ObjectInfo,
    pub(crate) value: Value,
    lacking: Option<Error>,
}

/// Everything of an object.
pub(crate) async fn read_all(store: &Store, name: Name) -> Result<Option<Read>> {
    let Some(mut reader) = store.object_read(&path(name)).await? else { return Ok(None) };
    let (info, value) = (reader.info().clone(), value_of(&reader.info().etag));
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await? {
        data.extend_from_slice(&piece);
    }
    assert!(data == content(value), "{name:?} has other data than those of {value}");
    Ok(Some(Read { info, value, lacking: reader.may_be_stale().cloned() }))
}

impl Workload {
    pub(crate) fn new(doors: Doors) -> Arc<Self> {
        Arc::new(Self { doors, state: Mutex::new(State { values: 1, ..State::default() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        let mut state = self.state();
        state.order += 1;
        state.order
    }

    /// All clients go on until they are told to [stop](Workload::stop).
    pub(crate) async fn run(self: &Arc<Self>) {
        let mut clients = tokio::task::JoinSet::new();
        (0..CLIENTS).for_each(|_| drop(clients.spawn(Arc::clone(self).client())));
        while let Some(ended) = clients.join_next().await {
            ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
    }

    pub(crate) fn stop(&self) {
        self.state().is_over = true;
    }

    async fn client(self: Arc<Self>) {
        let mut seen: BTreeMap<Name, Option<Value>> = BTreeMap::new();
        let all: Vec<Name> = names().collect();
        while !self.state().is_over {
            // Clients come in waves, so that some operations follow each other in peace.
            let pause = if chance::percent(90) { chance::below(200) } else { chance::below(4000) };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let (name, Some((host, store, power))) = (*chance::pick(&all), self.doors.any()) else { continue };
            let is_full = |name| self.length(name) + CLIENTS + ROOM >= OPERATIONS_MAX;
            if is_full(name) {
                if all.iter().all(|name| is_full(*name)) {
                    return;
                }
                continue;
            }
            let invoked = self.now();
            if chance::percent(10) {
                let listed = power.run_until_cancelled(list(&store, name.0)).await;
                if let Some(Some(values)) = listed {
                    trace::note(format_args!("h{host} lists {}: {values:?}", name.0));
                    let returned = self.now();
                    let of = |(container, _): &Name| *container == name.0;
                    for name in all.iter().copied().filter(of) {
                        let event = Event::Read(values.get(&name.1).copied());
                        let listed = Operation { invoked, returned, event };
                        self.state().objects.entry(name).or_default().listed.push(listed);
                    }
                }
                continue;
            }
            let before = seen.get(&name).copied().flatten();
            let Some(event) = self.act(&store, &power, name, before).await else { continue };
            trace::count(kind(event));
            trace::note(format_args!("{name:?} through h{host}: {event:?}"));
            match event {
                Event::Read(value) | Event::Delete(_, value) => drop(seen.insert(name, value)),
                Event::Put(_, value) => drop(seen.insert(name, Some(value))),
                Event::Refused(_) | Event::Unknown(..) => {}
            }
            let returned = self.now();
            self.push(name, Operation { invoked, returned, event });
        }
    }

    fn length(&self, name: Name) -> usize {
        self.state().objects.get(&name).map_or(0, |history| history.operations.len())
    }

    fn push(&self, name: Name, operation: Operation) {
        self.state().objects.entry(name).or_default().operations.push(operation);
    }

    fn has_seen(&self, name: Name, version: Timestamp, value: Value) {
        self.state().objects.entry(name).or_default().versions.entry(version).or_default().insert(value);
    }

    /// A read that began after metadata of these data were acknowledged shows them or later ones.
    fn check_metadata(&self, name: Name, info: &ObjectInfo, begun: u64) {
        for (data, post, acknowledged) in &self.state().objects.entry(name).or_default().posts {
            let is_missed = *data == info.timestamp && *acknowledged < begun && *post > info.meta_timestamp;
            assert!(!is_missed, "{name:?} has metadata of {}, after those of {post}", info.meta_timestamp);
        }
    }

    /// One operation; `None` where its answer says nothing.
    async fn act(
        &self,
        store: &Store,
        power: &tokio_util::sync::CancellationToken,
        name: Name,
        seen: Option<Value>,
    ) -> Option<Event> {
        let condition = match (chance::below(4), seen) {
            (0..2, _) => Condition::Always,
            (2 | 3, Some(value)) => Condition::Is(value),
            _ => Condition::Absent,
        };
        let path = path(name);
        match chance::below(20) {
            0..8 => {
                let begun = self.now();
                let read = power.run_until_cancelled(read_all(store, name)).await?;
                match read.map_err(may_be_unreadable).ok()? {
                    Some(Read { info, value, lacking }) => {
                        self.has_seen(name, info.timestamp, value);
                        if lacking.is_none() {
                            self.check_metadata(name, &info, begun);
                        }
                        lacking.is_none().then_some(Event::Read(Some(value)))
                    }
                    None => Some(Event::Read(None)),
                }
            }
            8 => {
                let metadata = vec![("x-object-meta-at".to_owned(), self.now().to_string())];
                let mut data = Timestamp::ZERO;
                let update = |info: &ObjectInfo| {
                    data = info.timestamp;
                    Ok(ObjectUpdate { metadata: metadata.clone(), ..ObjectUpdate::default() })
                };
                let updated = power.run_until_cancelled(store.object_update(&path, update)).await?;
                match updated {
                    // Something was there, or nothing; neither changes it.
                    Ok(written) => {
                        let post = (data, written.timestamp, self.now());
                        self.state().objects.entry(name).or_default().posts.push(post);
                        trace::count("changes of metadata");
                        Some(Event::Refused(Condition::Absent))
                    }
                    Err(Error::Missing(_)) => Some(Event::Delete(Condition::Always, None)),
                    Err(error) => {
                        must_be_busy(error);
                        None
                    }
                }
            }
            9..17 => {
                let value = {
                    let mut state = self.state();
                    state.values += 1;
                    state.values
                };
                let head = ObjectHead { etag: value.to_string(), ..ObjectHead::default() };
                let condition_sent = precondition(condition);
                let put = store.object_put(&path, content(value), head, &condition_sent);
                let put = power.run_until_cancelled(put).await.unwrap_or(Err(Error::Stopped)).map(|written| {
                    self.has_seen(name, written.timestamp, value);
                    Event::Put(condition, value)
                });
                Some(outcome(put, condition, Some(value)))
            }
            _ => {
                let condition = if condition == Condition::Absent { Condition::Always } else { condition };
                let condition_sent = precondition(condition);
                let delete = store.object_delete(&path, &condition_sent);
                let deleted = power.run_until_cancelled(delete).await.unwrap_or(Err(Error::Stopped)).map(|deleted| {
                    let before = deleted.map(|info| {
                        self.has_seen(name, info.timestamp, value_of(&info.etag));
                        value_of(&info.etag)
                    });
                    Event::Delete(condition, before)
                });
                Some(outcome(deleted, condition, None))
            }
        }
    }

    /// What writes that were not acknowledged would have left of an object: they may have come to the object and not to
    /// its row, or to the row alone.
    pub(crate) fn unknown(&self, name: Name) -> BTreeSet<Option<Value>> {
        let state = self.state();
        let operations = state.objects.get(&name).into_iter().flat_map(|history| &history.operations);
        let left = operations.filter_map(|it| match it.event {
            Event::Unknown(_, value) => Some(value),
            _ => None,
        });
        left.collect()
    }

    /// Takes what all hosts agree on at the end into the histories, and checks each: the reason where one can't be
    /// explained. Tells how many operations were checked.
    pub(crate) fn check(&self, at_last: &BTreeMap<Name, Option<Value>>) -> std::result::Result<u64, String> {
        let mut checked = 0;
        let end = self.now();
        for (name, history) in &self.state().objects {
            if let Some((version, values)) = history.versions.iter().find(|(_, values)| values.len() > 1) {
                return Err(format!("{name:?} has {version:?} as {values:?}"));
            }
            let mut operations = without_glimpses(&history.operations);
            if let Some(value) = at_last.get(name) {
                operations.push(Operation { invoked: end, returned: end + 1, event: Event::Read(*value) });
            }
            checked += (operations.len() + history.listed.len()) as u64;
            if let Some(listed) = history.listed.iter().find(|listed| is_outdated(listed, &history.operations)) {
                let (listed, all) = (lines(&[*listed]), lines(&history.operations));
                return Err(format!("{name:?} was listed as it was not any more:{listed}\nof{all}"));
            }
            if !is_linearizable(&operations) {
                return Err(format!(
                    "{name:?} has no order, because of{}\nin{}",
                    lines(culprit(&operations).as_slice()),
                    lines(&operations)
                ));
            }
        }
        Ok(checked)
    }
}

/// Whether something that was acknowledged before the listing began has replaced what it shows.
fn is_outdated(listed: &Operation, operations: &[Operation]) -> bool {
    let Event::Read(shown) = listed.event else { return false };
    let leaves = |it: &Operation| match it.event {
        Event::Put(_, value) => Some((Some(value), it.returned)),
        // That nothing was there is told, and nothing written.
        Event::Delete(_, before) => before.map(|_| (None, it.returned)),
        Event::Unknown(_, value) => Some((value, u64::MAX)),
        Event::Refused(_) | Event::Read(_) => None,
    };
    let is_replaced = |ended: u64| {
        let acknowledged = operations.iter().filter(|it| it.returned < listed.invoked && it.invoked > ended);
        acknowledged.filter_map(leaves).any(|(value, ended)| ended != u64::MAX && value != shown)
    };
    let in_the_beginning = shown.is_none().then_some((None, 0));
    let writes = operations.iter().filter(|it| it.invoked < listed.returned).filter_map(leaves);
    !writes.chain(in_the_beginning).any(|(value, ended)| value == shown && !is_replaced(ended))
}

/// One operation to a line.
fn lines(operations: &[Operation]) -> String {
    let line = |it: &Operation| format!("\n  {}-{} {:?}", it.invoked, it.returned, it.event);
    operations.iter().map(line).collect()
}

/// What a container shows: values by object.
pub(crate) async fn list(store: &Store, container: usize) -> Option<BTreeMap<usize, Value>> {
    let query = ListQuery { limit: LIMIT, ..ListQuery::default() };
    let listed = store.container_list(ACCOUNT, CONTAINERS[container], &query).await.map_err(must_be_busy).ok()?;
    let entries = listed.into_iter().filter_map(|listed| match listed {
        Listed::Entry(entry) => Some(entry),
        Listed::Prefix(_) => None,
    });
    Some(entries.map(|entry| (entry.name[1..].parse().expect("a number"), value_of(&entry.etag))).collect())
}

fn kind(event: Event) -> &'static str {
    match event {
        Event::Put(Condition::Always, _) => "puts",
        Event::Put(..) => "conditional puts",
        Event::Delete(..) => "deletions",
        Event::Refused(_) => "refused conditions",
        Event::Unknown(..) => "unknown outcomes",
        Event::Read(_) => "reads",
    }
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
            must_be_busy(error);
            Event::Unknown(condition, leaves)
        }
    }
}

/// The same for a read: the only copy that can be reached may be on a disk that fails.
fn may_be_unreadable(error: Error) -> Error {
    if matches!(error, Error::Io { .. } | Error::Node { .. }) || error.class() == Class::Corrupt {
        return error;
    }
    must_be_busy(error)
}

/// What a client may be answered while hosts fail.
fn must_be_busy(error: Error) -> Error {
    assert!(matches!(error.class(), Class::Busy | Class::Full), "a client was answered: {error}");
    error
}
