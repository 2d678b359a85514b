//! Object versioning: containers that keep every version of their objects (`X-Versions-Enabled`), and requests about
//! one of them (`version-id`). [`crate::object::versions`] keeps them, for S3 as well; whether or not this door offers
//! versioning, it writes to such containers as they want it.
//!
//! Swift and S3 differ in what a deletion leaves: by Swift a version that is deleted by its id is followed by nothing,
//! and while keeping is suspended there are no delete markers.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use anello_storage::{ContainerInfo, Error, Metadata, ObjectInfo, ObjectPath, Precondition};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Limited};

use super::SwiftDoor;
use super::call::{Call, is_true};
use super::config::Middleware;
use super::fault::Fault;
use super::layer::Incoming;
use super::policy::Rule;
use super::{expiry, reply, versioned};
use crate::body::Body;
use crate::object::versions::{self, Behind, Found, MARKER_TYPE, Stamp, VersionId, Versions};
use crate::object::{self, Reader, lock};

const ENABLED: &str = "x-versions-enabled";
const VERSION: &str = "x-object-version-id";
const CURRENT: &str = "x-object-current-version-id";

/// Swift's ids are times: a number of seconds with at most so many digits behind the point.
const TIME_DIGITS: usize = 5;

/// The version that a request names.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    id: VersionId,
    text: String,
}

impl Asked {
    /// Reads `version-id`.
    pub(super) fn of(call: &Call) -> Result<Option<Self>, Fault> {
        let Some(text) = call.query.get("version-id").filter(|text| !text.is_empty()) else { return Ok(None) };
        let id = parse(text).ok_or_else(|| Fault::invalid("Invalid version parameter"))?;
        Ok(Some(Self { id, text: text.to_owned() }))
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An id of ours, or a time as Swift's ids are: of such a version we have none, but it has its place among ours.
pub(super) fn parse(text: &str) -> Option<VersionId> {
    VersionId::parse(text).or_else(|| {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let fits = !seconds.is_empty() && fraction.len() <= TIME_DIGITS && is_number(seconds) && is_number(fraction);
        let ticks = format!("{seconds}{fraction:0<TIME_DIGITS$}").parse::<u64>().ok().filter(|_| fits)?;
        VersionId::parse(&format!("{:016x}{:016x}", u64::MAX - ticks, 0))
    })
}

/// The rule for a request that names a version: lists of containers say nothing of what is not current.
pub(super) fn rule(call: &Call, rule: Rule) -> Result<Rule, Fault> {
    let is_kept = Asked::of(call)?.is_some_and(|asked| asked.id != VersionId::Null);
    Ok(match rule {
        Rule::ObjectRead if is_kept => Rule::VersionRead,
        Rule::ObjectWrite if is_kept && call.method == http::Method::DELETE => Rule::VersionDelete,
        rule => rule,
    })
}

pub(super) fn is_offered(door: &SwiftDoor) -> bool {
    door.config.offers(Middleware::ObjectVersioning)
}

/// The versions of the objects in a path's container; `None` where it never kept any, or is not there.
pub(super) async fn of(door: &SwiftDoor, path: &ObjectPath) -> Result<Option<Versions>, Fault> {
    let info = door.store.container_settings(&path.account, &path.container).await?;
    Ok(info.and_then(|info| Versions::of(&door.store, &path.account, &path.container, &info)))
}

/// The container's versions for a request that names one; `None` where it never kept any and the request is about the
/// only version that there is.
async fn versions_for(door: &SwiftDoor, path: &ObjectPath, asked: &Asked) -> Result<Option<Versions>, Fault> {
    let versions = of(door, path).await?;
    if versions.is_none() && asked.id != VersionId::Null {
        return Err(Fault::invalid("version-aware operations require that the container is versioned"));
    }
    Ok(versions)
}

/// What a container is to be like.
pub(super) fn container_changes(
    door: &SwiftDoor,
    call: &Call,
    (account, container): (&str, &str),
    info: Option<&ContainerInfo>,
) -> Result<Metadata, Fault> {
    let Some(wanted) = call.header(ENABLED).filter(|_| is_offered(door)) else { return Ok(Metadata::new()) };
    let is_enabled = is_true(wanted);
    if info.is_some_and(|info| versioned::has_archive(&info.metadata)) || versioned::asks_for_archive(call) {
        let detail = "Cannot enable object versioning on a container that is already using the legacy versioned writes \
                      feature.";
        return Err(Fault::invalid(detail));
    }
    if !is_enabled && info.is_some_and(lock::is_enabled) {
        let detail = "Versions of a container with Object Lock are kept for ever.";
        return Err(Fault::because(StatusCode::CONFLICT, detail));
    }
    Ok(vec![versions::changed(info, account, container, is_enabled)])
}

/// Says whether a container keeps versions.
pub(super) fn show_container(door: &SwiftDoor, info: &ContainerInfo, headers: &mut HeaderMap) {
    if let Some(is_enabled) = versions::is_enabled(info).filter(|_| is_offered(door)) {
        reply::set(headers, ENABLED, if is_enabled { "True" } else { "False" });
    }
}

/// Bytes of the versions that a container keeps beside its objects.
pub(super) async fn kept_bytes(
    door: &SwiftDoor,
    account: &str,
    container: &str,
    info: &ContainerInfo,
) -> Result<u64, Error> {
    match Versions::of(&door.store, account, container, info) {
        Some(versions) => versions.kept_bytes().await,
        None => Ok(0),
    }
}

/// An object as a request names it.
pub(super) struct Opened {
    /// Where its record is.
    pub(super) path: ObjectPath,
    /// What it is like.
    pub(super) info: ObjectInfo,
    /// Its data, where they were asked for.
    pub(super) reader: Option<Reader>,
}

/// Finds the object at a path, or the version of it that a request names.
pub(super) async fn find(door: &SwiftDoor, call: &Call, path: &ObjectPath) -> Result<Option<Opened>, Fault> {
    open(door, call, path, false).await
}

/// The same; `with_data` opens it for reading.
pub(super) async fn open(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
    with_data: bool,
) -> Result<Option<Opened>, Fault> {
    if let Some(asked) = Asked::of(call)?
        && let Some(versions) = versions_for(door, path, &asked).await?
    {
        if !with_data {
            let Some((path, info)) = versions.locate(&path.object, &asked.id).await? else { return Ok(None) };
            return match Stamp::of(&info).is_marker {
                true => Err(is_marker(&asked)),
                false => Ok(Some(Opened { path, info, reader: None })),
            };
        }
        return match versions.open_at(&path.object, &asked.id).await? {
            None => Ok(None),
            Some((_, Found::Marker(_))) => Err(is_marker(&asked)),
            Some((path, Found::Object(reader))) => {
                Ok(Some(Opened { path, info: reader.info().clone(), reader: Some(reader) }))
            }
        };
    }
    let expired = expiry::expired(door, call);
    let (info, reader) = match with_data {
        false => (door.store.object_as(path, expired).await?, None),
        true => {
            let reader = object::open_as(&door.store, path, expired).await?;
            (reader.as_ref().map(|reader| reader.info().clone()), reader)
        }
    };
    Ok(info.map(|info| Opened { path: path.clone(), info, reader }))
}

/// A delete marker is no object.
fn is_marker(asked: &Asked) -> Fault {
    on(Fault::missing().with("content-type", MARKER_TYPE), &asked.text)
}

/// The id that an answer about an object shows: the one that was asked for, or the object's own.
pub(super) fn shown(door: &SwiftDoor, call: &Call, info: &ObjectInfo) -> Result<Option<String>, Fault> {
    let own = versions::id_of(info).map(|id| id.to_string()).filter(|_| is_offered(door));
    Ok(Asked::of(call)?.map(|asked| asked.text).or(own))
}

/// Shows which version was read.
pub(super) fn show(version: &str, headers: &mut HeaderMap) {
    reply::set(headers, VERSION, version);
}

/// The same on a failure.
pub(super) fn on(fault: Fault, version: &str) -> Fault {
    fault.with(VERSION, version)
}

/// The address of a version.
pub(super) fn location(path: &ObjectPath, version: &str) -> String {
    let path = reply::quoted(&format!("/v1/{}/{}/{}", path.account, path.container, path.object));
    format!("{path}?version-id={version}")
}

/// Shows which version was made: those without an id of their own are not told.
pub(super) fn show_made(door: &SwiftDoor, stamp: Option<&Stamp>, headers: &mut HeaderMap) {
    if let Some(VersionId::Unique(id)) = stamp.map(|stamp| &stamp.id).filter(|_| is_offered(door)) {
        show(id, headers);
    }
}

/// PUT that names a version: it becomes the current one again, as the version that it is.
pub(super) async fn restore(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
    asked: &Asked,
    body: Incoming,
) -> Result<Response<Body>, Fault> {
    let versions = versions_for(door, path, asked).await?;
    let Some(versions) = versions.filter(|_| asked.id != VersionId::Null) else {
        return Err(Fault::invalid("Invalid version parameter"));
    };
    let is_empty = match call.content_length()? {
        Some(length) => length == 0,
        None => Limited::new(body, 1).collect().await.is_ok_and(|body| body.to_bytes().is_empty()),
    };
    if !is_empty {
        return Err(Fault::invalid("PUT version-id requests require a zero byte body"));
    }
    let Some(info) = versions.restore(&path.object, &asked.id).await? else {
        return Err(Fault::because(StatusCode::NOT_FOUND, "The specified version does not exist"));
    };
    let mut response = reply::bare(StatusCode::CREATED);
    let headers = response.headers_mut();
    reply::set(headers, "etag", &info.etag);
    reply::set_last_modified(headers, info.meta_timestamp.seconds_ceil());
    show(&asked.text, headers);
    Ok(response)
}

/// What a deletion did.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Whether there was anything.
    pub(super) was_there: bool,
    /// The version that was deleted, or the delete marker that was made.
    version: Option<String>,
    /// The current version, where another was deleted.
    current: Option<String>,
}

impl Done {
    fn of(was_there: bool) -> Self {
        Self { was_there, ..Self::default() }
    }

    /// The answer that says it.
    pub(super) fn answer(self) -> Response<Body> {
        let mut response = match self.was_there {
            true => reply::bare(StatusCode::NO_CONTENT),
            false => Fault::missing().into_response(),
        };
        let headers = response.headers_mut();
        if let Some(version) = &self.version {
            show(version, headers);
        }
        if let Some(current) = &self.current {
            reply::set(headers, CURRENT, current);
        }
        response
    }
}

/// Deletes an object as its container wants it, or the version of it that is named.
pub(super) async fn delete(
    door: &SwiftDoor,
    path: &ObjectPath,
    asked: Option<&Asked>,
    condition: &Precondition,
) -> Result<Done, Fault> {
    let versions = match asked {
        Some(asked) => versions_for(door, path, asked).await?,
        None => of(door, path).await?,
    };
    let Some(versions) = versions else {
        let was_there = versioned::delete(door, path, condition).await?;
        return Ok(Done::of(was_there));
    };
    let is_locked = AtomicBool::new(false);
    let may = |info: &ObjectInfo| {
        let must_stay = lock::forbids(info, door.store.clock().wall().system_time().into(), false);
        is_locked.store(must_stay, Ordering::Relaxed);
        if must_stay || !condition.holds(Some(info)) { Err(Error::Precondition) } else { Ok(()) }
    };
    let key = &path.object;
    let done = match asked {
        None if versions.is_enabled() => versions.delete(key, condition).await.map(|marked| {
            let version = Some(marked.stamp.id.to_string()).filter(|_| is_offered(door));
            Done { was_there: marked.was_there, version, current: None }
        }),
        None => versions.unlink(key, condition, may).await.map(Done::of),
        Some(asked) => match versions.delete_version(key, &asked.id, Behind::Nothing, may).await {
            // By Swift `null` is whatever has the object's name.
            Ok(None) if asked.id == VersionId::Null => versions.unlink(key, condition, may).await.map(Done::of),
            Ok(deleted) => {
                let current = door.store.object(path).await?;
                let current = current.map_or(VersionId::Null, |info| Stamp::of(&info).id).to_string();
                let version = Some(asked.text.clone());
                Ok(Done { was_there: deleted.is_some(), version, current: Some(current) })
            }
            Err(error) => Err(error),
        },
    };
    match done {
        Err(Error::Precondition) if is_locked.load(Ordering::Relaxed) => Err(locked()),
        done => Ok(done?),
    }
}

/// 403 for what Object Lock protects.
pub(super) fn locked() -> Fault {
    Fault::because(StatusCode::FORBIDDEN, "The object is protected by Object Lock.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ours_or_times() {
        let ours = "fffffffffffffffe0123456789abcdef";
        assert_eq!(parse(ours).map(|id| id.to_string()).as_deref(), Some(ours));
        assert_eq!(parse("null"), Some(VersionId::Null));
        let (earlier, later) = (parse("1234567890.12345"), parse("1234567890.2"));
        assert!(later.is_some() && later < earlier, "later ones sort first");
        assert_eq!(parse("1234567890"), parse("1234567890.00000"));
        for text in ["bad", "", ".5", "1.123456", "1.-5", "+1", "99999999999999999999", "1.2.3"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
