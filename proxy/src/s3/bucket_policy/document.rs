//! The language of bucket policies, as far as it can be meant here: parsed strictly, so that nothing in a policy is
//! ignored. Whoever can't be a principal here (services, federated users of others) is none.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::condition::{Condition, Facts};
use super::pattern::{self, matches};

/// What a policy's document is allowed to be: `{"Version", "Id", "Statement"}`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::s3) struct Policy {
    statements: Vec<Statement>,
    /// Versions of the language from 2012 on know variables.
    has_variables: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Statement {
    is_allow: bool,
    principals: Principals,
    actions: Listed,
    resources: Listed,
    conditions: Vec<Condition>,
}

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq)]
struct Principals {
    listed: Vec<Principal>,
    /// All others are meant.
    is_inverted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Principal {
    Everybody,
    /// Everybody of a project.
    Project(String),
    /// A user, by id or name; of a project where one is named.
    User(Option<String>, String),
    /// One that nobody here is.
    Other,
}

/// Patterns, or all that is none of them.
#[derive(Debug, Clone, PartialEq)]
struct Listed {
    patterns: Vec<String>,
    is_inverted: bool,
}

/// What a policy says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::s3) enum Verdict {
    Allow,
    Deny,
    /// Nothing.
    Silent,
}

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::s3) struct Asker<'a> {
    /// Project, user's id and user's name; none of anonymous callers.
    pub(in crate::s3) signed: Option<(&'a str, &'a str, &'a str)>,
}

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::s3) struct Malformed(pub(super) String);

fn malformed<T>(text: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(text.into()))
}

impl Policy {
    /// Reads the policy of a bucket, whose resources alone it may name.
    pub(in crate::s3) fn parse(text: &str, bucket: &str) -> Result<Self, Malformed> {
        let Ok(Value::Object(document)) = serde_json::from_str(text) else {
            return malformed("Policies must be valid JSON and the first byte must be '{'");
        };
        let mut has_variables = false;
        let mut statements = Vec::new();
        for (name, value) in &document {
            match (name.as_str(), value) {
                ("Version", Value::String(version)) if version == "2012-10-17" => has_variables = true,
                ("Version", Value::String(version)) if version == "2008-10-17" => {}
                ("Id", Value::String(_)) => {}
                ("Statement", Value::Object(one)) => statements.push(Statement::parse(one, bucket)?),
                ("Statement", Value::Array(many)) => {
                    for one in many {
                        let Value::Object(one) = one else { return malformed("Syntax errors in policy.") };
                        statements.push(Statement::parse(one, bucket)?);
                    }
                }
                ("Version", _) => return malformed("The policy must contain a valid version string"),
                _ => return malformed(format!("Unknown field {name}")),
            }
        }
        if statements.is_empty() {
            return malformed("Missing required field Statement");
        }
        Ok(Self { statements, has_variables })
    }

    /// What it says of an action on a resource: a denial outweighs.
    pub(in crate::s3) fn decide(&self, asker: Asker<'_>, action: &str, resource: &str, facts: &Facts) -> Verdict {
        let says = |statement: &&Statement| statement.applies(asker, action, resource, facts, self.has_variables);
        let mut verdict = Verdict::Silent;
        for statement in self.statements.iter().filter(says) {
            if !statement.is_allow {
                return Verdict::Deny;
            }
            verdict = Verdict::Allow;
        }
        verdict
    }

    /// Whether it lets anybody in whom nothing but himself vouches for: some statement allows everybody, and no
    /// condition of it holds for known ones alone.
    pub(in crate::s3) fn is_public(&self) -> bool {
        let is_open = |statement: &Statement| {
            let names_everybody =
                statement.principals.is_inverted || statement.principals.listed.contains(&Principal::Everybody);
            statement.is_allow && names_everybody && !statement.conditions.iter().any(Condition::narrows)
        };
        self.statements.iter().any(is_open)
    }

    /// Whether any condition asks for the tags that the object has.
    pub(in crate::s3) fn asks_for_tags(&self) -> bool {
        let keys = self.statements.iter().flat_map(|statement| &statement.conditions).map(Condition::key);
        keys.into_iter().any(|key| key.starts_with("s3:existingobjecttag/"))
    }
}

impl Statement {
    fn parse(fields: &Map<String, Value>, bucket: &str) -> Result<Self, Malformed> {
        let (mut is_allow, mut principals, mut actions, mut resources) = (None, None, None, None);
        let mut conditions = Vec::new();
        for (name, value) in fields {
            let is_inverted = name.starts_with("Not");
            match name.as_str() {
                "Sid" if value.is_string() => {}
                "Effect" => match value.as_str() {
                    Some("Allow") => is_allow = Some(true),
                    Some("Deny") => is_allow = Some(false),
                    _ => return malformed("Invalid effect in policy"),
                },
                "Principal" | "NotPrincipal" if principals.is_none() => {
                    principals = Some(Principals { listed: parse_principals(value)?, is_inverted });
                }
                "Action" | "NotAction" if actions.is_none() => {
                    let patterns = strings(value)?;
                    let is_ours = |action: &String| {
                        action == "*" || action.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("s3:"))
                    };
                    if patterns.is_empty() || !patterns.iter().all(is_ours) {
                        return malformed("Policy has invalid action");
                    }
                    let patterns = patterns.into_iter().map(|action| action.to_ascii_lowercase()).collect();
                    actions = Some(Listed { patterns, is_inverted });
                }
                "Resource" | "NotResource" if resources.is_none() => {
                    let patterns = strings(value)?;
                    if patterns.is_empty() || !patterns.iter().all(|pattern| is_of(pattern, bucket)) {
                        return malformed("Policy has invalid resource");
                    }
                    resources = Some(Listed { patterns, is_inverted });
                }
                "Condition" => {
                    let Value::Object(operators) = value else { return malformed("Invalid condition in policy") };
                    for (operator, keys) in operators {
                        let Value::Object(keys) = keys else { return malformed("Invalid condition in policy") };
                        for (key, values) in keys {
                            conditions.push(Condition::parse(operator, key, scalars(values)?)?);
                        }
                    }
                }
                _ => return malformed(format!("Unknown field {name}")),
            }
        }
        match (is_allow, principals, actions, resources) {
            (Some(is_allow), Some(principals), Some(actions), Some(resources)) => {
                if is_allow && principals.is_inverted {
                    return malformed("Allow with NotPrincipal is not allowed.");
                }
                Ok(Self { is_allow, principals, actions, resources, conditions })
            }
            (None, ..) => malformed("Missing required field Effect"),
            (_, None, ..) => malformed("Missing required field Principal"),
            (_, _, None, _) => malformed("Missing required field Action"),
            _ => malformed("Missing required field Resource"),
        }
    }

    fn applies(&self, asker: Asker<'_>, action: &str, resource: &str, facts: &Facts, has_variables: bool) -> bool {
        let action = action.to_ascii_lowercase();
        self.principals.names(asker)
            && self.actions.has(|pattern| matches(pattern, &action))
            && self.resources.has(|pattern| match has_variables {
                true => pattern::matches_with(pattern, resource, |name| facts.variable(name)),
                false => matches(pattern, resource),
            })
            && self.conditions.iter().all(|condition| condition.holds(facts, has_variables))
    }
}

impl Listed {
    fn has(&self, is_it: impl Fn(&str) -> bool) -> bool {
        self.patterns.iter().any(|pattern| is_it(pattern)) != self.is_inverted
    }
}

impl Principals {
    fn names(&self, asker: Asker<'_>) -> bool {
        let is_it = |principal: &Principal| match (principal, asker.signed) {
            (Principal::Everybody, _) => true,
            (Principal::Other, _) | (_, None) => false,
            (Principal::Project(project), Some((of, ..))) => project == of,
            (Principal::User(project, user), Some((of, id, name))) => {
                project.as_ref().is_none_or(|project| project == of) && (user == id || user == name || user == of)
            }
        };
        self.listed.iter().any(is_it) != self.is_inverted
    }
}

fn parse_principals(value: &Value) -> Result<Vec<Principal>, Malformed> {
    let kinds = match value {
        Value::String(text) if text == "*" => return Ok(vec![Principal::Everybody]),
        Value::Object(kinds) if !kinds.is_empty() => kinds,
        _ => return malformed("Invalid principal in policy"),
    };
    let mut principals = Vec::new();
    for (kind, values) in kinds {
        let values = strings(values)?;
        match kind.as_str() {
            "AWS" => {
                for text in values {
                    principals
                        .push(parse_principal(&text).ok_or_else(|| Malformed("Invalid principal in policy".into()))?);
                }
            }
            "CanonicalUser" => principals.extend(values.into_iter().map(Principal::Project)),
            "Service" | "Federated" => principals.extend(values.iter().map(|_| Principal::Other)),
            _ => return malformed("Invalid principal in policy"),
        }
    }
    Ok(principals)
}

/// `*`, a project's id, `arn:aws:iam::<project>:root` or `arn:aws:iam::[project]:user/<id or name>`.
fn parse_principal(text: &str) -> Option<Principal> {
    let Some(rest) = text.strip_prefix("arn:") else {
        let is_id = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_$".contains(&byte));
        return match text {
            "*" => Some(Principal::Everybody),
            "" => None,
            _ => is_id.then(|| Principal::Project(text.to_owned())),
        };
    };
    let parts: Vec<_> = rest.splitn(5, ':').collect();
    let &["aws", service, "", project, name] = parts.as_slice() else { return None };
    let project = (!project.is_empty()).then(|| project.to_owned());
    match (service, name.split_once('/')) {
        ("iam", None) if name == "root" => project.map(Principal::Project),
        ("iam", Some(("user", path))) => {
            let user = path.rsplit('/').next().filter(|user| !user.is_empty())?;
            Some(Principal::User(project, user.to_owned()))
        }
        ("iam", Some(("role", path))) | ("sts", Some(("assumed-role", path))) if !path.is_empty() => {
            Some(Principal::Other)
        }
        _ => None,
    }
}

/// Whether a resource is the bucket, or can be something in it.
fn is_of(resource: &str, bucket: &str) -> bool {
    if resource == "*" {
        return true;
    }
    let Some(name) = resource.strip_prefix("arn:aws:s3:").and_then(|rest| rest.splitn(3, ':').nth(2)) else {
        return false;
    };
    let (of, _) = name.split_once('/').unwrap_or((name, ""));
    matches(of, bucket)
}

/// A string or a list of them.
fn strings(value: &Value) -> Result<Vec<String>, Malformed> {
    let one =
        |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| Malformed("Syntax errors in policy.".into()));
    match value {
        Value::Array(many) => many.iter().map(one).collect(),
        one_value => Ok(vec![one(one_value)?]),
    }
}

/// Strings, numbers or truth values.
fn scalars(value: &Value) -> Result<Vec<String>, Malformed> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        _ => malformed("Invalid condition in policy"),
    };
    match value {
        Value::Array(many) => many.iter().map(one).collect(),
        one_value => Ok(vec![one(one_value)?]),
    }
}

/// Values of a request that conditions look at, by lower-case key.
pub(in crate::s3) type Values = BTreeMap<String, Vec<String>>;
