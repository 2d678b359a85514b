//! What can go wrong in the identity room, and its [`Class`]. No case carries a secret.

use anello_api::rest::Fault;
use anello_base::Class;

/// The room's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure in the identity room.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The request breaks a stated rule.
    #[error("{0}")]
    Invalid(String),
    /// The record is not there.
    #[error("Could not find {what}: {id}.")]
    Missing {
        /// Kind of record, for people.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A record of this name is there already.
    #[error("Conflict occurred attempting to store {what} - it is not possible to have two of the name {name}.")]
    NameTaken {
        /// Kind of record, for people.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The record is there already.
    #[error("Conflict occurred attempting to store {what} - duplicate id {id}.")]
    Exists {
        /// Kind of record, for people.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The record is no longer what the write expected; whoever wrote reads it again.
    #[error("the record was changed meanwhile")]
    Changed,
    /// What is there may not be changed so.
    #[error("{0}")]
    Forbidden(String),
    /// The records have moved to another back end, and the server was not started again yet.
    #[error("identity has moved to another back end; the server is to be started again with it")]
    Moved,
    /// The users and groups of a domain are on their way.
    #[error("the users and groups of this domain are on their way to another back end; try again later")]
    Moving,
    /// Too many log-ins wait.
    #[error("too many log-ins are waiting; try again")]
    Busy,
    /// The database of a domain's users and groups fails.
    #[error("the database of this domain's users and groups does not answer; try again")]
    Elsewhere,
    /// A record can't be read.
    #[error("record {kind}/{id} can't be read: {why}")]
    Corrupt {
        /// Kind of record.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store failed.
    #[error("{0}")]
    Store(#[from] anello_storage::Error),
    /// Something of ours failed.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// What the failure means to whoever asked.
    pub fn class(&self) -> Class {
        match self {
            Self::Invalid(_) => Class::Invalid,
            Self::Missing { .. } => Class::Missing,
            Self::NameTaken { .. } | Self::Exists { .. } | Self::Changed => Class::Conflict,
            Self::Forbidden(_) => Class::Forbidden,
            Self::Busy | Self::Moved | Self::Moving | Self::Elsewhere => Class::Busy,
            Self::Corrupt { .. } => Class::Corrupt,
            // A precondition or name inside the store says nothing about the client's request.
            Self::Store(error) => match error.class() {
                class @ (Class::Busy | Class::Full) => class,
                _ => Class::Internal,
            },
            Self::Internal(_) => Class::Internal,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let class = error.class();
        match class {
            Class::Internal | Class::Corrupt => {
                tracing::error!(%error, "identity");
                Self::of(class, "An unexpected error prevented the server from fulfilling your request.")
            }
            _ => Self::of(class, error.to_string()),
        }
    }
}
