//! Containers: listings, metadata and access lists.

use anello_storage::store::IfMissing;
use anello_storage::{
    ContainerInfo, Content, ListQuery, Listed, Metadata, ObjectEntry, ObjectInfo, ObjectPath, StoragePolicy,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::SwiftDoor;
use super::access::Access;
use super::call::Call;
use super::fault::Fault;
use super::layer::etag_quoter;
use super::limits::{CONTAINER_NAME_BYTES_MAX, ROW_LOOKUPS_AT_ONCE};
use super::listing::{self, Format, ObjectRow, RowKind};
use super::metadata::{self, Kind};
use super::{account, quota, reply, sync, version, version_listing, versioned};
use crate::body::Body;
use crate::object::{link, segments, versions};

/// GET and HEAD.
pub(super) async fn read(
    door: &SwiftDoor,
    call: &Call,
    access: Access,
    account: &str,
    container: &str,
) -> Result<Response<Body>, Fault> {
    let is_of_versions = version_listing::is_wanted(door, call);
    let format = if is_of_versions { Format::Json } else { Format::of(call)? };
    let query = listing::query_of(call)?;
    let info = door.store.container(account, container).await?.ok_or_else(Fault::missing)?;
    let mut response = if is_of_versions {
        version_listing::list(door, call, account, container, &info).await?
    } else if call.method == http::Method::HEAD {
        reply::with_body(StatusCode::NO_CONTENT, format.media_type(), "")
    } else {
        let mut rows = rows(door, account, container, &query).await?;
        if format == Format::Json {
            version_listing::name(door, account, container, &info, &mut rows).await?;
        }
        format.answer(listing::of_objects(format, container, &rows))
    };
    if call.query.get("format").is_none() {
        reply::vary(response.headers_mut(), "Accept");
    }
    show(door, &info, access, response.headers_mut());
    let bytes = info.bytes_used + version::kept_bytes(door, account, container, &info).await?;
    response.headers_mut().insert("x-container-bytes-used", HeaderValue::from(bytes));
    Ok(response)
}

/// The rows of a listing. Those of large objects and links are looked up, several at a time.
pub(super) async fn rows(
    door: &SwiftDoor,
    account: &str,
    container: &str,
    query: &ListQuery,
) -> Result<Vec<Listed<ObjectRow>>, Fault> {
    let entries = door.store.container_list(account, container, query).await?;
    let lookups: Vec<_> = entries.into_iter().map(|listed| row(door, account, container, listed)).collect();
    stream::iter(lookups).buffered(ROW_LOOKUPS_AT_ONCE).try_collect().await
}

async fn row(
    door: &SwiftDoor,
    account: &str,
    container: &str,
    listed: Listed<ObjectEntry>,
) -> Result<Listed<ObjectRow>, Fault> {
    let entry = match listed {
        Listed::Prefix(prefix) => return Ok(Listed::Prefix(prefix)),
        Listed::Entry(entry) if entry.content != Content::Segments => {
            return Ok(Listed::Entry(ObjectRow { entry, kind: RowKind::Plain, version: None }));
        }
        Listed::Entry(entry) => entry,
    };
    let info = door.store.object(&ObjectPath::new(account, container, &entry.name)).await?;
    let kind = info.map_or(RowKind::Plain, |info| kind_of(&info, account));
    Ok(Listed::Entry(ObjectRow { entry, kind, version: None }))
}

/// What an object of an account is, as listings show it.
pub(super) fn kind_of(info: &ObjectInfo, account: &str) -> RowKind {
    match (link::of(info, account), segments::manifest_etag(info)) {
        (Some(link), _) => RowKind::Link {
            location: link.location,
            etag: link.etag,
            bytes: link::item(info, link::TARGET_BYTES).and_then(|bytes| bytes.parse().ok()),
            slo_etag: link::item(info, link::TARGET_SLO_ETAG).map(str::to_owned),
        },
        (None, Some(etag)) => RowKind::Manifest { etag: etag.to_owned() },
        (None, None) => RowKind::Plain,
    }
}

/// PUT: creates the container, or changes its metadata.
pub(super) async fn create(
    door: &SwiftDoor,
    call: &Call,
    access: Access,
    account: &str,
    container: &str,
) -> Result<Response<Body>, Fault> {
    if container.len() > CONTAINER_NAME_BYTES_MAX {
        let detail = format!("Container name length of {} longer than {CONTAINER_NAME_BYTES_MAX}", container.len());
        return Err(Fault::invalid(detail).on_a_page());
    }
    let wanted = wanted_policy(door, call)?;
    quota::check_container(door, call)?;
    let info = door.store.container(account, container).await?;
    let changes = changes(door, call, access, (account, container), info.as_ref())?;
    metadata::check_changed(&metadata_of(info.as_ref()), &changes, Kind::Container)?;
    if let (Some(info), Some(wanted)) = (&info, &wanted)
        && info.policy != wanted.index
    {
        return Err(Fault::status(StatusCode::CONFLICT));
    }
    let policy = match wanted {
        Some(policy) if policy.is_deprecated && info.is_none() => {
            return Err(Fault::invalid(format!("Storage Policy {:?} is deprecated", policy.name)));
        }
        Some(policy) => policy.index,
        None => door.store.policies().default_policy().index,
    };
    if info.is_none() {
        account::prepare(door, call, account).await?;
    }
    sync::note(&door.store, account, container, &changes).await?;
    let written = door.store.container_update(account, container, changes, policy, IfMissing::Create).await?;
    Ok(reply::bare(if written.created { StatusCode::CREATED } else { StatusCode::ACCEPTED }))
}

/// POST: changes metadata.
pub(super) async fn update(
    door: &SwiftDoor,
    call: &Call,
    access: Access,
    account: &str,
    container: &str,
) -> Result<Response<Body>, Fault> {
    quota::check_container(door, call)?;
    let info = door.store.container(account, container).await?.ok_or_else(Fault::missing)?;
    let changes = changes(door, call, access, (account, container), Some(&info))?;
    metadata::check_changed(&info.metadata, &changes, Kind::Container)?;
    sync::note(&door.store, account, container, &changes).await?;
    door.store.container_update(account, container, changes, info.policy, IfMissing::Fail).await?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// What a request changes.
fn changes(
    door: &SwiftDoor,
    call: &Call,
    access: Access,
    name: (&str, &str),
    info: Option<&ContainerInfo>,
) -> Result<Metadata, Fault> {
    let mut changes = metadata::changes(&call.headers, Kind::Container, access.owner)?;
    let of_versions = version::container_changes(door, call, name, info)?;
    let keeps = info.and_then(versions::is_enabled) == Some(true) || !of_versions.is_empty();
    if keeps && metadata::value(&changes, sync::SYNC_TO).is_some_and(|target| !target.is_empty()) {
        let detail = "Cannot configure container sync on a container with object versioning configured.";
        return Err(Fault::invalid(detail));
    }
    let quoting = etag_quoter::change(door, call, Kind::Container);
    let others = versioned::container_changes(door, call, info)?.into_iter().chain(of_versions).chain(quoting);
    for (name, value) in others {
        metadata::set(&mut changes, name, value);
    }
    Ok(changes)
}

/// DELETE.
pub(super) async fn delete(door: &SwiftDoor, account: &str, container: &str) -> Result<Response<Body>, Fault> {
    versions::remove(&door.store, account, container).await?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// The storage policy that is asked for.
fn wanted_policy(door: &SwiftDoor, call: &Call) -> Result<Option<StoragePolicy>, Fault> {
    let Some(name) = call.header("x-storage-policy").filter(|name| !name.is_empty()) else { return Ok(None) };
    match door.store.policies().named(name) {
        Some(policy) => Ok(Some(policy.clone())),
        None => Err(Fault::invalid(format!("Invalid X-Storage-Policy {name:?}"))),
    }
}

fn metadata_of(info: Option<&ContainerInfo>) -> Metadata {
    info.map(|info| info.metadata.clone()).unwrap_or_default()
}

fn show(door: &SwiftDoor, info: &ContainerInfo, access: Access, headers: &mut HeaderMap) {
    metadata::show_changes(&info.metadata, Kind::Container, access.owner, headers);
    headers.insert("x-container-object-count", HeaderValue::from(info.object_count));
    headers.insert("x-container-bytes-used", HeaderValue::from(info.bytes_used));
    versioned::show(&info.metadata, headers);
    version::show_container(door, info, headers);
    etag_quoter::show(door, &info.metadata, Kind::Container, headers);
    reply::set(headers, "accept-ranges", "bytes");
    reply::set(headers, "x-timestamp", info.created.to_string());
    if let Some(policy) = door.store.policies().get(info.policy) {
        reply::set(headers, "x-storage-policy", &policy.name);
    }
    reply::set_last_modified(headers, info.modified.seconds_ceil());
}
