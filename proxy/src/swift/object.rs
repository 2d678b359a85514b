//! Objects: POST and DELETE. Reading is [`super::download`], writing [`super::upload`] and [`super::copy`].

use anello_base::Timestamp;
use anello_storage::store::ObjectUpdate;
use anello_storage::{Error, ObjectInfo, ObjectPath};
use http::{Response, StatusCode};

use super::SwiftDoor;
use super::call::Call;
use super::fault::Fault;
use super::{conditions, dlo, expiry, metadata, reply, slo, symlink, version, versioned};
use crate::body::Body;
use crate::object::{lock, versions};

/// POST: replaces what clients set of an object's metadata; the doors' own stays.
pub(super) async fn update(door: &SwiftDoor, call: &Call, path: &ObjectPath) -> Result<Response<Body>, Fault> {
    dlo::check(call)?;
    symlink::check_post(call)?;
    if let Some(asked) = version::Asked::of(call)? {
        return Err(Fault::invalid(format!("POST to a specific version ({asked}) is not allowed")));
    }
    let items = metadata::object_items(&call.headers)?;
    let delete_at = expiry::delete_at(call)?;
    let content_type = call.header("content-type").filter(|media_type| !media_type.is_empty()).map(str::to_owned);
    let now = door.store.clock().wall().system_time().into();
    let (mut redirected, mut is_locked) = (None, false);
    let change = |info: &ObjectInfo| {
        is_locked = lock::forbids(info, now, false);
        if is_locked {
            return Err(Error::Precondition);
        }
        redirected = symlink::redirect(info, &path.account);
        let mut metadata = items.clone();
        for (name, value) in info.metadata.iter().filter(|(name, _)| !metadata::is_shown(name)) {
            metadata::set(&mut metadata, name.clone(), value.clone());
        }
        Ok(ObjectUpdate { content_type: content_type.clone(), delete_at, metadata })
    };
    let updated = match version::of(door, path).await? {
        Some(versions) => versions.update(&path.object, None, change).await,
        None => door.store.object_update_as(path, expiry::expired(door, call), change).await,
    };
    if is_locked {
        return Err(version::locked());
    }
    updated?;
    match redirected {
        Some(redirect) => Err(redirect),
        None => Ok(reply::bare(StatusCode::ACCEPTED)),
    }
}

/// DELETE.
pub(super) async fn delete(door: &SwiftDoor, call: &Call, path: &ObjectPath) -> Result<Response<Body>, Fault> {
    if call.query.get("multipart-manifest") == Some("delete") {
        return slo::delete(door, call, path).await;
    }
    let condition = conditions::for_write(call)?;
    if let Some(second) = call.header("x-if-delete-at") {
        let second: u64 = second.parse().map_err(|_| Fault::invalid("Bad X-If-Delete-At header value"))?;
        let info = door.store.object(path).await?.ok_or_else(Fault::missing)?;
        if info.delete_at != Some(second) {
            return Err(Fault::status(StatusCode::PRECONDITION_FAILED));
        }
    }
    if let Some(synced) = call.origin.synced
        && delete_at(door, path, synced.timestamp).await?
    {
        return Ok(reply::bare(StatusCode::NO_CONTENT));
    }
    let asked = version::Asked::of(call)?;
    Ok(version::delete(door, path, asked.as_ref(), &condition).await?.answer())
}

/// Deletes what stood at a time, as another cluster says; whether that is all there is to do: a container that keeps what
/// is deleted does so.
async fn delete_at(door: &SwiftDoor, path: &ObjectPath, at: Timestamp) -> Result<bool, Fault> {
    let info = door.store.container_settings(&path.account, &path.container).await?.ok_or_else(Fault::missing)?;
    if versions::is_enabled(&info).is_some() || versioned::has_archive(&info.metadata) {
        return Ok(false);
    }
    let found = door.store.store().object(path).await?.ok_or_else(Fault::missing)?;
    if found.meta_timestamp > at {
        return Err(Fault::status(StatusCode::CONFLICT));
    }
    door.store.object_delete_at(path, at).await?;
    Ok(true)
}
