//! A record of an access log, as AWS writes it: fields with spaces between them, `-` where there is nothing to say, text
//! of the client's own in quotes. Nothing that a client sends ends a field or a line.

use std::fmt::Write as _;

use anello_base::Timestamp;
use http::{HeaderMap, Method, Version, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use time::OffsetDateTime;

use crate::s3::policy::Connection;

/// What a key has to be rid of to be a field.
const IN_FIELD: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'\\');

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What was asked, as far as a record tells it.
#[derive(Debug)]
pub(in crate::s3) struct Asked {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) connection: Connection,
    pub(super) key: Option<String>,
    pub(super) version: Version,
}

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) error: Option<String>,
    pub(super) bytes_sent: Option<u64>,
    pub(super) object_size: Option<u64>,
    pub(super) request_id: String,
    pub(super) version_id: Option<String>,
    pub(super) milliseconds: u128,
}

/// Whose bucket, and who asked.
#[derive(Debug)]
pub(super) struct Parties<'a> {
    pub(super) owner: &'a str,
    pub(super) bucket: &'a str,
    /// `None` for anonymous callers.
    pub(super) requester: Option<String>,
}

impl Asked {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    fn has(&self, name: &str) -> bool {
        self.query().split('&').any(|pair| pair.split('=').next() == Some(name))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// `REST.GET.OBJECT` and its like.
    pub(super) fn operation(&self) -> String {
        let method = match self.headers.contains_key("x-amz-copy-source") {
            true => "COPY",
            false => self.method.as_str(),
        };
        const OF_OBJECT: [(&str, &str); 8] = [
            ("acl", "ACL"),
            ("tagging", "OBJECT_TAGGING"),
            ("retention", "OBJECT_LOCK_RETENTION"),
            ("legal-hold", "OBJECT_LOCK_LEGALHOLD"),
            ("attributes", "OBJECT_ATTRIBUTES"),
            ("partNumber", "PART"),
            ("uploadId", "UPLOAD"),
            ("uploads", "UPLOADS"),
        ];
        const OF_BUCKET: [(&str, &str); 20] = [
            ("acl", "ACL"),
            ("policy", "BUCKETPOLICY"),
            ("policyStatus", "BUCKET_POLICY_STATUS"),
            ("versioning", "VERSIONING"),
            ("versions", "BUCKETVERSIONS"),
            ("location", "LOCATION"),
            ("lifecycle", "LIFECYCLE"),
            ("logging", "LOGGING_STATUS"),
            ("notification", "NOTIFICATION"),
            ("website", "WEBSITE"),
            ("cors", "CORS"),
            ("tagging", "TAGGING"),
            ("encryption", "ENCRYPTION"),
            ("replication", "REPLICATION"),
            ("requestPayment", "REQUEST_PAYMENT"),
            ("accelerate", "ACCELERATE"),
            ("object-lock", "OBJECT_LOCK_CONFIGURATION"),
            ("publicAccessBlock", "BUCKET_PUBLIC_ACCESS_BLOCK"),
            ("ownershipControls", "OWNERSHIP_CONTROLS"),
            ("uploads", "UPLOADS"),
        ];
        let named = |all: &[(&str, &'static str)]| all.iter().find(|(name, _)| self.has(name)).map(|(_, shown)| *shown);
        let what = match &self.key {
            Some(_) => named(&OF_OBJECT).unwrap_or("OBJECT"),
            None if self.method == Method::POST && self.has("delete") => "MULTI_OBJECT_DELETE",
            None if self.method == Method::OPTIONS => "PREFLIGHT",
            None => named(&OF_BUCKET).unwrap_or("BUCKET"),
        };
        // A part is listed by its upload alone.
        let what = if what == "PART" && self.method == Method::GET { "OBJECT" } else { what };
        format!("REST.{method}.{what}")
    }

    /// How it was signed: `SigV4` or `SigV2`, and where that stood.
    fn signature(&self) -> (Option<&'static str>, Option<&'static str>) {
        let authorization = self.header(header::AUTHORIZATION);
        match authorization {
            Some(text) if text.starts_with("AWS4-") => (Some("SigV4"), Some("AuthHeader")),
            Some(_) => (Some("SigV2"), Some("AuthHeader")),
            None if self.has("X-Amz-Signature") => (Some("SigV4"), Some("QueryString")),
            None if self.has("Signature") => (Some("SigV2"), Some("QueryString")),
            None => (None, None),
        }
    }

    /// The line, with its end.
    pub(super) fn line(&self, parties: &Parties<'_>, answered: &Answered, at: Timestamp) -> String {
        let mut line = String::with_capacity(512);
        let time = OffsetDateTime::from(at.system_time());
        let month = MONTHS[usize::from(u8::from(time.month())) - 1];
        let (year, day) = (time.year(), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let address = self.connection.address.map(|address| address.to_canonical().to_string());
        let (signature, place) = self.signature();
        let tls = self.connection.is_secure.then_some("TLSv1.3");
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let uri = format!("{} {} {:?}", self.method, self.target, self.version);
        let plain = |line: &mut String, text: Option<&str>| {
            let text = text.filter(|text| !text.is_empty());
            let _ = write!(
                line,
                "{} ",
                text.map_or_else(|| "-".to_owned(), |text| utf8_percent_encode(text, IN_FIELD).to_string())
            );
        };
        let quoted = |line: &mut String, text: Option<&str>| {
            let _ = match text {
                Some(text) => write!(line, "\"{}\" ", text.replace(|c: char| c == '"' || c.is_control(), "_")),
                None => write!(line, "- "),
            };
        };
        plain(&mut line, Some(parties.owner));
        plain(&mut line, Some(parties.bucket));
        let _ = write!(line, "[{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000] ");
        plain(&mut line, address.as_deref());
        plain(&mut line, parties.requester.as_deref());
        plain(&mut line, Some(&answered.request_id));
        plain(&mut line, Some(&self.operation()));
        plain(&mut line, self.key.as_deref());
        quoted(&mut line, Some(&uri));
        plain(&mut line, Some(&answered.status.to_string()));
        plain(&mut line, answered.error.as_deref());
        plain(&mut line, number(answered.bytes_sent.filter(|bytes| *bytes > 0)).as_deref());
        plain(&mut line, number(answered.object_size).as_deref());
        // What it took until the answer began: the rest is the client's reading.
        plain(&mut line, Some(&answered.milliseconds.to_string()));
        plain(&mut line, Some(&answered.milliseconds.to_string()));
        quoted(&mut line, self.header(header::REFERER));
        quoted(&mut line, self.header(header::USER_AGENT));
        let version = answered.version_id.as_deref().or(self.parameter("versionId"));
        plain(&mut line, version);
        plain(&mut line, Some(&answered.request_id));
        plain(&mut line, signature);
        plain(&mut line, None);
        plain(&mut line, place);
        plain(&mut line, self.header(header::HOST));
        plain(&mut line, tls);
        plain(&mut line, None);
        plain(&mut line, None);
        line.pop();
        line.push('\n');
        line
    }
}

/// A key as a path names it.
pub(super) fn key_of(path: &str) -> Option<String> {
    let key = percent_decode_str(path).decode_utf8_lossy();
    (!key.is_empty()).then(|| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, target: &str, key: Option<&str>, headers: &[(&'static str, &str)]) -> Asked {
        let headers = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), http::HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
        });
        Asked {
            method: Method::from_bytes(method.as_bytes()).expect("a method"),
            target: target.to_owned(),
            headers: headers.collect(),
            connection: Connection::default(),
            key: key.map(str::to_owned),
            version: Version::HTTP_11,
        }
    }

    #[test]
    fn operations_have_amazons_names() {
        for (method, target, key, want) in [
            ("GET", "/b/k", Some("k"), "REST.GET.OBJECT"),
            ("GET", "/b?list-type=2", None, "REST.GET.BUCKET"),
            ("GET", "/b?versions", None, "REST.GET.BUCKETVERSIONS"),
            ("PUT", "/b/k?acl", Some("k"), "REST.PUT.ACL"),
            ("PUT", "/b/k?partNumber=1&uploadId=2", Some("k"), "REST.PUT.PART"),
            ("POST", "/b/k?uploads", Some("k"), "REST.POST.UPLOADS"),
            ("POST", "/b/k?uploadId=2", Some("k"), "REST.POST.UPLOAD"),
            ("POST", "/b?delete", None, "REST.POST.MULTI_OBJECT_DELETE"),
            ("DELETE", "/b/k", Some("k"), "REST.DELETE.OBJECT"),
        ] {
            assert_eq!(asked(method, target, key, &[]).operation(), want);
        }
        assert_eq!(asked("PUT", "/b/k", Some("k"), &[("x-amz-copy-source", "a")]).operation(), "REST.COPY.OBJECT");
    }

    /// Without this a client could write records of its own.
    #[test]
    fn nothing_a_client_sends_ends_a_field() {
        let agent = "agent\" 200 - -";
        let asked = asked("GET", "/b/a%0Ab", Some("a\nb \"c\""), &[("user-agent", agent), ("referer", "http://r")]);
        let parties = Parties { owner: "sea", bucket: "b", requester: None };
        let answered =
            Answered { status: 404, error: Some("NoSuchKey".into()), request_id: "R".into(), ..Answered::default() };
        let line = asked.line(&parties, &answered, Timestamp::from_seconds(1_549_411_238));
        let want = "sea b [06/Feb/2019:00:00:38 +0000] - - R REST.GET.OBJECT a%0Ab%20%22c%22 \"GET /b/a%0Ab HTTP/1.1\" 404 \
                    NoSuchKey - - 0 0 \"http://r\" \"agent_ 200 - -\" - R - - - - - - -\n";
        assert_eq!(line, want);
    }
}
