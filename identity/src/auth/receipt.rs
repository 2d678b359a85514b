//! Log-ins by several proofs: what a user's own rules ask for, and receipts for who has given some of it.

use serde_json::{Value, json};

use super::now_us;
use crate::IdentityRoom;
use crate::limits::RECEIPT_LIFE;
use crate::model::User;
use crate::time::{SECOND_US, iso_z};
use crate::token::{Method, Receipt, sealed_at};

/// What somebody is told who must give more proofs.
pub(crate) struct Incomplete {
    pub(crate) receipt: String,
    pub(crate) body: Value,
}

/// The combinations of proofs of which a user must give one; none where any proof will do. A rule that is not a
/// list of known methods counts for nothing, as upstream.
fn rules(user: &User) -> Vec<Vec<&str>> {
    if user.options.get("multi_factor_auth_enabled") != Some(&Value::Bool(true)) {
        return Vec::new();
    }
    let rules = user.options.get("multi_factor_auth_rules").and_then(Value::as_array);
    rules.into_iter().flatten().filter_map(rule_of).collect()
}

fn rule_of(rule: &Value) -> Option<Vec<&str>> {
    let is_known = |word: &str| Method::ALL.iter().any(|method| method.word() == word);
    let words: Option<Vec<&str>> = rule.as_array()?.iter().map(|it| it.as_str().filter(|it| is_known(it))).collect();
    words.filter(|words| !words.is_empty())
}

impl IdentityRoom {
    /// Whether the proofs are enough for the user; otherwise a receipt for them.
    pub(crate) fn check_proofs(&self, user: &User, methods: &[Method]) -> Result<(), Incomplete> {
        let rules = rules(user);
        let given = |word: &&str| methods.iter().any(|method| method.word() == *word);
        if rules.is_empty() || rules.iter().any(|rule| rule.iter().all(given)) {
            return Ok(());
        }
        let expires_at_us = now_us() + RECEIPT_LIFE.as_secs() * SECOND_US;
        let receipt = Receipt { user_id: user.id.clone(), methods: methods.to_vec(), expires_at_us };
        let sealed = self.receipt_keys.seal(&receipt.pack());
        let domain = self.directory.view().domains.get(&user.domain_id).map(|it| it.name.clone());
        let body = json!({
            "receipt": {
                "methods": methods.iter().map(|method| method.word()).collect::<Vec<_>>(),
                "user": {"id": user.id, "name": user.name, "domain": {"id": user.domain_id, "name": domain}},
                "expires_at": iso_z(expires_at_us),
                "issued_at": iso_z(sealed_at(&sealed).unwrap_or_default() * SECOND_US),
            },
            "required_auth_methods": rules,
        });
        Err(Incomplete { receipt: sealed, body })
    }

    /// What a receipt says, if it is one of ours and has not ended.
    pub(crate) fn receipt(&self, sealed: &str) -> Option<Receipt> {
        let receipt = Receipt::unpack(&self.receipt_keys.open_sealed(sealed)?)?;
        (receipt.expires_at_us > now_us()).then_some(receipt)
    }
}
