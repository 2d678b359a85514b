//! Reads the records into the view: all of them at start, later those that changed elsewhere. What a crash
//! left between a name's claim and its record is put right here.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::Directory;
use super::name::{Claim, Hold, claim_id};
use super::write::unpack;
use crate::error::{Error, Result};
use crate::limits::LOADS_AT_ONCE_MAX;
use crate::model::{
    AccessRule, ApplicationCredential, Credential, Domain, DomainConfig, Endpoint, EndpointFilter, EndpointGroup,
    Failure, Grant, Group, Implication, Kept, Limit, Membership, Policy, PolicyAssociation, Project, Region,
    RegisteredLimit, Revocation, Role, Service, Trust, User,
};
use crate::records::{Kind, Version};

/// Tags of the claims by their ids.
type Claims = HashMap<String, String>;

impl Directory {
    /// Brings the view up to what the back end holds. Costs one listing per kind, and one read per record
    /// that changed.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let mut claims = None;
        self.refresh_kind::<Domain>(&mut claims).await?;
        self.refresh_kind::<Project>(&mut claims).await?;
        self.refresh_kind::<User>(&mut claims).await?;
        self.refresh_kind::<Group>(&mut claims).await?;
        self.refresh_kind::<Membership>(&mut claims).await?;
        self.refresh_kind::<Role>(&mut claims).await?;
        self.refresh_kind::<Implication>(&mut claims).await?;
        self.refresh_kind::<Grant>(&mut claims).await?;
        self.refresh_kind::<Service>(&mut claims).await?;
        self.refresh_kind::<Endpoint>(&mut claims).await?;
        self.refresh_kind::<Region>(&mut claims).await?;
        self.refresh_kind::<Credential>(&mut claims).await?;
        self.refresh_kind::<ApplicationCredential>(&mut claims).await?;
        self.refresh_kind::<Trust>(&mut claims).await?;
        self.refresh_kind::<AccessRule>(&mut claims).await?;
        self.refresh_kind::<RegisteredLimit>(&mut claims).await?;
        self.refresh_kind::<Limit>(&mut claims).await?;
        self.refresh_kind::<Policy>(&mut claims).await?;
        self.refresh_kind::<PolicyAssociation>(&mut claims).await?;
        self.refresh_kind::<EndpointGroup>(&mut claims).await?;
        self.refresh_kind::<EndpointFilter>(&mut claims).await?;
        self.refresh_kind::<DomainConfig>(&mut claims).await?;
        self.refresh_kind::<Failure>(&mut claims).await?;
        self.refresh_kind::<Revocation>(&mut claims).await
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
    async fn refresh_kind<T: Kept>(&self, claims: &mut Option<Claims>) -> Result<()> {
        let (known, deletions) = self.known::<T>();
        let listed = self.records.versions(T::KIND).await?;
        let there: HashSet<&str> = listed.iter().map(|(id, _)| id.as_str()).collect();
        for (id, version) in &known {
            // Gone elsewhere; not so if it was made here after the listing, which a later version shows.
            if !there.contains(id.as_str()) {
                self.hide::<T>(id, version.timestamp);
            }
        }
        let is_new = |id: &str, version: &Version| {
            known.get(id).is_none_or(|known: &Version| version.timestamp > known.timestamp)
        };
        let new: Vec<String> =
            listed.into_iter().filter(|(id, version)| is_new(id, version)).map(|(id, _)| id).collect();
        if !new.is_empty() {
            if claims.is_none() && T::NAMED {
                let listed = self.records.versions(Kind::Name).await?;
                *claims = Some(listed.into_iter().map(|(id, version)| (id, version.etag)).collect());
            }
            let none = Claims::new();
            let claims = claims.as_ref().unwrap_or(&none);
            // Gathered first: a closure held across the await would keep this future from being spawned.
            let read: Vec<_> = new.iter().map(|id| self.read::<T>(id, claims)).collect();
            stream::iter(read).buffer_unordered(LOADS_AT_ONCE_MAX).try_collect::<Vec<()>>().await?;
        }
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        T::table_mut(&mut view).drop_deletions(&deletions);
        Ok(())
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
        let (record, renamed_from) = unpack::<T>(id, &data)?;
        if let Some((scope, name)) = record.unique_name() {
            let held = Claim::new(id, Hold::Held).etag();
            let is_held = claims.get(&claim_id(T::KIND, &scope, name)) == Some(&held);
            if !is_held && !self.settle(&record, &version, renamed_from.as_deref()).await? {
                return Ok(());
            }
        }
        self.show(record, version);
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
                    Ok(()) | Err(Error::Changed) => Ok(false),
                    Err(error) => Err(error),
                };
            }
        }
        tracing::warn!(kind = T::KIND.noun(), id, "a record whose name belongs to another one is not shown");
        Ok(false)
    }
}
