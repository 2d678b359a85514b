//! What is kept of one name, as an object or as a row of a listing: its latest data or tombstone, the
//! metadata and the media type that were changed since, each with its timestamp and its record.
//!
//! Merging is a function of the set of changes, not of their order: the latest timestamp wins, a
//! deletion wins over data of the same timestamp, and a change of metadata that comes before its data
//! waits here for them. That is what makes replay exact, also after compaction has moved records.

use anello_base::Timestamp;

use super::shadow::Shadows;
use crate::index::ObjectRow;
use crate::model::{Content, Metadata, ObjectEntry, ObjectInfo};
use crate::mutation::{Body, Extent, Location, ObjectPost, ObjectPut};

/// Everything known of a name. `Versions::default()` knows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Versions {
    /// The latest data or tombstone.
    pub(super) data: Data,
    /// The latest change of metadata, where it is later than the data.
    pub(super) post: Option<Post>,
    /// The latest change of the media type, where it is later than the data.
    pub(super) retype: Option<Retype>,
    /// Where dead records of this name may still lie.
    pub(super) shadows: Shadows,
    /// A tombstone whose other half is there: the object where the row is deleted, or the row where the
    /// object is. The other half's record would bring this one back in a rebuild, so it can't be dropped.
    pub(super) is_split: bool,
}

/// The latest data or tombstone of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Data {
    /// Never seen.
    #[default]
    Absent,
    /// Deleted.
    Deleted {
        timestamp: Timestamp,
        /// `None`: a row's record that is the object's (or was, until the object's tombstone was dropped).
        record: Option<Location>,
        /// The object's storage policy; 0 in a row.
        policy: u32,
    },
    /// There.
    Live(Live),
}

/// Data that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) timestamp: Timestamp,
    /// See [`Data::Deleted`].
    pub(super) record: Option<Location>,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) content_type: String,
    pub(super) content: Content,
    /// Empty in a row.
    pub(super) object: ObjectPart,
}

/// What only an object has, not its row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ObjectPart {
    pub(super) stored_size: u64,
    pub(super) policy: u32,
    /// Superseded by [`Post::delete_at`] where there is a post.
    pub(super) delete_at: Option<u64>,
    /// Superseded by [`Post::metadata`], and empty, where there is a post.
    pub(super) metadata: Metadata,
    /// The extents, where the data are not in the record.
    pub(super) extents: Option<Vec<Extent>>,
}

/// A change of metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Post {
    pub(super) timestamp: Timestamp,
    pub(super) record: Option<Location>,
    /// None of these is kept in a row.
    pub(super) delete_at: Option<u64>,
    pub(super) metadata: Metadata,
    pub(super) policy: u32,
}

/// A change of the media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Retype {
    pub(super) timestamp: Timestamp,
    pub(super) record: Option<Location>,
    pub(super) content_type: String,
}

/// What a merge did.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// The later version that stood already; nothing was changed.
    pub(super) stale: Option<Timestamp>,
    /// Whether data were there before.
    pub(super) existed: bool,
    /// The data that lost: those replaced or deleted, or the late ones that came in vain.
    pub(super) loser: Option<Live>,
}

impl Live {
    /// A put as the object that it makes.
    pub(super) fn object(put: &ObjectPut, record: Location) -> Self {
        let extents = match &put.body {
            Body::Extents(extents) => Some(extents.pieces.clone()),
            Body::Inline(_) | Body::Absent(_) => None,
        };
        let object = ObjectPart {
            stored_size: put.body.len(),
            policy: put.policy,
            delete_at: put.delete_at,
            metadata: put.metadata.clone(),
            extents,
        };
        Self { object, ..Self::row(put, record) }
    }

    /// A put as the row that it makes.
    pub(super) fn row(put: &ObjectPut, record: Location) -> Self {
        Self {
            timestamp: put.timestamp,
            record: Some(record),
            size: put.size,
            etag: put.etag.clone(),
            content_type: put.content_type.clone(),
            content: put.content,
            object: ObjectPart::default(),
        }
    }
}

impl Versions {
    /// Whether nothing at all is known, so that nothing need be stored.
    pub(super) fn is_absent(&self) -> bool {
        self.data == Data::Absent && self.post.is_none() && self.retype.is_none()
    }

    /// A dead record of this name lies in `volume`.
    pub(super) fn shadow(&mut self, volume: u32) {
        if !self.is_absent() {
            self.shadows.add(volume);
        }
    }

    /// The data, where they are there.
    pub(super) fn live(&self) -> Option<&Live> {
        match &self.data {
            Data::Live(live) => Some(live),
            Data::Absent | Data::Deleted { .. } => None,
        }
    }

    /// Timestamp of the data or of the tombstone.
    pub(super) fn data_timestamp(&self) -> Option<Timestamp> {
        match &self.data {
            Data::Absent => None,
            Data::Deleted { timestamp, .. } => Some(*timestamp),
            Data::Live(live) => Some(live.timestamp),
        }
    }

    /// The latest timestamp of all, which decides when a tombstone is old.
    pub(super) fn latest(&self) -> Timestamp {
        let post = self.post.as_ref().map(|post| post.timestamp);
        let retype = self.retype.as_ref().map(|retype| retype.timestamp);
        self.data_timestamp().max(post).max(retype).unwrap_or_default()
    }

    /// The object's storage policy: that of its data or tombstone; where only metadata have come, theirs.
    pub(super) fn policy(&self) -> u32 {
        match &self.data {
            Data::Absent => self.post.as_ref().map_or(0, |post| post.policy),
            Data::Deleted { policy, .. } => *policy,
            Data::Live(live) => live.object.policy,
        }
    }

    /// When the object is to be deleted.
    pub(super) fn delete_at(&self) -> Option<u64> {
        let live = self.live()?;
        self.post.as_ref().map_or(live.object.delete_at, |post| post.delete_at)
    }

    /// Extents of the data that are there.
    pub(super) fn extents(&self) -> &[Extent] {
        self.live().and_then(|live| live.object.extents.as_deref()).unwrap_or_default()
    }

    /// The records that are needed for all this.
    pub(super) fn records(&self) -> impl Iterator<Item = Location> {
        let data = match &self.data {
            Data::Absent => None,
            Data::Deleted { record, .. } => *record,
            Data::Live(live) => live.record,
        };
        let post = self.post.as_ref().and_then(|post| post.record);
        let retype = self.retype.as_ref().and_then(|retype| retype.record);
        [data, post, retype].into_iter().flatten()
    }

    /// The places where a record is named: of the data, of the post, of the change of type, each with the
    /// timestamp that it belongs to.
    pub(super) fn record_slots(&mut self) -> [Option<(Timestamp, &mut Option<Location>)>; 3] {
        let data = match &mut self.data {
            Data::Absent => None,
            Data::Deleted { timestamp, record, .. } => Some((*timestamp, record)),
            Data::Live(live) => Some((live.timestamp, &mut live.record)),
        };
        let post = self.post.as_mut().map(|post| (post.timestamp, &mut post.record));
        let retype = self.retype.as_mut().map(|retype| (retype.timestamp, &mut retype.record));
        [data, post, retype]
    }

    /// Merges data.
    pub(super) fn put(&mut self, live: Live) -> Merged {
        let existed = self.live().is_some();
        if let Some(current) = self.data_timestamp()
            && live.timestamp <= current
        {
            return Merged { stale: Some(current), existed, loser: Some(live) };
        }
        let before = self.replace_data(live.timestamp, Data::Live(live));
        Merged { stale: None, existed, loser: before }
    }

    /// Merges a tombstone.
    pub(super) fn delete(&mut self, timestamp: Timestamp, record: Location, policy: u32) -> Merged {
        let existed = self.live().is_some();
        let current = match &self.data {
            Data::Absent => None,
            Data::Deleted { timestamp: current, .. } => (timestamp <= *current).then_some(*current),
            Data::Live(live) => (timestamp < live.timestamp).then_some(live.timestamp),
        };
        if current.is_some() {
            return Merged { stale: current, existed, loser: None };
        }
        let before = self.replace_data(timestamp, Data::Deleted { timestamp, record: Some(record), policy });
        Merged { stale: None, existed, loser: before }
    }

    /// Puts `data` in place, drops what it clears, and returns the data that stood there.
    fn replace_data(&mut self, timestamp: Timestamp, data: Data) -> Option<Live> {
        let before = std::mem::replace(&mut self.data, data);
        self.post.take_if(|post| post.timestamp <= timestamp);
        self.retype.take_if(|retype| retype.timestamp <= timestamp);
        self.drop_superseded();
        match before {
            Data::Live(live) => Some(live),
            Data::Absent | Data::Deleted { .. } => None,
        }
    }

    /// Merges a change of metadata. Where no data are there it waits for them. `keep` is whether the
    /// metadata themselves are kept (a row keeps only that they changed).
    pub(super) fn post(&mut self, change: &ObjectPost, record: Location, keep: bool) -> Merged {
        let existed = self.live().is_some();
        let timestamp = change.timestamp;
        if let Some(current) = self.data_timestamp()
            && timestamp <= current
        {
            return Merged { stale: Some(current), existed, loser: None };
        }
        let mut stale = self.post.as_ref().map(|post| post.timestamp).filter(|current| timestamp <= *current);
        if stale.is_none() {
            let mut post = Post { timestamp, record: Some(record), ..Post::default() };
            if keep {
                (post.delete_at, post.metadata, post.policy) =
                    (change.delete_at, change.metadata.clone(), change.policy);
            }
            self.post = Some(post);
            self.drop_superseded();
        }
        if let Some(content_type) = &change.content_type
            && self.retype.as_ref().is_none_or(|current| timestamp > current.timestamp)
        {
            self.retype = Some(Retype { timestamp, record: Some(record), content_type: content_type.clone() });
            stale = None;
        }
        Merged { stale, existed, loser: None }
    }

    /// Metadata behind a post are never seen again.
    fn drop_superseded(&mut self) {
        if self.post.is_some()
            && let Data::Live(live) = &mut self.data
        {
            live.object.metadata = Metadata::new();
            live.object.delete_at = None;
        }
    }

    /// The object as the index shows it; `None` where it is not there.
    pub(super) fn into_object(self) -> Option<ObjectRow> {
        let Data::Live(live) = self.data else { return None };
        let meta_timestamp = self.post.as_ref().map_or(live.timestamp, |post| post.timestamp);
        let meta_location = self.post.as_ref().and_then(|post| post.record);
        let (delete_at, metadata) = match self.post {
            Some(post) => (post.delete_at, post.metadata),
            None => (live.object.delete_at, live.object.metadata),
        };
        let info = ObjectInfo {
            timestamp: live.timestamp,
            meta_timestamp,
            size: live.size,
            stored_size: live.object.stored_size,
            etag: live.etag,
            content_type: self.retype.map_or(live.content_type, |retype| retype.content_type),
            content: live.content,
            delete_at,
            metadata,
        };
        let location = live.record.expect("an object's data have a record: the decoder refuses others");
        Some(ObjectRow { info, location, in_extents: live.object.extents.is_some(), meta_location })
    }

    /// The row as a listing shows it; `None` where it is not there.
    pub(super) fn into_entry(self, name: String) -> Option<ObjectEntry> {
        let Data::Live(live) = self.data else { return None };
        Some(ObjectEntry {
            name,
            timestamp: self.post.map_or(live.timestamp, |post| post.timestamp),
            size: live.size,
            etag: live.etag,
            content_type: self.retype.map_or(live.content_type, |retype| retype.content_type),
            content: live.content,
        })
    }
}
