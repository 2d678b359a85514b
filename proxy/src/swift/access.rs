//! The rules of [`super::policy`]: Swift's rules for Keystone identities. A project's account belongs to
//! those who hold an operator role in that project; readers may read it; a container's lists may let
//! others (also nobody in particular) read or write its objects.

use std::sync::Arc;

use anello_api::identity::{Caller, IdentityError};
use anello_api::rest::token_header;
use anello_storage::{AccountInfo, ContainerInfo, Metadata};
use http::StatusCode;

use super::SwiftDoor;
use super::call::Call;
use super::fault::Fault;
use super::metadata::{self, PROJECT_DOMAIN};
use super::policy::Rule;
use super::reply;
use crate::acl::Acl;

/// The type of this service in the catalog, and in access rules.
const SERVICE: &str = "object-store";

/// What the domain of an account's project is called while no owner has made it known.
const UNKNOWN_DOMAIN: &str = "_unknown";

/// How a request is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    /// Whether as an owner, who also sees access lists and keys.
    pub(super) owner: bool,
}

impl SwiftDoor {
    /// Who makes a request: the holder of its token. A token that is not valid is as good as none, so that
    /// what is open to everybody stays open to those who show an old one.
    pub(super) async fn identify(&self, call: &Call) -> Result<Option<Arc<Caller>>, Fault> {
        let name = if call.headers.contains_key("x-auth-token") { "x-auth-token" } else { "x-storage-token" };
        let Some(token) = token_header(&call.headers, name) else { return Ok(None) };
        match self.identity.token(token).await {
            // What its access rules do not let pass, it is no token for.
            Ok(caller) => Ok(Some(caller).filter(|it| it.admits(SERVICE, call.method.as_str(), call.uri.path()))),
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
            return Ok(Access { owner: false });
        }
        // Whatever is not a project's account belongs to the system.
        if account.starts_with(&self.config.reseller_prefix) {
            if let Some(access) = self.by_role(call, rule, account) {
                return Ok(access);
            }
            if let (Rule::ContainerRead | Rule::ObjectRead | Rule::ObjectWrite, Some(container)) = (rule, container) {
                let info = self.store.container(account, container).await?;
                if let Some(info) = info
                    && self.by_acl(call, rule, account, &info).await?
                {
                    return Ok(Access { owner: false });
                }
            }
        }
        Err(denied(call, account))
    }

    /// What the caller's roles allow by themselves.
    fn by_role(&self, call: &Call, rule: Rule, account: &str) -> Option<Access> {
        let caller = call.caller.as_deref()?;
        let holds = |roles: &[String]| roles.iter().any(|role| holds(caller, role));
        if holds(std::slice::from_ref(&self.config.reseller_admin_role)) {
            return Some(Access { owner: true });
        }
        if rule == Rule::ResellerAdmin || !self.is_own(caller, account) {
            return None;
        }
        if holds(&self.config.operator_roles) {
            return Some(Access { owner: true });
        }
        let reads = matches!(rule, Rule::AccountRead | Rule::ContainerRead | Rule::ObjectRead);
        (reads && holds(&self.config.reader_roles)).then_some(Access { owner: false })
    }

    /// What the container's list allows.
    async fn by_acl(&self, call: &Call, rule: Rule, account: &str, info: &ContainerInfo) -> Result<bool, Fault> {
        let name = if rule == Rule::ObjectWrite { "x-container-write" } else { "x-container-read" };
        let acl = Acl::parse(metadata::value(&info.metadata, name).unwrap_or(""));
        let caller = call.caller.as_deref();
        if let Some(caller) = caller
            && acl.has_members()
            && acl.names(caller, self.names_allowed(caller, account).await?)
        {
            return Ok(true);
        }
        if rule != Rule::ObjectWrite
            && let Some(may_list) = acl.referrer(call.header("referer"))
        {
            return Ok(may_list || rule == Rule::ObjectRead);
        }
        Ok(caller.is_some_and(|caller| self.is_own(caller, account) && acl.grants_role(caller)))
    }

    /// Whether the account is that of the caller's project.
    fn is_own(&self, caller: &Caller, account: &str) -> bool {
        let project = account.strip_prefix(&self.config.reseller_prefix);
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
        let info = self.store.account(account).await?;
        Ok(info.is_some_and(|info| metadata::value(&info.metadata, PROJECT_DOMAIN).is_none_or(is_default)))
    }

    /// The domain of the account's project, to be stored with the account where it isn't known yet.
    pub(super) fn project_domain(&self, call: &Call, account: &str, info: Option<&AccountInfo>) -> Metadata {
        let caller = call.caller.as_deref().filter(|caller| self.is_own(caller, account));
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

/// 403 to those who are known, 401 to those who are not.
fn denied(call: &Call, account: &str) -> Fault {
    if call.caller.is_some() {
        return Fault::status(StatusCode::FORBIDDEN);
    }
    let account = reply::quoted(account);
    Fault::status(StatusCode::UNAUTHORIZED).with("www-authenticate", &format!("Swift realm=\"{account}\""))
}
