//! Object Lock as it is stored: a bucket's setting and default retention, retention and legal hold of versions, and
//! whether they forbid a deletion. What is locked is a version, never a name; a container with Object Lock keeps
//! versions for ever. Both doors hold to it, and S3 alone sets it.

use anello_storage::{ContainerInfo, Metadata, ObjectInfo};
use time::{Duration, OffsetDateTime};

/// The bucket's metadata: `enabled`, and the default as ` <mode> <number> days` or `years`.
pub(crate) const BUCKET_NAME: &str = "x-container-sysmeta-s3-lock";
/// A version's metadata: `<mode> <milliseconds since 1970>`.
pub(crate) const RETENTION_NAME: &str = "x-object-sysmeta-s3-retention";
/// A version's metadata: `ON` or `OFF`.
pub(crate) const HOLD_NAME: &str = "x-object-sysmeta-s3-legal-hold";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Governance,
    Compliance,
}

impl Mode {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "GOVERNANCE" => Some(Self::Governance),
            "COMPLIANCE" => Some(Self::Compliance),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// How long a version is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) mode: Mode,
    pub(crate) until_ms: i64,
}

impl Retention {
    pub(crate) fn of(info: &ObjectInfo) -> Option<Self> {
        let (_, text) = info.metadata.iter().find(|(name, _)| name == RETENTION_NAME)?;
        let (mode, until_ms) = text.split_once(' ')?;
        Some(Self { mode: Mode::parse(mode)?, until_ms: until_ms.parse().ok()? })
    }

    pub(crate) fn stored(self) -> (String, String) {
        (RETENTION_NAME.to_owned(), format!("{} {}", self.mode.name(), self.until_ms))
    }

    pub(crate) fn until(self) -> OffsetDateTime {
        let nanoseconds = i128::from(self.until_ms) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// A bucket's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BucketDefault {
    pub(crate) mode: Mode,
    pub(crate) count: i32,
    pub(crate) is_years: bool,
}

impl BucketDefault {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (mode, count) = (Mode::parse(words.next()?)?, words.next()?.parse().ok()?);
        Some(Self { mode, count, is_years: words.next()? == "years" })
    }

    /// The retention of a version that is made now.
    pub(crate) fn begin(self, now: OffsetDateTime) -> Retention {
        let days = i64::from(self.count) * if self.is_years { 365 } else { 1 };
        Retention { mode: self.mode, until_ms: milliseconds(now + Duration::days(days)) }
    }
}

pub(crate) fn milliseconds(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// The bucket's setting, where it has Object Lock; what follows `enabled`.
pub(crate) fn setting(container: &ContainerInfo) -> Option<Option<BucketDefault>> {
    let (_, text) = container.metadata.iter().find(|(name, _)| name == BUCKET_NAME)?;
    Some(text.split_once(' ').and_then(|(_, rest)| BucketDefault::parse(rest)))
}

/// Whether a bucket has a default retention.
pub(crate) fn has_default(container: &ContainerInfo) -> bool {
    setting(container).flatten().is_some()
}

/// Whether a bucket has Object Lock.
pub(crate) fn is_enabled(container: &ContainerInfo) -> bool {
    setting(container).is_some()
}

/// Gives a new version the retention that its container's default says, where it has none of its own.
pub(crate) fn begin(container: &ContainerInfo, now: OffsetDateTime, metadata: &mut Metadata) {
    let default = setting(container).flatten();
    let is_set = metadata.iter().any(|(name, _)| name == RETENTION_NAME);
    if let Some(default) = default.filter(|_| !is_set) {
        metadata.push(default.begin(now).stored());
        metadata.sort();
    }
}

/// Whether a version must not be deleted; `bypasses` where governance is passed over.
pub(crate) fn forbids(info: &ObjectInfo, now: OffsetDateTime, bypasses: bool) -> bool {
    let is_held = info.metadata.iter().any(|(name, value)| name == HOLD_NAME && value == "ON");
    let is_retained = Retention::of(info)
        .is_some_and(|retention| retention.until() > now && !(bypasses && retention.mode == Mode::Governance));
    is_held || is_retained
}
