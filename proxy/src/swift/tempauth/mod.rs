//! Users of a development system, from the configuration file alone: `GET /auth/v1.0` gives a token, accounts are
//! named after the users' own, and what users may do is said by groups. Off unless configured: passwords stand in the
//! file in clear, and there is no way to revoke a token but to change the password.
//!
//! A token is sealed, not stored: user and end, and an HMAC under the cluster's secret and the user's password, so that
//! every host of a cluster takes it, and no longer once the password is another.

mod acl;
mod rules;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use anello_base::{Clock, SystemClock};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::config::{Endpoint, SwiftConfig, TempAuthConfig};
use super::fault::Fault;
use super::reply;
use crate::body::Body;

pub(super) use acl::{ACCOUNT_ACL, AccountAcl};
pub(super) use rules::{Asked, Grant, by_account, by_list};

/// The first segment of the paths that are answered here.
pub(super) const PATH: &str = "/auth/";

/// A user who is known by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::swift) struct Member {
    /// `account:user`
    pub(in crate::swift) name: String,
    /// What access lists may name: his account, himself, his groups, and the accounts that he owns.
    pub(in crate::swift) groups: Vec<String>,
}

impl Member {
    /// Whether he is of a group.
    pub(in crate::swift) fn is_of(&self, group: &str) -> bool {
        self.groups.iter().any(|held| held == group)
    }
}

/// The users, and what makes their tokens.
pub(super) struct TempAuth {
    config: TempAuthConfig,
    secret: Vec<u8>,
    /// What accounts' names begin with; the first is also that of tokens.
    prefixes: Vec<String>,
    /// Groups that users of accounts with a prefix need besides.
    required_groups: BTreeMap<String, String>,
    /// The gateway's URL, where it is not to be told from the request.
    url: Option<String>,
    is_tls: bool,
}

impl std::fmt::Debug for TempAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TempAuth").field("users", &self.config.users.len()).finish_non_exhaustive()
    }
}

impl TempAuth {
    /// The users of a configuration, whose tokens are sealed with `secret`.
    pub(super) fn new(config: TempAuthConfig, door: &SwiftConfig, endpoint: &Endpoint) -> Self {
        let required = door.service_prefixes.iter();
        let required = required.filter_map(|(prefix, it)| Some((prefix.clone(), it.require_group.clone()?)));
        let (secret, url, is_tls) = (endpoint.secret.clone(), endpoint.public_url.clone(), endpoint.is_tls);
        Self { config, secret, prefixes: door.prefixes(), required_groups: required.collect(), url, is_tls }
    }

    /// Whether a token is one of ours.
    pub(super) fn is_ours(&self, token: &str) -> bool {
        token.strip_prefix(&self.prefixes[0]).is_some_and(|rest| rest.starts_with(token::MARK))
    }

    /// The user behind a token.
    pub(super) fn member(&self, token: &str) -> Option<Arc<Member>> {
        let sealed = token.strip_prefix(&self.prefixes[0])?.strip_prefix(token::MARK)?;
        let now = SystemClock.wall().seconds();
        let user = token::open(sealed, now, |name| Some(self.key(self.config.users.get(name)?.key.as_bytes())))?;
        Some(Arc::new(self.describe(&user)?))
    }

    fn describe(&self, name: &str) -> Option<Member> {
        let (user, (account, _)) = (self.config.users.get(name)?, name.split_once(':')?);
        let mut groups = vec![account.to_owned(), name.to_owned()];
        groups.extend(user.groups.iter().filter(|group| *group != rules::ADMIN).cloned());
        if user.groups.iter().any(|group| group == rules::ADMIN) {
            groups.extend(self.prefixes.iter().map(|prefix| format!("{prefix}{account}")));
        }
        Some(Member { name: name.to_owned(), groups })
    }

    /// What tokens of a user with this password are sealed with.
    fn key(&self, password: &[u8]) -> Vec<u8> {
        [&self.secret, &b"tempauth"[..], password].concat()
    }

    /// Answers `/auth/…`.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Result<Response<Body>, Fault> {
        if request.method() != Method::GET {
            return Err(Fault::status(StatusCode::METHOD_NOT_ALLOWED).with("allow", "GET"));
        }
        let (headers, path) = (request.headers(), request.uri().path());
        let header = |names: [&str; 2]| names.iter().find_map(|name| text(headers, name));
        let mut parts = path.strip_prefix(PATH).unwrap_or("").split('/');
        let (account, user, key) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("v1.0" | "auth"), None | Some(""), None, None) => {
                let user = header(["x-auth-user", "x-storage-user"]);
                let (account, user) = user.and_then(|user| user.split_once(':')).ok_or_else(|| denied("unknown"))?;
                (account, user, header(["x-auth-key", "x-storage-pass"]))
            }
            (Some("v1"), Some(account), Some("auth"), None) => {
                let user = match (text(headers, "x-storage-user"), text(headers, "x-auth-user")) {
                    (Some(user), _) => Some(user),
                    (None, Some(user)) => user.split_once(':').filter(|(own, _)| *own == account).map(|(_, user)| user),
                    (None, None) => None,
                };
                (account, user.ok_or_else(|| denied(account))?, header(["x-storage-pass", "x-auth-key"]))
            }
            _ => return Err(Fault::status(StatusCode::BAD_REQUEST)),
        };
        let name = format!("{account}:{user}");
        let (Some(known), Some(key)) = (self.config.users.get(&name), key) else { return Err(denied(account)) };
        if !bool::from(subtle::ConstantTimeEq::ct_eq(known.key.as_bytes(), key.as_bytes())) {
            return Err(denied(account));
        }
        let life = self.config.token_life_seconds;
        let end = SystemClock.wall().seconds().saturating_add(life);
        let sealed = token::seal(&name, end, &self.key(known.key.as_bytes()));
        let token = format!("{}{}{sealed}", self.prefixes[0], token::MARK);
        let url = match &known.storage_url {
            Some(url) => url.clone(),
            None => format!("{}/v1/{}{}", self.root(headers), self.prefixes[0], reply::quoted(account)),
        };
        let mut response = reply::bare(StatusCode::OK);
        let headers = response.headers_mut();
        reply::set(headers, "x-auth-token", &token);
        reply::set(headers, "x-storage-token", &token);
        reply::set(headers, "x-auth-token-expires", life.to_string());
        reply::set(headers, "x-storage-url", url);
        Ok(response)
    }

    /// The gateway's URL as the client knows it.
    fn root(&self, headers: &HeaderMap) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        match (&self.url, text(headers, "host")) {
            (Some(url), _) => url.clone(),
            (None, host) => format!("{scheme}://{}", host.unwrap_or("localhost")),
        }
    }

    /// What an account's name begins with, where it is one that users may own.
    pub(super) fn prefix_of(&self, account: &str) -> Option<&str> {
        self.prefixes.iter().find(|prefix| account.starts_with(prefix.as_str())).map(String::as_str)
    }

    /// The group that users of an account need besides, as its prefix says.
    pub(super) fn required_group(&self, prefix: &str) -> Option<&str> {
        self.required_groups.get(prefix).map(String::as_str)
    }
}

/// For the fuzzer: opens a token.
#[cfg(feature = "fuzzing")]
pub(super) fn open_token(text: &str, key_of: impl Fn(&str) -> Option<Vec<u8>>) -> Option<String> {
    token::open(text, 0, key_of)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).filter(|text| !text.is_empty())
}

fn denied(realm: &str) -> Fault {
    Fault::status(StatusCode::UNAUTHORIZED)
        .with("www-authenticate", &format!("Swift realm=\"{}\"", reply::quoted(realm)))
}
