//! Another host's identity, asked over HTTP: an Anello's or OpenStack's Keystone. It answers what [`Identity`] asks, by
//! the routes that Keystone has, with the token of a service user (`session`).
//!
//! Answers are remembered for [`RemoteConfig::answer_age`] at the longest (`answers`), counted from when they were asked
//! for: so long may count what was revoked meanwhile. That identity can't be reached is
//! [`IdentityError::Unavailable`] and never an answer about a token (`reach`).
//!
//! Left out on purpose: keys that were given another access key than the one that their id is made of
//! (`PATCH /v3/credentials`), which Keystone does not find either.

mod answers;
mod client;
mod key;
mod limits;
mod reach;
mod session;
mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use crate::identity::{Caller, Identity, IdentityError, SigningKey};
use answers::{Answers, Known};
use client::{Answer, Client};
use limits::{ATTEMPT_PAUSE, ATTEMPTS_MAX, CHECK_INTERVAL, QUESTION_TIMEOUT, REFUSAL_AGE, REST};
use reach::Reach;
use session::Session;
use token::TokenDocument;

pub use limits::{ANSWER_SECONDS, ANSWER_SECONDS_LONGEST};
pub use reach::RemoteStatus;

/// Says that access rules are held here: without it Keystone shows no token that has some.
const ACCESS_RULES: (&str, &str) = ("openstack-identity-access-rules", "1.0");

/// Whom to ask, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteConfig {
    /// Where the service is, up to and without `/v3`: `https://cloud.example/identity`.
    pub url: String,
    /// Name of the service user, and of his domain. `service` on a project lets him ask about tokens; about keys only
    /// `reader` on the system or `admin` anywhere.
    pub user: String,
    /// Name of his domain.
    pub user_domain: String,
    /// Name of the project that he logs in for; the system, where there is none.
    pub project: Option<String>,
    /// Name of the project's domain.
    pub project_domain: String,
    /// File with his password.
    pub password_file: PathBuf,
    /// File with the authorities (PEM) that the service's certificate is held against; the system's, without one.
    pub ca_file: Option<PathBuf>,
    /// How old an answer may be.
    pub answer_age: Duration,
}

/// Why identity can't even be asked.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file of the configuration is of no use.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system knows no authorities.
    #[error("the system has no certificates of authorities: name a file of them")]
    NoAuthorities,
    /// TLS can't be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// See the module.
pub struct RemoteIdentity {
    client: Client,
    session: Session,
    reach: Reach,
    tokens: Answers<Arc<Caller>>,
    keys: Answers<SigningKey>,
}

impl std::fmt::Debug for RemoteIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteIdentity").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl RemoteIdentity {
    /// Reads the files that the configuration names. Nobody is asked yet.
    pub fn new(config: RemoteConfig) -> Result<Self, SetupError> {
        let (age, refusal_age) = (config.answer_age, REFUSAL_AGE.min(config.answer_age));
        Ok(Self {
            client: Client::new(&config.url, config.ca_file.as_deref())?,
            reach: Reach::new(&config.url),
            session: Session::new(config)?,
            tokens: Answers::new(age, refusal_age),
            keys: Answers::new(age, refusal_age),
        })
    }

    /// Looks now and then whether identity is there, which also renews the service user's token. For a task.
    pub async fn watch(&self) {
        let mut may_read_keys = false;
        loop {
            let is_well = self.check(&mut may_read_keys).await.is_ok();
            tokio::time::sleep(if is_well { CHECK_INTERVAL } else { REST }).await;
        }
    }

    /// Waits until identity has answered as it should, for the first time.
    pub async fn answered(&self) {
        self.reach.wait().await;
    }

    /// How it stands with identity.
    pub fn status(&self) -> RemoteStatus {
        self.reach.status()
    }

    /// Has identity tell about its own token. Whether keys may be read is found out once.
    async fn check(&self, may_read_keys: &mut bool) -> Result<(), IdentityError> {
        let token = self.session.token(&self.client, &self.reach).await?;
        self.ask("/auth/tokens?nocatalog", Some(&token.value)).await?;
        self.reach.is_ready();
        if !*may_read_keys {
            // Nobody has this key: 404 is the right answer.
            self.ask(&key::credential_path(""), None).await?;
            *may_read_keys = true;
        }
        Ok(())
    }

    /// The JSON of an answer; `None` where there is no such thing. `subject` is the token that the question is about.
    async fn ask(&self, path: &str, subject: Option<&HeaderValue>) -> Result<Option<Value>, IdentityError> {
        self.reach.check()?;
        let mut attempt = 1;
        loop {
            let token = self.session.token(&self.client, &self.reach).await?;
            let mut headers = HeaderMap::new();
            headers.insert("x-auth-token", token.value.clone());
            headers.extend(subject.map(|subject| (HeaderName::from_static("x-subject-token"), subject.clone())));
            headers.insert(ACCESS_RULES.0, HeaderValue::from_static(ACCESS_RULES.1));
            let (problem, rest) = match self.client.send(Method::GET, path, headers, Default::default()).await {
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && self.session.reject(&token).await => {
                    continue;
                }
                Ok(answer) if !may_pass(answer.status) => return self.read(path, &answer),
                Ok(answer) => (format!("it answers {}", answer.status.as_u16()), None),
                Err(problem) => (problem, Some(REST)),
            };
            if attempt == ATTEMPTS_MAX {
                return Err(self.reach.failed(problem, rest));
            }
            attempt += 1;
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
    }

    /// What an answer says that another attempt would not change.
    fn read(&self, path: &str, answer: &Answer) -> Result<Option<Value>, IdentityError> {
        let json = serde_json::from_slice::<Value>(&answer.body);
        match (answer.status, json) {
            (StatusCode::OK, Ok(json)) => {
                self.reach.answered();
                Ok(Some(json))
            }
            // Not any server's.
            (StatusCode::NOT_FOUND, Ok(json)) if json["error"].is_object() => {
                self.reach.answered();
                Ok(None)
            }
            (StatusCode::OK, Err(error)) => Err(self.not_understood(path, &error)),
            (StatusCode::FORBIDDEN, _) => Err(self.reach.failed(
                format!(
                    "the service user may not ask for {} (403): give him reader on the system, or admin",
                    kind(path)
                ),
                None,
            )),
            (status, _) => {
                Err(self.reach.failed(format!("it answers {} when asked for {}", status.as_u16(), kind(path)), None))
            }
        }
    }

    fn not_understood(&self, path: &str, error: &serde_json::Error) -> IdentityError {
        self.reach.failed(format!("its answer for {} is not understood: {error}", kind(path)), None)
    }

    async fn ask_for_token(&self, token: &str) -> Result<Known<Arc<Caller>>, IdentityError> {
        const PATH: &str = "/auth/tokens?nocatalog";
        let mut subject = HeaderValue::from_str(token).map_err(|_| IdentityError::NotValid)?;
        subject.set_sensitive(true);
        let json = self.ask(PATH, Some(&subject)).await?.ok_or(IdentityError::NotValid)?;
        let document: TokenDocument =
            serde_json::from_value(json).map_err(|error| self.not_understood(PATH, &error))?;
        let caller = document.token.caller().ok_or(IdentityError::NotValid)?;
        Ok(Known { ends_at: caller.expires_at, value: Arc::new(caller) })
    }

    /// Bounds a whole question.
    async fn in_time<T>(&self, question: impl Future<Output = Result<T, IdentityError>>) -> Result<T, IdentityError> {
        let late = |_| Err(self.reach.failed(format!("no answer within {} s", QUESTION_TIMEOUT.as_secs()), Some(REST)));
        tokio::time::timeout(QUESTION_TIMEOUT, question).await.unwrap_or_else(late)
    }
}

impl Identity for RemoteIdentity {
    fn token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>, IdentityError>> {
        Box::pin(self.tokens.get(token, self.in_time(self.ask_for_token(token))))
    }

    fn signing_key<'a>(&'a self, access: &'a str) -> BoxFuture<'a, Result<SigningKey, IdentityError>> {
        Box::pin(self.keys.get(access, self.in_time(self.ask_for_key(access))))
    }
}

/// Whether what a status says may be over soon.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// What a path is about: without ids, so that the log says each thing once.
fn kind(path: &str) -> &str {
    let end = path[1..].find(['/', '?']).map_or(path.len(), |at| at + 1);
    if path.starts_with("/auth/tokens") { "tokens" } else { &path[1..end] }
}
