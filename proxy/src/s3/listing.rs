//! Listings of a bucket's objects: versions 1 and 2 of the API, and the list of versions, in which every
//! object has the one that it has.
//!
//! A page is one seek in the engine. The continuation token is the last name shown, so that it stays
//! good whatever is written meanwhile, for ever.

use anello_storage::{ListQuery, Listed, ObjectEntry};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{S3Request, S3Response, S3Result, dto, s3_error};

use super::acl;
use super::error::OrNoBucket;
use super::front::Front;
use super::limits::PAGE_MAX;
use super::policy::Granted;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

/// Shows names as the client asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoding(bool);

impl Encoding {
    pub(super) fn new(encoding_type: Option<&dto::EncodingType>) -> S3Result<Self> {
        match encoding_type.map(dto::EncodingType::as_str) {
            None => Ok(Self(false)),
            Some("url") => Ok(Self(true)),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    pub(super) fn show(self, name: String) -> String {
        if self.0 { utf8_percent_encode(&name, PLAIN).to_string() } else { name }
    }
}

/// An opaque token that stands for a name.
pub(super) fn to_token(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

/// The name that a token stands for.
pub(super) fn from_token(token: &str) -> S3Result<String> {
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

/// The number of entries of a page: what the client wants, at most [`PAGE_MAX`].
pub(super) fn page_size(wanted: Option<i32>, name: &str) -> S3Result<usize> {
    let wanted = wanted.map_or(Ok(PAGE_MAX), usize::try_from);
    wanted.map(|wanted| wanted.min(PAGE_MAX)).map_err(|_| s3_error!(InvalidArgument, "{name} can't be negative."))
}

/// A limit within `i32`, as answers show them.
pub(super) fn shown(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

struct Page {
    entries: Vec<ObjectEntry>,
    prefixes: Vec<dto::CommonPrefix>,
    /// The last name or prefix, where more follow it.
    next: Option<String>,
}

async fn page(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    mut query: ListQuery,
    encoding: Encoding,
) -> S3Result<Page> {
    let limit = query.limit;
    query.limit += 1;
    query.delimiter = query.delimiter.filter(|delimiter| !delimiter.is_empty());
    let mut listed = if limit == 0 {
        front.container(granted, bucket).await?;
        Vec::new()
    } else {
        front.store.container_list(&granted.account, bucket, &query).await.or_no_bucket()?
    };
    let is_more = listed.len() > limit;
    listed.truncate(limit);
    let name = |listed: &Listed<ObjectEntry>| match listed {
        Listed::Entry(entry) => entry.name.clone(),
        Listed::Prefix(prefix) => prefix.clone(),
    };
    let next = listed.last().map(name).filter(|_| is_more);
    let mut page = Page { entries: Vec::with_capacity(listed.len()), prefixes: Vec::new(), next };
    for item in listed {
        match item {
            Listed::Entry(entry) => page.entries.push(entry),
            Listed::Prefix(prefix) => page.prefixes.push(dto::CommonPrefix { prefix: Some(encoding.show(prefix)) }),
        }
    }
    Ok(page)
}

fn modified(entry: &ObjectEntry) -> dto::Timestamp {
    let seconds = std::time::Duration::from_secs(entry.timestamp.seconds_ceil());
    (std::time::UNIX_EPOCH + seconds).into()
}

fn size(entry: &ObjectEntry) -> i64 {
    i64::try_from(entry.size).unwrap_or(i64::MAX)
}

fn objects(entries: Vec<ObjectEntry>, encoding: Encoding, owner: Option<&dto::Owner>) -> Vec<dto::Object> {
    let show = |entry: ObjectEntry| dto::Object {
        last_modified: Some(modified(&entry)),
        size: Some(size(&entry)),
        e_tag: Some(dto::ETag::Strong(entry.etag)),
        key: Some(encoding.show(entry.name)),
        owner: owner.cloned(),
        storage_class: Some(dto::ObjectStorageClass::from_static(dto::ObjectStorageClass::STANDARD)),
        ..Default::default()
    };
    entries.into_iter().map(show).collect()
}

/// ListObjects.
pub(super) async fn version_1(
    front: &Front,
    req: S3Request<dto::ListObjectsInput>,
) -> S3Result<S3Response<dto::ListObjectsOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let (encoding, limit) = (Encoding::new(input.encoding_type.as_ref())?, page_size(input.max_keys, "max-keys")?);
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone(),
        marker: input.marker.clone(),
        limit,
        ..ListQuery::default()
    };
    let has_delimiter = input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty());
    let page = page(front, &granted, &input.bucket, query, encoding).await?;
    let owner = acl::owner(&granted.account);
    Ok(S3Response::new(dto::ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.show(input.prefix.unwrap_or_default())),
        marker: Some(encoding.show(input.marker.unwrap_or_default())),
        max_keys: Some(shown(limit)),
        is_truncated: Some(page.next.is_some()),
        next_marker: page.next.filter(|_| has_delimiter).map(|name| encoding.show(name)),
        contents: Some(objects(page.entries, encoding, Some(&owner))),
        common_prefixes: Some(page.prefixes),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()).map(|text| encoding.show(text)),
        encoding_type: input.encoding_type,
        request_charged: None,
    }))
}

/// ListObjectsV2.
pub(super) async fn version_2(
    front: &Front,
    req: S3Request<dto::ListObjectsV2Input>,
) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let (encoding, limit) = (Encoding::new(input.encoding_type.as_ref())?, page_size(input.max_keys, "max-keys")?);
    let marker = match &input.continuation_token {
        Some(token) => Some(from_token(token)?),
        None => input.start_after.clone(),
    };
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone(),
        marker,
        limit,
        ..ListQuery::default()
    };
    let page = page(front, &granted, &input.bucket, query, encoding).await?;
    let owner = input.fetch_owner.unwrap_or(false).then(|| acl::owner(&granted.account));
    Ok(S3Response::new(dto::ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.show(input.prefix.unwrap_or_default())),
        max_keys: Some(shown(limit)),
        key_count: Some(shown(page.entries.len() + page.prefixes.len())),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_deref().map(to_token),
        contents: Some(objects(page.entries, encoding, owner.as_ref())),
        common_prefixes: Some(page.prefixes),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()).map(|text| encoding.show(text)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|name| encoding.show(name)),
        request_charged: None,
    }))
}

/// ListObjectVersions.
pub(super) async fn versions(
    front: &Front,
    req: S3Request<dto::ListObjectVersionsInput>,
) -> S3Result<S3Response<dto::ListObjectVersionsOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let (encoding, limit) = (Encoding::new(input.encoding_type.as_ref())?, page_size(input.max_keys, "max-keys")?);
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone(),
        marker: input.key_marker.clone(),
        limit,
        ..ListQuery::default()
    };
    let page = page(front, &granted, &input.bucket, query, encoding).await?;
    let owner = acl::owner(&granted.account);
    let show = |entry: ObjectEntry| dto::ObjectVersion {
        last_modified: Some(modified(&entry)),
        size: Some(size(&entry)),
        e_tag: Some(dto::ETag::Strong(entry.etag)),
        key: Some(encoding.show(entry.name)),
        owner: Some(owner.clone()),
        is_latest: Some(true),
        version_id: Some("null".to_owned()),
        storage_class: Some(dto::ObjectVersionStorageClass::from_static(dto::ObjectVersionStorageClass::STANDARD)),
        ..Default::default()
    };
    Ok(S3Response::new(dto::ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.show(input.prefix.unwrap_or_default())),
        key_marker: Some(encoding.show(input.key_marker.unwrap_or_default())),
        version_id_marker: input.version_id_marker,
        max_keys: Some(shown(limit)),
        is_truncated: Some(page.next.is_some()),
        next_version_id_marker: page.next.as_ref().map(|_| "null".to_owned()),
        next_key_marker: page.next.map(|name| encoding.show(name)),
        versions: Some(page.entries.into_iter().map(show).collect()),
        common_prefixes: Some(page.prefixes),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()).map(|text| encoding.show(text)),
        encoding_type: input.encoding_type,
        ..Default::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_back_any_name_and_nothing_else_passes() {
        for name in ["a", "ü/%&\u{1}", ""] {
            assert_eq!(from_token(&to_token(name)).ok().as_deref(), Some(name));
        }
        assert!(from_token("not a token!").is_err());
        assert!(from_token("_w").is_err(), "bytes that are no UTF-8");
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(page_size(None, "").ok(), Some(PAGE_MAX));
        assert_eq!(page_size(Some(0), "").ok(), Some(0));
        assert_eq!(page_size(Some(5_000), "").ok(), Some(PAGE_MAX));
        assert!(page_size(Some(-1), "").is_err());
    }

    #[test]
    fn encoded_names_decode_to_what_they_were() {
        let url = Encoding::new(Some(&dto::EncodingType::from_static("url"))).expect("url");
        assert_eq!(url.show("a b+c/ü\u{1}".into()), "a%20b%2Bc/%C3%BC%01");
        assert!(Encoding::new(Some(&dto::EncodingType::from_static("base64"))).is_err());
    }
}
