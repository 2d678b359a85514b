//! Times as Keystone's clients read and write them. Inside the room they are microseconds since 1970.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Microseconds per second.
pub(crate) const SECOND_US: u64 = 1_000_000;

/// `2026-01-31T23:59:59.123456`, UTC without a zone.
pub(crate) fn iso(time_us: u64) -> String {
    let microseconds = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
    // Not by way of `Timestamp`, which ends in the year 2286: what clients state may be later.
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_us) * 1000);
    let time = time.unwrap_or_else(|_| PrimitiveDateTime::MAX.assume_utc());
    time.format(microseconds).expect("the format asks for what every time has")
}

/// `2026-01-31T23:59:59.123456Z`.
pub(crate) fn iso_z(time_us: u64) -> String {
    iso(time_us) + "Z"
}

/// Reads `2026-01-31T23:59:59[.123456][Z|+00:00]`; without a zone it is UTC.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let without_zone = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second][optional [.[subsecond]]]");
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(text, without_zone).map(PrimitiveDateTime::assume_utc))
        .ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1000).ok()
}

/// Reads `20260131T235959Z`, the form of signed requests.
pub(crate) fn parse_basic(text: &str) -> Option<u64> {
    let basic = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = PrimitiveDateTime::parse(text, basic).ok()?.assume_utc();
    u64::try_from(time.unix_timestamp_nanos() / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_a_round_trip_in_keystones_forms() {
        assert_eq!(iso_z(1_700_000_000_123_456), "2023-11-14T22:13:20.123456Z");
        for (text, want) in [
            ("2023-11-14T22:13:20.123456Z", Some(1_700_000_000_123_456)),
            ("2023-11-14T22:13:20.123456", Some(1_700_000_000_123_456)),
            ("2023-11-14T22:13:20", Some(1_700_000_000_000_000)),
            ("2023-11-14T23:13:20+01:00", Some(1_700_000_000_000_000)),
            ("yesterday", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
        assert_eq!(parse_basic("20231114T221320Z"), Some(1_700_000_000_000_000));
        let late = "2826-01-31T21:49:58.123456Z";
        assert_eq!(parse(late).map(iso_z).as_deref(), Some(late), "what a client states is not cut");
    }
}
