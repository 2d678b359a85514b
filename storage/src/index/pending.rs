//! Work that waits: parts of multipart objects to be deleted, statistics to be sent to the device that
//! keeps the account, objects whose time to be deleted has come.

use super::codec::Reader;
use super::overlay::extent_keys;
use super::shadow::DeadBytes;
use super::tables::{Batch, PENDING_PARTS, PENDING_STATS, Table, Tables, behind, stats_key};
use super::totals::Container;
use super::version::Versions;
use super::version_codec::Form;
use super::{Effect, Expired, PendingParts};
use crate::error::Result;
use crate::key::{KeyHash, ObjectPath};
use crate::mutation::Mutation;

impl Tables {
    /// Multipart objects whose parts are to be deleted.
    pub(super) fn pending_parts(&self, limit: usize) -> Result<Vec<PendingParts>> {
        let mut pending = Vec::new();
        self.scan(Table::Pending, &[PENDING_PARTS], behind(&[PENDING_PARTS]), |key, value| {
            if pending.len() >= limit {
                return Ok(false);
            }
            let row = Versions::decode(value, Form::Object)?.into_object();
            pending.extend(row.map(|row| PendingParts { id: key.to_vec(), row }));
            Ok(true)
        })?;
        Ok(pending)
    }

    /// The parts are gone.
    pub(super) fn settle_parts(&self, id: &[u8], dead: &mut DeadBytes) -> Result<Effect> {
        let Some(stored) = self.get(Table::Pending, id)? else { return Ok(Effect::default()) };
        let mut reader = Reader::new("key of parts to delete in the index", id);
        reader.bytes(1 + 8)?;
        let object = KeyHash(reader.array()?);
        let parts = Versions::decode(&stored, Form::Object)?;
        let mut batch = self.batch();
        batch.delete(Table::Pending, id);
        for key in extent_keys(&parts, object) {
            batch.delete(Table::Extents, &key);
        }
        self.shadow_settled(&mut batch, object, &parts)?;
        let dead_extents = parts.extents().to_vec();
        let dead_records: Vec<_> = parts.records().collect();
        let mut died = DeadBytes::new();
        for record in &dead_records {
            let sum = died.entry(record.volume).or_insert_with(|| dead.get(&record.volume).copied().unwrap_or(0));
            *sum += u64::from(record.length);
            batch.dead_bytes(record.volume, *sum);
        }
        batch.write()?;
        dead.append(&mut died);
        Ok(Effect { dead_records, dead_extents, ..Effect::default() })
    }

    /// The name that the parts belonged to, if it still bears a tombstone or another version, remembers where
    /// the dead record lies.
    fn shadow_settled(&self, batch: &mut Batch<'_>, object: KeyHash, parts: &Versions) -> Result<()> {
        for table in [Table::Objects, Table::Tombstones] {
            let Some(stored) = self.get(table, &object.0)? else { continue };
            let mut versions = Versions::decode(&stored, Form::Object)?;
            parts.records().for_each(|record| versions.shadow(record.volume));
            batch.put(table, &object.0, &versions.encode(Form::Object));
        }
        Ok(())
    }

    /// Statistics that another device has still to be told.
    pub(super) fn pending_stats(&self, limit: usize) -> Result<Vec<Mutation>> {
        let mut pending = Vec::new();
        self.scan(Table::Pending, &[PENDING_STATS], behind(&[PENDING_STATS]), |_, container| {
            if pending.len() >= limit {
                return Ok(false);
            }
            if let Some(container) = self.get(Table::Containers, container)? {
                pending.push(Container::decode(&container)?.stats());
            }
            Ok(true)
        })?;
        Ok(pending)
    }

    /// The statistics that were sent are settled, unless they have changed since.
    pub(super) fn settle_stats(&self, sent: &Mutation) -> Result<()> {
        let Mutation::ContainerStats { account_hash, container, version, .. } = sent else { return Ok(()) };
        let key = stats_key(*account_hash, container);
        let Some(hash) = self.get(Table::Pending, &key)? else { return Ok(()) };
        let Some(stored) = self.get(Table::Containers, &hash)? else { return Ok(()) };
        if Container::decode(&stored)?.version == *version {
            let mut batch = self.batch();
            batch.delete(Table::Pending, &key);
            batch.write()?;
        }
        Ok(())
    }

    /// Objects whose time has come.
    pub(super) fn expired(&self, second: u64, limit: usize) -> Result<Vec<Expired>> {
        let mut expired = Vec::new();
        let high = second.checked_add(1).map(|second| second.to_be_bytes().to_vec());
        self.scan(Table::Expirations, &[], high, |key, value| {
            if expired.len() >= limit {
                return Ok(false);
            }
            let delete_at = Reader::new("expiration in the index", key).array().map(u64::from_be_bytes)?;
            let mut reader = Reader::new("expiration in the index", value);
            let path = ObjectPath { account: reader.text()?, container: reader.text()?, object: reader.text()? };
            reader.finish()?;
            expired.push(Expired { path, delete_at });
            Ok(true)
        })?;
        Ok(expired)
    }
}
