//! UploadPart and UploadPartCopy. Every upload of a part is an object of its own, also under a number that
//! was used before: a completion under way may have chosen the earlier one.
//!
//! The row of a part in its container's listing carries all that completing needs: entity tag, size, and
//! the checksum in the parameter of its media type, so that 10,000 parts are one listing and not 10,000
//! look-ups.

use anello_base::id;
use anello_storage::{ObjectEntry, ObjectPath, Precondition};
use bytes::Bytes;
use futures::Stream;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result, StdError, TrailingHeaders, dto, s3_error};

use super::Upload;
use crate::object::writer::Writer;
use crate::object::{PARTS_ACCOUNT, names};
use crate::s3::alike::check_copy_keys;
use crate::s3::checksum::{Algorithm, Checksum, Kind, shown};
use crate::s3::conditions::ReadConditions;
use crate::s3::copy;
use crate::s3::error::{OrNoBucket, from_storage};
use crate::s3::front::Front;
use crate::s3::get::refuse_customer_keys;
use crate::s3::limits::{PART_NUMBER_MAX, PUT_BYTES_MAX};
use crate::s3::policy::{Asking, Granted};
use crate::s3::put::plain_head;
use crate::s3::receive::{Promise, Received, receive};

const MEDIA_TYPE: &str = "application/x-part";

/// A part as its row shows it.
#[derive(Debug, Clone)]
pub(super) struct StoredPart {
    pub(super) number: u16,
    pub(super) entry: ObjectEntry,
    pub(super) checksum: Option<Checksum>,
}

impl StoredPart {
    /// `None` where the row is not one of ours.
    pub(super) fn from_entry(entry: ObjectEntry) -> Option<Self> {
        let (_, number) = names::split_part(&entry.name)?;
        let checksum = entry.content_type.strip_prefix(MEDIA_TYPE).and_then(|rest| rest.strip_prefix("; "));
        let checksum = checksum.and_then(|text| {
            let (algorithm, value) = text.split_once('=')?;
            let algorithm = Algorithm::from_name(algorithm)?;
            Some(Checksum { algorithm, kind: Kind::FullObject, value: value.to_owned() })
        });
        Some(Self { number, entry, checksum })
    }
}

/// Of the parts uploaded under each number, the latest.
pub(super) fn latest(entries: Vec<ObjectEntry>) -> Vec<StoredPart> {
    let mut parts = Vec::with_capacity(entries.len());
    entries.into_iter().for_each(|entry| add_latest(&mut parts, entry));
    parts
}

/// Adds the next row to the latest parts of the rows before it.
pub(super) fn add_latest(parts: &mut Vec<StoredPart>, entry: ObjectEntry) {
    let Some(part) = StoredPart::from_entry(entry) else { return };
    match parts.last_mut() {
        Some(last) if last.number == part.number => {
            if part.entry.timestamp > last.entry.timestamp {
                *last = part;
            }
        }
        _ => parts.push(part),
    }
}

fn check_number(number: i32) -> S3Result<u16> {
    u16::try_from(number).ok().filter(|_| (1..=PART_NUMBER_MAX).contains(&number)).ok_or_else(|| {
        s3_error!(InvalidArgument, "Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive")
    })
}

/// UploadPart.
pub(in crate::s3) async fn upload(
    front: &Front,
    req: S3Request<dto::UploadPartInput>,
) -> S3Result<S3Response<dto::UploadPartOutput>> {
    let granted = Granted::of(&req)?;
    let (input, headers, trailers) = (req.input, req.headers, req.trailing_headers);
    refuse_customer_keys(&[&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5])?;
    let number = check_number(input.part_number)?;
    let promise = Promise::from_headers(&headers, input.content_length)?;
    let upload = Upload::new(&granted, &input.bucket, &input.key, &input.upload_id)?;
    let record = upload.record(&front.store).await?;
    let wanted = record.checksum.map(|(algorithm, _)| algorithm);
    if let (Some(wanted), Some(given)) = (wanted, promise.algorithm())
        && wanted != given
    {
        return Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            wanted.name().to_ascii_lowercase(),
            given.name().to_ascii_lowercase()
        ));
    }
    let body = input.body.unwrap_or_else(|| Body::empty().into());
    let received = store(front, &upload, number, promise.or_compute(wanted), body, trailers.as_ref()).await?;
    let checksum = shown(received.checksum.as_ref());
    Ok(S3Response::new(dto::UploadPartOutput {
        e_tag: Some(dto::ETag::Strong(hex::encode(received.md5))),
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        ..Default::default()
    }))
}

async fn store<S, E>(
    front: &Front,
    upload: &Upload,
    number: u16,
    promise: Promise,
    body: S,
    trailers: Option<&TrailingHeaders>,
) -> S3Result<Received>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    let name = names::part(&upload.id, number, &id::hex_id()[..16]);
    let path = ObjectPath::new(PARTS_ACCOUNT, upload.parts_container(), name);
    let mut writer = Writer::from(front.store.object_write(&path, promise.size_hint()).await.or_no_bucket()?);
    let received = receive(body, promise, trailers, &mut writer).await?;
    let content_type = match &received.checksum {
        Some(checksum) => format!("{MEDIA_TYPE}; {}={}", checksum.algorithm.name(), checksum.value),
        None => MEDIA_TYPE.to_owned(),
    };
    let metadata = vec![(names::PART_KEY_NAME.to_owned(), upload.key.clone())];
    let head = plain_head(hex::encode(received.md5), content_type, metadata);
    writer.finish(head, &Precondition::default()).await.or_no_bucket()?;
    // The upload may have ended while the part came in; then nobody else will ever look for it.
    if let Err(error) = upload.record(&front.store).await {
        if *error.code() == S3ErrorCode::NoSuchUpload {
            let deleted = front.store.object_delete(&path, &Precondition::default()).await;
            deleted.map_err(|error| from_storage(error, S3ErrorCode::NoSuchUpload))?;
        }
        return Err(error);
    }
    Ok(received)
}

/// UploadPartCopy.
pub(in crate::s3) async fn upload_copy(
    front: &Front,
    req: S3Request<dto::UploadPartCopyInput>,
) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
    let granted = Granted::of(&req)?;
    let (headers, connection) = (req.headers, req.extensions.get().copied().unwrap_or_default());
    let asking = Asking { caller: granted.caller.clone(), connection, headers: &headers, query: "" };
    let input = req.input;
    check_copy_keys!(input)?;
    let number = check_number(input.part_number)?;
    let upload = Upload::new(&granted, &input.bucket, &input.key, &input.upload_id)?;
    let record = upload.record(&front.store).await?;
    let conditions = ReadConditions::new(
        input.copy_source_if_match,
        input.copy_source_if_none_match,
        input.copy_source_if_modified_since,
        input.copy_source_if_unmodified_since,
    );
    let owner = input.expected_source_bucket_owner.as_deref();
    let mut source = copy::open(front, asking, &input.copy_source, owner, &conditions).await?;
    let size = source.reader.info().size;
    let length = match input.copy_source_range.as_deref() {
        None => size,
        Some(text) => {
            let range = copied_range(text, size)?;
            source.reader.set_range(range.clone());
            range.end - range.start
        }
    };
    if length > PUT_BYTES_MAX {
        return Err(S3ErrorCode::EntityTooLarge.into());
    }
    let promise = Promise::length(length, record.checksum.map(|(algorithm, _)| algorithm));
    let received = store(front, &upload, number, promise, source.into_stream(), None).await?;
    let checksum = shown(received.checksum.as_ref());
    let result = dto::CopyPartResult {
        e_tag: Some(dto::ETag::Strong(hex::encode(received.md5))),
        last_modified: Some(std::time::SystemTime::now().into()),
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
    };
    Ok(S3Response::new(dto::UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() }))
}

/// `bytes=first-last`, wholly inside the source: nothing is cut here.
fn copied_range(text: &str, size: u64) -> S3Result<std::ops::Range<u64>> {
    let invalid = || {
        s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy"
        )
    };
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(invalid)?;
    let (first, last): (u64, u64) = (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
    if first > last {
        return Err(invalid());
    }
    if last >= size {
        return Err(s3_error!(InvalidArgument, "Range specified is not valid for source object of size: {size}"));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use anello_base::Timestamp;
    use anello_storage::Content;

    use super::*;

    fn entry(number: u16, unique: &str, ticks: u64, content_type: &str) -> ObjectEntry {
        ObjectEntry {
            name: names::part(&"0".repeat(names::UPLOAD_ID_LENGTH), number, unique),
            timestamp: Timestamp::from_ticks(ticks),
            size: 1,
            etag: format!("{number}-{unique}"),
            content_type: content_type.into(),
            content: Content::Plain,
        }
    }

    #[test]
    fn the_latest_upload_of_a_number_counts() {
        let entries = vec![
            entry(1, "a", 9, MEDIA_TYPE),
            entry(1, "b", 3, MEDIA_TYPE),
            entry(7, "c", 1, "application/x-part; CRC32=y/Q5Jg=="),
            entry(7, "d", 2, "application/x-part; CRC32=AAAAAA=="),
        ];
        let parts = latest(entries);
        assert_eq!(parts.iter().map(|part| part.entry.etag.as_str()).collect::<Vec<_>>(), ["1-a", "7-d"]);
        assert_eq!(parts[0].checksum, None);
        assert_eq!(parts[1].checksum, Some(Checksum::whole(Algorithm::Crc32, &[0; 4])));
    }

    #[test]
    fn a_range_beyond_the_source_is_refused() {
        assert_eq!(copied_range("bytes=0-9", 10).ok(), Some(0..10));
        for text in ["bytes=0-10", "bytes=5-4", "bytes=-5", "bytes=5-", "0-9", "bytes=a-b"] {
            assert!(copied_range(text, 10).is_err(), "{text}");
        }
    }
}
