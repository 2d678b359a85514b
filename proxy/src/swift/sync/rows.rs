//! What has been copied of a container: a row for each object in a container of the system account, whose tag is the
//! timestamp that was copied. A pass goes through both containers' rows side by side, as both sort alike: what is in one
//! and not in the other, or later, is what is left to do.

use anello_base::Timestamp;
use anello_storage::{Error, ListQuery, Listed, ObjectEntry, Result};

use crate::object::vault::Vault;
use crate::swift::limits::SYNC_PAGE;

/// A page of a container after another.
#[derive(Debug)]
pub(super) struct Rows {
    store: Vault,
    account: String,
    container: String,
    page: std::vec::IntoIter<ObjectEntry>,
    next: Option<ObjectEntry>,
    marker: Option<String>,
    is_last: bool,
}

impl Rows {
    /// The rows behind a name, or all.
    pub(super) fn behind(store: &Vault, account: &str, container: &str, marker: Option<String>) -> Self {
        let (store, account, container) = (store.clone(), account.to_owned(), container.to_owned());
        Self { store, account, container, page: Vec::new().into_iter(), next: None, marker, is_last: false }
    }

    /// The next row, which stays the next.
    pub(super) async fn peek(&mut self) -> Result<Option<&ObjectEntry>> {
        if self.next.is_none() {
            self.next = self.page.next();
        }
        if self.next.is_none() && !self.is_last {
            let query = ListQuery { marker: self.marker.take(), limit: SYNC_PAGE, ..ListQuery::default() };
            let rows = match self.store.container_list(&self.account, &self.container, &query).await {
                Err(Error::Missing(_)) => Vec::new(),
                rows => rows?,
            };
            self.is_last = rows.len() < SYNC_PAGE;
            let entry = |row| match row {
                Listed::Entry(entry) => Some(entry),
                Listed::Prefix(_) => None,
            };
            let rows: Vec<_> = rows.into_iter().filter_map(entry).collect();
            self.marker = rows.last().map(|row| row.name.clone());
            self.page = rows.into_iter();
            self.next = self.page.next();
        }
        Ok(self.next.as_ref())
    }

    /// The name of the next row, which is passed by.
    pub(super) async fn next_name(&mut self) -> Result<Option<String>> {
        Ok(self.take().await?.map(|row| row.name))
    }

    async fn take(&mut self) -> Result<Option<ObjectEntry>> {
        self.peek().await?;
        Ok(self.next.take())
    }
}

/// What is left to do about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The object is to be copied.
    Copy(String, Timestamp),
    /// What was copied, at that time, is to be deleted.
    Delete(String, Timestamp),
}

/// The next name, and what is to be done about it; `None` at the end.
pub(super) async fn next(objects: &mut Rows, copied: &mut Rows) -> Result<Option<(String, Option<Change>)>> {
    let (object, copy) =
        (objects.peek().await?.map(|row| row.name.clone()), copied.peek().await?.map(|row| row.name.clone()));
    let change = match (object, copy) {
        (None, None) => return Ok(None),
        (Some(object), Some(copy)) if object == copy => {
            let (Some(row), Some(known)) = (objects.take().await?, copied.take().await?) else { return Ok(None) };
            let is_known = known.etag == tag(row.timestamp);
            (row.name.clone(), (!is_known).then_some(Change::Copy(row.name, row.timestamp)))
        }
        (Some(object), copy) if copy.as_ref().is_none_or(|copy| object < *copy) => {
            let Some(row) = objects.take().await? else { return Ok(None) };
            (object, Some(Change::Copy(row.name, row.timestamp)))
        }
        _ => {
            let Some(known) = copied.take().await? else { return Ok(None) };
            let at = u64::from_str_radix(&known.etag, 16).map(Timestamp::from_ticks).unwrap_or_default();
            (known.name.clone(), Some(Change::Delete(known.name, at)))
        }
    };
    Ok(Some(change))
}

/// A timestamp as a row's tag.
pub(super) fn tag(at: Timestamp) -> String {
    format!("{:016x}", at.ticks())
}
