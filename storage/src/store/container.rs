//! Containers: metadata, statistics, and the list of their objects.

use anello_base::Timestamp;
use tokio::time::Instant;

use super::agree::{attempts, pause};
use super::placement::{Hashes, Placement};
use super::quorum::{self, Outcome};
use super::read::ask_majority;
use super::sharding::Seen;
use super::{IfMissing, Store, Written, freshness};
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

    /// The same, for reads: where fewer than a majority answers, as those know it.
    pub(super) async fn container_now(&self, placement: &Placement, hash: KeyHash) -> Result<Option<ContainerInfo>> {
        match self.container_seen(placement, hash).await? {
            (None, Some(lacking)) => Err(lacking),
            (seen, lacking) => {
                lacking.iter().for_each(|_| freshness::doubt());
                Ok(seen.map(|(info, _)| info))
            }
        }
    }

    /// The container, and the map of its shards where it has some, as a majority knows them: by what fewer know, rows and
    /// data might be written where nobody looks for them.
    pub(super) async fn container_sure(&self, placement: &Placement, hash: KeyHash) -> Result<Option<Seen>> {
        match self.container_seen(placement, hash).await? {
            (_, Some(lacking)) => Err(lacking),
            (seen, None) => Ok(seen),
        }
    }

    /// The container, and the map of its shards; why fewer than a majority has answered, where that is so.
    async fn container_seen(&self, placement: &Placement, hash: KeyHash) -> Result<(Option<Seen>, Option<Error>)> {
        let ask = |node: Node| async move { node.container(hash).await };
        if let Some(node) = placement.only() {
            return Ok((self.seen(hash, vec![ask(node.clone()).await?])?, None));
        }
        let answers = Box::pin(ask_majority(placement, &placement.container_sets(hash), ask)).await;
        Ok((self.seen(hash, answers.found)?, answers.lacking))
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
        match missing {
            IfMissing::Fail if self.container_now(&placement, container_hash).await?.is_none() => {
                return Err(Error::Missing("container"));
            }
            IfMissing::Create
                if self.account_now(&placement, account_hash).await?.is_some_and(|account| account.is_leaving) =>
            {
                return Err(Error::Missing("account"));
            }
            IfMissing::Fail | IfMissing::Create => {}
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
                Outcome::Resharded { .. } => {}
            }
        }
        Err(Error::Contended)
    }

    /// Deletes an empty container; [`Error::NotEmpty`] otherwise.
    pub async fn container_delete(&self, account: &str, container: &str) -> Result<()> {
        let account_hash = self.hasher().account(account);
        let container_hash = self.hasher().container(account, container);
        let placement = self.placement();
        let mut closed = Timestamp::ZERO;
        for attempt in attempts() {
            pause(attempt).await;
            let rows_are_there = self.inner.settling.settle(container_hash).await;
            let prepared = self.prepare_container(&placement, container_hash).await?;
            drop(rows_are_there);
            let (_, map) = prepared.container.ok_or(Error::Missing("container"))?;
            let is_empty = match &map {
                Some(map) => map.version == closed && map.is_closed,
                None => prepared.is_empty,
            };
            if map.is_some() && !is_empty && closed == Timestamp::ZERO {
                closed = self.close_shards(account, container).await?;
                continue;
            }
            if !is_empty {
                return Err(if map.is_some() { Error::Contended } else { Error::NotEmpty });
            }
            let mutation = Mutation::ContainerDelete {
                account: account.to_owned(),
                container: container.to_owned(),
                account_hash,
                container_hash,
                timestamp: prepared.timestamp,
            };
            match self.commit_container(&placement, container_hash, account_hash, mutation).await? {
                Outcome::Done { .. } => {
                    self.remove_shards(account, container).await;
                    return Ok(());
                }
                Outcome::Refused(later) => self.clock().observe(later),
                Outcome::Resharded { .. } => {}
            }
        }
        Err(Error::Contended)
    }

    /// Sets items under a version that was chosen before.
    pub(super) async fn container_set(
        &self,
        account: &str,
        container: &str,
        timestamp: Timestamp,
        changes: Metadata,
    ) -> Result<Outcome> {
        let (account_hash, container_hash) =
            (self.hasher().account(account), self.hasher().container(account, container));
        let (account, container) = (account.to_owned(), container.to_owned());
        let put = ContainerPut { account, container, account_hash, container_hash, timestamp, policy: 0, changes };
        self.commit_container(&self.placement(), container_hash, account_hash, Mutation::ContainerPut(put)).await
    }

    async fn commit_container(
        &self,
        placement: &Placement,
        container: KeyHash,
        account: KeyHash,
        mutation: Mutation,
    ) -> Result<Outcome> {
        self.require_clock()?;
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
        loop {
            let began = Instant::now();
            let (_, map) = self.container_sure(&placement, hash).await?.ok_or(Error::Missing("container"))?;
            let rows = match map {
                Some(map) => self.list_shards(&placement, (account, container), &map, query).await?,
                None => self.list(&placement, hash, &placement.container_sets(hash), query).await?,
            };
            // Rows that have gone elsewhere meanwhile stay where they were for a while, and not for ever.
            if began.elapsed() < self.inner.sharding.grace {
                return Ok(rows);
            }
        }
    }
}
