//! Listings of accounts and containers: which form the client wants (plain, JSON, XML), which part of the
//! listing, and the text that says it.

use std::fmt::Write as _;

use anello_storage::{ContainerEntry, ListQuery, Listed, ObjectEntry};
use http::{Response, StatusCode};
use quick_xml::escape::escape;

use super::call::{Call, is_true};
use super::fault::Fault;
use super::limits::LISTING_ENTRIES_MAX;
use super::reply;
use crate::body::Body;

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A name a line.
    Plain,
    /// A list of objects.
    Json,
    /// `application/xml`
    Xml,
    /// The same as `text/xml`.
    TextXml,
}

/// The forms in the order in which they are preferred where the client doesn't care.
const OFFERS: [Format; 4] = [Format::Plain, Format::Json, Format::Xml, Format::TextXml];

impl Format {
    /// The form that `?format=` or `Accept` asks for.
    pub(super) fn of(call: &Call) -> Result<Self, Fault> {
        match call.query.get("format").filter(|format| !format.is_empty()) {
            Some(format) => Ok(match format.to_ascii_lowercase().as_str() {
                "json" => Self::Json,
                "xml" => Self::Xml,
                _ => Self::Plain,
            }),
            None => Self::accepted(call.header("accept").unwrap_or("")),
        }
    }

    /// The best form for an `Accept`.
    pub(super) fn accepted(accept: &str) -> Result<Self, Fault> {
        if accept.trim().is_empty() {
            return Ok(Self::Plain);
        }
        let ranges = accept.split(',').map(MediaRange::parse).collect::<Option<Vec<_>>>();
        let ranges = ranges.ok_or_else(|| Fault::invalid("Invalid Accept header"))?;
        let quality = |offer: &Format| {
            let fits = ranges.iter().filter_map(|range| Some((range.fit(offer.essence())?, range.quality)));
            fits.max_by_key(|(fit, _)| *fit).map(|(fit, quality)| (quality, fit)).filter(|(quality, _)| *quality > 0)
        };
        let best = OFFERS.iter().rev().filter_map(|offer| Some((quality(offer)?, offer))).max_by_key(|(rank, _)| *rank);
        best.map(|(_, offer)| *offer).ok_or_else(|| Fault::status(StatusCode::NOT_ACCEPTABLE))
    }

    fn essence(self) -> &'static str {
        match self {
            Self::Plain => "text/plain",
            Self::Json => "application/json",
            Self::Xml => "application/xml",
            Self::TextXml => "text/xml",
        }
    }

    /// As `Content-Type` says it.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::Xml => "application/xml; charset=utf-8",
            Self::TextXml => "text/xml; charset=utf-8",
        }
    }

    /// The answer with a listing's text: 204 where there is none, which only a plain one can be.
    pub(super) fn answer(self, text: String) -> Response<Body> {
        let status = if text.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::OK };
        reply::with_body(status, self.media_type(), text)
    }
}

/// One item of an `Accept`.
struct MediaRange<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut quality = 1000;
        for part in parts {
            if let Some(value) = part.strip_prefix("q=") {
                let value: f32 = value.trim().parse().ok()?;
                quality = (value.clamp(0.0, 1.0) * 1000.0) as u16;
            }
        }
        let is_valid = !kind.is_empty() && !subtype.is_empty() && !subtype.contains('/');
        is_valid.then_some(Self { kind, subtype, quality })
    }

    /// How closely it names a media type, if it does.
    fn fit(&self, essence: &str) -> Option<u8> {
        let (kind, subtype) = essence.split_once('/')?;
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (named, "*") if named.eq_ignore_ascii_case(kind) => Some(1),
            (named, exact) if named.eq_ignore_ascii_case(kind) && exact.eq_ignore_ascii_case(subtype) => Some(2),
            _ => None,
        }
    }
}

/// Refuses a request that would have a listing in another form than JSON, for one that has no other.
pub(super) fn accept_json(call: &Call) -> Result<(), Fault> {
    let accept = call.header("accept").unwrap_or("");
    let takes = match call.query.get("format").filter(|format| !format.is_empty()) {
        Some(format) => format.eq_ignore_ascii_case("json"),
        None if accept.trim().is_empty() => true,
        None => accept
            .split(',')
            .filter_map(MediaRange::parse)
            .any(|range| range.quality > 0 && range.fit(Format::Json.essence()).is_some()),
    };
    if takes { Ok(()) } else { Err(Fault::status(StatusCode::NOT_ACCEPTABLE)) }
}

/// The part of a listing that a request asks for.
pub(super) fn query_of(call: &Call) -> Result<ListQuery, Fault> {
    let text = |name| call.query.get(name).filter(|value: &&str| !value.is_empty()).map(str::to_owned);
    let limit = match call.query.get("limit") {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().unwrap_or(usize::MAX)
        }
        _ => LISTING_ENTRIES_MAX,
    };
    if limit > LISTING_ENTRIES_MAX {
        let detail = format!("Maximum limit is {LISTING_ENTRIES_MAX}");
        return Err(Fault::because(StatusCode::PRECONDITION_FAILED, detail));
    }
    Ok(ListQuery {
        prefix: text("prefix").unwrap_or_default(),
        delimiter: text("delimiter"),
        marker: text("marker"),
        end_marker: text("end_marker"),
        reverse: call.query.get("reverse").is_some_and(is_true),
        limit,
        path: call.query.get("path").map(str::to_owned),
    })
}

/// One thing in a listing.
trait Row {
    const XML_NAME: &'static str;

    fn name(&self) -> &str;

    /// `"key":value,…`
    fn json(&self, out: &mut String);

    /// `<key>value</key>…`
    fn xml(&self, out: &mut String);
}

/// An object in a container's listing.
pub(super) struct ObjectRow {
    /// What the store lists.
    pub(super) entry: ObjectEntry,
    /// What else is shown of it.
    pub(super) kind: RowKind,
    /// The address of the version that it is, where its container keeps them.
    pub(super) version: Option<String>,
}

/// A version in a container's listing of all.
pub(super) struct VersionRow {
    /// As an object is listed.
    pub(super) row: ObjectRow,
    /// Its id.
    pub(super) version: String,
    /// Whether it is the current one.
    pub(super) is_latest: bool,
}

/// What an object is, as far as listings show it.
pub(super) enum RowKind {
    /// Its own data.
    Plain,
    /// A static large object. The tag of its manifest is the row's hash, and the object's own stands beside it.
    Manifest {
        /// The tag.
        etag: String,
    },
    /// A link.
    Link {
        /// Where it leads.
        location: String,
        /// Tag of the only version that it leads to.
        etag: Option<String>,
        /// Its size.
        bytes: Option<u64>,
        /// Its tag as a large object, where it is one.
        slo_etag: Option<String>,
    },
}

/// A container in an account's listing.
pub(super) struct ContainerRow {
    /// What the store lists.
    pub(super) entry: ContainerEntry,
    /// Name of its storage policy.
    pub(super) policy: String,
}

impl ObjectRow {
    fn hash(&self) -> &str {
        match &self.kind {
            RowKind::Manifest { etag } => etag,
            _ => &self.entry.etag,
        }
    }
}

/// The text of a container's listing.
pub(super) fn of_objects(format: Format, container: &str, rows: &[Listed<ObjectRow>]) -> String {
    match format {
        Format::Plain => plain(rows),
        Format::Json => json(rows),
        Format::Xml | Format::TextXml => {
            let inner = |prefix: &str, out: &mut String| {
                let prefix = escape(prefix);
                push(out, format_args!("<subdir name=\"{prefix}\"><name>{prefix}</name></subdir>"));
            };
            xml(("container", container, ""), rows, inner)
        }
    }
}

/// The text of a container's listing of versions, as JSON.
pub(super) fn of_versions(rows: &[Listed<VersionRow>]) -> String {
    json(rows)
}

/// Changes an entry.
pub(super) fn map<A, B>(listed: Listed<A>, change: impl FnOnce(A) -> B) -> Listed<B> {
    match listed {
        Listed::Prefix(prefix) => Listed::Prefix(prefix),
        Listed::Entry(entry) => Listed::Entry(change(entry)),
    }
}

/// The text of an account's listing.
pub(super) fn of_containers(format: Format, account: &str, rows: &[Listed<ContainerRow>]) -> String {
    match format {
        Format::Plain => plain(rows),
        Format::Json => json(rows),
        Format::Xml | Format::TextXml => {
            let inner = |prefix: &str, out: &mut String| {
                push(out, format_args!("<subdir name=\"{}\" />", escape(prefix)));
            };
            xml(("account", account, "\n"), rows, inner)
        }
    }
}

impl Row for ObjectRow {
    const XML_NAME: &'static str = "object";

    fn name(&self) -> &str {
        &self.entry.name
    }

    fn json(&self, out: &mut String) {
        out.push_str("\"bytes\":");
        push(out, format_args!("{}", self.entry.size));
        out.push_str(",\"hash\":");
        json_text(self.hash(), out);
        out.push_str(",\"name\":");
        json_text(&self.entry.name, out);
        out.push_str(",\"content_type\":");
        json_text(&self.entry.content_type, out);
        push(out, format_args!(",\"last_modified\":\"{}\"", self.entry.timestamp.iso8601()));
        let mut item = |name: &str, text: &str| {
            push(out, format_args!(",\"{name}\":"));
            json_text(text, out);
        };
        match &self.kind {
            RowKind::Plain => {}
            // A version is shown as such, whatever it leads to.
            RowKind::Link { .. } if self.version.is_some() => {}
            RowKind::Manifest { .. } => item("slo_etag", &format!("\"{}\"", self.entry.etag)),
            RowKind::Link { location, etag, bytes, slo_etag } => {
                item("symlink_path", location);
                if let Some(etag) = etag {
                    item("symlink_etag", etag);
                }
                if let Some(etag) = slo_etag {
                    item("slo_etag", &format!("\"{etag}\""));
                }
                if let Some(bytes) = bytes {
                    push(out, format_args!(",\"symlink_bytes\":{bytes}"));
                }
            }
        }
        if let Some(version) = &self.version {
            out.push_str(",\"symlink_path\":");
            json_text(version, out);
            out.push_str(",\"version_symlink\":true");
        }
    }

    fn xml(&self, out: &mut String) {
        push(
            out,
            format_args!(
                "<name>{}</name><hash>{}</hash><bytes>{}</bytes><content_type>{}</content_type>\
                 <last_modified>{}</last_modified>",
                escape(&self.entry.name),
                escape(self.hash()),
                self.entry.size,
                escape(&self.entry.content_type),
                self.entry.timestamp.iso8601()
            ),
        );
    }
}

impl Row for VersionRow {
    const XML_NAME: &'static str = ObjectRow::XML_NAME;

    fn name(&self) -> &str {
        self.row.name()
    }

    fn json(&self, out: &mut String) {
        self.row.json(out);
        out.push_str(",\"version_id\":");
        json_text(&self.version, out);
        push(out, format_args!(",\"is_latest\":{}", self.is_latest));
    }

    fn xml(&self, out: &mut String) {
        self.row.xml(out);
    }
}

impl Row for ContainerRow {
    const XML_NAME: &'static str = "container";

    fn name(&self) -> &str {
        &self.entry.name
    }

    fn json(&self, out: &mut String) {
        out.push_str("\"name\":");
        json_text(&self.entry.name, out);
        push(
            out,
            format_args!(
                ",\"count\":{},\"bytes\":{},\"last_modified\":\"{}\",\"storage_policy\":",
                self.entry.object_count,
                self.entry.bytes_used,
                self.entry.modified.iso8601()
            ),
        );
        json_text(&self.policy, out);
    }

    fn xml(&self, out: &mut String) {
        push(
            out,
            format_args!(
                "<name>{}</name><count>{}</count><bytes>{}</bytes><last_modified>{}</last_modified>\
                 <storage_policy>{}</storage_policy>",
                escape(&self.entry.name),
                self.entry.object_count,
                self.entry.bytes_used,
                self.entry.modified.iso8601(),
                escape(&self.policy)
            ),
        );
    }
}

fn plain<E: Row>(rows: &[Listed<E>]) -> String {
    let mut out = String::with_capacity(rows.len() * 32);
    for row in rows {
        out.push_str(match row {
            Listed::Entry(entry) => entry.name(),
            Listed::Prefix(prefix) => prefix,
        });
        out.push('\n');
    }
    out
}

fn json<E: Row>(rows: &[Listed<E>]) -> String {
    let mut out = String::with_capacity(rows.len() * 192 + 2);
    out.push('[');
    for (at, row) in rows.iter().enumerate() {
        out.push_str(if at == 0 { "{" } else { ",{" });
        match row {
            Listed::Entry(entry) => entry.json(&mut out),
            Listed::Prefix(prefix) => {
                out.push_str("\"subdir\":");
                json_text(prefix, &mut out);
            }
        }
        out.push('}');
    }
    out.push(']');
    out
}

fn xml<E: Row>(
    (root, name, gap): (&str, &str, &str),
    rows: &[Listed<E>],
    subdir: impl Fn(&str, &mut String),
) -> String {
    let mut out = String::with_capacity(rows.len() * 224 + 128);
    push(&mut out, format_args!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} name=\"{}\">{gap}", escape(name)));
    for row in rows {
        match row {
            Listed::Entry(entry) => {
                push(&mut out, format_args!("<{}>", E::XML_NAME));
                entry.xml(&mut out);
                push(&mut out, format_args!("</{}>", E::XML_NAME));
            }
            Listed::Prefix(prefix) => subdir(prefix, &mut out),
        }
        out.push_str(gap);
    }
    push(&mut out, format_args!("</{root}>"));
    out
}

/// A JSON string, without going through a value.
fn json_text(text: &str, out: &mut String) {
    let is_plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\' && byte != 0x7f);
    if is_plain {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        push(out, format_args!("{}", serde_json::Value::from(text)));
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes every text");
}

#[cfg(test)]
mod tests {
    use anello_base::Timestamp;

    use super::*;
    use crate::swift::testing::call;

    fn rows() -> Vec<Listed<ObjectRow>> {
        let entry = ObjectEntry {
            name: "a<\"☃\n".into(),
            timestamp: Timestamp::from_ticks(170_000_000_012_345),
            size: 5,
            etag: "abc".into(),
            content_type: "text/plain".into(),
            content: anello_storage::Content::Plain,
        };
        vec![Listed::Entry(ObjectRow { entry, kind: RowKind::Plain, version: None }), Listed::Prefix("d&/".into())]
    }

    #[test]
    fn names_of_any_letters_survive_every_form() {
        assert_eq!(of_objects(Format::Plain, "c", &rows()), "a<\"☃\n\nd&/\n");
        let json: serde_json::Value = serde_json::from_str(&of_objects(Format::Json, "c", &rows())).expect("JSON");
        let want = serde_json::json!([
            {"bytes": 5, "hash": "abc", "name": "a<\"☃\n", "content_type": "text/plain",
             "last_modified": "2023-11-14T22:13:20.123450"},
            {"subdir": "d&/"},
        ]);
        assert_eq!(json, want);
        assert_eq!(
            of_objects(Format::Xml, "c&d", &rows()),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<container name=\"c&amp;d\"><object>\
             <name>a&lt;&quot;☃\n</name><hash>abc</hash><bytes>5</bytes><content_type>text/plain</content_type>\
             <last_modified>2023-11-14T22:13:20.123450</last_modified></object>\
             <subdir name=\"d&amp;/\"><name>d&amp;/</name></subdir></container>"
        );
        assert_eq!(of_objects(Format::Json, "c", &[]), "[]");
        assert_eq!(of_objects(Format::Plain, "c", &[]), "");
    }

    #[test]
    fn the_form_is_negotiated() {
        let check = |query: &str, accept: Option<&str>, want: Result<Format, u16>| {
            let headers: Vec<_> = accept.map(|accept| ("accept", accept)).into_iter().collect();
            let found = Format::of(&call("GET", &format!("/v1/a{query}"), &headers)).map_err(|fault| fault.code());
            assert_eq!(found, want, "{query} {accept:?}");
        };
        check("", None, Ok(Format::Plain));
        check("", Some("*/*"), Ok(Format::Plain));
        check("?format=json", Some("text/xml"), Ok(Format::Json));
        check("?format=XML", None, Ok(Format::Xml));
        check("?format=other", None, Ok(Format::Plain));
        check("", Some("application/json"), Ok(Format::Json));
        check("", Some("application/xml;q=0.9, application/json;q=0.5"), Ok(Format::Xml));
        check("", Some("text/xml"), Ok(Format::TextXml));
        check("", Some("text/plain;q=0.1, */*;q=0.5"), Ok(Format::Json));
        check("", Some("application/*"), Ok(Format::Json));
        check("", Some("image/png"), Err(406));
        check("", Some("nonsense"), Err(400));
    }

    #[test]
    fn the_part_of_a_listing_is_read() {
        let query = |text: &str| query_of(&call("GET", &format!("/v1/a/c?{text}"), &[])).map_err(|fault| fault.code());
        let found = query("prefix=a%2F&delimiter=%2F&marker=m&end_marker=z&reverse=on&limit=7&path=").expect("valid");
        let want = ListQuery {
            prefix: "a/".into(),
            delimiter: Some("/".into()),
            marker: Some("m".into()),
            end_marker: Some("z".into()),
            reverse: true,
            limit: 7,
            path: Some(String::new()),
        };
        assert_eq!(found, want);
        assert_eq!(query("limit=10001"), Err(412));
        assert_eq!(query("limit=99999999999999999999999"), Err(412));
        assert_eq!(query("limit=-1").expect("valid").limit, 10_000);
        assert_eq!(query("limit=0").expect("valid").limit, 0);
    }
}
