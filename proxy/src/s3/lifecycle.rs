//! Lifecycle rules as S3 has them: PutBucketLifecycleConfiguration and its like, and when an object expires, as answers
//! tell it. [`crate::object::lifecycle`] keeps the rules and carries them out.

use std::collections::HashSet;
use std::sync::Arc;

use anello_base::{Timestamp, id};
use anello_storage::store::IfMissing;
use anello_storage::{ContainerInfo, Metadata, ObjectInfo};
use http::{HeaderMap, HeaderName, StatusCode};
use moka::sync::Cache;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};
use time::OffsetDateTime;

use super::error::{OrNoBucket, custom};
use super::front::Front;
use super::limits::{
    LIFECYCLE_BYTES_MAX, LIFECYCLE_CACHED, LIFECYCLE_ID_CHARS_MAX, LIFECYCLE_KEPT_MAX, LIFECYCLE_RULES_MAX,
};
use super::metadata;
use super::policy::Granted;
use crate::object::lifecycle::{self, DAY, Expiration, Filter, Form, Noncurrent, Rule, Rules, Subject};
use crate::object::tags::{self, Tags};
use crate::object::versions::Stamp;

/// Where it is shown when an object expires.
const EXPIRATION: HeaderName = HeaderName::from_static("x-amz-expiration");

/// What S3 has where nothing was said about sizes of transitions.
const MINIMUM_SIZE: &str = "all_storage_classes_128K";

/// Rules that requests asked for, by their names; those of a name never change.
#[derive(Debug)]
pub(super) struct Known(Cache<String, Arc<Rules>>);

impl Default for Known {
    fn default() -> Self {
        Self(Cache::new(LIFECYCLE_CACHED))
    }
}

/// A bucket's rules, where it has any.
async fn rules(front: &Front, container: &ContainerInfo) -> S3Result<Option<Arc<Rules>>> {
    let Some(name) = lifecycle::name_of(container) else { return Ok(None) };
    if let Some(rules) = front.lifecycles.0.get(name) {
        return Ok(Some(rules));
    }
    let Some(rules) = lifecycle::load(&front.store, name).await.or_no_bucket()? else { return Ok(None) };
    let rules = Arc::new(rules);
    front.lifecycles.0.insert(name.to_owned(), rules.clone());
    Ok(Some(rules))
}

/// When an object expires that was made then, as `x-amz-expiration` tells it. Asks nobody where the bucket has no rules.
pub(super) async fn expiration(
    front: &Front,
    container: &ContainerInfo,
    key: &str,
    size: u64,
    stored: &Metadata,
    made: Timestamp,
) -> S3Result<Option<String>> {
    if lifecycle::name_of(container).is_none() {
        return Ok(None);
    }
    let Some(rules) = Box::pin(rules(front, container)).await? else { return Ok(None) };
    let tags = tags::stored(stored);
    let found = rules.expiry(Subject { key, size, tags: &tags }, made, DAY);
    Ok(found.map(|(due, rule)| {
        let date = httpdate::fmt_http_date(due.system_time());
        format!("expiry-date=\"{date}\", rule-id=\"{}\"", utf8_percent_encode(&rule.id, NON_ALPHANUMERIC))
    }))
}

/// What [`of_new`] needs to know of an object that is being written; nothing where the bucket has no rules.
pub(super) fn said(container: &ContainerInfo, metadata: &Metadata) -> Option<Metadata> {
    lifecycle::name_of(container).map(|_| metadata.clone())
}

/// The same as [`expiration`] of an object that was just written, about which nothing may fail any more.
pub(super) async fn of_new(
    front: &Front,
    container: &ContainerInfo,
    key: &str,
    size: u64,
    said: Option<Metadata>,
    made: Timestamp,
) -> Option<String> {
    let metadata = said?;
    let found = Box::pin(expiration(front, container, key, size, &metadata, made)).await;
    found.inspect_err(|error| tracing::debug!(%error, "when a new object expires is not told")).ok().flatten()
}

/// Shows when the current version of an object expires.
pub(super) async fn show(
    front: &Front,
    granted: &Granted,
    key: &str,
    info: &ObjectInfo,
    headers: &mut HeaderMap,
) -> S3Result<()> {
    let made = || Stamp::of(info).time();
    let Some(container) = granted.container.as_deref().filter(|it| lifecycle::name_of(it).is_some()) else {
        return Ok(());
    };
    match Box::pin(expiration(front, container, key, info.size, &info.metadata, made())).await? {
        Some(text) => metadata::put(headers, EXPIRATION, &text),
        None => Ok(()),
    }
}

/// Puts what [`expiration`] tells among headers.
pub(super) fn put_header(expiration: Option<&str>, headers: &mut HeaderMap) -> S3Result<()> {
    expiration.map_or(Ok(()), |text| metadata::put(headers, EXPIRATION, text))
}

/// When an upload that was begun then is aborted, and by the rule of which name.
pub(super) async fn abortion(
    front: &Front,
    container: &ContainerInfo,
    key: &str,
    begun: Timestamp,
) -> S3Result<Option<(dto::Timestamp, String)>> {
    let Some(rules) = Box::pin(rules(front, container)).await? else { return Ok(None) };
    Ok(rules.abort(key, begun, DAY).map(|(due, rule)| (due.system_time().into(), rule.id.clone())))
}

/// PutBucketLifecycleConfiguration.
pub(super) async fn put(
    front: &Front,
    req: S3Request<dto::PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<dto::PutBucketLifecycleConfigurationOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let given = input.lifecycle_configuration.ok_or(S3ErrorCode::MalformedXML)?.rules;
    if given.is_empty() || given.len() > LIFECYCLE_RULES_MAX {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let minimum = input.transition_default_minimum_object_size.map(|size| size.as_str().to_owned());
    if minimum.as_deref().is_some_and(|size| !matches!(size, MINIMUM_SIZE | "varies_by_storage_class")) {
        return Err(s3_error!(InvalidRequest, "Invalid TransitionDefaultMinimumObjectSize found"));
    }
    let rules = given.into_iter().map(|rule| checked(front, rule)).collect::<S3Result<Vec<_>>>()?;
    let mut ids = HashSet::new();
    if let Some(twice) = rules.iter().find(|rule| !ids.insert(rule.id.as_str())) {
        return Err(s3_error!(
            InvalidArgument,
            "Rule ID must be unique. Found same ID for more than one rule: {}",
            twice.id
        ));
    }
    let rules = Rules { rules, minimum: minimum.clone() };
    if rules.encode().len() > LIFECYCLE_BYTES_MAX {
        return Err(s3_error!(InvalidRequest, "The lifecycle rules are larger than {LIFECYCLE_BYTES_MAX} bytes."));
    }
    let name = lifecycle::store(&front.store, &granted.account, &input.bucket, &rules).await.or_no_bucket()?;
    replace(front, &granted, &input.bucket, name).await?;
    let minimum = dto::TransitionDefaultMinimumObjectSize::from(minimum.unwrap_or_else(|| MINIMUM_SIZE.to_owned()));
    let output = dto::PutBucketLifecycleConfigurationOutput { transition_default_minimum_object_size: Some(minimum) };
    Ok(S3Response::new(output))
}

/// Names other rules for a bucket, or none; those of before are forgotten.
async fn replace(front: &Front, granted: &Granted, bucket: &str, name: String) -> S3Result<()> {
    let before = lifecycle::name_of(granted.container()?).map(str::to_owned);
    let changes = vec![(lifecycle::BUCKET_NAME.to_owned(), name)];
    front.store.container_update(&granted.account, bucket, changes, 0, IfMissing::Fail).await.or_no_bucket()?;
    if let Some(before) = before
        && let Err(error) = lifecycle::forget(&front.store, &before).await
    {
        tracing::debug!(%error, "lifecycle rules that nobody names are left to the daemon");
    }
    Ok(())
}

fn checked(front: &Front, rule: dto::LifecycleRule) -> S3Result<Rule> {
    let id = rule.id.filter(|id| !id.is_empty()).unwrap_or_else(id::hex_id);
    if id.chars().count() > LIFECYCLE_ID_CHARS_MAX {
        return Err(s3_error!(
            InvalidArgument,
            "ID length should not exceed allowed limit of {LIFECYCLE_ID_CHARS_MAX}"
        ));
    }
    let is_enabled = match rule.status.as_str() {
        dto::ExpirationStatus::ENABLED => true,
        dto::ExpirationStatus::DISABLED => false,
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    for transition in rule.transitions.into_iter().flatten() {
        check_date(transition.date.as_ref())?;
        refuse_transition(front, transition.storage_class.as_ref())?;
    }
    for transition in rule.noncurrent_version_transitions.into_iter().flatten() {
        refuse_transition(front, transition.storage_class.as_ref())?;
    }
    let filter = match (rule.prefix, rule.filter) {
        (Some(prefix), None) => Filter { form: Form::Prefix, prefix: Some(prefix), ..Filter::default() },
        (None, Some(filter)) => checked_filter(filter)?,
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    let expiration = rule.expiration.map(checked_expiration).transpose()?;
    let noncurrent = rule.noncurrent_version_expiration.map(|it| checked_noncurrent(&it, &filter)).transpose()?;
    let abort_days = match rule.abort_incomplete_multipart_upload {
        None => None,
        Some(abort) => {
            let days = abort.days_after_initiation.ok_or(S3ErrorCode::MalformedXML)?;
            Some(positive(
                days,
                "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
            )?)
        }
    };
    if expiration == Some(Expiration::LoneMarkers) && !filter.tags.is_empty() {
        return Err(s3_error!(InvalidRequest, "ExpiredObjectDeleteMarker cannot be specified with Tags."));
    }
    let is_about_objects = !filter.tags.is_empty() || filter.larger_than.is_some() || filter.smaller_than.is_some();
    if abort_days.is_some() && is_about_objects {
        return Err(s3_error!(
            InvalidRequest,
            "AbortIncompleteMultipartUpload cannot be specified with Tags or sizes of objects."
        ));
    }
    if expiration.is_none() && noncurrent.is_none() && abort_days.is_none() {
        return Err(s3_error!(InvalidRequest, "At least one action needs to be specified in a rule"));
    }
    Ok(Rule { id, is_enabled, filter, expiration, noncurrent, abort_days })
}

/// An object has the storage class of its bucket and no other one, so none changes it.
fn refuse_transition(front: &Front, class: Option<&dto::TransitionStorageClass>) -> S3Result<()> {
    let class = class.ok_or(S3ErrorCode::MalformedXML)?.as_str();
    match front.store.policies().named(class) {
        Some(_) => Err(s3_error!(NotImplemented, "Transitions between storage classes are not implemented.")),
        None => Err(S3ErrorCode::InvalidStorageClass.into()),
    }
}

fn positive(days: i32, message: &'static str) -> S3Result<u32> {
    let days = u32::try_from(days).ok().filter(|days| *days > 0);
    days.ok_or_else(|| S3Error::with_message(S3ErrorCode::InvalidArgument, message))
}

/// A date in seconds since 1970.
fn check_date(date: Option<&dto::Timestamp>) -> S3Result<Option<u64>> {
    let Some(date) = date else { return Ok(None) };
    let date = OffsetDateTime::from(date.clone());
    let second = u64::try_from(date.unix_timestamp()).ok();
    let second = second.filter(|second| second.is_multiple_of(DAY.as_secs()) && date.nanosecond() == 0);
    second.map(Some).ok_or_else(|| s3_error!(InvalidArgument, "'Date' must be at midnight GMT"))
}

fn checked_expiration(given: dto::LifecycleExpiration) -> S3Result<Expiration> {
    let date = check_date(given.date.as_ref())?;
    match (date, given.days, given.expired_object_delete_marker) {
        (Some(second), None, None) => Ok(Expiration::Date(second)),
        (None, Some(days), None) => {
            positive(days, "'Days' for Expiration action must be a positive integer").map(Expiration::Days)
        }
        (None, None, Some(true)) => Ok(Expiration::LoneMarkers),
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}

fn checked_noncurrent(given: &dto::NoncurrentVersionExpiration, filter: &Filter) -> S3Result<Noncurrent> {
    let days = given.noncurrent_days.ok_or(S3ErrorCode::MalformedXML)?;
    let days = positive(days, "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer")?;
    let kept = given.newer_noncurrent_versions.map(|kept| {
        let kept = u32::try_from(kept).ok().filter(|kept| (1..=LIFECYCLE_KEPT_MAX).contains(kept));
        kept.ok_or_else(|| {
            s3_error!(InvalidArgument, "'NewerNoncurrentVersions' must be between 1 and {LIFECYCLE_KEPT_MAX}")
        })
    });
    if kept.is_some() && filter.form == Form::Prefix {
        return Err(s3_error!(InvalidRequest, "NewerNoncurrentVersions needs a Filter."));
    }
    Ok(Noncurrent { days, kept: kept.transpose()? })
}

fn checked_filter(given: dto::LifecycleRuleFilter) -> S3Result<Filter> {
    let single = [
        given.prefix.is_some(),
        given.tag.is_some(),
        given.object_size_greater_than.is_some(),
        given.object_size_less_than.is_some(),
    ];
    let single = single.into_iter().filter(|is_there| *is_there).count();
    let filter = match given.and {
        None if single <= 1 => Filter {
            form: Form::One,
            prefix: given.prefix,
            tags: given.tag.into_iter().map(checked_tag).collect::<S3Result<_>>()?,
            larger_than: size(given.object_size_greater_than)?,
            smaller_than: size(given.object_size_less_than)?,
        },
        Some(and) if single == 0 => {
            let tags = and.tags.unwrap_or_default().into_iter().map(checked_tag).collect::<S3Result<Tags>>()?;
            let mut keys = HashSet::new();
            if !tags.iter().all(|(key, _)| keys.insert(key.as_str())) {
                return Err(s3_error!(InvalidRequest, "Duplicate Tag Keys are not allowed."));
            }
            let filter = Filter {
                form: Form::And,
                prefix: and.prefix,
                tags,
                larger_than: size(and.object_size_greater_than)?,
                smaller_than: size(and.object_size_less_than)?,
            };
            let others = [filter.prefix.is_some(), filter.larger_than.is_some(), filter.smaller_than.is_some()];
            if filter.tags.len() + others.into_iter().filter(|is_there| *is_there).count() < 2 {
                return Err(S3ErrorCode::MalformedXML.into());
            }
            filter
        }
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    if let (Some(larger), Some(smaller)) = (filter.larger_than, filter.smaller_than)
        && larger >= smaller
    {
        return Err(s3_error!(
            InvalidRequest,
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'."
        ));
    }
    Ok(filter)
}

fn checked_tag(tag: dto::Tag) -> S3Result<(String, String)> {
    match (tag.key, tag.value) {
        (Some(key), Some(value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}

fn size(given: Option<i64>) -> S3Result<Option<u64>> {
    let checked = |size| u64::try_from(size).map_err(|_| s3_error!(InvalidRequest, "A size is not to be negative."));
    given.map(checked).transpose()
}

/// GetBucketLifecycleConfiguration.
pub(super) async fn get(
    front: &Front,
    req: S3Request<dto::GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<dto::GetBucketLifecycleConfigurationOutput>> {
    let granted = Granted::of(&req)?;
    let rules = rules(front, granted.container()?).await?.ok_or_else(|| {
        custom("NoSuchLifecycleConfiguration", StatusCode::NOT_FOUND, "The lifecycle configuration does not exist")
    })?;
    let minimum = rules.minimum.clone().unwrap_or_else(|| MINIMUM_SIZE.to_owned());
    Ok(S3Response::new(dto::GetBucketLifecycleConfigurationOutput {
        rules: Some(rules.rules.iter().map(shown).collect()),
        transition_default_minimum_object_size: Some(minimum.into()),
    }))
}

fn shown(rule: &Rule) -> dto::LifecycleRule {
    let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
    let status = if rule.is_enabled { dto::ExpirationStatus::ENABLED } else { dto::ExpirationStatus::DISABLED };
    let (prefix, filter) = match rule.filter.form {
        Form::Prefix => (rule.filter.prefix.clone(), None),
        Form::One | Form::And => (None, Some(shown_filter(&rule.filter))),
    };
    dto::LifecycleRule {
        abort_incomplete_multipart_upload: rule
            .abort_days
            .map(|count| dto::AbortIncompleteMultipartUpload { days_after_initiation: Some(days(count)) }),
        expiration: rule.expiration.map(|expiration| match expiration {
            Expiration::Days(count) => dto::LifecycleExpiration { days: Some(days(count)), ..Default::default() },
            Expiration::Date(second) => dto::LifecycleExpiration {
                date: Some(Timestamp::from_seconds(second).system_time().into()),
                ..Default::default()
            },
            Expiration::LoneMarkers => {
                dto::LifecycleExpiration { expired_object_delete_marker: Some(true), ..Default::default() }
            }
        }),
        filter,
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| dto::NoncurrentVersionExpiration {
            newer_noncurrent_versions: noncurrent.kept.map(days),
            noncurrent_days: Some(days(noncurrent.days)),
        }),
        noncurrent_version_transitions: None,
        prefix,
        status: dto::ExpirationStatus::from_static(status),
        transitions: None,
    }
}

fn shown_filter(filter: &Filter) -> dto::LifecycleRuleFilter {
    let tag = |(key, value): &(String, String)| dto::Tag { key: Some(key.clone()), value: Some(value.clone()) };
    let size = |size: Option<u64>| size.map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    let (prefix, larger, smaller) = (filter.prefix.clone(), size(filter.larger_than), size(filter.smaller_than));
    match filter.form {
        Form::And => dto::LifecycleRuleFilter {
            and: Some(dto::LifecycleRuleAndOperator {
                object_size_greater_than: larger,
                object_size_less_than: smaller,
                prefix,
                tags: Some(filter.tags.iter().map(tag).collect()).filter(|tags: &Vec<_>| !tags.is_empty()),
            }),
            ..Default::default()
        },
        Form::One | Form::Prefix => dto::LifecycleRuleFilter {
            and: None,
            object_size_greater_than: larger,
            object_size_less_than: smaller,
            prefix,
            tag: filter.tags.first().map(tag),
        },
    }
}

/// DeleteBucketLifecycle.
pub(super) async fn delete(
    front: &Front,
    req: S3Request<dto::DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<dto::DeleteBucketLifecycleOutput>> {
    let granted = Granted::of(&req)?;
    if lifecycle::name_of(granted.container()?).is_some() {
        replace(front, &granted, &req.input.bucket, String::new()).await?;
    }
    Ok(S3Response::new(dto::DeleteBucketLifecycleOutput::default()))
}
