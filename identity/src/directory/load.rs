//! Reads the records into the view: all of them at start, later those that changed elsewhere. What a crash
//! left between a name's claim and its record is put right here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::name::{Claim, Hold, claim_id};
use super::write::unpack;
use super::{Directory, of_every_kind};
use crate::error::{Error, Result};
use crate::limits::{LISTED_FOR_MAX, LOADS_AT_ONCE_MAX, SNAPSHOT_OLD_PART, SNAPSHOT_RECORDS_MIN};
use crate::model::Kept;
use crate::records::{Kind, State, Version};

/// Tags of the claims by their ids.
pub(super) type Claims = HashMap<String, String>;

/// A record as it was read.
pub(super) struct Unpacked<T> {
    record: T,
    version: Version,
    renamed_from: Option<String>,
    /// Whether it has no unique name, or its claim is held.
    is_named: bool,
}

impl<T: Kept> Unpacked<T> {
    pub(super) fn new(id: &str, version: Version, data: &[u8], claims: &Claims) -> Result<Self> {
        let (record, renamed_from) = unpack::<T>(id, data)?;
        let is_named = record.unique_name().is_none_or(|(scope, name)| {
            claims.get(&claim_id(T::KIND, &scope, name)) == Some(&Claim::new(id, Hold::Held).etag())
        });
        Ok(Self { record, version, renamed_from, is_named })
    }
}

impl Directory {
    /// Brings the view up to what the back end holds. Costs one listing per kind that changed, and one read per record
    /// that did; many records are taken from copies, where the back end has them.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let mut claims = None;
        of_every_kind!(Record, self.refresh_kind::<Record>(&mut claims).await?);
        Ok(())
    }

    /// As [`Directory::refresh`], where users and groups have come from elsewhere: what is remembered of deletions says
    /// nothing of those.
    pub(crate) async fn refresh_moved(&self) -> Result<()> {
        {
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            let (users, groups) = (view.users.deletions(), view.groups.deletions());
            view.users.drop_deletions(&users);
            view.groups.drop_deletions(&groups);
        }
        self.refresh().await
    }

    /// `claims` are listed once, for the first kind that needs them: those that are younger are read one by one.
    async fn refresh_kind<T: Kept>(&self, claims: &mut Option<Arc<Claims>>) -> Result<()> {
        // Before the listing: what is written meanwhile changes it.
        let state = self.records.state(T::KIND).await?;
        if state.as_ref().is_some_and(|state| self.is_listed(T::KIND, state)) {
            return Ok(());
        }
        let (known, deletions) = self.known::<T>();
        let listed = self.records.versions(T::KIND).await?;
        if !known.is_empty() {
            let there: HashSet<&str> = listed.iter().map(|(id, _)| id.as_str()).collect();
            // Gone elsewhere; not so if it was made here after the listing, which a later version shows.
            for (id, version) in known.iter().filter(|(id, _)| !there.contains(id.as_str())) {
                self.hide::<T>(id, version.timestamp);
            }
        }
        let is_new = |id: &str, version: &Version| {
            known.get(id).is_none_or(|known: &Version| version.timestamp > known.timestamp)
        };
        let mut new: HashMap<String, Version> =
            listed.into_iter().filter(|(id, version)| is_new(id, version)).collect();
        if !new.is_empty() {
            if claims.is_none() && T::NAMED {
                let listed = self.records.versions(Kind::Name).await?;
                *claims = Some(Arc::new(listed.into_iter().map(|(id, version)| (id, version.etag)).collect()));
            }
            let claims = claims.clone().unwrap_or_default();
            if new.len() >= SNAPSHOT_RECORDS_MIN.max(known.len() / SNAPSHOT_OLD_PART) {
                self.take_copies::<T>(&mut new, &claims).await?;
            }
            // Gathered first: a closure held across the await would keep this future from being spawned.
            let read: Vec<_> = new.keys().map(|id| self.read::<T>(id, &claims)).collect();
            stream::iter(read).buffer_unordered(LOADS_AT_ONCE_MAX).try_collect::<Vec<()>>().await?;
        }
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        T::table_mut(&mut view).drop_deletions(&deletions);
        drop(view);
        self.note_listed(T::KIND, state);
        Ok(())
    }

    /// Whether the view shows the records as they stand. Listed they are now and then in any case, so that whatever
    /// a state might not show lasts no longer.
    fn is_listed(&self, kind: Kind, state: &State) -> bool {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.get(&kind).is_some_and(|(at, earlier)| at.elapsed() < LISTED_FOR_MAX && state.is_still(earlier))
    }

    fn note_listed(&self, kind: Kind, state: Option<State>) {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            Some(state) => drop(listed.insert(kind, (Instant::now(), state))),
            None => drop(listed.remove(&kind)),
        }
    }

    fn known<T: Kept>(&self) -> (HashMap<String, Version>, Vec<String>) {
        let view = self.view();
        let table = T::table(&view);
        (table.versions().map(|(id, version)| (id.to_owned(), version.clone())).collect(), table.deletions())
    }

    /// Reads one record and shows it, if its name is its own.
    async fn read<T: Kept>(&self, id: &str, claims: &Claims) -> Result<()> {
        let (version, data) = match self.records.get(T::KIND, id).await {
            Ok(Some(found)) => found,
            // Gone since, or in a domain's database that fails: that one's users stay as they are shown.
            Ok(None) | Err(Error::Elsewhere) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.ages.changed(T::KIND);
        self.take(Unpacked::<T>::new(id, version, &data, claims)?).await
    }

    /// Shows a record, if its name is its own.
    pub(super) async fn take<T: Kept>(&self, unpacked: Unpacked<T>) -> Result<()> {
        let Unpacked { record, version, renamed_from, is_named } = unpacked;
        if is_named || self.settle(&record, &version, renamed_from.as_deref()).await? {
            self.show_read(record, version);
        }
        Ok(())
    }

    /// Decides about a record whose claim was not held when the claims were listed: whether it is to be
    /// shown as it was read. Claims are read again here, because other writers may be in the middle.
    async fn settle<T: Kept>(&self, record: &T, version: &Version, renamed_from: Option<&str>) -> Result<bool> {
        let id = record.id();
        let Some((scope, name)) = record.unique_name() else { return Ok(true) };
        let settled = match self.records.get(Kind::Name, &claim_id(T::KIND, &scope, name)).await? {
            Some(_) => self.confirm::<T>(&scope, name, &id).await,
            None => self.reclaim::<T>(&scope, name, &id).await,
        };
        match settled {
            Ok(()) => return Ok(true),
            Err(Error::Changed | Error::NameTaken { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Some(before) = renamed_from {
            let old = self.records.get(Kind::Name, &claim_id(T::KIND, &scope, before)).await?;
            if old.is_some_and(|(version, _)| version.etag == Claim::new(&id, Hold::Held).etag()) {
                return match self.undo_rename(T::clone(record), before, version).await {
                    Ok(()) | Err(Error::Changed | Error::Moving) => Ok(false),
                    Err(error) => Err(error),
                };
            }
        }
        tracing::warn!(kind = T::KIND.noun(), id, "a record whose name belongs to another one is not shown");
        Ok(false)
    }
}
