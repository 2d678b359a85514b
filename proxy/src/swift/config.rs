//! What an operator can set about the Swift door.

/// Settings of the Swift door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwiftConfig {
    /// What an account's name starts with; the project's id follows.
    pub reseller_prefix: String,
    /// Roles that own their project's account.
    pub operator_roles: Vec<String>,
    /// Roles that may read everything in their project's account.
    pub reader_roles: Vec<String>,
    /// The role that owns every account.
    pub reseller_admin_role: String,
    /// Whether accounts can be created by PUT (owners) and deleted (reseller admins).
    pub allow_account_management: bool,
    /// The domain whose projects and users may be named (not only identified) in access lists.
    pub default_domain_id: String,
    /// Origins that are allowed in every container, as in `Access-Control-Allow-Origin`.
    pub cors_allow_origin: Vec<String>,
    /// Whether answers show `Access-Control-*` only to origins that are allowed.
    pub strict_cors_mode: bool,
}

impl Default for SwiftConfig {
    fn default() -> Self {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        Self {
            reseller_prefix: "AUTH_".into(),
            operator_roles: names(&["admin", "member", "swiftoperator"]),
            reader_roles: names(&["reader"]),
            reseller_admin_role: "ResellerAdmin".into(),
            allow_account_management: true,
            default_domain_id: "default".into(),
            cors_allow_origin: Vec::new(),
            strict_cors_mode: true,
        }
    }
}
