//! Who holds which role where, as one list.

use anello_api::rest::{Fault, Query, Target};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, in_domain};
use crate::auth::{Assigned, assignments};
use crate::directory::View;
use crate::model::{Actor, Domain, Scope};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(Method::GET, "/v3/role_assignments", "identity:list_role_assignments", index)]
}

async fn index(call: Call) -> Answer {
    let own = call.caller()?.caller.domain_id.clone();
    let granted = call.authorize(&own.as_deref().map_or_else(Target::none, |id| in_domain(Some(id))))?;
    let query = &call.query;
    let effective = query.switch("effective");
    if effective && query.get("group.id").is_some() {
        return Err(Fault::invalid("Combining effective and group filter will always result in an empty list."));
    }
    let subtree = query.switch("include_subtree");
    if subtree && query.get("scope.project.id").is_none() {
        return Err(Fault::invalid("scope.project.id must be specified if include_subtree is also specified."));
    }
    let view = call.service.directory.view();
    let lines = assignments(&view, effective, query.get("user.id"));
    let wanted = lines.iter().filter(|line| {
        own.as_ref().is_none_or(|own| domain_of(&view, &line.scope).is_some_and(|domain| domain == *own))
            && admits(&view, query, line, subtree)
    });
    let names = query.switch("include_names");
    let shown: Vec<Value> = wanted.map(|line| show(&call, &view, line, names)).collect();
    let links = json!({"self": call.links.to("/v3/role_assignments"), "next": null, "previous": null});
    Ok(granted.ok(json!({"role_assignments": shown, "links": links})))
}

fn domain_of(view: &View, scope: &Scope) -> Option<String> {
    match scope {
        Scope::Project(id) => view.project(id).map(|it| it.domain_id.clone()),
        Scope::Domain(id) => Some(id.clone()),
        Scope::System => None,
    }
}

fn admits(view: &View, query: &Query, line: &Assigned, subtree: bool) -> bool {
    let (user, group) = match &line.actor {
        Actor::User(id) => (Some(id.as_str()), None),
        Actor::Group(id) => (None, Some(id.as_str())),
    };
    let (project, domain) = match &line.scope {
        Scope::Project(id) => (Some(id.as_str()), None),
        Scope::Domain(id) => (None, Some(id.as_str())),
        Scope::System => (None, None),
    };
    let in_project = match (subtree, query.get("scope.project.id"), project) {
        (true, Some(top), Some(project)) => is_at_or_below(view, project, top),
        _ => query.admits_option("scope.project.id", project),
    };
    query.admits_option("user.id", user)
        && query.admits_option("group.id", group)
        && query.admits("role.id", &line.role_id)
        && in_project
        && query.admits_option("scope.domain.id", domain)
        && (query.get("scope.system").is_none() || line.scope == Scope::System)
        && (query.get("scope.OS-INHERIT:inherited_to").is_none() || line.inherited)
}

fn is_at_or_below(view: &View, project: &str, top: &str) -> bool {
    let above = |id: &String| view.projects.get(id).map(|it| it.above().to_owned());
    let chain = std::iter::successors(Some(project.to_owned()), above);
    chain.take(crate::limits::PROJECT_DEPTH_MAX + 2).any(|id| id == top)
}

fn domain_view(domain: Option<&Domain>) -> Value {
    domain.map_or(Value::Null, |it| json!({"id": it.id, "name": it.name}))
}

fn show(call: &Call, view: &View, line: &Assigned, names: bool) -> Value {
    let named = |id: &str, name: Option<&str>, domain_id: Option<&str>| {
        let mut it = json!({ "id": id });
        if names {
            it["name"] = name.into();
            if let Some(domain_id) = domain_id {
                it["domain"] = domain_view(view.domains.get(domain_id).map(|it| &**it));
            }
        }
        it
    };
    let role = view.roles.get(&line.role_id);
    let role_name = role.map(|it| it.name.as_str());
    let mut shown = json!({"role": named(&line.role_id, role_name, role.and_then(|it| it.domain_id.as_deref()))});
    let actor_path = match &line.actor {
        Actor::User(id) => {
            let user = view.users.get(id);
            shown["user"] = named(id, user.map(|it| it.name.as_str()), user.map(|it| it.domain_id.as_str()));
            format!("users/{id}")
        }
        Actor::Group(id) => {
            let group = view.groups.get(id);
            shown["group"] = named(id, group.map(|it| it.name.as_str()), group.map(|it| it.domain_id.as_str()));
            format!("groups/{id}")
        }
    };
    let scope_path = match &line.scope {
        Scope::Project(id) => {
            let project = view.project(id);
            let domain_id = project.as_ref().filter(|it| !it.is_domain()).map(|it| it.domain_id.as_str());
            let name = project.as_ref().map(|it| it.name.as_str());
            shown["scope"] = json!({"project": named(id, name, domain_id)});
            format!("projects/{id}")
        }
        Scope::Domain(id) => {
            let name = view.domains.get(id).map(|it| it.name.as_str());
            shown["scope"] = json!({"domain": named(id, name, None)});
            format!("domains/{id}")
        }
        Scope::System => {
            shown["scope"] = json!({"system": {"all": true}});
            "system".to_owned()
        }
    };
    let path = format!("{scope_path}/{actor_path}/roles/{}", line.role_id);
    let path = if line.inherited {
        shown["scope"]["OS-INHERIT:inherited_to"] = "projects".into();
        format!("/v3/OS-INHERIT/{path}/inherited_to_projects")
    } else {
        format!("/v3/{path}")
    };
    shown["links"] = json!({"assignment": call.links.to(&path)});
    shown
}
