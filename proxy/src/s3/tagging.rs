//! Tags of objects and buckets. Stored as one item in the form of the `x-amz-tagging` header
//! (`k=v&k2=v2`, percent-encoded).

use anello_storage::store::{IfMissing, ObjectUpdate};
use anello_storage::{Metadata, ObjectInfo};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::error::OrNoBucket;
use super::front::Front;
use super::limits::{BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use super::policy::Granted;
use super::version;
use crate::object::tags::{NAME as OBJECT_NAME, format, parse};
use crate::object::versions::Stamp;

const BUCKET_NAME: &str = "x-container-sysmeta-s3-tags";

pub(super) use crate::object::tags::{Tags, stored};

/// Parses the form of `x-amz-tagging` for an object.
pub(super) fn parse_header(text: &str) -> S3Result<Tags> {
    let tags = parse(text).ok_or_else(|| s3_error!(InvalidArgument, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."))?;
    check(tags, OBJECT_TAGS_MAX)
}

/// Holds S3's rules for a set of tags.
fn check(tags: Tags, max: usize) -> S3Result<Tags> {
    if tags.len() > max {
        return Err(s3_error!(InvalidTag, "At most {max} tags are allowed."));
    }
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX || key.starts_with("aws:") {
            return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid"));
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid"));
        }
        if tags[..index].iter().any(|(earlier, _)| earlier == key) {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

/// What policies may look at of the tags that a request brings.
pub(super) fn facts(tags: &Tags) -> Vec<(String, String)> {
    let of_one = |(key, value): &(String, String)| {
        [("s3:RequestObjectTagKeys".to_owned(), key.clone()), (format!("s3:RequestObjectTag/{key}"), value.clone())]
    };
    tags.iter().flat_map(of_one).collect()
}

/// Puts an object's tags among its metadata; none removes them.
pub(super) fn store(tags: &Tags, metadata: &mut Metadata) {
    metadata.retain(|(name, _)| name != OBJECT_NAME);
    if !tags.is_empty() {
        metadata.push((OBJECT_NAME.to_owned(), format(tags)));
        metadata.sort();
    }
}

fn find(metadata: &Metadata, wanted: &str) -> Tags {
    metadata.iter().find(|(name, _)| name == wanted).and_then(|(_, text)| parse(text)).unwrap_or_default()
}

fn from_dto(tagging: dto::Tagging, max: usize) -> S3Result<Tags> {
    let pair = |tag: dto::Tag| Some((tag.key?, tag.value?));
    let tags: Option<Tags> = tagging.tag_set.into_iter().map(pair).collect();
    check(tags.ok_or(S3ErrorCode::MalformedXML)?, max)
}

fn to_dto(tags: Tags) -> dto::TagSet {
    tags.into_iter().map(|(key, value)| dto::Tag { key: Some(key), value: Some(value) }).collect()
}

/// A document's tags in the form of `x-amz-tagging`.
pub(super) fn to_header(tagging: dto::Tagging) -> S3Result<String> {
    Ok(format(&from_dto(tagging, OBJECT_TAGS_MAX)?))
}

/// GetObjectTagging.
pub(super) async fn get_object(
    front: &Front,
    req: S3Request<dto::GetObjectTaggingInput>,
) -> S3Result<S3Response<dto::GetObjectTaggingOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let info = version::find(front, &granted, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let version_id = shown_version(front, &granted, &input.bucket, &info)?;
    Ok(S3Response::new(dto::GetObjectTaggingOutput { tag_set: to_dto(stored(&info.metadata)), version_id }))
}

/// PutObjectTagging.
pub(super) async fn put_object(
    front: &Front,
    req: S3Request<dto::PutObjectTaggingInput>,
) -> S3Result<S3Response<dto::PutObjectTaggingOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let tags = from_dto(input.tagging, OBJECT_TAGS_MAX)?;
    let action = if input.version_id.is_some() { "s3:PutObjectVersionTagging" } else { "s3:PutObjectTagging" };
    granted.check_again(action, &input.bucket, &input.key, &facts(&tags))?;
    let version_id = input.version_id.as_deref();
    let version_id = replace_object(front, &granted, &input.bucket, &input.key, version_id, &tags).await?;
    Ok(S3Response::new(dto::PutObjectTaggingOutput { version_id }))
}

/// DeleteObjectTagging.
pub(super) async fn delete_object(
    front: &Front,
    req: S3Request<dto::DeleteObjectTaggingInput>,
) -> S3Result<S3Response<dto::DeleteObjectTaggingOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let version_id = input.version_id.as_deref();
    let version_id = replace_object(front, &granted, &input.bucket, &input.key, version_id, &Tags::new()).await?;
    Ok(S3Response::new(dto::DeleteObjectTaggingOutput { version_id }))
}

/// A version's id, where the bucket keeps versions.
fn shown_version(front: &Front, granted: &Granted, bucket: &str, info: &ObjectInfo) -> S3Result<Option<String>> {
    Ok(version::of(front, granted, bucket)?.map(|_| Stamp::of(info).id.to_string()))
}

async fn replace_object(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    tags: &Tags,
) -> S3Result<Option<String>> {
    // What is missing, or a delete marker, is told apart here.
    let mut found = version::find(front, granted, bucket, key, version).await?;
    let change = |info: &ObjectInfo| {
        found.clone_from(info);
        let mut metadata = info.metadata.clone();
        store(tags, &mut metadata);
        Ok(ObjectUpdate { content_type: None, delete_at: info.delete_at, metadata })
    };
    version::update(front, granted, bucket, key, version, change).await?;
    shown_version(front, granted, bucket, &found)
}

/// GetBucketTagging.
pub(super) async fn get_bucket(
    front: &Front,
    req: S3Request<dto::GetBucketTaggingInput>,
) -> S3Result<S3Response<dto::GetBucketTaggingOutput>> {
    let granted = Granted::of(&req)?;
    let container = front.container(&granted, &req.input.bucket).await?;
    let tags = find(&container.metadata, BUCKET_NAME);
    if tags.is_empty() {
        return Err(S3ErrorCode::NoSuchTagSet.into());
    }
    Ok(S3Response::new(dto::GetBucketTaggingOutput { tag_set: to_dto(tags) }))
}

/// PutBucketTagging.
pub(super) async fn put_bucket(
    front: &Front,
    req: S3Request<dto::PutBucketTaggingInput>,
) -> S3Result<S3Response<dto::PutBucketTaggingOutput>> {
    let granted = Granted::of(&req)?;
    let tags = from_dto(req.input.tagging, BUCKET_TAGS_MAX)?;
    replace_bucket(front, &granted, &req.input.bucket, format(&tags)).await?;
    Ok(S3Response::new(dto::PutBucketTaggingOutput::default()))
}

/// DeleteBucketTagging.
pub(super) async fn delete_bucket(
    front: &Front,
    req: S3Request<dto::DeleteBucketTaggingInput>,
) -> S3Result<S3Response<dto::DeleteBucketTaggingOutput>> {
    let granted = Granted::of(&req)?;
    replace_bucket(front, &granted, &req.input.bucket, String::new()).await?;
    Ok(S3Response::new(dto::DeleteBucketTaggingOutput::default()))
}

async fn replace_bucket(front: &Front, granted: &Granted, bucket: &str, text: String) -> S3Result<()> {
    let changes = vec![(BUCKET_NAME.to_owned(), text)];
    front.store.container_update(&granted.account, bucket, changes, 0, IfMissing::Fail).await.or_no_bucket()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_the_round_trip_through_their_stored_form() {
        let tags: Tags = vec![("a b".into(), "c&d=e+ü".into()), ("empty".into(), String::new())];
        let mut metadata = Metadata::new();
        store(&tags, &mut metadata);
        assert_eq!(stored(&metadata), tags);
        store(&Tags::new(), &mut metadata);
        assert!(metadata.is_empty());
    }

    #[test]
    fn tags_that_break_the_rules_are_refused() {
        for text in ["a=1&a=2", "aws:x=1", "=v", &format!("{}=1", "k".repeat(129)), &format!("k={}", "v".repeat(257))] {
            assert_eq!(
                parse_header(text).map_err(|error| error.code().clone()),
                Err(S3ErrorCode::InvalidTag),
                "{text}"
            );
        }
        let many: Vec<_> = (0..11).map(|n| format!("k{n}=v")).collect();
        assert!(parse_header(&many.join("&")).is_err());
        assert!(parse_header(&many[..10].join("&")).is_ok());
    }
}
