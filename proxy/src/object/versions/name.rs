//! Ids of versions, and the names under which versions are kept that are not current. The layout is
//! `docs/formats/versions.md`: names sort by key, and those of one key from the newest version to the oldest, those with
//! the id `null` apart from the others.

use std::fmt;

use anello_base::{Timestamp, id};
use anello_storage::{Metadata, ObjectInfo};

/// Metadata of every version that is kept as one: its stamp.
const STAMP_NAME: &str = "x-object-sysmeta-version";

/// Metadata of a version that was made current again: what was left of time then, in 16 hexadecimal digits.
const SINCE_NAME: &str = "x-object-sysmeta-version-since";

/// Ends the key in a name. A `\u{1}` of the key's own is followed by `\u{2}`, so that names sort as their keys do.
const END: &str = "\u{1}\u{1}";
const ESCAPED: &str = "\u{1}\u{2}";

/// What follows the time of a delete marker with the id `null`: no digit.
const MARKER: &str = "m";

const TIME_DIGITS: usize = 16;
const TAG_DIGITS: usize = 16;

/// Which version of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionId {
    /// The one that was written while its container kept no versions; there is at most one.
    Null,
    /// 32 digits: what is left of time, so that later ones sort first, and chance.
    Unique(String),
}

impl VersionId {
    /// Reads an id as clients give it; `None` where it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = (text.len() == TIME_DIGITS + TAG_DIGITS && is_hex).then(|| Self::Unique(text.to_owned()))?;
        time(&text[..TIME_DIGITS]).map(|_| id)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Unique(text) => text,
        })
    }
}

/// A version's place among the others of its key: when it was made, and its id. Later ones sort first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// What is left of time when it was made.
    left: u64,
    /// Its id.
    pub id: VersionId,
    /// Whether it is a delete marker.
    pub is_marker: bool,
}

impl Stamp {
    /// That of a version with an id of its own; `tag` is 16 hexadecimal digits of chance, the first of which tells a
    /// delete marker.
    pub(super) fn unique(at: Timestamp, tag: &str, is_marker: bool) -> Self {
        let tag = marked(tag, is_marker);
        Self { left: left(at), id: VersionId::Unique(format!("{:016x}{tag}", left(at))), is_marker }
    }

    /// That of a version with the id `null`.
    pub(super) fn null(at: Timestamp, is_marker: bool) -> Self {
        Self { left: left(at), id: VersionId::Null, is_marker }
    }

    /// The stamp of a version that was read. Without one it was written while no versions were kept.
    pub fn of(info: &ObjectInfo) -> Self {
        let stored = info.metadata.iter().find(|(name, _)| name == STAMP_NAME);
        stored.and_then(|(_, text)| Self::parse(text)).unwrap_or_else(|| Self::null(info.timestamp, false))
    }

    /// Where the current version stands among those that are kept: at the time when it became current. What is newer
    /// than that has not happened.
    pub(super) fn front(info: &ObjectInfo) -> Self {
        let since = info.metadata.iter().find(|(name, _)| name == SINCE_NAME);
        let since = since.and_then(|(_, digits)| Some(left(time(digits)?)));
        let stamp = Self::of(info);
        Self { left: since.unwrap_or(stamp.left), ..stamp }
    }

    /// When the version was made.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_ticks(u64::MAX - self.left)
    }

    /// Whether it was made later than the other.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        self.left < other.left
    }

    /// Puts it among metadata, in place of any other.
    pub(super) fn store(&self, metadata: &mut Metadata) {
        strip(metadata);
        metadata.push((STAMP_NAME.to_owned(), self.text()));
        metadata.sort();
    }

    /// The same for a version that is made current again at that time.
    pub(super) fn store_again(&self, since: Timestamp, metadata: &mut Metadata) {
        self.store(metadata);
        metadata.push((SINCE_NAME.to_owned(), format!("{:016x}", left(since))));
        metadata.sort();
    }

    /// The chance in its id.
    pub(super) fn tag(&self) -> Option<&str> {
        match &self.id {
            VersionId::Null => None,
            VersionId::Unique(text) => text.get(TIME_DIGITS..),
        }
    }

    fn text(&self) -> String {
        match &self.id {
            VersionId::Null => format!("n{:016x}{}", self.left, if self.is_marker { MARKER } else { "" }),
            VersionId::Unique(text) => format!("v{text}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, digits) = text.split_at_checked(1)?;
        let left_of = |digits: &str| Some(left(time(digits)?));
        match kind {
            "n" => {
                let bare = digits.strip_suffix(MARKER);
                let (digits, is_marker) = (bare.unwrap_or(digits), bare.is_some());
                let left = (digits.len() == TIME_DIGITS).then(|| left_of(digits))??;
                Some(Self { left, id: VersionId::Null, is_marker })
            }
            "v" => Self::of_id(&VersionId::parse(digits)?),
            _ => None,
        }
    }

    /// The stamp that an id of its own tells all of.
    pub(super) fn of_id(id: &VersionId) -> Option<Self> {
        let VersionId::Unique(text) = id else { return None };
        let (digits, tag) = text.split_at_checked(TIME_DIGITS)?;
        let is_marker = tag.starts_with(|digit| matches!(digit, '8'..='9' | 'a'..='f'));
        Some(Self { left: left(time(digits)?), id: id.clone(), is_marker })
    }
}

/// The tag with the mark of a delete marker, or without.
fn marked(tag: &str, is_marker: bool) -> String {
    let first = tag.chars().next().and_then(|digit| digit.to_digit(16)).unwrap_or(0) & 7;
    let first = char::from_digit(first + if is_marker { 8 } else { 0 }, 16).unwrap_or('0');
    format!("{first}{}", tag.get(1..).unwrap_or_default())
}

/// When a version was made, where it was kept as one.
pub fn made(info: &ObjectInfo) -> Option<Timestamp> {
    info.metadata.iter().any(|(name, _)| name == STAMP_NAME).then(|| Stamp::of(info).time())
}

/// The id of a version that was made as one.
pub fn id_of(info: &ObjectInfo) -> Option<VersionId> {
    made(info).map(|_| Stamp::of(info).id)
}

/// Gives metadata that replace those of a version its stamp, where it has one.
pub(super) fn carry(info: &ObjectInfo, metadata: &mut Metadata) {
    strip(metadata);
    metadata.extend(info.metadata.iter().filter(|(name, _)| is_ours(name)).cloned());
    metadata.sort();
}

/// Takes a stamp out of metadata that go to another object.
pub fn strip(metadata: &mut Metadata) {
    metadata.retain(|(name, _)| !is_ours(name));
}

fn is_ours(name: &str) -> bool {
    name == STAMP_NAME || name == SINCE_NAME
}

fn left(at: Timestamp) -> u64 {
    u64::MAX - at.ticks()
}

fn time(digits: &str) -> Option<Timestamp> {
    let left = u64::from_str_radix(digits, 16).ok()?;
    // Whatever is beyond the last time that can be shown is none of ours.
    let at = Timestamp::from_ticks(u64::MAX - left);
    (at.ticks() == u64::MAX - left).then_some(at)
}

/// Digits of chance for a new version.
pub(super) fn new_tag() -> String {
    id::hex_id()[..TAG_DIGITS].to_owned()
}

/// The tag of a version that an upload makes: its id's chance, so that the version can be found from the upload.
pub fn tag_of_upload(upload: &str) -> String {
    marked(upload.get(upload.len().saturating_sub(TAG_DIGITS)..).unwrap_or_default(), false)
}

/// What the names of all versions of keys that begin with this begin with.
pub(super) fn beginning(of_key: &str) -> String {
    of_key.replace('\u{1}', ESCAPED)
}

/// What the names of all versions of a key begin with.
pub(super) fn all_of(key: &str) -> String {
    format!("{}{END}", beginning(key))
}

/// What the names of a key's versions with the id `null` begin with.
pub(super) fn nulls_of(key: &str) -> String {
    format!("{}n", all_of(key))
}

/// A name behind all versions of a key and before those of the next.
pub(super) fn behind_all_of(key: &str) -> String {
    format!("{}w", all_of(key))
}

/// The name of a version.
pub(super) fn name(key: &str, stamp: &Stamp) -> String {
    format!("{}{}", all_of(key), stamp.text())
}

/// A name among those of a key's versions with an id of their own: newer ones are before it, and older ones behind.
pub(super) fn behind(key: &str, stamp: &Stamp) -> String {
    let left = format!("{:016x}", stamp.left);
    match &stamp.id {
        VersionId::Unique(text) if text.starts_with(&left) => format!("{}v{text}", all_of(key)),
        VersionId::Unique(_) | VersionId::Null => format!("{}v{left}", all_of(key)),
    }
}

/// Key and stamp of a name.
pub(super) fn split(name: &str) -> Option<(String, Stamp)> {
    let (key, text) = name.rsplit_once(END)?;
    Some((key.replace(ESCAPED, "\u{1}"), Stamp::parse(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(ticks: u64) -> Stamp {
        Stamp::unique(Timestamp::from_ticks(ticks), "0123456789abcdef", false)
    }

    #[test]
    fn names_split_into_what_they_were_made_of() {
        for key in ["a", "a/b", "ü", "with\u{1}one", "\u{1}\u{1}", "ends\u{1}", "\u{1}\u{2}"] {
            let at = Timestamp::from_ticks(7);
            for ticks in 0..16 {
                let null = Stamp::null(Timestamp::from_ticks(ticks), false);
                assert_eq!(split(&name(key, &null)), Some((key.to_owned(), null)), "each last digit");
            }
            let marker = Stamp::unique(at, "0123456789abcdef", true);
            for stamp in [stamp(7), marker, Stamp::null(at, false), Stamp::null(at, true)] {
                assert_eq!(split(&name(key, &stamp)), Some((key.to_owned(), stamp)), "{key:?}");
            }
        }
        for name in ["", "a", "a\u{1}\u{1}", "a\u{1}\u{1}v0", "a\u{1}\u{1}vnull", "a\u{1}\u{1}n0000000000000000"] {
            assert_eq!(split(name), None, "{name:?}");
        }
    }

    /// Without this a listing would mix the versions of two keys, or show keys in another order than S3 does.
    #[test]
    fn names_sort_by_key_and_then_from_the_newest() {
        let keys = ["a", "a\u{1}", "a\u{1}\u{1}", "a\u{1}b", "a\u{2}", "a!", "ab", "b"];
        let names: Vec<_> = keys.iter().flat_map(|key| [name(key, &stamp(9)), name(key, &stamp(8))]).collect();
        assert!(names.is_sorted(), "{names:?}");
        for key in keys {
            assert!(nulls_of(key) < name(key, &stamp(9)) && name(key, &stamp(1)) < behind_all_of(key));
            assert!(behind(key, &stamp(5)) < name(key, &stamp(4)) && behind(key, &stamp(5)) >= name(key, &stamp(5)));
            let null = Stamp::null(Timestamp::from_ticks(5), false);
            assert!(behind(key, &null) < name(key, &stamp(4)) && behind(key, &null) > name(key, &stamp(6)));
        }
    }

    #[test]
    fn only_ids_of_ours_are_read() {
        let id = stamp(5).id;
        assert_eq!(VersionId::parse(&id.to_string()), Some(id));
        assert_eq!(VersionId::parse("null"), Some(VersionId::Null));
        for text in
            ["", "NULL", "0", &"0".repeat(32), &"F".repeat(32), &"f".repeat(33), "ffffffffffffffff/fffffffffffffff"]
        {
            assert_eq!(VersionId::parse(text), None, "{text}");
        }
    }
}
