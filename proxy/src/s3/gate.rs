//! What is seen to around `s3s`, so that it answers as S3 does: stale requests of Signature Version 2 are refused, a `Range` that makes no sense is ignored, and a document that is not
//! what was signed is told so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, dto, s3_error};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::error;
use super::limits::{CLOCK_SKEW, PRESIGNED_SECONDS_MAX};

/// Why a request does not even get to `s3s`.
pub(super) fn refuse<B>(request: &Request<B>) -> Result<(), S3Error> {
    check_expiry(request.uri().query().unwrap_or_default())?;
    check_date(request.headers())
}

/// An address that is signed for longer than S3 lets one be is refused, as in S3. (`s3s` takes any time.)
fn check_expiry(query: &str) -> Result<(), S3Error> {
    let decode = |text| percent_decode_str(text).decode_utf8_lossy();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let is_too_long = |seconds| decode(seconds).parse().is_ok_and(|seconds: u64| seconds > PRESIGNED_SECONDS_MAX);
    if pairs.any(|(name, seconds)| decode(name) == "X-Amz-Expires" && is_too_long(seconds)) {
        return Err(error::custom(
            "AuthorizationQueryParametersError",
            StatusCode::BAD_REQUEST,
            "X-Amz-Expires must be less than a week (in seconds).",
        ));
    }
    Ok(())
}

/// Whether it is an upload by a browser's form. `s3s` would hold its file in memory before anybody asked who sends it, so
/// [`super::form`] takes it.
pub(super) fn is_form<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let form = b"multipart/form-data";
    request.method() == Method::POST
        && content_type.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form))
}

/// `s3s` looks at the date of a signature of version 4 only.
fn check_date(headers: &HeaderMap) -> Result<(), S3Error> {
    let is_version_2 = headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS "));
    if !is_version_2 {
        return Ok(());
    }
    let stated = headers.get("x-amz-date").or_else(|| headers.get(header::DATE));
    let time = stated
        .and_then(|value| time(value.to_str().ok()?))
        .ok_or_else(|| s3_error!(AccessDenied, "AWS authentication requires a valid Date or x-amz-date header"))?;
    let now = SystemTime::now();
    let skew = now.duration_since(time).or_else(|_| time.duration_since(now)).unwrap_or_default();
    if skew > CLOCK_SKEW { Err(S3ErrorCode::RequestTimeTooSkewed.into()) } else { Ok(()) }
}

/// A date in one of HTTP's forms, or in that of mails, whose zone may be a number.
fn time(text: &str) -> Option<SystemTime> {
    let mails = || OffsetDateTime::parse(text, &Rfc2822).ok().map(SystemTime::from);
    httpdate::parse_http_date(text).ok().or_else(mails)
}

/// S3 ignores a `Range` that it can't read, or that names several, and sends the whole. `s3s` refuses it, so
/// it is taken away; where the signature covers it, it has to stay.
pub(super) fn ignore_malformed_range<B>(request: &mut Request<B>) {
    let is_malformed = request.headers().get(header::RANGE).is_some_and(|value| range(value).is_none());
    if is_malformed && !is_signed(request, "range") {
        request.headers_mut().remove(header::RANGE);
    }
}

/// What a `Range` says, if it says anything. (`s3s` reads no number as zero.)
pub(super) fn range(value: &HeaderValue) -> Option<dto::Range> {
    let text = value.to_str().ok().filter(|text| *text != "bytes=-")?;
    dto::Range::parse(text).ok()
}

/// Whether the signature says that it covers the header.
fn is_signed<B>(request: &Request<B>, name: &str) -> bool {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_header = authorization.and_then(|text| text.split_once("SignedHeaders=")?.1.split(',').next());
    let query = request.uri().query().unwrap_or_default();
    let in_query = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-SignedHeaders="));
    let in_query = in_query.map(|names| names.replace("%3B", ";").replace("%3b", ";"));
    let names = in_header.into_iter().chain(in_query.as_deref());
    names.flat_map(|names| names.split(';')).any(|signed| signed.trim() == name)
}

/// The digest of a document (an XML body) as it comes in, beside the one that was signed. `s3s` compares
/// them too, and answers a difference with InternalError.
pub(super) struct Document {
    stated: [u8; 32],
    length: u64,
    found: Arc<Mutex<Found>>,
}

#[derive(Debug, Default)]
struct Found {
    hasher: Sha256,
    length: u64,
}

impl Document {
    /// Watches the body of a request, where it is a document with a signed digest.
    pub(super) fn watch<B>(request: Request<B>) -> (Request<s3s::Body>, Option<Self>)
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let mut stated = [0; 32];
        let value = request.headers().get("x-amz-content-sha256");
        let has_digest = value.is_some_and(|value| hex::decode_to_slice(value, &mut stated).is_ok());
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok()).filter(|_| has_digest);
        let Some(length) = length.filter(|_| is_document(&request)) else {
            return (request.map(s3s::Body::http_body_unsync), None);
        };
        let found = Arc::<Mutex<Found>>::default();
        let seen = found.clone();
        let watched = request.map(|body| {
            s3s::Body::http_body_unsync(body.map_frame(move |frame| {
                if let Some(data) = frame.data_ref() {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.hasher.update(data);
                    seen.length += data.len() as u64;
                }
                frame
            }))
        });
        (watched, Some(Self { stated, length, found }))
    }

    /// Gives the answer its reason, where it failed because of the body: all of it came, and is another.
    pub(super) fn explain(&self, response: Response<s3s::Body>) -> Response<s3s::Body> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let is_whole = found.length == self.length;
        if response.status() == StatusCode::INTERNAL_SERVER_ERROR
            && is_whole
            && found.hasher.clone().finalize()[..] != self.stated
        {
            return error::wrong_payload().to_http_response().unwrap_or(response);
        }
        response
    }
}

/// Whether the body is a document and not an object's data. What is taken for one by mistake (data sent
/// to a bucket that the host names) costs a second digest.
fn is_document<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let is_of_data =
        |pair: &str| pair.starts_with("partNumber=") || pair.starts_with("uploadId=") || pair.starts_with("x-id=");
    let names_a_key = request.uri().path().trim_start_matches('/').contains('/');
    match *request.method() {
        Method::POST => true,
        Method::PUT => !names_a_key || query.split('&').any(|pair| !pair.is_empty() && !is_of_data(pair)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let request = Request::builder().method(method).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request")
    }

    #[test]
    fn a_malformed_range_is_taken_away_unless_it_is_signed() {
        let kept = |uri, headers: &[(&'static str, &str)]| {
            let mut request = request("GET", uri, headers);
            ignore_malformed_range(&mut request);
            request.headers().contains_key("range")
        };
        assert!(kept("/b/k", &[("range", "bytes=0-1")]));
        for range in ["", "bytes", "bytes=", "bytes=-", "bytes=2-1", "bytes=1-2,4-5", "bytes=1-2x", "rows=1-2"] {
            assert!(!kept("/b/k", &[("range", range)]), "{range}");
            let signed = "AWS4-HMAC-SHA256 Credential=c, SignedHeaders=host;range, Signature=s";
            assert!(kept("/b/k", &[("range", range), ("authorization", signed)]), "{range}");
            assert!(kept("/b/k?X-Amz-SignedHeaders=host%3Brange", &[("range", range)]), "{range}");
            assert!(!kept("/b/k?X-Amz-SignedHeaders=host", &[("range", range)]), "{range}");
        }
    }

    #[test]
    fn an_address_is_signed_for_a_week_at_most_however_that_is_written() {
        for (query, want) in [
            ("X-Amz-Date=d&X-Amz-Expires=604800", true),
            ("X-Amz-Date=d&X-Amz-Expires=604801", false),
            ("X%2DAmz-Expires=604801", false),
            ("X-Amz-Expires=60480%31", false),
            ("X-Amz-Expires=1&X-Amz-Expires=604801", false),
            ("expires=604801", true),
        ] {
            assert_eq!(check_expiry(query).is_ok(), want, "{query}");
        }
    }

    #[test]
    fn a_part_and_an_object_are_no_documents() {
        for (method, uri, want) in [
            ("POST", "/b?delete", true),
            ("POST", "/b/k?uploadId=1", true),
            ("PUT", "/b", true),
            ("PUT", "/b/k?tagging", true),
            ("PUT", "/b/k?acl=", true),
            ("PUT", "/b/k", false),
            ("PUT", "/b/k?x-id=PutObject", false),
            ("PUT", "/b/k?partNumber=1&uploadId=2&x-id=UploadPart", false),
            ("GET", "/b/k", false),
        ] {
            assert_eq!(is_document(&request(method, uri, &[])), want, "{method} {uri}");
        }
    }
}
