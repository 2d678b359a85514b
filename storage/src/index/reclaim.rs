//! Drops tombstones that are older than the reclaim age, and with them the last that was known of a
//! name. One stays as long as a record in the log would bring the name back in a rebuild: an older record
//! of its name that is dead but lies in a volume still, or one that is needed for something else.
//!
//! Candidates are searched without the writer's lock, by age alone; the rest is checked with it.

use std::collections::HashSet;

use anello_base::Timestamp;

use super::Effect;
use super::codec::Reader;
use super::digest::Tree;
use super::history::{History, Origin};
use super::limits::RECLAIM_BATCH;
use super::overlay::{Overlay, Parts};
use super::shadow::DeadBytes;
use super::tables::{HASH_BYTES, PENDING_PARTS, Table, Tables, behind, row_key, stats_key};
use super::totals::{Account, Container, ContainerRow};
use super::version::Versions;
use super::version_codec::Form;
use crate::error::Result;
use crate::key::KeyHash;

/// The tables in which something may be old. Containers' rows go before what they belong to.
pub(super) const RECLAIMED: [Table; 4] =
    [Table::Tombstones, Table::AccountTombstones, Table::Containers, Table::Accounts];

impl Tables {
    /// Keys of `table` from `low` on whose values are older than `before`, at most [`RECLAIM_BATCH`].
    pub(super) fn old_keys(&self, table: Table, low: &[u8], before: Timestamp) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        self.scan(table, low, None, |key, value| {
            let is_old = match table {
                Table::AccountTombstones => ContainerRow::decode(value)?.deleted < before,
                Table::Containers => {
                    let container = Container::decode(value)?;
                    container.is_bare() || is_deleted_before(&container.history, before)
                }
                Table::Accounts => is_deleted_before(&Account::decode(value)?.history, before),
                _ => Versions::decode(value, form(key))?.latest() < before,
            };
            if is_old {
                keys.push(key.to_vec());
            }
            Ok(keys.len() < RECLAIM_BATCH)
        })?;
        Ok(keys)
    }

    /// Drops those of `keys` that are still older than `before` and that nothing could bring back; returns
    /// how many.
    pub(super) fn reclaim(
        &self,
        table: Table,
        keys: &[Vec<u8>],
        before: Timestamp,
        dead: &mut DeadBytes,
    ) -> Result<u64> {
        let with_parts = self.objects_with_parts()?;
        let mut overlay = Overlay::new(self);
        let mut dropped = 0;
        for key in keys {
            let is_dropped = match table {
                Table::AccountTombstones => overlay.reclaim_account_row(key, before, dead)?,
                Table::Containers => overlay.reclaim_container(key, before, dead)?,
                Table::Accounts => overlay.reclaim_account(key, before, dead)?,
                _ => overlay.reclaim_tombstone(key, before, dead, &with_parts)?,
            };
            dropped += u64::from(is_dropped);
        }
        overlay.commit(dead, None)?;
        Ok(dropped)
    }

    /// Whether tombstones of rows are kept, which need their container's names.
    fn has_tombstones_of_rows(&self, container: KeyHash) -> Result<bool> {
        let mut found = false;
        self.scan(Table::Tombstones, &row_key(container, ""), behind(&container.0), |key, _| {
            found = form(key) == Form::Row;
            Ok(!found)
        })?;
        Ok(found)
    }

    /// Objects some of whose parts are still to be deleted.
    fn objects_with_parts(&self) -> Result<HashSet<KeyHash>> {
        let mut objects = HashSet::new();
        self.scan(Table::Pending, &[PENDING_PARTS], behind(&[PENDING_PARTS]), |key, _| {
            objects.insert(Parts::object(key)?);
            Ok(true)
        })?;
        Ok(objects)
    }
}

/// The form of a value among the tombstones.
fn form(key: &[u8]) -> Form {
    if key.len() == HASH_BYTES { Form::Object } else { Form::Row }
}

fn is_deleted_before(history: &History, before: Timestamp) -> bool {
    history.deleted.is_some() && !history.exists() && history.deleted() < before
}

/// Whether a deletion can be forgotten as far as its own history goes.
fn is_forgettable(history: &mut History, before: Timestamp, dead: &DeadBytes) -> bool {
    history.shadows.prune(&[dead]);
    is_deleted_before(history, before) && history.shadows.is_empty()
}

impl Overlay<'_> {
    fn reclaim_tombstone(
        &mut self,
        key: &[u8],
        before: Timestamp,
        dead: &DeadBytes,
        with_parts: &HashSet<KeyHash>,
    ) -> Result<bool> {
        let Some(value) = self.tables.get(Table::Tombstones, key)? else { return Ok(false) };
        let mut versions = Versions::decode(&value, form(key))?;
        versions.shadows.prune(&[dead]);
        let has_parts = <[u8; HASH_BYTES]>::try_from(key).is_ok_and(|hash| with_parts.contains(&KeyHash(hash)));
        if versions.latest() >= before || !versions.shadows.is_empty() || versions.is_split || has_parts {
            return Ok(false);
        }
        // A row's record that is the object's own is not named in the row: it dies with the object.
        versions.records().for_each(|record| self.bury(record));
        let mut reader = Reader::new("key of a tombstone in the index", key);
        let hash = KeyHash(reader.array()?);
        let (tree, counted) = match form(key) {
            Form::Object => (Tree::Objects { policy: versions.policy() }, versions.number(hash, None)),
            Form::Row => (Tree::Containers, versions.number(hash, Some(&reader.rest_as_text()?))),
        };
        self.digests.replace(tree, hash, counted, None);
        self.dropped.push((Table::Tombstones, key.to_vec()));
        Ok(true)
    }

    fn reclaim_account_row(&mut self, key: &[u8], before: Timestamp, dead: &DeadBytes) -> Result<bool> {
        let mut reader = Reader::new("key of a container's row in the index", key);
        let account = KeyHash(reader.array()?);
        let container = reader.rest_as_text()?;
        let is_old = |row: &ContainerRow| !row.is_live() && row.deleted < before;
        if !self.account_row(account, &container)?.now.as_ref().is_some_and(is_old) {
            return Ok(false);
        }
        let history = &mut self.account(account)?.now.history;
        history.shadows.prune(&[dead]);
        // The account may need the record that told of the container, which would bring its row back.
        if !history.shadows.is_empty() || history.remembers(&Origin::Stats(container.clone())) {
            return Ok(false);
        }
        let row = self.account_row(account, &container)?.now.take();
        if let Some(record) = row.and_then(|row| row.record) {
            self.bury_unless_needed(record, account, &container)?;
        }
        Ok(true)
    }

    fn reclaim_container(&mut self, key: &[u8], before: Timestamp, dead: &DeadBytes) -> Result<bool> {
        let hash = KeyHash(Reader::new("key of a container in the index", key).array()?);
        if self.tables.has_tombstones_of_rows(hash)? {
            return Ok(false);
        }
        let Some(touched) = self.known_container(hash)? else { return Ok(false) };
        if touched.now.is_bare() {
            // Names that nothing needs any more; no tombstone, and not counted as one.
            touched.reclaimed = true;
            return Ok(false);
        }
        let is_forgettable = is_forgettable(&mut touched.now.history, before, dead) && touched.now.object_count == 0;
        let (account, name) = (touched.now.account_hash, touched.now.container.clone());
        let is_awaited = self.tables.get(Table::Pending, &stats_key(account, &name))?.is_some();
        // The account may need the record that created the container, which would bring it back.
        let is_remembered = self.account(account)?.now.history.remembers(&Origin::Container(hash));
        if !is_forgettable || is_awaited || is_remembered {
            return Ok(false);
        }
        let Some(touched) = self.known_container(hash)? else { return Ok(false) };
        touched.reclaimed = true;
        let history = std::mem::take(&mut touched.now.history);
        let released = history.records().map(|record| (record, Origin::Container(hash))).collect();
        self.bury_history_records(account, released, &mut Effect::default())?;
        Ok(true)
    }

    fn reclaim_account(&mut self, key: &[u8], before: Timestamp, dead: &DeadBytes) -> Result<bool> {
        let hash = KeyHash(Reader::new("key of an account in the index", key).array()?);
        let account = &mut self.account(hash)?.now;
        // The records of its containers would bring it back.
        if !is_forgettable(&mut account.history, before, dead) || account.container_count > 0 {
            return Ok(false);
        }
        let history = std::mem::take(&mut account.history);
        let released = history.records().map(|record| (record, Origin::Own)).collect();
        self.bury_history_records(hash, released, &mut Effect::default())?;
        Ok(true)
    }
}
