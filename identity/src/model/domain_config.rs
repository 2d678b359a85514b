//! Configurations of domains: where a domain's users come from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::kept;

/// Options of a domain by group and name, as Keystone's configuration files name them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DomainConfig {
    /// The domain.
    pub(crate) domain_id: String,
    /// Options that may be shown.
    pub(crate) groups: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    /// Those that may not (`ldap.password`), as sealed JSON of the same shape.
    pub(crate) sealed_secrets: Option<String>,
}

impl fmt::Debug for DomainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainConfig").field("domain_id", &self.domain_id).finish_non_exhaustive()
    }
}

kept!(DomainConfig, DomainConfig, domain_configs, id: |it| it.domain_id.clone());
