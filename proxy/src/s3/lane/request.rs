//! Which requests the lane takes, and what they say. `None` is always "leave it to `s3s`".

use anello_storage::{Etags, Precondition};
use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::percent_decode_str;
use s3s::dto;

use super::is_ours;
use crate::s3::acl;
use crate::s3::gate;
use crate::s3::get::Wanted;
use crate::s3::limits::KEY_BYTES_MAX;
use crate::s3::lock;
use crate::s3::metadata::Described;
use crate::s3::put::PutRequest;
use crate::s3::receive::Promise;

/// `x-amz-content-sha256` of a body that is not signed.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// What is to be done.
pub(super) enum Work {
    Get(Wanted),
    Head(Wanted),
    Put(Box<PutRequest>),
    Delete(Precondition),
}

/// Bucket and key of a path that is canonical as it stands: what needs no escape has none, and the rest
/// has one in upper case.
pub(super) fn path(path: &str) -> Option<(String, String)> {
    let mut rest = path.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = match byte {
            b'%' => {
                let digits = tail.get(..2)?;
                let value = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                let is_canonical = !digits.iter().any(u8::is_ascii_lowercase) && !is_plain(value) && value != b'/';
                if !is_canonical || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                &tail[2..]
            }
            byte if is_plain(*byte) || *byte == b'/' => tail,
            _ => return None,
        };
    }
    let (bucket, key) = path.strip_prefix('/')?.split_once('/')?;
    let decoded = percent_decode_str(key).decode_utf8().ok()?;
    let is_plain_bucket = !bucket.is_empty() && !bucket.starts_with('.') && !bucket.contains('%');
    let is_key = !decoded.is_empty() && decoded.len() <= KEY_BYTES_MAX && !decoded.contains('\0');
    (is_plain_bucket && bucket.len() <= 256 && is_key).then(|| (bucket.to_owned(), decoded.into_owned()))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// The canonical form of a query that asks for nothing: some kits repeat the operation's name there.
pub(super) fn query(query: Option<&str>) -> Option<String> {
    let text = query.unwrap_or_default();
    matches!(text, "" | "x-id=GetObject" | "x-id=HeadObject" | "x-id=PutObject" | "x-id=DeleteObject")
        .then(|| text.to_owned())
}

impl Work {
    /// Reads the headers; every one of them has to be known.
    pub(super) fn read(method: &Method, headers: &HeaderMap, payload: &str) -> Option<Self> {
        if !is_ours(method) {
            return None;
        }
        match *method {
            Method::GET => Some(Self::Get(wanted(headers)?)),
            Method::HEAD => Some(Self::Head(wanted(headers)?)),
            Method::PUT => Some(Self::Put(Box::new(put_request(headers, payload)?))),
            _ => Some(Self::Delete(delete(headers)?)),
        }
    }
}

/// Headers that say nothing about the object.
fn is_of_transfer(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "authorization"
            | "x-amz-date"
            | "x-amz-content-sha256"
            | "x-amz-user-agent"
            | "user-agent"
            | "accept"
            | "accept-encoding"
            | "connection"
            | "amz-sdk-invocation-id"
            | "amz-sdk-request"
            | "expect"
            | "date"
    )
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| !text.is_empty())
}

fn is_without_body(value: &HeaderValue) -> bool {
    value.as_bytes() == b"0"
}

pub(in crate::s3) fn wanted(headers: &HeaderMap) -> Option<Wanted> {
    let mut wanted = Wanted::default();
    let conditions = &mut wanted.conditions;
    for (name, value) in headers {
        match name.as_str() {
            "content-length" if is_without_body(value) => {}
            // One that can't be read is ignored.
            "range" => wanted.range = gate::range(value),
            "x-amz-checksum-mode" => wanted.with_checksum = text(value)? == "ENABLED",
            "if-match" => conditions.if_match = Some(etags(text(value)?)?),
            "if-none-match" => conditions.if_none_match = Some(etags(text(value)?)?),
            "if-modified-since" => conditions.if_modified_since = Some(seconds(text(value)?)?),
            "if-unmodified-since" => conditions.if_unmodified_since = Some(seconds(text(value)?)?),
            name if is_of_transfer(name) => {}
            _ => return None,
        }
    }
    Some(wanted)
}

fn delete(headers: &HeaderMap) -> Option<Precondition> {
    let mut condition = Precondition::default();
    for (name, value) in headers {
        match name.as_str() {
            "content-length" if is_without_body(value) => {}
            "if-match" => condition.if_match = Some(etags(text(value)?)?),
            name if is_of_transfer(name) => {}
            _ => return None,
        }
    }
    Some(condition)
}

fn put_request(headers: &HeaderMap, payload: &str) -> Option<PutRequest> {
    let mut described = Described::default();
    let mut condition = Precondition::default();
    let mut user = dto::Metadata::new();
    for (name, value) in headers {
        let kept = || text(value).map(str::to_owned);
        match name.as_str() {
            "content-type" => described.content_type = Some(kept()?),
            "cache-control" => described.cache_control = Some(kept()?),
            "content-disposition" => described.content_disposition = Some(kept()?),
            "content-encoding" => described.content_encoding = Some(kept()?),
            "content-language" => described.content_language = Some(kept()?),
            "if-match" => condition.if_match = Some(etags(text(value)?)?),
            "if-none-match" => condition.if_none_match = Some(etags(text(value)?)?),
            "content-length" | "content-md5" | "x-amz-sdk-checksum-algorithm" => {}
            name if name.starts_with("x-amz-checksum-") && name != "x-amz-checksum-algorithm" => {}
            name if name.starts_with("x-amz-meta-") => {
                let value = text(value).filter(|value| !value.contains("=?"))?;
                user.insert(name["x-amz-meta-".len()..].to_owned(), value.to_owned());
            }
            name if is_of_transfer(name) => {}
            _ => return None,
        }
    }
    if !user.is_empty() {
        described.user = Some(user);
    }
    let length = text(headers.get(http::header::CONTENT_LENGTH)?)?.parse().ok()?;
    let mut promise = Promise::from_headers(headers, Some(length)).ok()?;
    if payload != UNSIGNED {
        let mut digest = [0; 32];
        hex::decode_to_slice(payload, &mut digest).ok()?;
        promise = promise.with_sha256(digest);
    }
    Some(PutRequest {
        described,
        condition,
        promise,
        lock: lock::Wanted::default(),
        acl: acl::Given::default(),
        redirect: None,
    })
}

/// `*` or a list of entity tags, quoted or not.
fn etags(text: &str) -> Option<Etags> {
    if text == "*" {
        return Some(Etags::Any);
    }
    let one = |item: &str| {
        let item = item.trim();
        let item = item.strip_prefix("W/").unwrap_or(item);
        let bare = item.strip_prefix('"').and_then(|item| item.strip_suffix('"')).unwrap_or(item);
        (!bare.is_empty() && !bare.contains('"')).then(|| bare.to_owned())
    };
    text.split(',').map(one).collect::<Option<Vec<_>>>().map(Etags::List)
}

fn seconds(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(items: &[(&'static str, &'static str)]) -> HeaderMap {
        items.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_canonical_paths_of_objects_are_taken() {
        let check = |given: &str, want: Option<(&str, &str)>| {
            let found = path(given);
            assert_eq!(found.as_ref().map(|(bucket, key)| (bucket.as_str(), key.as_str())), want, "{given}");
        };
        check("/b/k", Some(("b", "k")));
        check("/b/a/b//c", Some(("b", "a/b//c")));
        check("/b/a%20b%C3%BC", Some(("b", "a bü")));
        for given in [
            "/",
            "/b",
            "/b/",
            "/.s3/k",
            "/b/%2f",
            "/b/%2F",
            "/b/%41",
            "/b/a+b",
            "/b/%c3%bc",
            "/b/%ff",
            "/b/%0",
            "/b/%+1",
        ] {
            check(given, None);
        }
        check("/b/%FF", None);
        check("/b/%00", None);
    }

    #[test]
    fn an_unknown_header_is_left_to_the_other_way() {
        assert!(wanted(&headers(&[("host", "h"), ("range", "bytes=0-1")])).is_some());
        for unknown in [("x-amz-server-side-encryption-customer-algorithm", "AES256"), ("x-new", "1")] {
            assert!(wanted(&headers(&[unknown])).is_none(), "{unknown:?}");
        }
        let put = [("content-length", "1"), ("x-amz-acl", "private")];
        assert!(put_request(&headers(&put[..1]), UNSIGNED).is_some());
        assert!(put_request(&headers(&put), UNSIGNED).is_none());
        assert!(put_request(&headers(&put[..1]), "STREAMING-UNSIGNED-PAYLOAD-TRAILER").is_none());
        assert!(put_request(&headers(&[]), UNSIGNED).is_none(), "no length");
    }

    #[test]
    fn tags_are_read_in_all_their_spellings() {
        let list = |items: &[&str]| Some(Etags::List(items.iter().map(|item| (*item).to_owned()).collect()));
        assert_eq!(etags("*"), Some(Etags::Any));
        assert_eq!(etags("\"a\", W/\"b\",c"), list(&["a", "b", "c"]));
        assert_eq!(etags("\"a\"\"b\""), None);
        let read = wanted(&headers(&[("if-none-match", "\"a\"")])).expect("known headers");
        assert_eq!(read.conditions.if_none_match, list(&["a"]));
    }
}
