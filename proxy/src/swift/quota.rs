//! Quotas: how much an account (set by resellers) or a container (set by owners) may hold. They are held against what is
//! there when an upload begins, and what it says of its length: several at once may go beyond, as in Swift.

use anello_storage::{Metadata, ObjectPath, Policies};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::SwiftDoor;
use super::access::Access;
use super::call::Call;
use super::config::Middleware;
use super::fault::Fault;
use super::metadata::value;
use super::policy_totals;
use super::version;
use crate::object::versions;

const CONTAINER_BYTES: &str = "x-container-meta-quota-bytes";
const CONTAINER_COUNT: &str = "x-container-meta-quota-count";

/// The form that accounts' quotas had before: user metadata.
const ACCOUNT_BYTES_BEFORE: &str = "x-account-meta-quota-bytes";

/// What an account's quotas count.
const KINDS: [&str; 2] = ["quota-bytes", "quota-count"];

/// Where an account keeps a quota, of all or of one storage policy.
fn item(kind: &str, policy: Option<u32>) -> String {
    match policy {
        None => format!("x-account-sysmeta-{kind}"),
        Some(index) => format!("x-account-sysmeta-{kind}-policy-{index}"),
    }
}

/// How a quota is called outside: `account-quota-bytes-policy-gold`.
fn names(policies: &Policies) -> Vec<(String, String)> {
    let kinds = KINDS.into_iter().flat_map(|kind| {
        let of_policy = |policy: &anello_storage::StoragePolicy| {
            let name = policy.name.to_ascii_lowercase();
            (format!("account-{kind}-policy-{name}"), item(kind, Some(policy.index)))
        };
        let all = std::iter::once((format!("account-{kind}"), item(kind, None)));
        all.chain(policies.iter().map(of_policy)).collect::<Vec<_>>()
    });
    kinds.collect()
}

/// The quotas that a request sets for an account.
pub(super) fn account_changes(door: &SwiftDoor, call: &Call, access: Access) -> Result<Metadata, Fault> {
    let mut changes = Metadata::new();
    if !door.config.offers(Middleware::AccountQuotas) {
        return Ok(changes);
    }
    for (name, item) in names(&door.store.policies()) {
        let removes = call.header(&format!("x-remove-{name}")).is_some_and(|value| !value.is_empty());
        let before = (name == "account-quota-bytes").then_some(ACCOUNT_BYTES_BEFORE);
        let removes_before = before.is_some() && call.headers.contains_key("x-remove-account-meta-quota-bytes");
        let set = call.header(&format!("x-{name}")).or_else(|| call.header(before?));
        match (set, removes || removes_before) {
            (_, true) => changes.push((item, String::new())),
            (Some(quota), false) if quota.bytes().all(|byte| byte.is_ascii_digit()) => {
                changes.push((item, quota.to_owned()));
            }
            (Some(_), false) if access.reseller => return Err(Fault::status(StatusCode::BAD_REQUEST)),
            (Some(quota), false) => changes.push((item, quota.to_owned())),
            (None, false) => {}
        }
    }
    if !changes.is_empty() && !access.reseller {
        return Err(Fault::status(StatusCode::FORBIDDEN));
    }
    Ok(changes)
}

/// Shows an account's quotas, to whoever may look at it.
pub(super) fn show(door: &SwiftDoor, metadata: &Metadata, headers: &mut HeaderMap) {
    for (name, item) in names(&door.store.policies()) {
        let header = HeaderName::from_bytes(format!("x-{name}").as_bytes());
        let quota = value(metadata, &item).map(HeaderValue::from_str);
        if let (Ok(header), Some(Ok(quota))) = (header, quota) {
            headers.insert(header, quota);
        }
    }
}

/// Looks whether a container's new quotas are numbers.
pub(super) fn check_container(door: &SwiftDoor, call: &Call) -> Result<(), Fault> {
    if !door.config.offers(Middleware::ContainerQuotas) {
        return Ok(());
    }
    for (name, what) in [(CONTAINER_BYTES, "bytes"), (CONTAINER_COUNT, "count")] {
        if call.header(name).is_some_and(|quota| !quota.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(Fault::invalid(format!("Invalid {what} quota.")));
        }
    }
    Ok(())
}

/// Holds an upload of so many bytes to the quotas.
pub(super) async fn check(door: &SwiftDoor, access: Access, path: &ObjectPath, bytes: u64) -> Result<(), Fault> {
    let exceeded = |detail| Err(Fault::because(StatusCode::PAYLOAD_TOO_LARGE, detail).on_a_page());
    let is_over = |quota: Option<&str>, used: u64, more: u64| {
        quota.and_then(|quota| quota.parse::<u64>().ok()).is_some_and(|quota| used.saturating_add(more) > quota)
    };
    let has =
        |metadata: &Metadata, part: &str| metadata.iter().any(|(name, value)| name.contains(part) && !value.is_empty());
    if door.config.offers(Middleware::ContainerQuotas)
        && let Some(settings) = door.store.container_settings(&path.account, &path.container).await?
        // What is there is counted only where it matters: that takes longer.
        && has(&settings.metadata, "-quota-")
        && let Some(info) = door.store.container(&path.account, &path.container).await?
        && let kept = version::kept_bytes(door, &path.account, &path.container, &info).await?
        && (is_over(value(&info.metadata, CONTAINER_BYTES), info.bytes_used + kept, bytes)
            || is_over(value(&info.metadata, CONTAINER_COUNT), info.object_count, 1))
    {
        return exceeded("Upload exceeds quota.");
    }
    if access.reseller || !door.config.offers(Middleware::AccountQuotas) {
        return Ok(());
    }
    let settings = door.store.account_settings(&path.account).await?;
    if !settings.is_some_and(|settings| has(&settings.metadata, "-quota-")) {
        return Ok(());
    }
    let Some(mut info) = door.store.account(&path.account).await? else { return Ok(()) };
    info.bytes_used += versions::kept_bytes(&door.store, &path.account).await?.unwrap_or(0);
    let quota = |kind: &str, policy| value(&info.metadata, &item(kind, policy));
    let of_all = quota(KINDS[0], None).or_else(|| value(&info.metadata, ACCOUNT_BYTES_BEFORE));
    if is_over(of_all, info.bytes_used, bytes) || is_over(quota(KINDS[1], None), info.object_count, 1) {
        return exceeded("Upload exceeds quota.");
    }
    let policy = door.store.container_policy(&path.account, &path.container).await?;
    let policy = policy.unwrap_or_else(|| door.store.policies().default_policy().clone()).index;
    let (of_bytes, of_count) = (quota(KINDS[0], Some(policy)), quota(KINDS[1], Some(policy)));
    if of_bytes.or(of_count).is_none() {
        return Ok(());
    }
    let is_only = door.store.policies().iter().count() == 1;
    let of_all = policy_totals::Totals { containers: 0, objects: info.object_count, bytes: info.bytes_used };
    let used = match is_only {
        true => Some(of_all),
        false => {
            policy_totals::lately(door, &path.account).await?.map(|it| it.get(&policy).copied().unwrap_or_default())
        }
    };
    if used.is_some_and(|used| is_over(of_bytes, used.bytes, bytes) || is_over(of_count, used.objects, 1)) {
        return exceeded("Upload exceeds policy quota.");
    }
    Ok(())
}
