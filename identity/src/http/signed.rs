//! Signed requests that other services forward: who signed them, and a token for him.

use std::sync::Arc;

use anello_api::rest::{Fault, Target};
use http::Method;
use serde_json::Value;

use super::{Answer, Call, Route};
use crate::auth::{
    Authority, Issue, ec2_signature_matches, key_of, now_us, s3_signature_matches, signed_at, token_view,
};
use crate::limits::SIGNATURE_AGE_MAX;
use crate::model::{Delegate, Trust};
use crate::time::SECOND_US;
use crate::token::{Method as Proof, TokenScope};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::POST, "/v3/ec2tokens", "identity:ec2tokens_validate", ec2),
        Route::new(Method::POST, "/v3/s3tokens", "identity:s3tokens_validate", s3),
    ]
}

async fn ec2(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let credentials = credentials(call.json()?)?;
    check_age(&credentials)?;
    let (token, authority) = token(&call, &credentials, |secret| ec2_signature_matches(secret, &credentials)).await?;
    let body = token_view(&call.service.directory.view(), &authority, true);
    Ok(granted.ok(body).with("x-subject-token", &token))
}

/// The token itself is not given away: whoever asks needs to know who it is, and no more.
async fn s3(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let credentials = credentials(call.json()?)?;
    let text = |name: &str| credentials.get(name).and_then(Value::as_str).unwrap_or("");
    let matches = |secret: &str| s3_signature_matches(secret, text("token"), text("signature"));
    let (_, authority) = token(&call, &credentials, matches).await?;
    Ok(granted.ok(token_view(&call.service.directory.view(), &authority, true)))
}

/// The part of the body that says what was signed, under any of the names that clients use.
fn credentials(body: Value) -> Result<Value, Fault> {
    let names = ["credentials", "credential", "ec2Credentials"];
    let found = names.into_iter().find_map(|name| body.get(name).filter(|it| it.is_object()));
    found.cloned().ok_or_else(|| Fault::invalid("'credentials' is a required property"))
}

/// A request is good for some minutes; one that does not say when it was signed would be good for ever.
fn check_age(credentials: &Value) -> Result<(), Fault> {
    let unauthorized = |message: &str| Fault::of(anello_base::Class::Unauthenticated, message);
    let signed_at = signed_at(credentials).map_err(|()| unauthorized("Credential timestamp is invalid"))?;
    let signed_at = signed_at.ok_or_else(|| unauthorized("Credential timestamp is missing"))?;
    let age_max_us = SIGNATURE_AGE_MAX.as_secs() * SECOND_US;
    if signed_at.abs_diff(now_us()) > age_max_us {
        return Err(unauthorized("Credential is expired"));
    }
    Ok(())
}

async fn token(
    call: &Call,
    credentials: &Value,
    matches: impl Fn(&str) -> bool,
) -> Result<(String, Arc<Authority>), Fault> {
    let unauthorized = |message: &str| Fault::of(anello_base::Class::Unauthenticated, message);
    let access = credentials.get("access").and_then(Value::as_str);
    let access = access.ok_or_else(|| unauthorized("EC2 Signature not supplied"))?;
    let room = &call.service;
    let credential = key_of(&room.directory.view(), access).cloned();
    let credential = credential.ok_or_else(|| Fault::of(anello_base::Class::Missing, "EC2 access key not found."))?;
    let key = room.signing_keys.get(&room.directory, access).map_err(|_| Fault::unauthenticated())?;
    if !matches(&key.secret) {
        return Err(unauthorized("Credential signature mismatch"));
    }
    let project_id = credential.project_id.clone().unwrap_or_default();
    let scope = match &credential.delegate {
        None => TokenScope::Project(project_id),
        Some(Delegate::ApplicationCredential(id)) => {
            TokenScope::ApplicationCredential { project_id, credential_id: id.clone() }
        }
        Some(Delegate::Trust(id)) => TokenScope::Trust { project_id, trust_id: id.clone() },
    };
    // A token of a trust is its trustee's, whom it then names or not.
    let trustee = match &scope {
        TokenScope::Trust { trust_id, .. } => {
            room.directory.get::<Trust>(trust_id).map(|it| it.trustee_user_id.clone())
        }
        _ => None,
    };
    let user_id = trustee.unwrap_or_else(|| credential.user_id.clone());
    let issue = Issue { user_id, methods: vec![Proof::Ec2Credential], scope, parent: None };
    let ends_at_us = key.caller.expires_at.checked_mul(SECOND_US);
    let issued = room.tokens.issue(&room.directory, &issue, ends_at_us).await?;
    issued.map_err(|_| Fault::unauthenticated())
}
