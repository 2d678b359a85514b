//! Applies mutations to an [`Overlay`]: who wins, what it counts for, what it leaves dead.
//!
//! The outcome is a function of the set of records, not of their order: see `version` and `history`.
//! A record is dead once nothing that it brought is the present state of anything: its object, its
//! row, its container, its account, parts that are still to be deleted.

use anello_base::Timestamp;

use super::history::{Change, HistoryMerged, Origin};
use super::overlay::{Overlay, Parts};
use super::tables::parts_key;
use super::totals::ContainerRow;
use super::version::{Data, Live, Merged, Versions};
use super::{Effect, Placed};
use crate::error::Result;
use crate::key::{KeyHash, ObjectPath};
use crate::model::Metadata;
use crate::mutation::{Applies, ContainerPut, Location, Mutation, PathHashes};

impl<'a> Overlay<'a> {
    /// Applies one record.
    pub(super) fn apply(&mut self, placed: &'a Placed) -> Result<Effect> {
        let record = placed.location;
        match &placed.mutation {
            Mutation::ObjectPut(put) => self.object(placed, &put.path, put.hashes, put.timestamp),
            Mutation::ObjectPost(post) => self.object(placed, &post.path, post.hashes, post.timestamp),
            Mutation::ObjectDelete { path, hashes, timestamp, .. } => self.object(placed, path, *hashes, *timestamp),
            Mutation::ContainerPut(put) => self.container_put(put, placed.applies, record),
            Mutation::ContainerDelete { account, container, account_hash, container_hash, timestamp } => {
                if !placed.applies.container {
                    return self.concerns_nobody(record);
                }
                let touched = self.container(*container_hash, *account_hash, account, container)?;
                let merged = touched.now.history.delete(*timestamp, record);
                touched.now.touch(*timestamp);
                touched.tell(placed.applies.account);
                let origin = |(record, _)| (record, Origin::Container(*container_hash));
                let released = merged.released.into_iter().map(origin).collect();
                self.history_effect(*account_hash, HistoryMerged { released, ..merged })
            }
            Mutation::AccountPut { account_hash, timestamp, changes, .. } => {
                if !placed.applies.account {
                    return self.concerns_nobody(record);
                }
                let change = Change { timestamp: *timestamp, record, policy: 0, origin: Origin::Own };
                let merged = self.account(*account_hash)?.now.history.change(change, changes);
                self.history_effect(*account_hash, merged)
            }
            Mutation::AccountDelete { account_hash, timestamp, .. } => {
                if !placed.applies.account {
                    return self.concerns_nobody(record);
                }
                let merged = self.account(*account_hash)?.now.history.delete(*timestamp, record);
                self.history_effect(*account_hash, merged)
            }
            Mutation::ContainerStats {
                container,
                account_hash,
                created,
                modified,
                deleted,
                version,
                object_count,
                bytes_used,
                ..
            } => {
                if !placed.applies.account {
                    return self.concerns_nobody(record);
                }
                let row = ContainerRow {
                    created: *created,
                    modified: *modified,
                    deleted: *deleted,
                    version: *version,
                    object_count: *object_count,
                    bytes_used: *bytes_used,
                    record: Some(record),
                    container: None,
                };
                self.container_stats(*account_hash, container, row, record)
            }
        }
    }

    /// No part of the record concerns this device.
    fn concerns_nobody(&mut self, record: Location) -> Result<Effect> {
        self.bury(record);
        Ok(Effect { dead_records: vec![record], ..Effect::default() })
    }

    /// A put, post or deletion of an object.
    fn object(
        &mut self,
        placed: &'a Placed,
        path: &'a ObjectPath,
        hashes: PathHashes,
        timestamp: Timestamp,
    ) -> Result<Effect> {
        let (applies, record) = (placed.applies, placed.location);
        if !applies.object && !applies.container {
            return self.concerns_nobody(record);
        }
        let name = self.name(path, hashes)?;
        let mut maybe_dead = name.records();
        maybe_dead.push(record);
        let size_before = name.row.live().map(|live| live.size);
        let multipart = name.row.live().filter(|live| live.content.has_parts()).map(|live| live.timestamp);
        let row = applies.container.then(|| merge(&mut name.row, placed, false));
        let object = applies.object.then(|| merge(&mut name.object, placed, true));
        let size_after = name.row.live().map(|live| live.size);
        if applies.container {
            // Kept also where nothing counts: its names are those of the rows.
            self.container(hashes.container, hashes.account, &path.account, &path.container)?;
        }
        if size_before != size_after {
            let container = self.container(hashes.container, hashes.account, &path.account, &path.container)?;
            container.now.count(size_before, size_after)?;
            container.now.touch(timestamp);
            container.tell(applies.account);
        }
        let mut effect = Effect::default();
        if let Some(merged) = object.as_ref().or(row.as_ref()) {
            (effect.stale, effect.created) = (merged.stale, !merged.existed);
        }
        let mut waiting = Vec::new();
        if let Some(loser) = object.and_then(|merged| merged.loser) {
            waiting.extend(self.lose(path, hashes, loser, &mut effect)?);
        }
        if let Some(timestamp) = multipart {
            // The row's record may be that of an object which was lost before the row was.
            let parts = self.parts(&parts_key(timestamp, hashes.object))?;
            waiting.extend(parts.into_iter().flat_map(|parts| parts.versions.records()));
        }
        self.bury_object_records(path, hashes, maybe_dead, &waiting, &mut effect)?;
        Ok(effect)
    }

    /// An object's data are no more. Their extents are dead, unless parts must be deleted first: then the
    /// record from which the parts are known is returned.
    fn lose(
        &mut self,
        path: &'a ObjectPath,
        hashes: PathHashes,
        mut loser: Live,
        effect: &mut Effect,
    ) -> Result<Option<Location>> {
        let name = self.name(path, hashes)?;
        let is_copy = name.object.live().is_some_and(|live| live.timestamp == loser.timestamp);
        if loser.content.has_parts() && !is_copy {
            // Whether a post has superseded these depends on which came first.
            (loser.object.metadata, loser.object.delete_at) = (Metadata::new(), None);
            let versions = Versions { data: Data::Live(loser), ..Versions::default() };
            let (object, container) = (hashes.object, hashes.container);
            return self.add_parts(Parts { object, container, name: path.object.clone(), versions });
        }
        let kept = name.object.extents();
        let extents = loser.object.extents.unwrap_or_default();
        effect.dead_extents = extents.into_iter().filter(|extent| !kept.contains(extent)).collect();
        Ok(None)
    }

    /// Of `maybe_dead`, buries the records that nothing needs now, those that are `waiting` for parts excepted.
    pub(super) fn bury_object_records(
        &mut self,
        path: &'a ObjectPath,
        hashes: PathHashes,
        mut maybe_dead: Vec<Location>,
        waiting: &[Location],
        effect: &mut Effect,
    ) -> Result<()> {
        let name = self.name(path, hashes)?;
        let needed = name.records();
        maybe_dead.sort_unstable();
        maybe_dead.dedup();
        for record in maybe_dead {
            if needed.contains(&record) {
                continue;
            }
            let name = self.name(path, hashes)?;
            name.object.shadow(record.volume);
            name.row.shadow(record.volume);
            if !waiting.contains(&record) {
                self.bury(record);
                effect.dead_records.push(record);
            }
        }
        Ok(())
    }

    fn container_put(&mut self, put: &ContainerPut, applies: Applies, record: Location) -> Result<Effect> {
        if !applies.container && !applies.account {
            return self.concerns_nobody(record);
        }
        let mut released = Vec::new();
        let mut effect = None;
        let change = |origin| Change { timestamp: put.timestamp, record, policy: put.policy, origin };
        if applies.container {
            let touched = self.container(put.container_hash, put.account_hash, &put.account, &put.container)?;
            let merged = touched.now.history.change(change(Origin::Own), &put.changes);
            touched.now.touch(put.timestamp);
            touched.tell(applies.account);
            effect = Some(Effect { stale: merged.stale, created: !merged.existed, ..Effect::default() });
            released
                .extend(merged.released.into_iter().map(|(record, _)| (record, Origin::Container(put.container_hash))));
        }
        if applies.account {
            let origin = Origin::Container(put.container_hash);
            let history = &mut self.account(put.account_hash)?.now.history;
            let merged = history.change(change(origin), &Metadata::new());
            // An account that was there before has taken it as well; only one that was deleted since has not.
            let stale = merged.stale.filter(|_| history.deleted() >= put.timestamp);
            effect.get_or_insert(Effect { stale, created: !merged.existed, ..Effect::default() });
            released.extend(merged.released);
        }
        let mut effect = effect.unwrap_or_default();
        self.bury_history_records(put.account_hash, released, &mut effect)?;
        Ok(effect)
    }

    fn history_effect(&mut self, account: KeyHash, merged: HistoryMerged) -> Result<Effect> {
        let mut effect = Effect { stale: merged.stale, created: !merged.existed, ..Effect::default() };
        self.bury_history_records(account, merged.released, &mut effect)?;
        Ok(effect)
    }

    /// Statistics from another device.
    fn container_stats(
        &mut self,
        account: KeyHash,
        container: &str,
        row: ContainerRow,
        record: Location,
    ) -> Result<Effect> {
        let mut released = Vec::new();
        let origin = || Origin::Stats(container.to_owned());
        if row.created > Timestamp::ZERO {
            let change = Change { timestamp: row.created, record, policy: 0, origin: origin() };
            released = self.account(account)?.now.history.change(change, &Metadata::new()).released;
        }
        let current = self.account_row(account, container)?.now.clone();
        let mut effect = Effect { created: !current.as_ref().is_some_and(ContainerRow::is_live), ..Effect::default() };
        if let Some(current) = current.filter(|current| current.version >= row.version) {
            effect.stale = Some(current.modified.max(current.deleted));
            released.push((record, origin()));
        } else {
            let lost = self.replace_account_row(account, container, row)?;
            released.extend(lost.map(|lost| (lost, origin())));
        }
        self.bury_history_records(account, released, &mut effect)?;
        Ok(effect)
    }

    /// Of `released`, which one history needs no more, buries the records that no other needs either.
    pub(super) fn bury_history_records(
        &mut self,
        account: KeyHash,
        mut released: Vec<(Location, Origin)>,
        effect: &mut Effect,
    ) -> Result<()> {
        released.sort_unstable_by_key(|(record, _)| *record);
        released.dedup_by_key(|(record, _)| *record);
        for (record, origin) in released {
            if self.is_history_record(account, &origin, record)? {
                continue;
            }
            self.bury(record);
            effect.dead_records.push(record);
            self.account(account)?.now.history.shadow(record.volume);
            if let Origin::Container(container) = origin
                && let Some(touched) = self.known_container(container)?
            {
                touched.now.history.shadow(record.volume);
            }
        }
        Ok(())
    }

    /// Whether the account, or the container that the record came from, needs it.
    pub(super) fn is_history_record(&mut self, account: KeyHash, origin: &Origin, record: Location) -> Result<bool> {
        if self.account(account)?.now.history.records().any(|needed| needed == record) {
            return Ok(true);
        }
        match origin {
            Origin::Own => Ok(false),
            Origin::Container(container) => {
                let known = self.known_container(*container)?;
                Ok(known.is_some_and(|touched| touched.now.history.records().any(|needed| needed == record)))
            }
            Origin::Stats(name) => {
                let row = self.account_row(account, name)?.now.as_ref();
                Ok(row.is_some_and(|row| row.record == Some(record)))
            }
        }
    }
}

/// Merges an object's mutation into the object (`is_object`) or its row.
fn merge(versions: &mut Versions, placed: &Placed, is_object: bool) -> Merged {
    let record = placed.location;
    match &placed.mutation {
        Mutation::ObjectPut(put) if is_object => versions.put(Live::object(put, record)),
        Mutation::ObjectPut(put) => versions.put(Live::row(put, record)),
        Mutation::ObjectPost(post) => versions.post(post, record, is_object),
        Mutation::ObjectDelete { timestamp, policy, .. } => {
            versions.delete(*timestamp, record, if is_object { *policy } else { 0 })
        }
        Mutation::ContainerPut(_)
        | Mutation::ContainerDelete { .. }
        | Mutation::AccountPut { .. }
        | Mutation::AccountDelete { .. }
        | Mutation::ContainerStats { .. } => Merged::default(),
    }
}
