//! Which tokens are revoked before their end.

use serde::{Deserialize, Serialize};

use super::kept;

/// What a revocation concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Revoked {
    /// One token, by its audit id.
    Token(String),
    /// Tokens of a user.
    User(String),
    /// Tokens for a project.
    Project(String),
    /// Tokens for a domain, for projects in it, and of users in it.
    Domain(String),
}

impl Revoked {
    /// Id of the revocation: one per thing, the latest counts.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Token(id) => format!("token:{id}"),
            Self::User(id) => format!("user:{id}"),
            Self::Project(id) => format!("project:{id}"),
            Self::Domain(id) => format!("domain:{id}"),
        }
    }
}

/// Tokens of `of` that were issued in or before the second `issued_before` are not valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Revocation {
    /// Which tokens.
    pub(crate) of: Revoked,
    /// Second since 1970.
    pub(crate) issued_before: u64,
}

kept!(Revocation, Revocation, revocations, id: |it| it.of.key());
