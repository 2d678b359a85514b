//! Accounts: a project's containers and their totals. An account is there as soon as its owner asks for
//! it; it is written down when something is written to it.

use anello_storage::AccountInfo;
use anello_storage::store::IfMissing;
use http::{HeaderMap, Response, StatusCode};

use super::SwiftDoor;
use super::access::Access;
use super::call::Call;
use super::fault::Fault;
use super::limits::ACCOUNT_NAME_BYTES_MAX;
use super::listing::{self, Format};
use super::metadata::{self, Kind, PROJECT_DOMAIN};
use super::reply;
use crate::body::Body;

/// GET and HEAD.
pub(super) async fn read(
    door: &SwiftDoor,
    call: &Call,
    access: Access,
    account: &str,
) -> Result<Response<Body>, Fault> {
    let format = Format::of(call)?;
    let query = listing::query_of(call)?;
    let info = door.store.account(account).await?;
    let is_head = call.method == http::Method::HEAD;
    let rows = if info.is_some() && !is_head { door.store.account_list(account, &query).await? } else { Vec::new() };
    let mut response = if is_head {
        reply::with_body(StatusCode::NO_CONTENT, format.media_type(), "")
    } else {
        format.answer(listing::of_containers(format, account, &door.config.policy_name, &rows))
    };
    if call.query.get("format").is_none() {
        reply::vary(response.headers_mut(), "Accept");
    }
    let info = info.unwrap_or_else(|| AccountInfo { created: call.now, ..AccountInfo::default() });
    show(door, &info, access, response.headers_mut());
    Ok(response)
}

/// POST: changes metadata.
pub(super) async fn update(door: &SwiftDoor, call: &Call, account: &str) -> Result<Response<Body>, Fault> {
    write(door, call, account).await?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// PUT: creates the account.
pub(super) async fn create(door: &SwiftDoor, call: &Call, account: &str) -> Result<Response<Body>, Fault> {
    let is_new = write(door, call, account).await?;
    Ok(reply::bare(if is_new { StatusCode::CREATED } else { StatusCode::ACCEPTED }))
}

/// DELETE.
pub(super) async fn delete(door: &SwiftDoor, call: &Call, account: &str) -> Result<Response<Body>, Fault> {
    // A mistyped parameter of some other operation must not cost an account.
    if !call.query.is_empty() {
        return Err(Fault::status(StatusCode::BAD_REQUEST));
    }
    door.store.account_delete(account).await?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// Changes metadata, creating the account where it isn't there; tells whether it was created.
async fn write(door: &SwiftDoor, call: &Call, account: &str) -> Result<bool, Fault> {
    let mut changes = metadata::changes(&call.headers, Kind::Account)?;
    let info = door.store.account(account).await?;
    if info.is_none() {
        check_name(account)?;
    }
    let current = info.as_ref().map(|info| info.metadata.clone()).unwrap_or_default();
    metadata::check_changed(&current, &changes, Kind::Account)?;
    for (name, value) in door.project_domain(call, account, info.as_ref()) {
        metadata::set(&mut changes, name, value);
    }
    Ok(door.store.account_update(account, changes, IfMissing::Create).await?.created)
}

/// Makes sure that the account that a container is about to be made in knows its project's domain.
pub(super) async fn prepare(door: &SwiftDoor, call: &Call, account: &str) -> Result<(), Fault> {
    let info = door.store.account(account).await?;
    if info.is_none() {
        check_name(account)?;
    }
    let changes = door.project_domain(call, account, info.as_ref());
    if !changes.is_empty() {
        door.store.account_update(account, changes, IfMissing::Create).await?;
    }
    Ok(())
}

fn check_name(account: &str) -> Result<(), Fault> {
    if account.len() > ACCOUNT_NAME_BYTES_MAX {
        let detail = format!("Account name length of {} longer than {ACCOUNT_NAME_BYTES_MAX}", account.len());
        return Err(Fault::invalid(detail));
    }
    Ok(())
}

fn show(door: &SwiftDoor, info: &AccountInfo, access: Access, headers: &mut HeaderMap) {
    metadata::show_changes(&info.metadata, Kind::Account, access.owner, headers);
    reply::set(headers, "accept-ranges", "bytes");
    reply::set(headers, "x-timestamp", info.created.to_string());
    if let Some(domain) = metadata::value(&info.metadata, PROJECT_DOMAIN) {
        reply::set(headers, "x-account-project-domain-id", domain);
    }
    let policy = door.config.policy_name.to_ascii_lowercase();
    let counts = [
        ("container-count", info.container_count),
        ("object-count", info.object_count),
        ("bytes-used", info.bytes_used),
    ];
    for (name, count) in counts {
        for name in [format!("x-account-{name}"), format!("x-account-storage-policy-{policy}-{name}")] {
            if let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) {
                headers.insert(name, http::HeaderValue::from(count));
            }
        }
    }
}
