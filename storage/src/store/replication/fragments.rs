//! What the reconstructor does: every device of a partition keeps another fragment, so what one lacks is computed
//! from those of others, unless there is one that has just that and moves it.

use anello_base::Timestamp;
use futures::StreamExt;

use super::super::erasure::{Layout, Turn};
use super::super::placement::{Keyed, Placement, Slot};
use super::Replicator;
use super::bring::is_over;
use crate::error::{Error, Result};
use crate::index::{ObjectState, Tree};
use crate::limits::REBUILDS_AT_ONCE;
use crate::node::Want;

/// A fragment to be made anew, of the version that this device has another of.
struct Rebuild {
    layout: Layout,
    index: usize,
    version: Timestamp,
}

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
        let (mut sent, mut rebuilds, mut outcome) = (Vec::new(), Vec::new(), Ok(()));
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
                Turn::Rebuild(index) => rebuilds.push(Rebuild { layout, index, version: row.info.timestamp }),
            }
        }
        let rebuilds = rebuilds.into_iter().map(|rebuild| self.rebuild(placement, target, rebuild));
        let mut rebuilds = futures::stream::iter(rebuilds).buffered(REBUILDS_AT_ONCE);
        while let Some(rebuilt) = rebuilds.next().await {
            match rebuilt {
                Err(error) if is_over(&error) => return Err(error),
                rebuilt => outcome = outcome.and(rebuilt),
            }
        }
        outcome.and(self.send(placement, target, tree, sent).await)
    }

    async fn rebuild(&self, placement: &Placement, target: Slot, rebuild: Rebuild) -> Result<()> {
        let Rebuild { layout, index, version } = rebuild;
        self.throttle.pass(layout.fragment_bytes() as usize).await;
        match self.store.rebuild(placement.node(target), &layout, index, version).await {
            Ok(()) => {
                self.watch.advance(1);
                Ok(())
            }
            // It was deleted meanwhile.
            Err(Error::Stale { .. }) => Ok(()),
            // Its writer died before there were enough of them: they are left to the sweeper.
            Err(Error::NoQuorum { .. }) if matches!(self.store.has_head(&layout).await, Ok(false)) => Ok(()),
            failed => failed,
        }
    }
}
