//! Finds what a log-in names: users, domains, projects, application credentials.

use std::sync::Arc;

use super::authority::{enabled_project, enabled_user, usable_credential};
use super::request::{CredentialNamed, Domainly, Named, ScopeWanted};
use super::{Refusal, effective_roles};
use crate::directory::View;
use crate::model::{ApplicationCredential, Scope};
use crate::token::TokenScope;

pub(super) fn credential(view: &View, named: &CredentialNamed) -> Result<Arc<ApplicationCredential>, Refusal> {
    let credential = match named {
        CredentialNamed::Id(id) => usable_credential(view, id)?,
        CredentialNamed::Name { name, user } => {
            let found = view.application_credentials.by_name(&user_id(view, user)?, name);
            Arc::clone(found.ok_or(Refusal("there is no such application credential"))?)
        }
    };
    enabled_user(view, &credential.user_id)?;
    Ok(credential)
}

pub(super) fn domain_id(view: &View, domain: &Domainly) -> Result<String, Refusal> {
    let found = match domain {
        Domainly::Id(id) => view.domains.get(id),
        Domainly::Name(name) => view.domains.by_name("", name),
    };
    found.map(|domain| domain.id.clone()).ok_or(Refusal("there is no such domain"))
}

pub(super) fn user_id(view: &View, user: &Named) -> Result<String, Refusal> {
    match user {
        Named::Id(id) => Ok(id.clone()),
        Named::Name { name, domain } => {
            let found = view.users.by_name(&domain_id(view, domain)?, name);
            found.map(|user| user.id.clone()).ok_or(Refusal("there is no such user"))
        }
    }
}

pub(super) fn scope(view: &View, user_id: &str, wanted: &ScopeWanted) -> Result<TokenScope, Refusal> {
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
        ScopeWanted::Trust(id) => {
            let trust = view.trusts.get(id).ok_or(Refusal("there is no such trust"))?;
            Ok(TokenScope::Trust { project_id: trust.project_id.clone(), trust_id: id.clone() })
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
