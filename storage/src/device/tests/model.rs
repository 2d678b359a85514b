//! An index in memory with the rules of the real one: the latest timestamp wins, whatever the order.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use anello_base::Timestamp;

use crate::device::catalog::Catalog;
use crate::device::disk::simulated::SimulatedDisk;
use crate::error::Result;
use crate::index::{Effect, ObjectRow, Placed};
use crate::key::KeyHash;
use crate::model::{Metadata, ObjectInfo};
use crate::mutation::{Body, Extent, Location, LogPosition, Mutation, ObjectPost, ObjectPut};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ModelIndex {
    state: Mutex<State>,
    /// The disk whose moments flushes are noted by, and what was flushed at which.
    disk: Option<SimulatedDisk>,
    flushes: Mutex<Vec<(usize, State)>>,
}

/// What it knows.
#[derive(Debug, Default, Clone)]
pub(crate) struct State {
    names: BTreeMap<[u8; 16], Name>,
    /// Records of containers and accounts: all are needed.
    registry: Vec<(Mutation, Location)>,
    dead: BTreeMap<u32, u64>,
    pub(crate) position: LogPosition,
}

#[derive(Debug, Default, Clone)]
struct Name {
    put: Option<(ObjectPut, Location)>,
    post: Option<(ObjectPost, Location)>,
    tombstone: Option<(Timestamp, Location)>,
}

impl Name {
    fn deleted(&self) -> Timestamp {
        self.tombstone.map_or(Timestamp::ZERO, |(timestamp, _)| timestamp)
    }

    /// Keeps what counts; the rest is dead.
    fn settle(&mut self, effect: &mut Effect) {
        let deleted = self.deleted();
        if let Some((put, location)) = self.put.take_if(|(put, _)| put.timestamp <= deleted) {
            bury_put(&put, location, effect);
        }
        let behind = self.put.as_ref().map_or(deleted, |(put, _)| put.timestamp.max(deleted));
        if let Some((_, location)) = self.post.take_if(|(post, _)| post.timestamp <= behind) {
            effect.dead_records.push(location);
        }
    }

    fn records(&self) -> Vec<Location> {
        let put = self.put.as_ref().map(|(_, location)| *location);
        let post = self.post.as_ref().map(|(_, location)| *location);
        [put, post, self.tombstone.map(|(_, location)| location)].into_iter().flatten().collect()
    }

    fn replace(&mut self, from: Location, to: Location) -> bool {
        let mut moved = false;
        let slots = [
            self.put.as_mut().map(|(_, location)| location),
            self.post.as_mut().map(|(_, location)| location),
            self.tombstone.as_mut().map(|(_, location)| location),
        ];
        for slot in slots.into_iter().flatten().filter(|slot| **slot == from) {
            *slot = to;
            moved = true;
        }
        moved
    }
}

fn extents_of(put: &ObjectPut) -> Vec<Extent> {
    match &put.body {
        Body::Extents(extents) => extents.pieces.clone(),
        _ => Vec::new(),
    }
}

fn bury_put(put: &ObjectPut, location: Location, effect: &mut Effect) {
    effect.dead_records.push(location);
    effect.dead_extents.extend(extents_of(put));
}

impl State {
    fn apply(&mut self, placed: &Placed) -> Effect {
        let mut effect = Effect::default();
        let location = placed.location;
        let hash = match &placed.mutation {
            Mutation::ObjectPut(put) => put.hashes.object,
            Mutation::ObjectPost(post) => post.hashes.object,
            Mutation::ObjectDelete { hashes, .. } => hashes.object,
            other => {
                self.registry.push((other.clone(), location));
                return effect;
            }
        };
        let name = self.names.entry(hash.0).or_default();
        match &placed.mutation {
            Mutation::ObjectPut(put) => match name.put.take() {
                Some((old, at)) if old.timestamp >= put.timestamp => {
                    effect.stale = Some(old.timestamp);
                    effect.dead_records.push(location);
                    if old.timestamp > put.timestamp {
                        effect.dead_extents.extend(extents_of(put));
                    }
                    name.put = Some((old, at));
                }
                old => {
                    effect.created = old.is_none() && put.timestamp > name.deleted();
                    if let Some((old, at)) = old {
                        bury_put(&old, at, &mut effect);
                    }
                    name.put = Some((put.clone(), location));
                }
            },
            Mutation::ObjectPost(post) => match name.post.take() {
                Some((old, at)) if old.timestamp >= post.timestamp => {
                    effect.dead_records.push(location);
                    name.post = Some((old, at));
                }
                old => {
                    effect.dead_records.extend(old.map(|(_, at)| at));
                    name.post = Some((post.clone(), location));
                }
            },
            Mutation::ObjectDelete { timestamp, .. } => {
                if *timestamp <= name.deleted() {
                    effect.dead_records.push(location);
                } else {
                    effect.dead_records.extend(name.tombstone.map(|(_, at)| at));
                    name.tombstone = Some((*timestamp, location));
                }
            }
            _ => unreachable!("others were answered above"),
        }
        name.settle(&mut effect);
        for record in &effect.dead_records {
            *self.dead.entry(record.volume).or_default() += u64::from(record.length);
        }
        effect
    }

    fn object(&self, hash: KeyHash) -> Option<ObjectRow> {
        let name = self.names.get(&hash.0)?;
        let (put, location) = name.put.as_ref()?;
        let post = name.post.as_ref();
        let metadata: &Metadata = post.map_or(&put.metadata, |(post, _)| &post.metadata);
        Some(ObjectRow {
            info: ObjectInfo {
                timestamp: put.timestamp,
                meta_timestamp: post.map_or(put.timestamp, |(post, _)| post.timestamp),
                size: put.size,
                stored_size: put.body.len(),
                etag: put.etag.clone(),
                content_type: put.content_type.clone(),
                content: put.content,
                delete_at: put.delete_at,
                metadata: metadata.clone(),
            },
            location: *location,
            in_extents: matches!(put.body, Body::Extents(_)),
            meta_location: post.map(|(_, location)| *location),
        })
    }

    /// Everything of containers and accounts, in an order that does not depend on the log's.
    pub(crate) fn registry(&self) -> Vec<String> {
        let mut all: Vec<_> = self.registry.iter().map(|(mutation, _)| format!("{mutation:?}")).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The records that objects need: of their data and of their metadata.
    pub(crate) fn locations(&self) -> Vec<Location> {
        self.names.values().flat_map(Name::records).collect()
    }

    /// Hashes of all objects that are there.
    pub(crate) fn hashes(&self) -> Vec<KeyHash> {
        self.names.iter().filter(|(_, name)| name.put.is_some()).map(|(hash, _)| KeyHash(*hash)).collect()
    }
}

impl ModelIndex {
    /// An index that knows `state`, and notes its flushes by the moments of `disk`.
    pub(crate) fn new(state: State, disk: Option<SimulatedDisk>) -> Self {
        Self { state: Mutex::new(state), disk, flushes: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the lock")
    }

    /// What it knows now.
    pub(crate) fn now(&self) -> State {
        self.lock().clone()
    }

    /// What was flushed, and when.
    pub(crate) fn flushes(&self) -> Vec<(usize, State)> {
        self.flushes.lock().expect("no test panics while it holds the lock").clone()
    }
}

impl Catalog for ModelIndex {
    fn apply(&self, batch: &[Placed], position: LogPosition) -> Result<Vec<Effect>> {
        let mut state = self.lock();
        state.position = position;
        Ok(batch.iter().map(|placed| state.apply(placed)).collect())
    }

    fn relocate(&self, moves: &[(Placed, Location)], position: LogPosition) -> Result<()> {
        let mut state = self.lock();
        state.position = position;
        for (placed, to) in moves {
            let from = placed.location;
            let mut moved = false;
            for name in state.names.values_mut() {
                moved |= name.replace(from, *to);
            }
            for (_, location) in state.registry.iter_mut().filter(|(_, location)| *location == from) {
                *location = *to;
                moved = true;
            }
            let dead = if moved { from } else { *to };
            *state.dead.entry(dead.volume).or_default() += u64::from(dead.length);
        }
        Ok(())
    }

    fn object(&self, hash: KeyHash) -> Result<Option<ObjectRow>> {
        Ok(self.lock().object(hash))
    }

    fn scan_objects(&self, after: Option<KeyHash>, limit: usize) -> Result<Vec<(KeyHash, ObjectRow)>> {
        let state = self.lock();
        let hashes = state.hashes().into_iter().filter(|hash| after.is_none_or(|after| *hash > after));
        Ok(hashes.filter_map(|hash| Some((hash, state.object(hash)?))).take(limit).collect())
    }

    fn live_extents(&self, volume: u32) -> Result<Vec<Extent>> {
        let state = self.lock();
        let puts = state.names.values().filter_map(|name| name.put.as_ref());
        let mut extents: Vec<_> = puts.flat_map(|(put, _)| extents_of(put)).filter(|e| e.volume == volume).collect();
        extents.sort_unstable_by_key(|extent| extent.offset);
        Ok(extents)
    }

    fn dead_bytes(&self) -> Result<Vec<(u32, u64)>> {
        Ok(self.lock().dead.iter().map(|(volume, bytes)| (*volume, *bytes)).collect())
    }

    fn is_live(&self, _: &Mutation, location: Location) -> Result<bool> {
        let state = self.lock();
        let in_names = state.names.values().any(|name| name.records().contains(&location));
        Ok(in_names || state.registry.iter().any(|(_, at)| *at == location))
    }

    fn forget_volume(&self, volume: u32) -> Result<()> {
        self.lock().dead.remove(&volume);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        if let Some(disk) = &self.disk {
            let (moment, state) = (disk.moment(), self.now());
            self.flushes.lock().expect("no test panics while it holds the lock").push((moment, state));
        }
        Ok(())
    }
}
