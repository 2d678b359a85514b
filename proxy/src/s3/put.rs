//! PutObject and DeleteObject(s). A PUT is acknowledged when the engine has made data, metadata and
//! listing row durable in one step; until then nothing of it is visible, and a client that goes away
//! leaves nothing behind.

use anello_storage::store::ObjectHead;
use anello_storage::{Content, Error, ObjectPath, Precondition};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, StdError, TrailingHeaders, dto, s3_error};

use super::alike::{check_extras, described, with_checksum};
use super::checksum::Checksum;
use super::conditions::precondition;
use super::error::{OrNoBucket, from_storage};
use super::front::Front;
use super::get::refuse_customer_keys;
use super::limits::{DELETE_CONCURRENCY, DELETE_MANY_MAX};
use super::metadata::Described;
use super::policy::Granted;
use super::receive::{Promise, receive};

/// What is not offered and must not be ignored.
#[derive(Debug)]
pub(super) struct Extras<'a> {
    pub(super) encryption: Option<&'a dto::ServerSideEncryption>,
    pub(super) website_redirect: Option<&'a String>,
    pub(super) has_lock: bool,
}

impl Extras<'_> {
    pub(super) fn check(&self) -> S3Result<()> {
        if self.encryption.is_some() {
            return Err(s3_error!(NotImplemented, "Server-side encryption is not implemented."));
        }
        if self.website_redirect.is_some() {
            return Err(s3_error!(NotImplemented, "Website redirects are not implemented."));
        }
        if self.has_lock {
            return Err(s3_error!(NotImplemented, "Object Lock is not implemented."));
        }
        Ok(())
    }
}

/// What a PUT says.
pub(super) struct PutRequest {
    pub(super) described: Described,
    pub(super) condition: Precondition,
    pub(super) promise: Promise,
}

/// PutObject.
pub(super) async fn put(
    front: &Front,
    req: S3Request<dto::PutObjectInput>,
) -> S3Result<S3Response<dto::PutObjectOutput>> {
    let granted = Granted::of(&req)?;
    let (input, headers, trailers) = (req.input, req.headers, req.trailing_headers);
    refuse(&input)?;
    front.check_class(&granted, &input.bucket, input.storage_class.as_ref()).await?;
    let promise = Promise::from_headers(&headers, input.content_length)?;
    let condition = precondition(input.if_match, input.if_none_match);
    let described = described!(input);
    let request = PutRequest { described, condition, promise };
    let body = input.body.unwrap_or_else(|| Body::empty().into());
    let (bucket, key, trailers) = (&input.bucket, &input.key, trailers.as_ref());
    let (etag, checksum) = store(front, &granted, bucket, key, request, body, trailers).await?;
    let output = dto::PutObjectOutput { e_tag: Some(dto::ETag::Strong(etag)), ..Default::default() };
    Ok(S3Response::new(with_checksum!(checksum.as_ref(), output)))
}

/// Takes in and stores an object; its entity tag, and the checksum if one came with it.
pub(super) async fn store<S, E>(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    key: &str,
    request: PutRequest,
    body: S,
    trailers: Option<&TrailingHeaders>,
) -> S3Result<(String, Option<Checksum>)>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    let PutRequest { described, condition, promise } = request;
    let path = ObjectPath::new(&*granted.account, bucket, key);
    let (content_type, mut metadata) = described.into_stored()?;
    let mut writer = front.store.object_write(&path, Some(promise.length)).await.or_no_bucket()?;
    let received = receive(body, promise, trailers, &mut writer).await?;
    let etag = hex::encode(received.md5);
    if let Some(checksum) = &received.checksum {
        checksum.store(&etag, &mut metadata);
        metadata.sort();
    }
    let written = writer.finish(plain_head(etag.clone(), content_type, metadata), &condition).await;
    written_or(front, &path, &condition, written.map(drop)).await?;
    Ok((etag, received.checksum))
}

fn refuse(input: &dto::PutObjectInput) -> S3Result<()> {
    check_extras!(input);
    refuse_customer_keys(&[&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5])?;
    if input.write_offset_bytes.is_some() {
        return Err(s3_error!(NotImplemented, "Appending is not implemented."));
    }
    Ok(())
}

/// A write's outcome as S3 shows it: `If-Match` on what is not there is NoSuchKey.
pub(super) async fn written_or(
    front: &Front,
    path: &ObjectPath,
    condition: &Precondition,
    written: anello_storage::Result<()>,
) -> S3Result<()> {
    match written {
        Err(Error::Precondition) if condition.if_match.is_some() => match front.store.object(path).await {
            Ok(None) => Err(S3ErrorCode::NoSuchKey.into()),
            _ => Err(S3ErrorCode::PreconditionFailed.into()),
        },
        other => other.or_no_bucket(),
    }
}

/// DeleteObject: the answer is the same whether there was anything.
pub(super) async fn delete(
    front: &Front,
    req: S3Request<dto::DeleteObjectInput>,
) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    front.only_current(input.version_id.as_deref())?;
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(s3_error!(NotImplemented, "Conditions on time or size are for directory buckets."));
    }
    let condition = precondition(input.if_match, None);
    delete_one(front, &granted, &input.bucket, &input.key, &condition).await?;
    Ok(S3Response::new(dto::DeleteObjectOutput::default()))
}

/// Deletes an object, there or not; NoSuchBucket where it could not have been.
pub(super) async fn delete_one(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    key: &str,
    condition: &Precondition,
) -> S3Result<()> {
    if !remove(front, granted, bucket, key, condition).await? {
        front.container(granted, bucket).await?;
    }
    Ok(())
}

/// Deletes an object and tells whether there was one.
async fn remove(front: &Front, granted: &Granted, bucket: &str, key: &str, condition: &Precondition) -> S3Result<bool> {
    let path = ObjectPath::new(&*granted.account, bucket, key);
    match front.store.object_delete(&path, condition).await {
        Ok(deleted) => Ok(deleted.is_some()),
        Err(Error::Missing(_)) => Ok(false),
        Err(Error::Precondition) if matches!(front.store.object(&path).await, Ok(None)) => {
            Err(S3ErrorCode::NoSuchKey.into())
        }
        Err(error) => Err(from_storage(error, S3ErrorCode::NoSuchKey)),
    }
}

/// DeleteObjects.
pub(super) async fn delete_many(
    front: &Front,
    req: S3Request<dto::DeleteObjectsInput>,
) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let (objects, quiet) = (input.delete.objects, input.delete.quiet.unwrap_or(false));
    if objects.is_empty() || objects.len() > DELETE_MANY_MAX {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    front.container(&granted, &input.bucket).await?;
    let bucket = input.bucket.as_str();
    let granted = &granted;
    let one = |object: dto::ObjectIdentifier| async move {
        let done = delete_listed(front, granted, bucket, &object).await;
        (object, done)
    };
    let mut results = futures::stream::iter(objects).map(one).buffered(DELETE_CONCURRENCY);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    while let Some((object, done)) = results.next().await {
        match done {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(dto::DeletedObject {
                key: Some(object.key),
                version_id: object.version_id,
                ..Default::default()
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

async fn delete_listed(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    object: &dto::ObjectIdentifier,
) -> Result<(), S3Error> {
    front.only_current(object.version_id.as_deref())?;
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(s3_error!(NotImplemented, "Conditions on time or size are for directory buckets."));
    }
    let condition = precondition(object.e_tag.clone().map(dto::ETagCondition::ETag), None);
    remove(front, granted, bucket, &object.key, &condition).await.map(drop)
}

/// A plain object's head.
pub(super) fn plain_head(etag: String, content_type: String, metadata: anello_storage::Metadata) -> ObjectHead {
    ObjectHead { etag, content_type, metadata, content: Content::Plain, ..ObjectHead::default() }
}
