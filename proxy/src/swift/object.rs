//! Objects: POST and DELETE. Reading is [`super::download`], writing [`super::upload`] and [`super::copy`].

use anello_storage::store::ObjectUpdate;
use anello_storage::{ObjectInfo, ObjectPath};
use http::{Response, StatusCode};

use super::SwiftDoor;
use super::call::Call;
use super::fault::Fault;
use super::{conditions, dlo, expiry, metadata, reply, slo, symlink, versioned};
use crate::body::Body;

/// POST: replaces what clients set of an object's metadata; the doors' own stays.
pub(super) async fn update(door: &SwiftDoor, call: &Call, path: &ObjectPath) -> Result<Response<Body>, Fault> {
    dlo::check(call)?;
    symlink::check_post(call)?;
    let items = metadata::object_items(&call.headers)?;
    let delete_at = expiry::delete_at(call)?;
    let content_type = call.header("content-type").filter(|media_type| !media_type.is_empty()).map(str::to_owned);
    let mut redirected = None;
    let change = |info: &ObjectInfo| {
        redirected = symlink::redirect(info, &path.account);
        let mut metadata = items.clone();
        for (name, value) in info.metadata.iter().filter(|(name, _)| !metadata::is_shown(name)) {
            metadata::set(&mut metadata, name.clone(), value.clone());
        }
        Ok(ObjectUpdate { content_type: content_type.clone(), delete_at, metadata })
    };
    door.store.object_update(path, change).await?;
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
    match versioned::delete(door, path, &condition).await? {
        true => Ok(reply::bare(StatusCode::NO_CONTENT)),
        false => Err(Fault::missing()),
    }
}
