//! From a container's key to those of its objects. Every key has one use: its name says what for.

use std::sync::Arc;

use anello_storage::{Error, Result};
use moka::sync::Cache;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hmac;

use super::service::{ContainerKey, KeyService, SecretId};
use crate::object::limits::CONTAINER_KEYS_MAX;

/// What a key of an object is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its data's own key.
    Body = 1,
    /// Its entity tag.
    Tag = 2,
    /// Its metadata.
    Metadata = 3,
    /// The digests of its parts.
    Digests = 4,
}

/// Keys of containers, as they were asked for.
pub(super) struct KeyRing {
    service: Arc<dyn KeyService>,
    known: Cache<(String, String), Arc<ContainerKeys>>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("service", &self.service).finish_non_exhaustive()
    }
}

/// The keys of one container, under every root secret.
#[derive(Debug)]
pub(super) struct ContainerKeys {
    keys: Vec<(SecretId, ContainerKey)>,
    active: usize,
}

impl KeyRing {
    pub(super) fn new(service: Arc<dyn KeyService>) -> Self {
        Self { service, known: Cache::new(CONTAINER_KEYS_MAX) }
    }

    pub(super) async fn of_container(&self, account: &str, container: &str) -> Result<Arc<ContainerKeys>> {
        let name = (account.to_owned(), container.to_owned());
        if let Some(known) = self.known.get(&name) {
            return Ok(known);
        }
        let mut keys = Vec::new();
        for id in self.service.ids() {
            let key = self.service.container_key(&id, account, container).await?;
            keys.push((id, key));
        }
        let active = self.service.active();
        let active = keys.iter().position(|(id, _)| *id == active).ok_or_else(|| Error::Sealed(active.to_string()))?;
        let keys = Arc::new(ContainerKeys { keys, active });
        self.known.insert(name, Arc::clone(&keys));
        Ok(keys)
    }
}

impl ContainerKeys {
    /// The secret that new objects are sealed under.
    pub(super) fn active(&self) -> &SecretId {
        &self.keys[self.active].0
    }

    /// The key of an object under a secret. [`Error::Sealed`] where that is not known.
    pub(super) fn of_object(&self, id: &SecretId, object: &str, purpose: Purpose) -> Result<LessSafeKey> {
        let found = self.keys.iter().find(|(known, _)| known == id);
        let (_, ContainerKey(key)) = found.ok_or_else(|| Error::Sealed(id.to_string()))?;
        let mut context = hmac::Context::with_key(key);
        context.update(b"anello object 1\0");
        context.update(&[purpose as u8]);
        context.update(object.as_bytes());
        Ok(cipher(context.sign().as_ref()))
    }
}

/// AES-256-GCM with a key of 32 bytes.
pub(super) fn cipher(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key has 32 bytes"))
}
