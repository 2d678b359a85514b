//! What compaction asks of the index: whether a record of the log is still needed, and that whatever
//! needs it finds it in its new place.

use anello_base::Timestamp;

use super::history::Origin;
use super::overlay::Overlay;
use super::tables::parts_key;
use super::version::{Data, Versions};
use crate::error::Result;
use crate::key::{KeyHash, ObjectPath};
use crate::mutation::{Body, Location, Mutation, ObjectPut, PathHashes};

impl<'a> Overlay<'a> {
    /// Whether anything needs the record at `location`, which says `mutation`.
    pub(super) fn is_live(&mut self, mutation: &'a Mutation, location: Location) -> Result<bool> {
        match mutation {
            Mutation::ObjectPut(put) => {
                let needed = self.is_name_record(&put.path, put.hashes, put.timestamp, location)?;
                let parts = self.parts(&parts_key(put.timestamp, put.hashes.object))?;
                Ok(needed || parts.is_some_and(|parts| parts.versions.records().any(|record| record == location)))
            }
            Mutation::ObjectPost(post) => self.is_name_record(&post.path, post.hashes, post.timestamp, location),
            Mutation::ObjectDelete { path, hashes, timestamp, .. } => {
                self.is_name_record(path, *hashes, *timestamp, location)
            }
            Mutation::ContainerPut(put) => {
                self.is_history_record(put.account_hash, &Origin::Container(put.container_hash), location)
            }
            Mutation::ContainerDelete { account_hash, container_hash, .. } => {
                self.is_history_record(*account_hash, &Origin::Container(*container_hash), location)
            }
            Mutation::AccountPut { account_hash, .. } | Mutation::AccountDelete { account_hash, .. } => {
                self.is_history_record(*account_hash, &Origin::Own, location)
            }
            Mutation::ContainerStats { account_hash, container, .. } => {
                self.is_history_record(*account_hash, &Origin::Stats(container.clone()), location)
            }
        }
    }

    /// A row whose record was the object's, and whose object is not known any more, needs any record of
    /// its timestamp: better one too many than a row that a rebuild would lose.
    fn is_name_record(
        &mut self,
        path: &'a ObjectPath,
        hashes: PathHashes,
        timestamp: Timestamp,
        location: Location,
    ) -> Result<bool> {
        let name = self.name(path, hashes)?;
        let is_orphan = |slot: Option<(Timestamp, &mut Option<Location>)>| {
            slot.is_some_and(|(at, record)| at == timestamp && record.is_none())
        };
        Ok(name.records().contains(&location) || name.row.record_slots().into_iter().any(is_orphan))
    }

    /// The record that says `mutation` was copied: what needed it at `from` needs it at `to` now.
    pub(super) fn relocate(&mut self, mutation: &'a Mutation, from: Location, to: Location) -> Result<()> {
        let moved = match mutation {
            Mutation::ObjectPut(put) => {
                let moved = self.relocate_name(&put.path, put.hashes, put.timestamp, from, to)?;
                self.renew_extents(put, to)?;
                let parts = self.parts(&parts_key(put.timestamp, put.hashes.object))?;
                parts.is_some_and(|parts| replace(&mut parts.versions, from, to)) || moved
            }
            Mutation::ObjectPost(post) => self.relocate_name(&post.path, post.hashes, post.timestamp, from, to)?,
            Mutation::ObjectDelete { path, hashes, timestamp, .. } => {
                self.relocate_name(path, *hashes, *timestamp, from, to)?
            }
            Mutation::ContainerPut(put) => {
                self.relocate_history(put.account_hash, Some(put.container_hash), None, from, to)?
            }
            Mutation::ContainerDelete { account_hash, container_hash, .. } => {
                self.relocate_history(*account_hash, Some(*container_hash), None, from, to)?
            }
            Mutation::AccountPut { account_hash, .. } | Mutation::AccountDelete { account_hash, .. } => {
                self.relocate_history(*account_hash, None, None, from, to)?
            }
            Mutation::ContainerStats { account_hash, container, .. } => {
                self.relocate_history(*account_hash, None, Some(container), from, to)?
            }
        };
        self.bury(if moved { from } else { to });
        Ok(())
    }

    fn relocate_name(
        &mut self,
        path: &'a ObjectPath,
        hashes: PathHashes,
        timestamp: Timestamp,
        from: Location,
        to: Location,
    ) -> Result<bool> {
        let name = self.name(path, hashes)?;
        let mut moved = replace(&mut name.object, from, to);
        moved |= replace(&mut name.row, from, to);
        for (at, record) in name.row.record_slots().into_iter().flatten() {
            if at == timestamp && record.is_none() {
                *record = Some(to);
                moved = true;
            }
        }
        Ok(moved)
    }

    /// A copy that came from a replica has its data elsewhere than the one that it takes the place of.
    fn renew_extents(&mut self, put: &'a ObjectPut, to: Location) -> Result<()> {
        if let Body::Extents(extents) = &put.body
            && let Data::Live(live) = &mut self.name(&put.path, put.hashes)?.object.data
            && live.record == Some(to)
        {
            live.object.extents = Some(extents.pieces.clone());
        }
        Ok(())
    }

    fn relocate_history(
        &mut self,
        account: KeyHash,
        container: Option<KeyHash>,
        row: Option<&str>,
        from: Location,
        to: Location,
    ) -> Result<bool> {
        let mut moved = self.account(account)?.now.history.relocate(from, to);
        if let Some(container) = container
            && let Some(touched) = self.known_container(container)?
        {
            moved |= touched.now.history.relocate(from, to);
        }
        if let Some(name) = row
            && let Some(row) = &mut self.account_row(account, name)?.now
            && row.record == Some(from)
        {
            row.record = Some(to);
            moved = true;
        }
        Ok(moved)
    }
}

/// Names `to` wherever `from` was named; whether it was.
fn replace(versions: &mut Versions, from: Location, to: Location) -> bool {
    let mut replaced = false;
    for (_, record) in versions.record_slots().into_iter().flatten() {
        if *record == Some(from) {
            *record = Some(to);
            replaced = true;
        }
    }
    replaced
}
