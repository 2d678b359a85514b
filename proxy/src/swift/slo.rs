//! Static large objects: an object whose data are a list of segments (the manifest). A PUT with
//! `?multipart-manifest=put` checks every segment and stores the list in Swift's own stored form; the
//! object's tag is the MD5 of its segments' tags, its size theirs together.

use std::collections::BTreeMap;
use std::sync::Arc;

use anello_storage::store::ObjectHead;
use anello_storage::{Content, ObjectInfo, ObjectPath, Precondition};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use md5::{Digest, Md5};

use super::SwiftDoor;
use super::call::{Call, is_true};
use super::fault::Fault;
use super::layer::Incoming;
use super::limits::{SLO_CHECKS_AT_ONCE, SLO_MANIFEST_BYTES_MAX, SLO_SEGMENTS_MAX};
use super::listing::Format;
use super::manifest::{self, Asked, Entry};
use super::policy::Rule;
use super::report::{self, Report};
use super::upload::{self, Wanted};
use super::write::{self, Made};
use super::{conditions, media_type, metadata, reply, symlink, version};
use crate::body::Body;
use crate::object::deletions::Job;
use crate::object::segments::{self, MANIFEST_ETAG, Piece, Stored, segment_path};

/// PUT of a manifest. A client that asks for a heartbeat expects 202 whatever comes, and the outcome in the body.
pub(super) async fn put(
    door: &SwiftDoor,
    call: &Arc<Call>,
    path: &ObjectPath,
    body: Incoming,
) -> Result<Response<Body>, Fault> {
    let format = Format::accepted(call.header("accept").unwrap_or("")).unwrap_or(Format::Plain);
    if call.query.get("heartbeat").is_some_and(is_true) {
        let (door, call, path) = (door.clone(), call.clone(), path.clone());
        let work = async move { report::upload(put_now(&door, &call, &path, body).await) };
        return Ok(report::later(StatusCode::ACCEPTED, format, "upload", work.boxed()));
    }
    match put_now(door, call, path, body).await? {
        Ok((etag, made)) => Ok(upload::created(door, &etag, &made)),
        Err(errors) => Ok(report::refusal(format, &errors)),
    }
}

async fn put_now(door: &SwiftDoor, call: &Call, path: &ObjectPath, body: Incoming) -> Result<Outcome, Fault> {
    let wanted = Wanted::of(call, path, conditions::for_write(call)?)?;
    let text = match Limited::new(body, SLO_MANIFEST_BYTES_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(upload::too_large()),
        Err(_) => return Err(Fault::client_gone()),
    };
    let content_type = wanted.content_type.clone().unwrap_or_else(|| media_type::of_name(&path.object).to_owned());
    let head =
        ObjectHead { content_type, delete_at: wanted.delete_at, metadata: wanted.metadata, ..ObjectHead::default() };
    check_and_store(door, call, path, &text, head, &wanted.condition).await
}

/// PUT of a manifest that another cluster copies here as it is stored there: its segments may come later.
pub(super) async fn put_stored(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
    body: Incoming,
) -> Result<Response<Body>, Fault> {
    let wanted = Wanted::of(call, path, conditions::for_write(call)?)?;
    let text = match Limited::new(body, SLO_MANIFEST_BYTES_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(upload::too_large()),
        Err(_) => return Err(Fault::client_gone()),
    };
    let items = segments::items(&text).ok_or_else(|| Fault::invalid("Invalid SLO Manifest"))?;
    let head = ObjectHead {
        content_type: wanted.content_type.unwrap_or_else(|| media_type::of_name(&path.object).to_owned()),
        delete_at: wanted.delete_at,
        metadata: wanted.metadata,
        timestamp: call.origin.synced.map(|synced| synced.timestamp),
        ..ObjectHead::default()
    };
    let (etag, made) = store(door, call, path, head, &wanted.condition, items).await?;
    Ok(upload::created(door, &etag, &made))
}

/// Names of segments, and what is wrong with them.
type Errors = Vec<(String, String)>;

/// A manifest's tag in quotes and what was made of it, or what is wrong with its segments.
pub(super) type Outcome = Result<(String, Made), Errors>;

/// Takes a client's list.
async fn check_and_store(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
    text: &[u8],
    head: ObjectHead,
    condition: &Precondition,
) -> Result<Outcome, Fault> {
    let entries = manifest::parse(text, path)?;
    if entries.iter().filter(|entry| matches!(entry, Entry::Segment(_))).count() > SLO_SEGMENTS_MAX {
        let detail = format!("Number of object-backed segments must be <= {SLO_SEGMENTS_MAX}");
        return Err(Fault::because(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    match check(door, call, path, entries).await? {
        Ok(items) => Ok(Ok(store(door, call, path, head, condition, items).await?)),
        Err(errors) => Ok(Err(errors)),
    }
}

/// Looks at every segment; gives the items to store, or what is wrong with which.
async fn check(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
    entries: Vec<Entry>,
) -> Result<Result<Vec<Stored>, Errors>, Fault> {
    let count = entries.len();
    let checks = entries.into_iter().enumerate().map(|(at, entry)| async move {
        match entry {
            Entry::Inline(data) => Ok(Ok(Stored { data: Some(BASE64_STANDARD.encode(data)), ..Stored::default() })),
            Entry::Segment(asked) => {
                let found = check_segment(door, call, &path.account, &asked, at + 1 == count).await;
                found.map(|found| found.map_err(|reason| (asked.name.clone(), reason)))
            }
        }
    });
    // Collected in order; boxed because the compiler can't name closures over lifetimes this deep otherwise.
    let found: Vec<_> = stream::iter(checks).buffered(SLO_CHECKS_AT_ONCE).collect().await;
    let (mut items, mut errors) = (Vec::new(), Errors::new());
    for found in found {
        match found? {
            Ok(item) => items.push(item),
            Err(error) => errors.push(error),
        }
    }
    Ok(if errors.is_empty() { Ok(items) } else { Err(errors) })
}

async fn check_segment(
    door: &SwiftDoor,
    call: &Call,
    account: &str,
    asked: &Asked,
    is_last: bool,
) -> Result<Result<Stored, String>, Fault> {
    let Some(path) = segment_path(account, &asked.name) else { return Ok(Err("404 Not Found".into())) };
    if let Err(fault) = door.authorize(call, Rule::ObjectRead, account, Some(&path.container)).await {
        return Ok(Err(fault.line()));
    }
    let info = match symlink::find(door, call, &path).await {
        Ok(Some((_, info))) => info,
        Ok(None) => return Ok(Err("404 Not Found".into())),
        Err(fault) => return Ok(Err(fault.line())),
    };
    if asked.size.is_some_and(|size| size != info.size) {
        return Ok(Err("Size Mismatch".into()));
    }
    if asked.etag.as_ref().is_some_and(|etag| *etag != info.etag) {
        return Ok(Err("Etag Mismatch".into()));
    }
    if info.size == 0 && !is_last {
        return Ok(Err("Too Small; each segment must be at least 1 byte.".into()));
    }
    let range = match asked.range.as_ref().map(|range| range.within(info.size)) {
        None => None,
        Some(None) => return Ok(Err("Unsatisfiable Range".into())),
        // A range that is all of it is none.
        Some(Some(range)) if range == (0..info.size) => None,
        Some(Some(range)) => Some(format!("{}-{}", range.start, range.end - 1)),
    };
    Ok(Ok(Stored {
        name: Some(format!("/{}", asked.name.trim_start_matches('/'))),
        hash: Some(info.etag.clone()),
        bytes: Some(info.size),
        range,
        content_type: Some(info.content_type.clone()),
        last_modified: Some(info.meta_timestamp.iso8601()),
        sub_slo: segments::is_manifest(&info).then_some(true),
        data: None,
    }))
}

/// Stores the manifest.
async fn store(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
    mut head: ObjectHead,
    condition: &Precondition,
    items: Vec<Stored>,
) -> Result<(String, Made), Fault> {
    let (mut digest, mut size) = (Md5::new(), 0_u64);
    for item in &items {
        let piece = segments::piece(&path.account, item.clone()).ok_or_else(|| Fault::invalid("Invalid manifest"))?;
        size = size.checked_add(piece.size()).ok_or_else(upload::too_large)?;
        match (&piece, &item.range) {
            (Piece::Inline(data), _) => digest.update(hex::encode(Md5::digest(data)).as_bytes()),
            (Piece::Segment(segment), None) => digest.update(segment.etag.as_bytes()),
            (Piece::Segment(segment), Some(range)) => digest.update(format!("{}:{range};", segment.etag).as_bytes()),
        }
    }
    let etag = hex::encode(digest.finalize());
    if let Some(expected) = call.header("etag").map(|tag| tag.trim_matches('"')).filter(|tag| !tag.is_empty())
        && !expected.eq_ignore_ascii_case(&etag)
    {
        return Err(Fault::status(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let text = serde_json::to_vec(&items).expect("strings and numbers are JSON");
    metadata::set(&mut head.metadata, MANIFEST_ETAG.into(), hex::encode(Md5::digest(&text)));
    head.etag = etag.clone();
    head.size = Some(size);
    head.content = Content::Segments;
    let made = write::record(door, path, text.into(), head, condition).await?;
    Ok((format!("\"{etag}\""), made))
}

/// Copies a manifest as such. Its segments are looked at again, for in another account they are others.
pub(super) async fn copy(
    door: &SwiftDoor,
    call: &Call,
    from: (&ObjectPath, &ObjectInfo),
    to: &ObjectPath,
    head: ObjectHead,
    condition: &Precondition,
) -> Result<(String, Made), Fault> {
    let (path, info) = from;
    let text = segments::text(&door.store, path, info.timestamp).await?;
    let list = manifest::raw(segments::items(&text).unwrap_or_default());
    let outcome = check_and_store(door, call, to, list.as_bytes(), head, condition).await?;
    outcome.map_err(|errors| Fault::invalid(report::plain_errors(&errors)))
}

/// DELETE with `?multipart-manifest=delete`: the segments, then the manifest.
pub(super) async fn delete(door: &SwiftDoor, call: &Call, path: &ObjectPath) -> Result<Response<Body>, Fault> {
    let format = Format::accepted(call.header("accept").unwrap_or("")).unwrap_or(Format::Plain);
    let answer = |report: Report| Ok(report.answer(format, "delete"));
    let quoted = |path: &ObjectPath| format!("/{}/{}", path.container, path.object);
    let asked = version::Asked::of(call)?;
    if door.config.slo.allow_async_delete && call.query.get("async").is_some_and(is_true) {
        return delete_later(door, call, path, asked.as_ref()).await;
    }
    let found = match version::find(door, call, path).await {
        Err(fault) if fault.status_code() == StatusCode::NOT_FOUND => None,
        found => found?,
    };
    let Some(version::Opened { path: record, info, .. }) = found else {
        return answer(report::deletion(StatusCode::OK, 0, 1, Errors::new()));
    };
    if !segments::is_manifest(&info) {
        let errors = vec![(quoted(path), "Not an SLO manifest".into())];
        return answer(report::deletion(StatusCode::BAD_REQUEST, 0, 0, errors));
    }
    let (mut deleted, mut missing, mut errors) = (0, 0, Errors::new());
    // Depth first, so that a manifest goes after everything that only it leads to.
    let mut waiting = vec![(path.clone(), true)];
    let of_segments = |pieces: Vec<Piece>| {
        pieces.into_iter().filter_map(|piece| match piece {
            Piece::Segment(segment) => Some((segment.path, false)),
            Piece::Inline(_) => None,
        })
    };
    waiting.extend(of_segments(segments::pieces(&door.store, &record, info.timestamp).await?));
    while let Some((path, is_emptied)) = waiting.pop() {
        if door.authorize(call, Rule::ObjectWrite, &path.account, Some(&path.container)).await.is_err() {
            errors.push((quoted(&path), "403 Forbidden".into()));
            continue;
        }
        if !is_emptied
            && let Some(info) = door.store.object(&path).await?
            && segments::is_manifest(&info)
        {
            let pieces = segments::pieces(&door.store, &path, info.timestamp).await?;
            waiting.push((path, true));
            waiting.extend(of_segments(pieces));
            continue;
        }
        // What is left last is the manifest itself.
        let asked = asked.as_ref().filter(|_| waiting.is_empty());
        match version::delete(door, &path, asked, &Precondition::default()).await {
            Ok(done) if done.was_there => deleted += 1,
            Ok(_) => missing += 1,
            Err(fault) => errors.push((quoted(&path), fault.line())),
        }
    }
    let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    answer(report::deletion(status, deleted, missing, errors))
}

/// The same with `async`: the manifest at once, and its segments in the background, which are written down first.
async fn delete_later(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
    asked: Option<&version::Asked>,
) -> Result<Response<Body>, Fault> {
    let found = version::find(door, call, path).await?.ok_or_else(Fault::missing)?;
    if !segments::is_manifest(&found.info) {
        return Err(Fault::invalid("Not an SLO manifest"));
    }
    let text = segments::text(&door.store, &found.path, found.info.timestamp).await?;
    let items = segments::items(&text).unwrap_or_default();
    if items.iter().any(|item| item.sub_slo == Some(true)) {
        return Err(Fault::invalid("No segments may be large objects."));
    }
    let places = items.iter().filter_map(|item| segment_path(&path.account, item.name.as_deref()?));
    let mut by_container: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for place in places {
        by_container.entry(place.container).or_default().push(place.object);
    }
    if by_container.len() > 1 {
        let names: Vec<_> = by_container.keys().map(|name| format!("\"{}\"", reply::quoted(name))).collect();
        let names = names.join(", ");
        return Err(Fault::invalid(format!("All segments must be in one container. Found segments in {names}")));
    }
    if let Some((container, objects)) = by_container.into_iter().next() {
        door.authorize(call, Rule::ObjectWrite, &path.account, Some(&container)).await?;
        let until = door.store.clock().tick().ticks();
        Job { account: path.account.clone(), container, objects, until }.store(&door.store).await?;
    }
    Ok(version::delete(door, path, asked, &Precondition::default()).await?.answer())
}
