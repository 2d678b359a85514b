//! One mutation on several devices at once, acknowledged at a durable majority.
//!
//! What was synced before the acknowledgement: the mutation's record, and the extents it names, on a
//! majority of the devices that keep the object, and on a majority of those that keep the container's and
//! the account's rows. The rest go on in the background.

use anello_base::Timestamp;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::locks::OnItsWay;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::mutation::{Applies, Mutation};

/// Replicas that must acknowledge: more than half, and of two one (as in Swift), since otherwise two
/// devices would be less available than one.
pub(super) fn majority(replicas: usize) -> usize {
    if replicas == 2 { 1 } else { replicas / 2 + 1 }
}

/// One device's share of a mutation; an error where the device has failed before.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) device: Device,
    pub(super) mutation: Result<Mutation>,
    pub(super) applies: Applies,
    /// Until when readers of this device's rows wait; a share that is alone has none,
    /// since its acknowledgement says that it is applied.
    pub(super) on_its_way: Vec<OnItsWay>,
}

impl Share {
    async fn commit(self) -> Result<Outcome> {
        let _until_applied = self.on_its_way;
        let effect = self.device.commit(self.mutation?, self.applies).await?;
        Ok(Outcome { stale: effect.stale, created: effect.created })
    }
}

/// What a mutation came to on the devices that acknowledged it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// A later version that stands already.
    pub(super) stale: Option<Timestamp>,
    /// Whether nothing was there before.
    pub(super) created: bool,
}

/// Acknowledgements of one part (object, container or account).
#[derive(Debug, Clone, Copy)]
struct Tally {
    concerns: fn(&Applies) -> bool,
    wanted: usize,
    done: usize,
    open: usize,
}

impl Tally {
    fn of(shares: &[Share], concerns: fn(&Applies) -> bool) -> Self {
        let replicas = shares.iter().filter(|share| concerns(&share.applies)).count();
        let wanted = if replicas == 0 { 0 } else { majority(replicas) };
        Self { concerns, wanted, done: 0, open: replicas }
    }

    fn count(&mut self, applies: &Applies, acknowledged: bool) {
        if (self.concerns)(applies) {
            self.open -= 1;
            self.done += usize::from(acknowledged);
        }
    }
}

/// Commits every share and returns once each part has its majority. Dropped half-way, what was submitted
/// may still become durable.
pub(super) async fn commit(mut shares: Vec<Share>, background: &TaskTracker) -> Result<Outcome> {
    if shares.len() == 1
        && let Some(share) = shares.pop()
    {
        return share.commit().await;
    }
    let mut tallies =
        [Tally::of(&shares, |a| a.object), Tally::of(&shares, |a| a.container), Tally::of(&shares, |a| a.account)];
    let mut commits = JoinSet::new();
    for share in shares {
        commits.spawn(async move { (share.applies, share.commit().await) });
    }
    let mut sum = Outcome::default();
    let mut first_failure = None;
    let result = loop {
        let Some(Ok((applies, outcome))) = commits.join_next().await else {
            break Err(first_failure.unwrap_or(Error::Stopped));
        };
        tallies.iter_mut().for_each(|tally| tally.count(&applies, outcome.is_ok()));
        match outcome {
            Ok(Outcome { stale, created }) => {
                sum = Outcome { stale: sum.stale.max(stale), created: sum.created | created };
            }
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
        if let Some(lost) = tallies.iter().find(|tally| tally.done + tally.open < tally.wanted) {
            let cause = Box::new(first_failure.unwrap_or(Error::Stopped));
            break Err(Error::NoQuorum { done: lost.done, wanted: lost.wanted, cause });
        }
        if tallies.iter().all(|tally| tally.done >= tally.wanted) {
            break Ok(sum);
        }
    };
    background.spawn(async move { while commits.join_next().await.is_some() {} });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_more_than_half_and_of_two_one() {
        assert_eq!([1, 2, 3, 4, 5].map(majority), [1, 1, 2, 3, 3]);
    }
}
