//! Moves key repositories on. Tokens and receipts end by themselves before their key is dropped; what is sealed for
//! good (credentials, secrets of domain configurations) is sealed anew with the new primary key.
//!
//! **Safe to cut anywhere.** A key is dropped only by a rotation, and a rotation of the credentials' keys begins with
//! sealing anew whatever an earlier one left under an older key. Between the steps every key that anything is sealed
//! with is still in the repository. Of two hosts that rotate at once, one is told that the keys have changed: nothing
//! that he sealed anew is under a key that the other one dropped.

use crate::IdentityRoom;
use crate::error::{Error, Result};
use crate::model::{Credential, DomainConfig};
use crate::token::{KeyKind, KeyRing};

impl IdentityRoom {
    /// Moves the keys of a kind on by one, the staged one becoming primary, and tells how many records were sealed
    /// anew. What was made before stays readable through the next rotation: rotate no more often than tokens live, or
    /// than all hosts need to take the new keys over.
    pub async fn rotate_keys(&self, kind: KeyKind) -> Result<usize> {
        let (records, secret) = (self.directory.records(), &self.config.cluster_secret[..]);
        match kind {
            KeyKind::Token => {
                self.tokens.refresh_keys(records, secret).await?;
                self.tokens.rotate_keys(records, secret).await?;
                Ok(0)
            }
            KeyKind::Receipt => {
                self.receipt_keys.refresh(records, secret).await?;
                self.receipt_keys.rotate(records, secret).await?;
                Ok(0)
            }
            KeyKind::Credential => {
                self.directory.check_open()?;
                let keys = &self.signing_keys.keys;
                keys.refresh(records, secret).await?;
                // What other hosts sealed since.
                self.directory.refresh().await?;
                let left = self.seal_anew(&keys.ring()).await?;
                keys.rotate(records, secret).await?;
                Ok(left + self.seal_anew(&keys.ring()).await?)
            }
        }
    }

    /// Seals with the primary key what is sealed with another one.
    async fn seal_anew(&self, ring: &KeyRing) -> Result<usize> {
        let (credentials, configurations) = {
            let view = self.directory.view();
            let credentials = view.credentials.iter().filter(|it| is_old(ring, &it.id, &it.sealed_blob));
            let secret =
                |it: &DomainConfig| it.sealed_secrets.as_ref().is_some_and(|it_is| is_old(ring, &it.domain_id, it_is));
            let configurations = view.domain_configs.iter().filter(|it| secret(it));
            let ids: (Vec<String>, Vec<String>) = (
                credentials.map(|it| it.id.clone()).collect(),
                configurations.map(|it| it.domain_id.clone()).collect(),
            );
            ids
        };
        let mut count = 0;
        for id in credentials {
            let change = |it: &mut Credential| {
                it.sealed_blob = ring.sealed_anew(&it.sealed_blob).unwrap_or_else(|| it.sealed_blob.clone());
                Ok(())
            };
            count += usize::from(is_there(self.directory.update(&id, change).await)?);
        }
        for id in configurations {
            let change = |it: &mut DomainConfig| {
                let anew = it.sealed_secrets.as_deref().and_then(|sealed| ring.sealed_anew(sealed));
                it.sealed_secrets = anew.or_else(|| it.sealed_secrets.clone());
                Ok(())
            };
            count += usize::from(is_there(self.directory.update(&id, change).await)?);
        }
        Ok(count)
    }
}

/// Whether a record is to be sealed anew. One that no key opens is left as it is: it may be another host's, with keys
/// that are newer than these, and then rotating fails.
fn is_old(ring: &KeyRing, id: &str, sealed: &str) -> bool {
    if ring.is_current(sealed) {
        return false;
    }
    let opens = ring.open_sealed(sealed).is_some();
    if !opens {
        tracing::warn!(id, "no key opens what is sealed in this record; it is left as it is");
    }
    opens
}

/// What was deleted meanwhile needs no key.
fn is_there<T>(changed: Result<T>) -> Result<bool> {
    match changed {
        Ok(_) => Ok(true),
        Err(Error::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
