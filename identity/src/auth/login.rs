//! Checks a log-in and gives a token for it. Whatever is wrong with who or what for, the client is told the same.

use std::sync::Arc;

use super::authority::{enabled_project, enabled_user, usable_credential};
use super::request::{CredentialNamed, Domainly, Named, Proof, ScopeWanted};
use super::{Authority, Issue, LoginRequest, Refusal, effective_roles};
use crate::IdentityRoom;
use crate::auth::tokens::now_us;
use crate::directory::View;
use crate::error::{Error, Result};
use crate::model::{ApplicationCredential, Scope};
use crate::token::{Method, TokenScope};

/// A proof that holds: who it is, and what the token takes from it.
struct Proven {
    user_id: String,
    method: Method,
    parent: Option<Arc<Authority>>,
    credential: Option<Arc<ApplicationCredential>>,
}

/// Why there is no token.
pub(crate) enum LoginError {
    /// 401 without more.
    Refused(Refusal),
    /// 403: known, and may not get this one.
    Forbidden(&'static str),
    /// Something of ours failed.
    Failed(Error),
}

impl From<Refusal> for LoginError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for LoginError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl IdentityRoom {
    /// Checks every proof of the request and gives a token for the scope that it wants.
    pub(crate) async fn login(&self, request: LoginRequest) -> Result<(String, Arc<Authority>), LoginError> {
        let mut proven = Vec::new();
        for proof in request.proofs {
            proven.push(self.prove(proof).await?);
        }
        let Some(first) = proven.first() else { return Err(Refusal("no method was given").into()) };
        if proven.iter().any(|other| other.user_id != first.user_id) {
            return Err(Refusal("the methods name different users").into());
        }
        let credential = proven.iter().find_map(|it| it.credential.clone());
        let parent = proven.iter().find_map(|it| it.parent.clone());
        if parent.as_ref().is_some_and(|it| it.application_credential.is_some() || it.is_delegated()) {
            return Err(LoginError::Forbidden("A token of an application credential or EC2 key can't be rescoped."));
        }
        let scope = match (&credential, &request.scope) {
            (Some(it), ScopeWanted::Default) => {
                TokenScope::ApplicationCredential { project_id: it.project_id.clone(), credential_id: it.id.clone() }
            }
            (Some(_), _) => return Err(Refusal("an application credential has its own scope").into()),
            (None, wanted) => scope(&self.directory.view(), &first.user_id, wanted)?,
        };
        let methods = proven.iter().map(|it| it.method).collect();
        let issue = Issue { user_id: first.user_id.clone(), methods, scope, parent };
        let ends_at_us = credential.and_then(|it| it.expires_at_us);
        Ok(self.tokens.issue(&self.directory, &issue, ends_at_us).await??)
    }

    async fn prove(&self, proof: Proof) -> Result<Proven, LoginError> {
        match proof {
            Proof::Password { user, password } => self.prove_password(&user, password).await,
            Proof::Token(token) => {
                let parent = self.tokens.validate(&self.directory, &token, false)?;
                let user_id = parent.user.id.clone();
                Ok(Proven { user_id, method: Method::Token, parent: Some(parent), credential: None })
            }
            Proof::ApplicationCredential { credential, secret } => self.prove_credential(&credential, secret).await,
        }
    }

    async fn prove_password(&self, user: &Named, password: String) -> Result<Proven, LoginError> {
        let user = {
            let view = self.directory.view();
            user_id(&view, user).and_then(|id| enabled_user(&view, &id)).map(|(user, _)| user)
        };
        let phc = user.as_ref().ok().and_then(|user| user.password.as_ref()).map(|it| it.hash.clone());
        let is_right = self.hasher.verify(password, phc).await?;
        let user = user?;
        if !is_right {
            return Err(Refusal("the password is wrong").into());
        }
        Ok(Proven { user_id: user.id.clone(), method: Method::Password, parent: None, credential: None })
    }

    async fn prove_credential(&self, named: &CredentialNamed, secret: String) -> Result<Proven, LoginError> {
        let credential = {
            let view = self.directory.view();
            credential(&view, named)
        };
        let phc = credential.as_ref().ok().map(|it| it.secret_hash.clone());
        let is_right = self.hasher.verify(secret, phc).await?;
        let credential = credential?;
        if !is_right {
            return Err(Refusal("the secret is wrong").into());
        }
        if credential.expires_at_us.is_some_and(|end| end <= now_us()) {
            return Err(Refusal("the application credential has ended").into());
        }
        let user_id = credential.user_id.clone();
        Ok(Proven { user_id, method: Method::ApplicationCredential, parent: None, credential: Some(credential) })
    }
}

fn credential(view: &View, named: &CredentialNamed) -> Result<Arc<ApplicationCredential>, Refusal> {
    let credential = match named {
        CredentialNamed::Id(id) => usable_credential(view, id)?,
        CredentialNamed::Name { name, user } => {
            let owner = user_id(view, user)?;
            let found = view.application_credentials.by_name(&owner, name);
            Arc::clone(found.ok_or(Refusal("there is no such application credential"))?)
        }
    };
    enabled_user(view, &credential.user_id)?;
    Ok(credential)
}

fn domain_id(view: &View, domain: &Domainly) -> Result<String, Refusal> {
    let found = match domain {
        Domainly::Id(id) => view.domains.get(id),
        Domainly::Name(name) => view.domains.by_name("", name),
    };
    found.map(|domain| domain.id.clone()).ok_or(Refusal("there is no such domain"))
}

fn user_id(view: &View, user: &Named) -> Result<String, Refusal> {
    match user {
        Named::Id(id) => Ok(id.clone()),
        Named::Name { name, domain } => {
            let found = view.users.by_name(&domain_id(view, domain)?, name);
            found.map(|user| user.id.clone()).ok_or(Refusal("there is no such user"))
        }
    }
}

fn scope(view: &View, user_id: &str, wanted: &ScopeWanted) -> Result<TokenScope, Refusal> {
    match wanted {
        ScopeWanted::Unscoped => Ok(TokenScope::Unscoped),
        ScopeWanted::System => Ok(TokenScope::System),
        ScopeWanted::Domain(domain) => Ok(TokenScope::Domain(domain_id(view, domain)?)),
        ScopeWanted::Project(Named::Id(id)) => Ok(TokenScope::Project(id.clone())),
        ScopeWanted::Project(Named::Name { name, domain }) => {
            let found = view.projects.by_name(&domain_id(view, domain)?, name);
            let id = found.map(|project| project.id.clone()).ok_or(Refusal("there is no such project"))?;
            Ok(TokenScope::Project(id))
        }
        ScopeWanted::Default => {
            let (user, _) = enabled_user(view, user_id)?;
            let usable = user.default_project_id.clone().filter(|id| {
                let has_role = !effective_roles(view, user_id, &Scope::Project(id.clone())).is_empty();
                has_role && enabled_project(view, id).is_ok()
            });
            Ok(usable.map_or(TokenScope::Unscoped, TokenScope::Project))
        }
    }
}
