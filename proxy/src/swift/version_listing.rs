//! Versions in listings of containers (`versions`): which versions the objects are, and a listing of all.

use anello_storage::{ContainerInfo, Content, ListQuery, Listed, ObjectEntry, ObjectPath};
use futures::{StreamExt, TryStreamExt};
use http::Response;

use super::SwiftDoor;
use super::call::Call;
use super::container;
use super::fault::Fault;
use super::limits::ROW_LOOKUPS_AT_ONCE;
use super::listing::{self, ObjectRow, RowKind, VersionRow};
use super::version::{is_offered, location, parse};
use crate::body::Body;
use crate::object::versions::listing::{ListedVersion, VersionEntry, VersionQuery};
use crate::object::versions::{self, Found, VersionId, Versions};

/// Says which versions the objects of a listing are, several being looked up at a time.
pub(super) async fn name(
    door: &SwiftDoor,
    account: &str,
    container: &str,
    info: &ContainerInfo,
    rows: &mut [Listed<ObjectRow>],
) -> Result<(), Fault> {
    if versions::is_enabled(info).is_none() || !is_offered(door) {
        return Ok(());
    }
    let lookups = rows.iter_mut().map(|listed| async move {
        let Listed::Entry(row) = listed else { return Ok(()) };
        let path = ObjectPath::new(account, container, &row.entry.name);
        let info = door.store.object(&path).await?;
        if let Some(id @ VersionId::Unique(_)) = info.and_then(|info| versions::id_of(&info)) {
            row.version = Some(location(&path, &id.to_string()));
        }
        Ok::<_, Fault>(())
    });
    let lookups: Vec<_> = lookups.collect();
    futures::stream::iter(lookups).buffer_unordered(ROW_LOOKUPS_AT_ONCE).try_collect().await
}

/// Whether a request is for all versions.
pub(super) fn is_wanted(door: &SwiftDoor, call: &Call) -> bool {
    call.method == http::Method::GET && call.query.get("versions").is_some() && is_offered(door)
}

/// GET of a container with `versions`: all versions of its objects, as JSON alone.
pub(super) async fn list(
    door: &SwiftDoor,
    call: &Call,
    account: &str,
    container: &str,
    info: &ContainerInfo,
) -> Result<Response<Body>, Fault> {
    listing::accept_json(call)?;
    let query = listing::query_of(call)?;
    let version_marker = match call.query.get("version_marker").filter(|text| !text.is_empty()) {
        None => None,
        Some(_) if query.marker.is_none() => return Err(Fault::invalid("version_marker param requires marker")),
        Some(text) => Some(parse(text).ok_or_else(|| Fault::invalid("invalid version_marker param"))?),
    };
    let rows = match Versions::of(&door.store, account, container, info) {
        None => {
            let rows = container::rows(door, account, container, &query).await?;
            let only = |row| VersionRow { row, version: VersionId::Null.to_string(), is_latest: true };
            rows.into_iter().map(|listed| listing::map(listed, only)).collect()
        }
        Some(versions) => {
            let ListQuery { prefix, delimiter, marker, end_marker, reverse, limit, .. } = query;
            let query = VersionQuery { prefix, delimiter, marker, version_marker, end_marker, reverse, limit };
            let page = versions.list(&query).await?;
            let rows = page.listed.into_iter().map(|listed| row(account, &versions, listed));
            let rows: Vec<_> = futures::stream::iter(rows).buffered(ROW_LOOKUPS_AT_ONCE).collect().await;
            rows.into_iter().collect::<Result<Vec<_>, Fault>>()?
        }
    };
    Ok(listing::Format::Json.answer(listing::of_versions(&rows)))
}

async fn row(account: &str, versions: &Versions, listed: ListedVersion) -> Result<Listed<VersionRow>, Fault> {
    let entry = match listed {
        ListedVersion::Prefix(prefix) => return Ok(Listed::Prefix(prefix)),
        ListedVersion::Version(entry) => entry,
    };
    let kind = match entry.content {
        Content::Segments => match versions.find(&entry.key, Some(&entry.stamp.id)).await? {
            Some(Found::Object(info)) => container::kind_of(&info, account),
            Some(Found::Marker(_)) | None => RowKind::Plain,
        },
        _ => RowKind::Plain,
    };
    let VersionEntry { key, stamp, is_latest, modified, size, etag, content_type, content } = entry;
    let entry = ObjectEntry { name: key, timestamp: modified, size, etag, content_type, content };
    let row = ObjectRow { entry, kind, version: None };
    Ok(Listed::Entry(VersionRow { row, version: stamp.id.to_string(), is_latest }))
}
