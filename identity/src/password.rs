//! Passwords as Argon2id. Hashing runs on the blocking pool, a few at a time: a flood of log-ins waits or is
//! told to come again, and exhausts neither memory nor cores.
//!
//! Each hash has fresh memory, which costs some 7 % of it. To keep the memory and wipe it between two costs as much,
//! and unwiped it would hold what passwords can be guessed from.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::limits::{ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES, HASHES_AT_ONCE_MAX, HASHES_WAITING_MAX};

/// Hashes and verifies passwords.
#[derive(Debug)]
pub(crate) struct Hasher {
    working: Semaphore,
    waiting: Semaphore,
    /// Hash of nothing that anybody knows: an unknown user costs as much time as a known one.
    nobody: String,
}

impl Hasher {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            working: Semaphore::new(HASHES_AT_ONCE_MAX),
            waiting: Semaphore::new(HASHES_WAITING_MAX),
            nobody: hash(&anello_base::id::hex_id())?,
        })
    }

    /// The PHC string of a password, with a random salt.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        self.run(move || hash(&password)).await?
    }

    /// Whether the password is the one of the PHC string. Without one it is not, after the same time.
    pub(crate) async fn verify(&self, password: String, phc: Option<String>) -> Result<bool> {
        let (phc, is_known) = match phc {
            Some(phc) => (phc, true),
            None => (self.nobody.clone(), false),
        };
        let matches = self.run(move || verify(&password, &phc)).await??;
        Ok(matches && is_known)
    }

    /// Dropped while it waits, its places are free again; dropped while it hashes, the hash is made for nobody.
    async fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Result<R> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Error::Busy)?;
        let _working = self.working.acquire().await.map_err(|_| Error::Busy)?;
        tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))
    }
}

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, None);
    let params = params.map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String> {
    let hash = argon2()?.hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| Error::Internal(error.to_string()))
}

/// Compares in constant time. The parameters are those of the PHC string, so that they can be raised later.
fn verify(password: &str, phc: &str) -> Result<bool> {
    let phc = PasswordHash::new(phc).map_err(|error| Error::Internal(error.to_string()))?;
    match argon2()?.verify_password(password.as_bytes(), &phc) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(Error::Internal(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_passes() {
        let hasher = Hasher::new().expect("hasher");
        let phc = hasher.hash("geheim ☂".to_owned()).await.expect("hash");
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        for (password, phc, want) in
            [("geheim ☂", Some(phc.clone()), true), ("Geheim ☂", Some(phc), false), ("geheim ☂", None, false)]
        {
            assert_eq!(hasher.verify(password.to_owned(), phc).await.expect("verified"), want, "{password}");
        }
    }
}
