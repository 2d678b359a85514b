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
    /// Where its users and groups are on their way to, while they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moving: Option<Moving>,
}

/// Users and groups on their way. The ends are names of databases; `None` is where everything else is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moving {
    /// Where they were.
    pub(crate) from: Option<String>,
    /// Where they will be.
    pub(crate) to: Option<String>,
    /// Whether all of them are there, so that the options say so and what was copied is to be removed.
    pub(crate) has_arrived: bool,
}

impl fmt::Debug for DomainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainConfig").field("domain_id", &self.domain_id).finish_non_exhaustive()
    }
}

kept!(DomainConfig, DomainConfig, domain_configs, id: |it| it.domain_id.clone());
