//! The storage policies that there are, and which one a container has.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use super::Store;
use super::placement::Placement;
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::model::ContainerInfo;
use crate::policy::{Policies, StoragePolicy};

/// Where a host that is alone keeps its policies, beside its rings.
const FILE: &str = "policies";

/// Containers whose policies are remembered, some 40 bytes each.
const REMEMBERED_MAX: usize = 100_000;

/// Policies of containers, as they were last seen.
#[derive(Debug, Default)]
pub(super) struct ContainerPolicies {
    known: RwLock<HashMap<KeyHash, u32>>,
    /// Held while a host that is alone changes its policies.
    changing: tokio::sync::Mutex<()>,
}

impl ContainerPolicies {
    fn get(&self, container: KeyHash) -> Option<u32> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&container).copied()
    }

    fn note(&self, container: KeyHash, policy: u32) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(container, policy);
    }
}

impl Store {
    /// The storage policies.
    pub fn policies(&self) -> Policies {
        self.placement().policies().clone()
    }

    /// A container's storage policy, of one that was made a moment ago perhaps that of its namesake before; `None`
    /// where there is but one policy.
    pub async fn container_policy(&self, account: &str, container: &str) -> Result<Option<StoragePolicy>> {
        let placement = self.placement();
        if placement.policies().is_one() {
            return Ok(None);
        }
        let policy = self.policy_seen(&placement, self.hasher().container(account, container)).await?;
        placement.policy(policy).cloned().map(Some)
    }

    /// Changes the storage policies: those that there are keep their numbers.
    pub async fn change_policies(&self, change: impl Fn(&Policies) -> Result<Policies> + Send + Sync) -> Result<()> {
        let Some(state_dir) = &self.inner.state_dir else {
            return self.change_map(|map, _| map.changing_policies(&change)).await;
        };
        let _one_at_a_time = self.inner.container_policies.changing.lock().await;
        let policies = change(self.placement().policies())?;
        remove_rings_but(state_dir, self.placement().policies())?;
        let placement = Placement::of_one_host(state_dir, policies.clone(), self.locals())?;
        write(state_dir, &policies)?;
        self.set_placement(placement);
        Ok(())
    }

    /// The rings in force as files in Swift's format, with the names that they have.
    pub fn ring_files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let names = self.placement().policies().rings().into_iter().map(|plan| plan.places.file());
        if let Some(files) = self.cluster_rings() {
            return Ok(names.zip(files).collect());
        }
        let Some(state_dir) = &self.inner.state_dir else { return Ok(Vec::new()) };
        let read = |name: String| {
            let path = state_dir.join("rings").join(&name);
            let bytes = fs::read(&path).map_err(|error| Error::io("read", &path, &error))?;
            Ok((name, bytes))
        };
        names.map(read).collect()
    }

    /// A container's policy, for a read: it may be that of a container of before, in which nothing is left. The
    /// default where there is no container.
    pub(super) async fn policy_seen(&self, placement: &Placement, container: KeyHash) -> Result<u32> {
        if placement.policies().is_one() {
            return Ok(0);
        }
        match self.inner.container_policies.get(container) {
            Some(policy) => Ok(policy),
            None => Box::pin(self.policy_looked_up(placement, container)).await,
        }
    }

    /// The same, asked for anew.
    pub(super) async fn policy_looked_up(&self, placement: &Placement, container: KeyHash) -> Result<u32> {
        if placement.policies().is_one() {
            return Ok(0);
        }
        let info = self.container_now(placement, container).await?;
        self.note_policy(placement, container, info)
    }

    /// A container's policy, for a write.
    pub(super) async fn policy_now(&self, placement: &Placement, container: KeyHash) -> Result<u32> {
        if placement.policies().is_one() {
            return Ok(0);
        }
        let seen = self.container_sure(placement, container).await?;
        self.note_policy(placement, container, seen.map(|(info, _)| info))
    }

    fn note_policy(&self, placement: &Placement, container: KeyHash, info: Option<ContainerInfo>) -> Result<u32> {
        let Some(info) = info else { return Ok(0) };
        placement.policy(info.policy)?;
        self.inner.container_policies.note(container, info.policy);
        Ok(info.policy)
    }
}

/// The policies that are kept in this directory; the default ones where there are none.
pub(super) fn read(state_dir: &Path) -> Result<Policies> {
    let path = state_dir.join("rings").join(FILE);
    match fs::read(&path) {
        Ok(bytes) => rmp_serde::from_slice(&bytes).map_err(|error| Error::ring(&path, &error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Policies::default()),
        Err(error) => Err(Error::io("read", &path, &error)),
    }
}

/// Removes rings that were made for a policy which then was not added. No object was placed by them, and they may
/// not be what the policy that is added next needs.
fn remove_rings_but(state_dir: &Path, policies: &Policies) -> Result<()> {
    let kept: HashSet<String> = policies.rings().into_iter().map(|plan| plan.places.file()).collect();
    let dir = state_dir.join("rings");
    let failed = |error| Error::io("list", &dir, &error);
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_left = |name: &str| name.ends_with(".ring.gz") && !kept.contains(name);
        if path.file_name().and_then(OsStr::to_str).is_some_and(is_left) {
            fs::remove_file(&path).map_err(|error| Error::io("remove", &path, &error))?;
        }
    }
    Ok(())
}

fn write(state_dir: &Path, policies: &Policies) -> Result<()> {
    let path = state_dir.join("rings").join(FILE);
    let bytes = rmp_serde::to_vec_named(policies).map_err(|error| Error::Message(error.to_string()))?;
    super::placement::replace_file(&path, &bytes)
}
