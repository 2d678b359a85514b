//! The `Range` header (RFC 9110 §14).

use std::ops::Range;

use super::limits::{RANGE_DESCENTS_MAX, RANGE_OVERLAPS_MAX, RANGES_MAX};

/// What part of a thing is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: there is no header, or none that makes sense.
    Whole,
    /// These parts, in the order asked for; at least one.
    Parts(Vec<Range<u64>>),
    /// Nothing that there is: 416.
    Nothing,
}

impl Wanted {
    /// Reads the header's value for a thing of `size` bytes.
    pub(super) fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(asked) = header.and_then(parse) else {
            return Self::Whole;
        };
        let parts: Vec<_> = asked.into_iter().filter_map(|range| range.within(size)).collect();
        if parts.is_empty() || parts.len() > RANGES_MAX || is_abusive(&parts) {
            return Self::Nothing;
        }
        Self::Parts(parts)
    }
}

/// A range as it is asked for; ends are inclusive.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// From this byte, to that one or the end.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl Asked {
    /// The bytes that there are of it.
    pub(super) fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(start, end) => start..end.map_or(size, |end| end.saturating_add(1).min(size)),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// `bytes=0-9,20-,-5`; `None` for anything else, which HTTP wants ignored.
pub(super) fn parse(header: &str) -> Option<Vec<Asked>> {
    let (unit, list) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let mut asked = Vec::new();
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (start, end) = item.split_once('-')?;
        let (start, end) = (start.trim(), end.trim());
        asked.push(match (start.is_empty(), end.is_empty()) {
            (true, true) => return None,
            (true, false) => Asked::Last(number(end)?),
            (false, true) => Asked::From(number(start)?, None),
            (false, false) => {
                let (start, end): (u64, u64) = (number(start)?, number(end)?);
                if end < start {
                    return None;
                }
                Asked::From(start, Some(end))
            }
        });
    }
    (!asked.is_empty()).then_some(asked)
}

/// Whether the ranges overlap or jump back so often that they can only be meant to cost.
fn is_abusive(parts: &[Range<u64>]) -> bool {
    let descents = parts.windows(2).filter(|pair| pair[1].start < pair[0].start).count();
    let mut sorted = parts.to_vec();
    sorted.sort_by_key(|part| (part.start, part.end));
    let overlaps = sorted.windows(2).filter(|pair| pair[1].start < pair[0].end).count();
    descents > RANGE_DESCENTS_MAX || overlaps > RANGE_OVERLAPS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        let parts = |parts: &[(u64, u64)]| Wanted::Parts(parts.iter().map(|(start, end)| *start..*end).collect());
        let check = |header: &str, size: u64, want: Wanted| {
            assert_eq!(Wanted::parse(Some(header), size), want, "{header} of {size}");
        };
        check("bytes=0-9", 100, parts(&[(0, 10)]));
        check("BYTES = 0 - 9 ", 100, parts(&[(0, 10)]));
        check("bytes=90-200", 100, parts(&[(90, 100)]));
        check("bytes=90-", 100, parts(&[(90, 100)]));
        check("bytes=-10", 100, parts(&[(90, 100)]));
        check("bytes=-1000", 100, parts(&[(0, 100)]));
        check("bytes=0-0,5-6,-1", 100, parts(&[(0, 1), (5, 7), (99, 100)]));
        check("bytes=200-300,0-4", 100, parts(&[(0, 5)]));
        check("bytes=200-300", 100, Wanted::Nothing);
        check("bytes=-0", 100, Wanted::Nothing);
        check("bytes=0-9", 0, Wanted::Nothing);
        check("bytes=5-4", 100, Wanted::Whole);
        check("bytes=-", 100, Wanted::Whole);
        check("bytes=a-b", 100, Wanted::Whole);
        check("0-4", 100, Wanted::Whole);
        check("lines=0-4", 100, Wanted::Whole);
        check("bytes=99999999999999999999-", 100, Wanted::Whole);
        check("bytes=0-18446744073709551615", 100, parts(&[(0, 100)]));
        assert_eq!(Wanted::parse(None, 5), Wanted::Whole);
    }

    #[test]
    fn costly_sets_of_ranges_are_refused() {
        let many = |count: usize| (0..count).map(|at| format!("{0}-{0}", at * 2)).collect::<Vec<_>>().join(",");
        let check = |list: String, is_refused: bool| {
            let found = Wanted::parse(Some(&format!("bytes={list}")), 1000);
            assert_eq!(found == Wanted::Nothing, is_refused, "{list}");
        };
        check(many(50), false);
        check(many(51), true);
        check("0-9,5-14,10-19".into(), false);
        check("0-9,1-9,2-9,3-9".into(), true);
        check((0..11).rev().map(|at| format!("{0}-{0}", at * 2)).collect::<Vec<_>>().join(","), true);
    }
}
