//! Writes that depend on what they replace: prepare, check, write (`docs/consistency.md`).

use std::time::Duration;

use anello_base::Timestamp;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::Store;
use super::placement::Placement;
use super::quorum::{majority, readers};
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::model::{ContainerInfo, Known, ObjectInfo};
use crate::node::{ContainerFound, Found, Node, Source};

/// Times that a writer begins again because another was faster. Each time somebody has got further.
const ATTEMPTS: u32 = 12;

/// The first pause before that; it doubles, and is cut at random so that two don't go on meeting.
const PAUSE: Duration = Duration::from_millis(1);

/// What a majority of an object's primaries has promised.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The version that may be written now.
    pub(super) timestamp: Timestamp,
    /// The newest that stands.
    pub(super) newest: Found,
    /// Whether it is sure to stay: a majority has it.
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
    pub(super) container: Option<ContainerInfo>,
    pub(super) is_empty: bool,
}

impl Store {
    /// Has an object's primaries promise the next timestamp, under which it may then be written.
    pub(super) async fn prepare(&self, placement: &Placement, object: KeyHash) -> Result<Prepared> {
        let nodes = placement.object(object).into_iter().map(|slot| placement.node(slot)).collect();
        let prepare = |node: Node, until| async move { node.prepare_object(object, until).await };
        let majority = majority(placement.object(object).len());
        let newest_of = |found: &[Found]| found.iter().map(Found::stamp).max().flatten();
        let settles = |found: &[Found]| {
            let newest = newest_of(found);
            found.iter().filter(|found| found.stamp() == newest).count() >= majority
        };
        let (timestamp, found) = self.promises(nodes, prepare, settles).await?;
        let (newest, is_settled) = (newest_of(&found), settles(&found));
        let newest = found.into_iter().rfind(|found| found.stamp() == newest).unwrap_or(Found::Absent);
        Ok(Prepared { timestamp, newest, is_settled })
    }

    /// Has a container's primaries promise the next timestamp, under which it may then be deleted.
    pub(super) async fn prepare_container(&self, placement: &Placement, hash: KeyHash) -> Result<PreparedContainer> {
        let nodes = placement.container(hash).into_iter().map(|slot| placement.node(slot)).collect();
        let prepare = |node: Node, until| async move { node.prepare_container(hash, until).await };
        let (timestamp, found) = self.promises(nodes, prepare, |_| true).await?;
        let is_empty = found.iter().all(|found| found.is_empty);
        let known = found.into_iter().map(|ContainerFound { container, .. }| container);
        let newest = known.max_by_key(|known| (known.version, known.changes)).unwrap_or_else(Known::nothing);
        Ok(PreparedContainer { timestamp, container: newest.info, is_empty })
    }

    /// Asks all `nodes` for a promise until enough have given it and what they answered `settles` what stands, or all
    /// have answered; tells the promise's timestamp and the answers. Enough meet every majority.
    async fn promises<T, F: Future<Output = Result<T>>>(
        &self,
        nodes: Vec<&Node>,
        prepare: impl Fn(Node, Timestamp) -> F,
        settles: impl Fn(&[T]) -> bool,
    ) -> Result<(Timestamp, Vec<T>)> {
        let (needed, wanted) = (readers(nodes.len()), majority(nodes.len()).max(readers(nodes.len())));
        for attempt in 0..ATTEMPTS {
            let timestamp = self.clock().tick();
            if let [node] = nodes[..]
                && let Ok(found) = prepare(node.clone(), timestamp).await
            {
                return Ok((timestamp, vec![found]));
            }
            let mut asked: FuturesUnordered<_> = nodes.iter().map(|node| prepare((*node).clone(), timestamp)).collect();
            let (mut given, mut refused, mut failure) = (Vec::new(), None, None);
            while let Some(answer) = asked.next().await {
                match answer {
                    Ok(found) => given.push(found),
                    Err(Error::Promised { until }) => refused = refused.max(Some(until)),
                    Err(error) => failure = Some(error),
                }
                if given.len() >= wanted && settles(&given) {
                    break;
                }
            }
            if given.len() >= needed {
                return Ok((timestamp, given));
            }
            let Some(until) = refused else {
                let cause = Box::new(failure.unwrap_or(Error::Stopped));
                return Err(Error::NoQuorum { done: given.len(), wanted: needed, cause });
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
        tokio::time::sleep(longest.mul_f64(rand::random::<f64>())).await;
    }
}

/// Attempts that a writer has, numbered.
pub(super) fn attempts() -> impl Iterator<Item = u32> {
    0..ATTEMPTS
}
