//! Work that waits: parts of multipart objects to be deleted, statistics to be sent to the device that
//! keeps the account, objects whose time to be deleted has come.

use super::codec::{Reader, Writer};
use super::overlay::{Overlay, Parts, extent_keys};
use super::shadow::DeadBytes;
use super::tables::{PENDING_PARTS, PENDING_STATS, Table, Tables, behind, stats_key};
use super::totals::Container;
use super::version::Versions;
use super::version_codec::Form;
use super::{Effect, Expired, PendingParts};
use crate::error::Result;
use crate::key::{KeyHash, ObjectPath};
use crate::mutation::{Mutation, PathHashes};

impl Parts {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.container.0);
        out.text(&self.name);
        out.bytes(&self.versions.encode(Form::Object));
        out.0
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        let object = Self::object(key)?;
        let mut reader = Reader::new("parts to delete in the index", value);
        let (container, name) = (KeyHash(reader.array()?), reader.text()?);
        Ok(Self { object, container, name, versions: Versions::decode(reader.rest(), Form::Object)? })
    }

    /// The object that a key of parts to delete belongs to.
    pub(super) fn object(key: &[u8]) -> Result<KeyHash> {
        let mut reader = Reader::new("key of parts to delete in the index", key);
        reader.bytes(1 + 8)?;
        let object = KeyHash(reader.array()?);
        reader.finish()?;
        Ok(object)
    }
}

impl Tables {
    /// Multipart objects whose parts are to be deleted.
    pub(super) fn pending_parts(&self, limit: usize) -> Result<Vec<PendingParts>> {
        let mut pending = Vec::new();
        self.scan(Table::Pending, &[PENDING_PARTS], behind(&[PENDING_PARTS]), |key, value| {
            if pending.len() >= limit {
                return Ok(false);
            }
            let row = Parts::decode(key, value)?.versions.into_object();
            pending.extend(row.map(|row| PendingParts { id: key.to_vec(), row }));
            Ok(true)
        })?;
        Ok(pending)
    }

    /// How many of them there are, up to `limit`.
    pub(super) fn count_pending_parts(&self, limit: usize) -> Result<usize> {
        let mut count = 0;
        self.scan(Table::Pending, &[PENDING_PARTS], behind(&[PENDING_PARTS]), |_, _| {
            count += 1;
            Ok(count < limit)
        })?;
        Ok(count)
    }

    /// The parts are gone.
    pub(super) fn settle_parts(&self, id: &[u8], dead: &mut DeadBytes) -> Result<Effect> {
        let Some(stored) = self.get(Table::Pending, id)? else { return Ok(Effect::default()) };
        let parts = Parts::decode(id, &stored)?;
        let path = ObjectPath::new("", "", parts.name);
        let hashes = PathHashes { account: KeyHash([0; 16]), container: parts.container, object: parts.object };
        let mut effect = Effect { dead_extents: parts.versions.extents().to_vec(), ..Effect::default() };
        let mut overlay = Overlay::new(self);
        let name = overlay.name(&path, hashes)?;
        for record in parts.versions.records().filter(|record| !name.records().contains(record)).collect::<Vec<_>>() {
            name.object.shadow(record.volume);
            name.row.shadow(record.volume);
            effect.dead_records.push(record);
        }
        effect.dead_records.iter().for_each(|record| overlay.bury(*record));
        overlay.dropped.push((Table::Pending, id.to_vec()));
        let extents = extent_keys(&parts.versions, parts.object);
        overlay.dropped.extend(extents.into_iter().map(|key| (Table::Extents, key)));
        overlay.commit(dead, None)?;
        Ok(effect)
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
    pub(super) fn expired(
        &self,
        second: u64,
        limit: usize,
        mut is_due: impl FnMut(&Expired) -> bool,
    ) -> Result<Vec<Expired>> {
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
            expired.extend(Some(Expired { path, delete_at }).filter(&mut is_due));
            Ok(true)
        })?;
        Ok(expired)
    }
}
