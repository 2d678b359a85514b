//! Access rules: which requests an application credential may make. They belong to a user, and outlive the
//! credentials that name them.

use serde::{Deserialize, Serialize};

use super::kept;

/// One kind of request to one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccessRule {
    /// 32 hex digits.
    pub(crate) id: String,
    /// Owner.
    pub(crate) user_id: String,
    /// Type of the service: `object-store`.
    pub(crate) service: String,
    /// Method of the request.
    pub(crate) method: String,
    /// Its path, with `*`, `**` and `{name}` for parts of it.
    pub(crate) path: String,
}

kept!(AccessRule, AccessRule, access_rules, id: |it| it.id.clone());
