//! Reading: the newest version among a majority of the replicas, and its data from whichever has them whole.

use std::ops::Range;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout, timeout_at};

use super::erasure::{FragmentsReader, Layout};
use super::lives::{Lived, merged};
use super::placement::{Keyed, Placement, Slot};
use super::{Expired, Store, freshness};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::index::ObjectRow;
use crate::key::{KeyHash, ObjectPath};
use crate::limits::READ_HEDGE_DELAY;
use crate::majority::readers;
use crate::model::{Content, Known, ObjectInfo};
use crate::mutation::PathHashes;
use crate::node::{Data, Found, Node, Source};

impl Store {
    /// The object without its data. `None` also where its time to be deleted has come.
    pub fn object(&self, path: &ObjectPath) -> impl Future<Output = Result<Option<ObjectInfo>>> + Send {
        self.object_as(path, Expired::Absent)
    }

    /// The same, also where its time has come.
    pub async fn object_as(&self, path: &ObjectPath, expired: Expired) -> Result<Option<ObjectInfo>> {
        let (_, found) = self.replicas_of(&self.placement(), self.hashes(path)).await?;
        let info = found.replicas.last().map(|source| as_seen(source.info()));
        Ok(info.filter(|info| self.is_there(info, expired)))
    }

    /// The object, ready to be read.
    pub fn object_read(&self, path: &ObjectPath) -> impl Future<Output = Result<Option<ObjectReader>>> + Send {
        self.object_read_as(path, Expired::Absent)
    }

    /// The same, also where its time has come.
    pub async fn object_read_as(&self, path: &ObjectPath, expired: Expired) -> Result<Option<ObjectReader>> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        let (object, found) = self.replicas_of(&placement, hashes).await?;
        let Some(replicas) = Replicas::new(found, Some((self.clone(), object))) else { return Ok(None) };
        let mut reader = ObjectReader::of_replicas(replicas);
        if !self.is_there(reader.info(), expired) {
            return Ok(None);
        }
        if reader.info().content == Content::Fragments {
            let (info, lacking) = (as_seen(reader.info()), reader.may_be_stale().cloned());
            let fragments = FragmentsReader::new(self, Box::pin(layout_in(&mut reader)).await?);
            reader = ObjectReader(Bodies::Fragments(Box::new(InFragments { info, lacking, fragments })));
        }
        Ok(Some(reader))
    }

    /// The object as its policy places it, and its replicas: see [`Store::replicas`].
    async fn replicas_of(&self, placement: &Placement, hashes: PathHashes) -> Result<(Keyed, Newest)> {
        let policy = self.policy_seen(placement, hashes.container).await?;
        let object = Keyed { hash: hashes.object, policy };
        let found = self.replicas(placement, object).await?;
        if !found.replicas.is_empty() || placement.policies().is_one() {
            return Ok((object, found));
        }
        // The container may have been made anew, with another policy.
        let policy = Box::pin(self.policy_looked_up(placement, hashes.container)).await?;
        if policy == object.policy {
            return Ok((object, found));
        }
        let object = Keyed { policy, ..object };
        Ok((object, self.replicas(placement, object).await?))
    }

    /// The replicas that hold the newest version, one of this host last; none where that is a tombstone.
    pub(super) async fn replicas(&self, placement: &Placement, object: Keyed) -> Result<Newest> {
        if let Some(node) = placement.only() {
            let replicas = node.object(object.hash).await?.into_live().into_iter().collect();
            return Ok(Newest { replicas, lacking: None });
        }
        let ask = |node: Node| async move { node.object(object.hash).await };
        // Boxed, so that a store of one device has small futures.
        let answers = Box::pin(ask_majority(placement, &placement.object_sets(object), ask)).await;
        let newest = answers.found.iter().map(Found::stamp).max().flatten();
        if answers.found.iter().any(|found| found.stamp() != newest) {
            self.repair(object);
        }
        let of_newest = answers.found.into_iter().filter(|found| found.stamp() == newest);
        let mut sources: Vec<Source> = of_newest.filter_map(Found::into_live).collect();
        sources.sort_by_key(|source| matches!(source, Source::Here(..)));
        match answers.lacking {
            // What is there is better than nothing, and nothing may be wrong.
            Some(lacking) if sources.is_empty() => Err(lacking),
            lacking => {
                lacking.iter().for_each(|_| freshness::doubt());
                Ok(Newest { replicas: sources, lacking })
            }
        }
    }

    /// See [`super::settling`].
    pub(super) async fn settle_statistics(&self, placement: &Placement, parent: KeyHash) {
        if !placement.is_single() {
            drop(self.inner.settling.settle(parent).await);
        }
    }

    /// What a majority of the devices knows together.
    pub(super) async fn known_together<T: Lived, F: Future<Output = Result<Known<T>>>>(
        &self,
        placement: &Placement,
        sets: impl FnOnce(&Placement) -> Vec<Vec<Slot>>,
        ask: impl Fn(Node) -> F,
    ) -> Result<Option<T>> {
        if let Some(node) = placement.only() {
            return Ok(ask(node.clone()).await?.info);
        }
        let sets = &sets(placement);
        let answers = Box::pin(ask_majority(placement, sets, ask)).await;
        match (merged(answers.found), answers.lacking) {
            (None, Some(lacking)) => Err(lacking),
            (info, lacking) => {
                lacking.iter().for_each(|_| freshness::doubt());
                Ok(info)
            }
        }
    }
}

/// The replicas of an object's newest version.
pub(super) struct Newest {
    pub(super) replicas: Vec<Source>,
    /// Why fewer than a majority has answered, where that is so.
    pub(super) lacking: Option<Error>,
}

/// What the devices said.
pub(super) struct Answers<T> {
    pub(super) found: Vec<T>,
    /// Why fewer than a majority has answered, where that is so.
    pub(super) lacking: Option<Error>,
}

/// Asks the devices and returns as soon as so many of each set have answered that one of them has whatever a majority
/// has acknowledged. While the rings change, those that are in every set are asked first: the others are being filled.
pub(super) async fn ask_majority<T, F: Future<Output = Result<T>>>(
    placement: &Placement,
    sets: &[Vec<Slot>],
    ask: impl Fn(Node) -> F,
) -> Answers<T> {
    let is_common = |slot: &Slot| sets.iter().all(|set| set.contains(slot));
    let (mut first, mut rest): (Vec<Slot>, Vec<Slot>) = sets.concat().into_iter().partition(is_common);
    for slots in [&mut first, &mut rest] {
        slots.sort_unstable();
        slots.dedup();
    }
    let (mut answered, mut found, mut failure) = (Vec::new(), Vec::new(), None);
    let is_enough = |answered: &[Slot]| {
        let of = |set: &Vec<Slot>| answered.iter().filter(|slot| set.contains(slot)).count();
        sets.iter().all(|set| of(set) >= readers(set.len()))
    };
    for slots in [first, rest] {
        let ask = |slot: &Slot| {
            let (slot, asked) = (*slot, ask(placement.node(*slot).clone()));
            async move { (slot, asked.await) }
        };
        let mut asked: FuturesUnordered<_> = slots.iter().map(ask).collect();
        while let Some((slot, answer)) = asked.next().await {
            match answer {
                Ok(answer) => {
                    answered.push(slot);
                    found.push(answer);
                }
                Err(error) => failure = Some(error),
            }
            if is_enough(&answered) {
                return Answers { found, lacking: None };
            }
        }
    }
    let cause = Box::new(failure.unwrap_or(Error::Stopped));
    let wanted = sets.iter().map(|set| readers(set.len())).max().unwrap_or(0);
    let lacking = Error::NoQuorum { done: found.len(), wanted, cause };
    Answers { found, lacking: Some(lacking) }
}

/// An object being read: one version, whatever happens to its name meanwhile. What proves corrupt or unreadable is
/// left, and another replica or fragment continues at the same byte.
#[derive(Debug)]
pub struct ObjectReader(Bodies);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum Bodies {
    Whole(Replicas),
    Fragments(Box<InFragments>),
}

/// An object that is read from its fragments.
#[derive(Debug)]
struct InFragments {
    info: ObjectInfo,
    /// Of its head.
    lacking: Option<Error>,
    fragments: FragmentsReader,
}

impl ObjectReader {
    /// A reader of one replica's row.
    pub(super) fn of(device: Device, row: ObjectRow) -> Self {
        Self::of_replicas(Replicas::of(Source::Here(device, None, Box::new(row))))
    }

    pub(super) fn of_replicas(replicas: Replicas) -> Self {
        Self(Bodies::Whole(replicas))
    }

    /// What it is like.
    pub fn info(&self) -> &ObjectInfo {
        match &self.0 {
            Bodies::Whole(replicas) => replicas.info(),
            Bodies::Fragments(cut) => &cut.info,
        }
    }

    /// Why a later version may have been acknowledged: fewer than a majority of the replicas answered.
    pub fn may_be_stale(&self) -> Option<&Error> {
        match &self.0 {
            Bodies::Whole(replicas) => replicas.lacking.as_ref(),
            Bodies::Fragments(cut) => cut.lacking.as_ref(),
        }
    }

    /// Reads only this range of the stored bytes, cut to their end; to be called before the first
    /// [`ObjectReader::next`].
    pub fn set_range(&mut self, range: Range<u64>) {
        match &mut self.0 {
            Bodies::Whole(replicas) => replicas.set_range(range),
            Bodies::Fragments(cut) => cut.fragments.set_range(range),
        }
    }

    /// The next bytes in order, verified; `None` at the end. [`Error::Replaced`] where no host has this version any
    /// more.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match &mut self.0 {
            Bodies::Whole(replicas) => replicas.next().await,
            Bodies::Fragments(cut) => cut.fragments.next().await,
        }
    }
}

/// The layout that a head holds.
pub(super) async fn layout_in(head: &mut ObjectReader) -> Result<Layout> {
    let mut bytes = Vec::new();
    while let Some(piece) = head.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Layout::decode(&bytes)
}

/// What a client is shown: its data as if they were in one piece.
pub(super) fn as_seen(info: &ObjectInfo) -> ObjectInfo {
    let stored_size = if info.content == Content::Fragments { info.size } else { info.stored_size };
    ObjectInfo { stored_size, content: info.content.as_seen(), ..info.clone() }
}

/// The replicas that an object is read from.
#[derive(Debug)]
pub(super) struct Replicas {
    replicas: Vec<Source>,
    /// Why fewer than a majority has answered.
    lacking: Option<Error>,
    /// Where to look for further replicas: only a majority was asked.
    further: Option<(Store, Keyed)>,
    range: Range<u64>,
    data: Option<Data>,
}

impl Replicas {
    pub(super) fn new(found: Newest, further: Option<(Store, Keyed)>) -> Option<Self> {
        let Newest { replicas, lacking } = found;
        let range = 0..replicas.last()?.info().stored_size;
        Some(Self { replicas, lacking, further, range, data: None })
    }

    fn of(source: Source) -> Self {
        let range = 0..source.info().stored_size;
        Self { range, replicas: vec![source], lacking: None, further: None, data: None }
    }

    fn serving(&self) -> &Source {
        self.replicas.last().expect("there is one at the start, and the last one is never left")
    }

    pub(super) fn info(&self) -> &ObjectInfo {
        self.serving().info()
    }

    fn set_range(&mut self, range: Range<u64>) {
        let end = range.end.min(self.info().stored_size);
        self.range = range.start.min(end)..end;
    }

    /// A replica that takes long is not waited for alone: see [`READ_HEDGE_DELAY`].
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.range.is_empty() {
                return Ok(None);
            }
            match self.step().await {
                Ok(Some(bytes)) => {
                    self.range.start += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Ok(None) => return Err(Error::Truncated { missing: self.range.end - self.range.start }),
                Err(error) => {
                    self.data = None;
                    if self.replicas.len() == 1 {
                        self.look_further().await;
                    }
                    if self.replicas.len() == 1 {
                        // Other hosts give what stands, not what stood when they were asked for it.
                        return Err(if matches!(error, Error::Missing(_)) { Error::Replaced } else { error });
                    }
                    tracing::warn!(%error, "a replica can't be read, going on with another");
                    self.replicas.pop();
                }
            }
        }
    }

    /// Asks every device, once, for this version; the last replica may be tried once more. Who takes long to answer is
    /// left out.
    async fn look_further(&mut self) {
        let Some((store, object)) = self.further.take() else { return };
        let placement = store.placement();
        let keepers = placement.object_alone(object);
        let asked = keepers.into_iter().map(|(slot, _)| placement.node(slot).object(object.hash));
        let mut asked: FuturesUnordered<_> = asked.collect();
        let (version, until) = (self.info().timestamp, Instant::now() + LOOK_FURTHER);
        while let Ok(Some(found)) = timeout_at(until, asked.next()).await {
            let Ok(found) = found else { continue };
            let same = found.live().filter(|source| source.info().timestamp == version);
            self.replicas.splice(0..0, same.cloned());
        }
    }

    async fn step(&mut self) -> Result<Option<Bytes>> {
        let is_alone = self.replicas.len() == 1 && self.further.as_ref().is_none_or(|(store, _)| store.is_single());
        if is_alone {
            let data = match &mut self.data {
                Some(data) => data,
                None => {
                    let opened = self.serving().open(self.range.clone()).await?;
                    self.data.insert(opened)
                }
            };
            return data.next().await;
        }
        let serving = advance(self.serving().clone(), self.data.take(), self.range.clone());
        let (bytes, data) = self.hedged(pin!(serving)).await;
        self.data = data;
        bytes
    }

    /// What the serving replica says, or another one where that takes long.
    async fn hedged(&mut self, mut serving: Pin<&mut (impl Future<Output = Step> + ?Sized)>) -> Step {
        if let Ok(step) = timeout(READ_HEDGE_DELAY, &mut serving).await {
            return step;
        }
        let other = {
            let looking = pin!(self.other());
            match select(&mut serving, looking).await {
                Either::Left((step, _)) => return step,
                Either::Right((other, _)) => other,
            }
        };
        let Some(other) = other else { return serving.await };
        match select(&mut serving, pin!(advance(other, None, self.range.clone()))).await {
            Either::Left((step, _)) => step,
            Either::Right(((Err(_), _), serving)) => serving.await,
            Either::Right((step, _)) => {
                // The slow one is the last to be asked from here on.
                self.replicas.rotate_right(1);
                step
            }
        }
    }

    /// The replica that would be asked after the one that serves.
    async fn other(&mut self) -> Option<Source> {
        if self.replicas.len() == 1 {
            self.look_further().await;
            // What it serves from is among those who answered.
            let serving = self.serving().clone();
            self.replicas.retain(|source| !source.is_at(&serving));
            self.replicas.push(serving);
        }
        self.replicas.iter().rev().nth(1).cloned()
    }
}

/// How long others are waited for, to tell which version they have.
const LOOK_FURTHER: Duration = Duration::from_millis(500);

/// A replica's next bytes, and its stream for those behind them.
type Step = (Result<Option<Bytes>>, Option<Data>);

async fn advance(source: Source, data: Option<Data>, range: Range<u64>) -> Step {
    let mut data = match data {
        Some(data) => data,
        None => match source.open(range).await {
            Ok(data) => data,
            Err(error) => return (Err(error), None),
        },
    };
    (data.next().await, Some(data))
}
