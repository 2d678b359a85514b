//! Which tokens are revoked before their end.

use serde::{Deserialize, Serialize};

use super::kept;

/// What a revocation concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Revoked {
    /// One token, by its audit id.
    Token(String),
    /// Tokens of a user.
    User(String),
    /// Tokens for a project.
    Project(String),
    /// Tokens for a domain, for projects in it, and of users in it.
    Domain(String),
    /// Tokens got with an application credential.
    ApplicationCredential(String),
}

impl Revoked {
    /// Id of the revocation: one per thing, the latest counts.
    pub fn key(&self) -> String {
        match self {
            Self::Token(id) => format!("token:{id}"),
            Self::User(id) => format!("user:{id}"),
            Self::Project(id) => format!("project:{id}"),
            Self::Domain(id) => format!("domain:{id}"),
            Self::ApplicationCredential(id) => format!("application_credential:{id}"),
        }
    }
}

/// Tokens of `of` that were issued in or before the second `issued_before` are not valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revocation {
    /// Which tokens.
    pub of: Revoked,
    /// Second since 1970.
    pub issued_before: u64,
}

kept!(Revocation, Revocation, revocations, id: |it| it.of.key());
