//! Containers: metadata, statistics, and the list of their objects.

use super::agree::{attempts, pause};
use super::placement::{Hashes, Placement};
use super::quorum::{self, Outcome};
use super::{IfMissing, Store, Written};
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::model::{ContainerInfo, ListQuery, Listed, Metadata, ObjectEntry};
use crate::mutation::{ContainerPut, Mutation};
use crate::node::{Node, Write};

impl Store {
    /// The container, if it is there.
    pub async fn container(&self, account: &str, container: &str) -> Result<Option<ContainerInfo>> {
        let (placement, hash) = (self.placement(), self.hasher().container(account, container));
        self.settle_statistics(&placement, hash).await;
        self.container_now(&placement, hash).await
    }

    /// The same, in less time: its counts may lack what is under way.
    pub async fn container_settings(&self, account: &str, container: &str) -> Result<Option<ContainerInfo>> {
        self.container_now(&self.placement(), self.hasher().container(account, container)).await
    }

    pub(super) async fn container_now(&self, placement: &Placement, hash: KeyHash) -> Result<Option<ContainerInfo>> {
        let ask = |node: Node| async move { node.container(hash).await };
        self.newest(placement, |placement| placement.container_sets(hash), ask).await
    }

    /// Sets metadata of a container; an empty value removes. `policy` counts at creation only. Creating a
    /// container creates its account.
    pub async fn container_update(
        &self,
        account: &str,
        container: &str,
        changes: Metadata,
        policy: u32,
        missing: IfMissing,
    ) -> Result<Written> {
        let account_hash = self.hasher().account(account);
        let container_hash = self.hasher().container(account, container);
        let placement = self.placement();
        if missing == IfMissing::Fail && self.container_now(&placement, container_hash).await?.is_none() {
            return Err(Error::Missing("container"));
        }
        for attempt in attempts() {
            pause(attempt).await;
            let timestamp = self.clock().tick();
            let put = ContainerPut {
                account: account.to_owned(),
                container: container.to_owned(),
                account_hash,
                container_hash,
                timestamp,
                policy,
                changes: changes.clone(),
            };
            match self.commit_container(&placement, container_hash, account_hash, Mutation::ContainerPut(put)).await? {
                Outcome::Done { created } => return Ok(Written { timestamp, created }),
                Outcome::Refused(later) => self.clock().observe(later),
            }
        }
        Err(Error::Contended)
    }

    /// Deletes an empty container; [`Error::NotEmpty`] otherwise.
    pub async fn container_delete(&self, account: &str, container: &str) -> Result<()> {
        let account_hash = self.hasher().account(account);
        let container_hash = self.hasher().container(account, container);
        let placement = self.placement();
        for attempt in attempts() {
            pause(attempt).await;
            let rows_are_there = self.inner.settling.settle(container_hash).await;
            let prepared = self.prepare_container(&placement, container_hash).await?;
            drop(rows_are_there);
            prepared.container.ok_or(Error::Missing("container"))?;
            if !prepared.is_empty {
                return Err(Error::NotEmpty);
            }
            let mutation = Mutation::ContainerDelete {
                account: account.to_owned(),
                container: container.to_owned(),
                account_hash,
                container_hash,
                timestamp: prepared.timestamp,
            };
            match self.commit_container(&placement, container_hash, account_hash, mutation).await? {
                Outcome::Done { .. } => return Ok(()),
                Outcome::Refused(later) => self.clock().observe(later),
            }
        }
        Err(Error::Contended)
    }

    async fn commit_container(
        &self,
        placement: &Placement,
        container: KeyHash,
        account: KeyHash,
        mutation: Mutation,
    ) -> Result<Outcome> {
        let hashes = Hashes { object: None, container: Some(container), account: Some(account) };
        let parts = placement.container_and_account(container, account);
        let under_way = self.begin(placement, hashes, false).await;
        let shares = self.shares(placement, parts, hashes, &under_way, |_, _| {
            let is_plain = !matches!(mutation, Mutation::ContainerDelete { .. });
            Ok(Write { is_plain, ..Write::of(mutation.clone()) })
        });
        quorum::commit(shares, self.background()).await
    }

    /// Objects of a container. [`Error::Missing`] where there is no such container.
    pub async fn container_list(
        &self,
        account: &str,
        container: &str,
        query: &ListQuery,
    ) -> Result<Vec<Listed<ObjectEntry>>> {
        let (placement, hash) = (self.placement(), self.hasher().container(account, container));
        self.container_now(&placement, hash).await?.ok_or(Error::Missing("container"))?;
        self.list(&placement, hash, &placement.container_sets(hash), query).await
    }
}
