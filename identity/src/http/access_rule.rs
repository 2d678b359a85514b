//! Access rules of a user, which his application credentials name.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, list, of_user};
use crate::limits::{ACCESS_RULE_PATH_CHARS_MAX, ACCESS_RULES_MAX, ID_CHARS_MAX, NAME_CHARS_MAX};
use crate::model::AccessRule;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/users/{user_id}/access_rules";
    const ONE: &str = "/v3/users/{user_id}/access_rules/{access_rule_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_access_rules", index),
        Route::new(Method::GET, ONE, "identity:get_access_rule", show),
        Route::new(Method::DELETE, ONE, "identity:delete_access_rule", delete),
    ]
}

/// A rule as its credential shows it.
pub(super) fn brief(rule: &AccessRule) -> Value {
    json!({"id": rule.id, "service": rule.service, "method": rule.method, "path": rule.path})
}

fn view(call: &Call, rule: &AccessRule) -> Value {
    let mut view = brief(rule);
    let path = format!("/v3/users/{}/access_rules/{}", rule.user_id, rule.id);
    view["links"] = json!({"self": call.links.to(&path)});
    view
}

async fn index(call: Call) -> Answer {
    let user_id = call.param("user_id");
    let granted = call.authorize(&of_user(user_id))?;
    let directory = call.service.directory.view();
    directory.users.get(user_id).ok_or_else(|| Fault::missing("user", user_id))?;
    let wanted = |it: &AccessRule| {
        it.user_id == user_id
            && call.query.admits("service", &it.service)
            && call.query.admits("method", &it.method)
            && call.query.admits("path", &it.path)
    };
    let rows = directory.access_rules.rows().filter(|(_, it)| wanted(it));
    let path = format!("/v3/users/{user_id}/access_rules");
    Ok(granted.ok(list(&call, "access_rules", &path, rows, |it| view(&call, it))?))
}

fn authorized(call: &Call) -> Result<(Granted, Arc<AccessRule>), Fault> {
    let (user_id, id) = (call.param("user_id"), call.param("access_rule_id"));
    let granted = call.authorize(&of_user(user_id))?;
    let found = call.service.directory.get::<AccessRule>(id).filter(|it| it.user_id == user_id);
    Ok((granted, found.ok_or_else(|| Fault::missing("access rule", id))?))
}

async fn show(call: Call) -> Answer {
    let (granted, rule) = authorized(&call)?;
    Ok(granted.ok(json!({"access_rule": view(&call, &rule)})))
}

/// A rule that a credential still names stays: without it the credential would be worth less than was said.
async fn delete(call: Call) -> Answer {
    let (granted, rule) = authorized(&call)?;
    let is_used = {
        let view = call.service.directory.view();
        let mut used = view.application_credentials.iter().filter_map(|it| it.access_rule_ids.as_ref());
        used.any(|ids| ids.contains(&rule.id))
    };
    if is_used {
        return Err(Fault::forbidden("The access rule is used by an application credential."));
    }
    call.service.directory.delete::<AccessRule>(&rule.id).await?;
    Ok(granted.no_content())
}

/// The rules that a new credential names, by their ids. What is described and not there yet is made; a rule that
/// the user has already is used again.
pub(super) async fn named(call: &Call, user_id: &str, wanted: Vec<Value>) -> Result<Vec<String>, Fault> {
    if wanted.len() > ACCESS_RULES_MAX {
        return Err(Fault::invalid(format!("An application credential has at most {ACCESS_RULES_MAX} access rules.")));
    }
    let mut ids = Vec::new();
    for rule in wanted {
        let mut fields = Fields::bare(rule, "access_rules")?;
        let id = match fields.text("id", ID_CHARS_MAX)? {
            Some(id) => {
                let found = call.service.directory.get::<AccessRule>(&id).filter(|it| it.user_id == user_id);
                found.ok_or_else(|| Fault::missing("access rule", &id))?.id.clone()
            }
            None => described(call, user_id, &mut fields).await?,
        };
        ids.push(id);
    }
    Ok(ids)
}

async fn described(call: &Call, user_id: &str, fields: &mut Fields) -> Result<String, Fault> {
    const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    let rule = AccessRule {
        id: anello_base::id::hex_id(),
        user_id: user_id.to_owned(),
        service: fields.required("service", NAME_CHARS_MAX)?,
        method: fields.required("method", NAME_CHARS_MAX)?,
        path: fields.required("path", ACCESS_RULE_PATH_CHARS_MAX)?,
    };
    if !METHODS.contains(&rule.method.as_str()) {
        return Err(fields.wrong("method", "is none of GET, HEAD, POST, PUT, PATCH and DELETE"));
    }
    let same = |it: &&Arc<AccessRule>| {
        it.user_id == user_id && (&it.service, &it.method, &it.path) == (&rule.service, &rule.method, &rule.path)
    };
    let known = call.service.directory.view().access_rules.iter().find(same).map(|it| it.id.clone());
    match known {
        Some(id) => Ok(id),
        None => Ok(call.service.directory.create(rule).await?.id.clone()),
    }
}
