//! Keys for signed requests, and passwords for programs. Secrets are kept sealed or hashed.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Extra, kept};

/// A credential: an EC2 key (`ec2`), or whatever else services keep here.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Credential {
    /// 32 hex digits; of an EC2 key [`access_id`].
    pub(crate) id: String,
    /// `ec2`, `cert`, `totp`, …
    pub(crate) kind: String,
    /// Owner.
    pub(crate) user_id: String,
    /// Project that an EC2 key is for.
    pub(crate) project_id: Option<String>,
    /// The secret, sealed with the credentials' key.
    pub(crate) sealed_blob: String,
    /// Of an EC2 key that was given another access key than the one that its id is made from: [`access_id`] of that.
    #[serde(default)]
    pub(crate) moved_to: Option<String>,
    /// What the key was made with, where that was not the user's own full token.
    pub(crate) delegate: Option<Delegate>,
    /// Attributes not known here.
    pub(crate) extra: Extra,
}

/// What narrows a credential down to less than its owner may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Delegate {
    /// It was made with an application credential, and ends with it.
    ApplicationCredential(String),
    /// It was made with a trust, and ends with it.
    Trust(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The id of an EC2 key: SHA-256 of the access key in hex, as in Keystone.
pub(crate) fn access_id(access: &str) -> String {
    hex::encode(Sha256::digest(access.as_bytes()))
}

/// A password for a program: its owner's roles on one project, or some of them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ApplicationCredential {
    /// 32 hex digits.
    pub(crate) id: String,
    /// Unique among its owner's.
    pub(crate) name: String,
    /// For people.
    pub(crate) description: Option<String>,
    /// Owner.
    pub(crate) user_id: String,
    /// Project that it is for.
    pub(crate) project_id: String,
    /// Roles that it bears, as far as the owner still holds them.
    pub(crate) role_ids: Vec<String>,
    /// When it ends, in microseconds since 1970.
    pub(crate) expires_at_us: Option<u64>,
    /// Whether it may make and delete application credentials itself.
    pub(crate) unrestricted: bool,
    /// PHC string of the secret.
    pub(crate) secret_hash: String,
    /// The only requests that it may make, by the ids of their access rules; `None` where it may make all.
    #[serde(default)]
    pub(crate) access_rule_ids: Option<Vec<String>>,
}

impl fmt::Debug for ApplicationCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplicationCredential").field("id", &self.id).finish_non_exhaustive()
    }
}

kept!(Credential, Credential, credentials, id: |it| it.id.clone(), second: |it| it.moved_to.as_deref());
kept!(ApplicationCredential, ApplicationCredential, application_credentials, id: |it| it.id.clone(),
    name: |it| (it.user_id.clone(), &it.name));
