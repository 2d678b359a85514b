//! Whether anything below a container has changed, without a listing: the digest of its leaf, which every replica keeps
//! with each write ([`crate::index`]), as each of a majority has it.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::Store;
use super::placement::{Placement, Slot};
use super::quorum::readers;
use crate::error::{Error, Result};
use crate::index::{DIGEST_LEAF_BITS, Digest, Tree};
use crate::key::KeyHash;

/// How a container's rows stood at a moment, by the replicas that were asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerState(BTreeMap<Slot, Digest>);

impl ContainerState {
    /// Whether nothing that was acknowledged since `earlier` can have changed a row: every replica that was asked now
    /// was asked then, and has what it had. A write is acknowledged by a majority, and so by one of them.
    ///
    /// States of the same store only; a container that shares its leaf with others may seem changed.
    pub fn is_still(&self, earlier: &Self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(slot, digest)| earlier.0.get(slot) == Some(digest))
    }
}

impl Store {
    /// How a container's rows stand now.
    pub async fn container_state(&self, account: &str, container: &str) -> Result<ContainerState> {
        let (placement, hash) = (self.placement(), self.hasher().container(account, container));
        let slots = placement.container(hash);
        let wanted = readers(slots.len());
        let mut asked: FuturesUnordered<_> = slots.into_iter().map(|slot| digest(&placement, slot, hash)).collect();
        let (mut state, mut failure) = (BTreeMap::new(), None);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok((slot, digest)) => drop(state.insert(slot, digest)),
                Err(error) => failure = Some(error),
            }
            if state.len() >= wanted {
                return Ok(ContainerState(state));
            }
        }
        let cause = Box::new(failure.unwrap_or(Error::Stopped));
        Err(Error::NoQuorum { done: state.len(), wanted, cause })
    }
}

/// The digest of the leaf as one replica has it. Told that ours is nothing, it says what it has.
async fn digest(placement: &Placement, slot: Slot, hash: KeyHash) -> Result<(Slot, Digest)> {
    let leaf = hash.partition(DIGEST_LEAF_BITS);
    let ours = [(leaf, Digest::default())];
    let theirs = placement.node(slot).differing(Tree::Containers, DIGEST_LEAF_BITS, &ours).await?;
    let mut digest = Digest::default();
    theirs.iter().flat_map(|it| &it.leaves).for_each(|(_, of_leaf)| digest.add(*of_leaf));
    Ok((slot, digest))
}
