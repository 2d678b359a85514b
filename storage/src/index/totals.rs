//! Containers and accounts as the index keeps them: their history and their statistics, and the row that
//! a container has in its account. Statistics are the exact sums over the live rows.

use anello_base::Timestamp;

use super::codec::{Reader, Writer};
use super::history::History;
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::limits::LEAVING_ITEM;
use crate::model::{AccountInfo, ContainerEntry, ContainerInfo};
use crate::mutation::{Location, Mutation};
use crate::shards::{self, FENCE_ITEM, TOTALS_ITEM};

/// A container. It is kept also where only rows of it have come, or where it is deleted, as long as a row
/// or the tombstone of one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) account_hash: KeyHash,
    pub(super) account: String,
    pub(super) container: String,
    pub(super) history: History,
    pub(super) object_count: u64,
    pub(super) bytes_used: u64,
    /// Grows with every change; of the order of a timestamp's ticks, so that replicas' compare.
    pub(super) version: u64,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Account {
    pub(super) history: History,
    pub(super) container_count: u64,
    pub(super) object_count: u64,
    pub(super) bytes_used: u64,
}

/// A container's row in its account, or the tombstone of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ContainerRow {
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    pub(super) deleted: Timestamp,
    pub(super) version: u64,
    pub(super) object_count: u64,
    pub(super) bytes_used: u64,
    /// The record that brought it, where it came from another device.
    pub(super) record: Option<Location>,
    /// The container, where it is on this device and brought it.
    pub(super) container: Option<KeyHash>,
}

/// Whether a container takes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowGate {
    /// It does, or nothing is known of it.
    Open,
    /// It was deleted.
    Deleted,
    /// The row comes by an older map of its shards than is in force.
    OldShards,
}

/// `base + after - before`; an error where the sum was never right.
pub(super) fn adjust(base: u64, before: u64, after: u64) -> Result<u64> {
    let sum = base.checked_sub(before).and_then(|rest| rest.checked_add(after));
    sum.ok_or_else(|| Error::Index(format!("statistics do not add up: {base} - {before} + {after}")))
}

impl Container {
    /// A container of which nothing is known but its name.
    pub(super) fn new(account_hash: KeyHash, account: &str, container: &str) -> Self {
        Self {
            account_hash,
            account: account.to_owned(),
            container: container.to_owned(),
            history: History::default(),
            object_count: 0,
            bytes_used: 0,
            version: 0,
        }
    }

    /// Whether nothing is known of it but its names, which its rows' tombstones may need.
    pub(super) fn is_bare(&self) -> bool {
        self.history.is_empty() && self.object_count == 0
    }

    /// A row changed: the sizes of the row before and after, where it was and is there.
    pub(super) fn count(&mut self, before: Option<u64>, after: Option<u64>) -> Result<()> {
        self.object_count = adjust(self.object_count, before.is_some().into(), after.is_some().into())?;
        self.bytes_used = adjust(self.bytes_used, before.unwrap_or(0), after.unwrap_or(0))?;
        Ok(())
    }

    /// Something changed at `timestamp`.
    pub(super) fn touch(&mut self, timestamp: Timestamp) {
        self.version = self.version.saturating_add(1).max(timestamp.order());
    }

    /// Objects and bytes, those of its shards among them.
    fn counts(&self) -> (u64, u64) {
        shards::totals(self.history.item(TOTALS_ITEM), (self.object_count, self.bytes_used))
    }

    /// Whether it takes a row that comes by the map of shards of this version.
    pub(super) fn gate(&self, map: Timestamp) -> RowGate {
        match self.history.item(FENCE_ITEM).and_then(shards::fence_of) {
            Some(fence) if fence > map && self.history.exists() => RowGate::OldShards,
            _ if self.history.deleted.is_some() && !self.history.exists() => RowGate::Deleted,
            _ => RowGate::Open,
        }
    }

    /// The container as the index shows it; `None` where it is not there.
    pub(super) fn info(&self) -> Option<ContainerInfo> {
        let (object_count, bytes_used) = self.counts();
        self.history.exists().then(|| ContainerInfo {
            created: self.history.created(),
            modified: self.history.modified(),
            deleted: self.history.deleted(),
            object_count,
            bytes_used,
            policy: self.history.policy(),
            metadata: self.history.metadata(),
        })
    }

    /// Its row in the account; `hash` is the container's own.
    pub(super) fn row(&self, hash: KeyHash) -> ContainerRow {
        let (object_count, bytes_used) = self.counts();
        ContainerRow {
            created: self.history.created(),
            modified: self.history.modified(),
            deleted: self.history.deleted(),
            version: self.version,
            object_count,
            bytes_used,
            record: None,
            container: Some(hash),
        }
    }

    /// What its account's device is to be told.
    pub(super) fn stats(&self) -> Mutation {
        let (object_count, bytes_used) = self.counts();
        Mutation::ContainerStats {
            account: self.account.clone(),
            container: self.container.clone(),
            account_hash: self.account_hash,
            created: self.history.created(),
            modified: self.history.modified(),
            deleted: self.history.deleted(),
            version: self.version,
            object_count,
            bytes_used,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(160));
        out.bytes(&self.account_hash.0);
        out.text(&self.account);
        out.text(&self.container);
        out.number(self.object_count);
        out.number(self.bytes_used);
        out.number(self.version);
        self.history.encode(&mut out);
        out.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("container in the index", bytes);
        let account_hash = KeyHash(reader.array()?);
        let (account, container) = (reader.text()?, reader.text()?);
        let (object_count, bytes_used, version) = (reader.number()?, reader.number()?, reader.number()?);
        let history = History::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self { account_hash, account, container, history, object_count, bytes_used, version })
    }
}

impl Account {
    /// Whether nothing need be stored.
    pub(super) fn is_empty(&self) -> bool {
        self.history.is_empty() && self.container_count == 0
    }

    /// A container's row changed.
    pub(super) fn count(&mut self, before: Option<&ContainerRow>, after: Option<&ContainerRow>) -> Result<()> {
        let [before, after] = [before, after].map(|row| match row.filter(|row| row.is_live()) {
            Some(row) => (1, row.object_count, row.bytes_used),
            None => (0, 0, 0),
        });
        self.container_count = adjust(self.container_count, before.0, after.0)?;
        self.object_count = adjust(self.object_count, before.1, after.1)?;
        self.bytes_used = adjust(self.bytes_used, before.2, after.2)?;
        Ok(())
    }

    /// The account as the index shows it; `None` where it is not there.
    pub(super) fn info(&self) -> Option<AccountInfo> {
        self.history.exists().then(|| {
            let (leaving, metadata) =
                self.history.metadata().into_iter().partition::<Vec<_>, _>(|(name, _)| name == LEAVING_ITEM);
            AccountInfo {
                created: self.history.created(),
                modified: self.history.modified(),
                container_count: self.container_count,
                object_count: self.object_count,
                bytes_used: self.bytes_used,
                is_leaving: !leaving.is_empty(),
                metadata,
            }
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(128));
        out.number(self.container_count);
        out.number(self.object_count);
        out.number(self.bytes_used);
        self.history.encode(&mut out);
        out.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("account in the index", bytes);
        let (container_count, object_count, bytes_used) = (reader.number()?, reader.number()?, reader.number()?);
        let history = History::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self { history, container_count, object_count, bytes_used })
    }
}

impl ContainerRow {
    /// Whether the container is there.
    pub(super) fn is_live(&self) -> bool {
        self.created > Timestamp::ZERO && self.modified > self.deleted
    }

    /// The row as a listing shows it.
    pub(super) fn into_entry(self, name: String) -> ContainerEntry {
        ContainerEntry {
            name,
            created: self.created,
            modified: self.modified,
            object_count: self.object_count,
            bytes_used: self.bytes_used,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(48));
        out.timestamp(self.created);
        out.timestamp(self.modified);
        out.timestamp(self.deleted);
        out.number(self.version);
        out.number(self.object_count);
        out.number(self.bytes_used);
        out.location(self.record);
        if self.record.is_none() {
            out.bytes(&self.container.unwrap_or(KeyHash([0; 16])).0);
        }
        out.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("container's row in the index", bytes);
        let mut row = Self {
            created: reader.timestamp()?,
            modified: reader.timestamp()?,
            deleted: reader.timestamp()?,
            version: reader.number()?,
            object_count: reader.number()?,
            bytes_used: reader.number()?,
            record: reader.location()?,
            container: None,
        };
        if row.record.is_none() {
            row.container = Some(KeyHash(reader.array()?));
        }
        reader.finish()?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::history::{Change, Origin};
    use super::*;

    fn record(offset: u64) -> Location {
        Location { volume: 1, offset, length: 100, data_start: 90 }
    }

    fn container() -> Container {
        let mut container = Container::new(KeyHash([7; 16]), "account", "container");
        for (ticks, origin) in
            [(5, Origin::Own), (6, Origin::Container(KeyHash([9; 16]))), (7, Origin::Stats("name".to_owned()))]
        {
            let change = Change { timestamp: Timestamp::from_ticks(ticks), record: record(ticks), policy: 3, origin };
            let items = vec![("color".to_owned(), ticks.to_string()), ("gone".to_owned(), String::new())];
            container.history.change(change, &items);
        }
        container.history.delete(Timestamp::from_ticks(4), record(4));
        container.history.shadow(12);
        container.count(None, Some(70)).expect("adds up");
        container.touch(Timestamp::from_ticks(7));
        container
    }

    #[test]
    fn what_is_written_is_read() {
        let container = container();
        assert_eq!(Container::decode(&container.encode()).expect("decodes"), container);
        let history = container.history.clone();
        let account = Account { history, container_count: 1, object_count: 2, bytes_used: 3 };
        assert_eq!(Account::decode(&account.encode()).expect("decodes"), account);
        let row = ContainerRow { record: Some(record(1)), container: None, ..container.row(KeyHash([8; 16])) };
        assert_eq!(ContainerRow::decode(&row.encode()).expect("decodes"), row);
    }

    #[test]
    fn what_is_cut_is_refused() {
        let bytes = container().encode();
        for cut in 0..bytes.len() {
            assert!(matches!(Container::decode(&bytes[..cut]), Err(Error::Corrupt { .. })), "{cut}");
        }
    }

    #[test]
    fn statistics_that_would_fall_below_nothing_are_an_error() {
        assert!(matches!(container().count(Some(71), None), Err(Error::Index(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Container::decode(&bytes), Account::decode(&bytes), ContainerRow::decode(&bytes));
        }
    }
}
