//! All records in memory, and the one way to change them. What is asked for is answered from the [`View`]; a
//! change is durable in [`crate::records`] before the view shows it.
//!
//! **Unique names.** A record with a unique name (a user in its domain) stands only together with a *claim*: a
//! record of its own whose id is made from kind, scope and name, written on the condition that it is
//! absent. A claim is *reserved* before the record is written and *held* after; each step expects the one
//! before it. Whatever crash leaves behind is decided by what is there:
//! - a claim without its record is free: the next who wants the name takes it over;
//! - a record with a reserved claim is whole, and the claim is turned to held;
//! - a record whose new name another one holds keeps the old name, whose claim it still has;
//! - a record without any claim of its own was never acknowledged, and is not shown.

mod copies;
mod load;
mod name;
mod table;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use anello_base::Timestamp;

pub(crate) use table::{Table, View};

use crate::error::{Error, Result};
use crate::model::{Kept, Project};
use crate::records::{Kind, Records, State, Version};

/// Runs a step for every kind of record, which it calls by the name given.
macro_rules! of_every_kind {
    ($record:ident, $step:expr) => {
        $crate::directory::of_every_kind!(
            $record, $step => Domain Project User Group Membership Role Implication Grant Service Endpoint Region
            Credential ApplicationCredential Trust AccessRule RegisteredLimit Limit Policy PolicyAssociation
            EndpointGroup EndpointFilter DomainConfig Failure Revocation
        )
    };
    ($record:ident, $step:expr => $($kind:ident)*) => {
        $({
            type $record = $crate::model::$kind;
            $step
        })*
    };
}
use of_every_kind;

/// The records and their view.
pub(crate) struct Directory {
    records: Arc<dyn Records>,
    /// Never held across an await; nothing else is locked while it is.
    view: RwLock<View>,
    /// Grows with each change of the view.
    generation: AtomicU64,
    ages: copies::Ages,
    /// When each kind was listed, and how it stood then. Held for a look.
    listed: Mutex<HashMap<Kind, (Instant, State)>>,
    /// Whether changes are refused, because the records have moved.
    is_frozen: AtomicBool,
}

impl Directory {
    /// A directory over a back end; empty until [`Directory::refresh`].
    pub(crate) fn new(records: Arc<dyn Records>) -> Self {
        Self {
            records,
            view: RwLock::default(),
            generation: AtomicU64::new(1),
            ages: copies::Ages::default(),
            listed: Mutex::default(),
            is_frozen: AtomicBool::new(false),
        }
    }

    /// What is known now.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that grows with each change: what was derived from the view is good while it stands.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A record by its id.
    pub(crate) fn get<T: Kept>(&self, id: &str) -> Option<Arc<T>> {
        T::table(&self.view()).get(id).cloned()
    }

    /// A project, or the one that acts as the domain of this id.
    pub(crate) fn project(&self, id: &str) -> Option<Arc<Project>> {
        self.view().project(id)
    }

    /// The back end, for records that have no view (keys).
    pub(crate) fn records(&self) -> &dyn Records {
        &*self.records
    }

    /// Refuses changes from now on, or lets them again.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.is_frozen.store(is_frozen, Ordering::Release);
    }

    /// An error where changes are refused.
    pub(crate) fn check_open(&self) -> Result<()> {
        match self.is_frozen.load(Ordering::Acquire) {
            true => Err(Error::Moved),
            false => Ok(()),
        }
    }

    /// Shows what was written here.
    fn show<T: Kept>(&self, record: T, version: Version) -> Arc<T> {
        self.ages.changed(T::KIND);
        self.show_read(record, version)
    }

    /// Shows what was read.
    fn show_read<T: Kept>(&self, record: T, version: Version) -> Arc<T> {
        let record = Arc::new(record);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        T::table_mut(&mut view).put(Arc::clone(&record), version);
        self.generation.fetch_add(1, Ordering::AcqRel);
        record
    }

    /// Shows what another source keeps, in the place of those records of such a source that `is_own` picks.
    pub(crate) fn show_foreign<T: Kept + PartialEq>(&self, records: Vec<T>, is_own: impl Fn(&T) -> bool) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if T::table_mut(&mut view).replace_foreign(records, is_own) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn hide<T: Kept>(&self, id: &str, deleted: Timestamp) {
        self.ages.changed(T::KIND);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        T::table_mut(&mut view).remove(id, deleted);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}
