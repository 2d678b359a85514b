//! What every operation of the S3 door works with: the store, who is calling, and whose a bucket is.

use std::sync::{Arc, Mutex, PoisonError};

use anello_api::identity::{Caller, Identity, IdentityError, SigningKey};
use anello_base::{Clock, SystemClock};
use anello_storage::ContainerInfo;
use http::{HeaderMap, HeaderName, HeaderValue};
use moka::sync::Cache;
use s3s::{S3ErrorCode, S3Result, dto, s3_error};

use super::S3Config;
use super::access_log::Logged;
use super::acl::ObjectOwnership;
use super::bucket_policy::Policies;
use super::error::OrNoBucket;
use super::lifecycle;
use super::limits::{KEY_CACHE_AGE, KEY_CACHE_ENTRIES};
use super::policy::Granted;
use super::quota;
use super::registry::Registry;
use crate::object::vault::Vault;

/// Where a storage class is named and shown.
pub(super) const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");

/// See the module.
pub(super) struct Front {
    pub(super) store: Vault,
    pub(super) registry: Registry,
    pub(super) region: String,
    pub(super) part_bytes_min: u64,
    /// Of buckets that have no such setting of their own.
    pub(super) object_ownership: ObjectOwnership,
    pub(super) policies: Policies,
    pub(super) lifecycles: lifecycle::Known,
    pub(super) logged: Logged,
    pub(super) quotas: quota::Accounts,
    identity: Arc<dyn Identity>,
    keys: Cache<String, Arc<KnownKey>>,
}

/// An access key as it is remembered.
pub(super) struct KnownKey {
    pub(super) signing: SigningKey,
    /// Identity's when it was asked.
    generation: Option<u64>,
    /// Date and region of the scope that a signature was last checked for, and its key.
    scope: Mutex<Option<(String, String, [u8; 32])>>,
}

impl KnownKey {
    /// The key for a scope, derived from the secret where it is not the last one.
    pub(super) fn scope(&self, date: &str, region: &str, derive: impl Fn(&str) -> [u8; 32]) -> [u8; 32] {
        let mut scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        match &*scope {
            Some((last_date, last_region, key)) if last_date == date && last_region == region => *key,
            _ => {
                let key = derive(&self.signing.secret);
                *scope = Some((date.to_owned(), region.to_owned(), key));
                key
            }
        }
    }
}

impl Front {
    pub(super) fn new(store: Vault, identity: Arc<dyn Identity>, config: &S3Config) -> Self {
        let keys = Cache::builder().max_capacity(KEY_CACHE_ENTRIES).time_to_live(KEY_CACHE_AGE).build();
        Self {
            registry: Registry::new(store.store().clone()),
            store,
            region: config.region.clone(),
            part_bytes_min: config.part_bytes_min,
            object_ownership: config.object_ownership,
            policies: Policies::default(),
            lifecycles: lifecycle::Known::default(),
            logged: Logged::default(),
            quotas: quota::Accounts::default(),
            identity,
            keys,
        }
    }

    /// The secret and owner of an access key.
    pub(super) async fn signing_key(&self, access: &str) -> S3Result<SigningKey> {
        Ok(self.known_key(access).await?.signing.clone())
    }

    /// The same, with what was derived from it.
    pub(super) async fn known_key(&self, access: &str) -> S3Result<Arc<KnownKey>> {
        // Read before the answer: a change in between makes the answer old, never wrong.
        let generation = self.identity.generation();
        let known = self.keys.get(access);
        if let Some(key) = &known
            && generation.is_some()
            && key.generation == generation
            && key.signing.caller.expires_at > SystemClock.wall().seconds()
        {
            return Ok(key.clone());
        }
        let signing = self.identity.signing_key(access).await.map_err(|error| match error {
            IdentityError::NotValid => S3ErrorCode::InvalidAccessKeyId.into(),
            // What is the matter is logged where identity is asked, and once.
            IdentityError::Unavailable(cause) => {
                tracing::debug!(%cause, "identity can't be asked for an access key");
                s3_error!(ServiceUnavailable, "The access key can't be checked now. Please try again.")
            }
        })?;
        // Whoever can't say that nothing has changed is asked each time, and remembers for himself.
        if let Some(key) = known.filter(|key| generation.is_none() && Arc::ptr_eq(&key.signing.caller, &signing.caller))
        {
            return Ok(key);
        }
        let key = Arc::new(KnownKey { signing, generation, scope: Mutex::new(None) });
        self.keys.insert(access.to_owned(), key.clone());
        Ok(key)
    }

    /// The bucket's container; NoSuchBucket otherwise.
    pub(super) async fn container(&self, granted: &Granted, bucket: &str) -> S3Result<ContainerInfo> {
        let container = self.store.container(&granted.account, bucket).await.or_no_bucket()?;
        container.ok_or_else(|| S3ErrorCode::NoSuchBucket.into())
    }

    /// The storage class of a bucket's objects: the name of its storage policy; STANDARD for the first one.
    pub(super) async fn class(&self, granted: &Granted, bucket: &str) -> S3Result<String> {
        Ok(self.other_class(granted, bucket).await?.unwrap_or_else(|| dto::StorageClass::STANDARD.to_owned()))
    }

    /// The class where it is not STANDARD.
    async fn other_class(&self, granted: &Granted, bucket: &str) -> S3Result<Option<String>> {
        let policy = self.store.container_policy(&granted.account, bucket).await.or_no_bucket()?;
        Ok(policy.filter(|policy| policy.index > 0).map(|policy| policy.name))
    }

    /// Shows the class where it is not STANDARD, as S3 does.
    pub(super) async fn show_class(&self, granted: &Granted, bucket: &str, headers: &mut HeaderMap) -> S3Result<()> {
        let class = self.other_class(granted, bucket).await?;
        let class = class.and_then(|class| HeaderValue::from_str(&class).ok());
        headers.extend(class.map(|class| (STORAGE_CLASS, class)));
        Ok(())
    }

    /// Holds an object to the storage class of its bucket: no object has one of its own. STANDARD, which clients say by
    /// default, is whatever the bucket has.
    pub(super) async fn check_class(
        &self,
        granted: &Granted,
        bucket: &str,
        wanted: Option<&dto::StorageClass>,
    ) -> S3Result<()> {
        match wanted.map(dto::StorageClass::as_str) {
            None | Some(dto::StorageClass::STANDARD) => Ok(()),
            Some(wanted) if wanted.eq_ignore_ascii_case(&self.class(granted, bucket).await?) => Ok(()),
            Some(_) => Err(S3ErrorCode::InvalidStorageClass.into()),
        }
    }
}

/// The account whose containers are a caller's buckets.
pub(super) fn account_of(caller: &Caller) -> Option<String> {
    caller.project_id.as_ref().map(|project| format!("AUTH_{project}"))
}

/// The owner's id as S3 shows it: the project's.
pub(super) fn owner_id(account: &str) -> &str {
    account.strip_prefix("AUTH_").unwrap_or(account)
}
