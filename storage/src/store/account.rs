//! Accounts: metadata, totals, and the list of their containers.

use super::placement::{Hashes, Placement};
use super::quorum::{self, Outcome};
use super::{IfMissing, Store, Written};
use crate::error::{Error, Result};
use crate::key::KeyHash;
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

    async fn account_now(&self, placement: &Placement, hash: KeyHash) -> Result<Option<AccountInfo>> {
        let ask = |node: Node| async move { node.account(hash).await };
        self.newest(placement, |placement| placement.account_sets(hash), ask).await
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

    /// Containers of an account; none where there is no account.
    pub async fn account_list(&self, account: &str, query: &ListQuery) -> Result<Vec<Listed<ContainerEntry>>> {
        let (placement, hash) = (self.placement(), self.hasher().account(account));
        self.list(&placement, hash, &placement.account_sets(hash), query).await
    }

    pub(super) async fn commit_account(&self, mutation: Mutation, hash: KeyHash) -> Result<bool> {
        let placement = self.placement();
        let parts = placement.account_alone(hash);
        let hashes = Hashes { account: Some(hash), ..Hashes::default() };
        let write = |_, _| Ok(Write::of(mutation.clone()));
        let under_way = self.begin(&placement, hashes, false).await;
        match quorum::commit(self.shares(&placement, parts, hashes, &under_way, write), self.background()).await? {
            Outcome::Done { created } => Ok(created),
            Outcome::Refused(current) => Err(Error::Stale { current }),
        }
    }
}
