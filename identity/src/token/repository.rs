//! A key repository in use. Its keys are replaced whole, by a rotation here or by taking over another host's.

use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::keys::{KeyRing, Sealed};
use crate::error::Result;
use crate::limits::KEYS_MAX;
use crate::records::Records;

/// What keys are for. Each kind has a repository of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Tokens are made with these.
    Token,
    /// Credentials (EC2 keys, secrets of passcodes) and the secrets of domain configurations are sealed with these.
    Credential,
    /// Receipts for parts of log-ins are made with these.
    Receipt,
}

impl KeyKind {
    /// Id of the repository's record.
    fn id(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Credential => "credential",
            Self::Receipt => "receipt",
        }
    }
}

/// The keys of one kind.
pub(crate) struct Keys {
    kind: KeyKind,
    /// Never held across an await; nothing else is locked while it is.
    ring: RwLock<Arc<KeyRing>>,
}

impl Keys {
    /// The repository, made where it is not there. `secret` is the cluster's.
    pub(crate) async fn open(records: &dyn Records, kind: KeyKind, secret: &[u8]) -> Result<Self> {
        let ring = KeyRing::open(records, kind.id(), secret).await?;
        Ok(Self { kind, ring: RwLock::new(Arc::new(ring)) })
    }

    /// The keys as they are now.
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what another host has written; tells whether that are other keys.
    pub(crate) async fn refresh(&self, records: &dyn Records, secret: &[u8]) -> Result<bool> {
        let ring = KeyRing::open(records, self.kind.id(), secret).await?;
        let is_other = *self.ring() != ring;
        if is_other {
            self.set(ring);
        }
        Ok(is_other)
    }

    /// Moves the keys on by one. [`crate::Error::Changed`] where another host did so since they were read: what was
    /// done with these keys does not hold for those.
    pub(crate) async fn rotate(&self, records: &dyn Records, secret: &[u8]) -> Result<()> {
        let ring = self.ring().rotated(records, self.kind.id(), secret, KEYS_MAX).await?;
        self.set(ring);
        Ok(())
    }

    fn set(&self, ring: KeyRing) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    /// See [`KeyRing::seal`].
    pub(crate) fn seal(&self, data: &[u8]) -> Sealed {
        self.ring().seal(data)
    }

    /// See [`KeyRing::open_sealed`].
    pub(crate) fn open_sealed(&self, sealed: &str) -> Option<Vec<u8>> {
        self.ring().open_sealed(sealed)
    }
}
