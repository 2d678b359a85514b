//! `roles`: what a host does. One file may serve all hosts of a cluster; what belongs to a role that a host doesn't have
//! is then without effect on it.

use std::collections::BTreeSet;
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Keeps data: devices, and the daemons that look after them.
    Storage,
    /// Serves Swift and S3.
    Proxy,
    /// Serves identity.
    Control,
}

/// What a host does; never nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Roles(BTreeSet<Role>);

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Proxy => "proxy",
            Self::Control => "control",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Roles {
    /// Whether this is one of them.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether these are all that there is.
    pub(crate) fn are(&self, roles: &[Role]) -> bool {
        self.0.iter().eq(roles)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}

impl Default for Roles {
    fn default() -> Self {
        Role::value_variants().iter().copied().collect()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|role| role.name()).collect();
        f.write_str(&names.join(", "))
    }
}
