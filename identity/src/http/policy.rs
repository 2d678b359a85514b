//! Policies that services fetch from here. They rule nothing in this room.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Target};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, extra, list, with_extra};
use crate::limits::{BLOB_BYTES_MAX, NAME_CHARS_MAX};
use crate::model::Policy;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/policies";
    const ONE: &str = "/v3/policies/{policy_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_policies", index),
        Route::new(Method::POST, ALL, "identity:create_policy", create),
        Route::new(Method::GET, ONE, "identity:get_policy", show),
        Route::new(Method::PATCH, ONE, "identity:update_policy", update),
        Route::new(Method::DELETE, ONE, "identity:delete_policy", delete),
    ]
}

pub(super) fn view(call: &Call, policy: &Policy) -> Value {
    let view = json!({
        "id": policy.id,
        "type": policy.kind,
        "blob": policy.blob,
        "links": {"self": call.links.to(&format!("/v3/policies/{}", policy.id))},
    });
    with_extra(view, &policy.extra)
}

pub(super) fn found(call: &Call) -> Result<Arc<Policy>, Fault> {
    let id = call.param("policy_id");
    call.service.directory.get::<Policy>(id).ok_or_else(|| Fault::missing("policy", id))
}

async fn index(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let directory = call.service.directory.view();
    let rows = directory.policies.rows().filter(|(_, it)| call.query.admits("type", &it.kind));
    Ok(granted.ok(list(&call, "policies", "/v3/policies", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    Ok(granted.ok(json!({"policy": view(&call, &*found(&call)?)})))
}

/// The document, text or JSON.
fn blob(fields: &mut Fields) -> Result<Option<Value>, Fault> {
    let blob = fields.value("blob");
    if blob.as_ref().is_some_and(|blob| blob.to_string().len() > BLOB_BYTES_MAX) {
        return Err(fields.wrong("blob", &format!("is longer than {BLOB_BYTES_MAX} bytes")));
    }
    Ok(blob)
}

async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "policy")?;
    let policy = Policy {
        id: anello_base::id::hex_id(),
        kind: fields.required("type", NAME_CHARS_MAX)?,
        blob: blob(&mut fields)?.ok_or_else(|| fields.wrong("blob", "is required"))?,
        extra: extra(fields),
    };
    let policy = call.service.directory.create(policy).await?;
    Ok(granted.created(json!({"policy": view(&call, &policy)})))
}

async fn update(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let policy = found(&call)?;
    let mut fields = Fields::of(call.json()?, "policy")?;
    let kind = fields.replaced("type", NAME_CHARS_MAX)?;
    let blob = blob(&mut fields)?;
    let extra = extra(fields);
    let change = |it: &mut Policy| {
        it.kind = kind.clone().unwrap_or_else(|| it.kind.clone());
        it.blob = blob.clone().unwrap_or_else(|| it.blob.clone());
        it.extra.extend(extra.clone());
        Ok(())
    };
    let policy = call.service.directory.update(&policy.id, change).await?;
    Ok(granted.ok(json!({"policy": view(&call, &policy)})))
}

async fn delete(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let policy = found(&call)?;
    call.service.forget::<Policy>(&policy.id).await?;
    Ok(granted.no_content())
}
