//! Trusts: roles on a project that one user lends another, who may pass them on where he is let to.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted, Target};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Call, Route, list, role};
use crate::auth::{Authority, effective_roles, now_us};
use crate::limits::{ID_CHARS_MAX, NAME_CHARS_MAX, TRUST_REDELEGATIONS_MAX};
use crate::model::{Role, Scope, Trust, User};
use crate::time::{iso_z, parse};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/OS-TRUST/trusts";
    const ONE: &str = "/v3/OS-TRUST/trusts/{trust_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_trusts", index),
        Route::new(Method::POST, ALL, "identity:create_trust", create),
        Route::new(Method::GET, ONE, "identity:get_trust", show),
        Route::new(Method::DELETE, ONE, "identity:delete_trust", delete),
        Route::new(Method::GET, "/v3/OS-TRUST/trusts/{trust_id}/roles", "identity:list_roles_for_trust", list_roles),
        Route::new(
            Method::GET,
            "/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}",
            "identity:get_role_for_trust",
            show_role,
        ),
    ]
}

fn roles(call: &Call, trust: &Trust) -> Vec<Arc<Role>> {
    let view = call.service.directory.view();
    trust.role_ids.iter().filter_map(|id| view.roles.get(id).cloned()).collect()
}

fn view(call: &Call, trust: &Trust, with_roles: bool) -> Value {
    let path = format!("/v3/OS-TRUST/trusts/{}", trust.id);
    let mut view = json!({
        "id": trust.id,
        "trustor_user_id": trust.trustor_user_id,
        "trustee_user_id": trust.trustee_user_id,
        "project_id": trust.project_id,
        "impersonation": trust.impersonation,
        "expires_at": trust.expires_at_us.map(iso_z),
        "deleted_at": null,
        "remaining_uses": trust.remaining_uses,
        "redelegation_count": trust.redelegation_count,
        "redelegated_trust_id": trust.redelegated_trust_id,
        "links": {"self": call.links.to(&path)},
    });
    if with_roles {
        view["roles"] = roles(call, trust).iter().map(|it| role::view(call, it)).collect();
        view["roles_links"] = json!({"self": call.links.to(&format!("{path}/roles")), "next": null, "previous": null});
    }
    view
}

/// Whose the trust is, for the policy.
fn target(trust: &Trust) -> Target {
    let target = Target::none().with("trustor_user_id", trust.trustor_user_id.clone());
    target.with("trustee_user_id", trust.trustee_user_id.clone())
}

fn authorized(call: &Call) -> Result<(Granted, Arc<Trust>), Fault> {
    let id = call.param("trust_id");
    let trust = call.service.directory.get::<Trust>(id).filter(|it| it.is_usable(now_us()));
    // Told to everybody, as upstream: nobody guesses an id.
    let trust = trust.ok_or_else(|| Fault::missing("trust", id))?;
    Ok((call.authorize(&target(&trust))?, trust))
}

/// Everybody may list what he lends or is lent, by naming himself.
async fn index(call: Call) -> Answer {
    let mut target = Target::none();
    for name in ["trustor_user_id", "trustee_user_id"] {
        if let Some(id) = call.query.get(name) {
            target = target.with(name, id);
        }
    }
    let granted = call.authorize(&target)?;
    let directory = call.service.directory.view();
    let wanted = |it: &Trust| {
        it.is_usable(now_us())
            && call.query.admits("trustor_user_id", &it.trustor_user_id)
            && call.query.admits("trustee_user_id", &it.trustee_user_id)
    };
    let rows = directory.trusts.rows().filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "trusts", "/v3/OS-TRUST/trusts", rows, |it| view(&call, it, false))?))
}

async fn show(call: Call) -> Answer {
    let (granted, trust) = authorized(&call)?;
    Ok(granted.ok(json!({"trust": view(&call, &trust, true)})))
}

async fn list_roles(call: Call) -> Answer {
    let (granted, trust) = authorized(&call)?;
    let roles = roles(&call, &trust);
    let path = format!("/v3/OS-TRUST/trusts/{}/roles", trust.id);
    let rows = roles.iter().map(|it| (it.id.as_str(), it));
    Ok(granted.ok(list(&call, "roles", &path, rows, |it| role::view(&call, it))?))
}

async fn show_role(call: Call) -> Answer {
    let (granted, trust) = authorized(&call)?;
    let id = call.param("role_id");
    let roles = roles(&call, &trust);
    let found = roles.iter().find(|it| it.id == id).ok_or_else(|| Fault::missing("role", id))?;
    Ok(granted.status(StatusCode::OK, Some(json!({"role": role::view(&call, found)}))))
}

async fn delete(call: Call) -> Answer {
    let id = call.param("trust_id");
    let trust = call.service.directory.get::<Trust>(id).ok_or_else(|| Fault::missing("trust", id))?;
    let granted = call.authorize(&target(&trust))?;
    call.service.forget::<Trust>(id).await?;
    Ok(granted.no_content())
}

async fn create(call: Call) -> Answer {
    let mut fields = Fields::of(call.json()?, "trust")?;
    let trustor_user_id = fields.required("trustor_user_id", ID_CHARS_MAX)?;
    let trustee_user_id = fields.required("trustee_user_id", ID_CHARS_MAX)?;
    let who = Target::none().with("trustor_user_id", trustor_user_id.clone());
    let granted = call.authorize(&who.with("trustee_user_id", trustee_user_id.clone()))?;
    let caller = call.caller()?;
    if caller.user.id != trustor_user_id {
        return Err(Fault::forbidden("The authenticated user should match the trustor."));
    }
    let parent = delegation(caller)?;
    let impersonation = fields.flag("impersonation")?;
    let impersonation = impersonation.ok_or_else(|| fields.wrong("impersonation", "is required"))?;
    let directory = &call.service.directory;
    directory.get::<User>(&trustee_user_id).ok_or_else(|| Fault::missing("user", &trustee_user_id))?;
    let project_id = fields.text("project_id", ID_CHARS_MAX)?;
    let wanted = fields.list("roles")?.unwrap_or_default();
    let Some(project_id) = project_id.filter(|_| !wanted.is_empty()) else {
        return Err(Fault::forbidden("A trust needs a project, and at least one role on it."));
    };
    directory.project(&project_id).ok_or_else(|| Fault::missing("project", &project_id))?;
    let trust = Trust {
        id: anello_base::id::hex_id(),
        role_ids: lent(&call, &trustor_user_id, &project_id, &wanted)?,
        expires_at_us: end(&mut fields)?,
        remaining_uses: count(&mut fields, "remaining_uses", 1)?,
        redelegation_count: 0,
        redelegated_trust_id: None,
        trustor_user_id,
        trustee_user_id,
        project_id,
        impersonation,
    };
    let trust = directory.create(delegated(trust, &mut fields, parent)?).await?;
    Ok(granted.created(json!({"trust": view(&call, &trust, true)})))
}

/// The trust that the caller's token came of, which the new one then passes on. Other tokens that came of less
/// than a log-in make no trusts, which would outlive them.
fn delegation(caller: &Authority) -> Result<Option<&Trust>, Fault> {
    match &caller.trust {
        Some(trust) => Ok(Some(trust)),
        None if caller.is_delegated() => Err(Fault::forbidden("A token of a restricted credential can't make trusts.")),
        None => Ok(None),
    }
}

/// The roles that are named, which the trustor must hold on the project.
fn lent(call: &Call, trustor_id: &str, project_id: &str, wanted: &[Value]) -> Result<Vec<String>, Fault> {
    let view = call.service.directory.view();
    let held = effective_roles(&view, trustor_id, &Scope::Project(project_id.to_owned()));
    let find = |wanted: &Value| {
        let (id, name) = (wanted.get("id").and_then(Value::as_str), wanted.get("name").and_then(Value::as_str));
        let is_it = |role: &&Arc<Role>| id.map_or_else(|| Some(role.name.as_str()) == name, |id| role.id == id);
        let found = held.values().find(is_it);
        found.map(|role| role.id.clone()).ok_or_else(|| Fault::missing("role", id.or(name).unwrap_or("without a name")))
    };
    wanted.iter().map(find).collect()
}

fn end(fields: &mut Fields) -> Result<Option<u64>, Fault> {
    let Some(text) = fields.text("expires_at", NAME_CHARS_MAX)? else { return Ok(None) };
    let end = parse(&text).ok_or_else(|| fields.wrong("expires_at", "is no time"))?;
    if end <= now_us() {
        return Err(fields.wrong("expires_at", "is past"));
    }
    Ok(Some(end))
}

fn count(fields: &mut Fields, name: &str, min: u64) -> Result<Option<u64>, Fault> {
    let Some(value) = fields.value(name) else { return Ok(None) };
    let count = value.as_u64().filter(|count| *count >= min);
    Ok(Some(count.ok_or_else(|| fields.wrong(name, &format!("is no number of at least {min}")))?))
}

/// Settles how often the trust may be passed on, and holds it to what the one above it allows.
fn delegated(mut trust: Trust, fields: &mut Fields, parent: Option<&Trust>) -> Result<Trust, Fault> {
    let stated = count(fields, "redelegation_count", 0)?;
    let allowed = fields.flag("allow_redelegation")?.unwrap_or(false) && stated != Some(0);
    if allowed && trust.remaining_uses.is_some() {
        return Err(Fault::invalid("remaining_uses must not be set if redelegation is allowed."));
    }
    if stated.is_some_and(|stated| allowed && stated > TRUST_REDELEGATIONS_MAX) {
        return Err(Fault::forbidden(format!("A trust can't be passed on more than {TRUST_REDELEGATIONS_MAX} times.")));
    }
    let mut most = stated.unwrap_or(TRUST_REDELEGATIONS_MAX);
    if let Some(parent) = parent {
        let left = parent.redelegation_count.checked_sub(1);
        let left = left.ok_or_else(|| Fault::forbidden("The trust may not be passed on."))?;
        if allowed && stated.is_some_and(|stated| stated != left) {
            return Err(Fault::forbidden("Modifying \"redelegation_count\" upon redelegation is forbidden."));
        }
        most = left;
        narrows(&trust, parent)?;
        trust.redelegated_trust_id = Some(parent.id.clone());
    }
    trust.redelegation_count = if allowed { most } else { 0 };
    Ok(trust)
}

/// A trust that is passed on lends no more than the one that it came of.
fn narrows(trust: &Trust, parent: &Trust) -> Result<(), Fault> {
    let is_later = match (trust.expires_at_us, parent.expires_at_us) {
        (_, None) => false,
        (own, Some(end)) => own.is_none_or(|own| own > end),
    };
    let more = if is_later {
        "Its end is later than that of the trust it comes of."
    } else if trust.role_ids.iter().any(|id| !parent.role_ids.contains(id)) {
        "Some of its roles are not in the trust it comes of."
    } else if trust.project_id != parent.project_id {
        "Its project is not that of the trust it comes of."
    } else if trust.impersonation && !parent.impersonation {
        "The trust it comes of does not allow impersonation."
    } else {
        return Ok(());
    };
    Err(Fault::forbidden(more))
}
