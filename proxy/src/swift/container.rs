//! Containers: listings, metadata and access lists.

use anello_storage::store::IfMissing;
use anello_storage::{ContainerInfo, Content, ListQuery, Listed, Metadata, ObjectPath, StoragePolicy};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::SwiftDoor;
use super::access::Access;
use super::call::Call;
use super::fault::Fault;
use super::limits::CONTAINER_NAME_BYTES_MAX;
use super::listing::{self, Format, ObjectRow};
use super::metadata::{self, Kind};
use super::{account, reply};
use crate::body::Body;
use crate::object::segments;

/// GET and HEAD.
pub(super) async fn read(
    door: &SwiftDoor,
    call: &Call,
    access: Access,
    account: &str,
    container: &str,
) -> Result<Response<Body>, Fault> {
    let format = Format::of(call)?;
    let query = listing::query_of(call)?;
    let info = door.store.container(account, container).await?.ok_or_else(Fault::missing)?;
    let mut response = if call.method == http::Method::HEAD {
        reply::with_body(StatusCode::NO_CONTENT, format.media_type(), "")
    } else {
        let rows = rows(door, account, container, &query).await?;
        format.answer(listing::of_objects(format, container, &rows))
    };
    if call.query.get("format").is_none() {
        reply::vary(response.headers_mut(), "Accept");
    }
    show(door, &info, access, response.headers_mut());
    Ok(response)
}

/// The rows of a listing. Those of static large objects also show their manifest's tag.
async fn rows(
    door: &SwiftDoor,
    account: &str,
    container: &str,
    query: &ListQuery,
) -> Result<Vec<Listed<ObjectRow>>, Fault> {
    let entries = door.store.container_list(account, container, query).await?;
    let mut rows = Vec::with_capacity(entries.len());
    for listed in entries {
        rows.push(match listed {
            Listed::Prefix(prefix) => Listed::Prefix(prefix),
            Listed::Entry(entry) if entry.content == Content::Segments => {
                let info = door.store.object(&ObjectPath::new(account, container, &entry.name)).await?;
                let manifest_etag = info.as_ref().and_then(segments::manifest_etag).map(str::to_owned);
                Listed::Entry(ObjectRow { entry, manifest_etag })
            }
            Listed::Entry(entry) => Listed::Entry(ObjectRow { entry, manifest_etag: None }),
        });
    }
    Ok(rows)
}

/// PUT: creates the container, or changes its metadata.
pub(super) async fn create(
    door: &SwiftDoor,
    call: &Call,
    account: &str,
    container: &str,
) -> Result<Response<Body>, Fault> {
    if container.len() > CONTAINER_NAME_BYTES_MAX {
        let detail = format!("Container name length of {} longer than {CONTAINER_NAME_BYTES_MAX}", container.len());
        return Err(Fault::invalid(detail).on_a_page());
    }
    let wanted = wanted_policy(door, call)?;
    let changes = metadata::changes(&call.headers, Kind::Container)?;
    let info = door.store.container(account, container).await?;
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
    let written = door.store.container_update(account, container, changes, policy, IfMissing::Create).await?;
    Ok(reply::bare(if written.created { StatusCode::CREATED } else { StatusCode::ACCEPTED }))
}

/// POST: changes metadata.
pub(super) async fn update(
    door: &SwiftDoor,
    call: &Call,
    account: &str,
    container: &str,
) -> Result<Response<Body>, Fault> {
    let changes = metadata::changes(&call.headers, Kind::Container)?;
    let info = door.store.container(account, container).await?.ok_or_else(Fault::missing)?;
    metadata::check_changed(&info.metadata, &changes, Kind::Container)?;
    door.store.container_update(account, container, changes, info.policy, IfMissing::Fail).await?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// DELETE.
pub(super) async fn delete(door: &SwiftDoor, account: &str, container: &str) -> Result<Response<Body>, Fault> {
    door.store.container_delete(account, container).await?;
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
    reply::set(headers, "accept-ranges", "bytes");
    reply::set(headers, "x-timestamp", info.created.to_string());
    if let Some(policy) = door.store.policies().get(info.policy) {
        reply::set(headers, "x-storage-policy", &policy.name);
    }
    reply::set_last_modified(headers, info.modified.seconds_ceil());
}
