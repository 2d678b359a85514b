//! Containers that keep versions of their objects, for both doors (ADR 21, `docs/formats/versions.md`).
//!
//! The current version is the object itself. Whatever replaces it first *keeps* it: copies its record (data of more than
//! 256 KiB are parts that both records name) into a container of the system account [`ACCOUNT`]; then the object is
//! replaced, if it still is what was kept. So a version is lost at no point, and readers of current versions pay
//! nothing. A delete marker is a record there too; it counts once the object is gone: a version or marker that was made
//! after the object which stands has not happened yet.
//!
//! - [`Versions::of`] a container's settings: `None` where it never kept versions, and objects are written as ever.
//! - [`set`] begins and suspends keeping; [`remove`] deletes a container together with where its versions were.
//! - [`Versions::write`] takes a new version's data, [`Versions::delete`] deletes the current version and
//!   [`Versions::unlink`] takes it from its place without a delete marker, [`Versions::delete_version`] deletes any,
//!   [`Versions::restore`] makes an older one current again. [`Versions::open`] and [`Versions::find`] read one,
//!   [`Versions::update`] changes its metadata, [`Versions::list`] lists all.
//! - [`Stamp::of`] tells which version an object is, [`made`] since when.
//!
//! What only some requests need is boxed, so that it takes no room in the others' stack frames.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod keep;
pub mod listing;
mod name;
mod remove;
mod write;

use std::sync::Arc;

use anello_base::id;
use anello_storage::store::IfMissing;
use anello_storage::{ContainerInfo, Error, ListQuery, Listed, ObjectInfo, ObjectPath, Result, Store};

use super::Reader;
use super::limits::SWEEP_PAGE;
use super::vault::Vault;
pub use name::{Stamp, VersionId, id_of, made, strip, tag_of_upload};
pub use remove::{Behind, Deleted, Marked};
pub use write::{Put, VersionWriter};

/// The system account that keeps versions; no door reaches it by name.
pub const ACCOUNT: &str = ".versions";

/// The container's metadata that say whether versions are kept, and where: `enabled <place>` or `suspended <place>`.
const SETTING: &str = "x-container-sysmeta-versions";

/// Media type of a delete marker, as Swift has it.
pub const MARKER_TYPE: &str = "application/x-deleted;swift_versions_deleted=1";

/// How often a write begins again when others of the same object come first. Beyond it: [`Error::Contended`].
const ATTEMPTS: usize = 64;

/// A container that keeps versions, or did.
#[derive(Debug, Clone)]
pub struct Versions {
    store: Vault,
    account: Arc<str>,
    container: Arc<str>,
    /// Where its versions are, in [`ACCOUNT`].
    place: Arc<str>,
    policy: u32,
    is_enabled: bool,
}

/// A version as it was found.
#[derive(Debug)]
pub enum Found<T> {
    /// An object.
    Object(T),
    /// A delete marker.
    Marker(ObjectInfo),
}

/// Whether keeping is enabled; `None` where it never was.
pub fn is_enabled(info: &ContainerInfo) -> Option<bool> {
    setting(info).map(|(is_enabled, _)| is_enabled)
}

fn setting(info: &ContainerInfo) -> Option<(bool, &str)> {
    let (_, text) = info.metadata.iter().find(|(name, _)| name == SETTING)?;
    let (word, place) = text.split_once(' ')?;
    Some((word == "enabled", place))
}

/// The metadata of a container that is to keep versions from the beginning.
pub fn setting_of_new(account: &str, container: &str) -> (String, String) {
    (SETTING.to_owned(), format!("enabled {}", new_place(account, container)))
}

/// A place for versions. A container of the same name that comes after this one has another.
fn new_place(account: &str, container: &str) -> String {
    format!("{}{container}/{}", places_of(account), &id::hex_id()[..16])
}

/// What the places of all versions in an account begin with.
pub(in crate::object) fn places_of(account: &str) -> String {
    format!("{account}/")
}

/// Enables or suspends keeping versions in a container.
pub async fn set(store: &Store, account: &str, container: &str, is_enabled: bool) -> Result<()> {
    let info = store.container_settings(account, container).await?.ok_or(Error::Missing("container"))?;
    let changes = vec![changed(Some(&info), account, container, is_enabled)];
    store.container_update(account, container, changes, 0, IfMissing::Fail).await.map(drop)
}

/// The metadata of a container, there or to come, that enable or suspend keeping versions in it.
pub fn changed(info: Option<&ContainerInfo>, account: &str, container: &str, is_enabled: bool) -> (String, String) {
    let place = match info.and_then(setting) {
        Some((_, place)) => place.to_owned(),
        None => new_place(account, container),
    };
    (SETTING.to_owned(), format!("{} {place}", if is_enabled { "enabled" } else { "suspended" }))
}

/// Deletes a container, which [`Error::NotEmpty`] if it has objects, or versions of any.
pub async fn remove(store: &Store, account: &str, container: &str) -> Result<()> {
    let info = store.container_settings(account, container).await?.ok_or(Error::Missing("container"))?;
    if let Some((_, place)) = setting(&info) {
        // Writes that come after make it anew.
        match store.container_delete(ACCOUNT, place).await {
            Ok(()) | Err(Error::Missing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    store.container_delete(account, container).await
}

/// The account whose segments and links the record at a path is about: a kept version's is in the name of its place.
pub fn account_of(path: &ObjectPath) -> &str {
    match path.container.split_once('/') {
        Some((account, _)) if path.account == ACCOUNT => account,
        _ => &path.account,
    }
}

/// Bytes of the versions that an account's containers keep beside their objects; `None` where there are none. See
/// [`Versions::kept_bytes`].
pub async fn kept_bytes(store: &Store, account: &str) -> Result<Option<u64>> {
    let mut query = ListQuery { prefix: places_of(account), limit: SWEEP_PAGE, ..ListQuery::default() };
    let mut bytes = None;
    loop {
        let page = store.account_list(ACCOUNT, &query).await?;
        for listed in &page {
            let Listed::Entry(entry) = listed else { continue };
            bytes = Some(bytes.unwrap_or(0) + entry.bytes_used);
            query.marker = Some(entry.name.clone());
        }
        if page.len() < query.limit {
            return Ok(bytes);
        }
    }
}

impl Versions {
    /// The versions of a container's objects; `None` where it never kept any.
    pub fn of(store: &Vault, account: &str, container: &str, info: &ContainerInfo) -> Option<Self> {
        let (is_enabled, place) = setting(info)?;
        let (account, container, place) = (account.into(), container.into(), place.into());
        Some(Self { store: store.clone(), account, container, place, policy: info.policy, is_enabled })
    }

    /// Whether new versions are kept beside the old ones; otherwise keeping is suspended.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The versions of a container, by its name.
    pub(in crate::object) async fn of_container(store: &Vault, account: &str, container: &str) -> Result<Option<Self>> {
        let info = store.container_settings(account, container).await?;
        Ok(info.and_then(|info| Self::of(store, account, container, &info)))
    }

    /// Bytes of the versions that are kept beside the objects. One that is current again, or whose object is to expire,
    /// is both, and counts twice.
    pub async fn kept_bytes(&self) -> Result<u64> {
        let info = self.store.container(ACCOUNT, &self.place).await?;
        Ok(info.map_or(0, |info| info.bytes_used))
    }

    fn current_path(&self, key: &str) -> ObjectPath {
        ObjectPath::new(&*self.account, &*self.container, key)
    }

    fn kept_path(&self, key: &str, stamp: &Stamp) -> ObjectPath {
        ObjectPath::new(ACCOUNT, &*self.place, name::name(key, stamp))
    }

    /// The current version.
    async fn current(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.store.object(&self.current_path(key)).await
    }

    /// The object with this id, or the current one, without its data; `None` where there is none.
    pub async fn find(&self, key: &str, id: Option<&VersionId>) -> Result<Option<Found<ObjectInfo>>> {
        let Some(id) = id else { return self.newest(key).await };
        Ok(self.locate(key, id).await?.map(|(_, info)| found(info)))
    }

    /// The current version, or the delete marker that took its place.
    async fn newest(&self, key: &str) -> Result<Option<Found<ObjectInfo>>> {
        if let Some(info) = self.current(key).await? {
            return Ok(Some(Found::Object(info)));
        }
        // Without a marker it was taken from its place, or has expired.
        let newest = self.newest_kept(key, None).await?.filter(|stamp| stamp.is_marker);
        let Some(stamp) = newest else { return Ok(None) };
        let info = self.store.object(&self.kept_path(key, &stamp)).await.or_absent()?;
        Ok(info.map(found))
    }

    /// Opens a version for reading.
    pub async fn open(&self, key: &str, id: &VersionId) -> Result<Option<Found<Reader>>> {
        let opened = Box::pin(self.open_at(key, id)).await?;
        Ok(opened.map(|(_, found)| found))
    }

    /// Opens a version for reading; tells where it is, too.
    pub async fn open_at(&self, key: &str, id: &VersionId) -> Result<Option<(ObjectPath, Found<Reader>)>> {
        for _ in 0..ATTEMPTS {
            let Some((path, info)) = self.locate(key, id).await? else { return Ok(None) };
            if Stamp::of(&info).is_marker {
                return Ok(Some((path, Found::Marker(info))));
            }
            match super::open(&self.store, &path).await? {
                Some(reader) if Stamp::of(reader.info()).id == *id => return Ok(Some((path, Found::Object(reader)))),
                // It is being kept, or deleted.
                _ => {}
            }
        }
        Err(Error::Contended)
    }

    /// Where a version is, and what it is like.
    pub async fn locate(&self, key: &str, id: &VersionId) -> Result<Option<(ObjectPath, ObjectInfo)>> {
        let current = self.current(key).await?;
        if let Some(info) = &current
            && Stamp::of(info).id == *id
        {
            return Ok(Some((self.current_path(key), info.clone())));
        }
        let Some(stamp) = self.kept(key, id).await? else { return Ok(None) };
        let has_happened = current.is_none_or(|current| !stamp.is_newer_than(&Stamp::front(&current)));
        if !has_happened {
            return Ok(None);
        }
        let path = self.kept_path(key, &stamp);
        Ok(self.store.object(&path).await.or_absent()?.map(|info| (path, info)))
    }
}

fn found(info: ObjectInfo) -> Found<ObjectInfo> {
    if Stamp::of(&info).is_marker { Found::Marker(info) } else { Found::Object(info) }
}

/// Shorthand: the container of kept versions is made with the first of them.
trait OrAbsent<T> {
    fn or_absent(self) -> Result<Option<T>>;
}

impl<T> OrAbsent<T> for Result<Option<T>> {
    fn or_absent(self) -> Result<Option<T>> {
        match self {
            Err(Error::Missing(_)) => Ok(None),
            other => other,
        }
    }
}
