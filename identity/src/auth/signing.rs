//! The secrets and owners of EC2 keys. The S3 door asks for every request, so an answer is remembered and costs
//! a look-up; it is worked out again after each change of the view.

use std::sync::Arc;

use anello_api::identity::{Caller, SigningKey};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::authority::{credential_roles, enabled_project, enabled_user, lent_roles, usable_credential, usable_trust};
use super::{Refusal, effective_roles, now_us};
use crate::directory::{Directory, View};
use crate::limits::SIGNING_KEYS_CACHED_MAX;
use crate::model::{Credential, Delegate, Scope, access_id};
use crate::time::SECOND_US;
use crate::token::Keys;

/// Kind of the credentials that sign requests.
pub(crate) const EC2: &str = "ec2";

/// The blob of an EC2 key.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ec2Blob {
    pub(crate) access: String,
    pub(crate) secret: String,
}

/// Signing keys that were asked for.
pub(crate) struct SigningKeys {
    /// Keys that seal credentials.
    pub(crate) keys: Keys,
    /// By access key; with the generation of the view that the answer was worked out from.
    known: Cache<String, (u64, Arc<SigningKey>)>,
}

impl SigningKeys {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, known: Cache::new(SIGNING_KEYS_CACHED_MAX) }
    }

    /// The secret and owner of an access key, if it is good for anything now.
    pub(crate) fn get(&self, directory: &Directory, access: &str) -> Result<Arc<SigningKey>, Refusal> {
        let generation = directory.generation();
        let key = match self.known.get(access) {
            Some((known_generation, key)) if known_generation == generation => key,
            _ => {
                let key = Arc::new(self.resolve(&directory.view(), access)?);
                // Only what exists is remembered: guesses do not push it out.
                self.known.insert(access.to_owned(), (generation, Arc::clone(&key)));
                key
            }
        };
        if key.caller.expires_at <= now_us() / SECOND_US {
            return Err(Refusal("what the key was made with has ended"));
        }
        Ok(key)
    }

    fn resolve(&self, view: &View, access: &str) -> Result<SigningKey, Refusal> {
        let credential = key_of(view, access).ok_or(Refusal("there is no such access key"))?;
        let blob = self.ec2_blob(credential).ok_or(Refusal("the key can't be opened"))?;
        Ok(SigningKey { secret: blob.secret, caller: Arc::new(owner(view, credential)?) })
    }

    /// A credential's blob.
    pub(crate) fn open_sealed(&self, sealed: &str) -> Option<Vec<u8>> {
        self.keys.open_sealed(sealed)
    }

    /// The access and secret key of a credential.
    pub(crate) fn ec2_blob(&self, credential: &Credential) -> Option<Ec2Blob> {
        serde_json::from_slice(&self.keys.open_sealed(&credential.sealed_blob)?).ok()
    }
}

/// The credential of an access key: by its id, or (rarely) one that was given another access key later.
pub(crate) fn key_of<'a>(view: &'a View, access: &str) -> Option<&'a Arc<Credential>> {
    let id = access_id(access);
    let own = view.credentials.get(&id).filter(|it| it.moved_to.is_none());
    let found = own.or_else(|| view.credentials.by_second_id(&id));
    found.filter(|it| it.kind == EC2)
}

/// Whoever signs with the key: its user on its project, with the roles that he has there now.
fn owner(view: &View, credential: &Credential) -> Result<Caller, Refusal> {
    let (user, _) = enabled_user(view, &credential.user_id)?;
    let project_id = credential.project_id.as_deref().ok_or(Refusal("the key is for no project"))?;
    let (project, domain) = enabled_project(view, project_id)?;
    let mut expires_at = u64::MAX;

    let roles = match &credential.delegate {
        None => effective_roles(view, &user.id, &Scope::Project(project.id.clone())),
        Some(Delegate::ApplicationCredential(id)) => {
            let delegate = usable_credential(view, id)?;
            if delegate.project_id != project.id || delegate.user_id != user.id {
                return Err(Refusal("the key is for more than what it was made with"));
            }
            expires_at = delegate.expires_at_us.map_or(u64::MAX, |end_us| end_us / SECOND_US);
            // A signature says nothing of services and paths that rules could be held against.
            if delegate.access_rule_ids.is_some() {
                return Err(Refusal("the key was made with an application credential that has access rules"));
            }
            credential_roles(view, &delegate)
        }
        Some(Delegate::Trust(id)) => {
            let trust = view.trusts.get(id).ok_or(Refusal("there is no such trust"))?;
            let trust = usable_trust(view, id, &trust.trustee_user_id)?;
            if trust.project_id != project.id || trust.trustor_user_id != user.id {
                return Err(Refusal("the key is for more than what it was made with"));
            }
            expires_at = trust.expires_at_us.map_or(u64::MAX, |end_us| end_us / SECOND_US);
            lent_roles(view, &trust)?
        }
    };
    if roles.is_empty() {
        return Err(Refusal("the user has no role on the project"));
    }
    Ok(Caller {
        user_id: user.id.clone(),
        user_name: user.name.clone(),
        user_domain_id: user.domain_id.clone(),
        project_id: Some(project.id.clone()),
        project_name: Some(project.name.clone()),
        project_domain_id: Some(domain.id.clone()),
        domain_id: None,
        system: false,
        roles: roles.values().map(|role| role.name.clone()).collect(),
        expires_at,
        access_rules: None,
    })
}
