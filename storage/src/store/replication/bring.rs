//! Sending to another replica what it lacks.

use std::collections::{BTreeMap, HashMap};

use super::super::placement::{Placement, Slot};
use super::Replicator;
use crate::error::{Error, Result};
use crate::index::Tree;
use crate::key::KeyHash;
use crate::mutation::Applies;
use crate::node::{Node, Want, applies_to};
use crate::policy::is_fragments;

/// Entries that one call brings: what a failed one makes be sent again.
const BATCH: usize = 256;

/// Whether there is no use in going on with a replica: it can't be reached, or this process ends.
pub(super) fn is_over(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. } | Error::Stopped)
}

impl Replicator {
    /// Sends `target` what it lacks, made anew where this device has not just that. Goes on past an entry for which
    /// that fails, unless it [is over](is_over).
    pub(super) async fn bring(&self, placement: &Placement, target: Slot, tree: Tree, wants: Vec<Want>) -> Result<()> {
        match tree {
            Tree::Objects { policy } if is_fragments(policy) => {
                self.bring_fragments(placement, target, tree, policy, wants).await
            }
            _ => self.send(placement, target, tree, wants).await,
        }
    }

    /// Sends `target` what this device has. Where a call fails, what it carried is sent one by one, so that an entry
    /// which can't be sent does not hold up others.
    pub(super) async fn send(&self, placement: &Placement, target: Slot, tree: Tree, wants: Vec<Want>) -> Result<()> {
        let (mut accounts, mut outcome) = (HashMap::new(), Ok(()));
        let mut alike: BTreeMap<bool, Vec<Want>> = BTreeMap::new();
        for want in wants {
            let account_is_there = match accounts.get(&want.key.hash) {
                Some(known) => *known,
                None => self.account_is_at(placement, target, tree, want.key.hash)?,
            };
            accounts.insert(want.key.hash, account_is_there);
            alike.entry(account_is_there).or_default().push(want);
        }
        let node = placement.node(target);
        for (account_is_there, wants) in alike {
            let applies = applies_to(tree, account_is_there);
            for batch in wants.chunks(BATCH) {
                if self.send_batch(node, tree, applies, batch.to_vec()).await.is_ok() {
                    continue;
                }
                for want in batch {
                    match self.send_batch(node, tree, applies, vec![want.clone()]).await {
                        Err(error) if is_over(&error) => return Err(error),
                        sent => outcome = outcome.and(sent),
                    }
                }
            }
        }
        outcome
    }

    async fn send_batch(&self, node: &Node, tree: Tree, applies: Applies, wants: Vec<Want>) -> Result<()> {
        let records = self.throttle.slow(self.local.fetch(tree, wants));
        let count = node.import(applies, records).await?;
        self.watch.advance(count);
        Ok(())
    }

    /// Whether `target` keeps the account of a container, too.
    fn account_is_at(&self, placement: &Placement, target: Slot, tree: Tree, container: KeyHash) -> Result<bool> {
        if tree != Tree::Containers {
            return Ok(false);
        }
        let account = self.local.device.index().account_of(container)?;
        Ok(account.is_some_and(|account| placement.keeps_account(target, account)))
    }
}
