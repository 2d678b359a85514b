//! One request, read: what it is about, its query, its headers and who makes it; everything but its body.

use anello_api::identity::Caller;
use anello_base::{Clock, SystemClock, Timestamp};
use http::{HeaderMap, Method, StatusCode, Version, request};
use percent_encoding::percent_decode_str;

use super::fault::Fault;
use super::layer::{Origin, Party};
use super::limits::HEADER_BYTES_MAX;
use super::target::Target;

/// The type of this service in the catalog, and in access rules.
const SERVICE: &str = "object-store";

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Its method.
    pub(super) method: Method,
    /// The version of HTTP that it came by.
    pub(super) version: Version,
    /// What it is about.
    pub(super) target: Target,
    /// Its query.
    pub(super) query: Query,
    /// Its headers, as they came.
    pub(super) headers: HeaderMap,
    /// Who makes it, and what vouches for it.
    pub(super) origin: Origin,
    /// When it came.
    pub(super) now: Timestamp,
}

impl Call {
    /// Reads a request's head.
    pub(super) fn read(mut parts: request::Parts) -> Result<Self, Fault> {
        if let Some((name, _)) = parts.headers.iter().find(|(_, value)| value.len() > HEADER_BYTES_MAX) {
            return Err(Fault::invalid(format!("Header value too long: {name}")));
        }
        let mut origin: Origin = parts.extensions.remove().unwrap_or_default();
        // What its access rules do not let pass, it is no token for.
        let admits = |party: &Party| match party {
            Party::Keystone { caller, .. } => caller.admits(SERVICE, parts.method.as_str(), parts.uri.path()),
            Party::Member(_) => true,
        };
        origin.party = origin.party.filter(admits);
        Ok(Self {
            target: Target::parse(parts.uri.path())?,
            query: Query::parse(parts.uri.query().unwrap_or(""))?,
            method: parts.method,
            version: parts.version,
            headers: parts.headers,
            origin,
            now: SystemClock.wall(),
        })
    }

    /// Identity's caller, where it is one of its tokens that names the sender.
    pub(super) fn caller(&self) -> Option<&Caller> {
        match &self.origin.party {
            Some(Party::Keystone { caller, .. }) => Some(caller),
            _ => None,
        }
    }

    /// A header's value where there is one and it is UTF-8.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).map(str::trim)
    }

    /// Whether a header says yes, in any of the words that Swift takes for it.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.header(name).is_some_and(is_true)
    }

    /// Length of the body where it is stated.
    pub(super) fn content_length(&self) -> Result<Option<u64>, Fault> {
        match self.header("content-length") {
            // RFC 9112 §6.3: where both are there, the transfer encoding wins.
            _ if self.headers.contains_key("transfer-encoding") => Ok(None),
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(Fault::invalid("Invalid Content-Length header value")),
            },
        }
    }
}

/// Whether a word means yes.
pub(super) fn is_true(word: &str) -> bool {
    ["true", "1", "yes", "on", "t", "y"].iter().any(|yes| word.eq_ignore_ascii_case(yes))
}

/// A query string, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a query string; what is not UTF-8 is refused.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            let decoded = percent_decode_str(&text).decode_utf8().map(std::borrow::Cow::into_owned);
            decoded.map_err(|_| Fault::because(StatusCode::BAD_REQUEST, "Query parameters must be valid UTF-8"))
        };
        let items = text.split('&').filter(|item| !item.is_empty()).map(|item| {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self(items.collect::<Result<_, Fault>>()?))
    }

    /// The last value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether there is any parameter.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_as_forms_are() {
        let query = Query::parse("prefix=a%2Fb+c&reverse&limit=5&limit=6&x=%E2%98%83").expect("valid");
        for (name, want) in [
            ("prefix", Some("a/b c")),
            ("reverse", Some("")),
            ("limit", Some("6")),
            ("x", Some("☃")),
            ("delimiter", None),
        ] {
            assert_eq!(query.get(name), want, "{name}");
        }
        assert_eq!(Query::parse("marker=%FF").map_err(|fault| fault.code()), Err(400));
        assert!(Query::parse("").expect("valid").is_empty());
    }

    #[test]
    fn the_words_for_yes() {
        for (word, want) in [("true", true), ("TRUE", true), ("on", true), ("1", true), ("false", false), ("", false)] {
            assert_eq!(is_true(word), want, "{word}");
        }
    }
}
