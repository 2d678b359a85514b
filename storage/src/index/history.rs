//! The life of a container or an account: when it was created, changed and deleted, and its metadata,
//! each item with the timestamp that it was set at.
//!
//! Merging is a function of the set of changes, not of their order. So that a deletion which comes late
//! finds what came after it, changes are remembered, and their records needed, although later ones
//! replaced all that they set, up to [`CHANGES_KEPT`] of them.

use anello_base::Timestamp;

use super::codec::{Reader, Writer};
use super::digest::ItemVersion;
use super::limits::CHANGES_KEPT;
use super::shadow::Shadows;
use crate::error::Result;
use crate::key::KeyHash;
use crate::model::{Life, Metadata};
use crate::mutation::Location;

/// What happened to a container or an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct History {
    /// The latest deletion.
    pub(super) deleted: Option<Deletion>,
    /// Changes behind the deletion, by timestamp. It exists while there are any.
    pub(super) changes: Vec<Change>,
    /// Metadata behind the deletion, by name.
    items: Vec<Item>,
    /// Where dead records of it may still lie.
    pub(super) shadows: Shadows,
}

/// A deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deletion {
    pub(super) timestamp: Timestamp,
    pub(super) record: Location,
}

/// A creation or change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) timestamp: Timestamp,
    pub(super) record: Location,
    pub(super) policy: u32,
    pub(super) origin: Origin,
}

impl Change {
    /// Whether it is a PUT or POST of the thing itself.
    pub(super) fn is_own(&self) -> bool {
        self.origin == Origin::Own
    }
}

/// What a change came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A PUT or POST of the thing itself.
    Own,
    /// A container came to be, which creates its account: the container's hash.
    Container(KeyHash),
    /// A container's statistics came from another device, which creates its account: the container's name.
    Stats(String),
}

/// One item of metadata; an empty value says that it was removed, for as long as the thing is there: an
/// earlier change that set it may be remembered, or come late.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    name: String,
    value: String,
    timestamp: Timestamp,
}

/// What a merge did.
#[derive(Debug, Default)]
pub(super) struct HistoryMerged {
    /// The later version that stood already.
    pub(super) stale: Option<Timestamp>,
    /// Whether the thing existed before.
    pub(super) existed: bool,
    /// Changes that are not remembered any more, or not at all, with their records.
    pub(super) released: Vec<(Location, Origin)>,
}

impl History {
    /// Whether nothing at all is known.
    pub(super) fn is_empty(&self) -> bool {
        self.deleted.is_none() && self.changes.is_empty()
    }

    /// A dead record of this thing lies in `volume`.
    pub(super) fn shadow(&mut self, volume: u32) {
        if !self.is_empty() {
            self.shadows.add(volume);
        }
    }

    /// Whether the thing is there.
    pub(super) fn exists(&self) -> bool {
        !self.changes.is_empty()
    }

    /// When it was created; zero where it is not there.
    pub(super) fn created(&self) -> Timestamp {
        self.changes.first().map_or(Timestamp::ZERO, |change| change.timestamp)
    }

    /// When it itself was last changed, or created.
    pub(super) fn modified(&self) -> Timestamp {
        self.latest_own().map_or(self.created(), |change| change.timestamp)
    }

    /// When it was deleted; zero where it never was.
    pub(super) fn deleted(&self) -> Timestamp {
        self.deleted.map_or(Timestamp::ZERO, |deletion| deletion.timestamp)
    }

    /// The latest of its creation, its changes and its deletion; zero where nothing is known.
    pub(super) fn latest(&self) -> Timestamp {
        self.changes.last().map_or(Timestamp::ZERO, |change| change.timestamp).max(self.deleted())
    }

    /// The storage policy that it was created with.
    pub(super) fn policy(&self) -> u32 {
        self.changes.first().map_or(0, |change| change.policy)
    }

    /// Its metadata.
    pub(super) fn metadata(&self) -> Metadata {
        let there = self.items.iter().filter(|item| !item.value.is_empty());
        there.map(|item| (item.name.clone(), item.value.clone())).collect()
    }

    /// One item of its metadata; empty where it was removed.
    pub(super) fn item(&self, name: &str) -> Option<&str> {
        let place = self.items.binary_search_by(|item| item.name.as_str().cmp(name)).ok()?;
        Some(&self.items[place].value)
    }

    /// Its metadata with their times, removed items included.
    pub(super) fn items(&self) -> Vec<ItemVersion> {
        let item =
            |item: &Item| ItemVersion { name: item.name.clone(), value: item.value.clone(), timestamp: item.timestamp };
        self.items.iter().map(item).collect()
    }

    /// See [`Life`].
    pub(super) fn life(&self) -> Life {
        let again = self.changes.iter().skip(1).filter(|change| change.policy != 0);
        Life {
            created: self.created(),
            deleted: self.deleted(),
            policies: again.map(|change| (change.timestamp, change.policy)).collect(),
            items: self.items.iter().map(|item| (item.name.clone(), item.timestamp)).collect(),
        }
    }

    fn latest_own(&self) -> Option<&Change> {
        self.changes.iter().rev().find(|change| change.is_own())
    }

    /// Whether the change at `place` is what something of the present state came from.
    fn is_needed(&self, place: usize) -> bool {
        let timestamp = self.changes[place].timestamp;
        place == 0
            || self.latest_own().is_some_and(|latest| latest.timestamp == timestamp)
            || self.items.iter().any(|item| item.timestamp == timestamp)
    }

    /// The records that are needed: those of all changes that are remembered, because a deletion that comes
    /// late may make any of them the first.
    pub(super) fn records(&self) -> impl Iterator<Item = Location> {
        let deletion = self.deleted.map(|deletion| deletion.record);
        deletion.into_iter().chain(self.changes.iter().map(|change| change.record))
    }

    /// See [`History::records`]; with what each of them came from.
    pub(super) fn records_with_origin(&self) -> Vec<(Location, Origin)> {
        let deletion = self.deleted.map(|deletion| (deletion.record, Origin::Own));
        let changes = self.changes.iter().map(|change| (change.record, change.origin.clone()));
        deletion.into_iter().chain(changes).collect()
    }

    /// A record was moved. Returns whether it was needed here.
    pub(super) fn relocate(&mut self, from: Location, to: Location) -> bool {
        let was_needed = self.records().any(|record| record == from);
        let deletion = self.deleted.iter_mut().map(|deletion| &mut deletion.record);
        for record in deletion.chain(self.changes.iter_mut().map(|change| &mut change.record)) {
            if *record == from {
                *record = to;
            }
        }
        was_needed
    }

    /// Merges a change.
    pub(super) fn change(&mut self, change: Change, items: &Metadata) -> HistoryMerged {
        let existed = self.exists();
        let stale =
            |at| HistoryMerged { stale: Some(at), existed, released: vec![(change.record, change.origin.clone())] };
        if self.deleted.is_some() && change.timestamp <= self.deleted() {
            return stale(self.deleted());
        }
        let Err(place) = self.changes.binary_search_by_key(&change.timestamp, |other| other.timestamp) else {
            return stale(change.timestamp);
        };
        let timestamp = change.timestamp;
        self.changes.insert(place, change);
        for (name, value) in items {
            self.set_item(name, value, timestamp);
        }
        let stale = (!self.is_needed(place)).then(|| self.modified());
        let released = self.forget_surplus().map(|change| (change.record, change.origin));
        HistoryMerged { stale, existed, released: released.into_iter().collect() }
    }

    /// Merges a deletion.
    pub(super) fn delete(&mut self, timestamp: Timestamp, record: Location) -> HistoryMerged {
        let existed = self.exists();
        if self.deleted.is_some() && timestamp <= self.deleted() {
            let released = vec![(record, Origin::Own)];
            return HistoryMerged { stale: Some(self.deleted()), existed, released };
        }
        let before = self.records_with_origin();
        self.deleted = Some(Deletion { timestamp, record });
        self.changes.retain(|change| change.timestamp > timestamp);
        self.items.retain(|item| item.timestamp > timestamp);
        let stale = self.exists().then(|| self.modified());
        HistoryMerged { stale, existed, released: self.released(before) }
    }

    /// Those of `before` that are needed no more.
    fn released(&self, mut before: Vec<(Location, Origin)>) -> Vec<(Location, Origin)> {
        let after: Vec<_> = self.records().collect();
        before.retain(|(record, _)| !after.contains(record));
        before
    }

    /// The latest value wins; of two with one timestamp the greater, so that order doesn't matter.
    fn set_item(&mut self, name: &str, value: &str, timestamp: Timestamp) {
        match self.items.binary_search_by(|item| item.name.as_str().cmp(name)) {
            Ok(place) => {
                let item = &mut self.items[place];
                if (item.timestamp, item.value.as_str()) < (timestamp, value) {
                    (item.timestamp, item.value) = (timestamp, value.to_owned());
                }
            }
            Err(place) => self.items.insert(place, Item { name: name.to_owned(), value: value.to_owned(), timestamp }),
        }
    }

    /// Of more than [`CHANGES_KEPT`] changes the latest that nothing came from is forgotten: the earliest
    /// are those that tell when it was created.
    fn forget_surplus(&mut self) -> Option<Change> {
        let surplus = self.changes.len() > CHANGES_KEPT;
        let place = (0..self.changes.len()).rev().find(|place| surplus && !self.is_needed(*place))?;
        Some(self.changes.remove(place))
    }

    /// Whether a change that came from `origin` is remembered.
    pub(super) fn remembers(&self, origin: &Origin) -> bool {
        self.changes.iter().any(|change| change.origin == *origin)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.optional(self.deleted.map(|deletion| deletion.timestamp.to_bits()));
        if let Some(deletion) = self.deleted {
            out.location(Some(deletion.record));
        }
        out.number(self.changes.len() as u64);
        for change in &self.changes {
            out.timestamp(change.timestamp);
            out.location(Some(change.record));
            out.number(u64::from(change.policy));
            match &change.origin {
                Origin::Own => out.byte(0),
                Origin::Container(hash) => {
                    out.byte(1);
                    out.bytes(&hash.0);
                }
                Origin::Stats(name) => {
                    out.byte(2);
                    out.text(name);
                }
            }
        }
        out.number(self.items.len() as u64);
        for item in &self.items {
            out.text(&item.name);
            out.text(&item.value);
            out.timestamp(item.timestamp);
        }
        out.byte(u8::from(!self.shadows.is_empty()));
        if !self.shadows.is_empty() {
            self.shadows.encode(out);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let record = |reader: &mut Reader<'_>| match reader.location()? {
            Some(location) => Ok(location),
            None => Err(reader.corrupt(1, 0)),
        };
        let deleted = match reader.optional()? {
            Some(bits) => Some(Deletion { timestamp: reader.timestamp_from(bits)?, record: record(reader)? }),
            None => None,
        };
        let count = reader.count()?;
        let mut changes = Vec::with_capacity(count);
        for _ in 0..count {
            let (timestamp, record, policy) = (reader.timestamp()?, record(reader)?, reader.small()?);
            let origin = match reader.byte()? {
                0 => Origin::Own,
                1 => Origin::Container(KeyHash(reader.array()?)),
                2 => Origin::Stats(reader.text()?),
                other => return Err(reader.corrupt(2, u64::from(other))),
            };
            changes.push(Change { timestamp, record, policy, origin });
        }
        let count = reader.count()?;
        let item = |_| Ok(Item { name: reader.text()?, value: reader.text()?, timestamp: reader.timestamp()? });
        let items = (0..count).map(item).collect::<Result<Vec<_>>>()?;
        let shadows = match reader.byte()? {
            0 => Shadows::default(),
            1 => Shadows::decode(reader)?,
            other => return Err(reader.corrupt(1, u64::from(other))),
        };
        Ok(Self { deleted, changes, items, shadows })
    }
}
