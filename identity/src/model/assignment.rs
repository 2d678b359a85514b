//! Roles, what they imply, and who holds them where.

use serde::{Deserialize, Serialize};

use super::{Extra, kept};

/// A name for what one may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Role {
    /// 32 hex digits.
    pub(crate) id: String,
    /// Unique among the global roles, or in its domain.
    pub(crate) name: String,
    /// Domain of a domain's own role; `None` for a global one.
    pub(crate) domain_id: Option<String>,
    /// For people.
    pub(crate) description: Option<String>,
    /// `immutable` and the like.
    pub(crate) options: Extra,
    /// Attributes not known here.
    pub(crate) extra: Extra,
}

/// Who holds `prior_role_id` holds `implied_role_id` too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Implication {
    /// The role that implies.
    pub(crate) prior_role_id: String,
    /// The role that is implied.
    pub(crate) implied_role_id: String,
}

/// Who holds a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Actor {
    /// A user.
    User(String),
    /// Every member of a group.
    Group(String),
}

impl Actor {
    /// How ids of this actor's grants begin.
    pub(crate) fn prefix(&self) -> String {
        match self {
            Self::User(id) => format!("user:{id}|"),
            Self::Group(id) => format!("group:{id}|"),
        }
    }
}

/// Where a role is held, or what a token is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Scope {
    /// A project.
    Project(String),
    /// A domain.
    Domain(String),
    /// All of the system.
    System,
}

/// A role held by someone somewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// Who.
    pub(crate) actor: Actor,
    /// Where.
    pub(crate) scope: Scope,
    /// What.
    pub(crate) role_id: String,
    /// Whether it counts for the projects below the scope, and not for the scope itself.
    pub(crate) inherited: bool,
}

impl Grant {
    /// Its id: grants of an actor lie together, and granting twice is one grant.
    pub(crate) fn key(&self) -> String {
        let scope = match &self.scope {
            Scope::Project(id) => format!("project:{id}"),
            Scope::Domain(id) => format!("domain:{id}"),
            Scope::System => "system".to_owned(),
        };
        let below = if self.inherited { "below" } else { "at" };
        format!("{}{scope}|{}|{below}", self.actor.prefix(), self.role_id)
    }
}

/// A user in a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Membership {
    /// The user.
    pub(crate) user_id: String,
    /// The group.
    pub(crate) group_id: String,
}

kept!(Role, Role, roles, id: |it| it.id.clone(), name: |it| (it.domain_id.clone().unwrap_or_default(), &it.name));
kept!(Implication, Implication, implications, id: |it| format!("{}|{}", it.prior_role_id, it.implied_role_id));
kept!(Grant, Grant, grants, id: Grant::key);
kept!(Membership, Membership, memberships, id: |it| format!("{}|{}", it.user_id, it.group_id));
