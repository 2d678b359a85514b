//! Accounts: metadata, totals, and the list of their containers.

use super::placement::{Hashes, Placement};
use super::quorum::{self, Outcome};
use super::{IfMissing, Store, Written};
use crate::environment::blocking;
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::limits::LEAVING_ITEM;
use crate::model::{AccountInfo, ContainerEntry, ListQuery, Listed, Metadata};
use crate::mutation::Mutation;
use crate::node::{Node, Write};

impl Store {
    /// The account, if it was ever written to.
    pub async fn account(&self, account: &str) -> Result<Option<AccountInfo>> {
        let (placement, hash) = (self.placement(), self.hasher().account(account));
        self.settle_statistics(&placement, hash).await;
        self.account_now(&placement, hash).await
    }

    /// The same, in less time: its totals may lack what is under way.
    pub async fn account_settings(&self, account: &str) -> Result<Option<AccountInfo>> {
        self.account_now(&self.placement(), self.hasher().account(account)).await
    }

    pub(super) async fn account_now(&self, placement: &Placement, hash: KeyHash) -> Result<Option<AccountInfo>> {
        let ask = |node: Node| async move { node.account(hash).await };
        self.known_together(placement, |placement| placement.account_sets(hash), ask).await
    }

    /// Sets metadata of an account; an empty value removes.
    pub async fn account_update(&self, account: &str, changes: Metadata, missing: IfMissing) -> Result<Written> {
        let account_hash = self.hasher().account(account);
        if missing == IfMissing::Fail && self.account(account).await?.is_none() {
            return Err(Error::Missing("account"));
        }
        let timestamp = self.clock().tick();
        let mutation = Mutation::AccountPut { account: account.to_owned(), account_hash, timestamp, changes };
        let created = self.commit_account(mutation, account_hash).await?;
        Ok(Written { timestamp, created })
    }

    /// Deletes an account. [`Error::NotEmpty`] while it has containers.
    pub async fn account_delete(&self, account: &str) -> Result<()> {
        let account_hash = self.hasher().account(account);
        let info = self.account(account).await?.ok_or(Error::Missing("account"))?;
        if info.container_count > 0 {
            return Err(Error::NotEmpty);
        }
        let timestamp = self.clock().tick();
        let mutation = Mutation::AccountDelete { account: account.to_owned(), account_hash, timestamp };
        self.commit_account(mutation, account_hash).await.map(drop)
    }

    /// Says that an account is to be deleted with all that is in it: until whoever asks for [`Store::leaving_accounts`]
    /// has done that piece by piece, it [is leaving](AccountInfo::is_leaving), and no container can be made in it.
    pub async fn account_reap(&self, account: &str) -> Result<()> {
        let leaving = vec![(LEAVING_ITEM.to_owned(), account.to_owned())];
        self.account_update(account, leaving, IfMissing::Fail).await.map(drop)
    }

    /// Accounts that are to be emptied and deleted, of those that a device of this host is the first to be asked for.
    pub async fn leaving_accounts(&self) -> Result<Vec<String>> {
        let mut leaving = Vec::new();
        for device in self.devices() {
            let looked_at = device.clone();
            let found = blocking(move || looked_at.index().to_reap()).await?;
            let placement = self.placement();
            let is_ours = |account: &String| {
                placement.is_first(&device.id(), &placement.account_sets(self.hasher().account(account)))
            };
            leaving.extend(found.into_iter().filter(is_ours));
        }
        Ok(leaving)
    }

    /// Containers of an account; none where there is no account.
    pub async fn account_list(&self, account: &str, query: &ListQuery) -> Result<Vec<Listed<ContainerEntry>>> {
        let (placement, hash) = (self.placement(), self.hasher().account(account));
        self.list(&placement, hash, &placement.account_sets(hash), query).await
    }

    pub(super) async fn commit_account(&self, mutation: Mutation, hash: KeyHash) -> Result<bool> {
        self.require_clock()?;
        let placement = self.placement();
        let parts = placement.account_alone(hash);
        let hashes = Hashes { account: Some(hash), ..Hashes::default() };
        let write = |_, _| Ok(Write::of(mutation.clone()));
        let under_way = self.begin(&placement, hashes, false).await;
        match quorum::commit(self.shares(&placement, parts, hashes, &under_way, write), self.background()).await? {
            Outcome::Done { created } => Ok(created),
            Outcome::Refused(current) => Err(Error::Stale { current }),
            Outcome::Resharded { .. } => Err(Error::Contended),
        }
    }
}
