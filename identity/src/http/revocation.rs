//! Revocation events, for services that check tokens themselves: which tokens are not good although they have not ended.
//! What follows from other changes (a role that is taken away, a record that is deleted) is no event.

use anello_api::rest::{Fault, Target};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, list};
use crate::model::{Revocation, Revoked};
use crate::time::{SECOND_US, iso_z, parse};

const EVENTS: &str = "/v3/OS-REVOKE/events";

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(Method::GET, EVENTS, "identity:list_revoke_events", index)]
}

/// Only what it concerns, and when: upstream shows no empty attributes.
fn view(revocation: &Revocation) -> Value {
    let (attribute, id) = match &revocation.of {
        Revoked::Token(id) => ("audit_id", id),
        Revoked::User(id) => ("user_id", id),
        Revoked::Project(id) => ("project_id", id),
        Revoked::Domain(id) => ("domain_id", id),
    };
    // Tokens end with the second in which they are revoked.
    let at = iso_z(revocation.issued_before * SECOND_US);
    json!({attribute: id, "issued_before": at, "revoked_at": at})
}

/// `since` shows what was revoked in that second and later, so that whoever asks again with the time of the last
/// event misses none.
async fn index(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let since = call.query.get("since").map(|text| parse(text).ok_or_else(|| malformed(text))).transpose()?;
    let since = since.map_or(0, |since_us| since_us / SECOND_US);
    let directory = call.service.directory.view();
    let rows = directory.revocations.rows().filter(|(_, it)| it.issued_before >= since);
    Ok(granted.ok(list(&call, "events", EVENTS, rows, |it| view(it))?))
}

fn malformed(since: &str) -> Fault {
    Fault::invalid(format!("Invalid date format {since}."))
}
