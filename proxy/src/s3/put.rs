//! PutObject. A PUT is acknowledged when the engine has made data, metadata and
//! listing row durable in one step; until then nothing of it is visible, and a client that goes away
//! leaves nothing behind.

use anello_storage::store::ObjectHead;
use anello_storage::{Content, Error, ObjectPath, Precondition};
use bytes::Bytes;
use futures::Stream;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result, StdError, TrailingHeaders, dto, s3_error};

use super::acl;
use super::alike::{acl_given, check_extras, described, lock_wanted, with_checksum};
use super::checksum::Checksum;
use super::conditions::precondition;
use super::error::OrNoBucket;
use super::front::Front;
use super::get::refuse_customer_keys;
use super::metadata::Described;
use super::policy::Granted;
use super::quota;
use super::receive::{Promise, receive};
use super::{lifecycle, lock};
use super::{version, website};
use crate::object::versions::Stamp;
use crate::object::writer::Writer;

/// What is not offered and must not be ignored.
#[derive(Debug)]
pub(super) struct Extras<'a> {
    pub(super) encryption: Option<&'a dto::ServerSideEncryption>,
}

impl Extras<'_> {
    pub(super) fn check(&self) -> S3Result<()> {
        if self.encryption.is_some() {
            return Err(s3_error!(NotImplemented, "Server-side encryption is not implemented."));
        }
        Ok(())
    }
}

/// What a PUT says.
pub(super) struct PutRequest {
    pub(super) described: Described,
    pub(super) condition: Precondition,
    pub(super) promise: Promise,
    pub(super) lock: lock::Wanted,
    pub(super) acl: acl::Given,
    /// Where visitors of the bucket's site are sent.
    pub(super) redirect: Option<String>,
}

/// PutObject.
pub(super) async fn put(
    front: &Front,
    req: S3Request<dto::PutObjectInput>,
) -> S3Result<S3Response<dto::PutObjectOutput>> {
    let granted = Granted::of(&req)?;
    let (mut input, headers, trailers) = (req.input, req.headers, req.trailing_headers);
    refuse(&input)?;
    front.check_class(&granted, &input.bucket, input.storage_class.as_ref()).await?;
    let promise = Promise::from_headers(&headers, input.content_length)?;
    let condition = precondition(input.if_match, input.if_none_match);
    let (lock, acl) = (lock_wanted!(input), acl_given!(input));
    let redirect = input.website_redirect_location.take();
    let described = described!(input);
    let request = PutRequest { described, condition, promise, lock, acl, redirect };
    let body = input.body.unwrap_or_else(|| Body::empty().into());
    let (bucket, key, trailers) = (&input.bucket, &input.key, trailers.as_ref());
    let Stored { etag, checksum, stamp, expiration } =
        store(front, &granted, bucket, key, request, body, trailers).await?;
    let version_id = version::made(stamp.as_ref());
    let output =
        dto::PutObjectOutput { e_tag: Some(dto::ETag::Strong(etag)), version_id, expiration, ..Default::default() };
    Ok(S3Response::new(with_checksum!(checksum.as_ref(), output)))
}

/// An object that was stored.
pub(super) struct Stored {
    pub(super) etag: String,
    /// Where one came with it.
    pub(super) checksum: Option<Checksum>,
    /// Which version it is, where versions are kept.
    pub(super) stamp: Option<Stamp>,
    /// When it expires, as `x-amz-expiration` tells it.
    pub(super) expiration: Option<String>,
}

/// Takes in and stores an object.
pub(super) async fn store<S, E>(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    key: &str,
    request: PutRequest,
    body: S,
    trailers: Option<&TrailingHeaders>,
) -> S3Result<Stored>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    let PutRequest { described, condition, promise, lock, acl, redirect } = request;
    let path = ObjectPath::new(&*granted.account, bucket, key);
    let (content_type, mut metadata) = described.into_stored()?;
    let container = granted.container()?;
    lock.store(front, container, &mut metadata)?;
    acl.store(front, granted, &mut metadata)?;
    website::store_redirect(redirect.as_deref(), &mut metadata)?;
    quota::check(front, granted, bucket, promise.size_hint().unwrap_or(0)).await?;
    let mut writer = Writer::begin(&front.store, container, &path, promise.size_hint()).await.or_no_bucket()?;
    let received = receive(body, promise, trailers, &mut writer).await?;
    let etag = hex::encode(received.md5);
    if let Some(checksum) = &received.checksum {
        checksum.store(&etag, &mut metadata);
        metadata.sort();
    }
    let said = lifecycle::said(container, &metadata);
    let written = writer.finish(plain_head(etag.clone(), content_type, metadata), &condition).await;
    let (written, stamp) = written_or(front, &path, &condition, written).await?;
    let expiration = lifecycle::of_new(front, container, key, received.size, said, written.timestamp).await;
    Ok(Stored { etag, checksum: received.checksum, stamp, expiration })
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
pub(super) async fn written_or<T>(
    front: &Front,
    path: &ObjectPath,
    condition: &Precondition,
    written: anello_storage::Result<T>,
) -> S3Result<T> {
    match written {
        Err(Error::Precondition) if condition.if_match.is_some() => match front.store.object(path).await {
            Ok(None) => Err(S3ErrorCode::NoSuchKey.into()),
            _ => Err(S3ErrorCode::PreconditionFailed.into()),
        },
        other => other.or_no_bucket(),
    }
}

/// A plain object's head.
pub(super) fn plain_head(etag: String, content_type: String, metadata: anello_storage::Metadata) -> ObjectHead {
    ObjectHead { etag, content_type, metadata, content: Content::Plain, ..ObjectHead::default() }
}
