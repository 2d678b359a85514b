//! Users and groups.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Extra, kept};

/// Who can log in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    /// 32 hex digits.
    pub(crate) id: String,
    /// Unique in its domain.
    pub(crate) name: String,
    /// Domain that the user belongs to.
    pub(crate) domain_id: String,
    /// What a token without a stated scope is for, if the user has a role there.
    pub(crate) default_project_id: Option<String>,
    /// For people.
    pub(crate) description: Option<String>,
    /// A disabled user gets no token.
    pub(crate) enabled: bool,
    /// The password, where there is one.
    pub(crate) password: Option<Password>,
    /// Earlier passwords, the latest first, as many as the rules ask for.
    #[serde(default)]
    pub(crate) password_history: Vec<Password>,
    /// Day (since 1970) of the last log-in, or of the making, for the rule that disables inactive users.
    #[serde(default)]
    pub(crate) last_active_day: Option<u64>,
    /// `lock_password` and the like.
    pub(crate) options: Extra,
    /// Attributes not known here, `email` among them.
    pub(crate) extra: Extra,
    /// The entry of a user who comes from a directory, and is in no record.
    #[serde(skip)]
    pub(crate) dn: Option<String>,
}

/// A password as it is kept.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Password {
    /// PHC string of Argon2id.
    pub(crate) hash: String,
    /// When it was set, in microseconds since 1970.
    pub(crate) set_at_us: u64,
    /// From when it only serves to be changed, in microseconds since 1970.
    #[serde(default)]
    pub(crate) expires_at_us: Option<u64>,
    /// Whether the user set it himself.
    #[serde(default)]
    pub(crate) self_service: bool,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").field("set_at_us", &self.set_at_us).finish_non_exhaustive()
    }
}

/// Users who hold roles together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// 32 hex digits.
    pub(crate) id: String,
    /// Unique in its domain.
    pub(crate) name: String,
    /// Domain that the group belongs to.
    pub(crate) domain_id: String,
    /// For people.
    pub(crate) description: String,
    /// Attributes not known here.
    pub(crate) extra: Extra,
}

kept!(User, User, users, id: |it| it.id.clone(), name: |it| (it.domain_id.clone(), &it.name));
kept!(Group, Group, groups, id: |it| it.id.clone(), name: |it| (it.domain_id.clone(), &it.name));
