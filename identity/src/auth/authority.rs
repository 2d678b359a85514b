//! What a valid token stands for. Worked out from the view anew whenever something changed, so that a role
//! that is taken away, a user who is disabled, or a revocation counts at once.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use anello_api::identity::{AccessRule, Caller};
use anello_api::rest::Credentials;
use bytes::Bytes;

use super::roles::{effective_roles, expand};
use super::token_view;
use crate::directory::View;
use crate::limits::TRUST_REDELEGATIONS_MAX;
use crate::model::{ApplicationCredential, Domain, Project, Revoked, Role, Scope, Trust, User};
use crate::time::SECOND_US;
use crate::token::{Method, Payload, TokenScope};

/// Why somebody is not let in: for the log. Clients are only told that they are not, so that nothing can be
/// learned from trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) &'static str);

/// A valid token's meaning.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    pub(crate) payload: Payload,
    pub(crate) issued_at_us: u64,
    pub(crate) user: Arc<User>,
    pub(crate) user_domain: Arc<Domain>,
    pub(crate) project: Option<(Arc<Project>, Arc<Domain>)>,
    pub(crate) domain: Option<Arc<Domain>>,
    pub(crate) roles: Vec<Arc<Role>>,
    pub(crate) application_credential: Option<Arc<ApplicationCredential>>,
    pub(crate) trust: Option<Arc<Trust>>,
    pub(crate) caller: Arc<Caller>,
    /// The token with its catalog as it was last shown. An authority stands for one state of the view.
    shown: OnceLock<Bytes>,
}

impl Authority {
    /// What `payload` means now; a [`Refusal`] where it is good for nothing. The token's own end is not looked
    /// at, because it passes without a change.
    pub(crate) fn resolve(view: &View, payload: Payload, issued_at_us: u64) -> Result<Self, Refusal> {
        let trust = match &payload.scope {
            TokenScope::Trust { trust_id, .. } => Some(usable_trust(view, trust_id, &payload.user_id)?),
            _ => None,
        };
        let impersonated = trust.as_ref().filter(|trust| trust.impersonation).map(|trust| &trust.trustor_user_id);
        let (user, user_domain) = enabled_user(view, impersonated.unwrap_or(&payload.user_id))?;
        let mut project = None;
        let mut domain = None;
        if let Some(id) = payload.scope.project_id() {
            project = Some(enabled_project(view, id)?);
        }
        if let TokenScope::Domain(id) = &payload.scope {
            domain = Some(enabled_domain(view, id)?);
        }
        let (roles, application_credential) = scoped_roles(view, &payload, trust.as_deref())?;
        if payload.scope != TokenScope::Unscoped && roles.is_empty() {
            return Err(Refusal("the user has no role in the scope"));
        }
        let caller = Caller {
            user_id: user.id.clone(),
            user_name: user.name.clone(),
            user_domain_id: user.domain_id.clone(),
            project_id: project.as_ref().map(|(project, _)| project.id.clone()),
            project_name: project.as_ref().map(|(project, _)| project.name.clone()),
            project_domain_id: project.as_ref().map(|(project, _)| project.domain_id.clone()),
            domain_id: domain.as_ref().map(|domain| domain.id.clone()),
            system: payload.scope == TokenScope::System,
            roles: roles.values().map(|role| role.name.clone()).collect(),
            expires_at: payload.expires_at_us / SECOND_US,
            access_rules: application_credential.as_deref().and_then(|it| access_rules(view, it)),
        };
        let authority = Self {
            payload,
            issued_at_us,
            user,
            user_domain,
            project,
            domain,
            roles: roles.into_values().collect(),
            application_credential,
            trust,
            caller: Arc::new(caller),
            shown: OnceLock::new(),
        };
        if authority.concerns().iter().any(|revoked| authority.is_revoked(view, revoked)) {
            return Err(Refusal("the token is revoked"));
        }
        Ok(authority)
    }

    /// An authority that no token stands for.
    pub(super) fn without_token(payload: Payload, user: User, user_domain: Domain, caller: Caller) -> Self {
        Self {
            payload,
            issued_at_us: 0,
            user: Arc::new(user),
            user_domain: Arc::new(user_domain),
            project: None,
            domain: None,
            roles: Vec::new(),
            application_credential: None,
            trust: None,
            caller: Arc::new(caller),
            shown: OnceLock::new(),
        }
    }

    /// The token with its catalog, as it goes out. Written once: services validate the same token again and again.
    pub(crate) fn shown(&self, view: &View) -> Bytes {
        let write = || Bytes::from(token_view(view, self, true).to_string());
        self.shown.get_or_init(write).clone()
    }

    /// Whether the token came of less than a full log-in, so that it must not make other credentials.
    pub(crate) fn is_delegated(&self) -> bool {
        // What is made with access rules would be free of them.
        let is_restricted = |it: &Arc<ApplicationCredential>| !it.unrestricted || it.access_rule_ids.is_some();
        let restricted = self.application_credential.as_ref().is_some_and(is_restricted);
        restricted || self.trust.is_some() || self.payload.methods.contains(&Method::Ec2Credential)
    }

    /// Everything whose revocation concerns this token.
    fn concerns(&self) -> Vec<Revoked> {
        let mut concerns = vec![Revoked::User(self.user.id.clone()), Revoked::Domain(self.user.domain_id.clone())];
        concerns.extend(self.payload.audit_ids.first().cloned().map(Revoked::Token));
        if let Some(trust) = &self.trust {
            let both = [&trust.trustor_user_id, &trust.trustee_user_id];
            concerns.extend(both.map(|id| Revoked::User(id.clone())));
        }
        if let Some((project, domain)) = &self.project {
            concerns.push(Revoked::Project(project.id.clone()));
            concerns.push(Revoked::Domain(domain.id.clone()));
        }
        concerns.extend(self.domain.as_ref().map(|domain| Revoked::Domain(domain.id.clone())));
        concerns
    }

    fn is_revoked(&self, view: &View, revoked: &Revoked) -> bool {
        let revocation = view.revocations.get(&revoked.key());
        revocation.is_some_and(|revocation| self.issued_at_us / SECOND_US <= revocation.issued_before)
    }

    /// The latest second of a revocation that concerns this token, valid or not: a token issued in it would be
    /// revoked at once.
    pub(crate) fn last_revocation(&self, view: &View) -> u64 {
        let seconds = self.concerns().into_iter().filter_map(|revoked| view.revocations.get(&revoked.key()));
        seconds.map(|revocation| revocation.issued_before).max().unwrap_or(0)
    }
}

impl Credentials for Authority {
    fn has_role(&self, role: &str) -> bool {
        self.caller.has_role(role)
    }

    fn is_system(&self) -> bool {
        self.caller.system
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.caller.attribute(name)
    }
}

pub(super) fn enabled_domain(view: &View, id: &str) -> Result<Arc<Domain>, Refusal> {
    let domain = view.domains.get(id).ok_or(Refusal("there is no such domain"))?;
    if domain.enabled { Ok(Arc::clone(domain)) } else { Err(Refusal("the domain is disabled")) }
}

pub(super) fn enabled_user(view: &View, id: &str) -> Result<(Arc<User>, Arc<Domain>), Refusal> {
    let user = view.users.get(id).ok_or(Refusal("there is no such user"))?;
    let domain = enabled_domain(view, &user.domain_id)?;
    if user.enabled { Ok((Arc::clone(user), domain)) } else { Err(Refusal("the user is disabled")) }
}

pub(super) fn enabled_project(view: &View, id: &str) -> Result<(Arc<Project>, Arc<Domain>), Refusal> {
    let project = view.project(id).ok_or(Refusal("there is no such project"))?;
    let domain = enabled_domain(view, &project.domain_id)?;
    if project.enabled { Ok((project, domain)) } else { Err(Refusal("the project is disabled")) }
}

type Scoped = (BTreeMap<String, Arc<Role>>, Option<Arc<ApplicationCredential>>);

fn scoped_roles(view: &View, payload: &Payload, trust: Option<&Trust>) -> Result<Scoped, Refusal> {
    let held = |scope| effective_roles(view, &payload.user_id, &scope);
    Ok(match &payload.scope {
        TokenScope::Unscoped => (BTreeMap::new(), None),
        TokenScope::Domain(id) => (held(Scope::Domain(id.clone())), None),
        TokenScope::Project(id) => (held(Scope::Project(id.clone())), None),
        TokenScope::System => (held(Scope::System), None),
        TokenScope::Trust { .. } => (trust.map_or_else(|| Ok(BTreeMap::new()), |trust| lent_roles(view, trust))?, None),
        TokenScope::ApplicationCredential { credential_id, .. } => {
            let credential = usable_credential(view, credential_id)?;
            (credential_roles(view, &credential), Some(credential))
        }
    })
}

/// An application credential that has not ended.
pub(super) fn usable_credential(view: &View, id: &str) -> Result<Arc<ApplicationCredential>, Refusal> {
    let credential = view.application_credentials.get(id);
    let credential = credential.ok_or(Refusal("there is no such application credential"))?;
    Ok(Arc::clone(credential))
}

/// The credential's roles that its owner still holds, with what they imply.
pub(super) fn credential_roles(view: &View, credential: &ApplicationCredential) -> BTreeMap<String, Arc<Role>> {
    let held = effective_roles(view, &credential.user_id, &Scope::Project(credential.project_id.clone()));
    expand(view, credential.role_ids.iter().filter(|id| held.contains_key(*id)).cloned())
}

/// A trust that stands, with all that it was passed on from, between users who are enabled. Whether it is used up
/// or has ended is no matter of tokens that were got with it before.
pub(super) fn usable_trust(view: &View, id: &str, trustee_id: &str) -> Result<Arc<Trust>, Refusal> {
    let trust = view.trusts.get(id).ok_or(Refusal("there is no such trust"))?;
    if trust.trustee_user_id != trustee_id {
        return Err(Refusal("the trust is for somebody else"));
    }
    enabled_user(view, &trust.trustor_user_id)?;
    enabled_user(view, &trust.trustee_user_id)?;
    let mut above = trust.redelegated_trust_id.as_ref();
    for _ in 0..=TRUST_REDELEGATIONS_MAX {
        let Some(id) = above else { return Ok(Arc::clone(trust)) };
        let parent = view.trusts.get(id).ok_or(Refusal("the trust was passed on from one that is gone"))?;
        above = parent.redelegated_trust_id.as_ref();
    }
    Err(Refusal("the trust was passed on too often"))
}

/// What a trust lends, with what that implies. The trustor must still hold all of it.
pub(super) fn lent_roles(view: &View, trust: &Trust) -> Result<BTreeMap<String, Arc<Role>>, Refusal> {
    let held = effective_roles(view, &trust.trustor_user_id, &Scope::Project(trust.project_id.clone()));
    if trust.role_ids.iter().any(|id| !held.contains_key(id)) {
        return Err(Refusal("the trustor no longer holds what the trust lends"));
    }
    Ok(expand(view, trust.role_ids.iter().cloned()))
}

/// The only requests that the credential may make, where it may not make all.
pub(super) fn access_rules(view: &View, credential: &ApplicationCredential) -> Option<Vec<AccessRule>> {
    let ids = credential.access_rule_ids.as_ref()?;
    let rules = ids.iter().filter_map(|id| view.access_rules.get(id)).map(|it| AccessRule {
        service: it.service.clone(),
        method: it.method.clone(),
        path: it.path.clone(),
    });
    Some(rules.collect())
}
