//! Many objects by one request: an archive that is unpacked (`PUT ?extract-archive=tar`), a list of what to delete
//! (`POST ?bulk-delete`). Each object is a request of its own to what is behind, with the sender's rights. The answer is
//! 200, and a report in its body; blanks come before it while the work goes on.

mod extract;
mod tar;

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Incoming, Layer, Next, subrequest};
use crate::body::Body;
use crate::swift::call::Query;
use crate::swift::fault::Fault;
use crate::swift::limits::{
    BULK_CONTAINERS_MAX, BULK_DELETES_AT_ONCE, BULK_DELETES_MAX, BULK_FAILURES_MAX, BULK_LIST_BYTES_MAX,
    CONTAINER_NAME_BYTES_MAX, OBJECT_NAME_BYTES_MAX,
};
use crate::swift::listing::Format;
use crate::swift::reply;
use crate::swift::report::{self, Report};
use crate::swift::target::Target;

#[cfg(feature = "fuzzing")]
pub(in crate::swift) use tar::feed;

/// The middleware.
#[derive(Debug)]
pub(super) struct Bulk;

/// How long a container that has just lost its objects may still be thought to have some, and how often it is tried.
const CONTAINER_RETRY: (Duration, usize) = (Duration::from_millis(200), 5);

impl Layer for Bulk {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        let upload = json!({
            "max_containers_per_extraction": BULK_CONTAINERS_MAX,
            "max_failed_extractions": BULK_FAILURES_MAX,
        });
        let delete = json!({"max_deletes_per_request": BULK_DELETES_MAX, "max_failed_deletes": BULK_FAILURES_MAX});
        vec![("bulk_upload", upload), ("bulk_delete", delete)]
    }

    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let query = Query::parse(request.uri().query().unwrap_or("")).unwrap_or_default();
            let method = request.method().as_str();
            let archive = query.get("extract-archive").filter(|_| method == "PUT");
            let is_deletion = query.get("bulk-delete").is_some() && ["POST", "DELETE"].contains(&method);
            if archive.is_none() && !is_deletion {
                return Ok(next.run(request).await);
            }
            let accept = request.headers().get("accept").and_then(|accept| accept.to_str().ok());
            let format = Format::accepted(accept.unwrap_or(""));
            let format = format.map_err(|_| Fault::status(StatusCode::NOT_ACCEPTABLE))?;
            let target = Target::parse(request.uri().path())?;
            let account = target.account().ok_or_else(Fault::missing)?.to_owned();
            if let Some(archive) = archive {
                let packing = extract::Packing::of(archive)?;
                let (parts, body) = request.into_parts();
                let work = extract::run(next, parts, body, target, packing);
                return Ok(report::later(StatusCode::OK, format, "extract", work.boxed()));
            }
            let media_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
            if media_type.is_some_and(|media_type| !media_type.starts_with("text/plain")) {
                return Err(Fault::status(StatusCode::NOT_ACCEPTABLE));
            }
            let (parts, body) = request.into_parts();
            // Read before anything is answered: whoever waits for 100 is told so by this.
            let names = match names(body).await {
                Ok(names) => names,
                Err(fault) => return Ok(refused(&fault).answer(format, "delete")),
            };
            let work = delete(next, parts, account, names);
            Ok(report::later(StatusCode::OK, format, "delete", work.boxed()))
        })
    }
}

/// The report of a list that nothing was done of.
fn refused(fault: &Fault) -> Report {
    let report = report::deletion(fault.status_code(), 0, 0, Vec::new());
    Report { detail: fault.detail().to_owned(), ..report }
}

/// The names that a request lists, one a line, percent-encoded.
async fn names(body: Incoming) -> Result<Vec<String>, Fault> {
    let text = match Limited::new(body, BULK_LIST_BYTES_MAX).collect().await {
        Ok(text) => text.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_many()),
        Err(_) => return Err(Fault::client_gone()),
    };
    let mut names = Vec::new();
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        if line.len() > 3 * (CONTAINER_NAME_BYTES_MAX + OBJECT_NAME_BYTES_MAX) + 2 {
            return Err(Fault::invalid("Invalid File Name"));
        }
        if names.len() == BULK_DELETES_MAX {
            return Err(too_many());
        }
        names.push(String::from_utf8_lossy(line).into_owned());
    }
    Ok(names)
}

fn too_many() -> Fault {
    let detail = format!("Maximum Bulk Deletes: {BULK_DELETES_MAX} per request");
    Fault::because(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Deletes everything that is named: objects first, then the containers, which may be empty by then.
async fn delete(next: Next, parts: Parts, account: String, names: Vec<String>) -> Report {
    let (mut deleted, mut missing, mut errors) = (0, 0, Vec::new());
    let mut general = StatusCode::BAD_REQUEST;
    let decode = |name: &String| percent_decode_str(name).decode_utf8().map(std::borrow::Cow::into_owned);
    let (mut objects, mut containers) = (Vec::new(), Vec::new());
    for name in &names {
        match decode(name) {
            Ok(name) if name.trim_matches('/').contains('/') => objects.push(name),
            Ok(name) => containers.push(name),
            Err(_) => errors.push((name.clone(), line(StatusCode::PRECONDITION_FAILED))),
        }
    }
    for (names, is_containers) in [(objects, false), (containers, true)] {
        let work: Vec<_> = names
            .into_iter()
            .map(|name| delete_one(next.clone(), parts.clone(), account.clone(), name, is_containers).boxed())
            .collect();
        let mut outcomes = stream::iter(work).buffer_unordered(BULK_DELETES_AT_ONCE);
        while let Some((name, status)) = outcomes.next().await {
            match status {
                StatusCode::NOT_FOUND => missing += 1,
                status if status.is_success() => deleted += 1,
                status => {
                    if status.is_server_error() {
                        general = StatusCode::BAD_GATEWAY;
                    }
                    errors.push((reply::quoted(&name), line(status)));
                }
            }
            if errors.len() >= BULK_FAILURES_MAX {
                let report = report::deletion(StatusCode::BAD_REQUEST, deleted, missing, errors);
                return Report { detail: "Max delete failures exceeded".into(), ..report };
            }
        }
    }
    let is_nothing = errors.is_empty() && deleted + missing == 0;
    let status = if errors.is_empty() && !is_nothing { StatusCode::OK } else { general };
    let detail = if is_nothing { "Invalid bulk delete." } else { "" };
    Report { detail: detail.into(), ..report::deletion(status, deleted, missing, errors) }
}

async fn delete_one(
    next: Next,
    parts: Parts,
    account: String,
    name: String,
    is_container: bool,
) -> (String, StatusCode) {
    let uri = format!("/v1/{}/{}", reply::quoted(&account), reply::quoted(name.trim_start_matches('/')));
    let (pause, attempts) = CONTAINER_RETRY;
    for attempt in 0..attempts {
        let Ok(request) = subrequest(&parts, Method::DELETE, &uri) else { return (name, StatusCode::BAD_REQUEST) };
        let status = next.clone().run(request).await.status();
        let may_change = is_container && status == StatusCode::CONFLICT && attempt + 1 < attempts;
        if !may_change {
            return (name, status);
        }
        tokio::time::sleep(pause).await;
    }
    (name, StatusCode::CONFLICT)
}

/// A status line.
fn line(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("")).trim_end().to_owned()
}
