//! The token that questions are asked with: got by the service user's password, renewed before it ends and when
//! identity no longer takes it. All who need one wait for one log-in.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::client::{Answer, Client};
use super::limits::{LOGIN_REST, PASSWORD_BYTES_MAX, RENEWAL_PART, REST};
use super::reach::Reach;
use super::token::{TokenDocument, seconds};
use super::{RemoteConfig, SetupError};
use crate::identity::IdentityError;

/// See the module.
pub(super) struct Session {
    config: RemoteConfig,
    // Held while somebody logs in. Dropped half-way, the next one logs in.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<ServiceToken>>,
    /// Why the last log-in failed, and until when none is tried.
    failed: Option<(String, Instant)>,
}

/// A token of the service user. Secret: no `Debug`.
pub(super) struct ServiceToken {
    /// As a header.
    pub(super) value: HeaderValue,
    since: Instant,
    life: Duration,
}

impl ServiceToken {
    fn is_usable(&self) -> bool {
        self.since.elapsed() < self.life
    }

    fn is_fresh(&self) -> bool {
        self.since.elapsed() < self.life - self.life / RENEWAL_PART
    }
}

impl Session {
    /// A session that nobody has logged in for. The password is read here only to find out whether it can be.
    pub(super) fn new(config: RemoteConfig) -> Result<Self, SetupError> {
        password(&config.password_file)?;
        Ok(Self { config, state: Mutex::default() })
    }

    /// A token that is good for a while, as far as is known.
    pub(super) async fn token(&self, client: &Client, reach: &Reach) -> Result<Arc<ServiceToken>, IdentityError> {
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| token.is_fresh()) {
            return Ok(token.clone());
        }
        let known = match &state.failed {
            Some((problem, until)) if Instant::now() < *until => IdentityError::Unavailable(problem.clone()),
            _ => match self.log_in(client).await {
                Ok(token) => {
                    let token = Arc::new(token);
                    *state = State { token: Some(token.clone()), failed: None };
                    return Ok(token);
                }
                Err((problem, rest)) => {
                    state.failed = Some((problem.clone(), Instant::now() + rest));
                    reach.failed(problem, None)
                }
            },
        };
        state.token.as_ref().filter(|token| token.is_usable()).cloned().ok_or(known)
    }

    /// Takes note that identity does not take a token. Of a new one nothing is learned: another log-in would not help.
    pub(super) async fn reject(&self, token: &Arc<ServiceToken>) -> bool {
        let mut state = self.state.lock().await;
        match &state.token {
            Some(current) if Arc::ptr_eq(current, token) => {
                let is_old = token.since.elapsed() > LOGIN_REST;
                if is_old {
                    state.token = None;
                }
                is_old
            }
            // Somebody else has found out before.
            _ => true,
        }
    }

    /// A new token; or what is wrong, and how long to wait before the next log-in.
    async fn log_in(&self, client: &Client) -> Result<ServiceToken, (String, Duration)> {
        let password = password(&self.config.password_file).map_err(|error| (error.to_string(), REST))?;
        let body = Bytes::from(self.request(&password).to_string());
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let since = Instant::now();
        let answer = client.send(Method::POST, "/auth/tokens?nocatalog", headers, body).await;
        let answer = answer.map_err(|problem| (problem, REST))?;
        if answer.status != StatusCode::CREATED {
            let rest = if answer.status.is_server_error() { REST } else { LOGIN_REST };
            return Err((self.refusal(&answer), rest));
        }
        read(&answer, since).ok_or_else(|| ("the answer to a log-in is no token".to_owned(), LOGIN_REST))
    }

    fn request(&self, password: &str) -> Value {
        let RemoteConfig { user, user_domain, project, project_domain, .. } = &self.config;
        let user = json!({"name": user, "password": password, "domain": {"name": user_domain}});
        let scope = match project {
            Some(project) => json!({"project": {"name": project, "domain": {"name": project_domain}}}),
            None => json!({"system": {"all": true}}),
        };
        json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}})
    }

    fn refusal(&self, answer: &Answer) -> String {
        let (status, user) = (answer.status.as_u16(), &self.config.user);
        let scope = self.config.project.as_ref().map_or("the system".to_owned(), |it| format!("project {it}"));
        match answer.status {
            StatusCode::UNAUTHORIZED => {
                format!(
                    "the log-in of the service user {user} for {scope} is refused ({status}): password, user, scope?"
                )
            }
            StatusCode::NOT_FOUND => format!("no identity service is at {} ({status} to a log-in)", self.config.url),
            _ => format!("the log-in of the service user {user} is answered {status}"),
        }
    }
}

/// The token of an answer. How long it lives is what identity says of it, so that clocks may differ.
fn read(answer: &Answer, since: Instant) -> Option<ServiceToken> {
    let mut value = answer.headers.get("x-subject-token")?.clone();
    value.set_sensitive(true);
    let TokenDocument { token } = serde_json::from_slice(&answer.body).ok()?;
    let life = seconds(&token.expires_at)?.saturating_sub(seconds(&token.issued_at)?);
    Some(ServiceToken { value, since, life: Duration::from_secs(life) })
}

/// The password that the file holds, without the end of its line. Read at each log-in, so that it can be changed.
fn password(path: &Path) -> Result<String, SetupError> {
    let wrong = |reason: String| SetupError::File { path: path.to_owned(), reason };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() { Err(wrong("no password in it".to_owned())) } else { Ok(password.to_owned()) }
}
