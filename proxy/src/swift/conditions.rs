//! Conditional requests (RFC 9110 §13) on what is read, and as [`Precondition`] on what is written.

use std::time::UNIX_EPOCH;

use anello_storage::{Etags, Precondition};
use http::StatusCode;

use super::call::Call;
use super::fault::Fault;

/// The conditions of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    if_match: Option<Etags>,
    if_none_match: Option<Etags>,
    if_modified_since: Option<u64>,
    if_unmodified_since: Option<u64>,
}

impl Conditions {
    /// Reads the conditions; a date that is none is no condition.
    pub(super) fn of(call: &Call) -> Self {
        let date = |name| call.header(name).and_then(seconds_of);
        Self {
            if_match: call.header("if-match").map(etags),
            if_none_match: call.header("if-none-match").map(etags),
            if_modified_since: date("if-modified-since"),
            if_unmodified_since: date("if-unmodified-since"),
        }
    }

    /// Whether they ask for there to be nothing (`If-None-Match: *`).
    pub(super) fn wants_absent(&self) -> bool {
        self.if_none_match == Some(Etags::Any)
    }

    /// The same but for `If-None-Match`.
    pub(super) fn without_none_match(self) -> Self {
        Self { if_none_match: None, ..self }
    }

    /// What to answer instead of the thing with this tag and second of last change: 304 or 412.
    pub(super) fn refuse(&self, etag: &str, last_modified: u64) -> Option<StatusCode> {
        let is_one_of = |etags: &Etags| match etags {
            Etags::Any => true,
            Etags::List(list) => list.iter().any(|tag| tag == etag),
        };
        // Swift looks at both where HTTP lets the first win; whoever sends both means both.
        let fails_match = self.if_match.as_ref().is_some_and(|etags| !is_one_of(etags));
        if fails_match || self.if_unmodified_since.is_some_and(|since| last_modified > since) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
        let is_known = match (&self.if_none_match, self.if_modified_since) {
            (Some(etags), _) => is_one_of(etags),
            (None, Some(since)) => last_modified <= since,
            (None, None) => false,
        };
        is_known.then_some(StatusCode::NOT_MODIFIED)
    }
}

/// The conditions of a write. As in Swift, `If-None-Match` takes `*` alone.
pub(super) fn for_write(call: &Call) -> Result<Precondition, Fault> {
    let Conditions { if_match, if_none_match, if_unmodified_since, .. } = Conditions::of(call);
    match &if_none_match {
        None | Some(Etags::Any) => Ok(Precondition { if_match, if_none_match, if_unmodified_since }),
        Some(Etags::List(_)) => Err(Fault::invalid("If-None-Match only supports *")),
    }
}

/// Whether a `Range` counts: there is no `If-Range`, or it names this version.
pub(super) fn if_range_holds(call: &Call, etag: &str, last_modified: u64) -> bool {
    call.header("if-range").is_none_or(|text| match seconds_of(text) {
        Some(since) => last_modified == since,
        None => etags(text) == Etags::List(vec![etag.to_owned()]),
    })
}

/// Seconds since 1970 of a date in any of HTTP's three forms.
fn seconds_of(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Tags with or without quotes; weak ones are taken for strong, for we make no weak ones.
fn etags(text: &str) -> Etags {
    let clean = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    let list: Vec<_> = text.split(',').map(clean).filter(|tag| !tag.is_empty()).collect();
    if list.iter().any(|tag| tag == "*") { Etags::Any } else { Etags::List(list) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swift::testing::call;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 2044 08:49:37 GMT";

    #[test]
    fn reads_are_refused_as_http_says() {
        let check = |headers: &[(&str, &str)], want: Option<u16>| {
            let found = Conditions::of(&call("GET", "/v1/a/c/o", headers)).refuse("abc", 1_700_000_000);
            assert_eq!(found.map(|status| status.as_u16()), want, "{headers:?}");
        };
        check(&[], None);
        check(&[("if-match", "abc")], None);
        check(&[("if-match", "\"x\", \"abc\"")], None);
        check(&[("if-match", "*")], None);
        check(&[("if-match", "\"x\"")], Some(412));
        check(&[("if-none-match", "\"abc\"")], Some(304));
        check(&[("if-none-match", "W/\"abc\"")], Some(304));
        check(&[("if-none-match", "*")], Some(304));
        check(&[("if-none-match", "\"x\"")], None);
        check(&[("if-modified-since", NEW)], Some(304));
        check(&[("if-modified-since", OLD)], None);
        check(&[("if-unmodified-since", OLD)], Some(412));
        check(&[("if-unmodified-since", NEW)], None);
        check(&[("if-modified-since", "yesterday")], None);
        check(&[("if-none-match", "\"x\""), ("if-modified-since", NEW)], None);
        check(&[("if-match", "\"abc\""), ("if-unmodified-since", OLD)], Some(412));
    }

    #[test]
    fn writes_take_a_star_alone() {
        let write = |value| for_write(&call("PUT", "/v1/a/c/o", &[("if-none-match", value)]));
        assert_eq!(write("*").expect("valid"), Precondition::absent());
        assert_eq!(write("\"abc\"").map_err(|fault| fault.code()), Err(400));
    }

    #[test]
    fn a_range_of_another_version_is_not_a_range() {
        let check = |value, want| {
            let call = call("GET", "/v1/a/c/o", &[("if-range", value)]);
            assert_eq!(if_range_holds(&call, "abc", 784_111_777), want, "{value}");
        };
        check("\"abc\"", true);
        check("\"x\"", false);
        check(OLD, true);
        check(NEW, false);
    }
}
