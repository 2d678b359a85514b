//! Limits of the S3 door, with their reasons. What is S3's own is stated by Amazon's documentation
//! ("Amazon S3 multipart upload limits", "Object tagging", "Bucket naming rules").

use std::time::Duration;

use anello_base::units::{GIB, KIB, MIB, TIB};

/// A key in UTF-8 (S3's, and what `s3s` holds). More answers KeyTooLongError.
pub(super) const KEY_BYTES_MAX: usize = 1_024;

/// One PUT, one part or one copied object (S3's). More answers EntityTooLarge.
pub(super) const PUT_BYTES_MAX: u64 = 5 * GIB;

/// A whole object made of parts (S3's). More answers EntityTooLarge.
pub(super) const OBJECT_BYTES_MAX: u64 = 5 * TIB;

/// Every part but the last (S3's). Less answers EntityTooSmall.
pub(super) const PART_BYTES_MIN: u64 = 5 * MIB;

/// The highest part number (S3's).
pub(super) const PART_NUMBER_MAX: i32 = 10_000;

/// Keys, prefixes, uploads and parts of one page of a listing (S3's). A client that asks for more gets this.
pub(super) const PAGE_MAX: usize = 1_000;

/// Rows read at once from the engine where a whole listing is needed (the parts of an upload).
pub(super) const SCAN_PAGE: usize = 10_000;

/// Buckets of one answer without `max-buckets` (S3's).
pub(super) const BUCKETS_MAX: usize = 10_000;

/// Keys of one DeleteObjects (S3's). More answers MalformedXML.
pub(super) const DELETE_MANY_MAX: usize = 1_000;

/// Deletions of one DeleteObjects under way at once: they share group commits, and one client can't fill
/// the engine's queue.
pub(super) const DELETE_CONCURRENCY: usize = 64;

/// User metadata of an object, names and values together (S3's). More answers MetadataTooLarge.
pub(super) const USER_METADATA_BYTES_MAX: usize = 2 * KIB as usize;

/// Tags of an object (S3's).
pub(super) const OBJECT_TAGS_MAX: usize = 10;

/// Tags of a bucket (S3's).
pub(super) const BUCKET_TAGS_MAX: usize = 50;

/// Characters of a tag's key (S3's).
pub(super) const TAG_KEY_CHARS_MAX: usize = 128;

/// Characters of a tag's value (S3's).
pub(super) const TAG_VALUE_CHARS_MAX: usize = 256;

/// A bucket's policy in bytes (S3's).
pub(super) const POLICY_BYTES_MAX: usize = 20 * KIB as usize;

/// Policies that are remembered as they were parsed, at most a few times [`POLICY_BYTES_MAX`] each; the least used goes
/// first.
pub(super) const POLICIES_CACHED: u64 = 1_000;

/// Rules of a bucket for other web sites (S3's). More answers MalformedXML.
pub(super) const CORS_RULES_MAX: usize = 100;

/// All of these rules in bytes (S3's).
pub(super) const CORS_BYTES_MAX: usize = 64 * KIB as usize;

/// The fields of a form before its file (S3's is 20 KB, what else comes in the same chunk not counted). More answers
/// MaxPostPreDataLengthExceededError.
pub(super) const FORM_BYTES_MAX: usize = 64 * KIB as usize;

/// Fields of a form: each has to be covered by a condition, of which a policy of that size can't have more.
pub(super) const FORM_FIELDS_MAX: usize = 1_000;

/// Grants of an access list (S3's). More answers MalformedACLError.
pub(super) const GRANTS_MAX: usize = 100;

/// Rules of a web site that send visitors elsewhere (S3's).
pub(super) const WEBSITE_RULES_MAX: usize = 50;

/// A bucket's web site in bytes (S3's is 128 KB); each request to the bucket carries it along.
pub(super) const WEBSITE_BYTES_MAX: usize = 64 * KIB as usize;

/// An object's address for visitors in bytes (S3's).
pub(super) const REDIRECT_BYTES_MAX: usize = 2 * KIB as usize;

/// Buckets of which it is remembered that they are logged, some 200 bytes each; the least used go first, and come back
/// with their next request.
pub(super) const LOGGED_BUCKETS: u64 = 10_000;

/// What the names of log objects begin with, in bytes: what comes behind it has room in a key.
pub(super) const LOG_PREFIX_BYTES_MAX: usize = 512;

/// Accounts of which it is remembered whether they have quotas; the least used go first.
pub(super) const QUOTA_CACHE_ENTRIES: u64 = 10_000;

/// How long that is remembered: within this a new quota of an account holds.
pub(super) const QUOTA_CACHE_AGE: Duration = Duration::from_secs(5);

/// Lifecycle rules of a bucket (S3's). More answers MalformedXML.
pub(super) const LIFECYCLE_RULES_MAX: usize = 1_000;

/// All of these rules in bytes: a thousand with a prefix and some tags each.
pub(super) const LIFECYCLE_BYTES_MAX: usize = MIB as usize;

/// Characters of a rule's id (S3's).
pub(super) const LIFECYCLE_ID_CHARS_MAX: usize = 255;

/// Versions that are not current and stay whatever their age (S3's).
pub(super) const LIFECYCLE_KEPT_MAX: u32 = 100;

/// Buckets whose lifecycle rules are remembered, some KiB each and [`LIFECYCLE_BYTES_MAX`] at most; the least used go
/// first.
pub(super) const LIFECYCLE_CACHED: u64 = 200;

/// Days of a default retention (S3's: a hundred years).
pub(super) const RETENTION_DAYS_MAX: i32 = 36_500;

/// Years of a default retention (S3's).
pub(super) const RETENTION_YEARS_MAX: i32 = 100;

/// XML bodies. The largest real one, 10,000 parts with checksums, is 2.5 MB.
pub(super) const XML_BYTES_MAX: usize = 8 * MIB as usize;

/// How far a request's date may be off (S3's). Beyond it: RequestTimeTooSkewed.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(900);

/// How long an address may be signed for (S3's): seven days.
pub(super) const PRESIGNED_SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Bucket names whose owner is remembered, some 150 bytes each; the least used goes first.
pub(super) const BUCKET_CACHE_ENTRIES: u64 = 10_000;

/// How long a bucket's owner is remembered. An owner changes only when a bucket is deleted and its name
/// is taken by somebody else; until then a request finds no such bucket or is denied.
pub(super) const BUCKET_CACHE_AGE: Duration = Duration::from_secs(60);

/// Access keys remembered between the check of the signature and that of the authority, and from one
/// request to the next.
pub(super) const KEY_CACHE_ENTRIES: u64 = 10_000;

/// How long an access key, and what was derived from it, is kept in memory. Whether it still holds, identity is asked.
pub(super) const KEY_CACHE_AGE: Duration = Duration::from_secs(5);

/// After this long an unfinished claim (of a bucket's name whose bucket is not there, of an upload being
/// completed) counts as abandoned and may be taken over.
pub(super) const CLAIM_SECONDS: u64 = crate::object::limits::UPLOAD_CLAIM.as_secs();

const _: () = assert!(PART_NUMBER_MAX as usize == crate::object::limits::PARTS_MAX);
