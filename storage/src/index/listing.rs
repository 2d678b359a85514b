//! Listings: rows of a container or account in the order of their names. Whatever a query leaves out is
//! left out by a seek, so that a listing costs what it shows and not what it passes over.
//!
//! The semantics are those of [`ListQuery`]. A bound that excludes a name also excludes a rolled-up
//! prefix that equals it: the lower bound (`marker`, or `end_marker` in reverse) is the only one that
//! a prefix of names beyond it can equal.

use rocksdb::{DBRawIterator, ReadOptions};

use super::limits::{LISTING_ROOM_MAX, STEPS_BEFORE_SEEK};
use super::tables::{Table, Tables, behind};
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::model::{ListQuery, Listed};

/// Length of the hash before each name.
const PARENT_BYTES: usize = 16;

/// What a query comes down to.
#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    prefix: Vec<u8>,
    delimiter: Option<&'a [u8]>,
    /// Only what is directly below the prefix, nothing rolled up.
    is_path: bool,
    /// First key.
    low: Vec<u8>,
    /// Key behind the last one; `None` where there is none behind.
    high: Option<Vec<u8>>,
    /// A rolled-up prefix that is not shown.
    hidden: Option<&'a [u8]>,
    reverse: bool,
    limit: usize,
}

/// What is to be done with a name.
enum Step {
    /// It is a row of the listing.
    Show,
    /// It and all that share its first so many bytes are one prefix of the listing.
    RollUp(usize),
    /// All that share its first so many bytes and have more are left out.
    SkipBelow(usize),
    /// It is left out.
    Skip,
}

/// Lists rows of `table` below `parent`. `entry` makes a row of a name and a value; it answers `None`
/// where the value is no row.
pub(super) fn list<E>(
    tables: &Tables,
    table: Table,
    parent: KeyHash,
    query: &ListQuery,
    entry: impl Fn(String, &[u8]) -> Result<Option<E>>,
) -> Result<Vec<Listed<E>>> {
    let Some(plan) = Plan::new(parent, query) else { return Ok(Vec::new()) };
    let mut walk = Walk::new(tables, table, &plan);
    let mut listed = Vec::with_capacity(plan.limit.min(LISTING_ROOM_MAX));
    while listed.len() < plan.limit {
        let Some((key, value)) = walk.rows.item() else { break };
        let name = &key[PARENT_BYTES..];
        match plan.step(name) {
            Step::Show => {
                let row = entry(text(name)?, value)?;
                listed.extend(row.map(Listed::Entry));
                walk.advance();
            }
            Step::RollUp(length) => {
                let prefix = &name[..length];
                if plan.hidden != Some(prefix) {
                    listed.push(Listed::Prefix(text(prefix)?));
                }
                walk.pass(PARENT_BYTES + length);
            }
            Step::SkipBelow(length) => walk.pass_below(PARENT_BYTES + length),
            Step::Skip => walk.advance(),
        }
    }
    walk.rows.status()?;
    Ok(listed)
}

fn text(name: &[u8]) -> Result<String> {
    match std::str::from_utf8(name) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(Error::Index(format!("a name in the index is no UTF-8: {error}"))),
    }
}

impl<'a> Plan<'a> {
    /// `None` where the listing is empty whatever the rows are.
    fn new(parent: KeyHash, query: &'a ListQuery) -> Option<Self> {
        let given = |text: &'a Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::as_bytes);
        let (marker, end_marker) = (given(&query.marker), given(&query.end_marker));
        let (behind_this, before_this) = if query.reverse { (end_marker, marker) } else { (marker, end_marker) };
        let (prefix, delimiter) = match query.path.as_deref() {
            Some("") => (Vec::new(), Some(&b"/"[..])),
            Some(path) => (format!("{}/", path.trim_end_matches('/')).into_bytes(), Some(&b"/"[..])),
            None => (query.prefix.clone().into_bytes(), given(&query.delimiter)),
        };
        let key = |name: &[u8]| [&parent.0, name].concat();
        let mut low = key(&prefix);
        let mut high = behind(&low);
        if let Some(name) = behind_this {
            low = low.max(key(&[name, &[0]].concat()));
        }
        if let Some(name) = before_this {
            let bound = key(name);
            high = Some(high.map_or(bound.clone(), |high| high.min(bound)));
        }
        let is_empty = query.limit == 0 || high.as_ref().is_some_and(|high| *high <= low);
        (!is_empty).then_some(Self {
            prefix,
            delimiter,
            is_path: query.path.is_some(),
            low,
            high,
            hidden: behind_this,
            reverse: query.reverse,
            limit: query.limit,
        })
    }

    fn step(&self, name: &[u8]) -> Step {
        let Some(delimiter) = self.delimiter else { return Step::Show };
        if self.is_path && name == self.prefix {
            return Step::Skip;
        }
        match find(&name[self.prefix.len()..], delimiter) {
            None => Step::Show,
            Some(place) => {
                let length = self.prefix.len() + place + delimiter.len();
                match self.is_path {
                    true if name.len() == length => Step::Show,
                    true => Step::SkipBelow(length),
                    false => Step::RollUp(length),
                }
            }
        }
    }
}

/// Where `needle`, which is not empty, first stands in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    match needle {
        [byte] => haystack.iter().position(|other| other == byte),
        _ => haystack.windows(needle.len()).position(|window| window == needle),
    }
}

/// Goes through the rows of a plan in its direction.
struct Walk<'a> {
    rows: DBRawIterator<'a>,
    reverse: bool,
}

impl<'a> Walk<'a> {
    fn new(tables: &'a Tables, table: Table, plan: &Plan<'_>) -> Self {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(plan.low.clone());
        if let Some(high) = &plan.high {
            options.set_iterate_upper_bound(high.clone());
        }
        let mut rows = tables.iterator(table, options);
        if plan.reverse {
            rows.seek_to_last();
        } else {
            rows.seek_to_first();
        }
        Self { rows, reverse: plan.reverse }
    }

    fn advance(&mut self) {
        if self.reverse {
            self.rows.prev();
        } else {
            self.rows.next();
        }
    }

    /// Passes every key that starts with the present one's first `length` bytes.
    fn pass(&mut self, length: usize) {
        let Some(key) = self.rows.key() else { return };
        let prefix = key[..length].to_vec();
        if self.steps_past(|key| !key.starts_with(&prefix)) {
            return;
        }
        if self.reverse {
            self.rows.seek_for_prev(&prefix);
            if self.rows.key() == Some(&prefix[..]) {
                self.rows.prev();
            }
        } else {
            self.seek_behind(&prefix);
        }
    }

    /// The same, except that a key which is just those bytes is not passed.
    fn pass_below(&mut self, length: usize) {
        let Some(key) = self.rows.key() else { return };
        let prefix = key[..length].to_vec();
        if self.steps_past(|key| !key.starts_with(&prefix) || key.len() == prefix.len()) {
            return;
        }
        if self.reverse {
            self.rows.seek_for_prev(&prefix);
        } else {
            self.seek_behind(&prefix);
        }
    }

    /// Tries a few single steps; whether they led to a key that `is_past`, or to the end.
    fn steps_past(&mut self, is_past: impl Fn(&[u8]) -> bool) -> bool {
        for _ in 0..STEPS_BEFORE_SEEK {
            self.advance();
            if self.rows.key().is_none_or(&is_past) {
                return true;
            }
        }
        false
    }

    fn seek_behind(&mut self, prefix: &[u8]) {
        match behind(prefix) {
            Some(key) => self.rows.seek(key),
            // Nothing can stand behind: go to the last row and past it.
            None => {
                self.rows.seek_to_last();
                self.rows.next();
            }
        }
    }
}
