//! Who may do what. A [`Rule`] has a name (upstream's, which Horizon evaluates too) and a [`Check`] over the
//! caller and the target. What no rule allows is denied, and so is a rule that nobody declared. An operator's file in
//! oslo.policy's YAML form puts rules of his own in the place of the built-in ones ([`Policy::with_overrides`]).

mod expression;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod overrides;

use std::collections::BTreeMap;

use expression::{Expression, Subject};
pub use overrides::PolicyError;

/// What a policy sees of a caller.
pub trait Credentials: Send + Sync + 'static {
    /// Whether the caller holds the role in the token's scope.
    fn has_role(&self, role: &str) -> bool;

    /// Whether the token is scoped to the whole system.
    fn is_system(&self) -> bool;

    /// `user_id`, `project_id`, `domain_id` (the scopes'), or `project_domain_id`.
    fn attribute(&self, name: &str) -> Option<&str>;
}

impl Credentials for crate::identity::Caller {
    fn has_role(&self, role: &str) -> bool {
        Self::has_role(self, role)
    }

    fn is_system(&self) -> bool {
        self.system
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "user_id" => Some(&self.user_id),
            "user_domain_id" => Some(&self.user_domain_id),
            "project_id" => self.project_id.as_deref(),
            "project_domain_id" => self.project_domain_id.as_deref(),
            "domain_id" => self.domain_id.as_deref(),
            _ => None,
        }
    }
}

/// What is to be true. Written as constants, so that a service's policy is one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Nobody.
    Never,
    /// Whoever asks, without a token too.
    Public,
    /// Whoever has a valid token.
    Authenticated,
    /// The role in the token's scope.
    Role(&'static str),
    /// The token is scoped to the system.
    System,
    /// The caller's attribute equals the target's; both must be there.
    Same(&'static str, &'static str),
    /// The target's attribute is one of these values.
    TargetIn(&'static str, &'static [&'static str]),
    /// All of these.
    All(&'static [Check]),
    /// At least one of these.
    Any(&'static [Check]),
}

impl Check {
    /// Whether it holds.
    pub fn holds(&self, caller: Option<&dyn Credentials>, target: &Target) -> bool {
        match (self, caller) {
            (Self::Never, _) => false,
            (Self::Public, _) => true,
            (Self::All(checks), _) => checks.iter().all(|check| check.holds(caller, target)),
            (Self::Any(checks), _) => checks.iter().any(|check| check.holds(caller, target)),
            (Self::TargetIn(name, values), _) => target.get(name).is_some_and(|value| values.contains(&value)),
            (_, None) => false,
            (Self::Authenticated, Some(_)) => true,
            (Self::Role(role), Some(caller)) => caller.has_role(role),
            (Self::System, Some(caller)) => caller.is_system(),
            (Self::Same(own, theirs), Some(caller)) => match (caller.attribute(own), target.get(theirs)) {
                (Some(own), Some(theirs)) => own == theirs,
                _ => false,
            },
        }
    }
}

/// A named check.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// `identity:list_users`.
    pub name: &'static str,
    /// What is to be true.
    pub check: Check,
}

/// What is known of the thing that is acted on: names and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target(Vec<(&'static str, String)>);

impl Target {
    /// Nothing is known, or the action has no target.
    pub fn none() -> Self {
        Self::default()
    }

    /// With one attribute more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// A service's rules by name.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: BTreeMap<&'static str, Check>,
    overrides: BTreeMap<String, Expression>,
    aliases: Aliases,
}

/// Upstream's names for attributes of targets, each with the names that handlers use, in order of preference.
pub type Aliases = &'static [(&'static str, &'static [&'static str])];

impl Policy {
    /// From a table. A name that stands in it twice keeps the last check.
    pub fn new(rules: &[Rule]) -> Self {
        let rules = rules.iter().map(|rule| (rule.name, rule.check)).collect();
        Self { rules, overrides: BTreeMap::new(), aliases: &[] }
    }

    /// Whether the rule lets the caller do it; `false` for a rule that is not declared.
    pub fn allows(&self, rule: &str, caller: Option<&dyn Credentials>, target: &Target) -> bool {
        match (self.overrides.get(rule), caller) {
            (Some(expression), Some(caller)) => {
                let rule = |name: &str| self.allows(name, Some(caller), target);
                expression.holds(&Subject { caller, target, aliases: self.aliases, rule: &rule })
            }
            (Some(_), None) => false,
            (None, caller) => self.rules.get(rule).is_some_and(|check| check.holds(caller, target)),
        }
    }

    /// Whether the rule is declared.
    pub fn declares(&self, rule: &str) -> bool {
        self.rules.contains_key(rule)
    }

    /// Whether the rule lets everybody in, token or not. No override changes that.
    pub fn is_public(&self, rule: &str) -> bool {
        self.rules.get(rule) == Some(&Check::Public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Caller;

    const OWNER_OR_ADMIN: Check = Check::Any(&[Check::Role("admin"), Check::Same("user_id", "user.id")]);

    #[test]
    fn what_no_rule_allows_is_denied() {
        let policy = Policy::new(&[
            Rule { name: "see", check: OWNER_OR_ADMIN },
            Rule { name: "root", check: Check::Public },
            Rule { name: "shut", check: Check::Never },
        ]);
        let admin = Caller { roles: vec!["admin".into()], ..Caller::default() };
        let owner = Caller { user_id: "u1".into(), ..Caller::default() };
        let target = Target::none().with("user.id", "u1");
        for (rule, caller, target, want) in [
            ("see", Some(&admin), &target, true),
            ("see", Some(&owner), &target, true),
            ("see", Some(&owner), &Target::none(), false),
            ("see", None, &target, false),
            ("root", None, &target, true),
            ("shut", Some(&admin), &target, false),
            ("undeclared", Some(&admin), &target, false),
        ] {
            let caller = caller.map(|caller| caller as &dyn Credentials);
            assert_eq!(policy.allows(rule, caller, target), want, "{rule}");
        }
    }
}
