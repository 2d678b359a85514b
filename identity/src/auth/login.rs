//! Checks a log-in and gives a token for it. Whatever is wrong with who or what for, the client is told the same.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;

use super::prove::Proven;
use super::receipt::Incomplete;
use super::request::{Proof, ScopeWanted};
use super::{Authority, Issue, LoginRequest, Refusal, named, now_us};
use crate::IdentityRoom;
use crate::audit::Event;
use crate::error::{Error, Result};
use crate::model::{Trust, User};
use crate::token::{Method, TokenScope};

/// Where a log-in comes from, as far as that is known.
type Peer = Option<IpAddr>;

/// Why there is no token.
pub(crate) enum LoginError {
    /// 401 without more.
    Refused(Refusal),
    /// 404: the token that was to be a proof is not valid.
    UnknownToken,
    /// 401: the password of this user only serves to be changed.
    Expired(String),
    /// 401 with a receipt: more proofs are needed.
    Incomplete(Box<Incomplete>),
    /// 403: known, and may not get this one.
    Forbidden(&'static str),
    /// 429: too many failures of late.
    TooMany,
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
        let guessers: Vec<_> = request.proofs.iter().filter_map(|it| Some((it.names()?, request.peer))).collect();
        if guessers.iter().any(|who| self.throttle.is_over(who)) {
            return Err(LoginError::TooMany);
        }
        let (claimed, peer) = (self.claimed(&request), request.peer);
        let result = self.check(request).await;
        self.note_login(&result, claimed.as_deref(), peer);
        if matches!(result, Err(LoginError::Refused(_))) {
            guessers.into_iter().for_each(|who| self.throttle.count(who));
        }
        result
    }

    /// Whom the log-in is about, where he is known. What is no known name is not noted: it may be a password that was
    /// typed into the wrong field.
    fn claimed(&self, request: &LoginRequest) -> Option<String> {
        let view = self.directory.view();
        let id = request.proofs.iter().find_map(|proof| match proof {
            Proof::Password { user, .. } | Proof::Totp { user, .. } => named::user_id(&view, user).ok(),
            Proof::ApplicationCredential { credential, .. } => {
                named::credential(&view, credential).ok().map(|it| it.user_id.clone())
            }
            Proof::Token(_) => None,
        });
        id.filter(|id| view.users.get(id).is_some())
    }

    fn note_login(&self, result: &Result<(String, Arc<Authority>), LoginError>, claimed: Option<&str>, peer: Peer) {
        let status = match result {
            Ok(_) => StatusCode::CREATED,
            Err(LoginError::Failed(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Err(LoginError::Forbidden(_)) => StatusCode::FORBIDDEN,
            Err(_) => StatusCode::UNAUTHORIZED,
        };
        let caller = result.as_ref().ok().map(|(_, authority)| &*authority.caller);
        let (rule, request_id) = ("identity:authenticate", None);
        self.audit.write(&Event { rule, caller, user_id: claimed, peer, request_id, target_id: None, status });
    }

    async fn check(&self, request: LoginRequest) -> Result<(String, Arc<Authority>), LoginError> {
        let mut proven = Vec::new();
        for proof in request.proofs {
            proven.push(self.prove(proof).await?);
        }
        let user_id = the_user(&proven)?;
        let methods = self.given(&proven, &user_id, request.receipt.as_deref())?;
        let user = self.directory.get::<User>(&user_id).ok_or(Refusal("there is no such user"))?;
        self.check_proofs(&user, &methods).map_err(|incomplete| LoginError::Incomplete(Box::new(incomplete)))?;
        self.note_success(&user).await?;
        let credential = proven.iter().find_map(|it| it.credential.clone());
        let parent = proven.iter().find_map(|it| it.parent.clone());
        if parent.as_ref().is_some_and(|it| it.application_credential.is_some() || it.is_delegated()) {
            return Err(LoginError::Forbidden("A token of an application credential, trust or EC2 key has one scope."));
        }
        let scope = match (&credential, &request.scope) {
            (Some(it), ScopeWanted::Default) => {
                TokenScope::ApplicationCredential { project_id: it.project_id.clone(), credential_id: it.id.clone() }
            }
            (Some(_), _) => return Err(Refusal("an application credential has its own scope").into()),
            (None, wanted) => named::scope(&self.directory.view(), &user_id, wanted)?,
        };
        let mut ends_at_us = credential.and_then(|it| it.expires_at_us);
        if let TokenScope::Trust { trust_id, .. } = &scope {
            ends_at_us = self.use_trust(trust_id, &user_id).await?;
        }
        let issue = Issue { user_id, methods, scope, parent };
        Ok(self.tokens.issue(&self.directory, &issue, ends_at_us).await??)
    }

    /// How the user has shown who he is, with what his token or receipt says of before.
    fn given(&self, proven: &[Proven], user_id: &str, receipt: Option<&str>) -> Result<Vec<Method>, Refusal> {
        let mut methods: Vec<Method> = proven.iter().map(|it| it.method).collect();
        let before = proven.iter().filter_map(|it| it.parent.as_ref()).flat_map(|it| it.payload.methods.clone());
        let mut more: Vec<Method> = before.collect();
        if let Some(sealed) = receipt {
            let receipt = self.receipt(sealed).filter(|it| it.user_id == user_id);
            more.extend(receipt.ok_or(Refusal("the receipt is not valid"))?.methods);
        }
        for method in more {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        Ok(methods)
    }

    /// Takes one of a trust's uses, if it is the user's and usable. Tells when it ends.
    async fn use_trust(&self, id: &str, user_id: &str) -> Result<Option<u64>, LoginError> {
        let trust = self.directory.get::<Trust>(id).filter(|it| it.is_usable(now_us()));
        let trust = trust.ok_or(Refusal("there is no such trust, or it has ended or is used up"))?;
        if trust.trustee_user_id != user_id {
            return Err(LoginError::Forbidden("The trust is for somebody else."));
        }
        if trust.remaining_uses.is_some() {
            let change = |it: &mut Trust| {
                let left = it.remaining_uses.unwrap_or(1).checked_sub(1);
                it.remaining_uses = Some(left.ok_or_else(|| Error::Forbidden("The trust is used up.".to_owned()))?);
                Ok(())
            };
            self.directory.update::<Trust>(id, change).await?;
        }
        Ok(trust.expires_at_us)
    }
}

/// Whom all proofs name.
fn the_user(proven: &[Proven]) -> Result<String, Refusal> {
    let first = proven.first().ok_or(Refusal("no method was given"))?;
    if proven.iter().any(|other| other.user_id != first.user_id) {
        return Err(Refusal("the methods name different users"));
    }
    Ok(first.user_id.clone())
}
