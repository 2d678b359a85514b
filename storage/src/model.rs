//! What the store tells and is told about accounts, containers and objects.

use anello_base::Timestamp;
use serde::{Deserialize, Serialize};

/// Header-like items: lower-case name and value, sorted by name. The doors choose the names
/// (`content-encoding`, `x-object-meta-color`, `x-object-sysmeta-…`); the engine only keeps them.
pub type Metadata = Vec<(String, String)>;

/// What an object's stored bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Content {
    /// The object's own data.
    #[default]
    Plain,
    /// A list of the parts that make it up, which are objects of their own in a system account and belong
    /// to it: once it is replaced or deleted they are deleted too. The doors write and read the list;
    /// [`ObjectInfo::size`] is the whole object's.
    Multipart,
    /// A list of other objects that make it up and outlive it (a static large object's manifest).
    Segments,
    /// How its data are cut into fragments on other devices, which belong to it. The store puts them together: nobody
    /// who asks it for an object sees this.
    Fragments,
}

impl Content {
    /// Whether other objects belong to it, to be deleted when it is gone.
    pub fn has_parts(self) -> bool {
        matches!(self, Self::Multipart | Self::Fragments)
    }

    /// What a client is shown of it.
    pub(crate) fn as_seen(self) -> Self {
        if self == Self::Fragments { Self::Plain } else { self }
    }
}

/// What is known of an object without reading its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// Version of the data.
    pub timestamp: Timestamp,
    /// Version of the metadata: later than `timestamp` where it was replaced since.
    pub meta_timestamp: Timestamp,
    /// Size in bytes as clients see it.
    pub size: u64,
    /// Bytes that [`crate::ObjectReader`] yields: `size`, or the part list's own length.
    pub stored_size: u64,
    /// Entity tag without quotes: lower-case MD5 hex, or a multipart upload's `<hex>-<parts>`.
    pub etag: String,
    /// Media type.
    pub content_type: String,
    /// What the stored bytes are.
    pub content: Content,
    /// Second since 1970 from which the object is gone.
    pub delete_at: Option<u64>,
    /// Everything else.
    pub metadata: Metadata,
}

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// When it was created.
    pub created: Timestamp,
    /// When it or its metadata was last changed by a PUT or POST.
    pub modified: Timestamp,
    /// When the container that had this name before was deleted; zero where none had.
    #[serde(default)]
    pub deleted: Timestamp,
    /// Objects in it.
    pub object_count: u64,
    /// Sum of their sizes in bytes.
    pub bytes_used: u64,
    /// Index of its storage policy.
    pub policy: u32,
    /// Metadata, sorted by name.
    pub metadata: Metadata,
}

/// What is known of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountInfo {
    /// When it was created.
    pub created: Timestamp,
    /// When it or its metadata was last changed.
    pub modified: Timestamp,
    /// Containers in it.
    pub container_count: u64,
    /// Objects in all of them.
    pub object_count: u64,
    /// Bytes in all of them.
    pub bytes_used: u64,
    /// Whether it was deleted with all that is in it, which goes piece by piece.
    #[serde(default)]
    pub is_leaving: bool,
    /// Metadata, sorted by name.
    pub metadata: Metadata,
}

/// A row of a container's listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Object's name.
    pub name: String,
    /// Version of the data, or of the metadata where that is later.
    pub timestamp: Timestamp,
    /// Size in bytes as clients see it.
    pub size: u64,
    /// Entity tag without quotes.
    pub etag: String,
    /// Media type.
    pub content_type: String,
    /// What the stored bytes are.
    pub content: Content,
}

/// A row of an account's listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerEntry {
    /// Container's name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed (PUT or POST).
    pub modified: Timestamp,
    /// Objects in it.
    pub object_count: u64,
    /// Bytes in it.
    pub bytes_used: u64,
}

/// What one replica knows of a thing that may have been deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known<T> {
    /// The thing, where it is there.
    pub info: Option<T>,
    /// Its version, or that of its deletion; zero where nothing is known of it. Of two replicas the one with the
    /// later version is right.
    pub version: Timestamp,
    /// Of two replicas that have the same version of a container the one with more changes of its rows is right, and
    /// of a row the one with later metadata.
    pub changes: u64,
    /// Of a container or an account: two replicas may each lack what the other has.
    pub life: Life,
}

/// What of a container's or an account's life tells which replica has heard of what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Life {
    /// When it was created; zero where that is not known.
    pub created: Timestamp,
    /// When it was last deleted; zero where that is not known.
    pub deleted: Timestamp,
    /// Changes behind the first that would have created it with a policy of their own.
    pub policies: Vec<(Timestamp, u32)>,
    /// When each item of its metadata was set, or removed, by name.
    pub items: Vec<(String, Timestamp)>,
}

impl<T> Known<T> {
    /// Nothing is known.
    pub fn nothing() -> Self {
        Self { info: None, version: Timestamp::ZERO, changes: 0, life: Life::default() }
    }
}

/// A row of a listing, or the common prefix of several that a delimiter rolled up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listed<E> {
    /// A row.
    Entry(E),
    /// A prefix up to and including the delimiter (Swift's `subdir`, S3's `CommonPrefixes`).
    Prefix(String),
}

/// What part of a listing is wanted. Names are compared as bytes.
///
/// Semantics are Swift's: `marker` and `end_marker` are exclusive; with `reverse` the listing runs from
/// high to low, `marker` being the upper and `end_marker` the lower bound; with `delimiter` every name
/// that has it after `prefix` is rolled up into one [`Listed::Prefix`], and a prefix that equals
/// `marker` is not listed again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListQuery {
    /// Only names that start with this.
    pub prefix: String,
    /// Rolls up names behind its first occurrence after the prefix; any string.
    pub delimiter: Option<String>,
    /// Start behind this name.
    pub marker: Option<String>,
    /// Stop before this name.
    pub end_marker: Option<String>,
    /// From the end to the beginning.
    pub reverse: bool,
    /// At most this many entries and prefixes together.
    pub limit: usize,
    /// Swift's `path`: only names directly below this pseudo-directory, none rolled up
    /// (`path=a` gives `a/b` but not `a/b/c`; `path=` gives the top level).
    pub path: Option<String>,
}

/// Entity tags of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Etags {
    /// `*`
    Any,
    /// Any of these, without quotes.
    List(Vec<String>),
}

/// Conditions on the version that a write replaces (RFC 9110 §13). A write whose condition does not
/// hold fails with [`crate::Error::Precondition`] and changes nothing; check and write are one step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// There is a current version and its tag is one of these.
    pub if_match: Option<Etags>,
    /// There is no current version with one of these tags.
    pub if_none_match: Option<Etags>,
    /// The current version, if any, is not newer than this second.
    pub if_unmodified_since: Option<u64>,
}

impl Precondition {
    /// Only if nothing is there yet (`If-None-Match: *`).
    pub fn absent() -> Self {
        Self { if_none_match: Some(Etags::Any), ..Self::default() }
    }

    /// Whether there is any condition.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it holds for `current`, the version to be replaced.
    pub fn holds(&self, current: Option<&ObjectInfo>) -> bool {
        let is_one_of = |etags: &Etags| match (etags, current) {
            (_, None) => false,
            (Etags::Any, Some(_)) => true,
            (Etags::List(list), Some(info)) => list.contains(&info.etag),
        };
        self.if_match.as_ref().is_none_or(is_one_of)
            && !self.if_none_match.as_ref().is_some_and(is_one_of)
            && match (self.if_unmodified_since, current) {
                (Some(since), Some(info)) => info.timestamp.seconds_ceil() <= since,
                _ => true,
            }
    }
}
