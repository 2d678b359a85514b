//! Keystone's v3 API: one file per resource. A handler extracts, loads, authorizes, makes one call, and shows.

mod access_rule;
mod application_credential;
mod auth;
mod credential;
mod domain;
mod domain_config;
mod ec2;
mod endpoint;
mod endpoint_filter;
mod endpoint_group;
mod grant;
mod group;
mod implication;
mod limit;
mod not_offered;
mod password;
mod policy;
mod policy_association;
mod project;
mod project_tag;
mod region;
mod registered_limit;
mod revocation;
mod role;
mod role_assignment;
mod service;
mod signed;
mod trust;
mod user;
mod version;

use std::ops::Deref;
use std::sync::Arc;

use ::http::{HeaderMap, Method};
use anello_api::rest::{
    self, Audited, Dialect, Fault, Fields, Granted, KEYSTONE, Page, Policy, Reply, Target, token_header,
};
use futures::future::{BoxFuture, ready};
use serde_json::{Map, Value};

use crate::IdentityRoom;
use crate::audit::Event;
use crate::auth::{Authority, operator};
use crate::bootstrap::DEFAULT_DOMAIN_ID;
use crate::directory::View;
use crate::error::Error;
use crate::model::{Extra, Kept};

type Call = rest::Call<Door>;
type Route = rest::Route<Door>;
type Answer = Result<Reply, Fault>;

/// The room as the dispatcher sees it.
pub(crate) struct Door {
    room: Arc<IdentityRoom>,
    /// Who everybody is who comes through this door, where it asks for no token.
    operator: Option<Arc<Authority>>,
}

impl Door {
    pub(crate) fn new(room: Arc<IdentityRoom>) -> Self {
        Self { room, operator: None }
    }

    /// A door for the host's operator alone.
    pub(crate) fn for_operator(room: Arc<IdentityRoom>) -> Self {
        Self { room, operator: Some(operator()) }
    }
}

impl Deref for Door {
    type Target = Arc<IdentityRoom>;

    fn deref(&self) -> &Arc<IdentityRoom> {
        &self.room
    }
}

impl rest::Service for Door {
    type Caller = Authority;

    fn dialect(&self) -> &'static Dialect {
        &KEYSTONE
    }

    fn policy(&self) -> &Policy {
        &self.room.policy
    }

    fn public_url(&self) -> Option<&str> {
        self.room.config.public_url.as_deref()
    }

    fn identify<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Option<Arc<Authority>>, Fault>> {
        if let Some(operator) = &self.operator {
            return Box::pin(ready(Ok(Some(Arc::clone(operator)))));
        }
        Box::pin(async move {
            let Some(token) = token_header(headers, "x-auth-token") else { return Ok(None) };
            self.room.tokens.learn(token).await;
            Ok(self.room.tokens.validate(&self.room.directory, token, false).ok())
        })
    }

    /// A token with access rules may always be validated, and otherwise does what its rules say.
    fn admit(&self, caller: &Authority, method: &Method, path: &str) -> Result<(), Fault> {
        let is_validation = *method == Method::GET && path.trim_end_matches('/') == "/v3/auth/tokens";
        match is_validation || caller.caller.admits("identity", method.as_str(), path) {
            true => Ok(()),
            false => Err(Fault::unauthenticated()),
        }
    }

    /// Log-ins are noted where they are checked.
    fn audit(&self, request: &Audited<'_, Authority>) {
        if request.rule == "identity:authenticate" {
            return;
        }
        let named = request.params.last().map(|(_, id)| id.as_str());
        self.room.audit.write(&Event {
            rule: request.rule,
            caller: request.caller.map(|caller| &*caller.caller),
            user_id: None,
            peer: request.peer,
            request_id: Some(request.request_id),
            target_id: request.shown_id.or(named),
            status: request.status,
        });
    }
}

/// Every route of the room.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    routes.extend(version::routes());
    routes.extend(auth::routes());
    routes.extend(signed::routes());
    routes.extend(domain::routes());
    routes.extend(project::routes());
    routes.extend(project_tag::routes());
    routes.extend(user::routes());
    routes.extend(group::routes());
    routes.extend(role::routes());
    routes.extend(implication::routes());
    routes.extend(grant::routes());
    routes.extend(role_assignment::routes());
    routes.extend(service::routes());
    routes.extend(endpoint::routes());
    routes.extend(region::routes());
    routes.extend(credential::routes());
    routes.extend(ec2::routes());
    routes.extend(application_credential::routes());
    routes.extend(access_rule::routes());
    routes.extend(trust::routes());
    routes.extend(domain_config::routes());
    routes.extend(password::routes());
    routes.extend(registered_limit::routes());
    routes.extend(limit::routes());
    routes.extend(policy::routes());
    routes.extend(policy_association::routes());
    routes.extend(endpoint_group::routes());
    routes.extend(endpoint_filter::routes());
    routes.extend(revocation::routes());
    routes.extend(not_offered::routes());
    routes
}

/// A list in Keystone's envelope. `rows` come sorted by the id that is with each.
fn list<'a, R>(
    call: &Call,
    plural: &str,
    path: &str,
    rows: impl Iterator<Item = (&'a str, R)>,
    view: impl Fn(R) -> Value,
) -> Result<Value, Fault> {
    let mut page = Page::parse(&call.query)?;
    if let Some(limit) = list_limit(call, plural) {
        page = page.at_most(limit);
    }
    Ok(page.envelope(plural, path, &call.links, rows, view))
}

/// Records that are named in domains, sorted by id: all of them, or at once those of the name that the query asks for.
fn in_domains<'a, T: Kept>(call: &Call, view: &'a View) -> Box<dyn Iterator<Item = (&'a str, &'a Arc<T>)> + 'a> {
    match call.query.get("name") {
        Some(name) => Box::new(T::table(view).named(view.domains.iter().map(|it| it.id.as_str()), name).into_iter()),
        None => Box::new(T::table(view).rows()),
    }
}

/// How many users or groups of a domain one answer shows, where the domain's configuration says so.
fn list_limit(call: &Call, plural: &str) -> Option<usize> {
    if !matches!(plural, "users" | "groups") {
        return None;
    }
    let own = call.caller().ok().and_then(|caller| caller.caller.domain_id.clone());
    let domain_id = call.query.get("domain_id").map(str::to_owned).or(own)?;
    let configuration = call.service.directory.get::<crate::model::DomainConfig>(&domain_id)?;
    let limit = configuration.groups.get("identity")?.get("list_limit")?.as_u64()?;
    usize::try_from(limit).ok().filter(|limit| *limit > 0)
}

/// Asks for a list of what is in domains. A token for a domain sees that domain only, which is returned.
fn authorize_list(call: &Call) -> Result<(Granted, Option<String>), Fault> {
    let own = call.caller()?.caller.domain_id.clone();
    let wanted = call.query.get("domain_id").map(str::to_owned).or_else(|| own.clone());
    Ok((call.authorize(&in_domain(wanted.as_deref()))?, own))
}

/// A target in a domain, where there is one.
fn in_domain(domain_id: Option<&str>) -> Target {
    domain_id.map_or_else(Target::none, |id| Target::none().with("domain_id", id))
}

/// A target that belongs to a user.
fn of_user(user_id: &str) -> Target {
    Target::none().with("user_id", user_id)
}

/// The domain that a new thing belongs to: the stated one, or the caller's, or (for a token of the system) the default
/// one, as in Keystone.
fn domain_for_new(call: &Call, fields: &mut Fields) -> Result<String, Fault> {
    if let Some(id) = fields.text("domain_id", crate::limits::ID_CHARS_MAX)? {
        return Ok(id);
    }
    let caller = &call.caller()?.caller;
    let own = caller.domain_id.clone().or_else(|| caller.project_domain_id.clone());
    Ok(own.unwrap_or_else(|| DEFAULT_DOMAIN_ID.to_owned()))
}

/// The attributes nobody here knows, without those that are ours to show.
fn extra(fields: Fields) -> Extra {
    let mut extra = fields.rest();
    for ours in ["id", "links"] {
        extra.remove(ours);
    }
    extra
}

/// Sets options; a null takes one away.
fn merge(into: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        match value {
            Value::Null => into.remove(name),
            value => into.insert(name.clone(), value.clone()),
        };
    }
}

fn is_immutable(options: &Extra) -> bool {
    options.get("immutable") == Some(&Value::Bool(true))
}

/// The options of a project, domain or role.
fn options(fields: &mut Fields) -> Result<Option<Extra>, Fault> {
    let options = fields.object("options")?;
    match options.as_ref().and_then(|it| it.get("immutable")) {
        None | Some(Value::Null | Value::Bool(_)) => Ok(options),
        Some(_) => Err(fields.wrong("options", "has an 'immutable' that is neither true nor false")),
    }
}

/// Whether a change makes changeable what is immutable, and does nothing else, as Keystone wants it.
fn frees(fields: &Fields) -> bool {
    let immutable = fields.peek("options").and_then(|it| it.get("immutable"));
    fields.has_only("options") && immutable.is_some_and(|it| *it != Value::Bool(true))
}

/// 403 for a change of what is immutable, unless the change `frees` it.
fn guard_change(what: &str, id: &str, options: &Extra, frees: bool) -> Result<(), Error> {
    if is_immutable(options) && !frees {
        return Err(Error::Forbidden(format!("Cannot change or delete immutable {what} {id}.")));
    }
    Ok(())
}

/// An object's JSON with the attributes nobody here knows below its own.
fn with_extra(mut view: Value, extra: &Extra) -> Value {
    if let Value::Object(map) = &mut view {
        for (name, value) in extra {
            map.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::RULES;

    /// Every route with its rule, one per line. A change of it is a change of who may do what: look at it, and
    /// then take it over with `ANELLO_GOLDEN=write`.
    #[test]
    fn no_route_is_without_a_rule_that_the_policy_declares() {
        let policy = Policy::new(RULES);
        let mut lines = Vec::new();
        for route in routes() {
            assert!(policy.declares(route.rule), "{} {} has no rule", route.method, route.path);
            lines.push(format!("{} {} {}\n", route.path, route.method, route.rule));
        }
        lines.sort_unstable();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/routes.golden");
        if std::env::var("ANELLO_GOLDEN").as_deref() == Ok("write") {
            std::fs::write(path, lines.concat()).expect("the golden file is written");
        }
        let golden = std::fs::read_to_string(path).expect("the golden file is there");
        assert_eq!(lines.concat(), golden);
    }

    #[test]
    fn only_discovery_log_in_and_the_own_password_are_open_to_everybody() {
        let policy = Policy::new(RULES);
        let open: Vec<_> = RULES.iter().map(|rule| rule.name).filter(|name| policy.is_public(name)).collect();
        assert_eq!(open, ["identity:versions", "identity:authenticate", "identity:change_password"]);
    }
}
