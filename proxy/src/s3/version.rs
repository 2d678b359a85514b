//! Versions of objects as S3 has them: PutBucketVersioning and GetBucketVersioning, `versionId` of the operations on
//! objects, and what is said of delete markers. [`crate::object::versions`] keeps them.

use anello_storage::store::ObjectUpdate;
use anello_storage::{ContainerInfo, Metadata, ObjectInfo, ObjectPath};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::conditions::last_modified;
use super::delete::Done;
use super::error::{OrNoBucket, custom, from_storage, with_headers};
use super::front::Front;
use super::policy::Granted;
use super::{metadata, tagging};
use crate::object::versions::{self, Found, Stamp, VersionId, Versions};
use crate::object::{self, Reader, lock};

/// Where a version's id is shown.
const VERSION: HeaderName = HeaderName::from_static("x-amz-version-id");
/// Where it is shown that a version is a delete marker.
const MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");

/// The `versionId` of a request.
pub(super) fn wanted(version: Option<&str>) -> S3Result<Option<VersionId>> {
    let parse = |text| VersionId::parse(text).ok_or_else(|| s3_error!(InvalidArgument, "Invalid version id specified"));
    version.map(parse).transpose()
}

/// The bucket's versions; `None` where it never kept any.
pub(super) fn of(front: &Front, granted: &Granted, bucket: &str) -> S3Result<Option<Versions>> {
    let container = granted.container.as_deref().ok_or(S3ErrorCode::NoSuchBucket)?;
    Ok(Versions::of(&front.store, &granted.account, bucket, container))
}

/// The tags of an object, or of a version of it; none where there is none.
pub(super) async fn tags(
    front: &Front,
    account: &str,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    container: &ContainerInfo,
) -> S3Result<Vec<(String, String)>> {
    let found = metadata(front, account, bucket, key, version, container).await?;
    Ok(found.map(|metadata| tagging::stored(&metadata)).unwrap_or_default())
}

/// The metadata of an object, or of a version of it, before anybody was granted anything; `None` where there is none.
pub(super) async fn metadata(
    front: &Front,
    account: &str,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    container: &ContainerInfo,
) -> S3Result<Option<Metadata>> {
    let info = match (Versions::of(&front.store, account, bucket, container), version.map(VersionId::parse)) {
        (Some(versions), Some(Some(id))) => match versions.find(key, Some(&id)).await.or_no_bucket()? {
            Some(Found::Object(info)) => Some(info),
            Some(Found::Marker(_)) | None => None,
        },
        _ => front.store.object(&ObjectPath::new(account, bucket, key)).await.or_no_bucket()?,
    };
    Ok(info.map(|info| info.metadata))
}

/// Shows which version was read, in a bucket that keeps versions.
pub(super) fn show(granted: &Granted, info: &ObjectInfo, headers: &mut HeaderMap) -> S3Result<()> {
    let is_kept = granted.container.as_deref().and_then(versions::is_enabled).is_some();
    if is_kept {
        metadata::put(headers, VERSION, &Stamp::of(info).id.to_string())?;
    }
    Ok(())
}

/// Shows which version was made.
pub(super) fn show_made(stamp: Option<&Stamp>, headers: &mut HeaderMap) -> S3Result<()> {
    match stamp.map(|stamp| &stamp.id) {
        Some(id @ VersionId::Unique(_)) => metadata::put(headers, VERSION, &id.to_string()),
        Some(VersionId::Null) | None => Ok(()),
    }
}

/// Shows what a deletion did.
pub(super) fn show_deleted(done: &Done, headers: &mut HeaderMap) -> S3Result<()> {
    if done.is_marker {
        headers.insert(MARKER, HeaderValue::from_static("true"));
    }
    match &done.version {
        Some(version) => metadata::put(headers, VERSION, version),
        None => Ok(()),
    }
}

/// The id of a version that was made, as outputs have it: none while keeping is suspended, as in S3.
pub(super) fn made(stamp: Option<&Stamp>) -> Option<String> {
    stamp.filter(|stamp| stamp.id != VersionId::Null).map(|stamp| stamp.id.to_string())
}

/// An object, or a version of it, without its data. What is missing is told as S3 does.
pub(super) async fn find(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> S3Result<ObjectInfo> {
    let (path, id) = (ObjectPath::new(&*granted.account, bucket, key), wanted(version)?);
    let of_engine = |error| from_storage(error, S3ErrorCode::NoSuchKey);
    if id.is_none()
        && let Some(info) = front.store.object(&path).await.map_err(of_engine)?
    {
        return Ok(info);
    }
    let Some(versions) = of(front, granted, bucket)? else {
        let found = match id {
            Some(VersionId::Null) => Box::pin(front.store.object(&path)).await.map_err(of_engine)?,
            _ => None,
        };
        return found.ok_or_else(|| absent(id.as_ref()));
    };
    match Box::pin(versions.find(key, id.as_ref())).await.map_err(of_engine)? {
        Some(Found::Object(info)) => Ok(info),
        Some(Found::Marker(info)) => Err(is_marker(&info, id.is_some())),
        None => Err(absent(id.as_ref())),
    }
}

/// Opens an object, or a version of it.
pub(super) async fn open(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> S3Result<Reader> {
    let (path, id) = (ObjectPath::new(&*granted.account, bucket, key), wanted(version)?);
    let of_engine = |error| from_storage(error, S3ErrorCode::NoSuchKey);
    if id.is_none()
        && let Some(reader) = object::open(&front.store, &path).await.map_err(of_engine)?
    {
        return Ok(reader);
    }
    let versions = of(front, granted, bucket)?;
    let found = match (versions, &id) {
        (Some(versions), Some(id)) => Box::pin(versions.open(key, id)).await.map_err(of_engine)?,
        (None, Some(VersionId::Null)) => {
            Box::pin(object::open(&front.store, &path)).await.map_err(of_engine)?.map(Found::Object)
        }
        (None, _) => None,
        (Some(_), None) => {
            return Err(Box::pin(find(front, granted, bucket, key, None)).await.err().unwrap_or_else(busy));
        }
    };
    match found {
        Some(Found::Object(reader)) => Ok(reader),
        Some(Found::Marker(info)) => Err(is_marker(&info, id.is_some())),
        None => Err(absent(id.as_ref())),
    }
}

/// Replaces the metadata of an object, or of a version of it.
pub(super) async fn update(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    change: impl FnMut(&ObjectInfo) -> anello_storage::Result<ObjectUpdate> + Send,
) -> S3Result<()> {
    let id = wanted(version)?;
    let updated = match of(front, granted, bucket)? {
        Some(versions) => versions.update(key, id.as_ref(), change).await,
        None => front.store.object_update(&ObjectPath::new(&*granted.account, bucket, key), change).await,
    };
    updated.map(drop).map_err(|error| from_storage(error, absent(id.as_ref()).code().clone()))
}

/// It came while it was looked for.
fn busy() -> S3Error {
    S3ErrorCode::SlowDown.into()
}

fn absent(id: Option<&VersionId>) -> S3Error {
    match id {
        None => S3ErrorCode::NoSuchKey.into(),
        Some(_) => S3ErrorCode::NoSuchVersion.into(),
    }
}

/// What is answered about a delete marker: it is no object, and by its id nothing can be done but to delete it.
fn is_marker(info: &ObjectInfo, by_id: bool) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert(MARKER, HeaderValue::from_static("true"));
    let id = Stamp::of(info).id.to_string();
    headers.extend(HeaderValue::from_str(&id).ok().map(|id| (VERSION, id)));
    if !by_id {
        return with_headers(S3ErrorCode::NoSuchKey, headers);
    }
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(last_modified(info)));
    headers.extend(HeaderValue::from_str(&date).ok().map(|date| (header::LAST_MODIFIED, date)));
    headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
    with_headers(S3ErrorCode::MethodNotAllowed, headers)
}

/// GetBucketVersioning: no status where versioning was never switched on.
pub(super) async fn get(
    _: &Front,
    req: S3Request<dto::GetBucketVersioningInput>,
) -> S3Result<S3Response<dto::GetBucketVersioningOutput>> {
    let granted = Granted::of(&req)?;
    let status = versions::is_enabled(granted.container()?).map(|is_enabled| {
        let status =
            if is_enabled { dto::BucketVersioningStatus::ENABLED } else { dto::BucketVersioningStatus::SUSPENDED };
        dto::BucketVersioningStatus::from_static(status)
    });
    Ok(S3Response::new(dto::GetBucketVersioningOutput { mfa_delete: None, status }))
}

/// PutBucketVersioning.
pub(super) async fn put(
    front: &Front,
    req: S3Request<dto::PutBucketVersioningInput>,
) -> S3Result<S3Response<dto::PutBucketVersioningOutput>> {
    let granted = Granted::of(&req)?;
    let wanted = req.input.versioning_configuration;
    if req.input.mfa.is_some() || wanted.mfa_delete.is_some_and(|mfa| mfa.as_str() != dto::MFADelete::DISABLED) {
        return Err(s3_error!(NotImplemented, "Deletion by a second factor is not implemented."));
    }
    let is_enabled = match wanted.status.as_ref().map(dto::BucketVersioningStatus::as_str) {
        Some(dto::BucketVersioningStatus::ENABLED) => true,
        Some(dto::BucketVersioningStatus::SUSPENDED) => false,
        _ => {
            return Err(s3_error!(IllegalVersioningConfigurationException, "The Versioning element must be specified"));
        }
    };
    if !is_enabled && lock::is_enabled(granted.container()?) {
        return Err(custom(
            "InvalidBucketState",
            StatusCode::CONFLICT,
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
        ));
    }
    versions::set(&front.store, &granted.account, &req.input.bucket, is_enabled).await.or_no_bucket()?;
    Ok(S3Response::new(dto::PutBucketVersioningOutput::default()))
}
