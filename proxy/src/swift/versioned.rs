//! Versioned writes, Swift's older way: a container names another one (`X-Versions-Location`, `X-History-Location`) that
//! every object goes to before it is replaced. A deletion brings back the last version (stack), or is itself kept as a
//! marker (history). An archived object is called `<length><name>/<time>`, its length being three hexadecimal digits.
//!
//! Archiving and replacing are two steps: where the second does not come, the archive has the object twice over, and
//! nothing is lost.

use anello_storage::store::ObjectHead;
use anello_storage::{
    ContainerInfo, Content, Error, ListQuery, Listed, Metadata, ObjectEntry, ObjectPath, Precondition,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;

use super::SwiftDoor;
use super::call::Call;
use super::config::Middleware;
use super::fault::Fault;
use super::limits::VERSIONS_PAGE;
use super::metadata::value;
use super::write::{self, Writing};
use super::{reply, version};
use crate::object::{self, versions};

/// Where a container keeps the name of its archive, and how it is kept.
const LOCATION: &str = "x-container-sysmeta-versions-location";
const MODE: &str = "x-container-sysmeta-versions-mode";

/// The modes, and the header that chooses each.
const MODES: [(&str, &str); 2] = [("x-versions-location", "stack"), ("x-history-location", "history")];

/// The media type of what stands for a deletion.
const MARKER: &str = "application/x-deleted;swift_versions_deleted=1";

/// Where a container's objects go.
struct Archive {
    account: String,
    container: String,
    is_history: bool,
}

/// The archive that a request sets for a container, or takes away.
pub(super) fn container_changes(
    door: &SwiftDoor,
    call: &Call,
    info: Option<&ContainerInfo>,
) -> Result<Metadata, Fault> {
    if !door.config.offers(Middleware::VersionedWrites) {
        return Ok(Metadata::new());
    }
    let set = |(location, mode): (&str, &str)| vec![(LOCATION.into(), location.into()), (MODE.into(), mode.into())];
    let named = MODES.map(|(header, mode)| (call.header(header).unwrap_or(""), mode));
    match named {
        [("", _), ("", _)] => {}
        [(_, _), ("", _)] | [("", _), (_, _)] => {
            let (location, mode) = if named[0].0.is_empty() { named[1] } else { named[0] };
            if location.contains('/') {
                let detail = "Container name cannot contain slashes";
                return Err(Fault::because(StatusCode::PRECONDITION_FAILED, detail));
            }
            if info.and_then(versions::is_enabled).is_some() {
                return Err(Fault::invalid(
                    "The container keeps versions of its objects by object versioning already.",
                ));
            }
            return Ok(set((location, mode)));
        }
        _ => {
            let detail = "Only one of x-versions-location or x-history-location may be specified";
            return Err(Fault::invalid(detail));
        }
    }
    let removes = |(header, _): &(&str, &str)| {
        let remove = header.replacen("x-", "x-remove-", 1);
        call.headers.contains_key(*header) || call.header(&remove).is_some_and(|value| !value.is_empty())
    };
    Ok(if MODES.iter().any(removes) { set(("", "")) } else { Metadata::new() })
}

/// Says where a container's archive is.
pub(super) fn show(metadata: &Metadata, headers: &mut HeaderMap) {
    let Some(location) = value(metadata, LOCATION).filter(|location| !location.is_empty()) else { return };
    let mode = value(metadata, MODE).unwrap_or("stack");
    if let Some((header, _)) = MODES.iter().find(|(_, known)| *known == mode) {
        reply::set(headers, header, location);
    }
}

/// Whether a container has an archive.
pub(super) fn has_archive(metadata: &Metadata) -> bool {
    value(metadata, LOCATION).is_some_and(|location| !location.is_empty())
}

/// Whether a request gives a container one.
pub(super) fn asks_for_archive(call: &Call) -> bool {
    MODES.iter().any(|(header, _)| call.header(header).is_some_and(|location| !location.is_empty()))
}

/// The archive of a container, where it has one and does not keep versions itself.
async fn archive_of(door: &SwiftDoor, path: &ObjectPath) -> Result<Option<Archive>, Fault> {
    if !door.config.offers(Middleware::VersionedWrites) {
        return Ok(None);
    }
    let Some(info) = door.store.container_settings(&path.account, &path.container).await? else { return Ok(None) };
    let location = value(&info.metadata, LOCATION).filter(|location| !location.is_empty());
    let Some(location) = location.filter(|_| versions::is_enabled(&info).is_none()) else { return Ok(None) };
    let container = percent_decode_str(location).decode_utf8_lossy().split('/').next().unwrap_or("").to_owned();
    let is_history = value(&info.metadata, MODE) == Some("history");
    Ok(Some(Archive { account: path.account.clone(), container, is_history }))
}

impl Archive {
    /// What the names of an object's versions begin with.
    fn prefix(path: &ObjectPath) -> String {
        format!("{:03x}{}/", path.object.len(), path.object)
    }

    fn path(&self, name: String) -> ObjectPath {
        ObjectPath::new(&self.account, &self.container, name)
    }

    /// Keeps what stands at a path, if anything does.
    async fn keep(&self, door: &SwiftDoor, path: &ObjectPath) -> Result<(), Fault> {
        let Some(info) = door.store.object(path).await? else { return Ok(()) };
        let to = self.path(format!("{}{}", Self::prefix(path), info.meta_timestamp));
        duplicate(door, path, &to).await.map(drop).map_err(|error| self.fault(error))
    }

    /// 412 where the archive is not there; whatever else fails may be tried again.
    fn fault(&self, error: Error) -> Fault {
        match error {
            Error::Missing(_) => Fault::status(StatusCode::PRECONDITION_FAILED),
            error => error.into(),
        }
    }

    /// Versions of an object, the latest first, behind `marker`.
    async fn page(
        &self,
        door: &SwiftDoor,
        path: &ObjectPath,
        marker: Option<String>,
    ) -> Result<Vec<ObjectEntry>, Fault> {
        let prefix = Self::prefix(path);
        let query = ListQuery { prefix, marker, reverse: true, limit: VERSIONS_PAGE, ..ListQuery::default() };
        match door.store.container_list(&self.account, &self.container, &query).await {
            Err(Error::Missing(_)) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
            Ok(rows) => Ok(rows.into_iter().filter_map(entry).collect()),
        }
    }
}

fn entry(listed: Listed<ObjectEntry>) -> Option<ObjectEntry> {
    match listed {
        Listed::Entry(entry) => Some(entry),
        Listed::Prefix(_) => None,
    }
}

/// Before an object is replaced.
pub(super) async fn before_put(door: &SwiftDoor, path: &ObjectPath) -> Result<(), Fault> {
    match archive_of(door, path).await? {
        Some(archive) => archive.keep(door, path).await,
        None => Ok(()),
    }
}

/// Deletes an object as its container wants it; whether anything was there.
pub(super) async fn delete(door: &SwiftDoor, path: &ObjectPath, condition: &Precondition) -> Result<bool, Fault> {
    if let Some(archive) = archive_of(door, path).await? {
        if archive.is_history {
            archive.keep(door, path).await?;
            let at = door.store.clock().tick();
            let marker = archive.path(format!("{}{at}", Archive::prefix(path)));
            let etag = hex::encode(<md5::Md5 as md5::Digest>::digest(b""));
            let head = ObjectHead { etag, content_type: MARKER.into(), ..ObjectHead::default() };
            let put = write::record_alone(&door.store, &marker, Bytes::new(), head, &Precondition::default()).await;
            put.map_err(|error| archive.fault(error))?;
        } else if let Some(was_there) = pop(door, &archive, path).await? {
            return Ok(was_there);
        }
    }
    delete_now(door, path, condition).await
}

async fn delete_now(door: &SwiftDoor, path: &ObjectPath, condition: &Precondition) -> Result<bool, Fault> {
    // An archive may keep versions of what is in it.
    let deleted = match version::of(door, path).await? {
        Some(versions) => versions.delete(&path.object, condition).await.map(|marked| marked.was_there),
        None => door.store.object_delete(path, condition).await.map(|deleted| deleted.is_some()),
    };
    match deleted {
        Ok(was_there) => Ok(was_there),
        Err(Error::Missing(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Puts the last version in the place of what is deleted. `None` where there is none, or what is there came after a
/// deletion: then it is deleted itself.
async fn pop(door: &SwiftDoor, archive: &Archive, path: &ObjectPath) -> Result<Option<bool>, Fault> {
    // A deletion that is to be undone: it goes, and what was before it comes back.
    let mut undone: Option<ObjectPath> = None;
    let mut marker = None;
    loop {
        let page = archive.page(door, path, marker.take()).await?;
        let is_last = page.len() < VERSIONS_PAGE;
        for version in page {
            let from = archive.path(version.name.clone());
            match (version.content_type == MARKER, &undone) {
                (true, None) if door.store.object(path).await?.is_some() => return Ok(None),
                (true, None) => undone = Some(from),
                (true, Some(deletion)) => return delete_now(door, deletion, &Precondition::default()).await.map(Some),
                (false, _) => {
                    if !duplicate(door, &from, path).await.map_err(|error| archive.fault(error))? {
                        continue;
                    }
                    let was_there = delete_now(door, &from, &Precondition::default()).await?;
                    return match undone {
                        Some(deletion) => delete_now(door, &deletion, &Precondition::default()).await.map(Some),
                        None => Ok(Some(was_there)),
                    };
                }
            }
            marker = Some(version.name);
        }
        if is_last {
            return match undone {
                Some(deletion) => delete_now(door, &deletion, &Precondition::default()).await.map(Some),
                None => Ok(None),
            };
        }
    }
}

/// Copies an object as it is, links and manifests as such; whether it was there.
async fn duplicate(door: &SwiftDoor, from: &ObjectPath, to: &ObjectPath) -> Result<bool, Error> {
    let Some(reader) = door.store.object_read(from).await? else { return Ok(false) };
    let info = reader.info().clone();
    let mut head = ObjectHead {
        etag: info.etag.clone(),
        content_type: info.content_type.clone(),
        delete_at: info.delete_at,
        metadata: info.metadata.clone(),
        ..ObjectHead::default()
    };
    if info.content == Content::Segments {
        let mut reader = reader;
        let mut text = Vec::new();
        while let Some(data) = reader.next().await? {
            text.extend_from_slice(&data);
        }
        (head.size, head.content) = (Some(info.size), Content::Segments);
        write::record_alone(&door.store, to, text.into(), head, &Precondition::default()).await?;
        return Ok(true);
    }
    drop(reader);
    // An object's parts are its own: the copy has their bytes.
    let Some(mut reader) = object::open(&door.store, from).await? else { return Ok(false) };
    let mut writer = Writing::begin(&door.store, to, Some(reader.info().size)).await?;
    while let Some(data) = reader.next().await? {
        writer.write(data).await?;
    }
    writer.finish_alone(&door.store, head, &Precondition::default()).await?;
    Ok(true)
}
