//! Writes that depend on what they replace: prepare, check, write (`docs/consistency.md`).

use std::time::Duration;

use anello_base::Timestamp;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::Store;
use super::placement::{Keyed, Placement, Slot};
use super::sharding::Seen;
use crate::environment::random;
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::majority::{majority, readers};
use crate::model::ObjectInfo;
use crate::node::{ContainerFound, Found, Node, Source};
use crate::policy::is_fragments;

/// Times that a writer begins again because another was faster. Each time somebody has got further.
const ATTEMPTS: u32 = 12;

/// The first pause before that; it doubles, and is cut at random so that two don't go on meeting.
const PAUSE: Duration = Duration::from_millis(1);

/// Who has promised, and what it has.
type Given<T> = (Slot, T);

/// What a majority of an object's primaries has promised.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The version that may be written now.
    pub(super) timestamp: Timestamp,
    /// The newest that stands.
    pub(super) newest: Found,
    /// Whether it is sure to stay: a majority has it, by the rings in force and by the next.
    pub(super) is_settled: bool,
}

impl Prepared {
    pub(super) fn current(&self) -> Option<&ObjectInfo> {
        self.newest.live().map(Source::info)
    }
}

/// What a majority of a container's primaries has promised.
#[derive(Debug)]
pub(super) struct PreparedContainer {
    pub(super) timestamp: Timestamp,
    pub(super) container: Option<Seen>,
    /// It has no rows itself; its shards were not asked.
    pub(super) is_empty: bool,
}

impl Store {
    /// Has an object's primaries promise the next timestamp, under which it may then be written.
    pub(super) async fn prepare(&self, placement: &Placement, object: Keyed) -> Result<Prepared> {
        let prepare = |node: Node, until| async move { node.prepare_object(object.hash, until).await };
        if let Some(node) = placement.only() {
            let (timestamp, newest) = self.promise_of(node, prepare).await?;
            return Ok(Prepared { timestamp, newest, is_settled: true });
        }
        let sets = placement.object_sets(object);
        let newest_of = |found: &[Given<Found>]| found.iter().map(|(_, found)| found.stamp()).max().flatten();
        // A majority by the ring in force is not enough: what came to it after its devices had brought theirs to the
        // next one's would be gone with it.
        let settles = |found: &[Given<Found>]| {
            let newest = newest_of(found);
            let has_it = |slot: &&Slot| found.iter().any(|(at, found)| at == *slot && found.stamp() == newest);
            sets.iter().all(|set| set.iter().filter(has_it).count() >= majority(set.len()))
        };
        let (timestamp, found) = self.promises(placement, &sets, prepare, settles).await?;
        let (newest, is_settled) = (newest_of(&found), settles(&found));
        // Each device has another fragment.
        if !is_settled && !is_fragments(object.policy) {
            self.repair(object);
        }
        let newest = found.into_iter().map(|(_, found)| found).rfind(|found| found.stamp() == newest);
        Ok(Prepared { timestamp, newest: newest.unwrap_or(Found::Absent), is_settled })
    }

    /// Has a container's primaries promise the next timestamp, under which it may then be deleted.
    pub(super) async fn prepare_container(&self, placement: &Placement, hash: KeyHash) -> Result<PreparedContainer> {
        let prepare = |node: Node, until| async move { node.prepare_container(hash, until).await };
        let (timestamp, found) = self.promises(placement, &placement.container_sets(hash), prepare, |_| true).await?;
        let is_empty = found.iter().all(|(_, found)| found.is_empty);
        let known = found.into_iter().map(|(_, ContainerFound { container, .. })| container).collect();
        Ok(PreparedContainer { timestamp, container: self.seen(hash, known)?, is_empty })
    }

    /// The promise of the only device there is.
    async fn promise_of<T, F: Future<Output = Result<T>>>(
        &self,
        node: &Node,
        prepare: impl Fn(Node, Timestamp) -> F,
    ) -> Result<(Timestamp, T)> {
        for attempt in 0..ATTEMPTS {
            let timestamp = self.clock().tick();
            match prepare(node.clone(), timestamp).await {
                Err(Error::Promised { until }) => self.clock().observe(until),
                answered => return Ok((timestamp, answered?)),
            }
            pause(attempt).await;
        }
        Err(Error::Contended)
    }

    /// Asks everybody in `sets` for a promise until enough of each set have given it and what they answered `settles`
    /// what stands, or all have answered; tells the promise's timestamp and the answers. Enough meet every majority.
    async fn promises<T, F: Future<Output = Result<T>>>(
        &self,
        placement: &Placement,
        sets: &[Vec<Slot>],
        prepare: impl Fn(Node, Timestamp) -> F,
        settles: impl Fn(&[Given<T>]) -> bool,
    ) -> Result<(Timestamp, Vec<Given<T>>)> {
        let has = |given: &[Given<T>], wanted: fn(usize) -> usize| {
            let of = |set: &Vec<Slot>| given.iter().filter(|(slot, _)| set.contains(slot)).count();
            sets.iter().all(|set| of(set) >= wanted(set.len()))
        };
        let mut slots: Vec<Slot> = sets.concat();
        slots.sort_unstable();
        slots.dedup();
        for attempt in 0..ATTEMPTS {
            let timestamp = self.clock().tick();
            let ask = |slot: &Slot| {
                let (slot, asked) = (*slot, prepare(placement.node(*slot).clone(), timestamp));
                async move { (slot, asked.await) }
            };
            let mut asked: FuturesUnordered<_> = slots.iter().map(ask).collect();
            let (mut given, mut refused, mut failure) = (Vec::new(), None, None);
            while let Some((slot, answer)) = asked.next().await {
                match answer {
                    Ok(found) => given.push((slot, found)),
                    Err(Error::Promised { until }) => refused = refused.max(Some(until)),
                    Err(error) => failure = Some(error),
                }
                if has(&given, |replicas| majority(replicas).max(readers(replicas))) && settles(&given) {
                    break;
                }
            }
            if has(&given, readers) {
                return Ok((timestamp, given));
            }
            let Some(until) = refused else {
                let cause = Box::new(failure.unwrap_or(Error::Stopped));
                let wanted = sets.iter().map(|set| readers(set.len())).max().unwrap_or(0);
                return Err(Error::NoQuorum { done: given.len(), wanted, cause });
            };
            self.clock().observe(until);
            pause(attempt).await;
        }
        Err(Error::Contended)
    }
}

/// Waits before a writer begins again.
pub(super) async fn pause(attempt: u32) {
    if attempt > 0 {
        let longest = PAUSE * 2u32.saturating_pow(attempt.min(8));
        tokio::time::sleep(longest.mul_f64(random::<f64>())).await;
    }
}

/// Attempts that a writer has, numbered.
pub(super) fn attempts() -> impl Iterator<Item = u32> {
    0..ATTEMPTS
}
