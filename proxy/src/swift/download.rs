//! GET and HEAD of an object: conditions, ranges, and the body that streams from disk to socket.

use std::ops::Range;
use std::sync::Arc;

use anello_storage::{Error, ObjectInfo, ObjectPath};
use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use md5::{Digest, Md5};

use super::SwiftDoor;
use super::call::Call;
use super::conditions::{self, Conditions};
use super::fault::Fault;
use super::range::Wanted;
use super::source::{Chunks, Form, Source};
use super::target::Target;
use super::{large, metadata, reply, symlink, version};
use crate::body::{self, Body};
use crate::object::segments;

/// GET and HEAD.
pub(super) async fn read(door: &SwiftDoor, call: &Arc<Call>, path: &ObjectPath) -> Result<Response<Body>, Fault> {
    let is_head = call.method == http::Method::HEAD;
    let mut source = Source::open(door, call, path).await?.ok_or_else(Fault::missing)?;
    if large::asks_for_manifest(call) && source.form == Form::Static {
        let mut response = manifest(door, call, source.path(), &source.info).await?;
        show_location(&source, call, response.headers_mut());
        return Ok(response);
    }
    let last_modified = source.info.meta_timestamp.seconds_ceil();
    if let Some(status) = Conditions::of(call).refuse(&source.info.etag, last_modified) {
        let mut response = Fault::status(status).into_response();
        show(&source, call, response.headers_mut());
        if status != StatusCode::NOT_MODIFIED {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
        }
        return Ok(response);
    }
    let size = source.info.size;
    let has_range = !is_head && conditions::if_range_holds(call, &source.info.etag, last_modified);
    let range = if has_range { call.header("range") } else { None };
    if let Some(part) = part_of(door, call, &mut source).await? {
        return one_of(door, call, &mut source, part).await;
    }
    let wanted = match Wanted::parse(range, size) {
        // As in Swift, which can't read several ranges of what it has to look for first.
        Wanted::Parts(parts) if parts.len() > 1 && source.form == Form::Dynamic => Wanted::Whole,
        wanted => wanted,
    };
    let mut response = match wanted {
        Wanted::Nothing => return Ok(unsatisfiable(&source, call)),
        Wanted::Whole if is_head => with_length(StatusCode::OK, body::empty(), size),
        Wanted::Whole => with_length(StatusCode::OK, body_of(open(door, call, &mut source, None).await?), size),
        Wanted::Parts(mut parts) if parts.len() == 1 => one_part(door, call, &mut source, parts.remove(0)).await?,
        Wanted::Parts(parts) => return many_parts(door, call, source, parts).await,
    };
    show(&source, call, response.headers_mut());
    Ok(response)
}

/// The part that `?part-number=` asks for: a segment's place in the whole, and how many there are. Only
/// static large objects have parts; of others it asks for nothing.
pub(super) async fn part_of(
    door: &SwiftDoor,
    call: &Call,
    source: &mut Source,
) -> Result<Option<(Range<u64>, usize)>, Fault> {
    let Some(text) = call.query.get("part-number").filter(|_| source.form == Form::Static) else {
        return Ok(None);
    };
    let number = text.parse::<usize>().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| Fault::invalid("Part number must be an integer greater than 0"))?;
    if call.headers.contains_key("range") {
        return Err(Fault::invalid("Range requests are not supported with part number queries"));
    }
    let pieces = source.pieces(door).await?;
    let Some(piece) = pieces.get(number - 1) else {
        let count = pieces.len();
        let fault = no_such_part(call, &source.info, count);
        return Err(match &source.version {
            Some(version) => version::on(fault, version),
            None => fault,
        });
    };
    let start = pieces[..number - 1].iter().map(segments::Piece::size).sum();
    Ok(Some((start..start + piece.size(), pieces.len())))
}

/// 416 for a part behind the last.
fn no_such_part(call: &Call, info: &ObjectInfo, count: usize) -> Fault {
    let detail = "The requested part number is not satisfiable";
    let fault = Fault::because(StatusCode::RANGE_NOT_SATISFIABLE, detail)
        .with("content-range", &format!("bytes */{}", info.size))
        .with("etag", &format!("\"{}\"", info.etag))
        .with("x-static-large-object", "True")
        .with("x-parts-count", &count.to_string())
        .with("last-modified", &reply::http_date(info.meta_timestamp.seconds_ceil()));
    if call.method == http::Method::HEAD { fault.with("content-length", "0") } else { fault }
}

/// 206 with one part.
async fn one_of(
    door: &SwiftDoor,
    call: &Arc<Call>,
    source: &mut Source,
    (range, count): (Range<u64>, usize),
) -> Result<Response<Body>, Fault> {
    let mut response = if call.method == http::Method::HEAD {
        let mut response = with_length(StatusCode::PARTIAL_CONTENT, body::empty(), range.end - range.start);
        reply::set(response.headers_mut(), "content-range", content_range(&range, source.info.size));
        response
    } else {
        one_part(door, call, source, range).await?
    };
    show(source, call, response.headers_mut());
    response.headers_mut().insert("x-parts-count", HeaderValue::from(count));
    Ok(response)
}

/// GET and HEAD with `?multipart-manifest=get`: the list of segments itself.
async fn manifest(
    door: &SwiftDoor,
    call: &Call,
    path: &ObjectPath,
    info: &ObjectInfo,
) -> Result<Response<Body>, Fault> {
    let text = segments::text(&door.store, path, info.timestamp).await?;
    let raw = || segments::items(&text).map(|items| Bytes::from(super::manifest::raw(items)));
    let etag = segments::manifest_etag(info).unwrap_or("").to_owned();
    let is_raw = call.query.get("format") == Some("raw");
    let (text, etag) = match raw().filter(|_| is_raw) {
        Some(text) => (text.clone(), hex::encode(Md5::digest(&text))),
        None => (text, etag),
    };
    let length = text.len() as u64;
    let mut response = with_length(StatusCode::OK, body::full(text), length);
    let headers = response.headers_mut();
    show_info(info, headers);
    if !is_raw {
        reply::set(headers, "content-type", "application/json; charset=utf-8");
    }
    reply::set(headers, "etag", etag);
    reply::set(headers, "x-static-large-object", "True");
    Ok(response)
}

/// Begins to read, so far that the status is known.
async fn open(
    door: &SwiftDoor,
    call: &Arc<Call>,
    source: &mut Source,
    range: Option<Range<u64>>,
) -> Result<Chunks, Fault> {
    let mut chunks = source.read(door, call, range).await?;
    chunks.prime().await?;
    Ok(chunks)
}

/// Puts what is known of an object into the headers of an answer.
fn show(source: &Source, call: &Call, headers: &mut HeaderMap) {
    show_info(&source.info, headers);
    show_location(source, call, headers);
    symlink::show(&source.info, headers);
    if source.form != Form::Plain {
        // As large objects are not what their tag is the MD5 of, Swift quotes it.
        reply::set(headers, "etag", format!("\"{}\"", source.info.etag));
    }
    if let Some(etag) = segments::manifest_etag(&source.info) {
        reply::set(headers, "x-static-large-object", "True");
        reply::set(headers, "x-manifest-etag", etag);
    }
}

/// Says which object a link has led to, and which version it is; of a current version also where it stays.
fn show_location(source: &Source, call: &Call, headers: &mut HeaderMap) {
    if let Some(version) = &source.version {
        version::show(version, headers);
    }
    let of_version = || match (&call.target, &source.version) {
        (Target::Object(path), Some(version)) => Some(version::location(path, version)),
        _ => None,
    };
    if let Some(location) = source.location.clone().or_else(of_version) {
        reply::set(headers, "content-location", location);
    }
}

/// Puts what is known of an object into the headers of an answer, as it is stored.
fn show_info(info: &ObjectInfo, headers: &mut HeaderMap) {
    metadata::show_object(&info.metadata, headers);
    reply::set(headers, "accept-ranges", "bytes");
    reply::set(headers, "content-type", &info.content_type);
    reply::set(headers, "etag", &info.etag);
    reply::set(headers, "x-timestamp", info.meta_timestamp.to_string());
    reply::set_last_modified(headers, info.meta_timestamp.seconds_ceil());
    if let Some(second) = info.delete_at {
        headers.insert("x-delete-at", HeaderValue::from(second));
    }
}

fn with_length(status: StatusCode, body: Body, length: u64) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// 416, with the size that there is.
fn unsatisfiable(source: &Source, call: &Call) -> Response<Body> {
    let mut response = Fault::status(StatusCode::RANGE_NOT_SATISFIABLE).into_response();
    let headers = response.headers_mut();
    show(source, call, headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    reply::set(headers, "content-range", format!("bytes */{}", source.info.size));
    response
}

/// 206 with the bytes of one range.
async fn one_part(
    door: &SwiftDoor,
    call: &Arc<Call>,
    source: &mut Source,
    range: Range<u64>,
) -> Result<Response<Body>, Fault> {
    let chunks = open(door, call, source, Some(range.clone())).await?;
    let mut response = with_length(StatusCode::PARTIAL_CONTENT, body_of(chunks), range.end - range.start);
    reply::set(response.headers_mut(), "content-range", content_range(&range, source.info.size));
    Ok(response)
}

/// 206 with several ranges as `multipart/byteranges` (RFC 9110 §14.6).
async fn many_parts(
    door: &SwiftDoor,
    call: &Arc<Call>,
    source: Source,
    ranges: Vec<Range<u64>>,
) -> Result<Response<Body>, Fault> {
    let boundary = anello_base::id::hex_id();
    let (size, media_type) = (source.info.size, &source.info.content_type);
    let head = |at: usize, range: &Range<u64>| {
        let gap = if at == 0 { "" } else { "\r\n" };
        let content_range = content_range(range, size);
        format!("{gap}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range}\r\n\r\n")
    };
    let parts: Vec<(String, Range<u64>)> =
        ranges.into_iter().enumerate().map(|(at, range)| (head(at, &range), range)).collect();
    let end = format!("\r\n--{boundary}--");
    let length = parts.iter().map(|(head, range)| head.len() as u64 + range.end - range.start).sum::<u64>();
    let length = length + end.len() as u64;

    let mut response = with_length(StatusCode::PARTIAL_CONTENT, body::empty(), length);
    show(&source, call, response.headers_mut());
    let media_type = format!("multipart/byteranges;boundary={boundary}");
    reply::set(response.headers_mut(), "content-type", media_type);
    let parts = parts.into_iter();
    let parts = Parts { door: door.clone(), call: call.clone(), source, parts, chunks: None, end: Some(end) };
    Ok(response.map(|_| body::stream(stream::try_unfold(parts, next_of_parts))))
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// A body of one range's bytes.
fn body_of(chunks: Chunks) -> Body {
    body::stream(stream::try_unfold(chunks, |mut chunks| async move {
        Ok(chunks.next().await?.map(|bytes| (bytes, chunks)))
    }))
}

/// What is still to be sent of a multipart answer.
struct Parts {
    door: SwiftDoor,
    call: Arc<Call>,
    source: Source,
    parts: std::vec::IntoIter<(String, Range<u64>)>,
    chunks: Option<Chunks>,
    end: Option<String>,
}

async fn next_of_parts(mut state: Parts) -> Result<Option<(Bytes, Parts)>, Error> {
    if let Some(chunks) = &mut state.chunks
        && let Some(bytes) = chunks.next().await?
    {
        return Ok(Some((bytes, state)));
    }
    state.chunks = None;
    let Some((head, range)) = state.parts.next() else {
        return Ok(state.end.take().map(|end| (Bytes::from(end), state)));
    };
    state.chunks = Some(state.source.read(&state.door, &state.call, Some(range)).await?);
    Ok(Some((Bytes::from(head), state)))
}
