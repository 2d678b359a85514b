//! CompleteMultipartUpload: checks the client's list against the stored parts, and writes the object.
//! Costs one listing and two small writes, whatever the size.

use std::collections::HashSet;

use anello_base::id;
use anello_storage::store::ObjectHead;
use anello_storage::{Content, Error, ObjectInfo, ObjectPath, Precondition};
use md5::{Digest as _, Md5};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::part::{StoredPart, latest};
use super::{CHECKSUM_NAME, Record, UPLOAD_NAME, Upload};
use crate::object::versions::{self, Stamp, Versions};
use crate::object::{self, Part, PartList};
use crate::s3::alike::with_checksum;
use crate::s3::checksum::{Algorithm, Checksum, Kind, join};
use crate::s3::conditions::precondition;
use crate::s3::error::{OrNoBucket, from_storage};
use crate::s3::front::Front;
use crate::s3::lifecycle;
use crate::s3::limits::OBJECT_BYTES_MAX;
use crate::s3::policy::Granted;
use crate::s3::put::written_or;
use crate::s3::quota;
use crate::s3::version;

/// What the object will be.
struct Whole {
    list: PartList,
    etag: String,
    checksum: Option<Checksum>,
}

/// CompleteMultipartUpload.
pub(in crate::s3) async fn complete(
    front: &Front,
    req: S3Request<dto::CompleteMultipartUploadInput>,
) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
    let granted = Granted::of(&req)?;
    let mut input = req.input;
    let upload = Upload::new(&granted, &input.bucket, &input.key, &input.upload_id)?;
    let record = match upload.record(&front.store).await {
        Ok(record) => record,
        Err(error) => return completed_before(front, &granted, &upload).await?.ok_or(error),
    };
    let wanted = input.multipart_upload.take().and_then(|list| list.parts).unwrap_or_default();
    let whole = assemble(front, &upload, &record, &wanted).await?;
    check_stated(&input, &whole)?;
    quota::check(front, &granted, &input.bucket, whole.list.size()).await?;
    let condition = precondition(input.if_match, input.if_none_match);
    let stamp = write(front, &granted, &upload, &record, &whole, &condition).await?;
    let said = lifecycle::said(granted.container()?, &record.info.metadata);
    let (size, made) = (whole.list.size(), front.store.clock().wall());
    let expiration = lifecycle::of_new(front, granted.container()?, &upload.key, size, said, made).await;
    let mut answer = answer(&upload, whole.etag, whole.checksum.as_ref(), stamp.as_ref());
    answer.output.expiration = expiration;
    Ok(answer)
}

/// A client that missed the answer asks again: it gets the same one.
async fn completed_before(
    front: &Front,
    granted: &Granted,
    upload: &Upload,
) -> S3Result<Option<S3Response<dto::CompleteMultipartUploadOutput>>> {
    granted.container()?;
    let Some((_, info)) = made_by(front, upload).await? else { return Ok(None) };
    let checksum = Checksum::stored(&info.metadata, &info.etag);
    let stamp = versions::made(&info).map(|_| Stamp::of(&info));
    Ok(Some(answer(upload, info.etag, checksum.as_ref(), stamp.as_ref())))
}

/// The object that an upload made, whichever of the versions it is by now.
async fn made_by(front: &Front, upload: &Upload) -> S3Result<Option<(ObjectPath, ObjectInfo)>> {
    let container = front.store.container_settings(&upload.account, &upload.bucket).await.or_no_bucket()?;
    let kept = container.and_then(|info| Versions::of(&front.store, &upload.account, &upload.bucket, &info));
    let places = match kept {
        Some(versions) => versions.places_of_upload(&upload.key, &upload.id).await.or_no_bucket()?,
        None => vec![upload.target()],
    };
    for place in places {
        match front.store.object(&place).await {
            Ok(Some(info)) if is_made_by(&info, upload) => return Ok(Some((place, info))),
            Ok(_) | Err(Error::Missing(_)) => {}
            Err(error) => return Err(from_storage(error, S3ErrorCode::NoSuchBucket)),
        }
    }
    Ok(None)
}

fn is_made_by(info: &ObjectInfo, upload: &Upload) -> bool {
    let is_ours = |(name, id): &(String, String)| name == UPLOAD_NAME && *id == upload.id;
    info.content == Content::Multipart && info.metadata.iter().any(is_ours)
}

async fn assemble(front: &Front, upload: &Upload, record: &Record, wanted: &[dto::CompletedPart]) -> S3Result<Whole> {
    if wanted.is_empty() {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let numbers: Vec<i32> = wanted.iter().map(|part| part.part_number.unwrap_or(0)).collect();
    if numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(S3ErrorCode::InvalidPartOrder.into());
    }
    let stored = latest(upload.stored_parts(&front.store).await?);
    let algorithm = record.checksum.map(|(algorithm, _)| algorithm);
    let mut parts = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        parts.push(choose(&stored, wanted, algorithm)?);
    }
    let too_small = parts[..parts.len() - 1].iter().any(|part| part.size < front.part_bytes_min);
    if too_small {
        return Err(S3ErrorCode::EntityTooSmall.into());
    }
    if parts.iter().map(|part| part.size).sum::<u64>() > OBJECT_BYTES_MAX {
        return Err(S3ErrorCode::EntityTooLarge.into());
    }
    let mut md5 = Md5::new();
    parts.iter().for_each(|part| md5.update(part.md5));
    let etag = format!("{}-{}", hex::encode(md5.finalize()), parts.len());
    let checksum = record.checksum.map(|(algorithm, kind)| {
        let digests: Vec<_> = parts.iter().map(|part| (part.checksum.clone(), part.size)).collect();
        join(algorithm, kind, &digests)
    });
    let list = PartList { owner: upload.target(), container: upload.parts_container(), parts };
    Ok(Whole { list, etag, checksum })
}

/// The stored part that the client means; InvalidPart where it says of it what is not so.
fn choose(stored: &[StoredPart], wanted: &dto::CompletedPart, algorithm: Option<Algorithm>) -> S3Result<Part> {
    let invalid = || S3ErrorCode::InvalidPart;
    let number = wanted.part_number.and_then(|number| u16::try_from(number).ok()).ok_or_else(invalid)?;
    let at = stored.binary_search_by_key(&number, |part| part.number).map_err(|_| invalid())?;
    let part = &stored[at];
    let etag = wanted.e_tag.as_ref().ok_or(S3ErrorCode::MalformedXML)?.value().trim_matches('"');
    if etag != part.entry.etag {
        return Err(invalid().into());
    }
    let stated = [
        (Algorithm::Crc32, &wanted.checksum_crc32),
        (Algorithm::Crc32c, &wanted.checksum_crc32c),
        (Algorithm::Crc64Nvme, &wanted.checksum_crc64nvme),
        (Algorithm::Sha1, &wanted.checksum_sha1),
        (Algorithm::Sha256, &wanted.checksum_sha256),
    ];
    for (algorithm, value) in stated {
        let kept = part.checksum.as_ref().filter(|checksum| checksum.algorithm == algorithm);
        if value.as_ref().is_some_and(|value| kept.is_none_or(|kept| kept.value != *value)) {
            return Err(invalid().into());
        }
    }
    let digest = |checksum: &Checksum| algorithm.filter(|wanted| *wanted == checksum.algorithm)?.parse(&checksum.value);
    let checksum = part.checksum.as_ref().and_then(digest);
    if algorithm.is_some() && checksum.is_none() {
        return Err(invalid().into());
    }
    let mut md5 = [0; 16];
    hex::decode_to_slice(&part.entry.etag, &mut md5).map_err(|_| invalid())?;
    let (size, name) = (part.entry.size, part.entry.name.clone());
    Ok(Part { number, size, md5, checksum: checksum.unwrap_or_default(), name })
}

/// What the client says of the whole.
fn check_stated(input: &dto::CompleteMultipartUploadInput, whole: &Whole) -> S3Result<()> {
    if let Some(size) = input.mpu_object_size
        && u64::try_from(size) != Ok(whole.list.size())
    {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header value {size} does not match what was computed: {}",
            whole.list.size()
        ));
    }
    let kind = whole.checksum.as_ref().map(|checksum| checksum.kind);
    if let Some(stated) = &input.checksum_type
        && kind.is_none_or(|kind| kind.name() != stated.as_str())
    {
        return Err(s3_error!(InvalidRequest, "The checksum type does not match that of the upload."));
    }
    let stated = [
        (Algorithm::Crc32, &input.checksum_crc32),
        (Algorithm::Crc32c, &input.checksum_crc32c),
        (Algorithm::Crc64Nvme, &input.checksum_crc64nvme),
        (Algorithm::Sha1, &input.checksum_sha1),
        (Algorithm::Sha256, &input.checksum_sha256),
    ];
    for (algorithm, value) in stated {
        let Some(value) = value else { continue };
        let Some(computed) = whole.checksum.as_ref().filter(|computed| computed.algorithm == algorithm) else {
            return Err(s3_error!(InvalidRequest, "The upload was not begun with the algorithm {}.", algorithm.name()));
        };
        let bare = computed.value.rsplit_once('-').map_or(computed.value.as_str(), |(bare, _)| bare);
        let is_same = *value == computed.value || (computed.kind == Kind::Composite && value == bare);
        if !is_same {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ));
        }
    }
    Ok(())
}

/// Claims the record, writes the object, and clears away what is left of the upload. Dropped half-way it
/// leaves a claimed record, which can be completed again after a while, or once more at once when only
/// the clearing was missed.
async fn write(
    front: &Front,
    granted: &Granted,
    upload: &Upload,
    record: &Record,
    whole: &Whole,
    condition: &Precondition,
) -> S3Result<Option<Stamp>> {
    if record.is_claimed(upload) {
        return Err(S3ErrorCode::OperationAborted.into());
    }
    let claim = format!("claim-{}", id::hex_id());
    match record.retag(&front.store, upload, claim).await {
        Ok(()) => {}
        Err(Error::Precondition) => return Err(S3ErrorCode::OperationAborted.into()),
        Err(error) => return Err(from_storage(error, S3ErrorCode::NoSuchUpload)),
    }
    // An earlier completion may have written the object and been cut off before it could clear away.
    let written = made_by(front, upload).await?.filter(|(_, info)| info.etag == whole.etag);
    let mut stamp = written.as_ref().and_then(|(_, info)| versions::made(info).map(|_| Stamp::of(info)));
    if written.is_none() {
        let mut metadata = record.info.metadata.clone();
        metadata.retain(|(name, _)| name != CHECKSUM_NAME);
        metadata.push((UPLOAD_NAME.to_owned(), upload.id.clone()));
        if let Some(checksum) = &whole.checksum {
            checksum.store(&whole.etag, &mut metadata);
        }
        metadata.sort();
        let head = ObjectHead {
            etag: whole.etag.clone(),
            content_type: record.info.content_type.clone(),
            content: Content::Multipart,
            size: Some(whole.list.size()),
            metadata,
            ..ObjectHead::default()
        };
        let written = match version::of(front, granted, &upload.bucket)? {
            Some(versions) => {
                let put = versions.put(&upload.key, whole.list.encode(), head, condition, Some(&upload.id)).await;
                put.map(|put| Some(put.stamp))
            }
            None => front.store.object_put(&upload.target(), whole.list.encode(), head, condition).await.map(|_| None),
        };
        match written_or(front, &upload.target(), condition, written).await {
            Ok(made) => stamp = made,
            Err(error) => {
                release(front, upload).await;
                return Err(error);
            }
        }
    }
    if let Err(error) = front.store.object_delete(&upload.record_path(), &Precondition::default()).await {
        tracing::warn!(%error, "the record of a completed upload is left behind");
        return Ok(stamp);
    }
    let listed: HashSet<&str> = whole.list.parts.iter().map(|part| part.name.as_str()).collect();
    upload.delete_parts(&front.store, |name| !listed.contains(name)).await;
    Ok(stamp)
}

/// Gives the claim back after a failure that the client may mend.
async fn release(front: &Front, upload: &Upload) {
    let Ok(claimed) = upload.record(&front.store).await else { return };
    if let Err(error) = claimed.retag(&front.store, upload, upload.id.clone()).await {
        tracing::warn!(%error, "an upload's claim ends only with time");
    }
}

/// Names of the parts that the object made by this upload consists of; none where it is not there.
pub(super) async fn parts_in_use(front: &Front, upload: &Upload) -> S3Result<HashSet<String>> {
    let Some((place, _)) = made_by(front, upload).await? else { return Ok(HashSet::new()) };
    let reader = object::open(&front.store, &place).await.or_no_bucket()?;
    let Some(reader) = reader.filter(|reader| is_made_by(reader.info(), upload)) else { return Ok(HashSet::new()) };
    Ok(reader.parts().unwrap_or_default().iter().map(|part| part.name.clone()).collect())
}

fn answer(
    upload: &Upload,
    etag: String,
    checksum: Option<&Checksum>,
    stamp: Option<&Stamp>,
) -> S3Response<dto::CompleteMultipartUploadOutput> {
    let output = dto::CompleteMultipartUploadOutput {
        bucket: Some(upload.bucket.clone()),
        key: Some(upload.key.clone()),
        location: Some(format!("/{}/{}", upload.bucket, upload.key)),
        e_tag: Some(dto::ETag::Strong(etag)),
        version_id: version::made(stamp),
        ..Default::default()
    };
    S3Response::new(with_checksum!(checksum, output))
}
