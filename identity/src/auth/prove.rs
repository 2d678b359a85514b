//! Checks the proofs of a log-in one by one: who it is, and what the token takes from it.

use std::sync::Arc;

use super::authority::enabled_user;
use super::login::LoginError;
use super::request::{CredentialNamed, Named, Proof};
use super::{Authority, Refusal, named, now_us, totp};
use crate::IdentityRoom;
use crate::model::{ApplicationCredential, User};
use crate::time::SECOND_US;
use crate::token::Method;

/// Type of the credentials that hold secrets of passcodes.
const TOTP: &str = "totp";

/// A proof that holds.
pub(super) struct Proven {
    pub(super) user_id: String,
    pub(super) method: Method,
    pub(super) parent: Option<Arc<Authority>>,
    pub(super) credential: Option<Arc<ApplicationCredential>>,
}

impl Proven {
    fn new(user_id: &str, method: Method) -> Self {
        Self { user_id: user_id.to_owned(), method, parent: None, credential: None }
    }
}

impl IdentityRoom {
    pub(super) async fn prove(&self, proof: Proof) -> Result<Proven, LoginError> {
        match proof {
            Proof::Password { user, password } => self.prove_password(&user, password).await,
            Proof::Totp { user, passcode } => self.prove_passcode(&user, &passcode).await,
            Proof::Token(token) => {
                let parent = self.tokens.validate(&self.directory, &token, false);
                let parent = parent.map_err(|_| LoginError::UnknownToken)?;
                Ok(Proven { parent: Some(Arc::clone(&parent)), ..Proven::new(&parent.user.id, Method::Token) })
            }
            Proof::ApplicationCredential { credential, secret } => self.prove_credential(&credential, secret).await,
        }
    }

    fn named_user(&self, user: &Named) -> Result<Arc<User>, Refusal> {
        let view = self.directory.view();
        let (user, _) = enabled_user(&view, &named::user_id(&view, user)?)?;
        Ok(user)
    }

    /// Refuses users who are locked out or inactive, and notes how it went.
    async fn outcome(&self, user: &User, is_right: bool, wrong: &'static str) -> Result<(), LoginError> {
        if self.is_locked_out(user) {
            return Err(Refusal("the user is locked out").into());
        }
        if !is_right {
            self.note_failure(user).await?;
            return Err(Refusal(wrong).into());
        }
        if self.rules.is_inactive(user, now_us()) {
            return Err(Refusal("the user has not logged in for too long").into());
        }
        Ok(())
    }

    /// Domain and name of a user who comes from a directory, or would.
    fn foreign(&self, named: &Named) -> Option<(String, String)> {
        let view = self.directory.view();
        let (domain_id, name) = match named {
            Named::Id(id) => view.users.get(id).map(|it| (it.domain_id.clone(), it.name.clone()))?,
            Named::Name { name, domain } => (named::domain_id(&view, domain).ok()?, name.clone()),
        };
        drop(view);
        self.sources.of(&domain_id).map(|_| (domain_id, name))
    }

    /// The password of a user who comes from a directory is asked for there.
    async fn prove_foreign(&self, domain_id: &str, name: &str, password: &str) -> Result<Proven, LoginError> {
        let bound = self.bind(domain_id, name, password).await?;
        let (user, is_right) = bound.ok_or(Refusal("the directory has no such user"))?;
        self.outcome(&user, is_right, "the password is wrong").await?;
        let (user, _) = enabled_user(&self.directory.view(), &user.id)?;
        Ok(Proven::new(&user.id, Method::Password))
    }

    async fn prove_password(&self, user: &Named, password: String) -> Result<Proven, LoginError> {
        if let Some((domain_id, name)) = self.foreign(user) {
            return self.prove_foreign(&domain_id, &name, &password).await;
        }
        let user = self.named_user(user);
        let phc = user.as_ref().ok().and_then(|user| user.password.as_ref()).map(|it| it.hash.clone());
        let is_right = self.hasher.verify(password, phc).await?;
        let user = user?;
        self.outcome(&user, is_right, "the password is wrong").await?;
        if self.rules.is_expired(&user, now_us()) {
            return Err(LoginError::Expired(user.id.clone()));
        }
        Ok(Proven::new(&user.id, Method::Password))
    }

    /// A passcode is good once: whoever looked over a shoulder comes too late.
    async fn prove_passcode(&self, user: &Named, passcode: &str) -> Result<Proven, LoginError> {
        let user = self.named_user(user)?;
        let is_right = {
            let view = self.directory.view();
            let mut own = view.credentials.iter().filter(|it| it.user_id == user.id && it.kind == TOTP);
            own.any(|it| {
                let secret = self.signing_keys.open_sealed(&it.sealed_blob);
                let secret = secret.and_then(|secret| String::from_utf8(secret).ok());
                secret.is_some_and(|secret| totp::is_passcode(&secret, passcode, now_us() / SECOND_US))
            })
        };
        let is_fresh = is_right && self.throttle.use_up(&user.id, passcode);
        self.outcome(&user, is_fresh, "the passcode is wrong or was used").await?;
        Ok(Proven::new(&user.id, Method::Totp))
    }

    async fn prove_credential(&self, wanted: &CredentialNamed, secret: String) -> Result<Proven, LoginError> {
        let credential = {
            let view = self.directory.view();
            named::credential(&view, wanted)
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
        let proven = Proven::new(&credential.user_id, Method::ApplicationCredential);
        Ok(Proven { credential: Some(credential), ..proven })
    }
}
