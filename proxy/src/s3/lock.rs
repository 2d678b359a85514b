//! Object Lock: a bucket's setting and default retention, retention and legal hold of versions, and what they forbid.
//! A bucket with Object Lock keeps versions for ever; what is locked is a version, never a name.

use anello_storage::store::{IfMissing, ObjectUpdate};
use anello_storage::{ContainerInfo, Metadata, ObjectInfo};
use http::{HeaderMap, HeaderName, StatusCode};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{OrNoBucket, custom};
use super::front::Front;
use super::limits::{RETENTION_DAYS_MAX, RETENTION_YEARS_MAX};
use super::metadata;
use super::policy::Granted;
use super::version;
use crate::object::lock::{
    self, BUCKET_NAME, HOLD_NAME, Mode, RETENTION_NAME, Retention, is_enabled, milliseconds, setting,
};
use crate::object::versions;

/// What a write says about locks.
#[derive(Debug, Default, Clone)]
pub(super) struct Wanted {
    pub(super) mode: Option<dto::ObjectLockMode>,
    pub(super) until: Option<dto::Timestamp>,
    pub(super) hold: Option<dto::ObjectLockLegalHoldStatus>,
}

/// What a new bucket with Object Lock has.
pub(super) fn of_new_bucket(account: &str, bucket: &str) -> Metadata {
    vec![(BUCKET_NAME.to_owned(), "enabled".to_owned()), versions::setting_of_new(account, bucket)]
}

fn now(front: &Front) -> OffsetDateTime {
    front.store.clock().wall().system_time().into()
}

impl Wanted {
    fn is_empty(&self) -> bool {
        self.mode.is_none() && self.until.is_none() && self.hold.is_none()
    }

    /// Puts the locks among a new version's metadata: those that were asked for, or the bucket's default.
    pub(super) fn store(&self, front: &Front, container: &ContainerInfo, metadata: &mut Metadata) -> S3Result<()> {
        if setting(container).is_none() {
            return if self.is_empty() { Ok(()) } else { Err(no_lock()) };
        }
        let asked = match (&self.mode, &self.until) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                let mode = Mode::parse(mode.as_str())
                    .ok_or_else(|| s3_error!(InvalidArgument, "Unknown wormMode directive."))?;
                Some(checked(front, mode, until)?)
            }
            _ => {
                return Err(s3_error!(
                    InvalidArgument,
                    "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
                ));
            }
        };
        if let Some(hold) = &self.hold {
            metadata.push((HOLD_NAME.to_owned(), checked_hold(hold)?.to_owned()));
        }
        metadata.extend(asked.map(Retention::stored));
        metadata.sort();
        lock::begin(container, now(front), metadata);
        Ok(())
    }
}

fn checked(front: &Front, mode: Mode, until: &dto::Timestamp) -> S3Result<Retention> {
    let until = OffsetDateTime::from(until.clone());
    if until <= now(front) {
        return Err(s3_error!(InvalidArgument, "The retain until date must be in the future!"));
    }
    Ok(Retention { mode, until_ms: milliseconds(until) })
}

fn checked_hold(hold: &dto::ObjectLockLegalHoldStatus) -> S3Result<&'static str> {
    match hold.as_str() {
        "ON" => Ok("ON"),
        "OFF" => Ok("OFF"),
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}

fn no_lock() -> S3Error {
    s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration")
}

/// Shows a version's locks.
pub(super) fn show(info: &ObjectInfo, headers: &mut HeaderMap) -> S3Result<()> {
    if let Some(retention) = Retention::of(info) {
        metadata::put(headers, HeaderName::from_static("x-amz-object-lock-mode"), retention.mode.name())?;
        let until = retention.until().format(&Rfc3339).unwrap_or_default();
        metadata::put(headers, HeaderName::from_static("x-amz-object-lock-retain-until-date"), &until)?;
    }
    if let Some((_, hold)) = info.metadata.iter().find(|(name, _)| name == HOLD_NAME) {
        metadata::put(headers, HeaderName::from_static("x-amz-object-lock-legal-hold"), hold)?;
    }
    Ok(())
}

/// Whether a version may be deleted; `bypasses` where the caller may, and says that he does, pass over governance.
pub(super) fn permits_deletion(front: &Front, info: &ObjectInfo, bypasses: bool) -> bool {
    !lock::forbids(info, now(front), bypasses)
}

/// Why a locked version stays.
pub(super) fn denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied because object protected by object lock.")
}

/// PutObjectLockConfiguration.
pub(super) async fn put_configuration(
    front: &Front,
    req: S3Request<dto::PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<dto::PutObjectLockConfigurationOutput>> {
    let granted = Granted::of(&req)?;
    let container = granted.container()?;
    let wanted = req.input.object_lock_configuration.ok_or(S3ErrorCode::MalformedXML)?;
    let is_enabled = wanted.object_lock_enabled.as_ref().is_some_and(|enabled| enabled.as_str() == "Enabled");
    if !is_enabled {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let default = wanted.rule.map(|rule| rule.default_retention.ok_or(S3ErrorCode::MalformedXML)).transpose()?;
    let text = match default {
        None => "enabled".to_owned(),
        Some(default) => checked_default(&default)?,
    };
    if setting(container).is_none() && versions::is_enabled(container) != Some(true) {
        return Err(custom(
            "InvalidBucketState",
            StatusCode::CONFLICT,
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
        ));
    }
    let changes = vec![(BUCKET_NAME.to_owned(), text)];
    front
        .store
        .container_update(&granted.account, &req.input.bucket, changes, 0, IfMissing::Fail)
        .await
        .or_no_bucket()?;
    Ok(S3Response::new(dto::PutObjectLockConfigurationOutput::default()))
}

fn checked_default(default: &dto::DefaultRetention) -> S3Result<String> {
    let mode = default.mode.as_ref().and_then(|mode| Mode::parse(mode.as_str())).ok_or(S3ErrorCode::MalformedXML)?;
    let (count, unit, max) = match (default.days, default.years) {
        (Some(days), None) => (days, "days", RETENTION_DAYS_MAX),
        (None, Some(years)) => (years, "years", RETENTION_YEARS_MAX),
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    if !(1..=max).contains(&count) {
        return Err(custom(
            "InvalidRetentionPeriod",
            StatusCode::BAD_REQUEST,
            "Default retention period must be a positive integer value, of at most 100 years.",
        ));
    }
    Ok(format!("enabled {} {count} {unit}", mode.name()))
}

/// GetObjectLockConfiguration.
pub(super) async fn get_configuration(
    _: &Front,
    req: S3Request<dto::GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<dto::GetObjectLockConfigurationOutput>> {
    let granted = Granted::of(&req)?;
    let Some(default) = setting(granted.container()?) else {
        return Err(custom(
            "ObjectLockConfigurationNotFoundError",
            StatusCode::NOT_FOUND,
            "Object Lock configuration does not exist for this bucket",
        ));
    };
    let rule = default.map(|default| dto::ObjectLockRule {
        default_retention: Some(dto::DefaultRetention {
            days: (!default.is_years).then_some(default.count),
            years: default.is_years.then_some(default.count),
            mode: Some(dto::ObjectLockRetentionMode::from_static(default.mode.name())),
        }),
    });
    let object_lock_enabled = Some(dto::ObjectLockEnabled::from_static(dto::ObjectLockEnabled::ENABLED));
    Ok(S3Response::new(dto::GetObjectLockConfigurationOutput {
        object_lock_configuration: Some(dto::ObjectLockConfiguration { object_lock_enabled, rule }),
    }))
}

/// PutObjectRetention. A retention may grow; to make it less takes the passing over of governance.
pub(super) async fn put_retention(
    front: &Front,
    req: S3Request<dto::PutObjectRetentionInput>,
) -> S3Result<S3Response<dto::PutObjectRetentionOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    if !is_enabled(granted.container()?) {
        return Err(no_lock());
    }
    let wanted = input.retention.ok_or(S3ErrorCode::MalformedXML)?;
    let wanted = match (&wanted.mode, &wanted.retain_until_date) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = Mode::parse(mode.as_str()).ok_or(S3ErrorCode::MalformedXML)?;
            Some(checked(front, mode, until)?)
        }
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    let bypasses = input.bypass_governance_retention == Some(true) && granted.may_bypass(&input.bucket, &input.key);
    let may = |info: &ObjectInfo| match (Retention::of(info).filter(|held| held.until() > now(front)), wanted) {
        (None, _) => true,
        (Some(held), Some(wanted)) if wanted.until_ms >= held.until_ms && is_as_strict(wanted.mode, held.mode) => true,
        (Some(held), _) => bypasses && held.mode == Mode::Governance,
    };
    let version = input.version_id.as_deref();
    change(front, &granted, &input.bucket, &input.key, version, may, RETENTION_NAME, wanted.map(Retention::stored))
        .await?;
    Ok(S3Response::new(dto::PutObjectRetentionOutput::default()))
}

fn is_as_strict(wanted: Mode, held: Mode) -> bool {
    wanted == held || wanted == Mode::Compliance
}

/// Replaces one of a version's locks, if `may` lets it.
#[expect(clippy::too_many_arguments, reason = "a version is named by four")]
async fn change(
    front: &Front,
    granted: &Granted,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    may: impl Fn(&ObjectInfo) -> bool + Send + Sync,
    name: &str,
    lock: Option<(String, String)>,
) -> S3Result<()> {
    version::find(front, granted, bucket, key, version).await?;
    let mut is_denied = false;
    let change = |info: &ObjectInfo| {
        is_denied = !may(info);
        if is_denied {
            return Err(anello_storage::Error::Precondition);
        }
        let mut metadata: Metadata = info.metadata.iter().filter(|(found, _)| found != name).cloned().collect();
        metadata.extend(lock.clone());
        metadata.sort();
        Ok(ObjectUpdate { content_type: None, delete_at: info.delete_at, metadata })
    };
    let changed = version::update(front, granted, bucket, key, version, change).await;
    if is_denied { Err(denied()) } else { changed }
}

/// GetObjectRetention.
pub(super) async fn get_retention(
    front: &Front,
    req: S3Request<dto::GetObjectRetentionInput>,
) -> S3Result<S3Response<dto::GetObjectRetentionOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    if !is_enabled(granted.container()?) {
        return Err(no_lock());
    }
    let info = version::find(front, &granted, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let retention = Retention::of(&info).ok_or_else(no_such)?;
    let retention = dto::ObjectLockRetention {
        mode: Some(dto::ObjectLockRetentionMode::from_static(retention.mode.name())),
        retain_until_date: Some(retention.until().into()),
    };
    Ok(S3Response::new(dto::GetObjectRetentionOutput { retention: Some(retention) }))
}

fn no_such() -> S3Error {
    custom(
        "NoSuchObjectLockConfiguration",
        StatusCode::NOT_FOUND,
        "The specified object does not have a ObjectLock configuration",
    )
}

/// PutObjectLegalHold.
pub(super) async fn put_hold(
    front: &Front,
    req: S3Request<dto::PutObjectLegalHoldInput>,
) -> S3Result<S3Response<dto::PutObjectLegalHoldOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    if !is_enabled(granted.container()?) {
        return Err(no_lock());
    }
    let wanted = input.legal_hold.and_then(|hold| hold.status).ok_or(S3ErrorCode::MalformedXML)?;
    let hold = Some((HOLD_NAME.to_owned(), checked_hold(&wanted)?.to_owned()));
    let version = input.version_id.as_deref();
    change(front, &granted, &input.bucket, &input.key, version, |_| true, HOLD_NAME, hold).await?;
    Ok(S3Response::new(dto::PutObjectLegalHoldOutput::default()))
}

/// GetObjectLegalHold.
pub(super) async fn get_hold(
    front: &Front,
    req: S3Request<dto::GetObjectLegalHoldInput>,
) -> S3Result<S3Response<dto::GetObjectLegalHoldOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    if !is_enabled(granted.container()?) {
        return Err(no_lock());
    }
    let info = version::find(front, &granted, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let (_, hold) = info.metadata.iter().find(|(name, _)| name == HOLD_NAME).ok_or_else(no_such)?;
    let status = dto::ObjectLockLegalHoldStatus::from(hold.clone());
    let legal_hold = Some(dto::ObjectLockLegalHold { status: Some(status) });
    Ok(S3Response::new(dto::GetObjectLegalHoldOutput { legal_hold }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::lock::BucketDefault;

    #[test]
    fn a_default_is_read_as_it_was_written() {
        let default = |days, years| dto::DefaultRetention {
            days,
            years,
            mode: Some(dto::ObjectLockRetentionMode::from_static("GOVERNANCE")),
        };
        let check = |days, years, want: Option<(i32, bool)>| {
            let text = checked_default(&default(days, years)).ok();
            let found = text.as_deref().and_then(|text| BucketDefault::parse(text.strip_prefix("enabled ")?));
            assert_eq!(found.map(|found| (found.count, found.is_years)), want, "{days:?} {years:?}");
        };
        check(Some(3), None, Some((3, false)));
        check(None, Some(2), Some((2, true)));
        check(Some(1), Some(1), None);
        check(None, None, None);
        check(Some(0), None, None);
        check(Some(-1), None, None);
        check(None, Some(101), None);
    }
}
