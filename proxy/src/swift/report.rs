//! The answer of operations on many objects: how many it did, and what failed with which. Its form is Swift's: plain,
//! JSON or XML, as `Accept` wants. Where the work takes long, blanks come before it, so that nobody takes the connection
//! for dead.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http::{Response, StatusCode};
use quick_xml::escape::escape;
use serde_json::{Map, Value, json};

use super::fault::{self, Fault};
use super::limits::HEARTBEAT;
use super::listing::Format;
use super::reply;
use super::slo::Outcome;
use crate::body::{self, Body};

/// What an operation on many objects did.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Swift's names of what it counts, and how many.
    pub(super) counts: Vec<(&'static str, u64)>,
    /// The status that each by itself would have had; of those that failed, a general one.
    pub(super) status: StatusCode,
    /// What exactly is wrong with all of it.
    pub(super) detail: String,
    /// What else is told of it.
    pub(super) items: Vec<(&'static str, String)>,
    /// Names, and what failed with them.
    pub(super) errors: Vec<(String, String)>,
}

/// The report of a deletion.
pub(super) fn deletion(status: StatusCode, deleted: u64, missing: u64, errors: Vec<(String, String)>) -> Report {
    let counts = vec![("Number Deleted", deleted), ("Number Not Found", missing)];
    Report { counts, status, errors, ..Report::default() }
}

/// The report of a manifest's upload.
pub(super) fn upload(outcome: Result<Outcome, Fault>) -> Report {
    match outcome {
        Ok(Ok((etag, made))) => {
            let changed = reply::http_date(made.written.timestamp.seconds_ceil());
            let items = vec![("Etag", etag), ("Last Modified", changed)];
            Report { status: StatusCode::CREATED, items, ..Report::default() }
        }
        Ok(Err(errors)) => failed(StatusCode::BAD_REQUEST, errors),
        Err(fault) => failed(fault.status_code(), Vec::new()),
    }
}

fn failed(status: StatusCode, errors: Vec<(String, String)>) -> Report {
    let reason = status.canonical_reason().unwrap_or("");
    let detail = format!("{reason}\n{}", fault::standing_text(status));
    Report { status, detail, errors, ..Report::default() }
}

/// The errors as the plain form lists them.
pub(super) fn plain_errors(errors: &[(String, String)]) -> String {
    let lines = errors.iter().map(|(name, reason)| format!("{name}, {reason}\n"));
    format!("Errors:\n{}", lines.collect::<String>())
}

/// Errors alone, in the answer to an upload that they have made fail.
pub(super) fn refusal(format: Format, errors: &[(String, String)]) -> Response<Body> {
    let text = match format {
        Format::Json => json!({"Errors": errors}).to_string(),
        Format::Plain => plain_errors(errors),
        Format::Xml | Format::TextXml => format!("{XML_HEAD}<upload>{}</upload>", xml_errors(errors)),
    };
    reply::with_body(StatusCode::BAD_REQUEST, bare_type(format), text)
}

/// What an XML document begins with; blanks may come behind it, and not before.
const XML_HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

fn bare_type(format: Format) -> &'static str {
    format.media_type().split(';').next().unwrap_or("text/plain")
}

fn is_xml(format: Format) -> bool {
    matches!(format, Format::Xml | Format::TextXml)
}

fn xml_errors(errors: &[(String, String)]) -> String {
    let object = |(name, reason): &(String, String)| {
        format!("<object><name>{}</name><status>{}</status></object>", escape(name), escape(reason))
    };
    format!("<errors>{}</errors>", errors.iter().map(object).collect::<String>())
}

impl Report {
    /// Its text; `root` is the name of an XML document's first element.
    fn text(&self, format: Format, root: &str) -> String {
        let status = format!("{} {}", self.status.as_u16(), self.status.canonical_reason().unwrap_or(""));
        let counts = self.counts.iter().map(|(name, count)| (*name, json!(count)));
        let told = counts.chain(self.items.iter().map(|(name, text)| (*name, json!(text))));
        let told = told.chain([("Response Body", json!(self.detail)), ("Response Status", json!(status))]);
        match format {
            Format::Json => {
                let mut said: Map<String, Value> = told.map(|(name, value)| (name.to_owned(), value)).collect();
                said.insert("Errors".into(), json!(self.errors));
                Value::Object(said).to_string()
            }
            Format::Plain => {
                let lines = told.map(|(name, value)| format!("{name}: {}\n", bare(&value)));
                lines.collect::<String>() + &plain_errors(&self.errors)
            }
            Format::Xml | Format::TextXml => {
                let element = |(name, value): (&str, Value)| {
                    let name = name.replace(' ', "_").to_lowercase();
                    format!("<{name}>{}</{name}>\n", escape(bare(&value).as_str()))
                };
                let inner: String = told.map(element).collect();
                format!("<{root}>\n{inner}{}\n</{root}>\n", xml_errors(&self.errors))
            }
        }
    }

    /// The answer, at once.
    pub(super) fn answer(&self, format: Format, root: &str) -> Response<Body> {
        let head = if is_xml(format) { XML_HEAD } else { "" };
        reply::with_body(StatusCode::OK, bare_type(format), format!("{head}{}", self.text(format, root)))
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// An answer whose report is still being made. Dropped with the connection, the work ends where it is. A manifest's
/// upload (202) begins with a blank whatever comes.
pub(super) fn later(
    status: StatusCode,
    format: Format,
    root: &'static str,
    work: BoxFuture<'static, Report>,
) -> Response<Body> {
    let every = if status == StatusCode::ACCEPTED { Duration::ZERO } else { HEARTBEAT };
    let state = Later { work: Some(work), format, root, every, has_begun: false };
    let chunks = stream::unfold(state, |mut state| async move {
        let bytes = state.next().await?;
        Some((Ok::<_, Infallible>(bytes), state))
    });
    let chunks = futures::TryStreamExt::map_err(chunks, |never| match never {});
    let mut response = Response::new(body::stream(chunks));
    *response.status_mut() = status;
    reply::set(response.headers_mut(), "content-type", bare_type(format));
    response
}

struct Later {
    work: Option<BoxFuture<'static, Report>>,
    format: Format,
    root: &'static str,
    every: Duration,
    has_begun: bool,
}

impl Later {
    async fn next(&mut self) -> Option<Bytes> {
        let work = self.work.as_mut()?;
        if std::mem::replace(&mut self.every, HEARTBEAT).is_zero() {
            self.has_begun = true;
            return Some(Bytes::from(if is_xml(self.format) { XML_HEAD } else { " " }));
        }
        let head = if is_xml(self.format) && !self.has_begun { XML_HEAD } else { "" };
        match tokio::time::timeout(self.every, work).await {
            Ok(report) => {
                self.work = None;
                let gap = if self.has_begun { "\r\n\r\n" } else { "" };
                Some(Bytes::from(format!("{head}{gap}{}", report.text(self.format, self.root))))
            }
            Err(_) => {
                self.has_begun = true;
                Some(Bytes::from(if head.is_empty() { " " } else { head }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_the_same_in_every_form() {
        let report = deletion(StatusCode::BAD_REQUEST, 2, 1, vec![("/c/<o>".into(), "403 Forbidden".into())]);
        let json: Value = serde_json::from_str(&report.text(Format::Json, "delete")).expect("JSON");
        assert_eq!(
            json,
            json!({"Number Deleted": 2, "Number Not Found": 1, "Response Body": "",
                   "Response Status": "400 Bad Request", "Errors": [["/c/<o>", "403 Forbidden"]]})
        );
        assert_eq!(
            report.text(Format::Plain, "delete"),
            "Number Deleted: 2\nNumber Not Found: 1\nResponse Body: \nResponse Status: 400 Bad Request\n\
             Errors:\n/c/<o>, 403 Forbidden\n"
        );
        let xml = report.text(Format::Xml, "delete");
        assert!(
            xml.contains("<number_deleted>2</number_deleted>") && xml.contains("<name>/c/&lt;o&gt;</name>"),
            "{xml}"
        );
    }
}
