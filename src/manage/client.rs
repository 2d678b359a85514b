//! Keystone's API over the control socket, and the look-ups that every command needs.

use serde_json::{Value, json};

use super::Server;
use crate::config::Config;
use crate::limits::COMMAND_TIMEOUT;
use crate::status::{StatusError, exchange};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManageError {
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error("{0}")]
    Refused(String),
    #[error("there is no {what} {name:?}")]
    Missing { what: &'static str, name: String },
    #[error("{0}")]
    Usage(String),
}

type Result<T> = std::result::Result<T, ManageError>;

/// The running server.
pub(crate) struct Client {
    directory: std::path::PathBuf,
}

impl Client {
    /// The server that the options name.
    pub(crate) fn new(server: &Server) -> Result<Self> {
        let directory = match &server.data {
            Some(directory) => directory.clone(),
            None => Config::read(server.config.as_deref()).map_err(StatusError::from)?.home().to_owned(),
        };
        Ok(Self { directory })
    }

    /// Makes a request; the answer's JSON, null where it has none.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let text = body.map(Value::to_string);
        let (status, body) = exchange(&self.directory, method, path, text.as_deref(), COMMAND_TIMEOUT)?;
        let json = serde_json::from_str(&body).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            return Ok(json);
        }
        let message = json["error"]["message"].as_str().unwrap_or(body.trim());
        Err(ManageError::Refused(if message.is_empty() {
            format!("the server answers {status}")
        } else {
            message.into()
        }))
    }

    /// All of one kind that a query picks.
    pub(crate) fn list(&self, kind: &str, query: &[(&str, &str)]) -> Result<Vec<Value>> {
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let mut things = Vec::new();
        let mut marker = String::new();
        loop {
            let pairs = query.iter().map(|(name, value)| format!("{name}={}&", encode(value))).collect::<String>();
            let page = self.call("GET", &format!("/identity/v3/{kind}?{pairs}{marker}"), None)?;
            let rows = page[kind].as_array().cloned().unwrap_or_default();
            let last = rows.last().and_then(|row| row["id"].as_str()).unwrap_or_default().to_owned();
            things.extend(rows);
            if page["links"]["next"].is_null() || last.is_empty() {
                return Ok(things);
            }
            marker = format!("marker={}", encode(&last));
        }
    }

    /// The thing of a name (or, where there is none, an id).
    pub(crate) fn find(&self, what: &'static str, name: &str, query: &[(&str, &str)]) -> Result<Value> {
        self.look(what, name, query)?.ok_or_else(|| ManageError::Missing { what, name: name.to_owned() })
    }

    /// As [`Client::find`], where it may be missing.
    pub(crate) fn look(&self, what: &'static str, name: &str, query: &[(&str, &str)]) -> Result<Option<Value>> {
        let kind = format!("{what}s");
        let mut named = query.to_vec();
        named.push(("name", name));
        if let Some(found) = self.list(&kind, &named)?.into_iter().next() {
            return Ok(Some(found));
        }
        let is_id = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Ok(None);
        }
        Ok(self.call("GET", &format!("/identity/v3/{kind}/{name}"), None).ok().map(|found| found[what].clone()))
    }

    /// Id of a domain by its name or id.
    pub(crate) fn domain_id(&self, name: &str) -> Result<String> {
        Ok(id(&self.find("domain", name, &[])?))
    }

    /// Id of a user or project in a domain.
    pub(crate) fn id_of(&self, what: &'static str, name: &str, domain_id: &str) -> Result<String> {
        Ok(id(&self.find(what, name, &[("domain_id", domain_id)])?))
    }

    /// Makes a thing; shows it as it is then.
    pub(crate) fn create(&self, what: &str, fields: Value) -> Result<Value> {
        let made = self.call("POST", &format!("/identity/v3/{what}s"), Some(&json!({ what: fields })))?;
        Ok(made[what].clone())
    }
}

/// A thing's id.
pub(crate) fn id(thing: &Value) -> String {
    thing["id"].as_str().unwrap_or_default().to_owned()
}
