//! Buckets: create, look, list, delete. A bucket is a container of its owner's account whose name is
//! claimed in the [registry](super::registry).
//!
//! Creating claims the name first and makes the container then; deleting goes the other way round. What
//! a crash leaves between the two is a claim without a container, which the registry knows to reuse.

use anello_storage::store::IfMissing;
use anello_storage::{Error, ListQuery, Listed};
use s3s::path::check_bucket_name;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::acl;
use super::error::OrNoBucket;
use super::front::{Front, STORAGE_CLASS};
use super::limits::{BUCKETS_MAX, PAGE_MAX};
use super::lock;
use super::multipart;
use super::policy::Granted;
use super::registry::Claimed;
use crate::object::versions;

/// The region that S3 shows as none at all.
const CLASSIC_REGION: &str = "us-east-1";

/// CreateBucket.
pub(super) async fn create(
    front: &Front,
    req: S3Request<dto::CreateBucketInput>,
) -> S3Result<S3Response<dto::CreateBucketOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let bucket = input.bucket.as_str();
    if !check_bucket_name(bucket) {
        return Err(S3ErrorCode::InvalidBucketName.into());
    }
    let policy = wanted_policy(front, &req.headers, input.create_bucket_configuration.as_ref())?;
    let ownership = input.object_ownership.as_ref().map(|ownership| {
        acl::ObjectOwnership::parse(ownership.as_str())
            .ok_or_else(|| s3_error!(InvalidArgument, "Invalid x-amz-object-ownership header"))
    });
    let ownership = ownership.transpose()?;
    let given = acl::Given {
        canned: input.acl.map(|acl| acl.as_str().to_owned()),
        headers: [
            input.grant_full_control,
            input.grant_read,
            input.grant_read_acp,
            input.grant_write,
            input.grant_write_acp,
        ],
        policy: None,
    };
    let mut settings = acl::bucket::of_new(&given, &granted.account, ownership.unwrap_or(front.object_ownership))?;
    settings.extend(ownership.map(acl::ObjectOwnership::setting));
    if input.object_lock_enabled_for_bucket == Some(true) {
        settings.extend(lock::of_new_bucket(&granted.account, bucket));
    }
    settings.sort();
    match front.registry.claim(bucket, &granted.account).await.or_no_bucket()? {
        Claimed::Now => {}
        Claimed::Before => return Err(S3ErrorCode::BucketAlreadyOwnedByYou.into()),
        Claimed::Taken => return Err(S3ErrorCode::BucketAlreadyExists.into()),
    }
    front.store.container_update(&granted.account, bucket, settings, policy, IfMissing::Create).await.or_no_bucket()?;
    Ok(S3Response::new(dto::CreateBucketOutput { location: Some(format!("/{bucket}")) }))
}

/// The storage policy that a new bucket is to have: that of the storage class which the request names, or of a
/// location of the form `[region]:policy`, as Ceph's gateway takes it.
fn wanted_policy(
    front: &Front,
    headers: &http::HeaderMap,
    configuration: Option<&dto::CreateBucketConfiguration>,
) -> S3Result<u32> {
    let location = configuration.and_then(|configuration| configuration.location_constraint.as_ref());
    let location = location.map(dto::BucketLocationConstraint::as_str).unwrap_or_default();
    let (region, placement) = location.split_once(':').map_or((location, None), |(region, name)| (region, Some(name)));
    check_region(front, region)?;
    let class = headers.get(&STORAGE_CLASS).and_then(|class| class.to_str().ok());
    match placement.or(class).filter(|name| !name.is_empty() && *name != dto::StorageClass::STANDARD) {
        None => Ok(front.store.policies().default_policy().index),
        Some(name) => match front.store.policies().named(name).filter(|policy| !policy.is_deprecated) {
            Some(policy) => Ok(policy.index),
            None => Err(S3ErrorCode::InvalidStorageClass.into()),
        },
    }
}

fn check_region(front: &Front, wanted: &str) -> S3Result<()> {
    match wanted {
        "" | CLASSIC_REGION => Ok(()),
        wanted if wanted == front.region => Ok(()),
        wanted => Err(s3_error!(
            InvalidLocationConstraint,
            "The location constraint {wanted:?} is not valid: there is only {:?}.",
            front.region
        )),
    }
}

/// HeadBucket.
pub(super) async fn head(
    front: &Front,
    req: S3Request<dto::HeadBucketInput>,
) -> S3Result<S3Response<dto::HeadBucketOutput>> {
    let granted = Granted::of(&req)?;
    front.container(&granted, &req.input.bucket).await?;
    let bucket_region = Some(front.region.clone());
    Ok(S3Response::new(dto::HeadBucketOutput { bucket_region, ..Default::default() }))
}

/// DeleteBucket. Uploads that were begun in it go with it.
pub(super) async fn delete(
    front: &Front,
    req: S3Request<dto::DeleteBucketInput>,
) -> S3Result<S3Response<dto::DeleteBucketOutput>> {
    let granted = Granted::of(&req)?;
    let bucket = req.input.bucket.as_str();
    front.container(&granted, bucket).await?;
    versions::remove(&front.store, &granted.account, bucket).await.or_no_bucket()?;
    multipart::forget_bucket(front, &granted.account, bucket).await;
    front.registry.release(bucket, &granted.account).await.or_no_bucket()?;
    Ok(S3Response::new(dto::DeleteBucketOutput::default()))
}

/// ListBuckets.
pub(super) async fn list(
    front: &Front,
    req: S3Request<dto::ListBucketsInput>,
) -> S3Result<S3Response<dto::ListBucketsOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let max = match input.max_buckets {
        None => BUCKETS_MAX,
        Some(max) => usize::try_from(max)
            .ok()
            .filter(|max| (1..=BUCKETS_MAX).contains(max))
            .ok_or_else(|| s3_error!(InvalidArgument, "max-buckets is to be between 1 and {BUCKETS_MAX}."))?,
    };
    let is_elsewhere = input.bucket_region.as_ref().is_some_and(|region| region.as_str() != front.region);
    let mut marker = input.continuation_token.as_deref().map(super::listing::from_token).transpose()?;
    let mut buckets = Vec::new();
    let mut is_more = !is_elsewhere;
    while is_more && buckets.len() < max {
        let limit = PAGE_MAX.min(max - buckets.len());
        let query = ListQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            marker: marker.clone(),
            limit,
            ..ListQuery::default()
        };
        let page = match front.store.account_list(&granted.account, &query).await {
            Err(Error::Missing(_)) => Vec::new(),
            other => other.or_no_bucket()?,
        };
        is_more = page.len() == limit;
        for listed in page {
            let Listed::Entry(entry) = listed else { continue };
            marker = Some(entry.name.clone());
            buckets.push(dto::Bucket {
                name: Some(entry.name),
                creation_date: Some(entry.created.system_time().into()),
                bucket_region: input.max_buckets.map(|_| front.region.clone()),
            });
        }
    }
    let continuation_token =
        marker.filter(|_| is_more && !buckets.is_empty()).map(|name| super::listing::to_token(&name));
    Ok(S3Response::new(dto::ListBucketsOutput {
        buckets: Some(buckets),
        owner: Some(acl::owner(&granted.account)),
        continuation_token,
        prefix: input.prefix,
    }))
}

/// GetBucketLocation.
pub(super) async fn location(
    front: &Front,
    req: S3Request<dto::GetBucketLocationInput>,
) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
    let granted = Granted::of(&req)?;
    front.container(&granted, &req.input.bucket).await?;
    let region = Some(front.region.clone()).filter(|region| region != CLASSIC_REGION);
    Ok(S3Response::new(dto::GetBucketLocationOutput { location_constraint: region.map(Into::into) }))
}
