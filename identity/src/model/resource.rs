//! Domains, which hold users and projects, and projects, which hold resources.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Extra, kept};

/// A name space for users, groups and projects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Domain {
    /// 32 hex digits, or `default`.
    pub(crate) id: String,
    /// Unique among the domains.
    pub(crate) name: String,
    /// For people.
    pub(crate) description: String,
    /// Nobody of or in a disabled domain gets a token.
    pub(crate) enabled: bool,
    /// Labels.
    #[serde(default)]
    pub(crate) tags: BTreeSet<String>,
    /// `immutable` and the like.
    pub(crate) options: Extra,
    /// Attributes not known here.
    pub(crate) extra: Extra,
}

/// What resources belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Project {
    /// 32 hex digits.
    pub(crate) id: String,
    /// Unique in its domain.
    pub(crate) name: String,
    /// Domain that it belongs to.
    pub(crate) domain_id: String,
    /// The project that it lies below; `None` directly below the domain.
    pub(crate) parent_id: Option<String>,
    /// For people.
    pub(crate) description: String,
    /// Nobody gets a token for a disabled project.
    pub(crate) enabled: bool,
    /// Labels.
    pub(crate) tags: BTreeSet<String>,
    /// `immutable` and the like.
    pub(crate) options: Extra,
    /// Attributes not known here.
    pub(crate) extra: Extra,
}

impl Project {
    /// The project that acts as a domain: it has the domain's id and name, and lies above all others of it.
    pub(crate) fn acting_as(domain: &Domain) -> Self {
        Self {
            id: domain.id.clone(),
            name: domain.name.clone(),
            domain_id: domain.id.clone(),
            parent_id: None,
            description: domain.description.clone(),
            enabled: domain.enabled,
            tags: domain.tags.clone(),
            options: domain.options.clone(),
            extra: domain.extra.clone(),
        }
    }

    /// Whether it acts as a domain. Such a one is no record, and no other project has the id of a domain.
    pub(crate) fn is_domain(&self) -> bool {
        self.id == self.domain_id
    }

    /// What it lies below: another project, or the one that acts as its domain.
    pub(crate) fn above(&self) -> &str {
        self.parent_id.as_ref().unwrap_or(&self.domain_id)
    }
}

kept!(Domain, Domain, domains, id: |it| it.id.clone(), name: |it| (String::new(), &it.name));
kept!(Project, Project, projects, id: |it| it.id.clone(), name: |it| (it.domain_id.clone(), &it.name));
