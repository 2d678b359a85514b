//! Signature Version 4 in the header `authorization`, for the lane. It only ever says yes: whatever is
//! unusual or wrong is left to `s3s`, which checks again and says why.
//!
//! The key of a signature's scope is derived once and kept with the access key, so that a request costs
//! two digests and one HMAC.

use anello_base::{Clock, SystemClock};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, Method};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::s3::limits::CLOCK_SKEW;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The digest of a request's canonical form, or a key derived for a scope.
pub(super) type Digest32 = [u8; 32];

/// What the header says.
#[derive(Debug)]
pub(super) struct Stated<'a> {
    pub(super) access: &'a str,
    /// `YYYYMMDD`.
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    /// `x-amz-date`.
    stamp: &'a str,
    signed_headers: &'a str,
    signature: Digest32,
}

/// Reads the header; `None` where it is not of the plain kind or the time is off.
pub(super) fn read(headers: &HeaderMap) -> Option<Stated<'_>> {
    let text = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let mut parts = text.strip_prefix(ALGORITHM)?.strip_prefix(' ')?.split(',').map(str::trim);
    let credential = parts.next()?.strip_prefix("Credential=")?;
    let signed_headers = parts.next()?.strip_prefix("SignedHeaders=")?;
    let mut signature = [0; 32];
    hex::decode_to_slice(parts.next()?.strip_prefix("Signature=")?, &mut signature).ok()?;
    let mut scope = credential.rsplitn(5, '/');
    let is_plain = scope.next()? == "aws4_request" && scope.next()? == "s3" && parts.next().is_none();
    let (region, date, access) = (scope.next()?, scope.next()?, scope.next()?);
    let stamp = headers.get("x-amz-date")?.to_str().ok()?;
    let is_region = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let is_now = seconds(stamp)?.abs_diff(SystemClock.wall().seconds()) <= CLOCK_SKEW.as_secs();
    (is_plain && is_region && is_now && stamp.starts_with(date)).then_some(Stated {
        access,
        date,
        region,
        stamp,
        signed_headers,
        signature,
    })
}

/// `YYYYMMDDTHHMMSSZ` in seconds since 1970.
fn seconds(stamp: &str) -> Option<u64> {
    let bytes = stamp.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        let digits = stamp.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u16>().ok())?
    };
    let two = |at: usize| u8::try_from(number(at..at + 2)?).ok();
    let month = time::Month::try_from(two(4)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(number(0..4)?), month, two(6)?).ok()?;
    let time = date.with_hms(two(9)?, two(11)?, two(13)?).ok()?.assume_utc();
    u64::try_from(time.unix_timestamp()).ok()
}

/// The key for a scope.
pub(super) fn derive(secret: &str, date: &str, region: &str) -> Digest32 {
    let first = hmac(format!("AWS4{secret}").as_bytes(), date.as_bytes());
    [region, "s3", "aws4_request"].iter().fold(first, |key, text| hmac(&key, text.as_bytes()))
}

pub(super) fn hmac(key: &[u8], data: &[u8]) -> Digest32 {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Digest of the canonical request. `None` where a header would have to be made canonical first, where
/// the host or an `x-amz-` header is not signed, or where the list of signed headers is not in order.
pub(super) fn canonical(
    stated: &Stated<'_>,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    payload: &str,
) -> Option<Digest32> {
    let mut hasher = Sha256::new();
    for text in [method.as_str(), "\n", path, "\n", query, "\n"] {
        hasher.update(text);
    }
    let mut previous = "";
    let mut amazon = 0;
    let mut has_host = false;
    for name in stated.signed_headers.split(';') {
        if name <= previous {
            return None;
        }
        previous = name;
        has_host |= name == "host";
        amazon += usize::from(name.starts_with("x-amz-"));
        let value = headers.get(name)?.as_bytes();
        let needs_work = value.first() == Some(&b' ')
            || value.last() == Some(&b' ')
            || value.windows(2).any(|pair| pair == b"  ")
            || value.contains(&b'\t');
        if needs_work {
            return None;
        }
        hasher.update(name);
        hasher.update(":");
        hasher.update(value);
        hasher.update("\n");
    }
    let is_amazons = |name: &&HeaderName| name.as_str().starts_with("x-amz-");
    if !has_host || headers.keys().filter(is_amazons).count() != amazon {
        return None;
    }
    for text in ["\n", stated.signed_headers, "\n", payload] {
        hasher.update(text);
    }
    Some(hasher.finalize().into())
}

/// Whether the signature is the one that the key makes of the canonical request.
pub(super) fn holds(stated: &Stated<'_>, key: &Digest32, canonical: &Digest32) -> bool {
    let mut text = String::with_capacity(200);
    for part in [ALGORITHM, "\n", stated.stamp, "\n", stated.date, "/", stated.region, "/s3/aws4_request\n"] {
        text.push_str(part);
    }
    text.push_str(&hex::encode(canonical));
    hmac(key, text.as_bytes()).ct_eq(&stated.signature).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The example of a GET with a range in Amazon's documentation of signatures.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn example() -> (HeaderMap, Stated<'static>) {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut signature = [0; 32];
        let text = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        hex::decode_to_slice(text, &mut signature).expect("hex");
        let stated = Stated {
            access: "AKIAIOSFODNN7EXAMPLE",
            date: "20130524",
            region: "us-east-1",
            stamp: "20130524T000000Z",
            signed_headers: "host;range;x-amz-content-sha256;x-amz-date",
            signature,
        };
        (headers, stated)
    }

    fn is_accepted(headers: &HeaderMap, stated: &Stated<'_>, path: &str) -> bool {
        let key = derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1");
        canonical(stated, &Method::GET, path, "", headers, EMPTY).is_some_and(|digest| holds(stated, &key, &digest))
    }

    #[test]
    fn amazons_example_is_accepted_and_anything_changed_is_not() {
        let (headers, stated) = example();
        assert!(is_accepted(&headers, &stated, "/test.txt"));
        assert!(!is_accepted(&headers, &stated, "/test.txt2"));
        let (mut headers, stated) = example();
        headers.insert("range", HeaderValue::from_static("bytes=0-99"));
        assert!(!is_accepted(&headers, &stated, "/test.txt"));
        let (mut headers, stated) = example();
        headers.insert("x-amz-meta-added", HeaderValue::from_static("1"));
        assert!(!is_accepted(&headers, &stated, "/test.txt"), "an x-amz- header outside the signature");
        let (headers, mut stated) = example();
        stated.signed_headers = "range;x-amz-content-sha256;x-amz-date";
        assert!(!is_accepted(&headers, &stated, "/test.txt"), "the host is not signed");
    }

    #[test]
    fn stamps_are_read_or_refused() {
        assert_eq!(seconds("20130524T000000Z"), Some(1_369_353_600));
        for text in ["20130524T000000", "20131324T000000Z", "2013-524T000000Z", "20130524 000000Z", "２0130524T00000Z"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn an_old_request_is_left_to_be_refused() {
        let mut headers = example().0;
        let value =
            "AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00";
        headers.insert(
            "authorization",
            HeaderValue::from_str(&value.replace("=00", &format!("={EMPTY}"))).expect("a value"),
        );
        assert!(read(&headers).is_none());
    }
}
