//! Configurations of domains: where a domain's users come from. What is secret is kept sealed and never shown.

use std::collections::BTreeMap;

use anello_api::rest::{Fault, Fields, Granted, Target};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, Call, Route};
use crate::bootstrap::DEFAULT_DOMAIN_ID;
use crate::error::Error;
use crate::ldap::{Kind, OPTIONS, is_secret, kind_of};
use crate::model::{Domain, DomainConfig};

/// The group of rules for passwords.
const COMPLIANCE: &str = "security_compliance";

type Groups = BTreeMap<String, BTreeMap<String, Value>>;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/domains/{domain_id}/config";
    const GROUP: &str = "/v3/domains/{domain_id}/config/{group}";
    const OPTION: &str = "/v3/domains/{domain_id}/config/{group}/{option}";
    const RULES: &str = "/v3/domains/{domain_id}/config/security_compliance";
    const RULE: &str = "/v3/domains/{domain_id}/config/security_compliance/{option}";
    const SEE_RULES: &str = "identity:get_security_compliance_domain_config";
    const SEE: &str = "identity:get_domain_config";
    const CHANGE: &str = "identity:update_domain_config";
    const TAKE: &str = "identity:delete_domain_config";
    const DEFAULT: &str = "identity:get_domain_config_default";
    let mut routes = vec![
        Route::new(Method::PUT, ALL, "identity:create_domain_config", create),
        Route::new(Method::GET, "/v3/domains/config/default", DEFAULT, show_default),
        Route::new(Method::GET, "/v3/domains/config/{group}/default", DEFAULT, show_default),
        Route::new(Method::GET, "/v3/domains/config/{group}/{option}/default", DEFAULT, show_default),
    ];
    for path in [RULES, RULE] {
        routes.push(Route::new(Method::GET, path, SEE_RULES, show_rules));
        routes.push(Route::new(Method::PATCH, path, CHANGE, refuse_rules));
        routes.push(Route::new(Method::DELETE, path, TAKE, refuse_rules));
    }
    for path in [ALL, GROUP, OPTION] {
        routes.push(Route::new(Method::GET, path, SEE, show));
        routes.push(Route::new(Method::PATCH, path, CHANGE, update));
        routes.push(Route::new(Method::DELETE, path, TAKE, delete));
    }
    routes
}

/// The group and option that the path names; empty where it names none.
fn place(call: &Call) -> (&str, &str) {
    (call.param("group"), call.param("option"))
}

fn missing(call: &Call) -> Fault {
    let (group, option) = place(call);
    let what = [group, option].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(".");
    let domain_id = call.param("domain_id");
    Fault::missing("domain configuration", &format!("{what} of {domain_id}"))
}

/// What the path names, as it is shown: everything, a group, or an option. `None` where there is no such thing.
fn shown(groups: &Groups, group: &str, option: &str) -> Option<Value> {
    let public = |name: &str, options: &BTreeMap<String, Value>| -> Map<String, Value> {
        let public = options.iter().filter(|(option, _)| !is_secret(name, option));
        public.map(|(option, value)| (option.clone(), value.clone())).collect()
    };
    let shown = match (group, option) {
        ("", _) => {
            let all: Map<String, Value> =
                groups.iter().map(|(name, options)| (name.clone(), public(name, options).into())).collect();
            Value::Object(all)
        }
        (group, "") => json!({ group: public(group, groups.get(group)?) }),
        (group, option) => json!({ option: public(group, groups.get(group)?).get(option)? }),
    };
    Some(json!({ "config": shown }))
}

async fn show_default(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut groups = Groups::new();
    for (group, name, _, default) in OPTIONS {
        let default = serde_json::from_str(default).unwrap_or(Value::Null);
        groups.entry((*group).to_owned()).or_default().insert((*name).to_owned(), default);
    }
    let (group, option) = place(&call);
    Ok(granted.ok(shown(&groups, group, option).ok_or_else(|| missing(&call))?))
}

fn authorized(call: &Call) -> Result<(Granted, Option<Groups>), Fault> {
    let granted = call.authorize(&Target::none())?;
    let id = call.param("domain_id");
    call.service.directory.get::<Domain>(id).ok_or_else(|| Fault::missing("domain", id))?;
    let configuration = call.service.directory.get::<DomainConfig>(id);
    Ok((granted, configuration.map(|it| call.service.options_with_secrets(&it))))
}

async fn show(call: Call) -> Answer {
    let (granted, groups) = authorized(&call)?;
    let (group, option) = place(&call);
    let shown = groups.and_then(|groups| shown(&groups, group, option));
    Ok(granted.ok(shown.ok_or_else(|| missing(&call))?))
}

/// What passwords must be like. These are the server's rules and the same in every domain whose users are kept here;
/// upstream shows them for the default domain, and here everybody also finds them under his own.
async fn show_rules(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let id = call.param("domain_id");
    call.service.directory.get::<Domain>(id).ok_or_else(|| Fault::missing("domain", id))?;
    if id != DEFAULT_DOMAIN_ID && id != call.caller()?.user.domain_id {
        return Err(Fault::forbidden("The rules for passwords are shown for the default and one's own domain only."));
    }
    let rules = &call.service.rules.compliance;
    let text = |text: &str| Some(text).filter(|text| !text.is_empty()).map_or(Value::Null, Value::from);
    let own = [
        ("password_regex", text(&rules.password_regex)),
        ("password_regex_description", text(&rules.password_regex_description)),
    ];
    let own = BTreeMap::from(own.map(|(name, value)| (name.to_owned(), value)));
    let shown = shown(&Groups::from([(COMPLIANCE.to_owned(), own)]), COMPLIANCE, call.param("option"));
    Ok(granted.ok(shown.ok_or_else(|| Fault::forbidden("This rule is not shown."))?))
}

/// They are set in the server's configuration.
async fn refuse_rules(call: Call) -> Answer {
    call.authorize(&Target::none())?;
    Err(Fault::forbidden("The rules for passwords can't be changed here."))
}

/// Whether an option may hold a value.
fn fits(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::Null) | (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Bool(_)) => true,
        (Kind::Number, value) => value.as_i64().is_some_and(|number| number >= 0),
        (Kind::List, Value::Array(items)) => items.iter().all(Value::is_string),
        _ => false,
    }
}

/// Groups of options from a body; 403 (as upstream) for those that are not offered, 400 for values that do not fit.
fn parse(config: Map<String, Value>) -> Result<Groups, Fault> {
    let mut groups = Groups::new();
    for (group, options) in config {
        let Value::Object(options) = options else {
            return Err(Fault::invalid(format!("The group {group} is not an object.")));
        };
        for (option, value) in options {
            let kind = kind_of(&group, &option);
            let kind = kind.ok_or_else(|| Fault::forbidden(format!("There is no option {group}.{option} here.")))?;
            // Numbers come as texts, too.
            let value = match &value {
                Value::String(text) if kind == Kind::Number => text.parse::<i64>().map_or(value, Value::from),
                _ => value,
            };
            if !fits(kind, &value) {
                return Err(Fault::invalid(format!("The value of {group}.{option} does not fit.")));
            }
            groups.entry(group.clone()).or_default().insert(option, value);
        }
    }
    if groups.is_empty() {
        return Err(Fault::invalid("'config' holds no option."));
    }
    Ok(groups)
}

/// Keeps the options and follows them. Directories are read in the background: one may be slow, or not there yet.
async fn keep(call: &Call, mut groups: Groups) -> Result<(), Fault> {
    groups.retain(|_, options| !options.is_empty());
    check_move(call, &groups)?;
    let mut secrets = Groups::new();
    for (group, options) in &mut groups {
        let names: Vec<String> = options.keys().filter(|name| is_secret(group, name)).cloned().collect();
        for name in names {
            if let Some(secret) = options.remove(&name) {
                secrets.entry(group.clone()).or_default().insert(name, secret);
            }
        }
    }
    let room = &call.service;
    let json = serde_json::to_vec(&secrets).map_err(|_| Fault::invalid("The secrets are no JSON."))?;
    let sealed_secrets = (!secrets.is_empty()).then(|| room.signing_keys.keys.seal(&json));
    let domain_id = call.param("domain_id").to_owned();
    let set = |it: &mut DomainConfig| {
        if it.moving.is_some() {
            return Err(Error::Moving);
        }
        (it.groups, it.sealed_secrets) = (groups.clone(), sealed_secrets.clone());
        Ok(())
    };
    match room.directory.update(&domain_id, set).await {
        Err(Error::Missing { .. }) => {
            let groups = groups.clone();
            room.directory.create(DomainConfig { domain_id, groups, sealed_secrets, moving: None }).await?
        }
        kept => kept?,
    };
    follow(call).await?;
    room.read_directories_soon();
    Ok(())
}

/// Follows a changed configuration. Users who are elsewhere from now on are read from there.
async fn follow(call: &Call) -> Result<(), Fault> {
    if call.service.follow_configurations() {
        call.service.directory.refresh_moved().await?;
    }
    Ok(())
}

/// A domain that gets a database of its own has no users and groups yet: they would be left behind, and their names
/// taken. It must be one that the server knows.
fn check_move(call: &Call, groups: &Groups) -> Result<(), Fault> {
    let driver = groups.get("identity").and_then(|group| group.get("driver"));
    if driver.is_none_or(|driver| driver != "sql") {
        return Ok(());
    }
    let database = call.service.database(groups);
    let database = database.map_err(|_| Fault::invalid("The server's configuration has no database of this name."))?;
    let id = call.param("domain_id");
    if database.is_none() || call.service.records.has(id) {
        return Ok(());
    }
    let view = call.service.directory.view();
    let has_any = view.users.iter().any(|it| it.domain_id == id) || view.groups.iter().any(|it| it.domain_id == id);
    match has_any {
        true => Err(Fault::conflict(
            "The domain has users or groups, which would be left behind; `anello identity migrate` moves them.",
        )),
        false => Ok(()),
    }
}

fn config(call: &Call) -> Result<Map<String, Value>, Fault> {
    let mut body = Fields::bare(call.json()?, "the request")?;
    body.object("config")?.ok_or_else(|| Fault::invalid("'config' is a required property"))
}

/// The whole configuration, in the place of one that is there.
async fn create(call: Call) -> Answer {
    let (granted, before) = authorized(&call)?;
    let groups = parse(config(&call)?)?;
    keep(&call, groups.clone()).await?;
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok(granted.status(status, shown(&groups, "", "")))
}

/// What the path names is all that the body may name; for an option it is the option itself.
async fn update(call: Call) -> Answer {
    let (granted, groups) = authorized(&call)?;
    let mut groups = groups.ok_or_else(|| missing(&call))?;
    let (group, option) = place(&call);
    let mut config = config(&call)?;
    if !option.is_empty() {
        config = Map::from_iter([(group.to_owned(), Value::Object(config))]);
    }
    for (name, options) in parse(config)? {
        let is_named = group.is_empty() || group == name;
        if !is_named || (!option.is_empty() && options.keys().any(|it| it != option)) {
            return Err(Fault::forbidden("The body names options that the path does not."));
        }
        let is_known = groups.get(&name).is_some_and(|own| option.is_empty() || own.contains_key(option));
        if !group.is_empty() && !is_known {
            return Err(missing(&call));
        }
        groups.entry(name).or_default().extend(options);
    }
    keep(&call, groups.clone()).await?;
    Ok(granted.ok(shown(&groups, "", "").unwrap_or(Value::Null)))
}

async fn delete(call: Call) -> Answer {
    let (granted, groups) = authorized(&call)?;
    let mut groups = groups.ok_or_else(|| missing(&call))?;
    let (group, option) = place(&call);
    let found = match (group, option) {
        ("", _) => {
            groups.clear();
            true
        }
        (group, "") => groups.remove(group).is_some(),
        (group, option) => groups.get_mut(group).and_then(|options| options.remove(option)).is_some(),
    };
    if !found {
        return Err(missing(&call));
    }
    if groups.values().all(BTreeMap::is_empty) {
        call.service.records.check_settled(call.param("domain_id"))?;
        call.service.directory.delete::<DomainConfig>(call.param("domain_id")).await?;
        follow(&call).await?;
    } else {
        keep(&call, groups).await?;
    }
    Ok(granted.no_content())
}
