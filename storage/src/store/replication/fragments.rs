//! What the reconstructor does: every device of a partition keeps another fragment, so what one lacks is computed
//! from those of others, unless there is one that has just that and moves it.

use super::super::erasure::{Layout, Turn};
use super::super::placement::{Keyed, Placement, Slot};
use super::Replicator;
use crate::error::{Error, Result};
use crate::index::{ObjectState, Tree};
use crate::node::Want;

impl Replicator {
    /// See the module. Goes on past an object of which too few fragments are left; the first failure is told.
    pub(super) async fn bring_fragments(
        &self,
        placement: &Placement,
        target: Slot,
        tree: Tree,
        policy: u32,
        wants: Vec<Want>,
    ) -> Result<()> {
        let Some(me) = placement.slot_of(&self.local.device.id()) else { return Ok(()) };
        let (mut sent, mut outcome) = (Vec::new(), Ok(()));
        for want in wants {
            let ObjectState::Live(row) = self.local.device.index().object_state(want.key.hash)? else {
                sent.push(want);
                continue;
            };
            let (mine, layout) = Layout::of_items(&row.info.metadata)?;
            let fragments = Keyed { hash: want.key.hash, policy };
            match self.store.turn(placement, fragments, (me, mine), target) {
                Turn::Send => sent.push(want),
                Turn::Wait => {}
                Turn::Rebuild(index) => {
                    let node = placement.node(target);
                    match self.store.rebuild(node, &layout, index, row.info.timestamp).await {
                        Ok(()) => self.watch.advance(1),
                        Err(error @ (Error::Unreachable { .. } | Error::Stopped)) => return Err(error),
                        // It was deleted meanwhile.
                        Err(Error::Stale { .. }) => {}
                        // Its writer died before there were enough of them: they are left to the sweeper.
                        Err(Error::NoQuorum { .. }) if matches!(self.store.has_head(&layout).await, Ok(false)) => {}
                        Err(error) => outcome = outcome.and(Err(error)),
                    }
                }
            }
        }
        outcome.and(self.bring(placement, target, tree, sent).await)
    }
}
