//! Rules as an operator writes them: oslo.policy's language.
//!
//! ```text
//! rule   = and { "or" and }          and = not { "and" not }
//! not    = "not" not | "(" rule ")" | check
//! check  = "@" | "!" | "role:" word | "rule:" name | left ":" right
//! ```
//! `left` is an attribute of the caller, or a quoted word, `True`, `False` or a number; `right` may hold
//! `%(name)s`, an attribute of the target. An empty rule is always true. What is not there equals nothing.
//!
//! Left out on purpose: checks that ask another server (`http:`, `https:`); they are refused when the file is read.

use super::{Aliases, Credentials, Target};

/// Deepest nesting of parentheses and `not`; what is deeper is refused.
const DEPTH_MAX: usize = 32;

/// A rule that was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    True,
    False,
    Not(Box<Expression>),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Role(Template),
    Rule(String),
    /// An attribute of the caller equals a text.
    Attribute(String, Template),
    /// A constant equals a text.
    Constant(String, Template),
}

/// A text with attributes of the target in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Attribute(String),
}

/// What an expression is held against.
pub(super) struct Subject<'a> {
    pub(super) caller: &'a dyn Credentials,
    pub(super) target: &'a Target,
    /// Names in the target that another name stands for, in order of preference.
    pub(super) aliases: Aliases,
    /// Whether another rule holds.
    pub(super) rule: &'a dyn Fn(&str) -> bool,
}

impl Expression {
    /// From its text; the error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words = words(text);
        if words.is_empty() {
            return Ok(Self::True);
        }
        let mut parser = Parser { words: &words, depth: 0 };
        let expression = parser.any()?;
        match parser.words {
            [] => Ok(expression),
            [word, ..] => Err(format!("{word:?} is not expected there")),
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::True => true,
            Self::False => false,
            Self::Not(inner) => !inner.holds(subject),
            Self::All(all) => all.iter().all(|it| it.holds(subject)),
            Self::Any(any) => any.iter().any(|it| it.holds(subject)),
            Self::Rule(name) => (subject.rule)(name),
            Self::Role(role) => role.fill(subject).is_some_and(|role| {
                // As upstream: roles are compared without case in rules.
                subject.caller.has_role(&role) || subject.caller.has_role(&role.to_lowercase())
            }),
            Self::Attribute(name, wanted) => {
                wanted.fill(subject).is_some_and(|wanted| attribute_is(subject.caller, name, &wanted))
            }
            Self::Constant(constant, wanted) => wanted.fill(subject).is_some_and(|wanted| wanted == *constant),
        }
    }

    /// Names of the rules that it asks for.
    pub(super) fn references(&self) -> Vec<&str> {
        match self {
            Self::Rule(name) => vec![name],
            Self::Not(inner) => inner.references(),
            Self::All(inner) | Self::Any(inner) => inner.iter().flat_map(Self::references).collect(),
            _ => Vec::new(),
        }
    }
}

/// Names by which rules reach into the token; the caller knows them by shorter ones.
const TOKEN_ATTRIBUTES: &[(&str, &str)] = &[
    ("token.user.id", "user_id"),
    ("token.user.domain.id", "user_domain_id"),
    ("token.project.id", "project_id"),
    ("token.project.domain.id", "project_domain_id"),
    ("token.domain.id", "domain_id"),
];

fn attribute_is(caller: &dyn Credentials, name: &str, wanted: &str) -> bool {
    match name {
        "system_scope" | "system" => caller.is_system() && wanted == "all",
        "roles" => caller.has_role(wanted),
        // Nobody is an administrator by another way than his roles.
        "is_admin" | "is_admin_project" => wanted == "False",
        _ => {
            let known = TOKEN_ATTRIBUTES.iter().find(|(long, _)| *long == name).map_or(name, |(_, short)| short);
            caller.attribute(known) == Some(wanted)
        }
    }
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("%(") {
            let (name, after) = from.split_once(")s").ok_or_else(|| format!("{text:?} has no end of %(…)s"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Attribute(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The text; `None` where the target lacks an attribute.
    fn fill(&self, subject: &Subject<'_>) -> Option<String> {
        let value = |name: &str| {
            let aliases = subject.aliases.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, names)| names);
            subject.target.get(name).or_else(|| aliases.iter().find_map(|alias| subject.target.get(alias)))
        };
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Attribute(name) => value(name),
        });
        pieces.collect::<Option<Vec<_>>>().map(|pieces| pieces.concat())
    }
}

/// Words and parentheses. A parenthesis that belongs to `%(…)s` stays in its word.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let inner = word.trim_start_matches('(');
        words.extend(std::iter::repeat_n("(".to_owned(), word.len() - inner.len()));
        let bare = inner.trim_end_matches(')');
        if !bare.is_empty() {
            words.push(bare.to_owned());
        }
        words.extend(std::iter::repeat_n(")".to_owned(), inner.len() - bare.len()));
    }
    words
}

struct Parser<'a> {
    words: &'a [String],
    depth: usize,
}

impl Parser<'_> {
    fn takes(&mut self, wanted: &str) -> bool {
        let is_it = self.words.first().is_some_and(|word| word.eq_ignore_ascii_case(wanted));
        if is_it {
            self.words = &self.words[1..];
        }
        is_it
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut any = vec![self.all()?];
        while self.takes("or") {
            any.push(self.all()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Expression::Any(any) })
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut all = vec![self.not()?];
        while self.takes("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::All(all) })
    }

    fn not(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("it is nested deeper than {DEPTH_MAX}"));
        }
        let expression = if self.takes("not") {
            Expression::Not(Box::new(self.not()?))
        } else if self.takes("(") {
            let inner = self.any()?;
            if !self.takes(")") {
                return Err("a parenthesis is not closed".to_owned());
            }
            inner
        } else {
            let (word, rest) = self.words.split_first().ok_or("it ends too early")?;
            self.words = rest;
            check(word)?
        };
        self.depth -= 1;
        Ok(expression)
    }
}

fn check(word: &str) -> Result<Expression, String> {
    match word {
        "@" => return Ok(Expression::True),
        "!" => return Ok(Expression::False),
        _ => {}
    }
    let (left, right) = word.split_once(':').ok_or_else(|| format!("{word:?} is no check"))?;
    if let Some(constant) = constant(left) {
        return Ok(Expression::Constant(constant, Template::parse(right)?));
    }
    Ok(match left {
        "rule" => Expression::Rule(right.to_owned()),
        "role" => Expression::Role(Template::parse(right)?),
        "http" | "https" => return Err(format!("{word:?} asks another server, which is not offered")),
        "" => return Err(format!("{word:?} has nothing before the colon")),
        name => Expression::Attribute(name.to_owned(), Template::parse(right)?),
    })
}

/// The text of a quoted word, `True`, `False`, `None` or a number.
fn constant(word: &str) -> Option<String> {
    let quoted = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote).map(str::to_owned);
    quoted('\'').or_else(|| quoted('"')).or_else(|| {
        let is_literal = matches!(word, "True" | "False" | "None") || word.parse::<f64>().is_ok();
        is_literal.then(|| word.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Caller;

    fn caller() -> Caller {
        Caller {
            user_id: "u1".into(),
            domain_id: Some("d1".into()),
            roles: vec!["member".into(), "domain-manager".into()],
            ..Caller::default()
        }
    }

    #[test]
    fn rules_mean_what_oslo_policy_says_they_mean() {
        let caller = caller();
        let target = Target::none().with("user_id", "u1").with("domain_id", "d1").with("role_name", "member");
        let aliases: Aliases = &[("target.user.domain_id", &["domain_id"]), ("target.role.name", &["role_name"])];
        let rule = |name: &str| name == "yes";
        let subject = Subject { caller: &caller, target: &target, aliases, rule: &rule };
        for (text, want) in [
            ("", true),
            ("@", true),
            ("!", false),
            ("role:member", true),
            ("role:Member", true),
            ("role:admin", false),
            ("not role:admin", true),
            ("role:admin or role:member and !", false),
            ("(role:admin or role:member) and @", true),
            ("user_id:%(user_id)s", true),
            ("user_id:%(target.user.id)s", false),
            ("domain_id:%(target.user.domain_id)s", true),
            ("token.domain.id:%(target.user.domain_id)s", true),
            ("project_id:%(project_id)s", false),
            ("'member':%(target.role.name)s", true),
            ("\"admin\":%(target.role.name)s", false),
            ("rule:yes and not rule:no", true),
            ("system_scope:all", false),
            ("is_admin:True", false),
            ("(rule:yes and 'member':%(target.role.name)s) or rule:no", true),
            ("NOT (role:admin OR role:reader)", true),
            ("role:%(role_name)s", true),
        ] {
            let parsed = Expression::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(parsed.holds(&subject), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let deep = format!("{}@{}", "(".repeat(40), ")".repeat(40));
        for text in ["role:a role:b", "(role:a", "role:a)", "and", "not", "role", ":x", "http://h/x", "a:%(b", &deep] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }
}
