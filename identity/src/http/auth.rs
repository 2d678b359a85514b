//! Tokens, and what a token is good for.

use std::sync::Arc;

use anello_api::rest::{Fault, Granted, Target, token_header};
use http::{HeaderMap, Method, StatusCode};
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
    let mut request = LoginRequest::parse(call.json()?)?;
    let receipt = call.headers.get("openstack-auth-receipt").and_then(|it| it.to_str().ok());
    (request.receipt, request.peer) = (receipt.map(str::to_owned), call.peer);
    let (token, authority) = match call.service.login(request).await {
        Ok(issued) => issued,
        Err(LoginError::Incomplete(incomplete)) => {
            let reply = granted.status(StatusCode::UNAUTHORIZED, Some(incomplete.body));
            return Ok(reply.with("openstack-auth-receipt", &incomplete.receipt));
        }
        Err(error) => return Err(refusal(error)),
    };
    let body = token_view(&call.service.directory.view(), &authority, call.query.get("nocatalog").is_none());
    Ok(granted.created(body).with("x-subject-token", &token))
}

fn refusal(error: LoginError) -> Fault {
    match error {
        LoginError::Refused(refusal) => {
            tracing::info!(%refusal, "a log-in was refused");
            Fault::unauthenticated()
        }
        LoginError::UnknownToken => unknown_token(),
        LoginError::Expired(id) => {
            let message = format!("The password is expired and needs to be changed for user: {id}.");
            Fault::of(anello_base::Class::Unauthenticated, message)
        }
        LoginError::Forbidden(why) => Fault::forbidden(why),
        LoginError::TooMany => too_many(),
        LoginError::Failed(error) => error.into(),
        LoginError::Incomplete(_) => Fault::unauthenticated(),
    }
}

/// 429 for whoever has failed too often of late.
pub(super) fn too_many() -> Fault {
    let mut fault = Fault::new(StatusCode::TOO_MANY_REQUESTS, "Too many failed log-ins; try again in a minute.");
    fault.headers.push((http::header::RETRY_AFTER, http::HeaderValue::from_static("60")));
    fault
}

/// The token that the request is about, once the policy agrees. That one is not valid is told to everybody, as
/// upstream: nobody guesses a token.
fn subject(call: &Call) -> Result<(Granted, &str, Arc<Authority>), Fault> {
    let token = token_header(&call.headers, "x-subject-token").ok_or_else(unknown_token)?;
    let authority = call.service.tokens.validate(&call.service.directory, token, call.query.switch("allow_expired"));
    let authority = authority.map_err(|_| unknown_token())?;
    Ok((call.authorize(&of_user(&authority.user.id))?, token, authority))
}

fn unknown_token() -> Fault {
    Fault::of(anello_base::Class::Missing, "Could not recognize the token.")
}

/// Whether a service says that it holds callers to their access rules. To any other a token with rules is none, as in
/// Keystone: it would let it do everything.
fn holds_access_rules(headers: &HeaderMap) -> bool {
    let version = headers.get("openstack-identity-access-rules").and_then(|it| it.to_str().ok()?.trim().parse().ok());
    version.is_some_and(|version: f32| version >= 1.0)
}

async fn validate(call: Call) -> Answer {
    let (granted, token, authority) = subject(&call)?;
    if authority.caller.access_rules.is_some() && !holds_access_rules(&call.headers) {
        return Err(unknown_token());
    }
    let view = call.service.directory.view();
    let reply = match call.query.get("nocatalog") {
        None => granted.written(authority.shown(&view)),
        Some(_) => granted.ok(token_view(&view, &authority, false)),
    };
    Ok(reply.with("x-subject-token", token))
}

async fn revoke(call: Call) -> Answer {
    let (granted, _, authority) = subject(&call)?;
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
