//! The audit log: one CADF event per line for every log-in and every request that was to change something, whether it
//! was let or not. An event says who, what, to what, where from and how it ended; never anything of a request's body.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anello_api::identity::Caller;
use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::now_us;
use crate::error::{Error, Result};
use crate::time::iso;

/// Where events go.
pub(crate) struct Audit {
    /// Written without waiting for the disk; a line is one write, so that lines never mix.
    file: Option<Mutex<File>>,
}

/// What happened.
pub(crate) struct Event<'a> {
    /// Name of the rule that guards the action: `identity:create_user`.
    pub(crate) rule: &'a str,
    pub(crate) caller: Option<&'a Caller>,
    /// Whom it concerns, where nobody is known by a token (log-ins).
    pub(crate) user_id: Option<&'a str>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) target_id: Option<&'a str>,
    pub(crate) status: StatusCode,
}

impl Audit {
    /// Appends to a file that only its owner reads, or writes to the log.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None }) };
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let wrong = |error| Error::Invalid(format!("the audit log {} can't be opened: {error}", path.display()));
        Ok(Self { file: Some(Mutex::new(file.map_err(wrong)?)) })
    }

    /// Writes an event.
    pub(crate) fn write(&self, event: &Event<'_>) {
        let line = event.cadf();
        match &self.file {
            None => tracing::info!(target: "anello::audit", event = %line),
            Some(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
                    tracing::error!(%error, event = %line, "the audit log can't be written");
                }
            }
        }
    }
}

impl Event<'_> {
    fn cadf(&self) -> Value {
        let (action, resource) = action(self.rule);
        let initiator = self.caller.map(|it| it.user_id.as_str()).or(self.user_id);
        json!({
            "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
            "eventType": "activity",
            "id": anello_base::id::hex_id(),
            "eventTime": iso(now_us()) + "+0000",
            "action": action,
            "outcome": if self.status.is_success() { "success" } else { "failure" },
            "reason": {"reasonType": "HTTP", "reasonCode": self.status.as_str()},
            "initiator": {
                "typeURI": "service/security/account/user",
                "id": initiator.unwrap_or("unknown"),
                "project_id": self.caller.and_then(|it| it.project_id.as_deref()),
                "domain_id": self.caller.and_then(|it| it.domain_id.as_deref()),
                "host": {"address": self.peer.map(|it| it.to_string())},
                "request_id": self.request_id,
            },
            "target": {"typeURI": format!("data/security/{resource}"), "id": self.target_id.or(initiator)},
            "observer": {"typeURI": "service/security", "id": "identity"},
        })
    }
}

/// CADF's word for an action, and what it is done to.
fn action(rule: &str) -> (String, &str) {
    let name = rule.rsplit(':').next().unwrap_or(rule);
    for (verb, done) in [("create_", "created"), ("update_", "updated"), ("delete_", "deleted")] {
        if let Some(resource) = name.strip_prefix(verb) {
            return (format!("{done}.{resource}"), resource);
        }
    }
    match name {
        "authenticate" => ("authenticate".to_owned(), "account/user"),
        name => (format!("performed.{name}"), "account/user"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_say_who_did_what_and_how_it_ended_one_per_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let audit = Audit::open(Some(&path)).expect("opens");
        let caller = Caller { user_id: "u1".into(), project_id: Some("p1".into()), ..Caller::default() };
        for (rule, caller, status) in [
            ("identity:create_user", Some(&caller), StatusCode::CREATED),
            ("identity:authenticate", None, StatusCode::UNAUTHORIZED),
        ] {
            let (peer, request_id) = ("192.0.2.1".parse().ok(), Some("req-1"));
            let event = Event { rule, caller, user_id: Some("u2"), peer, request_id, target_id: Some("t"), status };
            audit.write(&event);
        }
        let text = std::fs::read_to_string(&path).expect("written");
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(events[0]["action"], "created.user");
        assert_eq!((&events[0]["initiator"]["id"], &events[0]["outcome"]), (&json!("u1"), &json!("success")));
        assert_eq!(events[1]["reason"]["reasonCode"], "401");
        assert_eq!((&events[1]["initiator"]["id"], &events[1]["outcome"]), (&json!("u2"), &json!("failure")));
        assert_eq!(events[1]["initiator"]["host"]["address"], "192.0.2.1");
    }
}
