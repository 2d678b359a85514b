//! ListParts and ListMultipartUploads: both are plain listings of the system account's containers, and a
//! page of either costs its output.

use anello_storage::{Error, ListQuery, Listed};
use s3s::{S3Request, S3Response, S3Result, dto, s3_error};

use super::part::{StoredPart, add_latest};
use super::{Upload, rows};
use crate::object::PARTS_ACCOUNT;
use crate::object::names::{self, uploads_container};
use crate::s3::acl;
use crate::s3::checksum::shown;
use crate::s3::error::OrNoBucket;
use crate::s3::front::Front;
use crate::s3::lifecycle;
use crate::s3::limits::{PAGE_MAX, PART_NUMBER_MAX};
use crate::s3::listing::{self, Encoding, page_size};
use crate::s3::policy::Granted;

/// ListParts.
pub(in crate::s3) async fn parts(
    front: &Front,
    req: S3Request<dto::ListPartsInput>,
) -> S3Result<S3Response<dto::ListPartsOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let limit = page_size(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or(0);
    let upload = Upload::new(&granted, &input.bucket, &input.key, &input.upload_id)?;
    let record = upload.record(&front.store).await?;
    let (found, is_truncated) = page_of_parts(front, &upload, marker, limit).await?;
    let class = front.class(&granted, &input.bucket).await?;
    let owner = acl::object::of(&record.info.metadata, &granted.account).shown_owner();
    let begun = names::begun(&upload.id);
    let (abort_date, abort_rule_id) =
        lifecycle::abortion(front, granted.container()?, &upload.key, begun).await?.unzip();
    let initiator = dto::Initiator { id: owner.id.clone(), display_name: owner.display_name.clone() };
    Ok(S3Response::new(dto::ListPartsOutput {
        abort_date,
        abort_rule_id,
        next_part_number_marker: found.last().map(|part| i32::from(part.number)),
        parts: Some(found.into_iter().map(show_part).collect()),
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        is_truncated: Some(is_truncated),
        max_parts: Some(listing::shown(limit)),
        part_number_marker: Some(marker),
        storage_class: Some(class.into()),
        checksum_algorithm: record.checksum.map(|(algorithm, _)| dto::ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: record.checksum.map(|(_, kind)| dto::ChecksumType::from_static(kind.name())),
        owner: Some(owner),
        initiator: Some(initiator),
        ..Default::default()
    }))
}

/// The parts with numbers above `marker`, at most `limit`, and whether there are more.
async fn page_of_parts(front: &Front, upload: &Upload, marker: i32, limit: usize) -> S3Result<(Vec<StoredPart>, bool)> {
    let above = u16::try_from(marker.clamp(0, PART_NUMBER_MAX)).unwrap_or_default();
    let marker = Some(names::behind_parts(&upload.id, above));
    // One more tells whether there are more, and that all of the last number's uploads were seen.
    let mut query = ListQuery { prefix: format!("{}/", upload.id), marker, limit: limit + 1, ..ListQuery::default() };
    let mut parts = Vec::with_capacity(query.limit);
    loop {
        let page = rows(&front.store, &upload.parts_container(), &query).await?;
        let is_last = page.len() < query.limit;
        query.marker = page.last().map(|entry| entry.name.clone());
        page.into_iter().for_each(|entry| add_latest(&mut parts, entry));
        if is_last || parts.len() > limit {
            break;
        }
    }
    let is_truncated = parts.len() > limit;
    parts.truncate(limit);
    Ok((parts, is_truncated))
}

fn show_part(part: StoredPart) -> dto::Part {
    let checksum = shown(part.checksum.as_ref());
    dto::Part {
        part_number: Some(i32::from(part.number)),
        size: Some(i64::try_from(part.entry.size).unwrap_or(i64::MAX)),
        last_modified: Some(part.entry.timestamp.system_time().into()),
        e_tag: Some(dto::ETag::Strong(part.entry.etag)),
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
    }
}

/// A page of uploads being filled. Prefixes are rolled up here, since the engine would also look for the
/// delimiter in the ids.
#[derive(Debug, Default)]
struct Page {
    prefix: String,
    delimiter: Option<String>,
    /// A prefix that was shown before.
    shown: Option<String>,
    limit: usize,
    /// Keys and ids.
    uploads: Vec<(String, String)>,
    prefixes: Vec<String>,
    last: Option<(String, String)>,
    /// Key and id to go on behind, where more follow.
    next: Option<(String, String)>,
}

impl Page {
    /// Takes the next upload; `false` once the page is full and there is more.
    fn take(&mut self, key: &str, id: &str) -> bool {
        let rolled = self.delimiter.as_ref().and_then(|delimiter| {
            let at = key.get(self.prefix.len()..)?.find(delimiter)?;
            Some(&key[..self.prefix.len() + at + delimiter.len()])
        });
        if rolled.is_some() && (rolled == self.shown.as_deref() || rolled == self.prefixes.last().map(String::as_str)) {
            return true;
        }
        if self.uploads.len() + self.prefixes.len() >= self.limit {
            self.next = self.last.take();
            return false;
        }
        match rolled {
            Some(rolled) => {
                self.prefixes.push(rolled.to_owned());
                self.last = Some((rolled.to_owned(), String::new()));
            }
            None => {
                self.uploads.push((key.to_owned(), id.to_owned()));
                self.last = self.uploads.last().cloned();
            }
        }
        true
    }
}

/// ListMultipartUploads.
pub(in crate::s3) async fn uploads(
    front: &Front,
    req: S3Request<dto::ListMultipartUploadsInput>,
) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let (encoding, limit) =
        (Encoding::new(input.encoding_type.as_ref())?, page_size(input.max_uploads, "max-uploads")?);
    front.container(&granted, &input.bucket).await?;
    let page = page(front, &granted, &input, limit).await?;
    let (owner, class) = (acl::owner(&granted.account), front.class(&granted, &input.bucket).await?);
    let show = |(key, id): (String, String)| dto::MultipartUpload {
        initiated: Some(names::begun(&id).system_time().into()),
        key: Some(encoding.show(key)),
        upload_id: Some(id),
        owner: Some(owner.clone()),
        initiator: Some(dto::Initiator { id: owner.id.clone(), display_name: owner.display_name.clone() }),
        storage_class: Some(class.clone().into()),
        ..Default::default()
    };
    let (next_key, next_id) = page.next.clone().unzip();
    let prefixes = page.prefixes.into_iter().map(|prefix| dto::CommonPrefix { prefix: Some(encoding.show(prefix)) });
    Ok(S3Response::new(dto::ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        uploads: Some(page.uploads.into_iter().map(show).collect()),
        common_prefixes: Some(prefixes.collect()),
        is_truncated: Some(page.next.is_some()),
        next_key_marker: next_key.map(|key| encoding.show(key)),
        next_upload_id_marker: next_id,
        max_uploads: Some(listing::shown(limit)),
        prefix: Some(encoding.show(input.prefix.unwrap_or_default())),
        key_marker: Some(encoding.show(input.key_marker.unwrap_or_default())),
        upload_id_marker: input.upload_id_marker,
        delimiter: input.delimiter.map(|text| encoding.show(text)),
        encoding_type: input.encoding_type,
        request_charged: None,
    }))
}

/// Reads records until the page is full.
async fn page(
    front: &Front,
    granted: &Granted,
    input: &dto::ListMultipartUploadsInput,
    limit: usize,
) -> S3Result<Page> {
    let container = uploads_container(&granted.account, &input.bucket);
    let mut page = Page {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
        shown: input.key_marker.clone(),
        limit,
        ..Page::default()
    };
    let mut marker = start(input.key_marker.as_deref(), input.upload_id_marker.as_deref());
    let mut is_more = limit > 0;
    while is_more {
        let query = ListQuery { prefix: page.prefix.clone(), marker, limit: PAGE_MAX, ..ListQuery::default() };
        let rows = match front.store.container_list(PARTS_ACCOUNT, &container, &query).await {
            Err(Error::Missing(_)) => break,
            other => other.or_no_bucket()?,
        };
        is_more = rows.len() == PAGE_MAX;
        marker = None;
        for row in rows {
            let Listed::Entry(entry) = row else { continue };
            let (key, id) = names::split_record(&entry.name)
                .ok_or_else(|| s3_error!(InternalError, "The record of an upload has a name that is not one."))?;
            if !page.take(key, id) {
                return Ok(page);
            }
            marker = Some(entry.name);
        }
    }
    Ok(page)
}

/// The record's name to start behind. Without an id, every upload of the key counts as shown.
fn start(key: Option<&str>, id: Option<&str>) -> Option<String> {
    let key = key.filter(|key| !key.is_empty())?;
    Some(names::record(key, id.filter(|id| !id.is_empty())))
}
