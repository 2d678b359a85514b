//! Symbolic links: an upload without data and with `X-Symlink-Target` makes one, reading follows it, and `?symlink=get`
//! is about the link itself. Whoever follows must be allowed to read what it leads to; a link is no key.

use anello_storage::store::ObjectHead;
use anello_storage::{Content, ObjectInfo, ObjectPath, Precondition};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use md5::{Digest, Md5};

use super::SwiftDoor;
use super::call::Call;
use super::config::Middleware;
use super::fault::Fault;
use super::layer::Incoming;
use super::policy::Rule;
use super::upload::{self, Wanted};
use super::write::{self, Made};
use super::{conditions, copy, media_type, metadata, reply};
use crate::body::Body;
use crate::object::limits::LINKS_MAX;
use crate::object::link::{self, Link};
use crate::object::segments;

const TARGET: &str = "x-symlink-target";
const TARGET_ACCOUNT: &str = "x-symlink-target-account";
const TARGET_ETAG: &str = "x-symlink-target-etag";
const TARGET_BYTES: &str = "x-symlink-target-bytes";

/// Headers of a link, and where it keeps them.
const ITEMS: [(&str, &str); 4] = [
    (TARGET, link::TARGET),
    (TARGET_ACCOUNT, link::TARGET_ACCOUNT),
    (TARGET_ETAG, link::TARGET_ETAG),
    (TARGET_BYTES, link::TARGET_BYTES),
];

/// What a link leads to.
pub(super) struct Found {
    /// Where it is.
    pub(super) path: ObjectPath,
    /// What it is like.
    pub(super) info: ObjectInfo,
    /// The same place as the last link names it.
    pub(super) location: String,
}

/// Whether a request is about links themselves.
pub(super) fn asks_for_link(call: &Call) -> bool {
    call.query.get("symlink") == Some("get")
}

/// Whether a request makes a link.
pub(super) fn makes_link(door: &SwiftDoor, call: &Call) -> bool {
    door.config.offers(Middleware::Symlink) && call.headers.contains_key(TARGET)
}

/// Follows links from `first`, as far as the request's sender may read.
pub(super) async fn follow(door: &SwiftDoor, call: &Call, first: Link) -> Result<Found, Fault> {
    walk(door, call, first, LINKS_MAX, true).await
}

/// Goes from link to link; from one that is not static only with `through_dynamic`.
async fn walk(
    door: &SwiftDoor,
    call: &Call,
    first: Link,
    count_max: usize,
    through_dynamic: bool,
) -> Result<Found, Fault> {
    let mut link = first;
    for _ in 0..count_max {
        let Link { path, location, etag: wanted } = link;
        let at = |fault: Fault| fault.with("content-location", &location);
        let allowed = door.authorize(call, Rule::ObjectRead, &path.account, Some(&path.container)).await;
        allowed.map_err(at)?;
        let info = door.store.object(&path).await?.ok_or_else(|| at(Fault::missing()))?;
        let next = link::of(&info, &path.account).filter(|link| through_dynamic || link.etag.is_some());
        let tag = next.as_ref().and_then(|link| link.etag.as_deref()).unwrap_or_else(|| link::tag_of(&info));
        if let Some(wanted) = wanted.filter(|wanted| wanted != tag) {
            let detail = match next {
                Some(_) => "X-Symlink-Target-Etag headers do not match".to_owned(),
                None => format!("Object Etag '{tag}' does not match X-Symlink-Target-Etag header '{wanted}'"),
            };
            return Err(at(Fault::because(StatusCode::CONFLICT, detail)));
        }
        match next {
            Some(next) => link = next,
            None => return Ok(Found { path, info, location }),
        }
    }
    let detail = format!("Too many levels of symbolic links, maximum allowed is {LINKS_MAX}");
    Err(Fault::because(StatusCode::CONFLICT, detail))
}

/// The object at a path, or what it leads to.
pub(super) async fn find(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
) -> Result<Option<(ObjectPath, ObjectInfo)>, Fault> {
    let Some(info) = door.store.object(path).await? else { return Ok(None) };
    match link::of(&info, &path.account) {
        None => Ok(Some((path.clone(), info))),
        Some(link) => match follow(door, call, link).await {
            Ok(found) => Ok(Some((found.path, found.info))),
            Err(fault) if fault.status_code() == StatusCode::NOT_FOUND => Ok(None),
            Err(fault) => Err(fault),
        },
    }
}

/// PUT of a link.
pub(super) async fn put(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
    body: Incoming,
) -> Result<Response<Body>, Fault> {
    let is_empty = match call.content_length()? {
        Some(length) => length == 0,
        None => Limited::new(body, 1).collect().await.is_ok_and(|body| body.to_bytes().is_empty()),
    };
    if !is_empty {
        return Err(Fault::invalid("Symlink requests require a zero byte body"));
    }
    let wanted = Wanted::of(call, path, conditions::for_write(call)?)?;
    let target = target(call, path)?;
    let mut head =
        ObjectHead { delete_at: wanted.delete_at, metadata: wanted.metadata.clone(), ..ObjectHead::default() };
    head.timestamp = call.origin.synced.map(|synced| synced.timestamp);
    let mut set = |name: &str, value: String| metadata::set(&mut head.metadata, name.to_owned(), value);
    set(link::TARGET, target.quoted);
    if let Some(account) = target.quoted_account {
        set(link::TARGET_ACCOUNT, account);
    }
    let mut content_type = wanted.content_type;
    if let Some(etag) = target.link.etag.as_ref().filter(|_| call.origin.synced.is_some()) {
        // What it leads to may be copied later.
        set(link::TARGET_ETAG, etag.clone());
        if let Some(bytes) = call.header(TARGET_BYTES) {
            set(link::TARGET_BYTES, bytes.to_owned());
        }
    } else if let Some(etag) = &target.link.etag {
        let found = walk(door, call, target.link.clone(), LINKS_MAX + 1, false).await;
        let found = found.map_err(|fault| match fault.status_code() {
            StatusCode::NOT_FOUND => Fault::because(StatusCode::CONFLICT, "X-Symlink-Target does not exist")
                .with("content-location", &target.link.location),
            _ => fault,
        })?;
        set(link::TARGET_ETAG, etag.clone());
        set(link::TARGET_BYTES, found.info.size.to_string());
        if segments::is_manifest(&found.info) {
            set(link::TARGET_SLO_ETAG, found.info.etag.clone());
        }
        content_type = content_type.or(Some(found.info.content_type));
    } else if content_type.is_none() && !call.is_set("x-detect-content-type") {
        content_type = Some("application/symlink".into());
    }
    head.content_type = content_type.unwrap_or_else(|| media_type::of_name(&path.object).to_owned());
    let (etag, made) = store(door, path, head, &wanted.condition).await?;
    Ok(upload::created(door, &etag, &made))
}

/// Writes a link; its items are in the metadata.
async fn store(
    door: &SwiftDoor,
    path: &ObjectPath,
    mut head: ObjectHead,
    condition: &Precondition,
) -> Result<(String, Made), Fault> {
    let etag = hex::encode(Md5::digest(b""));
    (head.etag, head.size, head.content) = (etag.clone(), Some(0), Content::Segments);
    Ok((etag, write::record(door, path, Bytes::new(), head, condition).await?))
}

/// Copies a link as such: it names the same container and object, in the account that it is in then, or that the request
/// says.
pub(super) async fn copy(
    door: &SwiftDoor,
    call: &Call,
    info: &ObjectInfo,
    to: &ObjectPath,
    mut head: ObjectHead,
    condition: &Precondition,
) -> Result<(String, Made), Fault> {
    for (name, value) in info.metadata.iter().filter(|(name, _)| name.starts_with("x-object-sysmeta-symlink-")) {
        metadata::set(&mut head.metadata, name.clone(), value.clone());
    }
    if call.header(TARGET_ACCOUNT).is_some_and(|account| !account.is_empty()) {
        let account = copy::account_of(call, TARGET_ACCOUNT, &to.account)?;
        metadata::set(&mut head.metadata, link::TARGET_ACCOUNT.into(), reply::quoted(&account));
    }
    store(door, to, head, condition).await
}

/// POST has changed the link and not what it leads to: 307 says where that is.
pub(super) fn redirect(info: &ObjectInfo, account: &str) -> Option<Fault> {
    let link = link::of(info, account)?;
    let detail =
        "The requested POST was applied to a symlink. POST directly to the target to apply requested metadata.";
    let fault = Fault::because(StatusCode::TEMPORARY_REDIRECT, detail).with("location", &link.location);
    Some(match &link.etag {
        Some(etag) => fault.with(TARGET_ETAG, etag),
        None => fault,
    })
}

/// Refuses a POST that would make a link.
pub(super) fn check_post(call: &Call) -> Result<(), Fault> {
    match call.headers.contains_key(TARGET) {
        true => Err(Fault::invalid("A PUT request is required to set a symlink target")),
        false => Ok(()),
    }
}

/// Says what a link is, to whoever asks for the link itself.
pub(super) fn show(info: &ObjectInfo, headers: &mut HeaderMap) {
    for (header, name) in ITEMS {
        if let Some(value) = link::item(info, name).filter(|_| link::is_link(info)) {
            reply::set(headers, header, value);
        }
    }
}

/// What a request wants a link to lead to.
struct Target {
    link: Link,
    quoted: String,
    quoted_account: Option<String>,
}

fn target(call: &Call, path: &ObjectPath) -> Result<Target, Fault> {
    let text = call.header(TARGET).unwrap_or("");
    let malformed = || {
        let detail = "X-Symlink-Target header must be of the form <container name>/<object name>";
        Fault::because(StatusCode::PRECONDITION_FAILED, detail)
    };
    if text.starts_with('/') || text.to_ascii_lowercase().starts_with("%2f") {
        return Err(malformed());
    }
    let (container, object) = copy::split("X-Symlink-Target", text).map_err(|_| malformed())?;
    let quoted = reply::quoted(&format!("{container}/{object}"));
    let named = call.header(TARGET_ACCOUNT).filter(|account| !account.is_empty());
    let account = copy::account_of(call, TARGET_ACCOUNT, &path.account)?;
    let quoted_account = named.map(|_| reply::quoted(&account));
    let location = format!("/v1/{}/{quoted}", reply::quoted(&account));
    let target = ObjectPath::new(account, container, object);
    if target == *path {
        return Err(Fault::invalid("Symlink cannot target itself"));
    }
    let etag = call.header(TARGET_ETAG).map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
    let etag = etag.filter(|etag| !etag.is_empty());
    if etag.as_ref().is_some_and(|etag| etag.contains([';', '"', '\\'])) {
        return Err(Fault::invalid("Bad X-Symlink-Target-Etag format"));
    }
    Ok(Target { link: Link { path: target, location, etag }, quoted, quoted_account })
}
