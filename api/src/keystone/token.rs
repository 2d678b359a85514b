//! What a token says, in Keystone's form, as a [`Caller`]. What is not understood is no caller: nobody gets more than
//! was read.

use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::identity::{AccessRule, Caller};

/// `GET /v3/auth/tokens`.
#[derive(Deserialize)]
pub(super) struct TokenDocument {
    pub(super) token: Token,
}

#[derive(Deserialize)]
pub(super) struct Token {
    pub(super) expires_at: String,
    pub(super) issued_at: String,
    user: User,
    project: Option<Project>,
    domain: Option<Named>,
    system: Option<System>,
    #[serde(default)]
    roles: Vec<Role>,
    application_credential: Option<ApplicationCredential>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    name: String,
    domain: Named,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    name: String,
    /// Its id is null where the project acts as a domain, and is its own.
    domain: ProjectDomain,
}

#[derive(Deserialize)]
struct ProjectDomain {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

#[derive(Deserialize)]
struct System {
    all: bool,
}

#[derive(Deserialize)]
struct ApplicationCredential {
    access_rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
struct Rule {
    service: String,
    method: String,
    path: String,
}

impl Token {
    /// Whoever the token is for; `None` where it does not say until when.
    pub(super) fn caller(self) -> Option<Caller> {
        let expires_at = seconds(&self.expires_at)?;
        let mut caller = Caller {
            user_id: self.user.id,
            user_name: self.user.name,
            user_domain_id: self.user.domain.id,
            domain_id: self.domain.map(|it| it.id),
            system: self.system.is_some_and(|it| it.all),
            roles: self.roles.into_iter().map(|it| it.name).collect(),
            expires_at,
            access_rules: self.application_credential.and_then(|it| it.access_rules).map(rules),
            ..Caller::default()
        };
        if let Some(project) = self.project {
            caller.project_domain_id = Some(project.domain.id.unwrap_or_else(|| project.id.clone()));
            caller.project_id = Some(project.id);
            caller.project_name = Some(project.name);
        }
        Some(caller)
    }
}

fn rules(rules: Vec<Rule>) -> Vec<AccessRule> {
    let rule = |it: Rule| AccessRule { service: it.service, method: it.method, path: it.path };
    rules.into_iter().map(rule).collect()
}

/// Seconds since 1970 of `2026-01-31T23:59:59[.123456][Z|+00:00]`; without a zone it is UTC.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let without_zone = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second][optional [.[subsecond]]]");
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(text, without_zone).map(PrimitiveDateTime::assume_utc))
        .ok()?;
    u64::try_from(time.unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn caller(change: impl Fn(&mut Value)) -> Option<Caller> {
        let mut token = json!({"token": {
            "user": {"id": "u", "name": "alice", "domain": {"id": "d", "name": "D"}, "password_expires_at": null},
            "project": {"id": "p", "name": "photos", "domain": {"id": "d", "name": "D"}},
            "is_domain": false,
            "roles": [{"id": "r", "name": "member"}],
            "methods": ["password"], "audit_ids": ["a"],
            "issued_at": "2026-01-31T22:59:59.000000Z", "expires_at": "2026-01-31T23:59:59.000000Z",
        }});
        change(&mut token["token"]);
        serde_json::from_value::<TokenDocument>(token).ok()?.token.caller()
    }

    #[test]
    fn a_token_says_who_what_for_and_until_when() {
        let whole = caller(|_| {}).expect("a caller");
        let own = |text: &str| Some(text.to_owned());
        let want = Caller {
            user_id: "u".into(),
            user_name: "alice".into(),
            user_domain_id: "d".into(),
            project_id: own("p"),
            project_name: own("photos"),
            project_domain_id: own("d"),
            roles: vec!["member".into()],
            expires_at: 1_769_903_999,
            ..Caller::default()
        };
        assert_eq!(whole, want);
        let acts_as_domain = caller(|it| it["project"]["domain"] = json!({"id": null, "name": null}));
        assert_eq!(acts_as_domain.expect("a caller").project_domain_id, own("p"));
        assert!(caller(|it| it["system"] = json!({"all": true})).expect("a caller").system);
        assert!(!caller(|it| it["system"] = json!({"all": false})).expect("a caller").system);
    }

    /// A rule that is not understood must not become no rule.
    #[test]
    fn what_is_not_understood_is_no_caller() {
        let with = |rules: Value| caller(|it| it["application_credential"] = json!({"id": "c", "access_rules": rules}));
        let rule = json!({"id": "1", "service": "object-store", "method": "GET", "path": "/v1/**"});
        assert!(with(json!([rule])).expect("a caller").admits("object-store", "GET", "/v1/a"));
        assert!(!with(json!([])).expect("a caller").admits("object-store", "GET", "/v1/a"));
        assert!(with(Value::Null).expect("a caller").access_rules.is_none());
        for wrong in [json!("all"), json!([{"service": "object-store"}]), json!({})] {
            assert!(with(wrong.clone()).is_none(), "{wrong}");
        }
        for field in ["user", "expires_at"] {
            assert!(caller(|it| it[field] = Value::Null).is_none(), "{field}");
        }
        assert!(caller(|it| it["expires_at"] = "soon".into()).is_none());
        assert!(caller(|it| it["roles"] = json!(["member"])).is_none());
    }
}
