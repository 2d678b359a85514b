//! Users.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted, Target};
use http::Method;
use serde_json::{Value, json};

use super::password::hashed;
use super::{
    Answer, Call, Route, authorize_list, domain_for_new, extra, group, in_domain, list, merge, project, with_extra,
};
use crate::auth::{now_us, projects_of};
use crate::compliance::{expires_at_us, today};
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX, NAME_CHARS_MAX, PASSWORD_CHARS_MAX};
use crate::model::{Domain, Extra, Revoked, User};
use crate::time::{iso, parse};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/users";
    const ONE: &str = "/v3/users/{user_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_users", index),
        Route::new(Method::POST, ALL, "identity:create_user", create),
        Route::new(Method::GET, ONE, "identity:get_user", show),
        Route::new(Method::PATCH, ONE, "identity:update_user", update),
        Route::new(Method::DELETE, ONE, "identity:delete_user", delete),
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
        "password_expires_at": expires_at_us(user).map(iso),
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

/// The project that a log-in without a scope is for. One that acts as a domain is refused, as upstream.
fn default_project(call: &Call, fields: &mut Fields) -> Result<Option<String>, Fault> {
    let id = fields.text("default_project_id", ID_CHARS_MAX)?;
    match id.as_ref().is_some_and(|id| call.service.directory.get::<Domain>(id).is_some()) {
        true => Err(fields.wrong("default_project_id", "is the id of a domain")),
        false => Ok(id),
    }
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
    for unserved in ["idp_id", "protocol_id", "unique_id"] {
        if query.get(unserved).is_some() {
            return Err(Fault::unsupported(format!("The filter {unserved} is not offered.")));
        }
    }
    let ends = query.get("password_expires_at").map(ends).transpose()?;
    let wanted = |it: &User| {
        own.as_ref().is_none_or(|own| *own == it.domain_id)
            && query.admits("name", &it.name)
            && query.admits("domain_id", &it.domain_id)
            && query.admits_bool("enabled", it.enabled)
            && ends.as_ref().is_none_or(|ends| ends(expires_at_us(it)))
    };
    let directory = call.service.directory.view();
    let rows = super::in_domains::<User>(&call, &directory).filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "users", "/v3/users", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let (granted, user) = authorized(&call)?;
    Ok(granted.ok(json!({"user": view(&call, &user)})))
}

/// Options of a user that are known here; the others are kept as they come.
const FLAGS: &[&str] = &[
    "ignore_change_password_upon_first_use",
    "ignore_password_expiry",
    "ignore_lockout_failure_attempts",
    "ignore_user_inactivity",
    "lock_password",
    "multi_factor_auth_enabled",
];

/// Options from a request: switches are true, false, or null to take them away; rules are lists of lists of words.
fn options(fields: &mut Fields) -> Result<Option<Extra>, Fault> {
    let Some(options) = fields.object("options")? else { return Ok(None) };
    for (name, value) in &options {
        if FLAGS.contains(&name.as_str()) && !matches!(value, Value::Null | Value::Bool(_)) {
            return Err(Fault::invalid(format!("The option {name} is true, false or null.")));
        }
    }
    let is_word = |it: &Value| it.as_str().is_some_and(|word| !word.is_empty());
    let is_rule = |it: &Value| it.as_array().is_some_and(|words| !words.is_empty() && words.iter().all(is_word));
    let rules = options.get("multi_factor_auth_rules").filter(|rules| !rules.is_null());
    if rules.is_some_and(|rules| !rules.as_array().is_some_and(|rules| rules.iter().all(is_rule))) {
        return Err(Fault::invalid("multi_factor_auth_rules is a list of lists of methods."));
    }
    Ok(Some(options))
}

/// Whether a user's password ends as the filter says: `lt:2030-01-01T00:00:00Z`, or with `lte`, `gt`, `gte`, `eq`, `neq`.
fn ends(filter: &str) -> Result<impl Fn(Option<u64>) -> bool + use<>, Fault> {
    let (operator, time) = filter.split_once(':').unwrap_or(("eq", filter));
    let compare: fn(u64, u64) -> bool = match operator {
        "lt" => |end, time| end < time,
        "lte" => |end, time| end <= time,
        "gt" => |end, time| end > time,
        "gte" => |end, time| end >= time,
        "eq" => |end, time| end == time,
        "neq" => |end, time| end != time,
        _ => return Err(Fault::invalid("password_expires_at is operator:time, as in lt:2030-01-01T00:00:00Z.")),
    };
    let time = parse(time).ok_or_else(|| Fault::invalid("password_expires_at names no time."))?;
    Ok(move |end: Option<u64>| end.is_some_and(|end| compare(end, time)))
}

async fn create(call: Call) -> Answer {
    let mut fields = Fields::of(call.json()?, "user")?;
    let domain_id = domain_for_new(&call, &mut fields)?;
    let granted = call.authorize(&in_domain(Some(&domain_id)))?;
    call.service.directory.get::<Domain>(&domain_id).ok_or_else(|| Fault::missing("domain", &domain_id))?;
    call.service.check_writable(&domain_id)?;
    let name = fields.required("name", NAME_CHARS_MAX)?;
    let text = fields.text("password", PASSWORD_CHARS_MAX)?;
    let options = options(&mut fields)?.unwrap_or_default();
    let user = User {
        id: anello_base::id::hex_id(),
        name,
        domain_id,
        default_project_id: default_project(&call, &mut fields)?,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?,
        enabled: fields.flag("enabled")?.unwrap_or(true),
        password: hashed(&call, text, &options, false).await?,
        password_history: Vec::new(),
        last_active_day: Some(today(now_us())),
        options,
        extra: extra(fields),
        dn: None,
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
    let project_id = default_project(&call, &mut fields)?;
    let sets_description = fields.has("description");
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    let text = fields.text("password", PASSWORD_CHARS_MAX)?;
    let options = options(&mut fields)?;
    let extra = extra(fields);
    let password = hashed(&call, text, &user.options, false).await?;
    let change = |it: &mut User| {
        it.name = name.clone().unwrap_or_else(|| it.name.clone());
        it.enabled = enabled.unwrap_or(it.enabled);
        if sets_project {
            it.default_project_id.clone_from(&project_id);
        }
        if sets_description {
            it.description.clone_from(&description);
        }
        if let Some(password) = password.clone() {
            call.service.rules.replace(it, password);
        }
        // Who is enabled again starts anew.
        if enabled == Some(true) {
            it.last_active_day = Some(today(now_us()));
        }
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
    call.service.check_writable(&user.domain_id)?;
    call.service.forget::<User>(&user.id).await?;
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
