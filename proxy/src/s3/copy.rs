//! CopyObject, and reading what UploadPartCopy copies. Data pass through the server; a copy onto itself
//! with new metadata is a change of metadata and moves nothing.

use anello_storage::store::ObjectUpdate;
use anello_storage::{Error, Metadata, ObjectInfo, ObjectPath, Precondition};
use bytes::Bytes;
use futures::stream::{BoxStream, try_unfold};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::alike::{acl_given, check_copy_keys, check_extras, lock_wanted, with_checksum};
use super::checksum::{Algorithm, Checksum};
use super::conditions::ReadConditions;
use super::error::{OrNoBucket, from_storage};
use super::front::Front;
use super::limits::PUT_BYTES_MAX;
use super::metadata::{Described, copied, keep_systems};
use super::policy::{self, Asking, Granted};
use super::put::{plain_head, written_or};
use super::receive::{Promise, receive};
use super::{lifecycle, quota, tagging, version, website};
use crate::object::Reader;
use crate::object::versions::Stamp;
use crate::object::writer::Writer;

/// A copy's source, opened: the caller may read it and its conditions hold.
pub(super) struct Source {
    pub(super) path: ObjectPath,
    /// Its version, where its bucket keeps versions.
    pub(super) version: Option<String>,
    /// Whether the request says which version.
    is_chosen: bool,
    pub(super) reader: Reader,
}

/// Opens a copy's source.
pub(super) async fn open(
    front: &Front,
    asking: Asking<'_>,
    source: &dto::CopySource,
    expected_owner: Option<&str>,
    conditions: &ReadConditions,
) -> S3Result<Source> {
    let dto::CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "Access points are not implemented."));
    };
    let query = version_id.as_deref().map(|id| format!("versionId={id}")).unwrap_or_default();
    let asking = Asking { query: &query, ..asking };
    let theirs = policy::authorize(front, asking, "GetObject", Some(bucket), Some(key)).await?;
    if expected_owner.is_some_and(|expected| expected != super::front::owner_id(&theirs.account)) {
        return Err(S3ErrorCode::AccessDenied.into());
    }
    let reader = version::open(front, &theirs, bucket, key, version_id.as_deref()).await?;
    if conditions.check(reader.info()).is_err() {
        return Err(S3ErrorCode::PreconditionFailed.into());
    }
    let path = ObjectPath::new(&*theirs.account, &**bucket, &**key);
    let is_kept = version::of(front, &theirs, bucket)?.is_some();
    let version = is_kept.then(|| Stamp::of(reader.info()).id.to_string());
    Ok(Source { path, version, is_chosen: version_id.is_some(), reader })
}

impl Source {
    /// The bytes that are left to read.
    pub(super) fn into_stream(self) -> BoxStream<'static, anello_storage::Result<Bytes>> {
        let chunks =
            try_unfold(self.reader, |mut reader| async move { Ok(reader.next().await?.map(|chunk| (chunk, reader))) });
        Box::pin(chunks)
    }
}

/// CopyObject.
pub(super) async fn copy(
    front: &Front,
    req: S3Request<dto::CopyObjectInput>,
) -> S3Result<S3Response<dto::CopyObjectOutput>> {
    let granted = Granted::of(&req)?;
    let (headers, connection) = (req.headers, req.extensions.get().copied().unwrap_or_default());
    let asking = Asking { caller: granted.caller.clone(), connection, headers: &headers, query: "" };
    let mut input = req.input;
    refuse(&input)?;
    front.check_class(&granted, &input.bucket, input.storage_class.as_ref()).await?;
    let conditions = ReadConditions::new(
        input.copy_source_if_match.take(),
        input.copy_source_if_none_match.take(),
        input.copy_source_if_modified_since.take(),
        input.copy_source_if_unmodified_since.take(),
    );
    let owner = input.expected_source_bucket_owner.as_deref();
    let source = open(front, asking, &input.copy_source, owner, &conditions).await?;
    let target = ObjectPath::new(&*granted.account, input.bucket.as_str(), input.key.as_str());
    let algorithm = match &input.checksum_algorithm {
        Some(name) => Some(
            Algorithm::from_name(name.as_str())
                .ok_or_else(|| s3_error!(InvalidRequest, "The checksum algorithm is not supported."))?,
        ),
        None => None,
    };
    let (lock, acl) = (lock_wanted!(input), acl_given!(input));
    let redirect = input.website_redirect_location.take();
    let replaces = is_replace(input.metadata_directive.as_ref().map(dto::MetadataDirective::as_str))?;
    let describe = describe(input, replaces)?;
    // What is the copy's own, wherever it comes from.
    let mut own = Metadata::new();
    acl.store(front, &granted, &mut own)?;
    website::store_redirect(redirect.as_deref(), &mut own)?;
    if source.path == target && !source.is_chosen {
        if !replaces && redirect.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        // Where versions are kept, it makes a new one.
        if version::of(front, &granted, &target.container)?.is_none() {
            return replace_metadata(front, &target, &conditions, describe, own).await;
        }
    }
    let (content_type, mut metadata) = describe(source.reader.info());
    lock.store(front, granted.container()?, &mut metadata)?;
    metadata.extend(own);
    metadata.sort();
    store(front, &granted, source, &target, content_type, metadata, algorithm).await
}

fn refuse(input: &dto::CopyObjectInput) -> S3Result<()> {
    check_extras!(input);
    check_copy_keys!(input)
}

fn is_replace(directive: Option<&str>) -> S3Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "A directive is to be COPY or REPLACE.")),
    }
}

/// What makes media type and metadata of the copy from the source, as the directives say.
fn describe(input: dto::CopyObjectInput, replaces: bool) -> S3Result<impl Fn(&ObjectInfo) -> (String, Metadata)> {
    let replaces_tags = is_replace(input.tagging_directive.as_ref().map(dto::TaggingDirective::as_str))?;
    let tags = match (&input.tagging, replaces_tags) {
        (Some(text), true) => Some(tagging::parse_header(text)?),
        (None, true) => Some(Vec::new()),
        (_, false) => None,
    };
    let given = if replaces {
        let described = Described {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            expires: input.expires,
            user: input.metadata,
            tagging: None,
        };
        Some(described.into_stored()?)
    } else {
        None
    };
    Ok(move |source: &ObjectInfo| {
        let taken = || (source.content_type.clone(), copied(&source.metadata, false));
        let (content_type, mut metadata) = given.clone().unwrap_or_else(taken);
        tagging::store(&tags.clone().unwrap_or_else(|| tagging::stored(&source.metadata)), &mut metadata);
        metadata.sort();
        (content_type, metadata)
    })
}

async fn store(
    front: &Front,
    granted: &Granted,
    source: Source,
    target: &ObjectPath,
    content_type: String,
    mut metadata: Metadata,
    algorithm: Option<Algorithm>,
) -> S3Result<S3Response<dto::CopyObjectOutput>> {
    let info = source.reader.info();
    if info.size > PUT_BYTES_MAX {
        return Err(s3_error!(
            InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy source: {PUT_BYTES_MAX}"
        ));
    }
    let kept = Checksum::stored(&info.metadata, &info.etag).map(|checksum| checksum.algorithm);
    let promise = Promise::length(info.size, algorithm.or(kept));
    quota::check(front, granted, &target.container, info.size).await?;
    let source_version = source.version.clone();
    let mut writer = Writer::begin(&front.store, granted.container()?, target, Some(info.size)).await.or_no_bucket()?;
    let received = receive(source.into_stream(), promise, None, &mut writer).await?;
    let etag = hex::encode(received.md5);
    if let Some(checksum) = &received.checksum {
        checksum.store(&etag, &mut metadata);
        metadata.sort();
    }
    let condition = Precondition::default();
    let said = lifecycle::said(granted.container()?, &metadata);
    let written = writer.finish(plain_head(etag.clone(), content_type, metadata), &condition).await;
    let (written, stamp) = written_or(front, target, &condition, written).await?;
    let mut answer = answer(etag, written.timestamp.seconds_ceil(), received.checksum.as_ref());
    let (container, made) = (granted.container()?, written.timestamp);
    answer.output.expiration = lifecycle::of_new(front, container, &target.object, received.size, said, made).await;
    answer.output.copy_source_version_id = source_version;
    answer.output.version_id = version::made(stamp.as_ref());
    Ok(answer)
}

async fn replace_metadata(
    front: &Front,
    target: &ObjectPath,
    conditions: &ReadConditions,
    describe: impl Fn(&ObjectInfo) -> (String, Metadata),
    own: Metadata,
) -> S3Result<S3Response<dto::CopyObjectOutput>> {
    let (mut etag, mut checksum) = (String::new(), None);
    // The source was read before, and may have been replaced since.
    let change = |info: &ObjectInfo| {
        conditions.check(info).map_err(|_| Error::Precondition)?;
        let (content_type, mut metadata) = describe(info);
        keep_systems(&info.metadata, &mut metadata);
        metadata.extend(own.clone());
        metadata.sort();
        (etag, checksum) = (info.etag.clone(), Checksum::stored(&info.metadata, &info.etag));
        Ok(ObjectUpdate { content_type: Some(content_type), delete_at: info.delete_at, metadata })
    };
    let updated = front.store.object_update(target, change).await;
    let written = updated.map_err(|error| from_storage(error, S3ErrorCode::NoSuchKey))?;
    Ok(answer(etag, written.timestamp.seconds_ceil(), checksum.as_ref()))
}

fn answer(etag: String, modified: u64, checksum: Option<&Checksum>) -> S3Response<dto::CopyObjectOutput> {
    let result = dto::CopyObjectResult {
        e_tag: Some(dto::ETag::Strong(etag)),
        last_modified: Some((std::time::UNIX_EPOCH + std::time::Duration::from_secs(modified)).into()),
        ..Default::default()
    };
    let result = with_checksum!(checksum, result);
    S3Response::new(dto::CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
}
