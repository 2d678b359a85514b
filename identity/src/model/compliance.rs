//! What is remembered of failed log-ins, for lockout.

use serde::{Deserialize, Serialize};

use super::kept;

/// Failed log-ins of a user since the last good one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The user.
    pub(crate) user_id: String,
    /// How many.
    pub(crate) count: u64,
    /// When the last one was, in microseconds since 1970.
    pub(crate) last_at_us: u64,
}

kept!(Failure, Failure, failures, id: |it| it.user_id.clone());
