//! Version documents: what a service's root and versioned root answer, without a token, with and without a
//! trailing slash.

use serde_json::{Value, json};

use super::{Dialect, Links};

/// The words that clients understand; any other one stops some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Keystone's word for what is in use.
    Stable,
    /// The newest.
    Current,
    /// Older and kept.
    Supported,
}

impl Status {
    fn word(self, dialect: &Dialect) -> &'static str {
        match (self, dialect.nested_versions) {
            (Self::Stable, true) => "stable",
            (Self::Stable, false) => "STABLE",
            (Self::Current, true) => "current",
            (Self::Current, false) => "CURRENT",
            (Self::Supported, true) => "supported",
            (Self::Supported, false) => "SUPPORTED",
        }
    }
}

/// One version of a service's API.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    /// `v3.14`.
    pub id: &'static str,
    /// Whether it is in use.
    pub status: Status,
    /// Path below the service's root: `/v3/`.
    pub path: &'static str,
    /// When its definition last changed, `YYYY-MM-DDTHH:MM:SSZ`.
    pub updated: &'static str,
    /// `application/vnd.openstack.identity-v3+json`, where the service names media types.
    pub media_type: Option<&'static str>,
    /// Lowest and highest microversion, where the service has them.
    pub microversions: Option<(&'static str, &'static str)>,
}

impl Version {
    fn entry(&self, dialect: &Dialect, links: &Links) -> Value {
        let mut entry = json!({
            "id": self.id,
            "status": self.status.word(dialect),
            "updated": self.updated,
            "links": [{"rel": "self", "href": links.to(self.path)}],
        });
        if let Some(media_type) = self.media_type {
            entry["media-types"] = json!([{"base": "application/json", "type": media_type}]);
        }
        if let Some((lowest, highest)) = self.microversions {
            entry["min_version"] = lowest.into();
            entry["version"] = highest.into();
        }
        entry
    }
}

/// The list at the service's root.
pub fn versions_document(dialect: &Dialect, versions: &[Version], links: &Links) -> Value {
    let entries: Vec<_> = versions.iter().map(|version| version.entry(dialect, links)).collect();
    if dialect.nested_versions { json!({"versions": {"values": entries}}) } else { json!({"versions": entries}) }
}

/// The document of one version at its own root.
pub fn version_document(dialect: &Dialect, version: &Version, links: &Links) -> Value {
    json!({"version": version.entry(dialect, links)})
}
