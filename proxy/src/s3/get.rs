//! Reading objects: GET, HEAD and GetObjectAttributes.
//!
//! The first chunk is read before the answer begins, so that damage found there is an error with a code
//! and not a broken connection, and so that a small object goes out in one piece.

use std::ops::Range;

use anello_storage::ObjectInfo;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::{BoxStream, try_unfold};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::alike::wanted;
use super::checksum::Checksum;
use super::conditions::{ReadConditions, last_modified};
use super::document::Document;
use super::error::{from_storage, with_headers};
use super::front::Front;
use super::lifecycle;
use super::listing;
use super::metadata;
use super::policy::Granted;
use super::version;
use crate::object::{Part, Reader};

/// What part of an object is wanted, and on which conditions.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) conditions: ReadConditions,
    pub(super) range: Option<dto::Range>,
    pub(super) part_number: Option<i32>,
    pub(super) with_checksum: bool,
    /// `response-…` parameters, as the headers they set.
    pub(super) overrides: HeaderMap,
}

/// An answer's headers, and the range of the whole that its body is.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) range: Range<u64>,
    pub(super) is_partial: bool,
}

impl Answer {
    /// 206 where a part is answered with.
    pub(super) fn status(&self) -> StatusCode {
        if self.is_partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }
    }
}

impl Wanted {
    /// Decides what to answer about an object; `parts` where it is joined and a part's number was given.
    pub(super) fn answer(&self, info: &ObjectInfo, parts: Option<&[Part]>) -> S3Result<Answer> {
        if let Err(code) = self.conditions.check(info) {
            // Without the checksum: clients would compare it with the empty body.
            let mut headers = metadata::headers(info, false)?;
            headers.remove(header::CONTENT_TYPE);
            return Err(with_headers(code, headers));
        }
        let with_checksum = self.with_checksum && self.range.is_none() && self.part_number.is_none();
        let mut headers = metadata::headers(info, with_checksum)?;
        headers.extend(self.overrides.clone());
        let (range, is_partial) = match (self.range, self.part_number) {
            (None, None) => (0..info.size, false),
            (Some(_), Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "Cannot specify both Range header and partNumber query parameter"
                ));
            }
            (Some(range), None) => (range.check(info.size).map_err(|_| not_satisfiable(info.size))?, true),
            (None, Some(number)) => {
                if let Some(parts) = parts {
                    headers.insert(HeaderName::from_static("x-amz-mp-parts-count"), HeaderValue::from(parts.len()));
                }
                (part_range(number, parts, info.size)?, true)
            }
        };
        if is_partial && range.start < range.end {
            let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, info.size);
            metadata::put(&mut headers, header::CONTENT_RANGE, &content_range)?;
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        Ok(Answer { headers, range, is_partial })
    }
}

fn not_satisfiable(size: u64) -> s3s::S3Error {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    with_headers(S3ErrorCode::InvalidRange, headers)
}

/// The `number`th part's place in the whole; an object that has no parts is its own first.
fn part_range(number: i32, parts: Option<&[Part]>, size: u64) -> S3Result<Range<u64>> {
    let invalid = || {
        let mut error = s3_error!(InvalidRange, "The requested partnumber is not satisfiable");
        error.set_code(S3ErrorCode::Custom("InvalidPartNumber".into()));
        error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
        error
    };
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let index =
        index.ok_or_else(|| s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000."))?;
    match parts {
        None if index == 0 => Ok(0..size),
        None => Err(invalid()),
        Some(parts) => {
            let part = parts.get(index).ok_or_else(invalid)?;
            let start = parts[..index].iter().map(|part| part.size).sum();
            Ok(start..start + part.size)
        }
    }
}

/// An object's bytes, the first of them read already.
pub(super) enum Data {
    /// All of them.
    Whole(Bytes),
    /// As they come.
    More(BoxStream<'static, anello_storage::Result<Bytes>>),
}

/// Begins to read `range`.
pub(super) async fn data(mut reader: Reader, range: &Range<u64>, size: u64) -> S3Result<Data> {
    let length = range.end - range.start;
    if length == 0 {
        return Ok(Data::Whole(Bytes::new()));
    }
    if length != size {
        reader.set_range(range.clone());
    }
    let first = reader.next().await.map_err(|error| from_storage(error, S3ErrorCode::NoSuchKey))?.unwrap_or_default();
    if first.len() as u64 >= length {
        return Ok(Data::Whole(first));
    }
    let chunks = try_unfold((Some(first), reader), |(first, mut reader)| async move {
        let chunk: Option<Bytes> = match first {
            Some(first) => Some(first),
            None => reader.next().await?,
        };
        Ok(chunk.map(|chunk| (chunk, (None, reader))))
    });
    Ok(Data::More(Box::pin(chunks)))
}

impl From<Data> for Body {
    fn from(data: Data) -> Self {
        match data {
            Data::Whole(bytes) => Self::from(bytes),
            Data::More(chunks) => Self::http_body_unsync(StreamBody::new(chunks.map_ok(Frame::data))),
        }
    }
}

/// GetObject.
pub(super) async fn get(
    front: &Front,
    req: S3Request<dto::GetObjectInput>,
) -> S3Result<S3Response<dto::GetObjectOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let wanted = wanted!(&granted, input);
    let reader = version::open(front, &granted, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let mut answer = wanted.answer(reader.info(), reader.parts())?;
    version::show(&granted, reader.info(), &mut answer.headers)?;
    if input.version_id.is_none() {
        lifecycle::show(front, &granted, &input.key, reader.info(), &mut answer.headers).await?;
    }
    front.show_class(&granted, &input.bucket, &mut answer.headers).await?;
    let size = reader.info().size;
    let body = Body::from(data(reader, &answer.range, size).await?);
    let content_range = answer.is_partial.then(String::new);
    let output = dto::GetObjectOutput { body: Some(body.into()), content_range, ..Default::default() };
    Ok(S3Response::with_headers(output, answer.headers))
}

/// HeadObject.
pub(super) async fn head(
    front: &Front,
    req: S3Request<dto::HeadObjectInput>,
) -> S3Result<S3Response<dto::HeadObjectOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let wanted = wanted!(&granted, input);
    let (bucket, key, version) = (&input.bucket, &input.key, input.version_id.as_deref());
    let mut answer = if wanted.part_number.is_some() {
        let reader = version::open(front, &granted, bucket, key, version).await?;
        let mut answer = wanted.answer(reader.info(), reader.parts())?;
        version::show(&granted, reader.info(), &mut answer.headers)?;
        answer
    } else {
        let info = version::find(front, &granted, bucket, key, version).await?;
        let mut answer = wanted.answer(&info, None)?;
        version::show(&granted, &info, &mut answer.headers)?;
        if version.is_none() {
            lifecycle::show(front, &granted, key, &info, &mut answer.headers).await?;
        }
        answer
    };
    front.show_class(&granted, &input.bucket, &mut answer.headers).await?;
    Ok(S3Response::with_headers(dto::HeadObjectOutput::default(), answer.headers))
}

fn http_date(time: dto::Timestamp) -> String {
    httpdate::fmt_http_date(time::OffsetDateTime::from(time).into())
}

/// Headers that the request asks to be set in the answer; only who signed may ask.
fn overrides(granted: &Granted, wanted: [(HeaderName, Option<String>); 6]) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in wanted {
        let Some(value) = value else { continue };
        if granted.caller.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "Request specific response headers cannot be used for anonymous GET requests."
            ));
        }
        let value = HeaderValue::from_str(&value)
            .map_err(|_| s3_error!(InvalidArgument, "The value for response-{name} can't be a header."))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Encryption with the customer's key is not on offer, and not ignored.
pub(super) fn refuse_customer_keys(given: &[&Option<String>]) -> S3Result<()> {
    if given.iter().any(|value| value.is_some()) {
        return Err(s3_error!(NotImplemented, "Server-side encryption with customer keys is not implemented."));
    }
    Ok(())
}

/// GetObjectAttributes.
pub(super) async fn attributes(
    front: &Front,
    req: S3Request<dto::GetObjectAttributesInput>,
) -> S3Result<S3Response<dto::GetObjectAttributesOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    refuse_customer_keys(&[&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5])?;
    // `s3s` takes a header that lists several for one.
    let listed = input.object_attributes.iter().flat_map(|attribute| attribute.as_str().split(','));
    let listed: Vec<&str> = listed.map(str::trim).collect();
    let wants = |name: &str| listed.contains(&name);
    let reader = version::open(front, &granted, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let info = reader.info();
    let checksum = Checksum::stored(&info.metadata, &info.etag);
    let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(last_modified(info));
    let class = front.class(&granted, &input.bucket).await?;
    // Written here, since its entity tag has no quotes.
    let mut document = Document::new("GetObjectAttributesResponse", 0);
    document.text("ETag", wants(dto::ObjectAttributes::ETAG).then_some(info.etag.as_str()));
    if let Some(checksum) = checksum.as_ref().filter(|_| wants(dto::ObjectAttributes::CHECKSUM)) {
        document.open("Checksum");
        document.plain(checksum.algorithm.element(), &checksum.value);
        document.plain("ChecksumType", checksum.kind.name());
        document.close("Checksum");
    }
    if let (true, Some(parts)) = (wants(dto::ObjectAttributes::OBJECT_PARTS), reader.parts()) {
        attribute_parts(&mut document, parts, checksum.as_ref(), input.max_parts, input.part_number_marker)?;
    }
    document.text("StorageClass", wants(dto::ObjectAttributes::STORAGE_CLASS).then_some(class.as_str()));
    if wants(dto::ObjectAttributes::OBJECT_SIZE) {
        document.number("ObjectSize", info.size);
    }
    let output = dto::GetObjectAttributesOutput { last_modified: Some(modified.into()), ..Default::default() };
    let mut response = document.answer(output);
    version::show(&granted, info, &mut response.headers)?;
    Ok(response)
}

fn attribute_parts(
    document: &mut Document,
    parts: &[Part],
    checksum: Option<&Checksum>,
    max_parts: Option<i32>,
    marker: Option<i32>,
) -> S3Result<()> {
    let limit = listing::page_size(max_parts, "max-parts")?;
    let marker = marker.unwrap_or(0);
    let behind: Vec<_> = parts.iter().filter(|part| i32::from(part.number) > marker).take(limit + 1).collect();
    let page = &behind[..behind.len().min(limit)];
    document.open("ObjectParts");
    // What kits call `TotalPartsCount`.
    document.number("PartsCount", parts.len() as u64);
    document.plain("PartNumberMarker", &marker.to_string());
    document.text("NextPartNumberMarker", page.last().map(|part| part.number.to_string()).as_deref());
    document.number("MaxParts", limit as u64);
    document.plain("IsTruncated", if behind.len() > limit { "true" } else { "false" });
    // S3 lists parts of uploads that chose a checksum alone.
    for part in page.iter().filter(|_| checksum.is_some()) {
        document.open("Part");
        document.number("PartNumber", part.number.into());
        document.number("Size", part.size);
        if let Some(whole) = checksum.filter(|_| !part.checksum.is_empty()) {
            document.plain(whole.algorithm.element(), &Checksum::whole(whole.algorithm, &part.checksum).value);
        }
        document.close("Part");
    }
    document.close("ObjectParts");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parts_number_finds_its_bytes() {
        let part = |size| Part { number: 1, size, md5: [0; 16], checksum: Vec::new(), name: String::new() };
        let parts = [part(10), part(5)];
        let check = |number, parts, want: Option<Range<u64>>| {
            assert_eq!(part_range(number, parts, 15).ok(), want, "{number}");
        };
        check(1, None, Some(0..15));
        check(2, None, None);
        check(1, Some(parts.as_slice()), Some(0..10));
        check(2, Some(parts.as_slice()), Some(10..15));
        check(3, Some(parts.as_slice()), None);
        check(0, None, None);
    }
}
