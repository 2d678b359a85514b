//! Gives up what belongs to other devices, or was moved to them.

use super::Device;
use super::codec::record;
use super::volume::VolumeKind;
use crate::environment::blocking;
use crate::error::Result;
use crate::index::{DigestEntry, Tree};
use crate::key::{KeyHash, KeyHasher, ObjectPath};
use crate::mutation::{Applies, Mutation};

impl Device {
    /// Forgets those of `entries` that still have the version that they are given with, and frees their data; tells
    /// how many. Whoever calls it knows that other devices have them. See [`crate::index::Index::forget`].
    pub async fn forget(&self, hasher: &KeyHasher, tree: Tree, entries: &[DigestEntry]) -> Result<u64> {
        let mut objects = Vec::new();
        if matches!(tree, Tree::Objects { .. }) {
            for entry in entries {
                objects.push(self.name_of(entry.key.hash).await);
            }
        }
        let mut forgotten = self.index().forget(hasher, tree, entries, objects.clone())?;
        if !forgotten.statistics.is_empty() {
            for statistics in forgotten.statistics.drain(..) {
                let of_account = Applies { object: false, container: false, account: true };
                self.commit(statistics, of_account).await?;
            }
            let rest = self.index().forget(hasher, tree, entries, objects)?;
            forgotten.entries += rest.entries;
            forgotten.effect.dead_extents.extend(rest.effect.dead_extents);
        }
        if !forgotten.effect.dead_extents.is_empty() {
            // An index that comes back from before must not refer to what is freed.
            let device = self.clone();
            blocking(move || device.index().flush()).await?;
            self.inner.shared.free(forgotten.effect.dead_extents);
        }
        Ok(forgotten.entries)
    }

    /// An object's name, which only its record tells; `None` where that can't be read.
    async fn name_of(&self, hash: KeyHash) -> Option<ObjectPath> {
        let location = *self.index().object_records(hash).ok()?.first()?;
        let access = &self.inner.access;
        let volume = access.volumes.get(VolumeKind::Log, location.volume)?;
        let head = access.read(&volume, location.offset, location.data_start as usize).await.ok()?;
        match record::decode(head.as_ref()).ok()?.mutation {
            Mutation::ObjectPut(put) => Some(put.path),
            Mutation::ObjectPost(post) => Some(post.path),
            Mutation::ObjectDelete { path, .. } => Some(path),
            _ => None,
        }
    }
}
