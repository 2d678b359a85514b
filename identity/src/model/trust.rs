//! Trusts: roles on a project that one user lends another.

use serde::{Deserialize, Serialize};

use super::kept;

/// What a trustor lets a trustee do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trust {
    /// 32 hex digits.
    pub(crate) id: String,
    /// Whose roles are lent.
    pub(crate) trustor_user_id: String,
    /// Who may use them.
    pub(crate) trustee_user_id: String,
    /// The project that they are for.
    pub(crate) project_id: String,
    /// Whether tokens name the trustor as their user.
    pub(crate) impersonation: bool,
    /// The roles. A token needs the trustor to hold all of them still.
    pub(crate) role_ids: Vec<String>,
    /// When it ends, in microseconds since 1970.
    pub(crate) expires_at_us: Option<u64>,
    /// Tokens that may still be got with it.
    pub(crate) remaining_uses: Option<u64>,
    /// How many more times it may be passed on.
    pub(crate) redelegation_count: u64,
    /// The trust that it was made with, if it was passed on.
    pub(crate) redelegated_trust_id: Option<String>,
}

impl Trust {
    /// Whether tokens may be got with it at `now_us`. Those that were got before live on.
    pub(crate) fn is_usable(&self, now_us: u64) -> bool {
        self.expires_at_us.is_none_or(|end| end > now_us) && self.remaining_uses != Some(0)
    }
}

kept!(Trust, Trust, trusts, id: |it| it.id.clone());
