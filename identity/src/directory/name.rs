//! Claims on unique names; see the [module](super) for what they promise.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Directory;
use super::write::unpack;
use crate::error::{Error, Result};
use crate::limits::UPDATE_ATTEMPTS_MAX;
use crate::model::Kept;
use crate::records::{Expect, Kind, etag};

/// How far a claim has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Hold {
    /// Before the record is written.
    Reserved,
    /// Once it is.
    Held,
}

/// A claim on a name. Two equal claims have equal bytes, hence equal tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) owner: String,
    pub(super) hold: Hold,
}

impl Claim {
    pub(super) fn new(owner: &str, hold: Hold) -> Self {
        Self { owner: owner.to_owned(), hold }
    }

    fn data(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings are always JSON").into()
    }

    pub(super) fn etag(&self) -> String {
        etag(&self.data())
    }
}

/// Id of the claim on a name.
pub(super) fn claim_id(kind: Kind, scope: &str, name: &str) -> String {
    let mut digest = Sha256::new();
    for part in [kind.container(), scope, name] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    hex::encode(digest.finalize())
}

impl Directory {
    /// Reserves a name for `owner`. [`Error::NameTaken`] where a record bears it.
    pub(super) async fn reserve<T: Kept>(&self, scope: &str, name: &str, owner: &str) -> Result<()> {
        let id = claim_id(T::KIND, scope, name);
        let wanted = Claim::new(owner, Hold::Reserved).data();
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            let result = match self.records.get(Kind::Name, &id).await? {
                None => self.records.put(Kind::Name, &id, wanted.clone(), Expect::Absent).await,
                Some((version, data)) => {
                    if !self.is_free::<T>(scope, name, owner, &claim(&id, &data)?).await? {
                        return Err(Error::NameTaken { what: T::KIND.noun(), name: name.to_owned() });
                    }
                    self.records.put(Kind::Name, &id, wanted.clone(), Expect::Etag(&version.etag)).await
                }
            };
            match result {
                Ok(_) => return Ok(()),
                Err(Error::Changed) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::NameTaken { what: T::KIND.noun(), name: name.to_owned() })
    }

    /// Whether a claim that is there stands for nothing, so that it may be taken over.
    async fn is_free<T: Kept>(&self, scope: &str, name: &str, owner: &str, claim: &Claim) -> Result<bool> {
        if claim.owner == owner {
            return Ok(true);
        }
        let Some((_, data)) = self.records.get(T::KIND, &claim.owner).await? else { return Ok(true) };
        let (record, renamed_from) = unpack::<T>(&claim.owner, &data)?;
        let Some((now_scope, now_name)) = record.unique_name() else { return Ok(true) };
        if (now_scope.as_str(), now_name) == (scope, name) {
            // Whole, and at most not yet confirmed: it is confirmed for whoever began it.
            self.confirm::<T>(scope, name, &claim.owner).await?;
            return Ok(false);
        }
        if claim.hold == Hold::Reserved || renamed_from.as_deref() != Some(name) {
            return Ok(true);
        }
        // A rename away from this name. Until the new name is held, it may have to come back.
        let new = claim_id(T::KIND, &now_scope, now_name);
        let held = Claim::new(&claim.owner, Hold::Held);
        Ok(self.records.get(Kind::Name, &new).await?.is_some_and(|(version, _)| version.etag == held.etag()))
    }

    /// Turns a reserved claim to held. [`Error::NameTaken`] where another took it over meanwhile.
    pub(super) async fn confirm<T: Kept>(&self, scope: &str, name: &str, owner: &str) -> Result<()> {
        let id = claim_id(T::KIND, scope, name);
        let (reserved, held) = (Claim::new(owner, Hold::Reserved), Claim::new(owner, Hold::Held));
        match self.records.put(Kind::Name, &id, held.data(), Expect::Etag(&reserved.etag())).await {
            Ok(_) => Ok(()),
            Err(Error::Changed) => match self.records.get(Kind::Name, &id).await? {
                Some((version, _)) if version.etag == held.etag() => Ok(()),
                _ => Err(Error::NameTaken { what: T::KIND.noun(), name: name.to_owned() }),
            },
            Err(error) => Err(error),
        }
    }

    /// Claims a name at once for a record that is there and lost its claim.
    pub(super) async fn reclaim<T: Kept>(&self, scope: &str, name: &str, owner: &str) -> Result<()> {
        let held = Claim::new(owner, Hold::Held);
        let id = claim_id(T::KIND, scope, name);
        self.records.put(Kind::Name, &id, held.data(), Expect::Absent).await.map(|_| ())
    }

    /// Gives a name back, where `owner` still has it. What a crash leaves here is a free claim.
    pub(super) async fn release<T: Kept>(&self, scope: &str, name: &str, owner: &str) {
        let id = claim_id(T::KIND, scope, name);
        for hold in [Hold::Held, Hold::Reserved] {
            let etag = Claim::new(owner, hold).etag();
            match self.records.delete(Kind::Name, &id, Expect::Etag(&etag)).await {
                Ok(_) | Err(Error::Changed) => {}
                Err(error) => tracing::warn!(%error, kind = T::KIND.noun(), "a name was not given back"),
            }
        }
    }
}

fn claim(id: &str, data: &[u8]) -> Result<Claim> {
    serde_json::from_slice(data).map_err(|error| Error::Corrupt {
        kind: Kind::Name.container(),
        id: id.to_owned(),
        why: error.to_string(),
    })
}
