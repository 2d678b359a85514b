//! Drops tombstones that are older than the reclaim age, and with them the last that was known of a
//! name. One stays as long as an older record of its name lies in a volume of the log, or parts that
//! belonged to it are still to be deleted: a rebuild from the log would bring the name back.

use std::collections::HashSet;

use anello_base::Timestamp;

use super::Effect;
use super::codec::Reader;
use super::history::{History, Origin};
use super::limits::RECLAIM_BATCH;
use super::overlay::{Overlay, Parts};
use super::shadow::DeadBytes;
use super::tables::{PENDING_PARTS, Table, Tables, behind, stats_key};
use super::totals::{Account, Container, ContainerRow};
use super::version::Versions;
use super::version_codec::Form;
use crate::error::Result;
use crate::key::KeyHash;

/// Length of the key of an object; a row's is longer.
const HASH_BYTES: usize = 16;

impl Tables {
    /// Keys of `table` whose values are `old`, at most [`RECLAIM_BATCH`] of them, from `low` on.
    pub(super) fn reclaimable(
        &self,
        table: Table,
        low: &[u8],
        old: impl Fn(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        self.scan(table, low, None, |key, value| {
            if old(key, value)? {
                keys.push(key.to_vec());
            }
            Ok(keys.len() < RECLAIM_BATCH)
        })?;
        Ok(keys)
    }

    /// Objects some of whose parts are still to be deleted.
    pub(super) fn objects_with_parts(&self) -> Result<HashSet<KeyHash>> {
        let mut objects = HashSet::new();
        self.scan(Table::Pending, &[PENDING_PARTS], behind(&[PENDING_PARTS]), |key, _| {
            objects.insert(Parts::object(key)?);
            Ok(true)
        })?;
        Ok(objects)
    }

    /// Drops those of `keys` in [`Table::Tombstones`] that are still `old`.
    pub(super) fn drop_tombstones(
        &self,
        keys: &[Vec<u8>],
        old: impl Fn(&[u8], &[u8]) -> Result<bool>,
        dead: &mut DeadBytes,
    ) -> Result<u64> {
        let mut dropped = 0;
        let mut overlay = Overlay::new(self);
        for key in keys {
            let Some(value) = self.get(Table::Tombstones, key)? else { continue };
            if !old(key, &value)? {
                continue;
            }
            // A row's record that is the object's own is not named in the row: it dies with the object.
            Versions::decode(&value, form(key))?.records().for_each(|record| overlay.bury(record));
            overlay.dropped.push((Table::Tombstones, key.clone()));
            dropped += 1;
        }
        overlay.commit(dead, None)?;
        Ok(dropped)
    }

    /// Drops containers, accounts and containers' rows that were deleted before `before`, at most
    /// [`RECLAIM_BATCH`] of each.
    pub(super) fn reclaim_registry(&self, before: Timestamp, dead: &mut DeadBytes) -> Result<u64> {
        let mut overlay = Overlay::new(self);
        let dropped = overlay.reclaim_containers(before, dead)?
            + overlay.reclaim_account_rows(before, dead)?
            + overlay.reclaim_accounts(before, dead)?;
        overlay.commit(dead, None)?;
        Ok(dropped)
    }
}

/// The form of a value among the tombstones.
fn form(key: &[u8]) -> Form {
    if key.len() == HASH_BYTES { Form::Object } else { Form::Row }
}

/// Whether a value among the tombstones may be dropped.
pub(super) fn is_old(
    key: &[u8],
    value: &[u8],
    before: Timestamp,
    with_parts: &HashSet<KeyHash>,
    dead: &DeadBytes,
) -> Result<bool> {
    let mut versions = Versions::decode(value, form(key))?;
    if versions.latest() >= before {
        return Ok(false);
    }
    versions.shadows.prune(&[dead]);
    let has_parts = <[u8; HASH_BYTES]>::try_from(key).is_ok_and(|hash| with_parts.contains(&KeyHash(hash)));
    Ok(versions.shadows.is_empty() && !versions.is_split && !has_parts)
}

impl Overlay<'_> {
    fn reclaim_containers(&mut self, before: Timestamp, dead: &DeadBytes) -> Result<u64> {
        let old = |_: &[u8], value: &[u8]| Ok(is_forgettable(&mut Container::decode(value)?.history, before, dead));
        let mut dropped = 0;
        for key in self.tables.reclaimable(Table::Containers, &[], old)? {
            let hash = KeyHash(Reader::new("key of a container in the index", &key).array()?);
            let Some(touched) = self.known_container(hash)? else { continue };
            let (account, name) = (touched.now.account_hash, touched.now.container.clone());
            let is_awaited = self.tables.get(Table::Pending, &stats_key(account, &name))?.is_some();
            // The account needs the record that created the container, and would bring it back.
            if is_awaited || self.account(account)?.now.history.remembers(&Origin::Container(hash)) {
                continue;
            }
            let Some(touched) = self.known_container(hash)? else { continue };
            let history = std::mem::take(&mut touched.now.history);
            let released = history.records().map(|record| (record, Origin::Container(hash))).collect();
            self.bury_history_records(account, released, &mut Effect::default())?;
            dropped += 1;
        }
        Ok(dropped)
    }

    fn reclaim_account_rows(&mut self, before: Timestamp, dead: &DeadBytes) -> Result<u64> {
        let old = |_: &[u8], value: &[u8]| Ok(ContainerRow::decode(value)?.deleted < before);
        let mut dropped = 0;
        for key in self.tables.reclaimable(Table::AccountTombstones, &[], old)? {
            let mut reader = Reader::new("key of a container's row in the index", &key);
            let account = KeyHash(reader.array()?);
            let container = reader.rest_as_text()?;
            let history = &mut self.account(account)?.now.history;
            history.shadows.prune(&[dead]);
            if !history.shadows.is_empty() || history.remembers(&Origin::Stats(container.clone())) {
                continue;
            }
            let row = self.account_row(account, &container)?.now.take();
            if let Some(record) = row.and_then(|row| row.record) {
                self.bury_unless_needed(record, account, &container)?;
            }
            dropped += 1;
        }
        Ok(dropped)
    }

    fn reclaim_accounts(&mut self, before: Timestamp, dead: &DeadBytes) -> Result<u64> {
        let old = |_: &[u8], value: &[u8]| {
            let mut account = Account::decode(value)?;
            Ok(account.container_count == 0 && is_forgettable(&mut account.history, before, dead))
        };
        let mut dropped = 0;
        for key in self.tables.reclaimable(Table::Accounts, &[], old)? {
            let hash = KeyHash(Reader::new("key of an account in the index", &key).array()?);
            let history = std::mem::take(&mut self.account(hash)?.now.history);
            let released = history.records().map(|record| (record, Origin::Own)).collect();
            self.bury_history_records(hash, released, &mut Effect::default())?;
            dropped += 1;
        }
        Ok(dropped)
    }
}

/// Whether a deletion can be forgotten: it is old, and no older record lies in the log any more.
fn is_forgettable(history: &mut History, before: Timestamp, dead: &DeadBytes) -> bool {
    history.shadows.prune(&[dead]);
    history.deleted.is_some() && !history.exists() && history.deleted() < before && history.shadows.is_empty()
}
