//! What a replica lacks of an entry, by the version that it shows: the records that it must be given so that
//! it comes to the same state, and no others.

use anello_base::Timestamp;

use super::digest::{EntryKey, EntryVersion, LifeVersion, NameVersion, Tree};
use super::history::History;
use super::overlay::Overlay;
use super::tables::{Table, Tables, row_key};
use super::totals::{Account, Container};
use super::version::{Data, Versions};
use super::version_codec::Form;
use crate::error::Result;
use crate::key::{KeyHash, KeyHasher, ObjectPath};
use crate::mutation::{Location, Mutation, PathHashes};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lacking {
    /// Records in the log.
    pub records: Vec<Location>,
    /// Statistics of a container that is on this device: they stand in no record.
    pub statistics: Option<Mutation>,
    /// There is a version that the replica lacks, whose record is not known any more.
    pub is_lost: bool,
}

impl Lacking {
    /// Whether the replica lacks anything.
    pub(crate) fn is_anything(&self) -> bool {
        self.is_lost || self.statistics.is_some() || !self.records.is_empty()
    }

    fn of(versions: &Versions, have: Option<&EntryVersion>) -> Self {
        let have = name_version(have);
        Self { records: versions.lacking(&have), is_lost: versions.has_lost(&have), ..Self::default() }
    }
}

impl Tables {
    /// See [`super::Index::lacking`].
    pub(super) fn lacking(
        &self,
        hasher: &KeyHasher,
        tree: Tree,
        key: &EntryKey,
        have: Option<&EntryVersion>,
    ) -> Result<Lacking> {
        let mut lacking = Lacking::default();
        match (tree, &key.name) {
            (Tree::Objects { .. }, _) => {
                let Some(versions) = self.object_versions(key.hash)? else { return Ok(lacking) };
                lacking = Lacking::of(&versions, have);
            }
            (Tree::Containers, Some(name)) => lacking = self.lacking_row(hasher, key.hash, name, have)?,
            (Tree::Containers, None) => {
                let Some(stored) = self.get(Table::Containers, &key.hash.0)? else { return Ok(lacking) };
                lacking.records = Container::decode(&stored)?.history.lacking(&life_version(have));
            }
            (Tree::Accounts, None) => {
                let Some(stored) = self.get(Table::Accounts, &key.hash.0)? else { return Ok(lacking) };
                lacking.records = Account::decode(&stored)?.history.lacking(&life_version(have));
            }
            (Tree::Accounts, Some(name)) => return self.lacking_account_row(key.hash, name, have),
        }
        lacking.records.sort_unstable();
        lacking.records.dedup();
        Ok(lacking)
    }

    /// What is known of an object.
    pub(super) fn object_versions(&self, hash: KeyHash) -> Result<Option<Versions>> {
        for table in [Table::Objects, Table::Tombstones] {
            if let Some(stored) = self.get(table, &hash.0)? {
                return Versions::decode(&stored, Form::Object).map(Some);
            }
        }
        Ok(None)
    }

    /// A row mostly leaves its record to its object, whose hash only the whole path tells. Where the container's
    /// names are not known, nothing can be told but what the row names itself.
    fn lacking_row(
        &self,
        hasher: &KeyHasher,
        container: KeyHash,
        name: &str,
        have: Option<&EntryVersion>,
    ) -> Result<Lacking> {
        let Some(stored) = self.get(Table::Containers, &container.0)? else {
            for table in [Table::Rows, Table::Tombstones] {
                if let Some(stored) = self.get(table, &row_key(container, name))? {
                    return Ok(Lacking::of(&Versions::decode(&stored, Form::Row)?, have));
                }
            }
            return Ok(Lacking::default());
        };
        let known = Container::decode(&stored)?;
        let path = ObjectPath::new(known.account, known.container, name);
        let hashes = PathHashes { account: known.account_hash, container, object: hasher.object(&path) };
        let mut overlay = Overlay::new(self);
        Ok(Lacking::of(&overlay.name(&path, hashes)?.row, have))
    }

    fn lacking_account_row(&self, account: KeyHash, name: &str, have: Option<&EntryVersion>) -> Result<Lacking> {
        let mut lacking = Lacking::default();
        let mut overlay = Overlay::new(self);
        let Some(row) = overlay.account_row(account, name)?.now.clone() else { return Ok(lacking) };
        if have.is_some_and(|have| *have == row.version()) {
            return Ok(lacking);
        }
        if let Some(record) = row.record {
            lacking.records.push(record);
        } else if let Some(container) = row.container
            && let Some(touched) = overlay.known_container(container)?
        {
            lacking.statistics = Some(touched.now.stats());
        }
        Ok(lacking)
    }
}

fn name_version(have: Option<&EntryVersion>) -> NameVersion {
    match have {
        Some(EntryVersion::Name(name)) => *name,
        _ => NameVersion::default(),
    }
}

fn life_version(have: Option<&EntryVersion>) -> LifeVersion {
    match have {
        Some(EntryVersion::Life(life)) => life.clone(),
        _ => LifeVersion::default(),
    }
}

impl Versions {
    /// The version of the data and whether it is a deletion, and its record.
    fn data_record(&self) -> ((Option<Timestamp>, bool), Option<Location>) {
        match &self.data {
            Data::Absent => ((None, false), None),
            Data::Deleted { timestamp, record, .. } => ((Some(*timestamp), true), *record),
            Data::Live(live) => ((Some(live.timestamp), false), live.record),
        }
    }

    /// Whether `have` lacks data of which the record is not known.
    fn has_lost(&self, have: &NameVersion) -> bool {
        let (ours, record) = self.data_record();
        record.is_none() && ours > (have.data, have.deleted)
    }

    /// Records of what `have` lacks and would keep.
    fn lacking(&self, have: &NameVersion) -> Vec<Location> {
        let (ours, record) = self.data_record();
        let data = record.filter(|_| ours > (have.data, have.deleted));
        // What is not later than the data of either is cleared by them.
        let base = ours.0.max(have.data);
        let post = self.post.as_ref().filter(|post| Some(post.timestamp) > base.max(have.post));
        let retype = self.retype.as_ref().filter(|retype| Some(retype.timestamp) > base.max(have.retype));
        let post = post.and_then(|post| post.record);
        let retype = retype.and_then(|retype| retype.record);
        [data, post, retype].into_iter().flatten().collect()
    }
}

impl History {
    /// Records of what `have` lacks and would keep: the deletion, the change that created it, the latest change
    /// of itself, and those that set metadata.
    fn lacking(&self, have: &LifeVersion) -> Vec<Location> {
        let base = self.deleted().max(have.deleted);
        let deletion = self.deleted.filter(|deletion| deletion.timestamp > have.deleted);
        let mut records: Vec<_> = deletion.map(|deletion| deletion.record).into_iter().collect();
        let changes = || self.changes.iter().filter(|change| change.timestamp > base);
        let has = |timestamp| {
            timestamp == have.created
                || timestamp == have.modified
                || have.items.iter().any(|item| item.timestamp == timestamp)
        };
        let first = changes().next().filter(|first| have.created <= base || first.timestamp < have.created);
        let latest = changes().rev().find(|change| change.is_own()).filter(|latest| latest.timestamp > have.modified);
        records.extend(first.into_iter().chain(latest).filter(|c| !has(c.timestamp)).map(|change| change.record));
        for item in self.items().iter().filter(|item| item.timestamp > base) {
            let theirs = have.items.iter().find(|theirs| theirs.name == item.name);
            let is_known = theirs.is_some_and(|t| (t.timestamp, &t.value) >= (item.timestamp, &item.value));
            let source = changes().find(|change| change.timestamp == item.timestamp && !is_known);
            records.extend(source.map(|change| change.record));
        }
        records
    }
}
