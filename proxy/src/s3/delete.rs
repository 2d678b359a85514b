//! DeleteObject and DeleteObjects. In a bucket that keeps versions, an object that is deleted without saying which
//! version leaves a delete marker; a version is deleted for good.

use std::sync::atomic::{AtomicBool, Ordering};

use anello_storage::{Error, ObjectInfo, ObjectPath, Precondition};
use futures::StreamExt;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::conditions::precondition;
use super::error::from_storage;
use super::front::Front;
use super::limits::{DELETE_CONCURRENCY, DELETE_MANY_MAX};
use super::lock;
use super::policy::{self, Granted};
use super::version;
use crate::object::versions::{Behind, VersionId};

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The version that was deleted, or the delete marker that was made.
    pub(super) version: Option<String>,
    /// Whether that is a delete marker.
    pub(super) is_marker: bool,
}

/// DeleteObject: the answer is the same whether there was anything.
pub(super) async fn one(
    front: &Front,
    req: S3Request<dto::DeleteObjectInput>,
) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    if input.mfa.is_some() {
        return Err(s3_error!(NotImplemented, "Deletion by a second factor is not implemented."));
    }
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(s3_error!(NotImplemented, "Conditions on time or size are for directory buckets."));
    }
    let condition = precondition(input.if_match, None);
    let version = input.version_id.as_deref();
    let bypasses = input.bypass_governance_retention == Some(true);
    let done = remove(front, &granted, &input.bucket, &input.key, version, &condition, bypasses).await?;
    let Done { version, is_marker } = done;
    let delete_marker = is_marker.then_some(true);
    Ok(S3Response::new(dto::DeleteObjectOutput { delete_marker, version_id: version, request_charged: None }))
}

/// Deletes an object or a version, there or not; `bypasses` where the caller asks to pass over governance.
pub(super) async fn remove(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    condition: &Precondition,
    bypasses: bool,
) -> S3Result<Done> {
    let id = version::wanted(version)?;
    let path = ObjectPath::new(&*granted.account, bucket, key);
    let of_engine = |error| from_storage(error, S3ErrorCode::NoSuchKey);
    let Some(versions) = version::of(front, granted, bucket)? else {
        let deleted = match &id {
            // There is no other.
            Some(VersionId::Unique(_)) => Ok(None),
            Some(VersionId::Null) | None => front.store.object_delete(&path, condition).await,
        };
        return match deleted {
            Ok(_) | Err(Error::Missing("object")) => Ok(Done { version: version.map(str::to_owned), is_marker: false }),
            Err(Error::Precondition) if matches!(front.store.object(&path).await, Ok(None)) => {
                Err(S3ErrorCode::NoSuchKey.into())
            }
            Err(Error::Missing(_)) => Err(S3ErrorCode::NoSuchBucket.into()),
            Err(error) => Err(of_engine(error)),
        };
    };
    let Some(id) = id else {
        let marked = match versions.delete(key, condition).await {
            Err(Error::Precondition) if matches!(front.store.object(&path).await, Ok(None)) => {
                return Err(S3ErrorCode::NoSuchKey.into());
            }
            other => other.map_err(of_engine)?,
        };
        return Ok(Done { version: Some(marked.stamp.id.to_string()), is_marker: true });
    };
    if *condition != Precondition::default() {
        match versions.find(key, Some(&id)).await.map_err(of_engine)? {
            Some(crate::object::versions::Found::Object(info)) if condition.holds(Some(&info)) => {}
            _ => return Err(S3ErrorCode::PreconditionFailed.into()),
        }
    }
    // A version's data never change: the condition holds for as long as the version is there.
    let is_locked = AtomicBool::new(false);
    let may = |info: &ObjectInfo| {
        let may = lock::permits_deletion(front, info, bypasses && granted.may_bypass(bucket, key));
        is_locked.store(!may, Ordering::Relaxed);
        if may { Ok(()) } else { Err(Error::Precondition) }
    };
    let deleted = match versions.delete_version(key, &id, Behind::Next, may).await {
        Err(Error::Precondition) if is_locked.load(Ordering::Relaxed) => return Err(lock::denied()),
        other => other.map_err(of_engine)?,
    };
    let is_marker = deleted.is_some_and(|deleted| deleted.was_marker);
    Ok(Done { version: version.map(str::to_owned), is_marker })
}

/// DeleteObjects.
pub(super) async fn many(
    front: &Front,
    req: S3Request<dto::DeleteObjectsInput>,
) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let (objects, quiet) = (input.delete.objects, input.delete.quiet.unwrap_or(false));
    if objects.is_empty() || objects.len() > DELETE_MANY_MAX {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    granted.container()?;
    let bypasses = input.bypass_governance_retention == Some(true);
    let bucket = input.bucket.as_str();
    let granted = &granted;
    let one = |object: dto::ObjectIdentifier| async move {
        let done = listed(front, granted, bucket, &object, bypasses).await;
        (object, done)
    };
    let mut results = futures::stream::iter(objects).map(one).buffered(DELETE_CONCURRENCY);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    while let Some((object, done)) = results.next().await {
        match done {
            Ok(_) if quiet => {}
            Ok(done) => deleted.push(dto::DeletedObject {
                key: Some(object.key),
                delete_marker: done.is_marker.then_some(true),
                delete_marker_version_id: done.version.filter(|_| done.is_marker),
                version_id: object.version_id,
            }),
            Err(error) => errors.push(dto::Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(object.key),
                version_id: object.version_id,
            }),
        }
    }
    Ok(S3Response::new(dto::DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        request_charged: None,
    }))
}

async fn listed(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    object: &dto::ObjectIdentifier,
    bypasses: bool,
) -> Result<Done, S3Error> {
    granted.check_again(policy::deletion(object.version_id.is_some()), bucket, &object.key, &[])?;
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(s3_error!(NotImplemented, "Conditions on time or size are for directory buckets."));
    }
    let condition = precondition(object.e_tag.clone().map(dto::ETagCondition::ETag), None);
    remove(front, granted, bucket, &object.key, object.version_id.as_deref(), &condition, bypasses).await
}
