//! Which role implies which.

use std::collections::BTreeMap;
use std::sync::Arc;

use anello_api::rest::{Fault, Target};
use http::Method;
use serde_json::{Value, json};

use super::role::found;
use super::{Answer, Call, Route};
use crate::model::{Implication, Kept, Role};

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/v3/roles/{role_id}/implies/{implied_role_id}";
    vec![
        Route::new(Method::GET, "/v3/role_inferences", "identity:list_role_inference_rules", index),
        Route::new(Method::GET, "/v3/roles/{role_id}/implies", "identity:list_implied_roles", list_implied),
        Route::new(Method::GET, ONE, "identity:get_implied_role", show),
        Route::new(Method::HEAD, ONE, "identity:check_implied_role", check),
        Route::new(Method::PUT, ONE, "identity:create_implied_role", create),
        Route::new(Method::DELETE, ONE, "identity:delete_implied_role", delete),
    ]
}

fn brief(call: &Call, role: &Role) -> Value {
    let link = call.links.to(&format!("/v3/roles/{}", role.id));
    json!({"id": role.id, "name": role.name, "description": role.description, "links": {"self": link}})
}

fn own_link(call: &Call, path: &str) -> Value {
    json!({"self": call.links.to(path)})
}

async fn index(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let view = call.service.directory.view();
    let mut rules: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for it in view.implications.iter() {
        if let Some(implied) = view.roles.get(&it.implied_role_id) {
            rules.entry(&it.prior_role_id).or_default().push(brief(&call, implied));
        }
    }
    let rule = |(id, implies): (&str, Vec<Value>)| {
        Some(json!({"prior_role": brief(&call, view.roles.get(id)?), "implies": implies}))
    };
    let rules: Vec<Value> = rules.into_iter().filter_map(rule).collect();
    Ok(granted.ok(json!({"role_inferences": rules, "links": own_link(&call, "/v3/role_inferences")})))
}

async fn list_implied(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let prior = found(&call, call.param("role_id"))?;
    let view = call.service.directory.view();
    let prefix = format!("{}|", prior.id);
    let implied = view.implications.with_prefix(&prefix).filter_map(|it| view.roles.get(&it.implied_role_id));
    let implies: Vec<Value> = implied.map(|role| brief(&call, role)).collect();
    let links = own_link(&call, &format!("/v3/roles/{}/implies", prior.id));
    let inference = json!({"prior_role": brief(&call, &prior), "implies": implies});
    Ok(granted.ok(json!({"role_inference": inference, "links": links})))
}

struct Pair {
    prior: Arc<Role>,
    implied: Arc<Role>,
}

impl Pair {
    fn of(call: &Call) -> Result<Self, Fault> {
        Ok(Self { prior: found(call, call.param("role_id"))?, implied: found(call, call.param("implied_role_id"))? })
    }

    fn record(&self) -> Implication {
        Implication { prior_role_id: self.prior.id.clone(), implied_role_id: self.implied.id.clone() }
    }

    fn check(&self, call: &Call) -> Result<(), Fault> {
        let id = self.record().id();
        let found = call.service.directory.get::<Implication>(&id);
        found.map(|_| ()).ok_or_else(|| Fault::missing("role inference", &id.replace('|', " implies ")))
    }

    fn view(&self, call: &Call) -> Value {
        let inference = json!({"prior_role": brief(call, &self.prior), "implies": brief(call, &self.implied)});
        let path = format!("/v3/roles/{}/implies/{}", self.prior.id, self.implied.id);
        json!({"role_inference": inference, "links": own_link(call, &path)})
    }
}

async fn show(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let pair = Pair::of(&call)?;
    pair.check(&call)?;
    Ok(granted.ok(pair.view(&call)))
}

async fn check(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    Pair::of(&call)?.check(&call)?;
    Ok(granted.no_content())
}

async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let pair = Pair::of(&call)?;
    if pair.implied.name == "admin" {
        return Err(Fault::forbidden("The role admin must not be implied."));
    }
    if pair.implied.domain_id.is_some() && pair.prior.domain_id.is_none() {
        return Err(Fault::forbidden("A domain's own role can't be implied by a global role."));
    }
    if pair.prior.id == pair.implied.id {
        return Err(Fault::invalid("A role does not imply itself."));
    }
    call.service.directory.put(pair.record()).await?;
    Ok(granted.created(pair.view(&call)))
}

async fn delete(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let pair = Pair::of(&call)?;
    pair.check(&call)?;
    call.service.directory.delete::<Implication>(&pair.record().id()).await?;
    Ok(granted.no_content())
}
