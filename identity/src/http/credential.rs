//! Credentials: what services keep for users, EC2 keys among them. The blob is sealed; only whoever may see the
//! credential sees it.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, extra, list, of_user, with_extra};
use crate::auth::{Authority, EC2, Ec2Blob, key_of};
use crate::limits::{BLOB_BYTES_MAX, ID_CHARS_MAX, NAME_CHARS_MAX};
use crate::model::{Credential, Delegate, access_id};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/credentials";
    const ONE: &str = "/v3/credentials/{credential_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_credentials", index),
        Route::new(Method::POST, ALL, "identity:create_credential", create),
        Route::new(Method::GET, ONE, "identity:get_credential", show),
        Route::new(Method::PATCH, ONE, "identity:update_credential", update),
        Route::new(Method::DELETE, ONE, "identity:delete_credential", delete),
    ]
}

fn view(call: &Call, credential: &Credential) -> Value {
    let blob = call.service.signing_keys.keys.open_sealed(&credential.sealed_blob);
    let blob = blob.map(|blob| shown_blob(credential, String::from_utf8_lossy(&blob).into_owned()));
    let view = json!({
        "id": credential.id,
        "type": credential.kind,
        "blob": blob,
        "user_id": credential.user_id,
        "project_id": credential.project_id,
        "links": {"self": call.links.to(&format!("/v3/credentials/{}", credential.id))},
    });
    with_extra(view, &credential.extra)
}

/// The blob as others see it. What a key was made with is in it, as in Keystone, so that other services grant no more;
/// what somebody wrote there himself is not.
fn shown_blob(credential: &Credential, blob: String) -> String {
    if credential.kind != EC2 {
        return blob;
    }
    let Ok(Value::Object(mut map)) = serde_json::from_str(&blob) else { return blob };
    let is_forged =
        ["app_cred_id", "trust_id", "access_token_id"].map(|name| map.remove(name).is_some()).contains(&true);
    match &credential.delegate {
        None if !is_forged => return blob,
        None => {}
        Some(Delegate::ApplicationCredential(id)) => drop(map.insert("app_cred_id".to_owned(), id.as_str().into())),
        Some(Delegate::Trust(id)) => drop(map.insert("trust_id".to_owned(), id.as_str().into())),
    }
    Value::Object(map).to_string()
}

fn authorized(call: &Call) -> Result<(Granted, Arc<Credential>), Fault> {
    let id = call.param("credential_id");
    let caller = call.caller()?;
    let credential = call.service.directory.get::<Credential>(id).filter(|it| is_in_reach(caller, it));
    let owner = credential.as_ref().map_or("", |it| it.user_id.as_str());
    let granted = call.authorize(&of_user(owner))?;
    Ok((granted, credential.ok_or_else(|| Fault::missing("credential", id))?))
}

/// A token that came of less than a log-in makes no credentials, which would outlive it; one of an unrestricted
/// application credential makes such that end with that.
pub(super) fn delegate(call: &Call, project_id: Option<&str>) -> Result<Option<Delegate>, Fault> {
    let caller = call.caller()?;
    if let Some(trust) = &caller.trust {
        if !trust.impersonation || project_id != Some(trust.project_id.as_str()) {
            return Err(Fault::forbidden("A trust makes credentials for its trustor and its own project only."));
        }
        return Ok(Some(Delegate::Trust(trust.id.clone())));
    }
    if caller.is_delegated() {
        return Err(Fault::forbidden("A token of a restricted credential can't make or change credentials."));
    }
    let Some(credential) = &caller.application_credential else { return Ok(None) };
    if project_id != Some(credential.project_id.as_str()) {
        return Err(Fault::forbidden("An application credential makes credentials for its own project only."));
    }
    Ok(Some(Delegate::ApplicationCredential(credential.id.clone())))
}

/// Whether a caller may see a credential's secret as far as his token goes: one that came of less than a log-in shows
/// what was made with the same, and not what its user has besides.
pub(super) fn is_in_reach(caller: &Authority, credential: &Credential) -> bool {
    match (&caller.trust, &caller.application_credential) {
        (Some(trust), _) => credential.delegate == Some(Delegate::Trust(trust.id.clone())),
        (None, Some(own)) => credential.delegate == Some(Delegate::ApplicationCredential(own.id.clone())),
        (None, None) => true,
    }
}

/// Without an owner's filter everybody sees his own, and whoever may see all sees all.
async fn index(call: Call) -> Answer {
    let caller = call.caller()?;
    let own = caller.user.id.clone();
    let granted = call.authorize(&of_user(call.query.get("user_id").unwrap_or(&own)))?;
    let directory = call.service.directory.view();
    let wanted = |it: &Credential| {
        call.query.admits("user_id", &it.user_id)
            && call.query.admits("type", &it.kind)
            && call.authorize(&of_user(&it.user_id)).is_ok()
            && is_in_reach(caller, it)
    };
    let rows = directory.credentials.rows().filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "credentials", "/v3/credentials", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let (granted, credential) = authorized(&call)?;
    Ok(granted.ok(json!({"credential": view(&call, &credential)})))
}

/// The blob as text; clients send a string, or the object itself.
fn blob(fields: &mut Fields) -> Result<Option<String>, Fault> {
    let text = match fields.value("blob") {
        None => return Ok(None),
        Some(Value::String(text)) => text,
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(_) => return Err(fields.wrong("blob", "is no string")),
    };
    if text.len() > BLOB_BYTES_MAX {
        return Err(fields.wrong("blob", &format!("is longer than {BLOB_BYTES_MAX} bytes")));
    }
    Ok(Some(text))
}

fn ec2_access(blob: &str) -> Result<String, Fault> {
    let blob: Result<Ec2Blob, _> = serde_json::from_str(blob);
    let blob = blob.map_err(|_| Fault::invalid("Invalid blob in credential: {\"access\", \"secret\"} is expected."))?;
    if blob.access.is_empty() || blob.secret.is_empty() {
        return Err(Fault::invalid("Invalid blob in credential: access and secret must not be empty."));
    }
    Ok(blob.access)
}

fn check_owner(call: &Call, user_id: &str, project_id: Option<&str>) -> Result<(), Fault> {
    let directory = call.service.directory.view();
    directory.users.get(user_id).ok_or_else(|| Fault::missing("user", user_id))?;
    project_id.map_or(Ok(()), |id| directory.project(id).map(|_| ()).ok_or_else(|| Fault::missing("project", id)))
}

async fn create(call: Call) -> Answer {
    let mut fields = Fields::of(call.json()?, "credential")?;
    let user_id = fields
        .text("user_id", ID_CHARS_MAX)?
        .unwrap_or_else(|| call.caller().map_or_else(|_| String::new(), |it| it.user.id.clone()));
    let granted = call.authorize(&of_user(&user_id))?;
    let kind = fields.required("type", NAME_CHARS_MAX)?;
    let project_id = fields.text("project_id", ID_CHARS_MAX)?;
    let blob = blob(&mut fields)?.ok_or_else(|| fields.wrong("blob", "is required"))?;
    check_owner(&call, &user_id, project_id.as_deref())?;
    let delegate = delegate(&call, project_id.as_deref())?;
    let id = if kind == EC2 {
        if project_id.is_none() {
            return Err(fields.wrong("project_id", "is required for the type ec2"));
        }
        access_id(&ec2_access(&blob)?)
    } else {
        anello_base::id::hex_id()
    };
    let sealed_blob = call.service.signing_keys.keys.seal(blob.as_bytes());
    let extra = extra(fields);
    let credential = Credential { id, kind, user_id, project_id, sealed_blob, moved_to: None, delegate, extra };
    let credential = call.service.directory.create(credential).await?;
    Ok(granted.created(json!({"credential": view(&call, &credential)})))
}

/// The owner as he is and as he is to be must both be in the caller's reach.
async fn update(call: Call) -> Answer {
    let (granted, credential) = authorized(&call)?;
    delegate(&call, credential.project_id.as_deref())?;
    let mut fields = Fields::of(call.json()?, "credential")?;
    let user_id = fields.replaced("user_id", ID_CHARS_MAX)?.unwrap_or_else(|| credential.user_id.clone());
    call.authorize(&of_user(&user_id))?;
    let project_id = fields.text("project_id", ID_CHARS_MAX)?.or_else(|| credential.project_id.clone());
    check_owner(&call, &user_id, project_id.as_deref())?;
    let kind = fields.replaced("type", NAME_CHARS_MAX)?.unwrap_or_else(|| credential.kind.clone());
    if (kind == EC2) != (credential.kind == EC2) {
        return Err(fields.wrong("type", "can't be changed to or from ec2"));
    }
    if credential.delegate.is_some() && (user_id != credential.user_id || project_id != credential.project_id) {
        return Err(Fault::forbidden("A credential made with an application credential keeps its owner and project."));
    }
    let blob = blob(&mut fields)?;
    let mut moved_to = credential.moved_to.clone();
    if let (Some(blob), true) = (&blob, kind == EC2) {
        let access = ec2_access(blob)?;
        let is_taken = key_of(&call.service.directory.view(), &access).is_some_and(|it| it.id != credential.id);
        if is_taken {
            return Err(Fault::conflict("Another credential has this access key."));
        }
        moved_to = Some(access_id(&access)).filter(|id| *id != credential.id);
    }
    let sealed_blob = blob.map(|blob| call.service.signing_keys.keys.seal(blob.as_bytes()));
    let extra = extra(fields);
    let change = |it: &mut Credential| {
        it.user_id.clone_from(&user_id);
        it.project_id.clone_from(&project_id);
        it.kind.clone_from(&kind);
        it.moved_to.clone_from(&moved_to);
        it.sealed_blob = sealed_blob.clone().unwrap_or_else(|| it.sealed_blob.clone());
        it.extra.extend(extra.clone());
        Ok(())
    };
    let credential = call.service.directory.update(&credential.id, change).await?;
    Ok(granted.ok(json!({"credential": view(&call, &credential)})))
}

async fn delete(call: Call) -> Answer {
    let (granted, credential) = authorized(&call)?;
    delegate(&call, credential.project_id.as_deref())?;
    call.service.directory.delete::<Credential>(&credential.id).await?;
    Ok(granted.no_content())
}
