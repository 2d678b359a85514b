//! Settings of container sync: the realms that containers are copied within, and how eagerly.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `container_sync`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerSyncConfig {
    /// Which of them this cluster is: `//realm/cluster`.
    pub current: Option<String>,
    /// From the end of a pass to the beginning of the next.
    pub interval_seconds: u64,
    /// How long a pass stays with one container.
    pub container_time_seconds: u64,
    /// Objects that are copied in a second, at most.
    pub objects_per_second: u32,
    /// Clusters that trust each other, by name.
    pub realms: BTreeMap<String, RealmConfig>,
}

impl Default for ContainerSyncConfig {
    fn default() -> Self {
        Self {
            current: None,
            interval_seconds: 300,
            container_time_seconds: 60,
            objects_per_second: 100,
            realms: BTreeMap::new(),
        }
    }
}

/// A realm.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealmConfig {
    /// The key that its clusters sign with.
    pub key: String,
    /// Another one that is taken, while the key changes.
    #[serde(default)]
    pub key2: Option<String>,
    /// Addresses of its clusters, up to and with `/v1`.
    pub clusters: BTreeMap<String, String>,
}

impl std::fmt::Debug for RealmConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealmConfig").field("clusters", &self.clusters).finish_non_exhaustive()
    }
}
