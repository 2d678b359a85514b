//! `[identity]`: a room of this host, or another host's service (`[identity.remote]`), and never half of each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anello_api::keystone::{ANSWER_SECONDS, ANSWER_SECONDS_LONGEST, RemoteConfig};
use anello_identity::Compliance;
use serde::Deserialize;

use super::{ConfigError, read_whole, url};

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Identity {
    pub(crate) public_url: Option<String>,
    pub(crate) region: String,
    pub(crate) database: Option<String>,
    pub(crate) policy_file: Option<PathBuf>,
    pub(crate) audit_log: Option<PathBuf>,
    pub(crate) memcached: Vec<String>,
    pub(crate) databases: BTreeMap<String, String>,
    pub(crate) security_compliance: Compliance,
    pub(crate) remote: Remote,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            public_url: None,
            region: "RegionOne".to_owned(),
            database: None,
            policy_file: None,
            audit_log: None,
            memcached: Vec::new(),
            databases: BTreeMap::new(),
            security_compliance: Compliance::default(),
            remote: Remote::default(),
        }
    }
}

/// Another host's identity, where it has a URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Remote {
    url: Option<String>,
    user: Option<String>,
    user_domain: String,
    password_file: Option<PathBuf>,
    project: Option<String>,
    project_domain: String,
    ca_file: Option<PathBuf>,
    cache_seconds: u64,
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            url: None,
            user: None,
            user_domain: "Default".to_owned(),
            password_file: None,
            project: None,
            project_domain: "Default".to_owned(),
            ca_file: None,
            cache_seconds: ANSWER_SECONDS,
        }
    }
}

impl Identity {
    /// The operator's rules, read whole.
    pub(crate) fn policy_overrides(&self) -> Result<Option<String>, ConfigError> {
        self.policy_file.as_deref().map(read_whole).transpose()
    }

    /// Whom to ask where identity is another host's.
    pub(crate) fn remote(&self) -> Option<RemoteConfig> {
        let remote = &self.remote;
        // `check` has found what belongs to a URL.
        Some(RemoteConfig {
            url: remote.url.clone()?,
            user: remote.user.clone()?,
            user_domain: remote.user_domain.clone(),
            project: remote.project.clone(),
            project_domain: remote.project_domain.clone(),
            password_file: remote.password_file.clone()?,
            ca_file: remote.ca_file.clone(),
            answer_age: Duration::from_secs(remote.cache_seconds),
        })
    }

    pub(super) fn check(&mut self) -> Result<(), ConfigError> {
        let none = Self::default();
        url("identity.public_url", &mut self.public_url)?;
        if self.remote.url.is_none() {
            return if self.remote == none.remote { Ok(()) } else { Err(ConfigError::RemoteNeeds("url")) };
        }
        for (key, is_set) in [
            ("public_url", self.public_url.is_some()),
            ("region", self.region != none.region),
            ("database", self.database.is_some()),
            ("policy_file", self.policy_file.is_some()),
            ("audit_log", self.audit_log.is_some()),
            ("memcached", !self.memcached.is_empty()),
            ("databases", !self.databases.is_empty()),
            ("security_compliance", self.security_compliance != none.security_compliance),
        ] {
            if is_set {
                return Err(ConfigError::Elsewhere(key));
            }
        }
        self.remote.check(&none.remote)
    }
}

impl Remote {
    fn check(&mut self, none: &Self) -> Result<(), ConfigError> {
        url("identity.remote.url", &mut self.url)?;
        // Clients are told to write it with and without.
        self.url = self.url.take().map(|url| url.trim_end_matches("/v3").trim_end_matches('/').to_owned());
        if self.user.is_none() {
            return Err(ConfigError::RemoteNeeds("user"));
        }
        if self.password_file.is_none() {
            return Err(ConfigError::RemoteNeeds("password_file"));
        }
        let wrong = |key, reason: String| Err(ConfigError::Remote { key, reason });
        if self.project.is_none() && self.project_domain != none.project_domain {
            return wrong("project_domain", "there is no project: the user logs in for the system".to_owned());
        }
        if self.ca_file.is_some() && self.url.as_ref().is_some_and(|url| url.starts_with("http://")) {
            return wrong("ca_file", "the url is not https://".to_owned());
        }
        if !(1..=ANSWER_SECONDS_LONGEST).contains(&self.cache_seconds) {
            return wrong("cache_seconds", format!("from 1 to {ANSWER_SECONDS_LONGEST}"));
        }
        Ok(())
    }
}
