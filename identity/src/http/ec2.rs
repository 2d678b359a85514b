//! EC2 keys as a user sees them. The secret is made here.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted};
use http::Method;
use serde_json::{Value, json};

use super::credential::{delegate, is_in_reach};
use super::{Answer, Call, Route, list, of_user};
use crate::auth::{EC2, key_of};
use crate::limits::ID_CHARS_MAX;
use crate::model::{Credential, Delegate, User};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/users/{user_id}/credentials/OS-EC2";
    const ONE: &str = "/v3/users/{user_id}/credentials/OS-EC2/{access}";
    vec![
        Route::new(Method::GET, ALL, "identity:ec2_list_credentials", index),
        Route::new(Method::POST, ALL, "identity:ec2_create_credential", create),
        Route::new(Method::GET, ONE, "identity:ec2_get_credential", show),
        Route::new(Method::DELETE, ONE, "identity:ec2_delete_credential", delete),
    ]
}

/// `None` where the blob is none of an EC2 key.
fn view(call: &Call, credential: &Credential) -> Option<Value> {
    let blob = call.service.signing_keys.ec2_blob(credential)?;
    let path = format!("/v3/users/{}/credentials/OS-EC2/{}", credential.user_id, blob.access);
    Some(json!({
        "access": blob.access,
        "secret": blob.secret,
        "user_id": credential.user_id,
        "tenant_id": credential.project_id,
        "trust_id": match &credential.delegate {
            Some(Delegate::Trust(id)) => Some(id),
            _ => None,
        },
        "links": {"self": call.links.to(&path)},
    }))
}

async fn index(call: Call) -> Answer {
    let user_id = call.param("user_id");
    let granted = call.authorize(&of_user(user_id))?;
    let directory = call.service.directory.view();
    directory.users.get(user_id).ok_or_else(|| Fault::missing("user", user_id))?;
    let caller = call.caller()?;
    let is_own = |it: &Credential| it.kind == EC2 && it.user_id == user_id && is_in_reach(caller, it);
    let own = directory.credentials.rows().filter(|(_, it)| is_own(it));
    let shown: Vec<(&str, Value)> = own.filter_map(|(id, it)| Some((id, view(&call, it)?))).collect();
    let path = format!("/v3/users/{user_id}/credentials/OS-EC2");
    Ok(granted.ok(list(&call, "credentials", &path, shown.into_iter(), |it| it)?))
}

fn authorized(call: &Call) -> Result<(Granted, Arc<Credential>), Fault> {
    let (user_id, access) = (call.param("user_id"), call.param("access"));
    let granted = call.authorize(&of_user(user_id))?;
    let credential = key_of(&call.service.directory.view(), access).cloned();
    let caller = call.caller()?;
    let own = credential.filter(|it| it.kind == EC2 && it.user_id == user_id && is_in_reach(caller, it));
    Ok((granted, own.ok_or_else(|| Fault::missing("credential", access))?))
}

async fn show(call: Call) -> Answer {
    let (granted, credential) = authorized(&call)?;
    let shown = view(&call, &credential).ok_or_else(|| Fault::missing("credential", call.param("access")))?;
    Ok(granted.ok(json!({ "credential": shown })))
}

async fn create(call: Call) -> Answer {
    let user_id = call.param("user_id");
    let granted = call.authorize(&of_user(user_id))?;
    let mut fields = Fields::bare(call.json()?, "credential")?;
    let project_id = fields.required("tenant_id", ID_CHARS_MAX)?;
    let directory = &call.service.directory;
    directory.get::<User>(user_id).ok_or_else(|| Fault::missing("user", user_id))?;
    directory.project(&project_id).ok_or_else(|| Fault::missing("project", &project_id))?;
    let delegate = delegate(&call, Some(&project_id))?;
    let (_, credential) = call.service.new_ec2_key(user_id, &project_id, delegate).await?;
    let shown = view(&call, &credential).ok_or_else(|| Fault::missing("credential", &credential.id))?;
    Ok(granted.created(json!({ "credential": shown })))
}

async fn delete(call: Call) -> Answer {
    let (granted, credential) = authorized(&call)?;
    delegate(&call, credential.project_id.as_deref())?;
    call.service.directory.delete::<Credential>(&credential.id).await?;
    Ok(granted.no_content())
}
