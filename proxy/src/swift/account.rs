//! Accounts: a project's containers and their totals. An account is there as soon as its owner asks for
//! it; it is written down when something is written to it.

use anello_storage::store::{IfMissing, freshness};
use anello_storage::{AccountInfo, ContainerEntry, Error, Listed};
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, Response, StatusCode};

use super::SwiftDoor;
use super::access::Access;
use super::call::Call;
use super::fault::Fault;
use super::layer::etag_quoter;
use super::limits::{ACCOUNT_NAME_BYTES_MAX, POLICY_LOOKUPS_AT_ONCE};
use super::listing::{self, ContainerRow, Format};
use super::metadata::{self, Kind, PROJECT_DOMAIN};
use super::policy_totals::{self, ByPolicy, Totals};
use super::tempauth::{ACCOUNT_ACL, AccountAcl};
use super::{quota, reply, version};
use crate::body::Body;
use crate::object::versions;

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
    if info.as_ref().is_some_and(|info| info.is_leaving) {
        return Err(Fault::status(StatusCode::GONE));
    }
    let kept = match versions::kept_bytes(&door.store, account).await {
        // Too few devices answer to list the versions' places. That few told of the account is said anyway.
        Err(_) if freshness::is_in_doubt() => None,
        kept => kept?,
    };
    let is_head = call.method == http::Method::HEAD;
    let rows = if info.is_some() && !is_head { door.store.account_list(account, &query).await? } else { Vec::new() };
    let mut response = if is_head {
        reply::with_body(StatusCode::NO_CONTENT, format.media_type(), "")
    } else {
        let rows = with_policies(door, account, rows, kept.is_some() && format != Format::Plain).await?;
        format.answer(listing::of_containers(format, account, &rows))
    };
    if call.query.get("format").is_none() {
        reply::vary(response.headers_mut(), "Accept");
    }
    let mut info = info.unwrap_or_else(|| AccountInfo { created: call.now, ..AccountInfo::default() });
    info.bytes_used += kept.unwrap_or(0);
    let by_policy = match door.store.policies().iter().count() {
        0 | 1 => None,
        _ => match policy_totals::of_account(door, account).await {
            Err(_) if freshness::is_in_doubt() => None,
            totals => totals?,
        },
    };
    show(door, &info, by_policy, access, response.headers_mut());
    Ok(response)
}

/// Containers with the names of their storage policies, and the bytes of the versions that they keep where `with_kept`.
async fn with_policies(
    door: &SwiftDoor,
    account: &str,
    rows: Vec<Listed<ContainerEntry>>,
    with_kept: bool,
) -> Result<Vec<Listed<ContainerRow>>, Fault> {
    let default = door.store.policies().default_policy().name.clone();
    let with_policy = |row: Listed<ContainerEntry>| async {
        match row {
            Listed::Prefix(prefix) => Ok(Listed::Prefix(prefix)),
            Listed::Entry(mut entry) => {
                if with_kept && let Some(info) = door.store.container_settings(account, &entry.name).await? {
                    entry.bytes_used += version::kept_bytes(door, account, &entry.name, &info).await?;
                }
                let policy = door.store.container_policy(account, &entry.name).await?;
                let policy = policy.map_or_else(|| default.clone(), |policy| policy.name);
                Ok(Listed::Entry(ContainerRow { entry, policy }))
            }
        }
    };
    futures::stream::iter(rows).map(with_policy).buffered(POLICY_LOOKUPS_AT_ONCE).try_collect().await
}

/// POST: changes metadata.
pub(super) async fn update(
    door: &SwiftDoor,
    call: &Call,
    access: Access,
    account: &str,
) -> Result<Response<Body>, Fault> {
    write(door, call, access, account).await?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// PUT: creates the account.
pub(super) async fn create(
    door: &SwiftDoor,
    call: &Call,
    access: Access,
    account: &str,
) -> Result<Response<Body>, Fault> {
    if door.store.account_settings(account).await?.is_some_and(|info| info.is_leaving) {
        return Err(Fault::because(StatusCode::FORBIDDEN, "Recently deleted"));
    }
    let is_new = write(door, call, access, account).await?;
    Ok(reply::bare(if is_new { StatusCode::CREATED } else { StatusCode::ACCEPTED }))
}

/// DELETE: of all that is in it, too, which goes piece by piece.
pub(super) async fn delete(door: &SwiftDoor, call: &Call, account: &str) -> Result<Response<Body>, Fault> {
    // A mistyped parameter of some other operation must not cost an account.
    if !call.query.is_empty() {
        return Err(Fault::status(StatusCode::BAD_REQUEST));
    }
    refuse_leaving(door.store.account_settings(account).await?.as_ref())?;
    match door.store.account_delete(account).await {
        Err(Error::NotEmpty) => door.store.account_reap(account).await?,
        other => other?,
    }
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// Changes metadata, creating the account where it isn't there; tells whether it was created.
async fn write(door: &SwiftDoor, call: &Call, access: Access, account: &str) -> Result<bool, Fault> {
    let mut changes = metadata::changes(&call.headers, Kind::Account, access.owner)?;
    let info = door.store.account(account).await?;
    if info.is_none() {
        check_name(account)?;
    }
    refuse_leaving(info.as_ref())?;
    let current = info.as_ref().map(|info| info.metadata.clone()).unwrap_or_default();
    metadata::check_changed(&current, &changes, Kind::Account)?;
    let acl = access_list(door, call, access)?;
    let quotas = quota::account_changes(door, call, access)?;
    let quoting = etag_quoter::change(door, call, Kind::Account);
    for (name, value) in
        door.project_domain(call, account, info.as_ref()).into_iter().chain(acl).chain(quotas).chain(quoting)
    {
        metadata::set(&mut changes, name, value);
    }
    Ok(door.store.account_update(account, changes, IfMissing::Create).await?.created)
}

/// The access list that a request sets, where it does and may.
fn access_list(door: &SwiftDoor, call: &Call, access: Access) -> Result<Option<(String, String)>, Fault> {
    let removes = call.headers.contains_key("x-remove-account-access-control").then_some("");
    let Some(text) = call.header(ACCOUNT_ACL).or(removes).filter(|_| door.tempauth.is_some()) else {
        return Ok(None);
    };
    let acl = AccountAcl::parse(text)
        .map_err(|reason| Fault::invalid(format!("X-Account-Access-Control invalid: {reason}\n\nInput: {text}\n")))?;
    let text = if acl.is_empty() { String::new() } else { acl.text() };
    Ok(access.owner.then(|| (metadata::ACCOUNT_ACL_ITEM.to_owned(), text)))
}

/// Makes sure that the account that a container is about to be made in knows its project's domain.
pub(super) async fn prepare(door: &SwiftDoor, call: &Call, account: &str) -> Result<(), Fault> {
    let info = door.store.account_settings(account).await?;
    if info.is_none() {
        check_name(account)?;
    }
    refuse_leaving(info.as_ref())?;
    let changes = door.project_domain(call, account, info.as_ref());
    if !changes.is_empty() {
        door.store.account_update(account, changes, IfMissing::Create).await?;
    }
    Ok(())
}

/// One that was deleted takes nothing more.
fn refuse_leaving(info: Option<&AccountInfo>) -> Result<(), Fault> {
    match info {
        Some(info) if info.is_leaving => Err(Fault::status(StatusCode::NOT_FOUND)),
        _ => Ok(()),
    }
}

fn check_name(account: &str) -> Result<(), Fault> {
    if account.len() > ACCOUNT_NAME_BYTES_MAX {
        let detail = format!("Account name length of {} longer than {ACCOUNT_NAME_BYTES_MAX}", account.len());
        return Err(Fault::invalid(detail));
    }
    Ok(())
}

/// Puts an account's metadata and totals into the headers of an answer; where there are several policies, `by_policy`.
fn show(door: &SwiftDoor, info: &AccountInfo, by_policy: Option<ByPolicy>, access: Access, headers: &mut HeaderMap) {
    metadata::show_changes(&info.metadata, Kind::Account, access.owner, headers);
    reply::set(headers, "accept-ranges", "bytes");
    reply::set(headers, "x-timestamp", info.created.to_string());
    quota::show(door, &info.metadata, headers);
    etag_quoter::show(door, &info.metadata, Kind::Account, headers);
    if let Some(acl) = metadata::value(&info.metadata, metadata::ACCOUNT_ACL_ITEM).filter(|_| access.owner) {
        reply::set(headers, ACCOUNT_ACL, acl);
    }
    if let Some(domain) = metadata::value(&info.metadata, PROJECT_DOMAIN) {
        reply::set(headers, "x-account-project-domain-id", domain);
    }
    let all = Totals { containers: info.container_count, objects: info.object_count, bytes: info.bytes_used };
    show_totals("x-account-", all, headers);
    let policies = door.store.policies();
    let only = policies.iter().next().filter(|_| policies.iter().count() == 1);
    let of_only = only.map(|policy| (policy.index, all));
    for (index, totals) in by_policy.into_iter().flatten().chain(of_only) {
        if let Some(policy) = policies.get(index) {
            let policy = policy.name.to_ascii_lowercase();
            show_totals(&format!("x-account-storage-policy-{policy}-"), totals, headers);
        }
    }
}

fn show_totals(prefix: &str, totals: Totals, headers: &mut HeaderMap) {
    let Totals { containers, objects, bytes } = totals;
    for (name, count) in [("container-count", containers), ("object-count", objects), ("bytes-used", bytes)] {
        if let Ok(name) = http::HeaderName::from_bytes(format!("{prefix}{name}").as_bytes()) {
            headers.insert(name, http::HeaderValue::from(count));
        }
    }
}
