//! One mutation on several devices at once, acknowledged at a durable majority.
//!
//! What was synced before the acknowledgement: the mutation's record, and the extents it names, on a
//! majority of the primaries that keep the object, and on a majority of those that keep the container's and
//! the account's rows; while the rings change, by the rings in force and by the next. The rest go on in the background. Devices that stand in for a primary do not count.

use anello_base::{Class, Timestamp};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::placement::Duty;
use super::settling::UnderWay;
use crate::error::{Error, Result};
use crate::majority::majority;
use crate::mutation::Applies;
use crate::node::{Node, Write};

/// One device's share of a mutation; an error where the device has failed before.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) node: Node,
    pub(super) duty: Duty,
    /// Of an object whose row goes to several shards: which of them this is for; 0 is the object itself.
    pub(super) shard: usize,
    pub(super) write: Result<Write>,
    /// Who takes which part where the device can't.
    pub(super) stand_ins: Vec<(Node, Applies)>,
    /// Until when readers of statistics wait.
    pub(super) under_way: UnderWay,
}

/// What a mutation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A majority has it; whether nothing was there before.
    Done { created: bool },
    /// Nobody has taken it: this later version stands, or was promised.
    Refused(Timestamp),
    /// Its row has another place than was thought. It is to be written there under the same version.
    Resharded { created: bool, object: Taken },
}

/// By how many devices an object was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Taken {
    Nobody,
    Some,
    Majority,
}

/// What one device made of its share.
#[derive(Debug)]
enum Answer {
    Taken {
        created: bool,
    },
    Refused(Timestamp),
    /// As `Refused`, and the data that were sent before are gone.
    Lost(Timestamp),
    Failed(Error),
}

impl Share {
    async fn commit(self) -> Answer {
        let _until_answered = self.under_way;
        let stands_in = |write: &Write, applies| Write { applies, stands_in: true, ..write.clone() };
        let write = match self.write {
            Ok(write) => write,
            Err(error) => return Answer::Failed(error),
        };
        // Its data went to another host or into extents of another device: the replicator brings them.
        let can_move = write.upload.is_none() && !write.mutation.has_extents();
        let kept = (can_move && !self.stand_ins.is_empty()).then(|| write.clone());
        let error = match self.node.commit(write).await {
            Ok(effect) => {
                let refused = if can_move { Answer::Refused } else { Answer::Lost };
                return effect.stale.map_or(Answer::Taken { created: effect.created }, refused);
            }
            Err(Error::Promised { until }) => return Answer::Refused(until),
            Err(error) => error,
        };
        for (node, applies) in self.stand_ins {
            let is_refused = is_missing(&error) || matches!(error, Error::OldShards);
            let Some(write) = kept.as_ref().filter(|_| !is_refused) else { break };
            if let Err(error) = node.commit(stands_in(write, applies)).await {
                tracing::debug!(%error, "a stand-in failed, too");
            }
        }
        Answer::Failed(error)
    }
}

/// Acknowledgements of one part (object, container or account).
#[derive(Debug, Clone, Copy)]
struct Tally {
    concerns: fn(&Duty) -> bool,
    shard: usize,
    wanted: usize,
    done: usize,
    open: usize,
}

impl Tally {
    fn of(shares: &[Share], at_least: usize, shard: usize, concerns: fn(&Duty) -> bool) -> Self {
        let replicas = shares.iter().filter(|share| share.shard == shard && concerns(&share.duty)).count();
        let wanted = if replicas == 0 { 0 } else { majority(replicas).max(at_least) };
        Self { concerns, shard, wanted, done: 0, open: replicas }
    }

    fn count(&mut self, shard: usize, duty: &Duty, taken: bool) {
        if self.shard == shard && (self.concerns)(duty) {
            self.open -= 1;
            self.done += usize::from(taken);
        }
    }

    fn is_reached(&self) -> bool {
        self.done >= self.wanted
    }
}

/// Commits every share and returns once each part has its majority, or once every device has answered and one has
/// not. Dropped half-way, what was submitted may still become durable.
pub(super) async fn commit(shares: Vec<Share>, background: &TaskTracker) -> Result<Outcome> {
    commit_on(0, shares, background).await
}

/// The same for a part that needs so many devices, if that is more than a majority.
pub(super) async fn commit_on(at_least: usize, mut shares: Vec<Share>, background: &TaskTracker) -> Result<Outcome> {
    if shares.len() == 1
        && let Some(share) = shares.pop()
    {
        return match share.commit().await {
            Answer::Taken { created } => Ok(Outcome::Done { created }),
            Answer::Refused(later) => Ok(Outcome::Refused(later)),
            Answer::Lost(_) => Err(Error::Contended),
            Answer::Failed(Error::OldShards) => Ok(Outcome::Resharded { created: false, object: Taken::Nobody }),
            Answer::Failed(error) => Err(error),
        };
    }
    let tally = |shard, concerns| Tally::of(&shares, at_least, shard, concerns);
    let mut tallies = vec![tally(0, |duty| duty.now.object), tally(0, |duty| duty.next.object)];
    for shard in 0..=shares.last().map_or(0, |share| share.shard) {
        tallies.extend([tally(shard, |duty| duty.now.container), tally(shard, |duty| duty.next.container)]);
    }
    if tallies[0].wanted == 0 {
        // An object's write changes the account only where a container's device happens to keep that, too.
        tallies.extend([tally(0, |duty| duty.now.account), tally(0, |duty| duty.next.account)]);
    }
    let mut commits = JoinSet::new();
    for share in shares {
        commits.spawn(async move { (share.shard, share.duty, share.commit().await) });
    }
    let (mut created, mut refused, mut failure) = (false, None, None);
    let (mut is_lost, mut is_elsewhere) = (false, false);
    while let Some(Ok((shard, duty, answer))) = commits.join_next().await {
        tallies.iter_mut().for_each(|tally| tally.count(shard, &duty, matches!(answer, Answer::Taken { .. })));
        match answer {
            Answer::Taken { created: new } => created |= new && (shard == 0),
            Answer::Failed(Error::OldShards) => is_elsewhere = true,
            Answer::Refused(later) => refused = refused.max(Some(later)),
            Answer::Lost(later) => (refused, is_lost) = (refused.max(Some(later)), true),
            // One that lacks the container may only be behind.
            Answer::Failed(error) if failure.is_none() || !is_missing(&error) => failure = Some(error),
            Answer::Failed(_) => {}
        }
        if tallies.iter().all(Tally::is_reached) {
            background.spawn(async move { while commits.join_next().await.is_some() {} });
            return Ok(Outcome::Done { created });
        }
    }
    if is_elsewhere && refused.is_none() {
        let object = &tallies[..2];
        let object = match object.iter().all(|tally| tally.done == 0) {
            true => Taken::Nobody,
            false if object.iter().all(Tally::is_reached) => Taken::Majority,
            false => Taken::Some,
        };
        return Ok(Outcome::Resharded { created, object });
    }
    match verdict(&tallies, refused, failure) {
        // To begin again takes the data.
        Ok(Outcome::Refused(_)) if is_lost => Err(Error::Contended),
        verdict => verdict,
    }
}

fn is_missing(error: &Error) -> bool {
    error.class() == Class::Missing
}

/// What to say where a part has no majority and everybody has answered.
fn verdict(tallies: &[Tally], refused: Option<Timestamp>, failure: Option<Error>) -> Result<Outcome> {
    // The first part is what the mutation is about, by the rings in force or by the next; its rows may be written again.
    let about = tallies.chunks(2).find(|now_and_next| now_and_next.iter().any(|tally| tally.wanted > 0));
    let taken = about.into_iter().flatten().map(|tally| tally.done).max().unwrap_or(0);
    match (refused, failure) {
        (Some(later), None) if taken == 0 => Ok(Outcome::Refused(later)),
        (_, Some(error)) if is_missing(&error) => Err(error),
        (refused, failure) => {
            let lost = tallies.iter().find(|tally| !tally.is_reached()).unwrap_or(&tallies[0]);
            let contended = refused.map(|until| Error::Promised { until });
            let cause = Box::new(failure.or(contended).unwrap_or(Error::Stopped));
            Err(Error::NoQuorum { done: lost.done, wanted: lost.wanted, cause })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that began again would meet itself: a deletion would say that nothing was there.
    #[test]
    fn what_a_device_of_the_next_rings_alone_has_taken_is_not_refused_by_all() {
        let tally = |wanted, done| Tally { concerns: |_| true, shard: 0, wanted, done, open: 0 };
        let later = Some(Timestamp::from_seconds(1));
        for (now, next, is_refused) in [((2, 0), (2, 0), true), ((2, 0), (2, 1), false), ((2, 1), (0, 0), false)] {
            // Its rows may have been taken.
            let tallies = [tally(now.0, now.1), tally(next.0, next.1), tally(2, 2), tally(2, 2)];
            let verdict = verdict(&tallies, later, None);
            assert_eq!(matches!(verdict, Ok(Outcome::Refused(_))), is_refused, "{now:?} {next:?}: {verdict:?}");
        }
    }
}
