//! A user's own change of his password: the old one is the proof, so that it is possible without a token, and when the
//! password only serves to be changed. Ends all of his tokens.

use anello_api::rest::{Fault, Fields, Target};
use http::Method;
use serde_json::Value;

use super::{Answer, Call, Route};
use crate::auth::now_us;
use crate::error::Error;
use crate::limits::PASSWORD_CHARS_MAX;
use crate::model::{Extra, Password, Revoked, User};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(Method::POST, "/v3/users/{user_id}/password", "identity:change_password", change)]
}

/// A password from a request, strong enough and hashed.
pub(super) async fn hashed(
    call: &Call,
    text: Option<String>,
    options: &Extra,
    by_himself: bool,
) -> Result<Option<Password>, Fault> {
    let Some(text) = text else { return Ok(None) };
    if text.is_empty() {
        return Err(Fault::invalid("A password must not be empty."));
    }
    call.service.rules.check_strength(&text)?;
    let hash = call.service.hasher.hash(text).await?;
    Ok(Some(call.service.rules.made(hash, options, by_himself, now_us())))
}

/// 400 for one of the user's latest passwords.
async fn check_history(call: &Call, user: &User, new: &str) -> Result<(), Fault> {
    let excluded = call.service.rules.excluded(user);
    let count = call.service.rules.compliance.unique_last_password_count;
    for phc in excluded {
        if call.service.hasher.verify(new.to_owned(), Some(phc.to_owned())).await? {
            let message = format!("The new password cannot be identical to one of the last {count} passwords.");
            return Err(Fault::invalid(message));
        }
    }
    Ok(())
}

async fn change(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "user")?;
    let original = fields.required("original_password", PASSWORD_CHARS_MAX)?;
    let new = fields.required("password", PASSWORD_CHARS_MAX)?;
    let room = &call.service;
    let who = (format!("user {}", call.param("user_id")), call.peer);
    if room.throttle.is_over(&who) {
        return Err(super::auth::too_many());
    }
    let user = room.directory.get::<User>(call.param("user_id")).filter(|user| user.enabled);
    let phc = user.as_ref().and_then(|user| user.password.as_ref()).map(|password| password.hash.clone());
    let is_right = room.hasher.verify(original, phc.clone()).await?;
    let is_locked_out = user.as_ref().is_some_and(|user| room.is_locked_out(user));
    if !is_right || is_locked_out {
        room.throttle.count(who);
        if let Some(user) = user.filter(|_| !is_locked_out) {
            room.note_failure(&user).await?;
        }
        return Err(Fault::unauthenticated());
    }
    let user = user.ok_or_else(Fault::unauthenticated)?;
    if user.options.get("lock_password") == Some(&Value::Bool(true)) {
        return Err(Fault::forbidden("The password of this user can't be changed by the user."));
    }
    room.rules.check_age(&user, now_us())?;
    check_history(&call, &user, &new).await?;
    let password = hashed(&call, Some(new), &user.options, true).await?;
    let change = |it: &mut User| {
        // Another change meanwhile: the old password that was shown is no longer the one that counts.
        if it.password.as_ref().map(|password| &password.hash) != phc.as_ref() {
            return Err(Error::Changed);
        }
        if let Some(password) = password.clone() {
            room.rules.replace(it, password);
        }
        Ok(())
    };
    room.directory.update(&user.id, change).await?;
    room.revoke(Revoked::User(user.id.clone())).await?;
    Ok(granted.no_content())
}
