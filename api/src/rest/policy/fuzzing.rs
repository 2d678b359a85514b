//! An operator's rules: one of them, and a file.

use super::expression::{Expression, Subject};
use super::{Check, Credentials, Policy, Rule, Target};
use crate::identity::Caller;

fn holds(expression: &Expression) -> bool {
    let caller = Caller { user_id: "u".into(), roles: vec!["member".into()], ..Caller::default() };
    let target = Target::none().with("user_id", "u");
    let rule = |name: &str| name == "yes";
    expression.holds(&Subject { caller: &caller, target: &target, aliases: &[], rule: &rule })
}

/// Parentheses around a rule change nothing, and `not` turns it around.
pub(crate) fn rule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(expression) = Expression::parse(text) else { return };
    if text.trim().is_empty() {
        return assert!(holds(&expression), "an empty rule is always true");
    }
    // Deeper than rules may be, or not.
    let Ok(inner) = Expression::parse(&format!("( {text} )")) else { return };
    assert_eq!(inner, expression);
    let Ok(not) = Expression::parse(&format!("not ( {text} )")) else { return };
    assert_ne!(holds(&not), holds(&expression));
}

/// A file that is taken can be asked, opens nothing to those without a token, and shuts nothing that is open.
pub(crate) fn file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let policy = Policy::new(&[
        Rule { name: "x:see", check: Check::Role("admin") },
        Rule { name: "x:root", check: Check::Public },
    ]);
    let Ok(policy) = policy.with_overrides(text, "x:") else { return };
    let caller = Caller { roles: vec!["member".into()], ..Caller::default() };
    let _ = policy.allows("x:see", Some(&caller as &dyn Credentials), &Target::none());
    assert!(!policy.allows("x:see", None, &Target::none()));
    assert!(policy.allows("x:root", None, &Target::none()));
}
