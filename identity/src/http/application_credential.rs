//! Application credentials: passwords for programs, that a user makes for himself.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, access_rule, list, of_user};
use crate::auth::{Authority, now_us};
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX, NAME_CHARS_MAX, PASSWORD_CHARS_MAX};
use crate::model::{ApplicationCredential, User};
use crate::time::{iso, parse};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/users/{user_id}/application_credentials";
    const ONE: &str = "/v3/users/{user_id}/application_credentials/{application_credential_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_application_credentials", index),
        Route::new(Method::POST, ALL, "identity:create_application_credential", create),
        Route::new(Method::GET, ONE, "identity:get_application_credential", show),
        Route::new(Method::DELETE, ONE, "identity:delete_application_credential", delete),
    ]
}

/// Without the secret, which is shown once, when it is made.
fn view(call: &Call, credential: &ApplicationCredential) -> Value {
    let directory = call.service.directory.view();
    let roles = credential.role_ids.iter().filter_map(|id| directory.roles.get(id));
    let roles: Vec<_> = roles.map(|it| json!({"id": it.id, "name": it.name, "domain_id": it.domain_id})).collect();
    let path = format!("/v3/users/{}/application_credentials/{}", credential.user_id, credential.id);
    let mut view = json!({
        "id": credential.id,
        "name": credential.name,
        "description": credential.description,
        "user_id": credential.user_id,
        "project_id": credential.project_id,
        "system": null,
        "roles": roles,
        "expires_at": credential.expires_at_us.map(iso),
        "unrestricted": credential.unrestricted,
        "links": {"self": call.links.to(&path)},
    });
    if let Some(ids) = &credential.access_rule_ids {
        let rules = ids.iter().filter_map(|id| directory.access_rules.get(id));
        view["access_rules"] = rules.map(|it| access_rule::brief(it)).collect();
    }
    view
}

async fn index(call: Call) -> Answer {
    let user_id = call.param("user_id");
    let granted = call.authorize(&of_user(user_id))?;
    call.service.directory.get::<User>(user_id).ok_or_else(|| Fault::missing("user", user_id))?;
    let own: Vec<Arc<ApplicationCredential>> = {
        let directory = call.service.directory.view();
        let own = directory.application_credentials.iter().filter(|it| it.user_id == user_id);
        own.filter(|it| call.query.admits("name", &it.name)).cloned().collect()
    };
    let path = format!("/v3/users/{user_id}/application_credentials");
    let rows = own.iter().map(|it| (it.id.as_str(), it));
    Ok(granted.ok(list(&call, "application_credentials", &path, rows, |it| view(&call, it))?))
}

fn authorized(call: &Call) -> Result<(Granted, Arc<ApplicationCredential>), Fault> {
    let (user_id, id) = (call.param("user_id"), call.param("application_credential_id"));
    let granted = call.authorize(&of_user(user_id))?;
    let found = call.service.directory.get::<ApplicationCredential>(id).filter(|it| it.user_id == user_id);
    Ok((granted, found.ok_or_else(|| Fault::missing("application credential", id))?))
}

async fn show(call: Call) -> Answer {
    let (granted, credential) = authorized(&call)?;
    Ok(granted.ok(json!({"application_credential": view(&call, &credential)})))
}

fn refuse_delegated(caller: &Authority) -> Result<(), Fault> {
    if caller.is_delegated() {
        let message = "A restricted application credential can't manage application credentials.";
        return Err(Fault::forbidden(message));
    }
    Ok(())
}

/// The roles that the credential is to bear: all of the token's, or those of them that are named.
fn role_ids(caller: &Authority, wanted: Option<Vec<Value>>) -> Result<Vec<String>, Fault> {
    let wanted = wanted.unwrap_or_default();
    if wanted.is_empty() {
        return Ok(caller.roles.iter().map(|role| role.id.clone()).collect());
    }
    let mut ids = Vec::new();
    for role in wanted {
        let (id, name) = (role.get("id").and_then(Value::as_str), role.get("name").and_then(Value::as_str));
        let held = caller.roles.iter().find(|held| match (id, name) {
            (Some(id), _) => held.id == id,
            (None, name) => Some(held.name.as_str()) == name,
        });
        let held = held.ok_or_else(|| {
            Fault::invalid(format!("The token does not have the role {}.", id.or(name).unwrap_or("without a name")))
        })?;
        ids.push(held.id.clone());
    }
    Ok(ids)
}

/// The only requests that the credential may make. A list that names none is none: clients send it unasked.
async fn rules(call: &Call, user_id: &str, wanted: Option<Vec<Value>>) -> Result<Option<Vec<String>>, Fault> {
    match wanted.filter(|rules| !rules.is_empty()) {
        Some(rules) => Ok(Some(access_rule::named(call, user_id, rules).await?)),
        None => Ok(None),
    }
}

async fn create(call: Call) -> Answer {
    let user_id = call.param("user_id");
    let granted = call.authorize(&of_user(user_id))?;
    let caller = call.caller()?;
    refuse_delegated(caller)?;
    let Some((project, _)) = &caller.project else {
        return Err(Fault::invalid("Application credentials are made with a token that is scoped to a project."));
    };
    let mut fields = Fields::of(call.json()?, "application_credential")?;
    if fields.text("project_id", ID_CHARS_MAX)?.is_some_and(|id| id != project.id) {
        return Err(fields.wrong("project_id", "is not the token's project"));
    }
    let expires_at = fields.text("expires_at", NAME_CHARS_MAX)?;
    let expires_at_us = expires_at
        .map(|text| {
            parse(&text).filter(|end| *end > now_us()).ok_or_else(|| fields.wrong("expires_at", "is no time to come"))
        })
        .transpose()?;
    let secret = fields.text("secret", PASSWORD_CHARS_MAX)?.filter(|secret| !secret.is_empty());
    let secret = secret.unwrap_or_else(|| URL_SAFE_NO_PAD.encode(rand::random::<[u8; 64]>()));
    let credential = ApplicationCredential {
        id: anello_base::id::hex_id(),
        name: fields.required("name", NAME_CHARS_MAX)?,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?,
        user_id: user_id.to_owned(),
        project_id: project.id.clone(),
        role_ids: role_ids(caller, fields.list("roles")?)?,
        expires_at_us,
        unrestricted: fields.flag("unrestricted")?.unwrap_or(false),
        access_rule_ids: rules(&call, user_id, fields.list("access_rules")?).await?,
        secret_hash: call.service.hasher.hash(secret.clone()).await?,
    };
    let credential = call.service.directory.create(credential).await?;
    let mut shown = view(&call, &credential);
    shown["secret"] = secret.into();
    Ok(granted.created(json!({ "application_credential": shown })))
}

/// Its tokens end with it.
async fn delete(call: Call) -> Answer {
    let (granted, credential) = authorized(&call)?;
    refuse_delegated(call.caller()?)?;
    call.service.directory.delete::<ApplicationCredential>(&credential.id).await?;
    Ok(granted.no_content())
}
