//! What daemons look for among all containers and accounts: containers that have shards, or are to get some, and
//! accounts that are to be emptied.

use anello_base::Timestamp;

use super::tables::Table;
use super::totals::{Account, Container, RowGate};
use super::{Index, Reader};
use crate::error::Result;
use crate::key::KeyHash;
use crate::limits::LEAVING_ITEM;
use crate::shards::FENCE_ITEM;

/// Containers with which the sharder has something to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToShard {
    /// Accounts and containers.
    pub found: Vec<(String, String)>,
    /// The last one that was looked at; `None` where it was the last of all.
    pub last: Option<KeyHash>,
}

impl Index {
    /// Whether a container takes a row that comes by the map of its shards of this version (zero: by none).
    pub fn row_gate(&self, container: KeyHash, map: Timestamp) -> Result<RowGate> {
        let stored = self.tables.get(Table::Containers, &container.0)?;
        stored.map_or(Ok(RowGate::Open), |stored| Ok(Container::decode(&stored)?.gate(map)))
    }

    /// Of the next `limit` containers behind `after` those that have more rows than `rows_max`, or shards. The
    /// system's own are left out.
    pub fn to_shard(&self, after: Option<KeyHash>, rows_max: u64, limit: usize) -> Result<ToShard> {
        let (mut found, mut last, mut looked_at) = (Vec::new(), None, 0);
        let low = after.map(|hash| [&hash.0[..], &[0]].concat()).unwrap_or_default();
        let mut is_whole = true;
        self.tables.scan(Table::Containers, &low, None, |key, value| {
            if looked_at == limit {
                is_whole = false;
                return Ok(false);
            }
            looked_at += 1;
            last = Some(KeyHash(Reader::new("key of a container in the index", key).array()?));
            let container = Container::decode(value)?;
            let is_due = container.object_count > rows_max || container.history.item(FENCE_ITEM).is_some();
            if is_due && container.history.exists() && !container.account.starts_with('.') {
                found.push((container.account, container.container));
            }
            Ok(true)
        })?;
        Ok(ToShard { found, last: last.filter(|_| !is_whole) })
    }

    /// Accounts that were deleted with all that is in them.
    pub fn to_reap(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.tables.scan(Table::Accounts, &[], None, |_, value| {
            let account = Account::decode(value)?;
            let name = account.history.item(LEAVING_ITEM).filter(|name| !name.is_empty());
            found.extend(name.map(str::to_owned));
            Ok(true)
        })?;
        Ok(found)
    }
}
