//! The short way for the requests that there are most of: GET, HEAD, PUT and DELETE of an object, signed
//! in the header, with well-known headers only. Whatever else is asked, and whatever might be wrong with
//! the signature, is left to `s3s`; both ways end in the same functions.

#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod request;
mod signature;

use std::sync::Arc;

use anello_api::identity::Caller;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyDataStream;
use s3s::S3Result;

use super::delete;
use super::front::Front;
use super::get::{self, Data};
use super::lifecycle;
use super::metadata;
use super::policy::{self, Asking};
use super::put::{self, Stored};
use super::version;
use crate::body::{self, Body};
use request::Work;

/// See the module.
#[derive(Clone)]
pub(super) struct Lane {
    front: Arc<Front>,
    base_domain: Option<String>,
}

/// A request that the lane has taken: it is signed as it should be.
pub(super) struct Taken {
    bucket: String,
    key: String,
    caller: Arc<Caller>,
    work: Work,
}

impl Lane {
    pub(super) fn new(front: Arc<Front>, base_domain: Option<String>) -> Self {
        Self { front, base_domain }
    }

    /// Takes a request if it is one for the lane.
    pub(super) async fn take<B>(&self, request: &Request<B>) -> Option<Taken> {
        let headers = request.headers();
        let stated = signature::read(headers)?;
        if self.names_a_bucket(headers) || headers.len() != headers.keys_len() {
            return None;
        }
        let (bucket, key) = request::path(request.uri().path())?;
        let payload = headers.get("x-amz-content-sha256")?.to_str().ok()?;
        let query = request::query(request.uri().query())?;
        let work = Work::read(request.method(), headers, payload)?;
        let canonical =
            signature::canonical(&stated, request.method(), request.uri().path(), &query, headers, payload)?;
        let key_of = self.front.known_key(stated.access).await.ok()?;
        let scope =
            key_of.scope(stated.date, stated.region, |secret| signature::derive(secret, stated.date, stated.region));
        signature::holds(&stated, &scope, &canonical).then(|| Taken {
            bucket,
            key,
            caller: key_of.signing.caller.clone(),
            work,
        })
    }

    /// Whether there is such an access key.
    pub(super) async fn knows_key(&self, access: &str) -> bool {
        self.front.known_key(access).await.is_ok()
    }

    /// Whether the host is one below the base domain.
    fn names_a_bucket(&self, headers: &HeaderMap) -> bool {
        let Some(base) = &self.base_domain else { return false };
        let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        name != base && name.ends_with(base.as_str())
    }

    /// Answers a request that was taken.
    pub(super) async fn serve<B>(&self, taken: Taken, request: Request<B>) -> S3Result<Response<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let Taken { bucket, key, caller, work } = taken;
        let (head, body) = request.into_parts();
        let (headers, connection) = (head.headers, head.extensions.get().copied().unwrap_or_default());
        let front = &*self.front;
        let operation = match work {
            Work::Get(_) => "GetObject",
            Work::Head(_) => "HeadObject",
            Work::Put(..) => "PutObject",
            Work::Delete(_) => "DeleteObject",
        };
        let asking = Asking { caller: Some(caller), connection, headers: &headers, query: "" };
        let granted = policy::authorize(front, asking, operation, Some(&bucket), Some(&key)).await?;
        match work {
            Work::Get(wanted) => {
                let reader = version::open(front, &granted, &bucket, &key, None).await?;
                let mut answer = wanted.answer(reader.info(), None)?;
                version::show(&granted, reader.info(), &mut answer.headers)?;
                lifecycle::show(front, &granted, &key, reader.info(), &mut answer.headers).await?;
                front.show_class(&granted, &bucket, &mut answer.headers).await?;
                let size = reader.info().size;
                let body = match get::data(reader, &answer.range, size).await? {
                    Data::Whole(bytes) => body::full(bytes),
                    Data::More(chunks) => body::stream(chunks),
                };
                Ok(respond(answer.status(), answer.headers, body))
            }
            Work::Head(wanted) => {
                let info = version::find(front, &granted, &bucket, &key, None).await?;
                let mut answer = wanted.answer(&info, None)?;
                version::show(&granted, &info, &mut answer.headers)?;
                lifecycle::show(front, &granted, &key, &info, &mut answer.headers).await?;
                front.show_class(&granted, &bucket, &mut answer.headers).await?;
                Ok(respond(answer.status(), answer.headers, body::empty()))
            }
            Work::Put(request) => {
                let stream = std::pin::pin!(BodyDataStream::new(body));
                let stored = Box::pin(put::store(front, &granted, &bucket, &key, *request, stream, None)).await?;
                Ok(respond(StatusCode::OK, stored_headers(&stored)?, body::empty()))
            }
            Work::Delete(condition) => {
                let done = Box::pin(delete::remove(front, &granted, &bucket, &key, None, &condition, false)).await?;
                let mut headers = HeaderMap::new();
                version::show_deleted(&done, &mut headers)?;
                Ok(respond(StatusCode::NO_CONTENT, headers, body::empty()))
            }
        }
    }
}

/// What headers of a GET or HEAD ask for; `None` where one of them is unknown, or can't be read.
pub(super) use request::wanted;

/// The signature of version 4 of `text`, for S3 on a day in a region.
pub(super) fn sign(secret: &str, date: &str, region: &str, text: &[u8]) -> [u8; 32] {
    signature::hmac(&signature::derive(secret, date, region), text)
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn stored_headers(stored: &Stored) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(6);
    metadata::put(&mut headers, http::header::ETAG, &format!("\"{}\"", stored.etag))?;
    version::show_made(stored.stamp.as_ref(), &mut headers)?;
    lifecycle::put_header(stored.expiration.as_deref(), &mut headers)?;
    headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Some(checksum) = &stored.checksum {
        metadata::put(&mut headers, HeaderName::from_static(checksum.algorithm.header()), &checksum.value)?;
        let kind = HeaderValue::from_static(checksum.kind.name());
        headers.insert(HeaderName::from_static("x-amz-checksum-type"), kind);
    }
    Ok(headers)
}

/// Whether the lane knows the method.
fn is_ours(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE)
}
