//! Roles given to users and groups on projects, on domains, on what lies below them, and on the system. The
//! sixteen paths differ in three respects only, which are data here.

use anello_api::rest::{Fault, Granted, Target};
use http::Method;
use serde_json::json;

use super::role::{self, found};
use super::{Answer, Call, Route, in_domain};
use crate::model::{Actor, Domain, Grant, Group, Kept, Scope, User};

/// What a path says by its words.
#[derive(Clone, Copy)]
struct Place {
    on: On,
    to_group: bool,
    inherited: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Project,
    Domain,
    System,
}

const fn place(on: On, to_group: bool, inherited: bool) -> Place {
    Place { on, to_group, inherited }
}

/// Paths of single grants, and of lists where there are such.
const PLACES: &[(Place, &str, Option<&str>)] = &[
    (
        place(On::Project, false, false),
        "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}",
        Some("/v3/projects/{project_id}/users/{user_id}/roles"),
    ),
    (
        place(On::Project, true, false),
        "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}",
        Some("/v3/projects/{project_id}/groups/{group_id}/roles"),
    ),
    (
        place(On::Domain, false, false),
        "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}",
        Some("/v3/domains/{domain_id}/users/{user_id}/roles"),
    ),
    (
        place(On::Domain, true, false),
        "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}",
        Some("/v3/domains/{domain_id}/groups/{group_id}/roles"),
    ),
    (
        place(On::System, false, false),
        "/v3/system/users/{user_id}/roles/{role_id}",
        Some("/v3/system/users/{user_id}/roles"),
    ),
    (
        place(On::System, true, false),
        "/v3/system/groups/{group_id}/roles/{role_id}",
        Some("/v3/system/groups/{group_id}/roles"),
    ),
    (
        place(On::Project, false, true),
        "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
        None,
    ),
    (
        place(On::Project, true, true),
        "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
        None,
    ),
    (
        place(On::Domain, false, true),
        "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
        Some("/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects"),
    ),
    (
        place(On::Domain, true, true),
        "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
        Some("/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects"),
    ),
];

pub(super) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    for &(place, one, all) in PLACES {
        let rule = |system, other| if place.on == On::System { system } else { other };
        let give = rule("identity:create_system_grant_for_user", "identity:create_grant");
        let take = rule("identity:revoke_system_grant_for_user", "identity:revoke_grant");
        let ask = rule("identity:check_system_grant_for_user", "identity:check_grant");
        let see = rule("identity:list_system_grants_for_user", "identity:list_grants");
        routes.push(Route::new(Method::PUT, one, give, move |call| create(call, place)));
        routes.push(Route::new(Method::DELETE, one, take, move |call| revoke(call, place)));
        routes.push(Route::new(Method::GET, one, ask, move |call| check(call, place)));
        if let Some(all) = all {
            routes.push(Route::new(Method::GET, all, see, move |call| index(call, place)));
        }
    }
    routes
}

/// Both ends of a grant, once they are there and the policy agrees. A domain's manager must be manager of both
/// ends, and of the role.
fn ends(call: &Call, place: Place, role_name: Option<&str>) -> Result<(Granted, Actor, Scope), Fault> {
    let directory = &call.service.directory;
    let (actor, actor_domain) = if place.to_group {
        let id = call.param("group_id");
        (Actor::Group(id.to_owned()), directory.get::<Group>(id).map(|it| it.domain_id.clone()))
    } else {
        let id = call.param("user_id");
        (Actor::User(id.to_owned()), directory.get::<User>(id).map(|it| it.domain_id.clone()))
    };
    let (scope, scope_domain) = match place.on {
        On::Project => {
            let id = call.param("project_id");
            (Scope::Project(id.to_owned()), directory.project(id).map(|it| it.domain_id.clone()))
        }
        On::Domain => {
            let id = call.param("domain_id");
            (Scope::Domain(id.to_owned()), directory.get::<Domain>(id).map(|it| it.id.clone()))
        }
        On::System => (Scope::System, None),
    };
    let mut target: Target = in_domain(scope_domain.as_deref());
    if let Some(domain_id) = &actor_domain {
        target = target.with("actor_domain_id", domain_id.clone());
    }
    if let Some(name) = role_name {
        target = target.with("role_name", name);
    }
    let granted = call.authorize(&target)?;
    actor_domain.ok_or_else(|| match &actor {
        Actor::User(id) => Fault::missing("user", id),
        Actor::Group(id) => Fault::missing("group", id),
    })?;
    match (&scope, scope_domain) {
        (Scope::Project(id), None) => Err(Fault::missing("project", id)),
        (Scope::Domain(id), None) => Err(Fault::missing("domain", id)),
        _ => Ok((granted, actor, scope)),
    }
}

fn grant(call: &Call, place: Place) -> Result<(Granted, Grant), Fault> {
    let role = call.service.directory.get::<crate::model::Role>(call.param("role_id"));
    let (granted, actor, scope) = ends(call, place, role.as_ref().map(|role| role.name.as_str()))?;
    let role = found(call, call.param("role_id"))?;
    Ok((granted, Grant { actor, scope, role_id: role.id.clone(), inherited: place.inherited }))
}

async fn create(call: Call, place: Place) -> Answer {
    let (granted, grant) = grant(&call, place)?;
    let role = found(&call, &grant.role_id)?;
    let domain_id = match &grant.scope {
        Scope::Project(id) => call.service.directory.project(id).map(|it| it.domain_id.clone()),
        Scope::Domain(id) => Some(id.clone()),
        Scope::System => None,
    };
    if role.domain_id.is_some() && role.domain_id != domain_id {
        return Err(Fault::forbidden("A domain's own role can only be given inside that domain."));
    }
    call.service.directory.put(grant).await?;
    Ok(granted.no_content())
}

fn not_granted(grant: &Grant) -> Fault {
    Fault::missing("role assignment with role", &grant.role_id)
}

async fn check(call: Call, place: Place) -> Answer {
    let (granted, grant) = grant(&call, place)?;
    call.service.directory.get::<Grant>(&grant.id()).ok_or_else(|| not_granted(&grant))?;
    Ok(granted.no_content())
}

async fn revoke(call: Call, place: Place) -> Answer {
    let (granted, grant) = grant(&call, place)?;
    call.service.directory.get::<Grant>(&grant.id()).ok_or_else(|| not_granted(&grant))?;
    call.service.directory.delete::<Grant>(&grant.id()).await?;
    Ok(granted.no_content())
}

async fn index(call: Call, place: Place) -> Answer {
    let (granted, actor, scope) = ends(&call, place, None)?;
    let view = call.service.directory.view();
    let prefix = actor.prefix();
    let grants = view.grants.with_prefix(&prefix);
    let here = grants.filter(|it| it.actor == actor && it.scope == scope && it.inherited == place.inherited);
    let roles: Vec<_> = here.filter_map(|it| view.roles.get(&it.role_id)).map(|it| role::view(&call, it)).collect();
    Ok(granted.ok(json!({"roles": roles, "links": {"self": null, "next": null, "previous": null}})))
}
