//! Where something is kept by the rings in force, for those who place work beside data.

use super::Store;
use crate::error::Result;
use crate::index::Tree;
use crate::key::ObjectPath;

/// Where an account, a container or an object is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// The partition of its ring.
    pub partition: u32,
    /// An object's storage policy.
    pub policy: Option<u32>,
    /// The devices that keep it: of an object in fragments, those that keep what is known of it.
    pub devices: Vec<DeviceAddress>,
}

/// A device as its ring names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAddress {
    /// Where other hosts reach its own.
    pub ip: String,
    /// The port there.
    pub port: u16,
    /// Its name.
    pub device: String,
}

impl Store {
    /// Where an account is kept, or a container or object in it, there or not.
    pub async fn whereabouts(
        &self,
        account: &str,
        container: Option<&str>,
        object: Option<&str>,
    ) -> Result<Whereabouts> {
        let placement = self.placement();
        let (tree, hash) = match (container, object) {
            (None, _) => (Tree::Accounts, self.hasher().account(account)),
            (Some(container), None) => (Tree::Containers, self.hasher().container(account, container)),
            (Some(container), Some(object)) => {
                let hashes = self.hashes(&ObjectPath::new(account, container, object));
                let policy = self.policy_looked_up(&placement, hashes.container).await?;
                (Tree::Objects { policy }, hashes.object)
            }
        };
        let policy = match tree {
            Tree::Objects { policy } => Some(policy),
            Tree::Accounts | Tree::Containers => None,
        };
        let (partition, devices) = placement.addresses(tree, hash);
        let address =
            |device: anello_ring::Device| DeviceAddress { ip: device.ip, port: device.port, device: device.name };
        Ok(Whereabouts { partition, policy, devices: devices.into_iter().map(address).collect() })
    }
}
