//! Who asks through the control socket: whoever runs the store on its host. He may do what an admin may, and is no
//! user: nothing can log in as him, and no record is his.

use std::collections::BTreeSet;
use std::sync::Arc;

use anello_api::identity::Caller;

use super::Authority;
use crate::bootstrap::DEFAULT_DOMAIN_ID;
use crate::model::{Domain, Extra, User};
use crate::token::{Payload, TokenScope};

/// His id in the audit log. No user has it: ids of users are hex digits.
const OPERATOR: &str = "operator-on-the-host";

/// The operator with all that he may.
pub(crate) fn operator() -> Arc<Authority> {
    let user = User {
        id: OPERATOR.to_owned(),
        name: OPERATOR.to_owned(),
        domain_id: DEFAULT_DOMAIN_ID.to_owned(),
        default_project_id: None,
        description: None,
        enabled: true,
        password: None,
        password_history: Vec::new(),
        last_active_day: None,
        options: Extra::new(),
        extra: Extra::new(),
        dn: None,
    };
    let domain = Domain {
        id: DEFAULT_DOMAIN_ID.to_owned(),
        name: DEFAULT_DOMAIN_ID.to_owned(),
        description: String::new(),
        enabled: true,
        tags: BTreeSet::new(),
        options: Extra::new(),
        extra: Extra::new(),
    };
    let caller = Caller {
        user_id: user.id.clone(),
        user_name: user.name.clone(),
        user_domain_id: user.domain_id.clone(),
        system: true,
        roles: ["admin", "manager", "member", "reader"].map(str::to_owned).to_vec(),
        expires_at: u64::MAX,
        ..Caller::default()
    };
    let payload = Payload {
        user_id: user.id.clone(),
        methods: Vec::new(),
        scope: TokenScope::System,
        expires_at_us: u64::MAX,
        audit_ids: Vec::new(),
    };
    Arc::new(Authority::without_token(payload, user, domain, caller))
}
