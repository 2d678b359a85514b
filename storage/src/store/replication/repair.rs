//! What is repaired without waiting for a pass: replicas that a reader has found apart, what a writer has to find on the
//! next rings' devices, and copies that proved damaged.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;

use super::super::Store;
use super::super::placement::{Keyed, Placement, Slot};
use crate::daemon::watch::Watch;
use crate::error::{Error, Result};
use crate::index::{DigestEntry, EntryKey, EntryVersion, Tree};
use crate::key::KeyHash;
use crate::limits::MOVE_TIMEOUT;
use crate::node::{Local, Want, applies_to};
use crate::policy::is_fragments;

/// Objects that are repaired at a time; what more readers find is left to the passes.
const REPAIRS_MAX: usize = 64;

/// Readers mostly find replicas apart because a write is under way.
const PAUSE: Duration = Duration::from_secs(1);

/// Objects that are being repaired.
#[derive(Debug, Default)]
pub(in super::super) struct Repairs(Mutex<HashSet<Keyed>>);

impl Repairs {
    fn begin(&self, object: Keyed) -> bool {
        let mut repairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        repairs.len() < REPAIRS_MAX && repairs.insert(object)
    }

    fn end(&self, object: Keyed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&object);
    }
}

impl Store {
    /// A reader has found an object's replicas apart.
    pub(in super::super) fn repair(&self, object: Keyed) {
        if !self.inner.replication.repairs.begin(object) {
            return;
        }
        let store = self.clone();
        let repair = async move {
            tokio::time::sleep(PAUSE).await;
            if let Err(error) = store.bring_together(&store.placement(), object).await {
                tracing::debug!(%error, "a read's repair failed, a pass will do it");
            }
            store.inner.replication.repairs.end(object);
        };
        let stop = self.inner.stop.clone();
        self.spawn_daemon(async move { stop.run_until_cancelled(repair).await });
    }

    /// Has what stands come to the next rings' devices while they change, so that it can be told as standing.
    /// [`Error::Contended`] where that takes too long; the replicators bring it.
    pub(in super::super) async fn settle_object(&self, placement: &Placement, object: Keyed) -> Result<()> {
        if !placement.is_changing() || is_fragments(object.policy) {
            return Ok(());
        }
        match tokio::time::timeout(MOVE_TIMEOUT, self.bring_together(placement, object)).await {
            Ok(Err(error)) => tracing::debug!(%error, "what stands can't be brought to the next rings' devices"),
            Ok(Ok(())) => {}
            Err(_) => return Err(Error::Contended),
        }
        Ok(())
    }

    async fn bring_together(&self, placement: &Placement, object: Keyed) -> Result<()> {
        let tree = Tree::Objects { policy: object.policy };
        let key = EntryKey { hash: object.hash, name: None };
        let ask = |slot: Slot| {
            let (node, key) = (placement.node(slot).clone(), key.clone());
            async move { Some((slot, node.entry_version(tree, &key).await.ok()?)) }
        };
        let found: Vec<(Slot, Option<EntryVersion>)> =
            join_all(placement.object_alone(object).into_iter().map(|(slot, _)| ask(slot)))
                .await
                .into_iter()
                .flatten()
                .collect();
        let latest = |version: &Option<EntryVersion>| version.as_ref().map(EntryVersion::latest);
        let Some((holder, newest)) = found.iter().max_by_key(|(_, version)| latest(version)) else { return Ok(()) };
        let bring = |slot: Slot, have: &Option<EntryVersion>| {
            let want = Want { key: key.clone(), have: have.clone() };
            async move {
                let records = placement.node(*holder).fetch(tree, vec![want]).await?;
                placement.node(slot).import(applies_to(tree, false), records).await.map(drop)
            }
        };
        let behind = found.iter().filter(|(_, version)| version != newest);
        let brought = join_all(behind.map(|(slot, have)| bring(*slot, have))).await;
        brought.into_iter().collect()
    }

    /// Replaces what was found damaged on this host's devices by what other replicas have.
    pub(in super::super) async fn heal(&self, watch: &Watch) -> Result<()> {
        for local in self.locals() {
            let mut damaged = local.device.take_damaged();
            // A row that leaves its record to its object is lost with it.
            damaged.sort_by_key(|entry| entry.name.is_none());
            for entry in damaged {
                let is_healed = match entry.name {
                    None => self.heal_object(local, entry.hash).await,
                    Some(_) => self.give_up(local, Tree::Containers, &entry).await,
                };
                if is_healed {
                    watch.advance(1);
                } else {
                    watch.found(1);
                }
            }
        }
        Ok(())
    }

    async fn heal_object(&self, local: &Local, object: KeyHash) -> bool {
        let key = EntryKey { hash: object, name: None };
        let row = local.device.index().object(object).ok().flatten();
        let Some(policy) = local.device.index().policy_of(object).ok().flatten() else { return false };
        let (placement, tree) = (self.placement(), Tree::Objects { policy });
        if is_fragments(policy) {
            let version = local.device.index().entry_version(tree, &key).ok().flatten();
            let (Some(row), Some(version)) = (row, version) else { return false };
            let Some(me) = placement.slot_of(&local.device.id()) else { return false };
            let node = placement.node(me);
            let healed = self.heal_fragment(local, node, Keyed { hash: object, policy }, &row, version).await;
            if let Err(error) = &healed {
                tracing::warn!(%error, object = %hex::encode(object.0), "a damaged fragment can't be made anew");
            }
            return healed.is_ok();
        }
        let me = placement.slot_of(&local.device.id());
        let keepers = placement.object_alone(Keyed { hash: object, policy });
        for (slot, _) in keepers.into_iter().filter(|(slot, _)| Some(*slot) != me) {
            let want = Want { key: key.clone(), have: None };
            let Ok(records) = placement.node(slot).fetch(tree, vec![want]).await else { continue };
            match local.heal(records).await {
                Ok(true) => {
                    tracing::info!(object = %hex::encode(object.0), "a damaged copy was replaced by a replica's");
                    return true;
                }
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "a replica could not heal a damaged copy"),
            }
        }
        self.give_up(local, tree, &key).await
    }

    /// Gives up an entry of this host's that can't be read and that no other device has: a write that was never
    /// acknowledged left it here alone, and it would keep replicas apart for ever. Tells whether it is gone.
    async fn give_up(&self, local: &Local, tree: Tree, key: &EntryKey) -> bool {
        let given_up = self.give_up_if_alone(local, tree, key).await;
        given_up.unwrap_or_else(|error| {
            tracing::debug!(%error, "it can't be told whether others have what is damaged here");
            false
        })
    }

    async fn give_up_if_alone(&self, local: &Local, tree: Tree, key: &EntryKey) -> Result<bool> {
        let (index, placement) = (local.device.index(), self.placement());
        let Some(version) = index.entry_version(tree, key)? else { return Ok(true) };
        if !placement.places(tree) || !local.device.is_unreadable(self.hasher(), tree, key).await? {
            return Ok(false);
        }
        let keepers = placement.keepers(tree, key.hash.partition(placement.power(tree)));
        let me = placement.slot_of(&local.device.id()).filter(|me| keepers.contains(me));
        // Of what was acknowledged a majority has a copy: without others' word it may be this one.
        let Some(me) = me.filter(|_| keepers.len() > 1) else { return Ok(false) };
        for slot in keepers.into_iter().filter(|slot| *slot != me) {
            let theirs = placement.node(slot).entry_version(tree, key).await?;
            if !index.lacking(self.hasher(), tree, key, theirs.as_ref())?.is_anything() {
                return Ok(false);
            }
        }
        let entry = DigestEntry { key: key.clone(), version };
        let count = local.device.forget(self.hasher(), tree, &[entry]).await?;
        tracing::error!(entry = ?key, "what is damaged here is nowhere else: it is given up");
        Ok(count > 0)
    }
}
