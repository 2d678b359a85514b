//! What a line of the access log is made of: a template with fields in braces, of Swift's names. Values are
//! percent-encoded so that blanks separate fields; one that there is not is a dash.

use std::fmt::Write as _;
use std::net::IpAddr;

use anello_base::Timestamp;
use http::request::Parts;
use http::{HeaderMap, StatusCode, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Deserialize;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::swift::config::ProxyLoggingConfig;
use crate::swift::target::Target;

/// Swift's own line.
pub(in crate::swift) const SWIFTS: &str = "{client_ip} {remote_addr} {end_time.datetime} {method} {path} {protocol} \
    {status_int} {referer} {user_agent} {auth_token} {bytes_recvd} {bytes_sent} {client_etag} {transaction_id} \
    {headers} {request_time} {source} {log_info} {start_time} {end_time} {policy_index}";

/// What stands as it is in a field.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'?')
    .remove(b'&')
    .remove(b'=')
    .remove(b'%');

/// Parameters of a query that sign it: of their values only a beginning is shown.
const SIGNATURES: [&str; 3] = ["temp_url_sig", "swiftinfo_sig", "signature"];

/// Headers of which only a beginning is shown: tokens and signatures.
const TOKENS: [&str; 6] =
    ["x-auth-token", "x-storage-token", "x-service-token", "x-subject-token", "authorization", "x-container-sync-auth"];

/// What headers' names have in them of which nothing is shown: keys and passwords.
const KEYS: [&str; 4] = ["-key", "x-storage-pass", "cookie", "-password"];

/// A line's form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeForm {
    Seconds,
    DateTime,
    Iso8601,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    ClientIp,
    RemoteAddr,
    StartTime(TimeForm),
    EndTime(TimeForm),
    Method,
    Path,
    Account,
    Container,
    Object,
    Domain,
    Protocol,
    Status,
    Referer,
    UserAgent,
    AuthToken,
    BytesReceived,
    BytesSent,
    ClientEtag,
    TransactionId,
    Headers,
    RequestTime,
    FirstByteTime,
    /// What this server does not tell: always a dash.
    Nothing,
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "client_ip" => Self::ClientIp,
            "remote_addr" => Self::RemoteAddr,
            "start_time" => Self::StartTime(TimeForm::Seconds),
            "start_time.datetime" => Self::StartTime(TimeForm::DateTime),
            "start_time.iso8601" => Self::StartTime(TimeForm::Iso8601),
            "end_time" => Self::EndTime(TimeForm::Seconds),
            "end_time.datetime" => Self::EndTime(TimeForm::DateTime),
            "end_time.iso8601" => Self::EndTime(TimeForm::Iso8601),
            "method" => Self::Method,
            "path" => Self::Path,
            "account" => Self::Account,
            "container" => Self::Container,
            "object" => Self::Object,
            "domain" => Self::Domain,
            "protocol" => Self::Protocol,
            "status_int" => Self::Status,
            "referer" => Self::Referer,
            "user_agent" => Self::UserAgent,
            "auth_token" => Self::AuthToken,
            "bytes_recvd" => Self::BytesReceived,
            "bytes_sent" => Self::BytesSent,
            "client_etag" => Self::ClientEtag,
            "transaction_id" => Self::TransactionId,
            "headers" => Self::Headers,
            "request_time" => Self::RequestTime,
            "ttfb" => Self::FirstByteTime,
            "source" | "log_info" | "policy_index" => Self::Nothing,
            _ => return None,
        })
    }
}

impl Default for Template {
    fn default() -> Self {
        Self::parse(SWIFTS).expect("its fields are known: a test reads it")
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or_else(|| format!("{{{behind} has no end"))?;
            let field = Field::named(name).ok_or_else(|| format!("there is no field {name:?}"))?;
            pieces.extend([Piece::Text(before.to_owned()), Piece::Field(field)]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Self(pieces))
    }

    /// The line for a request, without its end.
    pub(super) fn line(&self, seen: &Seen, config: &ProxyLoggingConfig) -> String {
        let mut line = String::with_capacity(256);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Field(field) => {
                    let value = seen.value(*field, config).filter(|value| !value.is_empty());
                    match value {
                        Some(value) => line.extend(percent_encode(value.as_bytes(), PLAIN)),
                        None => line.push('-'),
                    }
                }
            }
        }
        line
    }
}

/// What was seen of a request and its answer.
#[derive(Debug)]
pub(super) struct Seen {
    method: String,
    path: String,
    query: Option<String>,
    version: Version,
    headers: HeaderMap,
    peer: Option<IpAddr>,
    transaction: String,
    began: Timestamp,
    answered: Timestamp,
    pub(super) status: u16,
    pub(super) ended: Timestamp,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
}

impl Seen {
    /// A request as it comes.
    pub(super) fn of(parts: &Parts, peer: Option<IpAddr>, transaction: String, now: Timestamp) -> Self {
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            version: parts.version,
            headers: parts.headers.clone(),
            peer,
            transaction,
            began: now,
            answered: now,
            status: 0,
            ended: now,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// It is answered.
    pub(super) fn answered(&mut self, status: StatusCode, now: Timestamp) {
        (self.status, self.answered) = (status.as_u16(), now);
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    fn value(&self, field: Field, config: &ProxyLoggingConfig) -> Option<String> {
        let prefix = config.reveal_sensitive_prefix;
        let target = || Target::parse(&self.path).ok();
        Some(match field {
            Field::ClientIp => self.client().or_else(|| self.peer.map(|peer| peer.to_string()))?,
            Field::RemoteAddr => self.peer?.to_string(),
            Field::StartTime(form) => written(self.began, form),
            Field::EndTime(form) => written(self.ended, form),
            Field::Method => self.method.clone(),
            Field::Path => match &self.query {
                Some(query) => format!("{}?{}", self.path, veiled_query(query, prefix)),
                None => self.path.clone(),
            },
            Field::Account => target()?.account()?.to_owned(),
            Field::Container => target()?.container()?.1.to_owned(),
            Field::Object => match target()? {
                Target::Object(path) => path.object,
                _ => return None,
            },
            Field::Domain => self.header("host")?,
            Field::Protocol => format!("{:?}", self.version),
            Field::Status => self.status.to_string(),
            Field::Referer => self.header("referer")?,
            Field::UserAgent => self.header("user-agent")?,
            Field::AuthToken => veiled(&self.header("x-auth-token")?, prefix),
            Field::BytesReceived => self.bytes_received.to_string(),
            Field::BytesSent => self.bytes_sent.to_string(),
            Field::ClientEtag => self.header("etag")?,
            Field::TransactionId => self.transaction.clone(),
            Field::Headers => self.shown_headers(config)?,
            Field::RequestTime => between(self.began, self.ended),
            Field::FirstByteTime => between(self.began, self.answered),
            Field::Nothing => return None,
        })
    }

    /// Who asks, as a proxy in front of this one says.
    fn client(&self) -> Option<String> {
        let named = self.header("x-cluster-client-ip").filter(|name| !name.is_empty());
        named.or_else(|| Some(self.header("x-forwarded-for")?.split(',').next()?.trim().to_owned()))
    }

    fn shown_headers(&self, config: &ProxyLoggingConfig) -> Option<String> {
        let only = &config.access_log_headers_only;
        let is_shown = |name: &str| {
            config.access_log_headers && (only.is_empty() || only.iter().any(|it| it.eq_ignore_ascii_case(name)))
        };
        let mut text = String::new();
        for (name, value) in self.headers.iter().filter(|(name, _)| is_shown(name.as_str())) {
            let value = veiled_header(
                name.as_str(),
                &String::from_utf8_lossy(value.as_bytes()),
                config.reveal_sensitive_prefix,
            );
            let gap = if text.is_empty() { "" } else { "\n" };
            // Into a string it does not fail.
            let _ = write!(text, "{gap}{name}: {value}");
        }
        Some(text)
    }
}

/// A beginning, and that there is more.
fn veiled(secret: &str, prefix: usize) -> String {
    let shown: String = secret.chars().take(prefix).collect();
    if shown.len() == secret.len() { shown } else { format!("{shown}...") }
}

fn veiled_header(name: &str, value: &str, prefix: usize) -> String {
    if KEYS.iter().any(|part| name.contains(part)) {
        return "...".to_owned();
    }
    if TOKENS.contains(&name) { veiled(value, prefix) } else { value.to_owned() }
}

fn veiled_query(query: &str, prefix: usize) -> String {
    let item = |item: &str| match item.split_once('=') {
        Some((name, value))
            if SIGNATURES.iter().any(|it| name.eq_ignore_ascii_case(it)) || name.starts_with("X-Amz-Sig") =>
        {
            format!("{name}={}", veiled(value, prefix))
        }
        _ => item.to_owned(),
    };
    query.split('&').map(item).collect::<Vec<_>>().join("&")
}

fn written(at: Timestamp, form: TimeForm) -> String {
    let time = || OffsetDateTime::from_unix_timestamp(i64::try_from(at.seconds()).unwrap_or(0)).ok();
    let datetime = format_description!("[day]/[month repr:short]/[year]/[hour]/[minute]/[second]");
    let written = match form {
        TimeForm::Seconds => return format!("{:.9}", at.microseconds() as f64 / 1e6),
        TimeForm::DateTime => time().and_then(|time| time.format(&datetime).ok()),
        TimeForm::Iso8601 => return at.iso8601(),
    };
    written.unwrap_or_default()
}

/// Seconds.
fn between(from: Timestamp, to: Timestamp) -> String {
    format!("{:.4}", to.microseconds().saturating_sub(from.microseconds()) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn seen(uri: &str, headers: &[(&str, &str)]) -> Seen {
        let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let at = Timestamp::from_seconds(1_700_000_000);
        let mut seen = Seen::of(&parts, "192.0.2.1".parse().ok(), "tx1".into(), at);
        seen.answered(StatusCode::OK, at);
        seen
    }

    #[test]
    fn a_line_is_swifts_and_its_fields_are_the_operators_choice() {
        let found =
            seen("/v1/AUTH_a/c/o%20p?x=1", &[("user-agent", "a b"), ("x-forwarded-for", "198.51.100.7, 10.0.0.1")]);
        let check = |template: &str, want: &str| {
            let template = Template::parse(template).expect(template);
            assert_eq!(template.line(&found, &ProxyLoggingConfig::default()), want);
        };
        check(
            SWIFTS,
            "198.51.100.7 192.0.2.1 14/Nov/2023/22/13/20 GET /v1/AUTH_a/c/o%20p?x=1 HTTP/1.1 200 - a%20b - 0 0 - tx1 - \
             0.0000 - - 1700000000.000000000 1700000000.000000000 -",
        );
        check("{account}|{container}|{object} {status_int}", "AUTH_a|c|o%20p 200");
        for wrong in ["{path", "{nonsense}", "{}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    /// Without this whoever reads the log could use what he finds there.
    #[test]
    fn secrets_are_not_in_a_line() {
        let secret = "0123456789abcdef-the-rest-of-it";
        let headers = [
            ("x-auth-token", secret),
            ("x-storage-token", secret),
            ("authorization", secret),
            ("x-account-meta-temp-url-key-2", "abcd"),
            ("x-container-sync-key", "abcd"),
        ];
        let uri = format!("/v1/AUTH_a/c/o?temp_url_sig={secret}&temp_url_expires=1");
        let config = ProxyLoggingConfig { access_log_headers: true, ..ProxyLoggingConfig::default() };
        let line = Template::default().line(&seen(&uri, &headers), &config);
        assert!(!line.contains("rest-of-it") && !line.contains("abcd "), "{line}");
        assert!(line.contains("temp_url_sig=0123456789abcdef...&temp_url_expires=1"), "{line}");
        assert!(line.contains("x-account-meta-temp-url-key-2:%20..."), "{line}");
    }
}
