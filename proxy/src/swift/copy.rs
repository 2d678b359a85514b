//! COPY, and PUT with `X-Copy-From`: the server reads one object and writes another. The source's
//! conditions and range count as in GET; its metadata go along unless `X-Fresh-Metadata` says not to, and
//! what the request says itself wins.

use std::sync::Arc;

use anello_storage::store::ObjectHead;
use anello_storage::{ObjectPath, Precondition};
use http::{Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::SwiftDoor;
use super::access::Access;
use super::call::Call;
use super::conditions::Conditions;
use super::fault::Fault;
use super::limits::FILE_BYTES_MAX;
use super::policy::Rule;
use super::range::Wanted as WantedRange;
use super::source::{Form, Source};
use super::upload::{self, Wanted};
use super::write::{Made, Writing};
use super::{dlo, download, large, metadata, quota, reply, slo, symlink, version};
use crate::body::Body;
use crate::digest::Digester;
use crate::object::link;

/// COPY: the path is the source, `Destination` says where to. The source has been authorized.
pub(super) async fn from_path(
    door: &SwiftDoor,
    call: &Arc<Call>,
    source: &ObjectPath,
) -> Result<Response<Body>, Fault> {
    let destination = call.header("destination").filter(|text| !text.is_empty());
    let destination =
        destination.ok_or_else(|| Fault::because(StatusCode::PRECONDITION_FAILED, "Destination header required"))?;
    let account = account_of(call, "destination-account", &source.account)?;
    let (container, object) = split("Destination", destination)?;
    let target = ObjectPath { account, container, object };
    run(door, call, source, &target).await
}

/// PUT with `X-Copy-From`: the path is the destination, which has been authorized.
pub(super) async fn to_path(door: &SwiftDoor, call: &Arc<Call>, target: &ObjectPath) -> Result<Response<Body>, Fault> {
    if call.content_length()?.is_some_and(|length| length > 0) {
        return Err(Fault::invalid("Copy requests require a zero byte body"));
    }
    let account = account_of(call, "x-copy-from-account", &target.account)?;
    let (container, object) = split("X-Copy-From", call.header("x-copy-from").unwrap_or(""))?;
    let source = ObjectPath { account, container, object };
    door.authorize(call, version::rule(call, Rule::ObjectRead)?, &source.account, Some(&source.container)).await?;
    run(door, call, &source, target).await
}

/// Copies. The source is looked for before the destination is authorized (again, where the path names it):
/// whoever may read there learns first that there is nothing.
async fn run(door: &SwiftDoor, call: &Arc<Call>, from: &ObjectPath, to: &ObjectPath) -> Result<Response<Body>, Fault> {
    let mut source = Source::open(door, call, from).await?.ok_or_else(Fault::missing)?;
    let last_modified = source.info.meta_timestamp.seconds_ceil();
    let (of_source, of_target) = conditions(call);
    if let Some(status) = of_source.refuse(&source.info.etag, last_modified) {
        return Err(Fault::status(status));
    }
    let access = door.authorize(call, Rule::ObjectWrite, &to.account, Some(&to.container)).await?;
    let wanted = Wanted::of(call, to, of_target)?;
    let head = head(call, &source, &wanted);
    let mut shown = head.metadata.clone();
    let (etag, made) = if link::is_link(&source.info) {
        symlink::copy(door, call, &source.info, to, head, &wanted.condition).await?
    } else if source.form == Form::Static && large::asks_for_manifest(call) {
        slo::copy(door, call, (source.path(), &source.info), to, head, &wanted.condition).await?
    } else {
        data(door, call, access, &mut source, to, head, &wanted).await?
    };

    let mut response = upload::created(door, &etag, &made);
    let headers = response.headers_mut();
    shown.retain(|(name, _)| name.starts_with(metadata::Kind::Object.prefix()));
    metadata::show_object(&shown, headers);
    reply::set(headers, "x-copied-from", reply::quoted(&format!("{}/{}", from.container, from.object)));
    reply::set(headers, "x-copied-from-account", reply::quoted(&from.account));
    reply::set(headers, "x-copied-from-last-modified", reply::http_date(last_modified));
    if let Some(version) = &source.version {
        reply::set(headers, "x-copied-from-version-id", version);
    }
    Ok(response)
}

/// Reads the source (or its range) and writes it; gives the new tag.
async fn data(
    door: &SwiftDoor,
    call: &Arc<Call>,
    access: Access,
    source: &mut Source,
    to: &ObjectPath,
    mut head: ObjectHead,
    wanted: &Wanted,
) -> Result<(String, Made), Fault> {
    let range = match WantedRange::parse(call.header("range"), source.info.size) {
        WantedRange::Whole => None,
        WantedRange::Parts(mut parts) if parts.len() == 1 => Some(parts.remove(0)),
        WantedRange::Parts(_) => return Err(Fault::invalid("Only one range can be copied")),
        WantedRange::Nothing => return Err(Fault::status(StatusCode::RANGE_NOT_SATISFIABLE)),
    };
    let range = match download::part_of(door, call, source).await? {
        Some((part, _)) => Some(part),
        None => range,
    };
    let length = range.as_ref().map_or(source.info.size, |range| range.end - range.start);
    if length > FILE_BYTES_MAX {
        return Err(upload::too_large());
    }
    quota::check(door, access, to, length).await?;
    let mut writer = Writing::begin(&door.store, to, Some(length)).await?;
    let mut digest = Digester::new(false);
    let mut chunks = source.read(door, call, range).await?;
    chunks.prime().await?;
    while let Some(data) = chunks.next().await? {
        upload::take(&mut writer, &mut digest, data).await?;
    }
    head.etag = hex::encode(digest.finish().await.md5);
    let etag = head.etag.clone();
    Ok((etag, writer.finish(door, head, &wanted.condition).await?))
}

/// What the copy is like: the source, unless fresh, and over it what the request says.
fn head(call: &Call, source: &Source, wanted: &Wanted) -> ObjectHead {
    let is_fresh = call.is_set("x-fresh-metadata");
    // What a dynamic manifest stands for has been copied; the copy stands for itself.
    let is_kept = |name: &str| metadata::is_shown(name) && (name != dlo::MANIFEST || large::asks_for_manifest(call));
    let mut items = source.info.metadata.clone();
    items.retain(|(name, _)| is_kept(name) && !(is_fresh && name != dlo::MANIFEST));
    for (name, value) in &wanted.metadata {
        metadata::set(&mut items, name.clone(), value.clone());
    }
    ObjectHead {
        content_type: wanted.content_type.clone().unwrap_or_else(|| source.info.content_type.clone()),
        delete_at: wanted.delete_at.or(if is_fresh { None } else { source.info.delete_at }),
        metadata: items,
        ..ObjectHead::default()
    }
}

/// Conditions on the source, and on what the copy replaces: `If-None-Match: *` can only mean the latter.
fn conditions(call: &Call) -> (Conditions, Precondition) {
    let all = Conditions::of(call);
    if all.wants_absent() { (all.without_none_match(), Precondition::absent()) } else { (all, Precondition::default()) }
}

/// The account that a header names, or the request's own.
pub(super) fn account_of(call: &Call, header: &str, own: &str) -> Result<String, Fault> {
    let Some(text) = call.header(header).filter(|text| !text.is_empty()) else {
        return Ok(own.to_owned());
    };
    let account = percent_decode_str(text).decode_utf8().unwrap_or_default();
    if account.is_empty() || account.contains(['/', '\0']) {
        return Err(Fault::because(StatusCode::PRECONDITION_FAILED, "Account name cannot contain slashes"));
    }
    Ok(account.into_owned())
}

/// Container and object of a `container/object`, with or without a slash in front, percent-encoded.
pub(super) fn split(header: &str, text: &str) -> Result<(String, String), Fault> {
    let decoded = percent_decode_str(text).decode_utf8().unwrap_or_default();
    match decoded.strip_prefix('/').unwrap_or(&decoded).split_once('/') {
        Some((container, object)) if !container.is_empty() && !object.is_empty() && !decoded.contains('\0') => {
            Ok((container.to_owned(), object.to_owned()))
        }
        _ => {
            let detail = format!("{header} header must be of the form <container name>/<object name>");
            Err(Fault::because(StatusCode::PRECONDITION_FAILED, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_object_is_named_by_container_and_object() {
        let check = |text: &str, want: Option<(&str, &str)>| {
            let found = split("Destination", text).ok();
            assert_eq!(found.as_ref().map(|(c, o)| (c.as_str(), o.as_str())), want, "{text}");
        };
        check("c/o", Some(("c", "o")));
        check("/c/a/b", Some(("c", "a/b")));
        check("c/%E2%98%83%20x", Some(("c", "☃ x")));
        check("c", None);
        check("/c/", None);
        check("//o", None);
        check("", None);
        check("c/%FF", None);
        check("c/a%00b", None);
    }
}
