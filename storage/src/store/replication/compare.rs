//! Comparing with another replica: what it lacks of what this device has.

use std::collections::HashMap;
use std::ops::Range;

use anello_base::Timestamp;

use super::Replicator;
use crate::error::Result;
use crate::index::{Digest, DigestEntry, EntryKey, EntryVersion, Tree};
use crate::limits::RECLAIM_AGE;
use crate::node::{Differing, ENTRIES_MAX, Node, Span, Want, leaves_of, sum};

/// Entries below neighbouring leaves that are still to be compared.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) leaves: Range<u32>,
    /// They lie behind this one.
    pub(super) after: Option<EntryKey>,
}

/// What one replica lacks of the first entries of a run.
pub(super) struct Lacking {
    pub(super) wants: Vec<Want>,
    /// How far the comparison came; the run's end where there is none.
    pub(super) through: Option<EntryKey>,
}

impl Run {
    pub(super) fn of(leaves: Range<u32>) -> Self {
        Self { leaves, after: None }
    }

    /// What is left of it behind `through`.
    pub(super) fn behind(&self, through: EntryKey) -> Self {
        Self { leaves: self.leaves.clone(), after: Some(through) }
    }
}

impl Replicator {
    /// Leaves that have other digests at another replica. Neighbours make one run: where leaves have an entry or two,
    /// comparing them one by one would cost a call for each.
    pub(super) fn runs(&self, tree: Tree, power: u8, differing: Differing) -> Result<Vec<Run>> {
        let theirs: HashMap<u32, Digest> = differing.leaves.into_iter().collect();
        let (mut runs, mut goes_on) = (Vec::<Run>::new(), false);
        for (leaf, digest) in self.local.device.index().digests(tree, leaves_of(differing.partition, power))? {
            let differs = theirs.get(&leaf) != Some(&digest);
            match runs.last_mut() {
                Some(run) if differs && goes_on => run.leaves.end = leaf + 1,
                _ if differs => runs.push(Run::of(leaf..leaf + 1)),
                _ => {}
            }
            goes_on = differs;
        }
        Ok(runs)
    }

    /// The first entries of a run.
    pub(super) fn page(&self, tree: Tree, run: &Run) -> Result<Vec<DigestEntry>> {
        self.local.device.index().digest_entries(tree, run.leaves.clone(), run.after.as_ref(), ENTRIES_MAX)
    }

    /// What `node` lacks of `page`, the first entries of a run; what is newer than `settled` may still be on its way.
    pub(super) async fn compare(
        &self,
        node: &Node,
        tree: Tree,
        run: &Run,
        page: &[DigestEntry],
        settled: Option<Timestamp>,
    ) -> Result<Lacking> {
        let last = page.last().filter(|_| page.len() == ENTRIES_MAX).map(|entry| entry.key.clone());
        if page.is_empty() {
            return Ok(Lacking { wants: Vec::new(), through: None });
        }
        let Run { leaves, after } = run.clone();
        let span = Span { tree, leaves, after, through: last.clone(), digest: sum(page) };
        let Some(theirs) = node.compare(span).await? else {
            return Ok(Lacking { wants: Vec::new(), through: last });
        };
        let through = if theirs.is_whole { last } else { theirs.entries.last().map(|entry| entry.key.clone()) };
        let theirs: HashMap<EntryKey, EntryVersion> =
            theirs.entries.into_iter().map(|entry| (entry.key, entry.version)).collect();
        let mut wants = Vec::new();
        for entry in page.iter().take_while(|entry| through.as_ref().is_none_or(|through| entry.key <= *through)) {
            let have = theirs.get(&entry.key);
            if have != Some(&entry.version)
                && settled.is_none_or(|settled| entry.version.latest() <= settled)
                && !self.is_old_tombstone(&entry.version)
                && self.lacks(tree, entry, have)?
            {
                wants.push(Want { key: entry.key.clone(), have: have.cloned() });
            }
        }
        Ok(Lacking { wants, through })
    }

    /// Whether there is anything of `entry` that a replica which shows `have` would keep.
    fn lacks(&self, tree: Tree, entry: &DigestEntry, have: Option<&EntryVersion>) -> Result<bool> {
        let lacking = self.local.device.index().lacking(self.store.hasher(), tree, &entry.key, have)?;
        if lacking.is_lost {
            self.local.device.report_damaged(entry.key.clone());
        }
        Ok(lacking.is_anything())
    }

    /// A tombstone that replicas are free to forget, and may have forgotten.
    fn is_old_tombstone(&self, version: &EntryVersion) -> bool {
        let old = self.store.clock().wall().minus(RECLAIM_AGE);
        version.is_deleted() && version.latest() < old
    }
}
