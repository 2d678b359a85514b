//! Which of this process's devices keep what.

use std::path::Path;

use crate::device::Device;
use crate::error::Result;
use crate::key::KeyHash;
use crate::mutation::{Applies, PathHashes};

/// Replicas where there are devices enough for them.
const REPLICAS: usize = 3;

/// A device of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

/// The devices and their rings.
#[derive(Debug)]
pub(super) struct Placement {
    devices: Vec<Device>,
}

impl Placement {
    pub(super) fn open(_state_dir: &Path, devices: Vec<Device>) -> Result<Self> {
        Ok(Self { devices })
    }

    pub(super) fn devices(&self) -> &[Device] {
        &self.devices
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = (Slot, &Device)> {
        self.devices.iter().enumerate().map(|(slot, device)| (Slot(slot), device))
    }

    pub(super) fn device(&self, slot: Slot) -> &Device {
        &self.devices[slot.0]
    }

    pub(super) fn replicas(&self) -> usize {
        self.devices.len().min(REPLICAS)
    }

    pub(super) fn account(&self, _account: KeyHash) -> Vec<Slot> {
        self.slots().map(|(slot, _)| slot).collect()
    }

    pub(super) fn container(&self, container: KeyHash) -> Vec<Slot> {
        self.account(container)
    }

    pub(super) fn object(&self, object: KeyHash) -> Vec<Slot> {
        self.account(object)
    }

    /// Who keeps a part of an object's mutation, and which.
    pub(super) fn all(&self, hashes: PathHashes) -> Vec<(Slot, Applies)> {
        let mut shares = self.container_and_account(hashes.container, hashes.account);
        shares.retain(|(_, applies)| applies.container);
        for slot in self.object(hashes.object) {
            match shares.iter_mut().find(|(at, _)| *at == slot) {
                Some((_, applies)) => applies.object = true,
                None => shares.push((slot, Applies { object: true, container: false, account: false })),
            }
        }
        shares
    }

    /// Who keeps a part of a container's mutation, and which.
    pub(super) fn container_and_account(&self, container: KeyHash, account: KeyHash) -> Vec<(Slot, Applies)> {
        let of_container = |slot| (slot, Applies { object: false, container: true, account: false });
        let mut shares: Vec<_> = self.container(container).into_iter().map(of_container).collect();
        for slot in self.account(account) {
            match shares.iter_mut().find(|(at, _)| *at == slot) {
                Some((_, applies)) => applies.account = true,
                None => shares.push((slot, Applies { object: false, container: false, account: true })),
            }
        }
        shares
    }
}
