//! Taking in an upload's bytes: each chunk is hashed and handed to the engine as it comes, so that memory
//! stays at a chunk per upload, and at the end everything that the client promised about them is checked,
//! before they become visible.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::HeaderMap;
use s3s::{S3ErrorCode, S3Result, StdError, TrailingHeaders, s3_error};

use super::checksum::{Algorithm, Checksum, Hasher};
use super::error::{from_body, from_storage, wrong_payload};
use super::limits::PUT_BYTES_MAX;
use crate::digest::{Digester, Digests};
use crate::object::writer::Writer;

/// Where the client's checksum is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stated {
    Header(Vec<u8>),
    Trailer,
    /// Only the algorithm was named.
    Nowhere,
}

/// What a client promises about the bytes it sends.
#[derive(Debug)]
pub(super) struct Promise {
    length: Length,
    md5: Option<[u8; 16]>,
    /// Digest that the signature covers, where nobody has checked it yet.
    sha256: Option<[u8; 32]>,
    checksum: Option<(Algorithm, Stated)>,
}

/// How many bytes there are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Exactly(u64),
    /// At least and at most so many.
    Between(u64, u64),
}

impl Length {
    /// Fails where so many are too many.
    fn check_most(self, received: u64) -> S3Result<()> {
        match self {
            Self::Exactly(length) if received > length => Err(S3ErrorCode::IncompleteBody.into()),
            Self::Between(_, most) if received > most => Err(S3ErrorCode::EntityTooLarge.into()),
            Self::Exactly(_) | Self::Between(..) => Ok(()),
        }
    }

    /// Fails where so many are too few.
    fn check_least(self, received: u64) -> S3Result<()> {
        match self {
            Self::Exactly(length) if received < length => Err(S3ErrorCode::IncompleteBody.into()),
            Self::Between(least, _) if received < least => Err(S3ErrorCode::EntityTooSmall.into()),
            Self::Exactly(_) | Self::Between(..) => Ok(()),
        }
    }
}

/// What was received.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) md5: [u8; 16],
    /// Bytes.
    pub(super) size: u64,
    pub(super) checksum: Option<Checksum>,
}

impl Promise {
    /// A copy inside the server promises only its length.
    pub(super) fn length(length: u64, algorithm: Option<Algorithm>) -> Self {
        let length = Length::Exactly(length);
        Self { length, md5: None, sha256: None, checksum: algorithm.map(|algorithm| (algorithm, Stated::Nowhere)) }
    }

    /// Reads it from an upload's headers. `length` is the operation's; an upload in chunks, as SDKs send it
    /// over TLS, states the length of what they carry on its own.
    pub(super) fn from_headers(headers: &HeaderMap, length: Option<i64>) -> S3Result<Self> {
        let decoded = headers.get("x-amz-decoded-content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let length = decoded.or(length.and_then(|length| u64::try_from(length).ok()));
        let length = length.ok_or(S3ErrorCode::MissingContentLength)?;
        if length > PUT_BYTES_MAX {
            return Err(S3ErrorCode::EntityTooLarge.into());
        }
        Self::read(Length::Exactly(length), headers)
    }

    /// Of an upload that states no length but has to be between two.
    pub(super) fn between(least: u64, most: u64, headers: &HeaderMap) -> S3Result<Self> {
        Self::read(Length::Between(least, most), headers)
    }

    /// The number of bytes, where it is known.
    pub(super) fn size_hint(&self) -> Option<u64> {
        match self.length {
            Length::Exactly(length) => Some(length),
            Length::Between(..) => None,
        }
    }

    fn read(length: Length, headers: &HeaderMap) -> S3Result<Self> {
        let md5 = match headers.get("content-md5") {
            None => None,
            Some(value) => {
                let digest = STANDARD.decode(value.as_bytes()).ok();
                Some(digest.and_then(|digest| digest.try_into().ok()).ok_or(S3ErrorCode::InvalidDigest)?)
            }
        };
        Ok(Self { length, md5, sha256: None, checksum: stated(headers)? })
    }

    /// The algorithm of the checksum that comes with the bytes.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.as_ref().map(|(algorithm, _)| *algorithm)
    }

    /// The bytes also have to have this digest.
    pub(super) fn with_sha256(mut self, digest: [u8; 32]) -> Self {
        self.sha256 = Some(digest);
        self
    }

    /// Computes this checksum where the client sends none.
    pub(super) fn or_compute(mut self, algorithm: Option<Algorithm>) -> Self {
        self.checksum = self.checksum.or(algorithm.map(|algorithm| (algorithm, Stated::Nowhere)));
        self
    }
}

fn stated(headers: &HeaderMap) -> S3Result<Option<(Algorithm, Stated)>> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut found = None;
    let mut take = |algorithm, stated| match found.replace((algorithm, stated)) {
        None => Ok(()),
        Some(_) => Err(s3_error!(
            InvalidRequest,
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )),
    };
    for algorithm in Algorithm::ALL {
        if let Some(value) = text(algorithm.header()) {
            let digest = algorithm
                .parse(value)
                .ok_or_else(|| s3_error!(InvalidRequest, "Value for {} header is invalid.", algorithm.header()))?;
            take(algorithm, Stated::Header(digest))?;
        }
    }
    for name in text("x-amz-trailer").into_iter().flat_map(|names| names.split(',')) {
        if let Some(algorithm) = Algorithm::from_header(name.trim()) {
            take(algorithm, Stated::Trailer)?;
        } else {
            return Err(s3_error!(InvalidRequest, "The value specified in the x-amz-trailer header is not supported"));
        }
    }
    if let Some(name) = text("x-amz-sdk-checksum-algorithm") {
        let algorithm = Algorithm::from_name(name)
            .ok_or_else(|| s3_error!(InvalidRequest, "The algorithm {name:?} is not supported."))?;
        match &found {
            None => found = Some((algorithm, Stated::Nowhere)),
            Some((stated, _)) if *stated == algorithm => {}
            Some(_) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "Value for x-amz-sdk-checksum-algorithm header does not match the checksum that is sent."
                ));
            }
        }
    }
    Ok(found)
}

/// Writes the body and checks it. Afterwards only the writer's `finish` is left to do; after an error
/// the writer is to be dropped, and nothing is left.
pub(super) async fn receive<S, E>(
    mut body: S,
    promise: Promise,
    trailers: Option<&TrailingHeaders>,
    writer: &mut Writer,
) -> S3Result<Received>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    let mut digester = Digester::new(promise.sha256.is_some());
    let mut hasher = promise.algorithm().map(Hasher::new);
    let mut received = 0_u64;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| from_source(error.into()))?;
        received += chunk.len() as u64;
        promise.length.check_most(received)?;
        if let Some(hasher) = &mut hasher {
            hasher.update(&chunk);
        }
        digester.update(chunk.clone()).await;
        writer.write(chunk).await.map_err(|error| from_storage(error, S3ErrorCode::NoSuchBucket))?;
    }
    promise.length.check_least(received)?;
    let Digests { md5, sha256 } = digester.finish().await;
    if sha256 != promise.sha256 {
        return Err(wrong_payload());
    }
    if promise.md5.is_some_and(|stated| stated != md5) {
        return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
    }
    let checksum = match (promise.checksum, hasher) {
        (Some((algorithm, stated)), Some(hasher)) => {
            let digest = hasher.finish();
            compare(algorithm, &stated, &digest, trailers)?;
            Some(Checksum::whole(algorithm, &digest))
        }
        _ => None,
    };
    Ok(Received { md5, size: received, checksum })
}

/// The engine's own errors (a copy's source) keep their meaning; the rest is the client's body.
fn from_source(error: StdError) -> s3s::S3Error {
    match error.downcast::<anello_storage::Error>() {
        Ok(error) => from_storage(*error, S3ErrorCode::NoSuchKey),
        Err(error) => from_body(&*error),
    }
}

fn compare(algorithm: Algorithm, stated: &Stated, digest: &[u8], trailers: Option<&TrailingHeaders>) -> S3Result<()> {
    let matches = match stated {
        Stated::Nowhere => true,
        Stated::Header(stated) => stated == digest,
        Stated::Trailer => {
            let value = trailers.and_then(|trailers| {
                trailers
                    .read(|headers| headers.get(algorithm.header())?.to_str().ok().map(|text| text.trim().to_owned()))
            });
            let value = value.flatten().and_then(|value| algorithm.parse(&value));
            value
                .ok_or_else(|| s3_error!(InvalidRequest, "The trailer {} is missing or invalid.", algorithm.header()))?
                == digest
        }
    };
    if matches {
        Ok(())
    } else {
        Err(s3_error!(BadDigest, "The {} you specified did not match the calculated checksum.", algorithm.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(items: &[(&'static str, &'static str)]) -> HeaderMap {
        items
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn promises_are_read_or_refused() {
        let check = |items: &[(&'static str, &'static str)], want: Result<Option<Algorithm>, S3ErrorCode>| {
            let found = Promise::from_headers(&headers(items), Some(3));
            assert_eq!(
                found.map(|promise| promise.algorithm()).map_err(|error| error.code().clone()),
                want,
                "{items:?}"
            );
        };
        check(&[], Ok(None));
        check(&[("x-amz-checksum-crc32", "y/Q5Jg==")], Ok(Some(Algorithm::Crc32)));
        check(&[("x-amz-trailer", "x-amz-checksum-crc64nvme")], Ok(Some(Algorithm::Crc64Nvme)));
        check(&[("x-amz-sdk-checksum-algorithm", "SHA256")], Ok(Some(Algorithm::Sha256)));
        check(&[("x-amz-checksum-crc32", "y/Q5")], Err(S3ErrorCode::InvalidRequest));
        check(&[("x-amz-trailer", "x-amz-meta-a")], Err(S3ErrorCode::InvalidRequest));
        check(
            &[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-trailer", "x-amz-checksum-sha1")],
            Err(S3ErrorCode::InvalidRequest),
        );
        check(
            &[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-sdk-checksum-algorithm", "SHA1")],
            Err(S3ErrorCode::InvalidRequest),
        );
        check(&[("content-md5", "AAAA")], Err(S3ErrorCode::InvalidDigest));
        let none = Promise::from_headers(&HeaderMap::new(), None).expect_err("no length");
        assert_eq!(*none.code(), S3ErrorCode::MissingContentLength);
        let large = Promise::from_headers(&HeaderMap::new(), Some(PUT_BYTES_MAX as i64 + 1)).expect_err("too large");
        assert_eq!(*large.code(), S3ErrorCode::EntityTooLarge);
    }
}
