//! Fragments of objects that were cut: who deletes those of replaced objects, and what must be left of them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::world::World;
use super::{chance, trace};
use crate::Store;
use crate::daemon::watch::{Unit, Watch};
use crate::limits::FRAGMENT_SWEEP_INTERVAL;

/// How often replaced objects are looked at.
const REAP_INTERVAL: Duration = Duration::from_secs(2);

/// Objects that are looked at at once.
const REAP_BATCH: usize = 100;

/// Rounds after which whatever has no head is swept: one device looks in each round, the others in every eighth, and a
/// second one confirms.
const ROUNDS: u32 = 10;

/// For the deletions of a round to come to all devices.
const ROUND: Duration = Duration::from_secs(2);

/// Deletes the fragments of replaced objects some time after, as the doors' reaper does.
pub(super) async fn reap(store: Store) {
    let grace = Duration::from_secs(chance::within(5..=30));
    let mut seen = HashMap::new();
    loop {
        tokio::time::sleep(REAP_INTERVAL).await;
        for pending in store.parts_to_delete(REAP_BATCH).unwrap_or_default() {
            let since: &mut Instant =
                seen.entry((pending.info().timestamp, pending.info().etag.clone())).or_insert_with(Instant::now);
            if since.elapsed() >= grace && store.delete_fragments(&pending).await.is_ok() {
                // It comes again if it is not settled.
                let _ = store.settle_parts(pending).await;
                trace::count("objects whose fragments were reaped");
            }
        }
    }
}

impl World {
    /// Has the sweepers delete every fragment that has no head.
    pub(crate) async fn sweep(&self) -> Result<(), String> {
        let watch = Watch::new("sweeper", None, Unit::Objects);
        let mut suspects: Vec<_> = self.stores().iter().map(|_| Default::default()).collect();
        for _ in 0..ROUNDS {
            self.hosts.iter().for_each(|host| host.set_forward(FRAGMENT_SWEEP_INTERVAL));
            for (store, suspects) in self.stores().iter().zip(&mut suspects) {
                let round = store.sweep_fragments(&watch, suspects).await;
                *suspects = round.map_err(|error| format!("a round of the sweeper fails: {error}"))?;
            }
            tokio::time::sleep(ROUND).await;
        }
        Ok(())
    }

    /// Once the sweeper has been through, every device has the fragment of its place of every object that is cut, and
    /// none else.
    pub(crate) async fn check_fragments(&self) -> Result<(), String> {
        self.sweep().await?;
        for store in self.stores() {
            for fragment in store.fragments().await.map_err(|error| error.to_string())? {
                if fragment.expected != Some(fragment.index) || !fragment.is_needed {
                    return Err(format!("{} has a fragment that it should not have: {fragment:?}", fragment.device));
                }
                trace::count("fragments that are as they should be");
            }
        }
        Ok(())
    }
}
