//! Containers: metadata, statistics, and the list of their objects.

use super::{IfMissing, Store, Written};
use crate::error::{Error, Result};
use crate::model::{ContainerInfo, ListQuery, Listed, Metadata, ObjectEntry};
use crate::mutation::{ContainerPut, Mutation};

impl Store {
    /// The container, if it is there.
    pub async fn container(&self, account: &str, container: &str) -> Result<Option<ContainerInfo>> {
        let hash = self.hasher().container(account, container);
        self.settle(&self.placement().container(hash), hash).await;
        self.container_now(hash)
    }

    pub(super) fn container_now(&self, hash: crate::KeyHash) -> Result<Option<ContainerInfo>> {
        self.newest(&self.placement().container(hash), |device| device.index().container(hash), |info| info.modified)
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
        let _guard = self.locks().container(container_hash).await;
        if missing == IfMissing::Fail && self.container_now(container_hash)?.is_none() {
            return Err(Error::Missing("container"));
        }
        let timestamp = self.clock().tick();
        let mutation = Mutation::ContainerPut(ContainerPut {
            account: account.to_owned(),
            container: container.to_owned(),
            account_hash,
            container_hash,
            timestamp,
            policy,
            changes,
        });
        let shares = self.placement().container_and_account(container_hash, account_hash);
        let created = self.commit(mutation, &[container_hash, account_hash], shares).await?;
        Ok(Written { timestamp, created })
    }

    /// Deletes an empty container; [`Error::NotEmpty`] otherwise.
    pub async fn container_delete(&self, account: &str, container: &str) -> Result<()> {
        let account_hash = self.hasher().account(account);
        let container_hash = self.hasher().container(account, container);
        let _guard = self.locks().container(container_hash).await;
        let info = self.container_now(container_hash)?.ok_or(Error::Missing("container"))?;
        if info.object_count > 0 {
            return Err(Error::NotEmpty);
        }
        let mutation = Mutation::ContainerDelete {
            account: account.to_owned(),
            container: container.to_owned(),
            account_hash,
            container_hash,
            timestamp: self.clock().tick(),
        };
        let shares = self.placement().container_and_account(container_hash, account_hash);
        self.commit(mutation, &[container_hash, account_hash], shares).await.map(drop)
    }

    /// Objects of a container. [`Error::Missing`] where there is no such container.
    pub async fn container_list(
        &self,
        account: &str,
        container: &str,
        query: &ListQuery,
    ) -> Result<Vec<Listed<ObjectEntry>>> {
        let hash = self.hasher().container(account, container);
        if self.container_now(hash)?.is_none() {
            return Err(Error::Missing("container"));
        }
        let query = query.clone();
        self.list(hash, self.placement().container(hash), query.limit, move |device| {
            device.index().list_objects(hash, &query)
        })
        .await
    }
}
