//! PUT of an object. The body goes from the socket to the devices chunk by chunk: the next is taken when
//! the devices and the hash have taken the last. Whatever goes wrong before the end (a short body, a
//! client that falls silent, a tag that doesn't fit) drops the writer, and nothing of the object is left.

use std::sync::Arc;

use anello_storage::store::ObjectHead;
use anello_storage::{Error, Metadata, ObjectPath, Precondition};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;

use super::SwiftDoor;
use super::access::Access;
use super::call::{Call, is_true};
use super::fault::Fault;
use super::layer::Incoming;
use super::limits::{CLIENT_SILENCE_MAX, FILE_BYTES_MAX, OBJECT_NAME_BYTES_MAX};
use super::write::{Made, Writing};
use super::{conditions, dlo, expiry, media_type, metadata, quota, reply, slo, symlink, version};
use crate::body::Body;
use crate::digest::Digester;

/// What a request says of the object that it writes.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Media type, stated or told by the name.
    pub(super) content_type: Option<String>,
    /// Metadata.
    pub(super) metadata: Metadata,
    /// When it is to be gone.
    pub(super) delete_at: Option<u64>,
    /// Conditions on what stands there.
    pub(super) condition: Precondition,
}

impl Wanted {
    /// Reads and checks the headers.
    pub(super) fn of(call: &Call, path: &ObjectPath, condition: Precondition) -> Result<Self, Fault> {
        if path.object.len() > OBJECT_NAME_BYTES_MAX {
            let detail = format!("Object name length of {} longer than {OBJECT_NAME_BYTES_MAX}", path.object.len());
            return Err(Fault::invalid(detail));
        }
        dlo::check(call)?;
        if call.headers.contains_key("content-type") && call.header("content-type").is_none() {
            return Err(Fault::invalid("Invalid Content-Type"));
        }
        let must_guess = call.header("x-detect-content-type").is_some_and(is_true);
        let stated = call.header("content-type").filter(|stated| !stated.is_empty() && !must_guess);
        Ok(Self {
            content_type: stated.map(str::to_owned),
            metadata: metadata::object_items(&call.headers)?,
            delete_at: expiry::delete_at(call)?,
            condition,
        })
    }
}

/// PUT.
pub(super) async fn put(
    door: &SwiftDoor,
    call: &Arc<Call>,
    access: Access,
    path: &ObjectPath,
    body: Incoming,
) -> Result<Response<Body>, Fault> {
    let length = call.content_length()?;
    if call.header("transfer-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("chunked")) {
        return Err(Fault::because(StatusCode::NOT_IMPLEMENTED, "Only the transfer coding chunked is understood."));
    }
    if length.is_none() && !is_framed(call) {
        return Err(Fault::because(StatusCode::LENGTH_REQUIRED, "Missing Content-Length header."));
    }
    if length.is_some_and(|length| length > FILE_BYTES_MAX) {
        return Err(too_large());
    }
    if let Some(asked) = version::Asked::of(call)? {
        return version::restore(door, call, path, &asked, body).await;
    }
    let synced = call.origin.synced.map(|synced| synced.timestamp);
    if synced.is_some() && call.is_set("x-static-large-object") {
        return slo::put_stored(door, call, path, body).await;
    }
    quota::check(door, access, path, length.unwrap_or(0)).await?;
    if symlink::makes_link(door, call) {
        return symlink::put(door, call, path, body).await;
    }
    match call.query.get("multipart-manifest") {
        None | Some("get" | "delete") => {}
        Some("put") => return slo::put(door, call, path, body).await,
        Some(_) => return Err(Fault::invalid("multipart-manifest must be put, get or delete")),
    }
    let wanted = Wanted::of(call, path, conditions::for_write(call)?)?;
    if !wanted.condition.is_empty() && !wanted.condition.holds(door.store.object(path).await?.as_ref()) {
        return Err(Fault::status(StatusCode::PRECONDITION_FAILED));
    }
    let writer = Writing::begin(&door.store, path, length).await?;
    let (writer, etag) = receive(writer, body, length).await?;
    if length.is_none() {
        quota::check(door, access, path, writer.written()).await?;
    }
    if let Some(expected) = call.header("etag").map(|tag| tag.trim_matches('"')).filter(|tag| !tag.is_empty())
        && !expected.eq_ignore_ascii_case(&etag)
    {
        return Err(Fault::status(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let content_type = wanted.content_type.unwrap_or_else(|| media_type::of_name(&path.object).to_owned());
    let head = ObjectHead {
        etag: etag.clone(),
        content_type,
        delete_at: wanted.delete_at,
        metadata: wanted.metadata,
        timestamp: synced,
        ..ObjectHead::default()
    };
    let made = writer.finish(door, head, &wanted.condition).await?;
    Ok(created(door, &etag, &made))
}

/// 201 with what was written.
pub(super) fn created(door: &SwiftDoor, etag: &str, made: &Made) -> Response<Body> {
    let mut response = reply::bare(StatusCode::CREATED);
    let headers = response.headers_mut();
    reply::set(headers, "etag", etag);
    reply::set_last_modified(headers, made.written.timestamp.seconds_ceil());
    version::show_made(door, made.stamp.as_ref(), headers);
    response
}

/// 413.
pub(super) fn too_large() -> Fault {
    Fault::because(StatusCode::PAYLOAD_TOO_LARGE, "Your request is too large.")
}

/// Whether the end of the body can be told without a stated length.
fn is_framed(call: &Call) -> bool {
    call.headers.contains_key("transfer-encoding") || call.version >= http::Version::HTTP_2
}

/// Takes the whole body; gives back the writer and the body's MD5 in hexadecimal digits.
async fn receive(mut writer: Writing, mut body: Incoming, length: Option<u64>) -> Result<(Writing, String), Fault> {
    let (mut digest, mut taken) = (Digester::new(false), 0_u64);
    loop {
        let frame = match tokio::time::timeout(CLIENT_SILENCE_MAX, body.frame()).await {
            Err(_) => return Err(Fault::status(StatusCode::REQUEST_TIMEOUT)),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, taken, "a client went away during its upload");
                return Err(Fault::client_gone());
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        taken += data.len() as u64;
        if taken > FILE_BYTES_MAX {
            return Err(too_large());
        }
        take(&mut writer, &mut digest, data).await?;
    }
    if length.is_some_and(|length| length != taken) {
        return Err(Fault::client_gone());
    }
    Ok((writer, hex::encode(digest.finish().await.md5)))
}

/// Writes and hashes one chunk, both at once.
pub(super) async fn take(writer: &mut Writing, digest: &mut Digester, data: Bytes) -> Result<(), Error> {
    if data.is_empty() {
        return Ok(());
    }
    let ((), written) = futures::join!(digest.update(data.clone()), writer.write(data));
    written
}
