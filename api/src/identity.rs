//! How a room asks the identity room who is calling: by token, or by access key for signed requests.

use std::sync::Arc;

use anello_base::Class;
use futures::future::BoxFuture;

pub use crate::access_rule::AccessRule;

/// Who is calling and what for, as a valid token or key says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// User's id (32 hex digits).
    pub user_id: String,
    /// User's name.
    pub user_name: String,
    /// Id of the user's domain.
    pub user_domain_id: String,
    /// Project that the token is scoped to, if it is.
    pub project_id: Option<String>,
    /// That project's name.
    pub project_name: Option<String>,
    /// Id of that project's domain.
    pub project_domain_id: Option<String>,
    /// Domain that the token is scoped to, if it is.
    pub domain_id: Option<String>,
    /// Whether the token is scoped to the whole system.
    pub system: bool,
    /// Names of the roles held in that scope, implied ones included.
    pub roles: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    /// The only requests that it may make; `None` where it may make all.
    pub access_rules: Option<Vec<AccessRule>>,
}

impl Caller {
    /// Whether the caller holds the role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }

    /// Whether the caller's access rules let this request to a service of this type pass.
    pub fn admits(&self, service: &str, method: &str, path: &str) -> bool {
        let Some(rules) = &self.access_rules else { return true };
        rules.iter().any(|rule| rule.admits(service, method, path))
    }
}

/// A key for signed (S3, EC2) requests.
#[derive(Clone)]
pub struct SigningKey {
    /// The secret that signatures are made with; never logged.
    pub secret: String,
    /// Whoever the key belongs to.
    pub caller: Arc<Caller>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// Why nobody is known behind a token or key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Unknown, expired or revoked.
    #[error("the token or key is not valid")]
    NotValid,
    /// The identity room can't be asked now.
    #[error("identity is unavailable: {0}")]
    Unavailable(String),
}

impl IdentityError {
    /// What the failure means to whoever asked.
    pub fn class(&self) -> Class {
        match self {
            Self::NotValid => Class::Unauthenticated,
            Self::Unavailable(_) => Class::Busy,
        }
    }
}

/// The identity room as the others see it, in process or over HTTP.
pub trait Identity: Send + Sync + 'static {
    /// Who is behind a token.
    fn token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>, IdentityError>>;

    /// A number that changes whenever an earlier answer may no longer hold; `None` where that can't be known without
    /// asking, as over HTTP. Whoever remembers answers keeps them only while it stands, and without one asks each time:
    /// how long an answer holds is then known here alone.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// The secret and owner of an access key.
    fn signing_key<'a>(&'a self, access: &'a str) -> BoxFuture<'a, Result<SigningKey, IdentityError>>;
}
