//! Requests in S3's form, signed with Signature V4 in headers. The signing key is derived once a day and
//! the payload's hash comes with the payload, so that a signature costs three hashes of some hundred
//! bytes.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// SHA-256 of nothing.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a canonical query encodes: all but the unreserved characters.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";

/// Keys, region and where the bucket is.
pub(crate) struct S3 {
    pub(crate) host: String,
    pub(crate) bucket: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) region: String,
}

/// A worker's signing state: the key of the day and the time of the second.
pub(crate) struct Signer {
    second: u64,
    day: u64,
    // YYYYMMDD'T'HHMMSS'Z'
    stamp: String,
    scope: String,
    key: Option<Hmac<Sha256>>,
    canonical: String,
}

impl Signer {
    pub(crate) fn new() -> Self {
        Self {
            second: 0,
            day: 0,
            stamp: String::new(),
            scope: String::new(),
            key: None,
            canonical: String::with_capacity(1024),
        }
    }

    /// Moves on to the second that it is now.
    fn refresh(&mut self, s3: &S3, now: SystemTime) {
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if second == self.second && self.key.is_some() {
            return;
        }
        self.second = second;
        let time = time::OffsetDateTime::from(now);
        self.stamp = format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        let day = second / 86_400;
        if day != self.day || self.key.is_none() {
            self.day = day;
            let date = &self.stamp[..8];
            self.scope = format!("{date}/{}/s3/aws4_request", s3.region);
            let first = hmac(format!("AWS4{}", s3.secret_key).as_bytes(), date.as_bytes());
            let region = hmac(&first, s3.region.as_bytes());
            let service = hmac(&region, b"s3");
            self.key = Some(keyed(&hmac(&service, b"aws4_request")));
        }
    }
}

impl S3 {
    /// Writes the head of a request for `/bucket/key?query`. `key` needs no encoding; `query` is canonical.
    pub(crate) fn write_head(
        &self,
        signer: &mut Signer,
        method: &str,
        key: &str,
        query: &str,
        payload: Option<(u64, &str)>,
        out: &mut String,
    ) {
        self.write_head_at(signer, SystemTime::now(), method, key, query, payload, out);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, and the clock for the test")]
    fn write_head_at(
        &self,
        signer: &mut Signer,
        now: SystemTime,
        method: &str,
        key: &str,
        query: &str,
        payload: Option<(u64, &str)>,
        out: &mut String,
    ) {
        signer.refresh(self, now);
        let sha256 = payload.map_or(EMPTY_SHA256, |(_, sha256)| sha256);
        let Self { host, bucket, access_key, .. } = self;
        let separator = if key.is_empty() { "" } else { "/" };
        // Writing to a String cannot fail.
        signer.canonical.clear();
        let _ = write!(
            signer.canonical,
            "{method}\n/{bucket}{separator}{key}\n{query}\nhost:{host}\nx-amz-content-sha256:{sha256}\nx-amz-date:{stamp}\n\n\
             {SIGNED_HEADERS}\n{sha256}",
            stamp = signer.stamp
        );
        let mut canonical_hex = [0; 64];
        let digest = Sha256::digest(signer.canonical.as_bytes());
        let canonical_hash = hex_into(&digest, &mut canonical_hex);
        signer.canonical.clear();
        let _ = write!(signer.canonical, "AWS4-HMAC-SHA256\n{}\n{}\n{canonical_hash}", signer.stamp, signer.scope);
        let mut mac = signer.key.clone().unwrap_or_else(|| keyed(b""));
        mac.update(signer.canonical.as_bytes());
        let mut signature_hex = [0; 64];
        let signature_bytes = mac.finalize().into_bytes();
        let signature = hex_into(&signature_bytes, &mut signature_hex);
        let mark = if query.is_empty() { "" } else { "?" };
        let _ = write!(
            out,
            "{method} /{bucket}{separator}{key}{mark}{query} HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {}\r\n\
             x-amz-content-sha256: {sha256}\r\nauthorization: AWS4-HMAC-SHA256 Credential={access_key}/{}, \
             SignedHeaders={SIGNED_HEADERS}, Signature={signature}\r\n",
            signer.stamp, signer.scope
        );
        if let Some((length, _)) = payload {
            let _ = write!(out, "content-length: {length}\r\n");
        }
        out.push_str("\r\n");
    }

    /// The query of one page of a listing, canonical: encoded, and sorted by name.
    pub(crate) fn list_query(prefix: &str, delimiter: Option<&str>, token: Option<&str>, limit: u64) -> String {
        let encode = |value| utf8_percent_encode(value, QUERY);
        let mut query = String::new();
        // Writing to a String cannot fail.
        if let Some(token) = token {
            let _ = write!(query, "continuation-token={}&", encode(token));
        }
        if let Some(delimiter) = delimiter {
            let _ = write!(query, "delimiter={}&", encode(delimiter));
        }
        let _ = write!(query, "list-type=2&max-keys={}&prefix={}", limit.min(PAGE_KEYS_MAX), encode(prefix));
        query
    }
}

/// Keys of a page at most, by S3's rule.
const PAGE_KEYS_MAX: u64 = 1000;

/// Counts the keys and common prefixes of a page; the token of the next one.
pub(crate) fn read_page(page: &str) -> (u64, Option<String>) {
    let found = page.matches("<Key>").count() + page.matches("<CommonPrefixes>").count();
    let token = page
        .split_once("<NextContinuationToken>")
        .and_then(|(_, rest)| rest.split_once('<'))
        .map(|(token, _)| token.replace("&amp;", "&").replace("&quot;", "\"").replace("&#39;", "'"));
    (found as u64, token)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(data);
    mac.finalize().into_bytes().into()
}

fn hex_into<'a>(bytes: &[u8], into: &'a mut [u8; 64]) -> &'a str {
    hex::encode_to_slice(bytes, into).expect("32 bytes are 64 digits");
    std::str::from_utf8(into).expect("digits are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values were computed with botocore 1.43 (`S3SigV4Auth`) for the same request.
    #[test]
    fn a_signature_is_the_one_that_amazons_own_client_makes() {
        let s3 = S3 {
            host: "127.0.0.1:9000".to_owned(),
            bucket: "bench".to_owned(),
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let now = UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        for (method, key, query, want) in [
            ("GET", "k/000000000001", "", "649319e9a98f3de40c9de49e01add8c0b8f9c3cd7455401c8d4bdeb3e7ab57f2"),
            (
                "GET",
                "",
                "delimiter=%2F&list-type=2&max-keys=1000&prefix=k%2F",
                "65eace0d3191748c6920183628e6fe2a5dc0bd1f8606f63313cef217d47053bb",
            ),
        ] {
            let mut head = String::new();
            s3.write_head_at(&mut Signer::new(), now, method, key, query, None, &mut head);
            assert!(head.contains(&format!("Signature={want}\r\n")), "{head}");
            assert!(head.contains("x-amz-date: 20231114T221320Z\r\n"), "{head}");
        }
    }

    #[test]
    fn a_page_gives_its_count_and_the_way_on() {
        let page = "<ListBucketResult><Prefix>k/</Prefix><Contents><Key>k/1</Key></Contents><Contents><Key>k/2</Key>\
                    </Contents><CommonPrefixes><Prefix>k/d/</Prefix></CommonPrefixes>\
                    <NextContinuationToken>a&amp;b</NextContinuationToken></ListBucketResult>";
        assert_eq!(read_page(page), (3, Some("a&b".to_owned())));
        assert_eq!(read_page("<ListBucketResult/>"), (0, None));
        let query = S3::list_query("k/", Some("/"), Some("a&b"), 5000);
        assert_eq!(query, "continuation-token=a%26b&delimiter=%2F&list-type=2&max-keys=1000&prefix=k%2F");
    }
}
