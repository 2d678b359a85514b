//! Listings of a bucket's objects: versions 1 and 2 of the API, and the list of versions. Where none are kept, every
//! object has one.
//!
//! A page is one seek in the engine. The continuation token is the last name shown, so that it stays
//! good whatever is written meanwhile, for ever.

use anello_storage::{ListQuery, Listed, ObjectEntry};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{S3Request, S3Response, S3Result, dto, s3_error};

use super::alike::asked;
use super::document::Document;
use super::error::OrNoBucket;
use super::front::{Front, owner_id};
use super::limits::PAGE_MAX;
use super::policy::Granted;
use super::version;
use crate::object::versions::listing::{ListedVersion, VersionEntry, VersionQuery};

/// What `encoding-type=url` leaves as it is.
pub(super) const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

/// Bytes of an entry in an answer, with a name of some length, to take memory once.
const ENTRY_BYTES: usize = 320;

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

    pub(super) fn is_url(self) -> bool {
        self.0
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

/// What all three ask for.
struct Asked {
    bucket: String,
    prefix: Option<String>,
    delimiter: Option<String>,
    /// Names behind this one only.
    after: Option<String>,
    limit: usize,
    encoding: Encoding,
}

struct Page {
    listed: Vec<Listed<ObjectEntry>>,
    /// The last name or prefix, where more follow it.
    next: Option<String>,
    /// The storage class of all of them.
    class: String,
}

impl Asked {
    fn has_delimiter(&self) -> bool {
        self.delimiter.is_some()
    }

    async fn page(&self, front: &Front, granted: &Granted) -> S3Result<Page> {
        let query = ListQuery {
            prefix: self.prefix.clone().unwrap_or_default(),
            delimiter: self.delimiter.clone(),
            marker: self.after.clone(),
            limit: self.limit + 1,
            ..ListQuery::default()
        };
        let mut listed = if self.limit == 0 {
            front.container(granted, &self.bucket).await?;
            Vec::new()
        } else {
            front.store.container_list(&granted.account, &self.bucket, &query).await.or_no_bucket()?
        };
        let is_more = listed.len() > self.limit;
        listed.truncate(self.limit);
        let next = listed.last().filter(|_| is_more).map(|last| match last {
            Listed::Entry(entry) => entry.name.clone(),
            Listed::Prefix(prefix) => prefix.clone(),
        });
        Ok(Page { listed, next, class: front.class(granted, &self.bucket).await? })
    }

    /// Begins the document with what was asked.
    fn document(&self, root: &'static str, page: &Page) -> Document {
        self.begun(root, page.listed.len(), page.next.is_some())
    }

    fn begun(&self, root: &'static str, entries: usize, is_truncated: bool) -> Document {
        let mut document = Document::new(root, ENTRY_BYTES * entries + ENTRY_BYTES);
        document.text("Name", Some(&self.bucket));
        document.key("Prefix", Some(self.prefix.as_deref().unwrap_or_default()), self.encoding);
        document.key("Delimiter", self.delimiter.as_deref(), self.encoding);
        document.number("MaxKeys", self.limit as u64);
        document.text("EncodingType", self.encoding.is_url().then_some("url"));
        document.plain("IsTruncated", if is_truncated { "true" } else { "false" });
        document
    }

    /// Writes the entries, each as an element `name` that begins as `begin` says.
    fn entries(
        &self,
        document: &mut Document,
        page: &Page,
        name: &str,
        owner: Option<&str>,
        begin: impl Fn(&mut Document),
    ) {
        let entries = page.listed.iter().filter_map(|listed| match listed {
            Listed::Entry(entry) => Some(entry),
            Listed::Prefix(_) => None,
        });
        for entry in entries {
            document.open(name);
            document.key("Key", Some(&entry.name), self.encoding);
            begin(document);
            document.modified(entry.timestamp);
            document.etag(&entry.etag);
            document.number("Size", entry.size);
            if let Some(owner) = owner {
                document.owner(owner);
            }
            document.text("StorageClass", Some(&page.class));
            document.close(name);
        }
        let prefixes = page.listed.iter().filter_map(|listed| match listed {
            Listed::Prefix(prefix) => Some(prefix),
            Listed::Entry(_) => None,
        });
        for prefix in prefixes {
            self.prefix_in(document, prefix);
        }
    }

    fn prefix_in(&self, document: &mut Document, prefix: &str) {
        document.open("CommonPrefixes");
        document.key("Prefix", Some(prefix), self.encoding);
        document.close("CommonPrefixes");
    }

    /// Writes a version or a delete marker.
    fn version(&self, document: &mut Document, entry: &VersionEntry, owner: &str, class: &str) {
        let name = if entry.stamp.is_marker { "DeleteMarker" } else { "Version" };
        document.open(name);
        document.key("Key", Some(&entry.key), self.encoding);
        document.plain("VersionId", &entry.stamp.id.to_string());
        document.plain("IsLatest", if entry.is_latest { "true" } else { "false" });
        document.modified(entry.modified);
        if !entry.stamp.is_marker {
            document.etag(&entry.etag);
            document.number("Size", entry.size);
            document.text("StorageClass", Some(class));
        }
        document.owner(owner);
        document.close(name);
    }
}

/// ListObjects.
pub(super) async fn version_1(
    front: &Front,
    req: S3Request<dto::ListObjectsInput>,
) -> S3Result<S3Response<dto::ListObjectsOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let asked = asked!(input, input.marker);
    let page = asked.page(front, &granted).await?;
    let mut document = asked.document("ListBucketResult", &page);
    document.key("Marker", Some(asked.after.as_deref().unwrap_or_default()), asked.encoding);
    let next = page.next.as_deref().filter(|_| asked.has_delimiter());
    document.key("NextMarker", next, asked.encoding);
    asked.entries(&mut document, &page, "Contents", Some(owner_id(&granted.account)), |_| {});
    Ok(document.answer(dto::ListObjectsOutput::default()))
}

/// ListObjectsV2.
pub(super) async fn version_2(
    front: &Front,
    req: S3Request<dto::ListObjectsV2Input>,
) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let token = input.continuation_token;
    let after = match &token {
        Some(token) => Some(from_token(token)?),
        None => input.start_after.clone(),
    };
    let asked = asked!(input, after);
    let page = asked.page(front, &granted).await?;
    let mut document = asked.document("ListBucketResult", &page);
    document.number("KeyCount", page.listed.len() as u64);
    document.key("StartAfter", input.start_after.as_deref(), asked.encoding);
    document.text("ContinuationToken", token.as_deref());
    document.text("NextContinuationToken", page.next.as_deref().map(to_token).as_deref());
    let owner = input.fetch_owner.unwrap_or(false).then(|| owner_id(&granted.account));
    asked.entries(&mut document, &page, "Contents", owner, |_| {});
    Ok(document.answer(dto::ListObjectsV2Output::default()))
}

/// ListObjectVersions.
pub(super) async fn versions(
    front: &Front,
    req: S3Request<dto::ListObjectVersionsInput>,
) -> S3Result<S3Response<dto::ListObjectVersionsOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let version_marker = input.version_id_marker.filter(|marker| !marker.is_empty());
    if version_marker.is_some() && input.key_marker.is_none() {
        return Err(s3_error!(InvalidArgument, "A version-id marker cannot be specified without a key marker."));
    }
    let asked = asked!(input, input.key_marker);
    let Some(versions) = version::of(front, &granted, &asked.bucket)? else {
        let page = asked.page(front, &granted).await?;
        let mut document = asked.document("ListVersionsResult", &page);
        document.key("KeyMarker", Some(asked.after.as_deref().unwrap_or_default()), asked.encoding);
        document.text("VersionIdMarker", Some(version_marker.as_deref().unwrap_or_default()));
        document.key("NextKeyMarker", page.next.as_deref(), asked.encoding);
        document.text("NextVersionIdMarker", page.next.as_ref().map(|_| "null"));
        asked.entries(&mut document, &page, "Version", Some(owner_id(&granted.account)), |document| {
            document.plain("VersionId", "null");
            document.plain("IsLatest", "true");
        });
        return Ok(document.answer(dto::ListObjectVersionsOutput::default()));
    };
    let query = VersionQuery {
        prefix: asked.prefix.clone().unwrap_or_default(),
        delimiter: asked.delimiter.clone(),
        marker: asked.after.clone().filter(|marker| !marker.is_empty()),
        version_marker: version::wanted(version_marker.as_deref())?,
        limit: asked.limit,
        ..VersionQuery::default()
    };
    let page = versions.list(&query).await.or_no_bucket()?;
    let class = front.class(&granted, &asked.bucket).await?;
    let mut document = asked.begun("ListVersionsResult", page.listed.len(), page.is_truncated);
    document.key("KeyMarker", Some(asked.after.as_deref().unwrap_or_default()), asked.encoding);
    document.text("VersionIdMarker", Some(version_marker.as_deref().unwrap_or_default()));
    match page.listed.last().filter(|_| page.is_truncated) {
        Some(ListedVersion::Version(last)) => {
            document.key("NextKeyMarker", Some(&last.key), asked.encoding);
            document.text("NextVersionIdMarker", Some(&last.stamp.id.to_string()));
        }
        Some(ListedVersion::Prefix(last)) => document.key("NextKeyMarker", Some(last), asked.encoding),
        None => {}
    }
    for listed in &page.listed {
        if let ListedVersion::Version(entry) = listed {
            asked.version(&mut document, entry, owner_id(&granted.account), &class);
        }
    }
    for listed in &page.listed {
        if let ListedVersion::Prefix(prefix) = listed {
            asked.prefix_in(&mut document, prefix);
        }
    }
    Ok(document.answer(dto::ListObjectVersionsOutput::default()))
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
