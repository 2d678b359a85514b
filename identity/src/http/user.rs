//! Users.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted, Target};
use http::Method;
use serde_json::{Value, json};

use super::{
    Answer, Call, Route, authorize_list, domain_for_new, extra, group, in_domain, list, merge, project, with_extra,
};
use crate::auth::{now_us, projects_of};
use crate::error::Error;
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX, NAME_CHARS_MAX, PASSWORD_CHARS_MAX};
use crate::model::{Domain, Extra, Password, Revoked, User};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/users";
    const ONE: &str = "/v3/users/{user_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_users", index),
        Route::new(Method::POST, ALL, "identity:create_user", create),
        Route::new(Method::GET, ONE, "identity:get_user", show),
        Route::new(Method::PATCH, ONE, "identity:update_user", update),
        Route::new(Method::DELETE, ONE, "identity:delete_user", delete),
        Route::new(Method::POST, "/v3/users/{user_id}/password", "identity:change_password", change_password),
        Route::new(Method::GET, "/v3/users/{user_id}/projects", "identity:list_user_projects", list_projects),
        Route::new(Method::GET, "/v3/users/{user_id}/groups", "identity:list_groups_for_user", list_groups),
    ]
}

/// Never with the password.
pub(super) fn view(call: &Call, user: &User) -> Value {
    let mut view = json!({
        "id": user.id,
        "name": user.name,
        "domain_id": user.domain_id,
        "enabled": user.enabled,
        "password_expires_at": null,
        "options": user.options,
        "links": {"self": call.links.to(&format!("/v3/users/{}", user.id))},
    });
    if let Some(description) = &user.description {
        view["description"] = description.as_str().into();
    }
    if let Some(id) = &user.default_project_id {
        view["default_project_id"] = id.as_str().into();
    }
    with_extra(view, &user.extra)
}

/// A user for the policy: his id, and his domain's.
pub(super) fn target(user: Option<&User>) -> Target {
    user.map_or_else(Target::none, |it| in_domain(Some(&it.domain_id)).with("user_id", it.id.clone()))
}

fn authorized(call: &Call) -> Result<(Granted, Arc<User>), Fault> {
    let id = call.param("user_id");
    let user = call.service.directory.get::<User>(id);
    let granted = call.authorize(&target(user.as_deref()))?;
    Ok((granted, user.ok_or_else(|| Fault::missing("user", id))?))
}

async fn index(call: Call) -> Answer {
    let (granted, own) = authorize_list(&call)?;
    let query = &call.query;
    for unserved in ["idp_id", "protocol_id", "unique_id", "password_expires_at"] {
        if query.get(unserved).is_some() {
            return Err(Fault::unsupported(format!("The filter {unserved} is not offered.")));
        }
    }
    let wanted = |it: &User| {
        own.as_ref().is_none_or(|own| *own == it.domain_id)
            && query.admits("name", &it.name)
            && query.admits("domain_id", &it.domain_id)
            && query.admits_bool("enabled", it.enabled)
    };
    let directory = call.service.directory.view();
    let rows = directory.users.rows().filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "users", "/v3/users", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let (granted, user) = authorized(&call)?;
    Ok(granted.ok(json!({"user": view(&call, &user)})))
}

/// A password from a request, hashed.
async fn password(call: &Call, text: Option<String>) -> Result<Option<Password>, Fault> {
    let Some(text) = text else { return Ok(None) };
    if text.is_empty() {
        return Err(Fault::invalid("A password must not be empty."));
    }
    let hash = call.service.hasher.hash(text).await?;
    Ok(Some(Password { hash, set_at_us: now_us() }))
}

/// Options that would change how a user logs in, and are not offered, are refused.
fn options(fields: &mut Fields) -> Result<Option<Extra>, Fault> {
    let options = fields.object("options")?;
    for name in ["multi_factor_auth_enabled", "multi_factor_auth_rules"] {
        let value = options.as_ref().and_then(|it| it.get(name));
        if value.is_some_and(|it| !matches!(it, Value::Null | Value::Bool(false)) && *it != json!([])) {
            return Err(Fault::unsupported(format!("The option {name} is not offered.")));
        }
    }
    Ok(options)
}

async fn create(call: Call) -> Answer {
    let mut fields = Fields::of(call.json()?, "user")?;
    let domain_id = domain_for_new(&call, &mut fields)?;
    let granted = call.authorize(&in_domain(Some(&domain_id)))?;
    call.service.directory.get::<Domain>(&domain_id).ok_or_else(|| Fault::missing("domain", &domain_id))?;
    let name = fields.required("name", NAME_CHARS_MAX)?;
    let text = fields.text("password", PASSWORD_CHARS_MAX)?;
    let user = User {
        id: anello_base::id::hex_id(),
        name,
        domain_id,
        default_project_id: fields.text("default_project_id", ID_CHARS_MAX)?,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?,
        enabled: fields.flag("enabled")?.unwrap_or(true),
        options: options(&mut fields)?.unwrap_or_default(),
        extra: extra(fields),
        password: password(&call, text).await?,
    };
    let user = call.service.directory.create(user).await?;
    Ok(granted.created(json!({"user": view(&call, &user)})))
}

async fn update(call: Call) -> Answer {
    let (granted, user) = authorized(&call)?;
    let mut fields = Fields::of(call.json()?, "user")?;
    if fields.text("domain_id", ID_CHARS_MAX)?.is_some_and(|id| id != user.domain_id) {
        return Err(Fault::forbidden("The domain_id of a user can't be changed."));
    }
    let name = fields.replaced("name", NAME_CHARS_MAX)?;
    let enabled = fields.flag("enabled")?;
    let sets_project = fields.has("default_project_id");
    let project_id = fields.text("default_project_id", ID_CHARS_MAX)?;
    let sets_description = fields.has("description");
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    let text = fields.text("password", PASSWORD_CHARS_MAX)?;
    let options = options(&mut fields)?;
    let extra = extra(fields);
    let password = password(&call, text).await?;
    let change = |it: &mut User| {
        it.name = name.clone().unwrap_or_else(|| it.name.clone());
        it.enabled = enabled.unwrap_or(it.enabled);
        if sets_project {
            it.default_project_id.clone_from(&project_id);
        }
        if sets_description {
            it.description.clone_from(&description);
        }
        it.password = password.clone().or_else(|| it.password.clone());
        options.iter().for_each(|options| merge(&mut it.options, options));
        it.extra.extend(extra.clone());
        Ok(())
    };
    let user = call.service.directory.update(&user.id, change).await?;
    if password.is_some() || enabled == Some(false) {
        call.service.revoke(Revoked::User(user.id.clone())).await?;
    }
    Ok(granted.ok(json!({"user": view(&call, &user)})))
}

async fn delete(call: Call) -> Answer {
    let (granted, user) = authorized(&call)?;
    call.service.forget::<User>(&user.id).await?;
    Ok(granted.no_content())
}

/// A user's own change: the old password is the proof. Ends all of his tokens.
async fn change_password(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "user")?;
    let original = fields.required("original_password", PASSWORD_CHARS_MAX)?;
    let new = fields.required("password", PASSWORD_CHARS_MAX)?;
    let user = call.service.directory.get::<User>(call.param("user_id")).filter(|user| user.enabled);
    let phc = user.as_ref().and_then(|user| user.password.as_ref()).map(|password| password.hash.clone());
    let is_right = call.service.hasher.verify(original, phc.clone()).await?;
    let user = user.filter(|_| is_right).ok_or_else(Fault::unauthenticated)?;
    if user.options.get("lock_password") == Some(&Value::Bool(true)) {
        return Err(Fault::forbidden("The password of this user can't be changed by the user."));
    }
    let password = password(&call, Some(new)).await?;
    let change = |it: &mut User| {
        // Another change meanwhile: the old password that was shown is no longer the one that counts.
        if it.password.as_ref().map(|password| &password.hash) != phc.as_ref() {
            return Err(Error::Changed);
        }
        it.password.clone_from(&password);
        Ok(())
    };
    call.service.directory.update(&user.id, change).await?;
    call.service.revoke(Revoked::User(user.id.clone())).await?;
    Ok(granted.no_content())
}

async fn list_projects(call: Call) -> Answer {
    let (granted, user) = authorized(&call)?;
    let directory = call.service.directory.view();
    let projects = projects_of(&directory, &user.id);
    let wanted = projects.iter().filter(|it| call.query.admits("name", &it.name));
    let rows = wanted.map(|it| (it.id.as_str(), it));
    let path = format!("/v3/users/{}/projects", user.id);
    Ok(granted.ok(list(&call, "projects", &path, rows, |it| project::view(&call, it))?))
}

async fn list_groups(call: Call) -> Answer {
    let (granted, user) = authorized(&call)?;
    let directory = call.service.directory.view();
    let prefix = format!("{}|", user.id);
    let groups = directory.memberships.with_prefix(&prefix).filter_map(|it| directory.groups.get(&it.group_id));
    let rows = groups.filter(|it| call.query.admits("name", &it.name)).map(|it| (it.id.as_str(), it));
    let path = format!("/v3/users/{}/groups", user.id);
    Ok(granted.ok(list(&call, "groups", &path, rows, |it| group::view(&call, it))?))
}
