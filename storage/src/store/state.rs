//! Whether anything below a container has changed, without a listing: the digest of its leaf, which every replica keeps
//! with each write ([`crate::index`]), as each of a majority has it.

use std::collections::BTreeMap;

use super::Store;
use super::read::ask_majority;
use crate::error::Result;
use crate::index::{DIGEST_LEAF_BITS, Digest, Tree};
use crate::key::KeyHash;
use crate::node::Node;

/// How a container's rows stood at a moment, by the replicas that were asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerState(BTreeMap<String, Digest>);

impl ContainerState {
    /// Whether nothing that was acknowledged since `earlier` can have changed a row: every replica that was asked now
    /// was asked then, and has what it had. A write is acknowledged by a majority, and so by one of them.
    ///
    /// States of the same store only; a container that shares its leaf with others may seem changed.
    pub fn is_still(&self, earlier: &Self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(device, digest)| earlier.0.get(device) == Some(digest))
    }
}

impl Store {
    /// How a container's rows stand now.
    pub async fn container_state(&self, account: &str, container: &str) -> Result<ContainerState> {
        let (placement, hash) = (self.placement(), self.hasher().container(account, container));
        let ask = |node: Node| async move { digest(&node, hash).await };
        let answers = ask_majority(&placement, &placement.container_sets(hash), ask).await;
        match answers.lacking {
            Some(lacking) => Err(lacking),
            None => Ok(ContainerState(answers.found.into_iter().collect())),
        }
    }
}

/// The digest of the leaf as one replica has it, by the device's name. Told that ours is nothing, it says what it has.
async fn digest(node: &Node, hash: KeyHash) -> Result<(String, Digest)> {
    let leaf = hash.partition(DIGEST_LEAF_BITS);
    let ours = [(leaf, Digest::default())];
    let theirs = node.differing(Tree::Containers, DIGEST_LEAF_BITS, &ours).await?;
    let mut digest = Digest::default();
    theirs.iter().flat_map(|it| &it.leaves).for_each(|(_, of_leaf)| digest.add(*of_leaf));
    Ok((node.name(), digest))
}
