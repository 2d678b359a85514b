//! What one write changes, held in memory until it goes in as a whole. Whatever is touched is read once,
//! changed here any number of times (later records of a batch see what earlier ones did), and written
//! once: a container's statistics cost the same for one record as for a thousand.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::digest::Changes;
use super::shadow::DeadBytes;
use super::tables::{Table, Tables, extent_key, parts_key, row_key};
use super::totals::{Account, Container, ContainerRow};
use super::version::Versions;
use super::version_codec::Form;
use crate::error::Result;
use crate::key::{KeyHash, ObjectPath};
use crate::mutation::{Location, PathHashes};

/// A value as it stands in the tables, and which one of them.
pub(super) type Stored = Option<(Table, Vec<u8>)>;

/// Everything that one write has touched.
pub(super) struct Overlay<'a> {
    pub(super) tables: &'a Tables,
    pub(super) names: HashMap<KeyHash, Name<'a>>,
    pub(super) containers: HashMap<KeyHash, Touched<Container>>,
    pub(super) accounts: HashMap<KeyHash, Touched<Account>>,
    pub(super) account_rows: HashMap<(KeyHash, String), TouchedRow>,
    /// Multipart objects whose parts are to be deleted, under their keys.
    pub(super) parts: HashMap<Vec<u8>, Parts>,
    /// Keys to delete whatever is there.
    pub(super) dropped: Vec<(Table, Vec<u8>)>,
    /// Bytes that died, per log volume.
    pub(super) died: DeadBytes,
    /// What changes in the digests beside what follows from the rest.
    pub(super) digests: Changes,
}

/// An object and its listing row.
pub(super) struct Name<'a> {
    pub(super) path: &'a ObjectPath,
    pub(super) hashes: PathHashes,
    pub(super) object: Versions,
    pub(super) row: Versions,
    pub(super) stored_object: Stored,
    pub(super) stored_row: Stored,
    pub(super) stored_delete_at: Option<u64>,
    pub(super) stored_extents: Vec<Vec<u8>>,
    /// What the object counted for in its policy's digests, and the row in its container's.
    pub(super) counted_object: (u32, Option<u64>),
    pub(super) counted_row: Option<u64>,
}

/// A container or an account, and who is to hear of its change.
pub(super) struct Touched<T> {
    pub(super) now: T,
    pub(super) stored: Option<Vec<u8>>,
    /// What it counted for in the digests.
    pub(super) counted: Option<u64>,
    /// Nothing of it is to be kept.
    pub(super) reclaimed: bool,
    /// The account is here: its row and totals follow.
    pub(super) here: bool,
    /// The account is elsewhere: an update is kept for it.
    pub(super) elsewhere: bool,
}

/// A container's row in its account.
pub(super) struct TouchedRow {
    pub(super) now: Option<ContainerRow>,
    pub(super) stored: Stored,
    /// What it counted for in the digests.
    pub(super) counted: Option<u64>,
}

/// A multipart object that waits for its parts to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) object: KeyHash,
    /// The container and name of its row, which may need the same record.
    pub(super) container: KeyHash,
    pub(super) name: String,
    pub(super) versions: Versions,
}

impl<T> Touched<T> {
    fn new(now: T, stored: Option<Vec<u8>>, counted: Option<u64>) -> Self {
        Self { now, stored, counted, reclaimed: false, here: false, elsewhere: false }
    }

    /// Whoever keeps the account is to hear of it.
    pub(super) fn tell(&mut self, account_is_here: bool) {
        self.here |= account_is_here;
        self.elsewhere |= !account_is_here;
    }
}

impl Name<'_> {
    /// The records that the object and its row need.
    pub(super) fn records(&self) -> Vec<Location> {
        self.object.records().chain(self.row.records()).collect()
    }

    /// A row that names no record has the object's, where both came from one.
    fn resolve(&mut self) {
        for (row, object) in self.row.record_slots().into_iter().zip(self.object.record_slots()) {
            if let (Some((row_at, row @ None)), Some((object_at, object))) = (row, object)
                && row_at == object_at
            {
                *row = *object;
            }
        }
    }

    /// The reverse of [`Name::resolve`], before the row is written.
    pub(super) fn abbreviate(&mut self) {
        for (row, object) in self.row.record_slots().into_iter().zip(self.object.record_slots()) {
            if let (Some((row_at, row)), Some((object_at, object))) = (row, object)
                && row_at == object_at
                && row == object
            {
                *row = None;
            }
        }
    }
}

impl<'a> Overlay<'a> {
    pub(super) fn new(tables: &'a Tables) -> Self {
        Self {
            tables,
            names: HashMap::new(),
            containers: HashMap::new(),
            accounts: HashMap::new(),
            account_rows: HashMap::new(),
            parts: HashMap::new(),
            dropped: Vec::new(),
            died: DeadBytes::new(),
            digests: Changes::default(),
        }
    }

    /// A value that is in one of two tables.
    fn stored(&self, either: [Table; 2], key: &[u8]) -> Result<Stored> {
        for table in either {
            if let Some(bytes) = self.tables.get(table, key)? {
                return Ok(Some((table, bytes.to_vec())));
            }
        }
        Ok(None)
    }

    /// An object and its row.
    pub(super) fn name(&mut self, path: &'a ObjectPath, hashes: PathHashes) -> Result<&mut Name<'a>> {
        if !self.names.contains_key(&hashes.object) {
            let stored_object = self.stored([Table::Objects, Table::Tombstones], &hashes.object.0)?;
            let stored_row = self.stored([Table::Rows, Table::Tombstones], &row_key(hashes.container, &path.object))?;
            let decode = |stored: &Stored, form| match stored {
                Some((_, bytes)) => Versions::decode(bytes, form),
                None => Ok(Versions::default()),
            };
            let object = decode(&stored_object, Form::Object)?;
            let row = decode(&stored_row, Form::Row)?;
            let mut name = Name {
                path,
                hashes,
                counted_object: (object.policy(), object.number(hashes.object, None)),
                counted_row: row.number(hashes.container, Some(&path.object)),
                stored_delete_at: object.delete_at(),
                stored_extents: extent_keys(&object, hashes.object),
                object,
                row,
                stored_object,
                stored_row,
            };
            name.resolve();
            self.names.insert(hashes.object, name);
        }
        Ok(self.names.get_mut(&hashes.object).expect("it was inserted"))
    }

    /// A container.
    pub(super) fn container(
        &mut self,
        hash: KeyHash,
        account_hash: KeyHash,
        account: &str,
        container: &str,
    ) -> Result<&mut Touched<Container>> {
        match self.containers.entry(hash) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let stored = self.tables.get(Table::Containers, &hash.0)?.map(|bytes| bytes.to_vec());
                let now = match &stored {
                    Some(bytes) => Container::decode(bytes)?,
                    None => Container::new(account_hash, account, container),
                };
                let counted = now.number(hash);
                Ok(entry.insert(Touched::new(now, stored, counted)))
            }
        }
    }

    /// A container, where anything is known of it.
    pub(super) fn known_container(&mut self, hash: KeyHash) -> Result<Option<&mut Touched<Container>>> {
        if !self.containers.contains_key(&hash) {
            let Some(stored) = self.tables.get(Table::Containers, &hash.0)? else { return Ok(None) };
            let now = Container::decode(&stored)?;
            let counted = now.number(hash);
            let touched = Touched::new(now, Some(stored.to_vec()), counted);
            self.containers.insert(hash, touched);
        }
        Ok(self.containers.get_mut(&hash))
    }

    /// An account.
    pub(super) fn account(&mut self, hash: KeyHash) -> Result<&mut Touched<Account>> {
        match self.accounts.entry(hash) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let stored = self.tables.get(Table::Accounts, &hash.0)?.map(|bytes| bytes.to_vec());
                let now = stored.as_deref().map(Account::decode).transpose()?.unwrap_or_default();
                let counted = now.number(hash);
                Ok(entry.insert(Touched::new(now, stored, counted)))
            }
        }
    }

    /// A container's row in its account.
    pub(super) fn account_row(&mut self, account: KeyHash, container: &str) -> Result<&mut TouchedRow> {
        let key = (account, container.to_owned());
        if !self.account_rows.contains_key(&key) {
            let stored = self.stored([Table::AccountRows, Table::AccountTombstones], &row_key(account, container))?;
            let now = stored.as_ref().map(|(_, bytes)| ContainerRow::decode(bytes)).transpose()?;
            let counted = now.as_ref().map(|row: &ContainerRow| row.number(account, container));
            self.account_rows.insert(key.clone(), TouchedRow { now, stored, counted });
        }
        Ok(self.account_rows.get_mut(&key).expect("it was inserted"))
    }

    /// The parts of a multipart object are to be deleted. Where that was known already, the record that
    /// it was known from is kept, and returned.
    pub(super) fn add_parts(&mut self, parts: Parts) -> Result<Option<Location>> {
        let Some(live) = parts.versions.live() else { return Ok(None) };
        let key = parts_key(live.timestamp, parts.object);
        if let Some(known) = self.parts(&key)? {
            return Ok(known.versions.records().next());
        }
        let record = live.record;
        self.parts.insert(key, parts);
        Ok(record)
    }

    /// A multipart object whose parts are to be deleted.
    pub(super) fn parts(&mut self, key: &[u8]) -> Result<Option<&mut Parts>> {
        if !self.parts.contains_key(key) {
            let Some(bytes) = self.tables.get(Table::Pending, key)? else { return Ok(None) };
            self.parts.insert(key.to_vec(), Parts::decode(key, &bytes)?);
        }
        Ok(self.parts.get_mut(key))
    }

    /// Nothing needs the record any more.
    pub(super) fn bury(&mut self, record: Location) {
        *self.died.entry(record.volume).or_default() += u64::from(record.length);
    }
}

/// Keys of the extents of an object that is there.
pub(super) fn extent_keys(versions: &Versions, object: KeyHash) -> Vec<Vec<u8>> {
    let Some(live) = versions.live() else { return Vec::new() };
    versions.extents().iter().map(|extent| extent_key(*extent, object, live.timestamp)).collect()
}
