//! Issues and validates tokens. Nothing is kept per token; decrypted ones are remembered, and what they mean is
//! worked out again after each change of the view.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anello_base::{Clock, SystemClock};
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::{Authority, Refusal};
use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::limits::{TOKEN_EXPIRED_WINDOW, TOKEN_LIFE, TOKENS_CACHED_MAX};
use crate::time::SECOND_US;
use crate::token::{KeyRing, Method, Payload, TokenScope, audit_id, sealed_at};

/// A token's meaning, and the generation of the view that it was worked out from.
type Meaning = (u64, Result<Arc<Authority>, Refusal>);

/// A decrypted token.
struct Opened {
    payload: Payload,
    issued_at_us: u64,
    meaning: Mutex<Option<Meaning>>,
}

/// What a token is to be made of.
pub(crate) struct Issue {
    pub(crate) user_id: String,
    pub(crate) methods: Vec<Method>,
    pub(crate) scope: TokenScope,
    /// The new token ends with this one and continues its chain.
    pub(crate) parent: Option<Arc<Authority>>,
}

/// The tokens of the room.
pub(crate) struct Tokens {
    keys: RwLock<KeyRing>,
    /// By SHA-256 of the token, so that memory holds no tokens.
    opened: Cache<[u8; 32], Arc<Opened>>,
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    SystemClock.wall().microseconds()
}

impl Tokens {
    pub(crate) fn new(keys: KeyRing) -> Self {
        Self { keys: RwLock::new(keys), opened: Cache::new(TOKENS_CACHED_MAX) }
    }

    /// Whether these are the keys in use.
    pub(crate) fn has_keys(&self, keys: &KeyRing) -> bool {
        *self.keys.read().unwrap_or_else(PoisonError::into_inner) == *keys
    }

    /// Takes other keys, after a rotation.
    pub(crate) fn set_keys(&self, keys: KeyRing) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        self.opened.invalidate_all();
    }

    /// A new token and its meaning. Where something that concerns it was revoked in this very second, it waits
    /// for the next one (`ends_at_us` is the latest that it may end): a token bears its time in seconds only, and would be revoked with the others.
    pub(crate) async fn issue(
        &self,
        directory: &Directory,
        issue: &Issue,
        ends_at_us: Option<u64>,
    ) -> Result<Result<(String, Arc<Authority>), Refusal>> {
        let wait = {
            let view = directory.view();
            // As if it were issued at the end of time, so that older revocations do not concern it.
            let probe = match Authority::resolve(&view, issue.payload(now_us(), ends_at_us), u64::MAX) {
                Ok(probe) => probe,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let (now, revoked) = (now_us(), probe.last_revocation(&view));
            (now / SECOND_US <= revoked).then(|| (revoked + 1) * SECOND_US - now)
        };
        if let Some(wait_us) = wait {
            tokio::time::sleep(Duration::from_micros(wait_us.min(2 * SECOND_US))).await;
        }
        let payload = issue.payload(now_us(), ends_at_us);
        let token = self.keys.read().unwrap_or_else(PoisonError::into_inner).seal(&payload.pack());
        let issued_at = sealed_at(&token).ok_or_else(|| Error::Internal("a new token has no time".to_owned()))?;
        let meaning = Authority::resolve(&directory.view(), payload, issued_at * SECOND_US);
        Ok(meaning.map(|authority| (token, Arc::new(authority))))
    }

    /// What a token means; a [`Refusal`] where it is unknown, ended, or revoked. `allow_expired` lets pass what
    /// ended within [`TOKEN_EXPIRED_WINDOW`].
    pub(crate) fn validate(
        &self,
        directory: &Directory,
        token: &str,
        allow_expired: bool,
    ) -> Result<Arc<Authority>, Refusal> {
        let id: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let opened = match self.opened.get(&id) {
            Some(opened) => opened,
            None => {
                let opened = Arc::new(self.open(token)?);
                self.opened.insert(id, Arc::clone(&opened));
                opened
            }
        };
        let window_us = if allow_expired { TOKEN_EXPIRED_WINDOW.as_secs() * SECOND_US } else { 0 };
        if opened.payload.expires_at_us + window_us <= now_us() {
            return Err(Refusal("the token has ended"));
        }
        opened.meaning(directory)
    }

    fn open(&self, token: &str) -> Result<Opened, Refusal> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let data = keys.open_sealed(token).ok_or(Refusal("no key opens the token"))?;
        let payload = Payload::unpack(&data).ok_or(Refusal("the token carries an unknown payload"))?;
        let issued_at = sealed_at(token).ok_or(Refusal("the token has no time"))?;
        Ok(Opened { payload, issued_at_us: issued_at.saturating_mul(SECOND_US), meaning: Mutex::default() })
    }
}

impl Opened {
    fn meaning(&self, directory: &Directory) -> Result<Arc<Authority>, Refusal> {
        // Read before the view: a change in between makes the meaning old, never wrong.
        let generation = directory.generation();
        let known = self.meaning.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((known_generation, meaning)) = known
            && known_generation == generation
        {
            return meaning;
        }
        let meaning = Authority::resolve(&directory.view(), self.payload.clone(), self.issued_at_us).map(Arc::new);
        *self.meaning.lock().unwrap_or_else(PoisonError::into_inner) = Some((generation, meaning.clone()));
        meaning
    }
}

impl Issue {
    fn payload(&self, now_us: u64, ends_at_us: Option<u64>) -> Payload {
        let mut methods = self.methods.clone();
        let mut audit_ids = vec![audit_id()];
        let mut expires_at_us = now_us + TOKEN_LIFE.as_secs() * SECOND_US;
        expires_at_us = ends_at_us.map_or(expires_at_us, |end| end.min(expires_at_us));
        if let Some(parent) = &self.parent {
            expires_at_us = parent.payload.expires_at_us.min(expires_at_us);
            audit_ids.extend(parent.payload.audit_ids.last().cloned());
            for method in &parent.payload.methods {
                if !methods.contains(method) {
                    methods.push(*method);
                }
            }
        }
        Payload { user_id: self.user_id.clone(), methods, scope: self.scope.clone(), expires_at_us, audit_ids }
    }
}
