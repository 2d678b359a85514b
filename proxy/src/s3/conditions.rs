//! Conditions of requests (RFC 9110 §13): those on reading are decided here, those on writing are handed
//! to the engine, where check and write are one step.

use anello_storage::{Etags, ObjectInfo, Precondition};
use s3s::S3ErrorCode;
use s3s::dto::{ETagCondition, Timestamp};

use crate::object::versions;

/// The conditions of a GET, a HEAD or a copy's source.
#[derive(Debug, Default)]
pub(super) struct ReadConditions {
    pub(super) if_match: Option<Etags>,
    pub(super) if_none_match: Option<Etags>,
    /// Seconds since 1970.
    pub(super) if_modified_since: Option<u64>,
    /// Seconds since 1970.
    pub(super) if_unmodified_since: Option<u64>,
}

impl ReadConditions {
    /// From the typed headers.
    pub(super) fn new(
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
        if_modified_since: Option<Timestamp>,
        if_unmodified_since: Option<Timestamp>,
    ) -> Self {
        Self {
            if_match: if_match.map(etags),
            if_none_match: if_none_match.map(etags),
            if_modified_since: if_modified_since.map(seconds),
            if_unmodified_since: if_unmodified_since.map(seconds),
        }
    }

    /// The code to answer with where a condition does not hold: NotModified or PreconditionFailed. A tag's
    /// condition outweighs a date's.
    pub(super) fn check(&self, info: &ObjectInfo) -> Result<(), S3ErrorCode> {
        let is_one_of = |etags: &Etags| match etags {
            Etags::Any => true,
            Etags::List(list) => list.contains(&info.etag),
        };
        let modified = last_modified(info);
        let met = match (&self.if_match, self.if_unmodified_since) {
            (Some(etags), _) => is_one_of(etags),
            (None, Some(since)) => modified <= since,
            (None, None) => true,
        };
        if !met {
            return Err(S3ErrorCode::PreconditionFailed);
        }
        let fresh = match (&self.if_none_match, self.if_modified_since) {
            (Some(etags), _) => !is_one_of(etags),
            (None, Some(since)) => modified > since,
            (None, None) => true,
        };
        if fresh { Ok(()) } else { Err(S3ErrorCode::NotModified) }
    }
}

/// Second of the last change, of data or metadata, as `Last-Modified` shows it; of a version, when it was made.
pub(super) fn last_modified(info: &ObjectInfo) -> u64 {
    // A version may be a copy of its record, made when another took its place.
    versions::made(info).unwrap_or_else(|| info.meta_timestamp.max(info.timestamp)).seconds_ceil()
}

/// The condition of a write.
pub(super) fn precondition(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> Precondition {
    Precondition { if_match: if_match.map(etags), if_none_match: if_none_match.map(etags), if_unmodified_since: None }
}

fn etags(condition: ETagCondition) -> Etags {
    match condition {
        ETagCondition::Any => Etags::Any,
        ETagCondition::ETag(etag) => Etags::List(vec![etag.into_value()]),
    }
}

fn seconds(timestamp: Timestamp) -> u64 {
    u64::try_from(time::OffsetDateTime::from(timestamp).unix_timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use anello_base::Timestamp as Version;
    use anello_storage::Content;

    use super::*;

    fn info() -> ObjectInfo {
        ObjectInfo {
            timestamp: Version::from_seconds(1000),
            meta_timestamp: Version::from_seconds(1000),
            size: 1,
            stored_size: 1,
            etag: "aa".into(),
            content_type: String::new(),
            content: Content::Plain,
            delete_at: None,
            metadata: Vec::new(),
        }
    }

    #[test]
    fn a_tags_condition_outweighs_a_dates() {
        let tag = |tag: &str| Some(Etags::List(vec![tag.to_owned()]));
        let (failed, unmodified) = (Some(S3ErrorCode::PreconditionFailed), Some(S3ErrorCode::NotModified));
        let check = |if_match, if_none_match, modified, unmodified, want: Option<S3ErrorCode>| {
            let conditions = ReadConditions {
                if_match,
                if_none_match,
                if_modified_since: modified,
                if_unmodified_since: unmodified,
            };
            assert_eq!(conditions.check(&info()).err(), want, "{conditions:?}");
        };
        check(None, None, None, None, None);
        check(tag("aa"), None, None, Some(1), None);
        check(tag("bb"), None, None, None, failed.clone());
        check(None, None, None, Some(999), failed);
        check(None, None, None, Some(1000), None);
        check(None, tag("aa"), Some(1), None, unmodified.clone());
        check(None, Some(Etags::Any), None, None, unmodified.clone());
        check(None, tag("bb"), Some(9999), None, None);
        check(None, None, Some(1000), None, unmodified);
        check(None, None, Some(999), None, None);
    }
}
