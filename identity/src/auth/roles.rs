//! Which roles somebody holds where: his own grants and his groups', grants inherited from above, and all that
//! roles imply.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::directory::View;
use crate::model::{Actor, Grant, Project, Role, Scope};

/// The user himself and his groups.
fn actors(view: &View, user_id: &str) -> Vec<Actor> {
    let prefix = format!("{user_id}|");
    let groups = view.memberships.with_prefix(&prefix).map(|it| Actor::Group(it.group_id.clone()));
    std::iter::once(Actor::User(user_id.to_owned())).chain(groups).collect()
}

/// Every grant of the user or one of his groups.
fn grants_of<'a>(view: &'a View, user_id: &str) -> Vec<&'a Arc<Grant>> {
    let mut grants = Vec::new();
    for actor in actors(view, user_id) {
        let prefix = actor.prefix();
        grants.extend(view.grants.with_prefix(&prefix).filter(|grant| grant.actor == actor));
    }
    grants
}

/// What lies above a project: its parents, and its domain. A loop, which no writer makes, ends it.
fn ancestors(view: &View, project: &Project) -> BTreeSet<Scope> {
    let mut above = BTreeSet::from([Scope::Domain(project.domain_id.clone())]);
    let mut parent = project.parent_id.clone();
    while let Some(id) = parent {
        parent = view.projects.get(&id).and_then(|project| project.parent_id.clone());
        if !above.insert(Scope::Project(id)) {
            break;
        }
    }
    above
}

/// Whether the grant counts for the scope.
fn counts(grant: &Grant, scope: &Scope, above: &BTreeSet<Scope>) -> bool {
    if grant.inherited { above.contains(&grant.scope) } else { grant.scope == *scope }
}

fn above(view: &View, scope: &Scope) -> BTreeSet<Scope> {
    match scope {
        // Not above one that acts as a domain: what is inherited from the domain is for those below it.
        Scope::Project(id) => view.projects.get(id).map(|project| ancestors(view, project)).unwrap_or_default(),
        _ => BTreeSet::new(),
    }
}

/// The roles and all that they imply, by id. Roles that are gone are left out.
pub(crate) fn expand(view: &View, role_ids: impl IntoIterator<Item = String>) -> BTreeMap<String, Arc<Role>> {
    let mut held = BTreeMap::new();
    let mut open: Vec<String> = role_ids.into_iter().collect();
    while let Some(id) = open.pop() {
        let Some(role) = view.roles.get(&id) else { continue };
        let prefix = format!("{id}|");
        if held.insert(id, Arc::clone(role)).is_none() {
            open.extend(view.implications.with_prefix(&prefix).map(|it| it.implied_role_id.clone()));
        }
    }
    held
}

/// The roles that a user holds in a scope, implied ones included, by id. A domain's own roles count for what they
/// imply and are not shown themselves.
pub(crate) fn effective_roles(view: &View, user_id: &str, scope: &Scope) -> BTreeMap<String, Arc<Role>> {
    let above = above(view, scope);
    let granted = grants_of(view, user_id).into_iter().filter(|grant| counts(grant, scope, &above));
    let mut roles = expand(view, granted.map(|grant| grant.role_id.clone()));
    roles.retain(|_, role| role.domain_id.is_none());
    roles
}

/// Where a user holds any role: projects (those reached by inheritance included), domains, the system.
pub(crate) fn scopes_of(view: &View, user_id: &str) -> BTreeSet<Scope> {
    let grants = grants_of(view, user_id);
    let (inherited, direct): (Vec<_>, Vec<_>) = grants.into_iter().partition(|grant| grant.inherited);
    let mut scopes: BTreeSet<Scope> = direct.into_iter().map(|grant| grant.scope.clone()).collect();
    if !inherited.is_empty() {
        let reached = view.projects.iter().filter(|project| {
            let above = ancestors(view, project);
            inherited.iter().any(|grant| above.contains(&grant.scope))
        });
        scopes.extend(reached.map(|project| Scope::Project(project.id.clone())));
    }
    scopes
}

/// The enabled projects that a user has a role on.
pub(crate) fn projects_of(view: &View, user_id: &str) -> Vec<Arc<Project>> {
    let scopes = scopes_of(view, user_id).into_iter();
    let projects = scopes.filter_map(|scope| match scope {
        Scope::Project(id) => view.project(&id),
        _ => None,
    });
    projects.filter(|project| project.enabled).collect()
}

/// One line of a list of role assignments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Assigned {
    pub(crate) actor: Actor,
    pub(crate) scope: Scope,
    pub(crate) role_id: String,
    /// Whether the line is an inherited grant itself, not what came of one.
    pub(crate) inherited: bool,
}

/// All role assignments as they were granted; or (`effective`) as they work, with groups, inheritance and implied
/// roles worked out into what each user holds where, or the one that is named.
pub(crate) fn assignments(view: &View, effective: bool, user_id: Option<&str>) -> BTreeSet<Assigned> {
    let mut lines = BTreeSet::new();
    let own = user_id.filter(|_| effective);
    let grants: Vec<&Arc<Grant>> = own.map_or_else(|| view.grants.iter().collect(), |id| grants_of(view, id));
    for grant in grants {
        if !is_whole(view, grant) {
            continue;
        }
        let line = |actor: &Actor, scope: &Scope, role_id: &str, inherited| Assigned {
            actor: actor.clone(),
            scope: scope.clone(),
            role_id: role_id.to_owned(),
            inherited,
        };
        if !effective {
            lines.insert(line(&grant.actor, &grant.scope, &grant.role_id, grant.inherited));
            continue;
        }
        let roles = expand(view, [grant.role_id.clone()]);
        let roles: Vec<_> = roles.values().filter(|role| role.domain_id.is_none()).collect();
        for scope in reached(view, grant) {
            for actor in own.map_or_else(|| users(view, &grant.actor), |id| vec![Actor::User(id.to_owned())]) {
                lines.extend(roles.iter().map(|role| line(&actor, &scope, &role.id, false)));
            }
        }
    }
    lines
}

/// Whether everything that the grant refers to is there.
fn is_whole(view: &View, grant: &Grant) -> bool {
    let actor = match &grant.actor {
        Actor::User(id) => view.users.get(id).is_some(),
        Actor::Group(id) => view.groups.get(id).is_some(),
    };
    let scope = match &grant.scope {
        Scope::Project(id) => view.project(id).is_some(),
        Scope::Domain(id) => view.domains.get(id).is_some(),
        Scope::System => true,
    };
    actor && scope && view.roles.get(&grant.role_id).is_some()
}

fn reached(view: &View, grant: &Grant) -> Vec<Scope> {
    if !grant.inherited {
        return vec![grant.scope.clone()];
    }
    let below = view.projects.iter().filter(|project| ancestors(view, project).contains(&grant.scope));
    below.map(|project| Scope::Project(project.id.clone())).collect()
}

fn users(view: &View, actor: &Actor) -> Vec<Actor> {
    match actor {
        Actor::User(_) => vec![actor.clone()],
        Actor::Group(group_id) => {
            let members = view.memberships.iter().filter(|it| it.group_id == *group_id);
            members.map(|it| Actor::User(it.user_id.clone())).collect()
        }
    }
}
