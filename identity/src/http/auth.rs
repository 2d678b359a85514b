//! Tokens, and what a token is good for.

use std::sync::Arc;

use anello_api::rest::{Fault, Target, token_header};
use http::Method;
use serde_json::json;

use super::{Answer, Call, Route, domain, list, of_user, project};
use crate::auth::{Authority, LoginError, LoginRequest, catalog, projects_of, scopes_of, token_view};
use crate::model::{Revoked, Scope};

pub(super) fn routes() -> Vec<Route> {
    const TOKENS: &str = "/v3/auth/tokens";
    vec![
        Route::new(Method::POST, TOKENS, "identity:authenticate", authenticate),
        Route::new(Method::GET, TOKENS, "identity:validate_token", validate),
        Route::new(Method::DELETE, TOKENS, "identity:revoke_token", revoke),
        Route::new(Method::GET, "/v3/auth/catalog", "identity:get_auth_catalog", show_catalog),
        Route::new(Method::GET, "/v3/auth/projects", "identity:get_auth_projects", list_projects),
        Route::new(Method::GET, "/v3/auth/domains", "identity:get_auth_domains", list_domains),
        Route::new(Method::GET, "/v3/auth/system", "identity:get_auth_system", list_system),
    ]
}

async fn authenticate(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let request = LoginRequest::parse(call.json()?)?;
    let (token, authority) = call.service.login(request).await.map_err(|error| match error {
        LoginError::Refused(refusal) => {
            tracing::info!(%refusal, "a log-in was refused");
            Fault::unauthenticated()
        }
        LoginError::Forbidden(why) => Fault::forbidden(why),
        LoginError::Failed(error) => error.into(),
    })?;
    let body = token_view(&call.service.directory.view(), &authority, call.query.get("nocatalog").is_none());
    Ok(granted.created(body).with("x-subject-token", &token))
}

/// The token that the request is about; 404 after the policy has agreed that the caller may know.
fn subject(call: &Call) -> Option<(&str, Arc<Authority>)> {
    let token = token_header(&call.headers, "x-subject-token")?;
    let authority = call.service.tokens.validate(&call.service.directory, token, call.query.switch("allow_expired"));
    Some((token, authority.ok()?))
}

fn target(subject: Option<&(&str, Arc<Authority>)>) -> Target {
    subject.map_or_else(Target::none, |(_, authority)| of_user(&authority.user.id))
}

fn unknown_token() -> Fault {
    Fault::of(anello_base::Class::Missing, "Could not recognize the subject token.")
}

async fn validate(call: Call) -> Answer {
    let subject = subject(&call);
    let granted = call.authorize(&target(subject.as_ref()))?;
    let (token, authority) = subject.ok_or_else(unknown_token)?;
    let body = token_view(&call.service.directory.view(), &authority, call.query.get("nocatalog").is_none());
    Ok(granted.ok(body).with("x-subject-token", token))
}

async fn revoke(call: Call) -> Answer {
    let subject = subject(&call);
    let granted = call.authorize(&target(subject.as_ref()))?;
    let (_, authority) = subject.ok_or_else(unknown_token)?;
    if let Some(audit_id) = authority.payload.audit_ids.first() {
        call.service.revoke(Revoked::Token(audit_id.clone())).await?;
    }
    Ok(granted.no_content())
}

async fn show_catalog(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let caller = call.caller()?;
    if caller.payload.scope == crate::token::TokenScope::Unscoped {
        return Err(Fault::forbidden("An unscoped token has no catalog."));
    }
    let catalog = catalog(&call.service.directory.view(), caller);
    let links = json!({"self": call.links.to("/v3/auth/catalog"), "next": null, "previous": null});
    Ok(granted.ok(json!({"catalog": catalog, "links": links})))
}

async fn list_projects(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let caller = call.caller()?;
    let view = call.service.directory.view();
    let mut projects = projects_of(&view, &caller.user.id);
    if let Some(credential) = &caller.application_credential {
        projects.retain(|project| project.id == credential.project_id);
    }
    let rows = projects.iter().map(|project| (project.id.as_str(), project));
    Ok(granted.ok(list(&call, "projects", "/v3/auth/projects", rows, |it| project::view(&call, it))?))
}

async fn list_domains(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let caller = call.caller()?;
    let view = call.service.directory.view();
    let scopes =
        if caller.application_credential.is_some() { Default::default() } else { scopes_of(&view, &caller.user.id) };
    let domains = scopes.iter().filter_map(|scope| match scope {
        Scope::Domain(id) => view.domains.get(id).filter(|domain| domain.enabled),
        _ => None,
    });
    let rows = domains.map(|domain| (domain.id.as_str(), domain));
    Ok(granted.ok(list(&call, "domains", "/v3/auth/domains", rows, |it| domain::view(&call, it))?))
}

async fn list_system(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let caller = call.caller()?;
    let has_role = caller.application_credential.is_none()
        && scopes_of(&call.service.directory.view(), &caller.user.id).contains(&Scope::System);
    let system = if has_role { json!([{"all": true}]) } else { json!([]) };
    Ok(granted.ok(json!({"system": system, "links": {"self": call.links.to("/v3/auth/system")}})))
}
