//! An operator's rules over the built-in ones: one YAML mapping from names to rules, as oslo.policy reads it. The file
//! is checked whole when it is read; a rule that could only fail later is an error now.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::expression::Expression;
use super::{Aliases, Policy};

/// Why an operator's rules can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text is not a mapping from names to rules.
    #[error("the policy file is no YAML mapping of names to rules: {0}")]
    Yaml(String),
    /// A rule is malformed.
    #[error("rule {name}: {why}")]
    Rule {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A rule in the file: text, or the old form of lists (any of all of these).
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Lists(Vec<OneOrAll>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrAll {
    One(String),
    All(Vec<String>),
}

impl Written {
    fn parse(&self) -> Result<Expression, String> {
        match self {
            Self::Text(text) => Expression::parse(text),
            Self::Lists(lists) if lists.is_empty() => Ok(Expression::True),
            Self::Lists(lists) => {
                let all = |it: &OneOrAll| match it {
                    OneOrAll::One(check) => Expression::parse(check),
                    OneOrAll::All(checks) => {
                        Ok(Expression::All(checks.iter().map(|it| Expression::parse(it)).collect::<Result<_, _>>()?))
                    }
                };
                Ok(Expression::Any(lists.iter().map(all).collect::<Result<_, _>>()?))
            }
        }
    }
}

impl Policy {
    /// With upstream's names for attributes of targets.
    #[must_use]
    pub fn with_aliases(mut self, aliases: Aliases) -> Self {
        self.aliases = aliases;
        self
    }

    /// With an operator's rules. Names that begin with `prefix` (`identity:`) must be of built-in rules, others are the
    /// operator's own. What is open to everybody stays so.
    pub fn with_overrides(mut self, yaml: &str, prefix: &str) -> Result<Self, PolicyError> {
        let is_empty = yaml.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if is_empty {
            return Ok(self);
        }
        let written: BTreeMap<String, Option<Written>> =
            serde_saphyr::from_str(yaml).map_err(|error| PolicyError::Yaml(error.to_string()))?;
        for (name, rule) in written {
            let wrong = |why: &str| PolicyError::Rule { name: name.clone(), why: why.to_owned() };
            if name.starts_with(prefix) && !self.declares(&name) {
                return Err(wrong("there is no such rule"));
            }
            if self.is_public(&name) {
                return Err(wrong("what it guards is open to everybody and can't be guarded"));
            }
            let parsed = rule.map_or(Ok(Expression::True), |rule| rule.parse()).map_err(|why| wrong(&why))?;
            self.overrides.insert(name, parsed);
        }
        self.check_references()?;
        Ok(self)
    }

    /// Every rule that another one asks for is there, and none asks for itself.
    fn check_references(&self) -> Result<(), PolicyError> {
        for name in self.overrides.keys() {
            let mut path = vec![name.as_str()];
            self.follow(name, &mut path).map_err(|why| PolicyError::Rule { name: name.clone(), why })?;
        }
        Ok(())
    }

    fn follow<'a>(&'a self, name: &str, path: &mut Vec<&'a str>) -> Result<(), String> {
        let Some(expression) = self.overrides.get(name) else { return Ok(()) };
        for next in expression.references() {
            if path.contains(&next) {
                return Err(format!("it asks for itself by {next}"));
            }
            if !self.overrides.contains_key(next) && !self.declares(next) {
                return Err(format!("there is no rule {next}"));
            }
            path.push(next);
            self.follow(next, path)?;
            path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Caller;
    use crate::rest::{Check, Credentials, Rule, Target};

    fn policy() -> Policy {
        Policy::new(&[
            Rule { name: "admin_required", check: Check::Role("admin") },
            Rule { name: "x:see", check: Check::Role("admin") },
            Rule { name: "x:root", check: Check::Public },
        ])
    }

    fn may(policy: &Policy, roles: &[&str]) -> bool {
        let caller = Caller { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..Caller::default() };
        policy.allows("x:see", Some(&caller as &dyn Credentials), &Target::none())
    }

    #[test]
    fn an_operators_rule_takes_the_place_of_the_built_in_one() {
        let auditors =
            "# for auditors\n\"auditor\": \"role:auditor\"\n\"x:see\": \"rule:admin_required or rule:auditor\"\n";
        let new = policy().with_overrides(auditors, "x:").expect("rules");
        assert!(may(&new, &["auditor"]) && may(&new, &["admin"]) && !may(&new, &["member"]));
        assert!(!new.allows("x:see", None, &Target::none()), "and never lets in whoever has no token");
        let old = policy().with_overrides("\"x:see\": [[\"role:a\", \"role:b\"], [\"role:c\"]]", "x:");
        let old = old.expect("the old form");
        assert!(may(&old, &["a", "b"]) && may(&old, &["c"]) && !may(&old, &["a"]));
        assert!(may(&policy().with_overrides("# nothing\n", "x:").expect("empty"), &["admin"]));
    }

    #[test]
    fn a_file_that_would_not_do_what_it_says_is_refused() {
        for yaml in [
            "\"x:sea\": \"@\"",
            "\"x:root\": \"!\"",
            "\"x:see\": \"rule:nobody\"",
            "\"x:see\": \"rule:a\"\n\"a\": \"rule:x:see\"",
            "\"x:see\": \"role:a role:b\"",
            "- a",
            "\"x:see\": {\"a\": 1}",
        ] {
            assert!(policy().with_overrides(yaml, "x:").is_err(), "{yaml}");
        }
    }
}
