//! Entries that a device gives up because they belong to other devices, which have them: the index knows nothing of
//! them afterwards, not even a tombstone.
//!
//! The log keeps their records until compaction finds them dead. So they come back where the index is lost before
//! it was flushed, or is rebuilt; then they are given up once more.

use super::Effect;
use super::digest::{DigestEntry, EntryVersion, Tree};
use super::history::Origin;
use super::overlay::{Name, Overlay, extent_keys};
use super::shadow::DeadBytes;
use super::tables::{HASH_BYTES, Table, Tables, behind, expiration_key, parts_key, row_key, stats_key};
use super::totals::{Account, Container};
use super::version::Versions;
use super::version_codec::Form;
use crate::error::Result;
use crate::key::{KeyHash, KeyHasher, ObjectPath};
use crate::mutation::{Location, Mutation, PathHashes};

/// What giving entries up came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Entries that are gone.
    pub entries: u64,
    /// Records and extents that died with them.
    pub effect: Effect,
    /// Statistics of containers that stay, because an account on this device has no record of them but the
    /// container itself: once these are committed, the container can go.
    pub statistics: Vec<Mutation>,
}

/// An object's name, as far as it was found out.
pub(super) type Named = Option<(ObjectPath, PathHashes)>;

impl Tables {
    /// What the rows among `entries` are called; `objects` are the names of objects, which only their records tell.
    fn names(
        &self,
        hasher: &KeyHasher,
        tree: Tree,
        entries: &[DigestEntry],
        objects: Vec<Option<ObjectPath>>,
    ) -> Result<Vec<Named>> {
        let mut names = Vec::with_capacity(entries.len());
        for (entry, object) in entries.iter().zip(objects.into_iter().chain(std::iter::repeat(None))) {
            let path = match (tree, &entry.key.name) {
                (Tree::Objects { .. }, _) => object,
                (Tree::Containers, Some(name)) => self
                    .get(Table::Containers, &entry.key.hash.0)?
                    .map(|stored| Container::decode(&stored))
                    .transpose()?
                    .map(|known| ObjectPath::new(known.account, known.container, name)),
                _ => None,
            };
            names.push(path.map(|path| {
                let (account, container) = (&path.account, &path.container);
                let (account, container) = (hasher.account(account), hasher.container(account, container));
                let hashes = PathHashes { account, container, object: hasher.object(&path) };
                (path, hashes)
            }));
        }
        Ok(names)
    }

    /// See [`super::Index::forget`].
    pub(super) fn forget(
        &self,
        hasher: &KeyHasher,
        tree: Tree,
        entries: &[DigestEntry],
        objects: Vec<Option<ObjectPath>>,
        dead: &mut DeadBytes,
    ) -> Result<Forgotten> {
        let names = self.names(hasher, tree, entries, objects)?;
        let mut forgotten = Forgotten::default();
        let named: Vec<_> = entries.iter().zip(&names).collect();
        // What belongs to a container or an account goes before it.
        let (rows, parents): (Vec<_>, Vec<_>) = named.into_iter().partition(|(entry, _)| entry.key.name.is_some());
        for part in [rows, parents] {
            let mut overlay = Overlay::new(self);
            for (entry, named) in part {
                forgotten.entries += u64::from(overlay.forget(tree, entry, named, &mut forgotten)?);
            }
            overlay.commit(dead, None)?;
        }
        Ok(forgotten)
    }

    fn has_any(&self, tables: &[Table], parent: KeyHash) -> Result<bool> {
        let mut found = false;
        for table in tables {
            self.scan(*table, &row_key(parent, ""), behind(&parent.0), |key, _| {
                found = key.len() > HASH_BYTES;
                Ok(!found)
            })?;
        }
        Ok(found)
    }
}

impl<'a> Overlay<'a> {
    fn forget(
        &mut self,
        tree: Tree,
        entry: &'a DigestEntry,
        named: &'a Named,
        forgotten: &mut Forgotten,
    ) -> Result<bool> {
        let (hash, version, effect) = (entry.key.hash, &entry.version, &mut forgotten.effect);
        match (tree, &entry.key.name, named) {
            (Tree::Objects { .. }, _, Some((path, hashes))) => self.forget_object(path, *hashes, version, effect),
            (Tree::Objects { .. }, _, None) => self.drop_versions(tree, &hash.0, entry, effect),
            (Tree::Containers, Some(_), Some((path, hashes))) => self.forget_row(path, *hashes, version, effect),
            (Tree::Containers, Some(name), None) => self.drop_versions(tree, &row_key(hash, name), entry, effect),
            (Tree::Containers, None, _) => self.forget_container(hash, version, forgotten),
            (Tree::Accounts, Some(name), _) => self.forget_account_row(hash, name, version),
            (Tree::Accounts, None, _) => self.forget_account(hash, version, effect),
        }
    }

    /// The row, where it is here, keeps what it needs of the object's records.
    fn forget_object(
        &mut self,
        path: &'a ObjectPath,
        hashes: PathHashes,
        version: &EntryVersion,
        effect: &mut Effect,
    ) -> Result<bool> {
        let taken = self.take_half(path, hashes, version, |name| &mut name.object)?;
        let Some((object, records)) = taken else { return Ok(false) };
        effect.dead_extents.extend_from_slice(object.extents());
        self.bury_object_records(path, hashes, records, &[], effect)?;
        Ok(true)
    }

    /// Takes a name's object or row away where that is `version`, and tells all records that the name had.
    fn take_half(
        &mut self,
        path: &'a ObjectPath,
        hashes: PathHashes,
        version: &EntryVersion,
        half: impl for<'n> Fn(&'n mut Name<'a>) -> &'n mut Versions,
    ) -> Result<Option<(Versions, Vec<Location>)>> {
        let name = self.name(path, hashes)?;
        let records = name.records();
        let half = half(name);
        let is_it = half.version().as_ref() == Some(version);
        Ok(is_it.then(|| (std::mem::take(half), records)))
    }

    fn forget_row(
        &mut self,
        path: &'a ObjectPath,
        hashes: PathHashes,
        version: &EntryVersion,
        effect: &mut Effect,
    ) -> Result<bool> {
        let taken = self.take_half(path, hashes, version, |name| &mut name.row)?;
        let Some((row, records)) = taken else { return Ok(false) };
        let mut waiting = Vec::new();
        if let Some(live) = row.live() {
            let container = self.container(hashes.container, hashes.account, &path.account, &path.container)?;
            container.now.count(Some(live.size), None)?;
            let parts = self.parts(&parts_key(live.timestamp, hashes.object))?;
            waiting.extend(parts.into_iter().flat_map(|parts| parts.versions.records()));
        }
        self.bury_object_records(path, hashes, records, &waiting, effect)?;
        Ok(true)
    }

    /// An object or a row whose name is not known: what it shares with its other half can't be told.
    fn drop_versions(&mut self, tree: Tree, key: &[u8], entry: &DigestEntry, effect: &mut Effect) -> Result<bool> {
        let (live, form) =
            if key.len() == HASH_BYTES { (Table::Objects, Form::Object) } else { (Table::Rows, Form::Row) };
        for table in [live, Table::Tombstones] {
            let Some(stored) = self.tables.get(table, key)? else { continue };
            let versions = Versions::decode(&stored, form)?;
            if versions.version().as_ref() != Some(&entry.version) {
                return Ok(false);
            }
            versions.records().for_each(|record| self.bury(record));
            effect.dead_records.extend(versions.records());
            if form == Form::Object {
                effect.dead_extents.extend_from_slice(versions.extents());
                let expiration = versions.delete_at().map(|second| expiration_key(second, entry.key.hash));
                self.dropped.extend(expiration.map(|key| (Table::Expirations, key)));
                let extents = extent_keys(&versions, entry.key.hash);
                self.dropped.extend(extents.into_iter().map(|key| (Table::Extents, key)));
            }
            let tree = if form == Form::Object { Tree::Objects { policy: versions.policy() } } else { tree };
            self.digests.replace(tree, entry.key.hash, Some(entry.number()), None);
            self.dropped.push((table, key.to_vec()));
            return Ok(true);
        }
        Ok(false)
    }

    fn forget_container(&mut self, hash: KeyHash, version: &EntryVersion, forgotten: &mut Forgotten) -> Result<bool> {
        let has_rows = self.tables.has_any(&[Table::Rows, Table::Tombstones], hash)?;
        let Some(touched) = self.known_container(hash)? else { return Ok(false) };
        if has_rows || touched.now.history.version(true).as_ref() != Some(version) {
            return Ok(false);
        }
        let mut statistics = touched.now.stats();
        if let Mutation::ContainerStats { version, .. } = &mut statistics {
            *version += 1;
        }
        let (account, name) = (touched.now.account_hash, touched.now.container.clone());
        if self.account_row(account, &name)?.now.as_ref().is_some_and(|row| row.container == Some(hash)) {
            forgotten.statistics.push(statistics);
            return Ok(false);
        }
        let Some(touched) = self.known_container(hash)? else { return Ok(false) };
        touched.reclaimed = true;
        let history = std::mem::take(&mut touched.now.history);
        let released = history.records().map(|record| (record, Origin::Container(hash))).collect();
        self.bury_history_records(account, released, &mut forgotten.effect)?;
        self.dropped.push((Table::Pending, stats_key(account, &name)));
        Ok(true)
    }

    fn forget_account_row(&mut self, account: KeyHash, name: &str, version: &EntryVersion) -> Result<bool> {
        let touched = self.account_row(account, name)?;
        if touched.now.as_ref().map(super::totals::ContainerRow::version).as_ref() != Some(version) {
            return Ok(false);
        }
        let Some(before) = touched.now.take() else { return Ok(false) };
        self.account(account)?.now.count(Some(&before), None)?;
        if let Some(record) = before.record {
            self.bury_unless_needed(record, account, name)?;
        }
        Ok(true)
    }

    fn forget_account(&mut self, hash: KeyHash, version: &EntryVersion, effect: &mut Effect) -> Result<bool> {
        let has_rows = self.tables.has_any(&[Table::AccountRows, Table::AccountTombstones], hash)?;
        let account: &mut Account = &mut self.account(hash)?.now;
        if has_rows || account.history.version(false).as_ref() != Some(version) {
            return Ok(false);
        }
        let history = std::mem::take(&mut account.history);
        let released = history.records_with_origin();
        self.bury_history_records(hash, released, effect)?;
        Ok(true)
    }
}
