//! What clients say about an object, as it is stored, and back. User metadata are `x-object-meta-<name>`,
//! which the Swift door reads and writes alike; standard headers keep their names; what is S3's alone is
//! `x-object-sysmeta-s3-…`.

use anello_storage::{Metadata, ObjectInfo};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use s3s::{S3ErrorCode, S3Result, dto, s3_error};

use super::acl::OBJECT_NAME as ACL_NAME;
use super::checksum::Checksum;
use super::conditions::last_modified;
use super::limits::USER_METADATA_BYTES_MAX;
use super::website::REDIRECT_NAME;
use super::{lock, tagging};

const USER_PREFIX: &str = "x-object-meta-";

/// Everything of S3's own that is kept with an object begins with this.
const SYSTEM_PREFIX: &str = "x-object-sysmeta-s3-";

/// What Amazon answers for objects that were put without a type.
const DEFAULT_TYPE: &str = "binary/octet-stream";

/// Standard headers that are kept under their own names.
const KEPT: [&str; 5] = ["cache-control", "content-disposition", "content-encoding", "content-language", "expires"];

/// What a client says about an object.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) expires: Option<dto::Timestamp>,
    pub(super) user: Option<dto::Metadata>,
    /// As in `x-amz-tagging`.
    pub(super) tagging: Option<String>,
}

impl Described {
    /// Media type and metadata to store.
    pub(super) fn into_stored(self) -> S3Result<(String, Metadata)> {
        let mut stored = Metadata::new();
        let mut user_bytes = 0;
        for (name, value) in self.user.into_iter().flatten() {
            user_bytes += name.len() + value.len();
            stored.push((format!("{USER_PREFIX}{name}"), value));
        }
        if user_bytes > USER_METADATA_BYTES_MAX {
            return Err(S3ErrorCode::MetadataTooLarge.into());
        }
        let expires = self.expires.map(|time| httpdate::fmt_http_date(time::OffsetDateTime::from(time).into()));
        let encoding = self.content_encoding.as_deref().and_then(without_chunked);
        let values = [self.cache_control, self.content_disposition, encoding, self.content_language, expires];
        for (name, value) in KEPT.into_iter().zip(values) {
            if let Some(value) = value {
                stored.push((name.to_owned(), value));
            }
        }
        if let Some(text) = &self.tagging {
            tagging::store(&tagging::parse_header(text)?, &mut stored);
        }
        stored.sort();
        Ok((self.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned()), stored))
    }
}

/// `aws-chunked` is how the body came, not how the object is encoded.
fn without_chunked(encoding: &str) -> Option<String> {
    let left: Vec<_> =
        encoding.split(',').map(str::trim).filter(|word| !word.eq_ignore_ascii_case("aws-chunked")).collect();
    let left = left.join(", ");
    (!left.is_empty()).then_some(left)
}

/// What a copy keeps of its source's metadata: all but what belongs to the source's own data and, where
/// the copy brings its own, the tags.
pub(super) fn copied(source: &Metadata, keep_tags: bool) -> Metadata {
    let keep = |name: &str| match name.strip_prefix(SYSTEM_PREFIX) {
        Some("tags") => keep_tags,
        Some(_) => false,
        None => name.starts_with(USER_PREFIX) || KEPT.contains(&name),
    };
    source.iter().filter(|(name, _)| keep(name)).cloned().collect()
}

/// Adds to an object's new metadata what stays while its data do and no client says: what makes it a
/// manifest, say, or which upload made it.
pub(super) fn keep_systems(current: &Metadata, replaced: &mut Metadata) {
    let is_said =
        |name: &str| name.strip_prefix(SYSTEM_PREFIX) == Some("tags") || [ACL_NAME, REDIRECT_NAME].contains(&name);
    let is_kept = |name: &str| name.starts_with("x-object-sysmeta-") && !is_said(name);
    replaced.retain(|(name, _)| !is_kept(name));
    replaced.extend(current.iter().filter(|(name, _)| is_kept(name)).cloned());
    replaced.sort();
}

/// Headers of an answer about an object, its length left out.
pub(super) fn headers(info: &ObjectInfo, with_checksum: bool) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(info.metadata.len() + 8);
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(last_modified(info)));
    put(&mut headers, header::LAST_MODIFIED, &date)?;
    put(&mut headers, header::ETAG, &format!("\"{}\"", info.etag))?;
    put(&mut headers, header::CONTENT_TYPE, &info.content_type)?;
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    for (name, value) in &info.metadata {
        if let Some(name) = name.strip_prefix(USER_PREFIX) {
            put(&mut headers, header_name(&format!("x-amz-meta-{name}"))?, &as_header(value))?;
        } else if KEPT.contains(&name.as_str()) {
            put(&mut headers, header_name(name)?, value)?;
        }
    }
    if let Some((_, location)) = info.metadata.iter().find(|(name, _)| name == REDIRECT_NAME) {
        put(&mut headers, HeaderName::from_static("x-amz-website-redirect-location"), location)?;
    }
    lock::show(info, &mut headers)?;
    let tags = tagging::stored(&info.metadata);
    if !tags.is_empty() {
        headers.insert(HeaderName::from_static("x-amz-tagging-count"), HeaderValue::from(tags.len()));
    }
    if let Some(checksum) = Checksum::stored(&info.metadata, &info.etag).filter(|_| with_checksum) {
        put(&mut headers, HeaderName::from_static(checksum.algorithm.header()), &checksum.value)?;
        headers.insert(HeaderName::from_static("x-amz-checksum-type"), HeaderValue::from_static(checksum.kind.name()));
    }
    Ok(headers)
}

fn header_name(name: &str) -> S3Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| s3_error!(InternalError, "A stored header's name is not one."))
}

/// Sets a header; a value that no header can hold (Swift keeps more than S3 shows) is left out.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) -> S3Result<()> {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
    Ok(())
}

/// User metadata beyond ASCII go over the wire as RFC 2047 has it, as Amazon does.
fn as_header(value: &str) -> std::borrow::Cow<'_, str> {
    if value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        value.into()
    } else {
        format!("=?UTF-8?B?{}?=", STANDARD.encode(value)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transfers_encoding_is_not_the_objects() {
        let check = |given, want: Option<&str>| assert_eq!(without_chunked(given).as_deref(), want, "{given}");
        check("aws-chunked", None);
        check("aws-chunked, gzip", Some("gzip"));
        check("gzip,AWS-Chunked", Some("gzip"));
        check("deflate, gzip", Some("deflate, gzip"));
        check("br", Some("br"));
    }

    #[test]
    fn a_copy_leaves_behind_what_belongs_to_the_sources_data() {
        let source: Metadata = [
            ("cache-control", "no-store"),
            ("x-object-manifest", "c/p"),
            ("x-object-meta-a", "1"),
            ("x-object-sysmeta-s3-checksum", "CRC32 AAAA FULL_OBJECT e"),
            ("x-object-sysmeta-s3-tags", "k=v"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let names = |tags| copied(&source, tags).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(false), ["cache-control", "x-object-meta-a"]);
        assert_eq!(names(true), ["cache-control", "x-object-meta-a", "x-object-sysmeta-s3-tags"]);
    }

    #[test]
    fn new_metadata_leave_alone_what_the_data_need() {
        let items = |items: &[(&str, &str)]| -> Metadata {
            items.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let current = items(&[
            ("x-object-meta-a", "1"),
            ("x-object-sysmeta-s3-checksum", "CRC32 AAAA FULL_OBJECT e"),
            ("x-object-sysmeta-s3-tags", "k=v"),
            ("x-object-sysmeta-slo-manifest-etag", "e"),
        ]);
        let mut replaced = items(&[("x-object-meta-b", "2")]);
        keep_systems(&current, &mut replaced);
        let names: Vec<_> = replaced.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-object-meta-b", "x-object-sysmeta-s3-checksum", "x-object-sysmeta-slo-manifest-etag"]);
    }

    #[test]
    fn too_much_user_metadata_is_refused() {
        let user = dto::Metadata::from([("a".to_owned(), "x".repeat(USER_METADATA_BYTES_MAX))]);
        let refused = Described { user: Some(user), ..Described::default() }.into_stored().expect_err("too large");
        assert_eq!(*refused.code(), S3ErrorCode::MetadataTooLarge);
    }
}
