//! A bucket's lifecycle rules as they are stored, and what they decide about an object at a time. Nothing here asks the
//! store or the clock.

use std::time::Duration;

use anello_base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::object::tags::Tags;

/// All rules of a bucket; layout and meaning are `docs/formats/lifecycle.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    /// The least size for transitions, as it was put; there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) minimum: Option<String>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) is_enabled: bool,
    pub(crate) filter: Filter,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expiration: Option<Expiration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) noncurrent: Option<Noncurrent>,
    /// Days after which an upload that was not completed is aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) abort_days: Option<u32>,
}

/// When current versions expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Expiration {
    /// So many days after they were made; delete markers that nothing is behind too.
    Days(u32),
    /// From this second since 1970 on.
    Date(u64),
    /// Delete markers that nothing is behind, at once.
    LoneMarkers,
}

/// When versions expire that are not current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noncurrent {
    /// Days after another took their place.
    pub(crate) days: u32,
    /// So many of the newest ones stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<u32>,
}

/// Which objects a rule is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    #[serde(default)]
    pub(crate) form: Form,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Tags,
    /// Bytes; objects of this size are not among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) larger_than: Option<u64>,
    /// Bytes; objects of this size are not among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) smaller_than: Option<u64>,
}

/// How the filter was put, and is shown again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// As the rule's own prefix.
    Prefix,
    /// As a filter with one condition, or none.
    #[default]
    One,
    /// As a filter with several.
    And,
}

/// What rules look at of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) key: &'a str,
    pub(crate) size: u64,
    pub(crate) tags: &'a Tags,
}

/// Length of a day; rules' days end when one does.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The end of the day in which `days` of them have gone since.
pub(crate) fn after(since: Timestamp, days: u32, day: Duration) -> Timestamp {
    let ticks_of_day = ticks_of(day);
    let ticks = since.ticks().saturating_add(u64::from(days).saturating_mul(ticks_of_day));
    Timestamp::from_ticks(ticks.div_ceil(ticks_of_day).saturating_mul(ticks_of_day))
}

/// Which day it is, counted since 1970.
pub(crate) fn day_of(time: Timestamp, day: Duration) -> u64 {
    time.ticks() / ticks_of(day)
}

fn ticks_of(day: Duration) -> u64 {
    Timestamp::ZERO.plus(day).ticks().max(1)
}

impl Filter {
    fn fits_but_tags(&self, key: &str, size: u64) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
            && self.larger_than.is_none_or(|limit| size > limit)
            && self.smaller_than.is_none_or(|limit| size < limit)
    }

    fn fits(&self, subject: Subject<'_>) -> bool {
        self.fits_but_tags(subject.key, subject.size) && self.tags.iter().all(|tag| subject.tags.contains(tag))
    }
}

impl Rules {
    /// Reads rules as they are stored; `None` where they make no sense.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are JSON")
    }

    fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.is_enabled)
    }

    /// When a current version that was `made` then expires, and by which rule.
    pub(crate) fn expiry(&self, subject: Subject<'_>, made: Timestamp, day: Duration) -> Option<(Timestamp, &Rule)> {
        let due = |rule: &'_ Rule| match rule.expiration? {
            Expiration::Days(days) => Some(after(made, days, day)),
            Expiration::Date(second) => Some(Timestamp::from_seconds(second)),
            Expiration::LoneMarkers => None,
        };
        let fitting = self.enabled().filter(|rule| rule.filter.fits(subject));
        fitting.filter_map(|rule| Some((due(rule)?, rule))).min_by_key(|(due, _)| *due)
    }

    /// Whether a current version may have expired by now, as far as can be told without its tags and its age: it is no
    /// older than its bucket.
    pub(crate) fn may_expire(
        &self,
        key: &str,
        size: u64,
        bucket_made: Timestamp,
        now: Timestamp,
        day: Duration,
    ) -> bool {
        self.enabled().filter(|rule| rule.filter.fits_but_tags(key, size)).any(|rule| match rule.expiration {
            Some(Expiration::Days(days)) => after(bucket_made, days, day) <= now,
            Some(Expiration::Date(second)) => Timestamp::from_seconds(second) <= now,
            Some(Expiration::LoneMarkers) | None => false,
        })
    }

    /// Whether a version expires that is not current `since` then, `newer` others of which are newer.
    pub(crate) fn ends_noncurrent(
        &self,
        subject: Subject<'_>,
        since: Timestamp,
        newer: u64,
        now: Timestamp,
        day: Duration,
    ) -> bool {
        self.enabled().filter(|rule| rule.filter.fits(subject)).any(|rule| is_over(rule, since, newer, now, day))
    }

    /// The same, as far as can be told without its tags; and whether the tags matter.
    pub(crate) fn may_end_noncurrent(
        &self,
        key: &str,
        size: u64,
        since: Timestamp,
        newer: u64,
        now: Timestamp,
        day: Duration,
    ) -> bool {
        let fitting = self.enabled().filter(|rule| rule.filter.fits_but_tags(key, size));
        fitting.into_iter().any(|rule| is_over(rule, since, newer, now, day))
    }

    /// Whether a delete marker goes that was `made` then and that nothing is behind.
    pub(crate) fn ends_marker(&self, key: &str, made: Timestamp, now: Timestamp, day: Duration) -> bool {
        let marker = Subject { key, size: 0, tags: &Tags::new() };
        self.enabled().filter(|rule| rule.filter.fits(marker)).any(|rule| match rule.expiration {
            Some(Expiration::Days(days)) => after(made, days, day) <= now,
            Some(Expiration::LoneMarkers) => true,
            Some(Expiration::Date(_)) | None => false,
        })
    }

    /// When an upload that was `begun` then is aborted, and by which rule.
    pub(crate) fn abort(&self, key: &str, begun: Timestamp, day: Duration) -> Option<(Timestamp, &Rule)> {
        let fitting = self.enabled().filter(|rule| rule.filter.fits_but_tags(key, 0));
        fitting.filter_map(|rule| Some((after(begun, rule.abort_days?, day), rule))).min_by_key(|(due, _)| *due)
    }

    /// Whether any rule is about uploads.
    pub(crate) fn has_aborts(&self) -> bool {
        self.enabled().any(|rule| rule.abort_days.is_some())
    }

    /// Whether any rule is about objects.
    pub(crate) fn has_expirations(&self) -> bool {
        self.enabled().any(|rule| rule.expiration.is_some() || rule.noncurrent.is_some())
    }

    /// What the names of all objects begin with that enabled rules are for.
    pub(crate) fn common_prefix(&self) -> String {
        let mut prefixes = self.enabled().map(|rule| rule.filter.prefix.as_deref().unwrap_or_default());
        let Some(first) = prefixes.next() else { return String::new() };
        let common = prefixes.fold(first, |common, prefix| {
            let same = common.char_indices().zip(prefix.chars()).take_while(|((_, one), other)| one == other);
            &common[..same.map(|((at, one), _)| at + one.len_utf8()).last().unwrap_or(0)]
        });
        common.to_owned()
    }
}

fn is_over(rule: &Rule, since: Timestamp, newer: u64, now: Timestamp, day: Duration) -> bool {
    rule.noncurrent.is_some_and(|noncurrent| {
        newer >= u64::from(noncurrent.kept.unwrap_or(0)) && after(since, noncurrent.days, day) <= now
    })
}

/// Rules are read as they were written.
#[cfg(feature = "fuzzing")]
pub(crate) fn feed(bytes: &[u8]) {
    let Some(rules) = Rules::decode(bytes) else { return };
    assert_eq!(Rules::decode(&rules.encode()).as_ref(), Some(&rules));
    let prefix = rules.common_prefix();
    let fits = |rule: &Rule| rule.filter.prefix.as_deref().unwrap_or_default().starts_with(&prefix);
    assert!(rules.enabled().all(fits), "objects that a rule is for would not be looked at");
    let subject = Subject { key: "key", size: 1, tags: &Tags::new() };
    let _ = rules.expiry(subject, Timestamp::MAX, DAY);
    let _ = rules.abort("key", Timestamp::MAX, DAY);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn rule(id: &str, filter: Filter) -> Rule {
        Rule { id: id.to_owned(), is_enabled: true, filter, expiration: None, noncurrent: None, abort_days: None }
    }

    fn of_prefix(prefix: &str) -> Filter {
        Filter { prefix: Some(prefix.to_owned()), ..Filter::default() }
    }

    #[test]
    fn days_end_at_midnight() {
        let day = 24 * 3600;
        for (since, days, want) in
            [(0, 1, day), (1, 1, 2 * day), (day, 0, day), (day + 1, 0, 2 * day), (10, 3, 4 * day)]
        {
            assert_eq!(after(seconds(since), days, DAY), seconds(want), "{since} {days}");
        }
        assert_eq!(after(Timestamp::MAX, u32::MAX, DAY), Timestamp::MAX);
    }

    #[test]
    fn the_first_that_fits_and_is_enabled_decides() {
        let with =
            |id: &str, prefix: &str, expiration| Rule { expiration: Some(expiration), ..rule(id, of_prefix(prefix)) };
        let off = Rule { is_enabled: false, ..with("off", "", Expiration::Days(1)) };
        let rules = Rules {
            rules: vec![off, with("late", "a", Expiration::Days(9)), with("soon", "a/", Expiration::Days(2))],
            minimum: None,
        };
        let tags = Tags::new();
        let check = |key: &str, want: Option<&str>| {
            let found = rules.expiry(Subject { key, size: 1, tags: &tags }, seconds(0), DAY);
            assert_eq!(found.map(|(_, rule)| rule.id.as_str()), want, "{key}");
        };
        check("a/x", Some("soon"));
        check("ax", Some("late"));
        check("b", None);
    }

    #[test]
    fn a_filter_asks_for_all_that_it_says() {
        let tags: Tags = vec![("color".into(), "red".into()), ("size".into(), "s".into())];
        let filter = |tags: &[(&str, &str)], larger_than, smaller_than| Filter {
            form: Form::And,
            prefix: Some("p".into()),
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            larger_than,
            smaller_than,
        };
        let check = |filter: Filter, key: &str, size, want| {
            assert_eq!(filter.fits(Subject { key, size, tags: &tags }), want, "{filter:?} {key} {size}");
        };
        check(filter(&[("color", "red")], None, None), "p/x", 1, true);
        check(filter(&[("color", "red"), ("size", "s")], None, None), "p", 1, true);
        check(filter(&[("color", "blue")], None, None), "p", 1, false);
        check(filter(&[("colour", "red")], None, None), "p", 1, false);
        check(filter(&[], Some(10), Some(20)), "p", 10, false);
        check(filter(&[], Some(10), Some(20)), "p", 11, true);
        check(filter(&[], Some(10), Some(20)), "p", 20, false);
        check(filter(&[], None, None), "q", 1, false);
    }

    #[test]
    fn only_what_rules_are_for_is_looked_at() {
        let check = |prefixes: &[&str], want: &str| {
            let rules = prefixes.iter().map(|prefix| rule("", of_prefix(prefix))).collect();
            assert_eq!(Rules { rules, minimum: None }.common_prefix(), want, "{prefixes:?}");
        };
        check(&[], "");
        check(&["logs/"], "logs/");
        check(&["logs/a", "logs/b"], "logs/");
        check(&["logs", "logs/b"], "logs");
        check(&["ü1", "ö1"], "");
        check(&["aü1", "aü2"], "aü");
        check(&["a", ""], "");
    }

    #[test]
    fn the_newest_of_those_that_are_not_current_stay() {
        let rules = Rules {
            rules: vec![Rule { noncurrent: Some(Noncurrent { days: 1, kept: Some(2) }), ..rule("", of_prefix("")) }],
            minimum: None,
        };
        let tags = Tags::new();
        let ends = |newer, now| {
            rules.ends_noncurrent(Subject { key: "k", size: 1, tags: &tags }, seconds(0), newer, seconds(now), DAY)
        };
        assert!(!ends(1, 10 * 24 * 3600) && ends(2, 10 * 24 * 3600) && !ends(2, 3600));
    }
}
