//! All versions of a container's objects, in the order of their keys and from the newest to the oldest, or the reverse,
//! with delete markers. Two listings are merged: that of the objects, each of which is looked up for its id, and that of what is
//! kept. A page costs its output; common prefixes are skipped over.

use std::collections::VecDeque;

use anello_base::Timestamp;
use anello_storage::{Content, ListQuery, Listed, ObjectEntry, Result};

use super::Versions;
use super::keep::NULLS_MAX;
use super::name::{self, Stamp, VersionId};

/// Rows that are read at once of either listing.
const ROWS: usize = 1_000;

/// What part of the list is wanted.
#[derive(Debug, Clone, Default)]
pub struct VersionQuery {
    /// Only keys that start with this.
    pub prefix: String,
    /// Rolls up keys behind its first occurrence after the prefix.
    pub delimiter: Option<String>,
    /// Start behind this key, or common prefix.
    pub marker: Option<String>,
    /// Start behind this version of the marker's key, and not behind all of them.
    pub version_marker: Option<VersionId>,
    /// Stop before this key.
    pub end_marker: Option<String>,
    /// From the last key to the first, and from each one's oldest version to the newest.
    pub reverse: bool,
    /// At most this many versions and prefixes.
    pub limit: usize,
}

/// A version or a common prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedVersion {
    /// A version, or a delete marker.
    Version(VersionEntry),
    /// A common prefix.
    Prefix(String),
}

/// A version in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionEntry {
    /// The object's key.
    pub key: String,
    /// Which version.
    pub stamp: Stamp,
    /// Whether it is what a reader gets who names no version.
    pub is_latest: bool,
    /// When it was made, or its metadata last changed where that is later and it is the current one.
    pub modified: Timestamp,
    /// Size in bytes.
    pub size: u64,
    /// Entity tag.
    pub etag: String,
    /// Media type.
    pub content_type: String,
    /// What its body is.
    pub content: Content,
}

impl VersionEntry {
    fn of(key: &str, stamp: Stamp, row: &ObjectEntry) -> Self {
        Self {
            key: key.to_owned(),
            modified: stamp.time(),
            stamp,
            is_latest: false,
            size: row.size,
            etag: row.etag.clone(),
            content_type: row.content_type.clone(),
            content: row.content,
        }
    }
}

/// A page of the list.
#[derive(Debug, Clone, Default)]
pub struct VersionPage {
    /// What it lists.
    pub listed: Vec<ListedVersion>,
    /// Whether more follows.
    pub is_truncated: bool,
}

impl Versions {
    /// Lists versions.
    pub async fn list(&self, query: &VersionQuery) -> Result<VersionPage> {
        let mut page = VersionPage::default();
        if query.limit == 0 {
            return Ok(page);
        }
        let mut merge = Merge::new(self, query);
        if let (Some(key), Some(id)) = (&query.marker, &query.version_marker) {
            merge.begin_behind(key, id, &mut page).await?;
        }
        while page.listed.len() <= query.limit && merge.advance(&mut page).await? {}
        page.is_truncated = page.listed.len() > query.limit;
        page.listed.truncate(query.limit);
        Ok(page)
    }
}

/// Both listings, as far as they were read.
struct Merge<'a> {
    versions: &'a Versions,
    query: &'a VersionQuery,
    current: Cursor<Listed<ObjectEntry>>,
    kept: Cursor<ObjectEntry>,
}

/// Rows that were read, and where to go on.
struct Cursor<T> {
    rows: VecDeque<T>,
    marker: Option<String>,
    is_at_end: bool,
}

impl<T> Cursor<T> {
    fn behind(marker: Option<String>) -> Self {
        Self { rows: VecDeque::new(), marker, is_at_end: false }
    }
}

impl<'a> Merge<'a> {
    fn new(versions: &'a Versions, query: &'a VersionQuery) -> Self {
        let kept = query.marker.as_deref().map(|marker| match (rolled_up(query, marker), query.reverse) {
            (Some(prefix), false) => behind_prefix(prefix),
            (Some(prefix), true) => name::beginning(prefix),
            (None, false) => name::behind_all_of(marker),
            (None, true) => name::all_of(marker),
        });
        Self { versions, query, current: Cursor::behind(query.marker.clone()), kept: Cursor::behind(kept) }
    }

    async fn fill_current(&mut self) -> Result<()> {
        if !self.current.rows.is_empty() || self.current.is_at_end {
            return Ok(());
        }
        let query = ListQuery {
            prefix: self.query.prefix.clone(),
            delimiter: self.query.delimiter.clone(),
            marker: self.current.marker.clone(),
            end_marker: self.query.end_marker.clone(),
            reverse: self.query.reverse,
            limit: ROWS.min(self.query.limit + 1),
            ..ListQuery::default()
        };
        let Versions { store, account, container, .. } = self.versions;
        let rows = store.container_list(account, container, &query).await?;
        self.current.is_at_end = rows.len() < query.limit;
        self.current.marker = rows.last().map(|row| match row {
            Listed::Entry(entry) => entry.name.clone(),
            Listed::Prefix(prefix) => prefix.clone(),
        });
        self.current.rows = rows.into();
        Ok(())
    }

    async fn fill_kept(&mut self) -> Result<()> {
        if !self.kept.rows.is_empty() || self.kept.is_at_end {
            return Ok(());
        }
        let prefix = name::beginning(&self.query.prefix);
        let query = ListQuery {
            prefix,
            marker: self.kept.marker.clone(),
            reverse: self.query.reverse,
            limit: ROWS,
            ..ListQuery::default()
        };
        let rows = self.versions.rows_of(&query).await?;
        self.kept.is_at_end = rows.len() < ROWS;
        self.kept.marker = rows.last().map(|row| row.name.clone());
        self.kept.rows = rows.into();
        Ok(())
    }

    /// The next kept version that has a name of ours.
    async fn next_kept(&mut self) -> Result<Option<(String, Stamp)>> {
        loop {
            self.fill_kept().await?;
            let Some(row) = self.kept.rows.front() else { return Ok(None) };
            match name::split(&row.name) {
                Some(found) => return Ok(Some(found)),
                None => self.kept.rows.pop_front(),
            };
        }
    }

    /// Adds the next key's versions or the next prefix; `false` at the end.
    async fn advance(&mut self, page: &mut VersionPage) -> Result<bool> {
        self.fill_current().await?;
        let current = match self.current.rows.front() {
            None => None,
            Some(Listed::Prefix(prefix)) => Some(prefix.clone()),
            Some(Listed::Entry(entry)) => Some(entry.name.clone()),
        };
        let kept = self.next_kept().await?.map(|(key, _)| key);
        let kept_prefix = kept.as_deref().and_then(|key| rolled_up(self.query, key)).map(str::to_owned);
        let shown = kept_prefix.clone().or(kept);
        let next = match (&current, &shown) {
            (None, None) => return Ok(false),
            (Some(one), Some(other)) if self.query.reverse => one.max(other).clone(),
            (Some(one), Some(other)) => one.min(other).clone(),
            (Some(one), None) | (None, Some(one)) => one.clone(),
        };
        let is_end = |end: &String| if self.query.reverse { next <= *end } else { next >= *end };
        if self.query.end_marker.as_ref().is_some_and(is_end) {
            return Ok(false);
        }
        let is_prefix = rolled_up(self.query, &next).is_some();
        let row = if current.as_ref() == Some(&next) { self.current.rows.pop_front() } else { None };
        if is_prefix {
            if shown.as_ref() == Some(&next) {
                self.skip_kept(&next);
            }
            page.listed.push(ListedVersion::Prefix(next));
            return Ok(true);
        }
        let row = row.and_then(|row| match row {
            Listed::Entry(entry) => Some(entry),
            Listed::Prefix(_) => None,
        });
        self.add_key(&next, row, None, page).await?;
        Ok(true)
    }

    /// Goes on behind all kept versions whose keys begin so.
    fn skip_kept(&mut self, prefix: &str) {
        let is_reverse = self.query.reverse;
        let behind = if is_reverse { name::beginning(prefix) } else { behind_prefix(prefix) };
        let is_before = |row: &ObjectEntry| if is_reverse { row.name >= behind } else { row.name <= behind };
        while self.kept.rows.front().is_some_and(is_before) {
            self.kept.rows.pop_front();
        }
        if self.kept.rows.is_empty() && !self.kept.is_at_end {
            let marker = self.kept.marker.take();
            self.kept.marker = match is_reverse {
                true => marker.min(Some(behind.clone())).or(Some(behind)),
                false => marker.max(Some(behind)),
            };
        }
    }

    /// Begins within a key: behind one of its versions; before all where that is `null` and there is none.
    async fn begin_behind(&mut self, key: &str, id: &VersionId, page: &mut VersionPage) -> Result<()> {
        let current = self.versions.current(key).await?;
        let stamp = match (id, &current) {
            (VersionId::Null, Some(info)) if Stamp::of(info).id == VersionId::Null => Some(Stamp::of(info)),
            _ => self.versions.kept(key, id).await?,
        };
        self.kept = Cursor::behind(Some(match &stamp {
            Some(stamp) => name::behind(key, stamp),
            None => name::all_of(key),
        }));
        if stamp.is_none() && self.query.reverse {
            return Ok(());
        }
        if !self.query.reverse && stamp.is_some() {
            self.kept.rows = self.versions.rows(name::nulls_of(key), None, NULLS_MAX).await?.into();
        }
        let row = current.map(|info| ObjectEntry {
            name: key.to_owned(),
            timestamp: info.timestamp,
            size: info.size,
            etag: info.etag,
            content_type: info.content_type,
            content: info.content,
        });
        self.add_key(key, row, Some(Begun { behind: stamp }), page).await
    }

    /// Adds the versions of a key, those behind one of them where it is given.
    async fn add_key(
        &mut self,
        key: &str,
        row: Option<ObjectEntry>,
        begun: Option<Begun>,
        page: &mut VersionPage,
    ) -> Result<()> {
        let is_reverse = self.query.reverse;
        let (mut current, mut front) = (None, None);
        if let Some(row) = row
            && let Some(info) = self.versions.current(key).await?
        {
            let stamp = Stamp::of(&info);
            let modified = if super::made(&info).is_some() { stamp.time() } else { row.timestamp };
            let is_latest = is_reverse || begun.is_none();
            current = Some(VersionEntry { modified, is_latest, ..VersionEntry::of(key, stamp, &row) });
            front = Some(Stamp::front(&info));
        }
        let is_hidden =
            |stamp: &Stamp| front.as_ref().is_some_and(|front| front.id == stamp.id || !front.is_newer_than(stamp));
        // The latest is the current version; without one, a delete marker in its place, or none. Behind a version it was
        // on another page.
        let mut latest = None;
        if is_reverse && current.is_none() {
            latest = self.versions.newest_kept(key, None).await?;
        }
        let mut has_latest = current.is_some() || begun.is_some();
        let behind = begun.and_then(|begun| begun.behind);
        let is_wanted = |stamp: &Stamp| match &behind {
            Some(behind) if is_reverse => stamp < behind,
            Some(behind) => stamp > behind,
            None => true,
        };
        let mut add = |entry: VersionEntry, page: &mut VersionPage| {
            let is_newest = match is_reverse {
                true => latest.as_ref() == Some(&entry.stamp),
                false => !std::mem::replace(&mut has_latest, true),
            };
            if is_wanted(&entry.stamp) {
                let is_latest = entry.is_latest || (is_newest && entry.stamp.is_marker);
                page.listed.push(ListedVersion::Version(VersionEntry { is_latest, ..entry }));
            }
        };
        // The current version and the one with the id `null` are not among the others, and come in between.
        let mut others: Vec<VersionEntry> = current.into_iter().collect();
        let mut has_null = front.as_ref().is_some_and(|stamp| stamp.id == VersionId::Null);
        let mut add_null = |row: &ObjectEntry, stamp: Stamp, others: &mut Vec<VersionEntry>| {
            if !is_hidden(&stamp) && !std::mem::replace(&mut has_null, true) {
                others.push(VersionEntry::of(key, stamp, row));
                others.sort_by(|one, other| one.stamp.cmp(&other.stamp));
            }
        };
        if is_reverse {
            for row in self.versions.rows(name::nulls_of(key), None, NULLS_MAX).await? {
                if let Some((_, stamp)) = name::split(&row.name) {
                    add_null(&row, stamp, &mut others);
                }
            }
        }
        while let Some((found, stamp)) = self.next_kept().await?
            && found == key
        {
            if page.listed.len() > self.query.limit {
                return Ok(());
            }
            let Some(row) = self.kept.rows.pop_front() else { break };
            if stamp.id == VersionId::Null {
                if !is_reverse {
                    add_null(&row, stamp, &mut others);
                }
                continue;
            }
            while let Some(other) = next_before(&mut others, &stamp, is_reverse) {
                add(other, page);
            }
            if !is_hidden(&stamp) {
                add(VersionEntry::of(key, stamp, &row), page);
            }
        }
        if is_reverse {
            others.reverse();
        }
        others.into_iter().for_each(|other| add(other, page));
        Ok(())
    }
}

/// Where within a key a page begins.
struct Begun {
    /// Behind this version; before all where there is none.
    behind: Option<Stamp>,
}

/// Takes the first of what comes before a version; `others` are sorted from the newest.
fn next_before(others: &mut Vec<VersionEntry>, stamp: &Stamp, is_reverse: bool) -> Option<VersionEntry> {
    match is_reverse {
        true => others.pop_if(|other| other.stamp > *stamp),
        false => others.first().is_some_and(|other| other.stamp < *stamp).then(|| others.remove(0)),
    }
}

/// The common prefix that a key is rolled up to.
fn rolled_up<'a>(query: &VersionQuery, key: &'a str) -> Option<&'a str> {
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
    let at = key.strip_prefix(query.prefix.as_str())?.find(delimiter)?;
    key.get(..query.prefix.len() + at + delimiter.len())
}

/// A name behind those of all keys that begin so. It is no version's own: those end with more.
fn behind_prefix(prefix: &str) -> String {
    let mut behind = name::beginning(prefix);
    // The last character that can be followed by another is.
    while let Some(last) = behind.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            behind.push(next);
            return behind;
        }
    }
    char::MAX.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_rolled_up_at_the_first_delimiter_behind_the_prefix() {
        let query = |prefix: &str, delimiter: &str| VersionQuery {
            prefix: prefix.into(),
            delimiter: Some(delimiter.into()),
            ..VersionQuery::default()
        };
        assert_eq!(rolled_up(&query("", "/"), "a/b/c"), Some("a/"));
        assert_eq!(rolled_up(&query("a/", "/"), "a/b/c"), Some("a/b/"));
        assert_eq!(rolled_up(&query("a/", "/"), "a/b"), None);
        assert_eq!(rolled_up(&query("", ""), "a/b"), None);
        assert_eq!(rolled_up(&query("", "ab"), "xaab"), Some("xaab"));
    }

    #[test]
    fn behind_a_prefix_is_behind_all_that_begin_so() {
        let stamp = Stamp::null(Timestamp::from_seconds(1), false);
        for (prefix, next) in [("a/", "a0"), ("a", "b"), ("a\u{10ffff}", "b"), ("\u{d7ff}", "\u{e000}")] {
            let behind = behind_prefix(prefix);
            assert!(name::name(&format!("{prefix}\u{10ffff}\u{10ffff}"), &stamp) < behind, "{prefix:?}");
            assert!(name::name(next, &stamp) > behind, "{prefix:?}");
        }
    }
}
