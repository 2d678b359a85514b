//! Domains, which hold users and projects, and projects, which hold resources.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Extra, kept};

/// A name space for users, groups and projects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// 32 hex digits, or `default`.
    pub id: String,
    /// Unique among the domains.
    pub name: String,
    /// For people.
    pub description: String,
    /// Nobody of or in a disabled domain gets a token.
    pub enabled: bool,
    /// `immutable` and the like.
    pub options: Extra,
    /// Attributes not known here.
    pub extra: Extra,
}

/// What resources belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// 32 hex digits.
    pub id: String,
    /// Unique in its domain.
    pub name: String,
    /// Domain that it belongs to.
    pub domain_id: String,
    /// The project that it lies below; `None` directly below the domain.
    pub parent_id: Option<String>,
    /// For people.
    pub description: String,
    /// Nobody gets a token for a disabled project.
    pub enabled: bool,
    /// Labels.
    pub tags: BTreeSet<String>,
    /// `immutable` and the like.
    pub options: Extra,
    /// Attributes not known here.
    pub extra: Extra,
}

kept!(Domain, Domain, domains, id: |it| it.id.clone(), name: |it| (String::new(), &it.name));
kept!(Project, Project, projects, id: |it| it.id.clone(), name: |it| (it.domain_id.clone(), &it.name));
