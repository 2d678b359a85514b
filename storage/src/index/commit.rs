//! Turns an [`Overlay`] into one write: values that changed, what follows from them (expirations,
//! extents, rows and totals of accounts, word for other devices), dead bytes and the log position.

use super::codec::Writer;
use super::digest::{Changes, Digest, Tree};
use super::overlay::{Name, Overlay, Stored, extent_keys};
use super::shadow::DeadBytes;
use super::tables::{Batch, Table, expiration_key, row_key, stats_key};
use super::totals::ContainerRow;
use super::version::{Data, Versions};
use super::version_codec::Form;
use crate::error::Result;
use crate::key::{KeyHash, ObjectPath};
use crate::mutation::{Extent, Location, LogPosition};

impl Overlay<'_> {
    /// Writes everything together with the log position that it ends at. `dead` are the dead bytes before;
    /// what died is added to them when the write has succeeded.
    pub(super) fn commit(mut self, dead: &mut DeadBytes, position: Option<LogPosition>) -> Result<()> {
        self.settle_account_rows()?;
        let mut batch = self.tables.batch();
        for (volume, bytes) in &self.died {
            batch.dead_bytes(*volume, dead.get(volume).copied().unwrap_or(0) + bytes);
        }
        let is_dead = [&*dead, &self.died];
        let mut digests = self.digests;
        for name in self.names.into_values() {
            write_name(&mut batch, &mut digests, name, &is_dead);
        }
        for (hash, mut touched) in self.containers {
            touched.now.history.shadows.prune(&is_dead);
            digests.replace(Tree::Containers, hash, touched.counted, touched.now.number(hash));
            let value = (!touched.reclaimed).then(|| touched.now.encode());
            write_value(&mut batch, Table::Containers, &hash.0, touched.stored, value);
            if touched.elsewhere {
                batch.put(Table::Pending, &stats_key(touched.now.account_hash, &touched.now.container), &hash.0);
            }
        }
        for (hash, mut touched) in self.accounts {
            touched.now.history.shadows.prune(&is_dead);
            digests.replace(Tree::Accounts, hash, touched.counted, touched.now.number(hash));
            let value = (!touched.now.is_empty()).then(|| touched.now.encode());
            write_value(&mut batch, Table::Accounts, &hash.0, touched.stored, value);
        }
        for ((account, container), touched) in self.account_rows {
            let counts = touched.now.as_ref().map(|row| row.number(account, &container));
            digests.replace(Tree::Accounts, account, touched.counted, counts);
            let table = |row: &ContainerRow| if row.is_live() { Table::AccountRows } else { Table::AccountTombstones };
            let value = touched.now.map(|row| (table(&row), row.encode()));
            write_stored(&mut batch, &row_key(account, &container), touched.stored, value);
        }
        for (key, parts) in self.parts {
            // Behind the names, which have given up the same extents.
            for (key, extent) in extent_keys(&parts.versions, parts.object).iter().zip(parts.versions.extents()) {
                put_extent(&mut batch, key, *extent);
            }
            batch.put(Table::Pending, &key, &parts.encode());
        }
        let digests = digests.applied_to(&self.tables.leaves());
        for (tree, leaf, digest) in &digests {
            write_digest(&mut batch, *tree, *leaf, *digest);
        }
        for (table, key) in &self.dropped {
            batch.delete(*table, key);
        }
        if let Some(position) = position {
            batch.position(position);
        }
        batch.write()?;
        let mut leaves = self.tables.leaves_mut();
        digests.into_iter().for_each(|(tree, leaf, digest)| leaves.set(tree, leaf, digest));
        for (volume, bytes) in self.died {
            *dead.entry(volume).or_default() += bytes;
        }
        Ok(())
    }

    /// Containers that changed change their rows and their account's totals, where those are here.
    fn settle_account_rows(&mut self) -> Result<()> {
        let changed = self.containers.iter().filter(|(_, touched)| touched.here);
        let rows = changed.map(|(hash, touched)| {
            let container = &touched.now;
            (container.account_hash, container.container.clone(), container.row(*hash))
        });
        for (account, name, row) in rows.collect::<Vec<_>>() {
            if let Some(record) = self.replace_account_row(account, &name, row)? {
                self.bury_unless_needed(record, account, &name)?;
            }
        }
        Ok(())
    }

    /// A container's row in its account changes, where `row` is not older than the one that stands; the
    /// account's totals follow. Returns the record of the row that lost.
    pub(super) fn replace_account_row(
        &mut self,
        account: KeyHash,
        container: &str,
        row: ContainerRow,
    ) -> Result<Option<Location>> {
        let touched = self.account_row(account, container)?;
        let before = touched.now.take();
        if before.as_ref().is_some_and(|before| before.version > row.version) {
            touched.now = before;
            return Ok(row.record);
        }
        let is_known = row.is_live() || row.deleted > anello_base::Timestamp::ZERO;
        let after = is_known.then_some(row);
        touched.now = after.clone();
        self.account(account)?.now.count(before.as_ref(), after.as_ref())?;
        Ok(before.and_then(|before| before.record))
    }

    /// A record of a container's statistics died, unless the account's creation is known from it.
    pub(super) fn bury_unless_needed(&mut self, record: Location, account: KeyHash, container: &str) -> Result<()> {
        let row_needs = self.account_row(account, container)?.now.as_ref().and_then(|row| row.record) == Some(record);
        let touched = self.account(account)?;
        if row_needs || touched.now.history.records().any(|needed| needed == record) {
            return Ok(());
        }
        touched.now.history.shadow(record.volume);
        self.bury(record);
        Ok(())
    }
}

/// Writes an object and its row, and what follows from the object.
fn write_name(batch: &mut Batch<'_>, digests: &mut Changes, mut name: Name<'_>, dead: &[&DeadBytes]) {
    let object = name.hashes.object;
    let (policy, counted) = name.counted_object;
    digests.move_between(object, (policy, counted), (name.object.policy(), name.object.number(object, None)));
    let counts = name.row.number(name.hashes.container, Some(&name.path.object));
    digests.replace(Tree::Containers, name.hashes.container, name.counted_row, counts);
    name.object.shadows.prune(dead);
    name.row.shadows.prune(dead);
    let (object_is_there, row_is_there) = (name.object.live().is_some(), name.row.live().is_some());
    name.object.is_split = row_is_there && !object_is_there;
    name.row.is_split = object_is_there && !row_is_there;
    let delete_at = name.object.delete_at();
    if delete_at != name.stored_delete_at {
        if let Some(second) = name.stored_delete_at {
            batch.delete(Table::Expirations, &expiration_key(second, object));
        }
        if let Some(second) = delete_at {
            batch.put(Table::Expirations, &expiration_key(second, object), &encode_path(name.path));
        }
    }
    let extents = extent_keys(&name.object, object);
    if extents != name.stored_extents {
        for key in name.stored_extents.iter().filter(|key| !extents.contains(key)) {
            batch.delete(Table::Extents, key);
        }
        for (key, extent) in extents.iter().zip(name.object.extents()) {
            put_extent(batch, key, *extent);
        }
    }
    name.abbreviate();
    let value = |versions: &Versions, live, form| {
        let table = if matches!(versions.data, Data::Live(_)) { live } else { Table::Tombstones };
        (!versions.is_absent()).then(|| (table, versions.encode(form)))
    };
    let row = value(&name.row, Table::Rows, Form::Row);
    write_stored(batch, &row_key(name.hashes.container, &name.path.object), name.stored_row, row);
    let value = value(&name.object, Table::Objects, Form::Object);
    write_stored(batch, &object.0, name.stored_object, value);
}

fn write_digest(batch: &mut Batch<'_>, tree: Tree, leaf: u32, digest: Digest) {
    let key = tree.leaf_key(leaf);
    if digest == Digest::default() {
        batch.delete(Table::Digests, &key);
    } else {
        batch.put(Table::Digests, &key, &digest.encode());
    }
}

fn put_extent(batch: &mut Batch<'_>, key: &[u8], extent: Extent) {
    let mut out = Writer::default();
    out.number(extent.length);
    batch.put(Table::Extents, key, &out.0);
}

/// Writes a value that may change between two tables, where it changed.
fn write_stored(batch: &mut Batch<'_>, key: &[u8], before: Stored, after: Stored) {
    if before == after {
        return;
    }
    if let Some((table, _)) = before
        && after.as_ref().is_none_or(|(other, _)| *other != table)
    {
        batch.delete(table, key);
    }
    if let Some((table, value)) = after {
        batch.put(table, key, &value);
    }
}

/// Writes a value where it changed.
fn write_value(batch: &mut Batch<'_>, table: Table, key: &[u8], before: Option<Vec<u8>>, after: Option<Vec<u8>>) {
    write_stored(batch, key, before.map(|value| (table, value)), after.map(|value| (table, value)));
}

fn encode_path(path: &ObjectPath) -> Vec<u8> {
    let mut out = Writer::default();
    for part in [&path.account, &path.container, &path.object] {
        out.text(part);
    }
    out.0
}
