//! Quotas: what Swift sets for a container or an account holds for what comes through this door too (Ceph's gateway
//! answers alike). They are held against what is there when an upload begins; several at once may go beyond.

use anello_storage::Metadata;
use http::StatusCode;
use moka::sync::Cache;
use s3s::{S3Error, S3Result};

use super::error::{OrNoBucket, custom};
use super::front::Front;
use super::limits::{QUOTA_CACHE_AGE, QUOTA_CACHE_ENTRIES};
use super::policy::Granted;
use crate::object::versions::{self, Versions};

/// What the names of a container's quotas begin with, and an account's; `bytes` and `count` follow.
const CONTAINER: &str = "x-container-meta-quota-";
const ACCOUNT: &str = "x-account-sysmeta-quota-";
/// The form that accounts' quotas had before.
const ACCOUNT_BYTES_BEFORE: &str = "x-account-meta-quota-bytes";

/// Whether accounts have quotas, as it was a moment ago.
#[derive(Debug)]
pub(super) struct Accounts(Cache<String, bool>);

impl Default for Accounts {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(QUOTA_CACHE_ENTRIES).time_to_live(QUOTA_CACHE_AGE).build())
    }
}

fn has(metadata: &Metadata, start: &str) -> bool {
    metadata.iter().any(|(name, value)| name.starts_with(start) && !value.is_empty())
}

fn quota(metadata: &Metadata, name: &str) -> Option<u64> {
    metadata.iter().find(|(found, _)| found == name).and_then(|(_, value)| value.parse().ok())
}

/// Whether one more object of so many bytes is more than `bytes` and `count` have room for.
fn is_over(quotas: [Option<u64>; 2], used: [u64; 2], more: u64) -> bool {
    let [bytes, count] = quotas;
    bytes.is_some_and(|quota| used[0].saturating_add(more) > quota) || count.is_some_and(|quota| used[1] + 1 > quota)
}

/// Holds an upload of so many bytes to the quotas; where its length is not known yet, to there being any room.
pub(super) async fn check(front: &Front, granted: &Granted, bucket: &str, bytes: u64) -> S3Result<()> {
    let of_container = has(&granted.container()?.metadata, CONTAINER);
    let of_account = match front.quotas.0.get(&*granted.account) {
        Some(has_any) => has_any,
        None => Box::pin(look(front, &granted.account)).await?,
    };
    match of_container || of_account {
        true => Box::pin(hold(front, granted, bucket, bytes)).await,
        false => Ok(()),
    }
}

async fn look(front: &Front, account: &str) -> S3Result<bool> {
    let settings = front.store.account_settings(account).await.or_no_bucket()?;
    let has_any = settings
        .is_some_and(|settings| has(&settings.metadata, ACCOUNT) || has(&settings.metadata, ACCOUNT_BYTES_BEFORE));
    front.quotas.0.insert(account.to_owned(), has_any);
    Ok(has_any)
}

async fn hold(front: &Front, granted: &Granted, bucket: &str, bytes: u64) -> S3Result<()> {
    let (store, account) = (&front.store, &*granted.account);
    let container = front.container(granted, bucket).await?;
    if has(&container.metadata, CONTAINER) {
        let kept = match Versions::of(store, account, bucket, &container) {
            Some(versions) => versions.kept_bytes().await.or_no_bucket()?,
            None => 0,
        };
        let quotas = ["bytes", "count"].map(|kind| quota(&container.metadata, &format!("{CONTAINER}{kind}")));
        if is_over(quotas, [container.bytes_used + kept, container.object_count], bytes) {
            return Err(exceeded());
        }
    }
    let Some(info) = store.account(account).await.or_no_bucket()? else { return Ok(()) };
    let [of_bytes, of_count] = ["bytes", "count"].map(|kind| quota(&info.metadata, &format!("{ACCOUNT}{kind}")));
    let of_bytes = of_bytes.or_else(|| quota(&info.metadata, ACCOUNT_BYTES_BEFORE));
    if of_bytes.is_none() && of_count.is_none() {
        return Ok(());
    }
    let kept = versions::kept_bytes(store, account).await.or_no_bucket()?.unwrap_or(0);
    match is_over([of_bytes, of_count], [info.bytes_used + kept, info.object_count], bytes) {
        true => Err(exceeded()),
        false => Ok(()),
    }
}

fn exceeded() -> S3Error {
    custom("QuotaExceeded", StatusCode::FORBIDDEN, "The quota of the bucket, or of its project, leaves no room for it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_what_may_be_there() {
        for (quotas, used, more, want) in [
            ([None, None], [u64::MAX, u64::MAX - 1], 1, false),
            ([Some(10), None], [5, 0], 5, false),
            ([Some(10), None], [5, 0], 6, true),
            ([Some(10), None], [u64::MAX, 0], 1, true),
            ([None, Some(2)], [0, 1], 9, false),
            ([None, Some(2)], [0, 2], 0, true),
        ] {
            assert_eq!(is_over(quotas, used, more), want, "{quotas:?} {used:?} {more}");
        }
    }
}
