//! Issues and validates tokens. Nothing is kept per token; decrypted ones are remembered, and what they mean is
//! worked out again after each change of the view.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anello_base::{Clock, SystemClock};
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::{Authority, Refusal, SharedTokens};
use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::limits::{TOKEN_EXPIRED_WINDOW, TOKEN_LIFE, TOKENS_CACHED_MAX};
use crate::records::Records;
use crate::time::SECOND_US;
use crate::token::{KeyRing, Keys, Method, Payload, TokenScope, audit_id, sealed_at};

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
    keys: Keys,
    /// What hosts tell each other, if they do.
    shared: Option<SharedTokens>,
    /// By SHA-256 of the token, so that memory holds no tokens.
    opened: Cache<[u8; 32], Arc<Opened>>,
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    SystemClock.wall().microseconds()
}

impl Tokens {
    pub(crate) fn new(keys: Keys, shared: Option<SharedTokens>) -> Self {
        Self { keys, shared, opened: Cache::new(TOKENS_CACHED_MAX) }
    }

    /// Where hosts share what tokens say: takes over what another one has found out about this one, or tells the
    /// others. Before [`Tokens::validate`], which does without.
    pub(crate) async fn learn(&self, token: &str) {
        let Some(shared) = &self.shared else { return };
        let (id, ring) = (digest(token), self.keys.ring());
        let Some(issued_at) = sealed_at(token).filter(|_| !self.opened.contains_key(&id)) else { return };
        let opened = match shared.get(&ring, token).await {
            Some(payload) => Opened::new(payload, issued_at),
            None => {
                let Ok(opened) = open(&ring, token) else { return };
                shared.put(&ring, token, &opened.payload).await;
                opened
            }
        };
        // Not what keys made that were replaced meanwhile.
        if Arc::ptr_eq(&ring, &self.keys.ring()) {
            self.opened.insert(id, Arc::new(opened));
        }
    }

    /// Takes over the keys of another host's rotation. What a dropped key made is no token any more.
    pub(crate) async fn refresh_keys(&self, records: &dyn Records, secret: &[u8]) -> Result<()> {
        if self.keys.refresh(records, secret).await? {
            self.opened.invalidate_all();
        }
        Ok(())
    }

    /// Moves the keys on by one.
    pub(crate) async fn rotate_keys(&self, records: &dyn Records, secret: &[u8]) -> Result<()> {
        self.keys.rotate(records, secret).await?;
        self.opened.invalidate_all();
        Ok(())
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
        let token = self.keys.seal(&payload.pack());
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
        let id = digest(token);
        let opened = match self.opened.get(&id) {
            Some(opened) => opened,
            None => {
                let opened = Arc::new(open(&self.keys.ring(), token)?);
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
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn open(ring: &KeyRing, token: &str) -> Result<Opened, Refusal> {
    let data = ring.open_sealed(token).ok_or(Refusal("no key opens the token"))?;
    let payload = Payload::unpack(&data).ok_or(Refusal("the token carries an unknown payload"))?;
    Ok(Opened::new(payload, sealed_at(token).ok_or(Refusal("the token has no time"))?))
}

impl Opened {
    fn new(payload: Payload, issued_at: u64) -> Self {
        Self { payload, issued_at_us: issued_at.saturating_mul(SECOND_US), meaning: Mutex::default() }
    }

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
