//! The rules of [`super::policy`]: Swift's rules for Keystone identities. A project's account belongs to
//! those who hold an operator role in that project; readers may read it; a container's lists may let
//! others (also nobody in particular) read or write its objects.

use std::sync::Arc;

use anello_api::identity::{Caller, IdentityError};
use anello_api::rest::token_header;
use anello_storage::{AccountInfo, ContainerInfo, Metadata};
use http::{HeaderMap, StatusCode};

use super::SwiftDoor;
use super::call::Call;
use super::fault::Fault;
use super::layer::Party;
use super::metadata::{self, PROJECT_DOMAIN};
use super::policy::Rule;
use super::reply;
use super::target::Target;
use super::tempauth::{self, AccountAcl, Asked, Grant, Member};
use crate::acl::Acl;

/// What the domain of an account's project is called while no owner has made it known.
const UNKNOWN_DOMAIN: &str = "_unknown";

/// How a request is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    /// Whether as an owner, who also sees access lists and keys.
    pub(super) owner: bool,
    /// Whether as the owner of all accounts, who also sets quotas.
    pub(super) reseller: bool,
}

impl Access {
    /// As to anybody.
    pub(super) const GUEST: Self = Self { owner: false, reseller: false };
    const OWNER: Self = Self { owner: true, reseller: false };
    const RESELLER: Self = Self { owner: true, reseller: true };
}

impl From<Grant> for Access {
    fn from(grant: Grant) -> Self {
        match grant {
            Grant::Guest => Self::GUEST,
            Grant::Owner => Self::OWNER,
            Grant::Reseller => Self::RESELLER,
        }
    }
}

impl SwiftDoor {
    /// Who makes a request: the holder of its token. A token that is not valid is as good as none, so that
    /// what is open to everybody stays open to those who show an old one; one of tempauth's is refused.
    pub(super) async fn identify(&self, headers: &HeaderMap) -> Result<Option<Party>, Fault> {
        let name = if headers.contains_key("x-auth-token") { "x-auth-token" } else { "x-storage-token" };
        let Some(token) = token_header(headers, name) else { return Ok(None) };
        let service = token_header(headers, "x-service-token");
        if let Some(tempauth) = self.tempauth.as_ref().filter(|tempauth| tempauth.is_ours(token)) {
            let member = tempauth.member(token).ok_or_else(|| unauthorized("unknown"))?;
            let Some(service) = service.and_then(|token| tempauth.member(token)) else {
                return Ok(Some(Party::Member(member)));
            };
            let groups = member.groups.iter().chain(&service.groups).cloned().collect();
            return Ok(Some(Party::Member(Arc::new(Member { name: member.name.clone(), groups }))));
        }
        let Some(caller) = self.caller(token).await? else { return Ok(None) };
        let service = match service {
            Some(token) => self.caller(token).await?,
            None => None,
        };
        Ok(Some(Party::Keystone { caller, service }))
    }

    async fn caller(&self, token: &str) -> Result<Option<Arc<Caller>>, Fault> {
        match self.identity.token(token).await {
            Ok(caller) => Ok(Some(caller)),
            Err(IdentityError::NotValid) => Ok(None),
            Err(IdentityError::Unavailable(reason)) => {
                // Logged where identity is asked, and once.
                tracing::debug!(%reason, "identity can't be asked about a token");
                Err(Fault::status(StatusCode::SERVICE_UNAVAILABLE))
            }
        }
    }

    /// Holds the request to `rule` for an account, or a container (or the objects in it).
    pub(super) async fn authorize(
        &self,
        call: &Call,
        rule: Rule,
        account: &str,
        container: Option<&str>,
    ) -> Result<Access, Fault> {
        if rule == Rule::Open {
            return Ok(Access::GUEST);
        }
        // Whatever is not a project's account belongs to the system.
        let Some(prefix) = self.prefix_of(account) else { return Err(denied(call, account)) };
        if let Some(pass) = &call.origin.pass {
            // It stands in the place of the sender's own rights.
            let is_let = pass.admits(rule, account, container);
            return if is_let { Ok(Access::GUEST) } else { Err(unauthorized(account)) };
        }
        if let Some(access) = self.by_role(call, rule, account, prefix) {
            return Ok(access);
        }
        if let (Rule::ContainerRead | Rule::ObjectRead | Rule::ObjectWrite, Some(container)) = (rule, container) {
            let info = self.store.container_settings(account, container).await?;
            if let Some(info) = info
                && self.by_acl(call, rule, account, &info).await?
            {
                return Ok(Access::GUEST);
            }
        }
        if let Some(Party::Member(member)) = &call.origin.party {
            let acl = self.account_acl(account).await?;
            let asked = asked(call, rule, account, container);
            if let Some(grant) = tempauth::by_account(member, &acl, asked) {
                return Ok(grant.into());
            }
        }
        Err(denied(call, account))
    }

    /// What an account's name begins with, where it is one that clients reach.
    pub(super) fn prefix_of(&self, account: &str) -> Option<&str> {
        let own = std::iter::once(&self.config.reseller_prefix);
        own.chain(self.config.service_prefixes.keys()).map(String::as_str).find(|prefix| account.starts_with(prefix))
    }

    /// What the sender's roles or groups allow by themselves.
    fn by_role(&self, call: &Call, rule: Rule, account: &str, prefix: &str) -> Option<Access> {
        let (caller, service) = match call.origin.party.as_ref()? {
            Party::Keystone { caller, service } => (caller.as_ref(), service.as_deref()),
            Party::Member(member) => {
                let asked = asked(call, rule, account, None);
                return self.tempauth.as_ref()?.by_group(member, asked).map(Access::from);
            }
        };
        let holds = |roles: &[String]| roles.iter().any(|role| holds(caller, role));
        if holds(std::slice::from_ref(&self.config.reseller_admin_role)) {
            return Some(Access::RESELLER);
        }
        let reads = matches!(rule, Rule::AccountRead | Rule::ContainerRead | Rule::ObjectRead | Rule::VersionRead);
        if reads && self.config.reseller_reader_role.as_ref().is_some_and(|role| holds(std::slice::from_ref(role))) {
            return Some(Access::GUEST);
        }
        if rule == Rule::ResellerAdmin || !self.is_own(caller, account) {
            return None;
        }
        let service_prefix = self.config.service_prefixes.get(prefix);
        let operators = match service_prefix {
            Some(service) if !service.operator_roles.is_empty() => &service.operator_roles,
            _ => &self.config.operator_roles,
        };
        let needed = service_prefix.map_or(&[][..], |service| &service.service_roles);
        let is_vouched = needed.is_empty() || needed.iter().any(|role| service.is_some_and(|it| self::holds(it, role)));
        if is_vouched && holds(operators) {
            return Some(Access::OWNER);
        }
        (is_vouched && reads && holds(&self.config.reader_roles)).then_some(Access::GUEST)
    }

    /// What the container's list allows.
    async fn by_acl(&self, call: &Call, rule: Rule, account: &str, info: &ContainerInfo) -> Result<bool, Fault> {
        let name = if rule == Rule::ObjectWrite { "x-container-write" } else { "x-container-read" };
        let acl = Acl::parse(metadata::value(&info.metadata, name).unwrap_or(""));
        let caller = call.caller();
        if let Some(caller) = caller
            && acl.has_members()
            && acl.names(caller, self.names_allowed(caller, account).await?)
        {
            return Ok(true);
        }
        if rule != Rule::ObjectWrite
            && let Some(may_list) = acl.referrer(call.header("referer"))
            && (may_list || rule == Rule::ObjectRead)
        {
            return Ok(true);
        }
        if let Some(Party::Member(member)) = &call.origin.party {
            return Ok(tempauth::by_list(member, &acl));
        }
        Ok(caller.is_some_and(|caller| self.is_own(caller, account) && acl.grants_role(caller)))
    }

    /// The list of an account that tempauth's users may be named in.
    async fn account_acl(&self, account: &str) -> Result<AccountAcl, Fault> {
        let info = self.store.account_settings(account).await?;
        let text = info.as_ref().and_then(|info| metadata::value(&info.metadata, metadata::ACCOUNT_ACL_ITEM));
        // It was checked when it was set.
        Ok(AccountAcl::parse(text.unwrap_or("")).unwrap_or_default())
    }

    /// Whether the account is that of the caller's project.
    fn is_own(&self, caller: &Caller, account: &str) -> bool {
        let project = self.prefix_of(account).and_then(|prefix| account.strip_prefix(prefix));
        caller.project_id.as_deref().is_some_and(|id| !id.is_empty() && project == Some(id))
    }

    /// Names are unique within a domain only, so they count where caller, project and account are all of
    /// the default domain.
    async fn names_allowed(&self, caller: &Caller, account: &str) -> Result<bool, Fault> {
        let is_default = |domain: &str| domain.is_empty() || domain == self.config.default_domain_id;
        if !is_default(&caller.user_domain_id) || !is_default(caller.project_domain_id.as_deref().unwrap_or("")) {
            return Ok(false);
        }
        if self.is_own(caller, account) {
            return Ok(true);
        }
        let info = self.store.account_settings(account).await?;
        Ok(info.is_some_and(|info| metadata::value(&info.metadata, PROJECT_DOMAIN).is_none_or(is_default)))
    }

    /// The domain of the account's project, to be stored with the account where it isn't known yet.
    pub(super) fn project_domain(&self, call: &Call, account: &str, info: Option<&AccountInfo>) -> Metadata {
        let caller = call.caller().filter(|caller| self.is_own(caller, account));
        let known = info.and_then(|info| metadata::value(&info.metadata, PROJECT_DOMAIN));
        let domain = caller.and_then(|caller| caller.project_domain_id.clone());
        let change = match (known, domain) {
            (None | Some(UNKNOWN_DOMAIN), Some(domain)) => Some(domain),
            (None, None) if info.is_none() => Some(UNKNOWN_DOMAIN.to_owned()),
            _ => None,
        };
        change.into_iter().map(|domain| (PROJECT_DOMAIN.to_owned(), domain)).collect()
    }
}

/// Roles are compared without case, as Swift does it.
fn holds(caller: &Caller, role: &str) -> bool {
    caller.roles.iter().any(|held| held.eq_ignore_ascii_case(role))
}

/// What a request wants of an account, in tempauth's terms.
fn asked<'a>(call: &Call, rule: Rule, account: &'a str, container: Option<&str>) -> Asked<'a> {
    let is_management = matches!(call.target, Target::Account(_)) && ["PUT", "DELETE"].contains(&call.method.as_str());
    Asked { rule, account, is_in_container: container.is_some(), is_management }
}

/// 403 to those who are known, 401 to those who are not.
fn denied(call: &Call, account: &str) -> Fault {
    if call.origin.party.is_some() { Fault::status(StatusCode::FORBIDDEN) } else { unauthorized(account) }
}

fn unauthorized(account: &str) -> Fault {
    let account = reply::quoted(account);
    Fault::status(StatusCode::UNAUTHORIZED).with("www-authenticate", &format!("Swift realm=\"{account}\""))
}
