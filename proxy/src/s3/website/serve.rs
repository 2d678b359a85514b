//! What visitors of a bucket's site get. They are nobody, whatever they send along: what they may read is what the
//! bucket's policy and access lists give to everybody.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::config::Site;
use super::page::{Failure, in_path, redirect};
use super::{REDIRECT_NAME, none, of};
use crate::body::{self, Body};
use crate::s3::error::OrNoBucket;
use crate::s3::front::Front;
use crate::s3::get::{self, Data};
use crate::s3::policy::{self, Asking, Connection};
use crate::s3::{lane, lifecycle, name_request, new_request_id, version};

/// Headers of a visitor's request that say what of an object he wants.
const WANTED: [HeaderName; 5] =
    [header::RANGE, header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];

/// A visitor's request.
struct Visit<'a> {
    front: &'a Front,
    bucket: &'a str,
    site: Site,
    method: &'a Method,
    headers: &'a HeaderMap,
    connection: Connection,
    /// `http://host`.
    here: String,
}

/// Answers a visitor of the site of a bucket, there or not.
pub(in crate::s3) async fn serve<B>(front: &Front, bucket: &str, request: &Request<B>) -> Response<Body> {
    let request_id = new_request_id();
    let mut response = answer(front, bucket, request, &request_id).await;
    name_request(response.headers_mut(), &request_id);
    if *request.method() == Method::HEAD {
        response = response.map(|_| body::empty());
    }
    response
}

async fn answer<B>(front: &Front, bucket: &str, request: &Request<B>, request_id: &str) -> Response<Body> {
    let fail = |error: &S3Error, about| Failure::of(error, about).page(None, request_id);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = fail(&S3ErrorCode::MethodNotAllowed.into(), None);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let site = match find(front, bucket).await {
        Ok(site) => site,
        Err(error) => return fail(&error, Some(("BucketName", bucket))),
    };
    let path = request.uri().path();
    let Ok(key) = percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8() else {
        return fail(&S3ErrorCode::InvalidURI.into(), None);
    };
    let connection: Connection = request.extensions().get().copied().unwrap_or_default();
    let scheme = if connection.is_secure { "https" } else { "http" };
    if let Some(other) = &site.elsewhere {
        let protocol = other.protocol.as_deref().unwrap_or(scheme);
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        return redirect(301, &format!("{protocol}://{}{path}{query}", other.host));
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let visit = Visit {
        front,
        bucket,
        site,
        method: request.method(),
        headers: request.headers(),
        connection,
        here: format!("{scheme}://{host}"),
    };
    visit.answer(&key, request_id).await
}

/// The site of a bucket, whosever it is.
async fn find(front: &Front, bucket: &str) -> S3Result<Site> {
    let account = front.registry.owner(bucket).await.or_no_bucket()?.ok_or(S3ErrorCode::NoSuchBucket)?;
    let container = front.store.container_settings(&account, bucket).await.or_no_bucket()?;
    of(&container.ok_or(S3ErrorCode::NoSuchBucket)?).ok_or_else(none)
}

impl Visit<'_> {
    async fn answer(&self, path: &str, request_id: &str) -> Response<Body> {
        if let Some(sent) = self.sent_on(path, None) {
            return sent;
        }
        let index = self.site.index_of(path);
        let key = index.as_deref().unwrap_or(path);
        let failed = match self.object(key, true).await {
            Ok(response) => return response,
            Err(failed) => failed,
        };
        if *failed.code() == S3ErrorCode::NotModified {
            return not_modified(&failed);
        }
        if index.is_none()
            && let Some(index) = self.site.index_of(&format!("{path}/"))
            && is_absent(&failed)
            && self.object(&index, false).await.is_ok()
        {
            return redirect(302, &format!("/{}/", in_path(path)));
        }
        let failure = Failure::of(&failed, is_absent(&failed).then_some(("Key", key)));
        if let Some(sent) = self.sent_on(path, Some(failure.status.as_u16())) {
            return sent;
        }
        let Some(error) = self.site.error.as_deref().filter(|_| failure.status.is_client_error()) else {
            return failure.page(None, request_id);
        };
        match self.object(error, false).await {
            Ok(mut response) => {
                *response.status_mut() = failure.status;
                response
            }
            Err(more) => failure.page(Some(&Failure::of(&more, Some(("Key", error)))), request_id),
        }
    }

    /// Where a rule sends the visitor, if one does.
    fn sent_on(&self, path: &str, error: Option<u16>) -> Option<Response<Body>> {
        let rule = self.site.rule(path, error)?;
        let (scheme, host) = self.here.split_once("://")?;
        let protocol = rule.protocol.as_deref().unwrap_or(scheme);
        let host = rule.host.as_deref().unwrap_or(host);
        let key = in_path(&rule.key(path));
        Some(redirect(rule.code.unwrap_or(301), &format!("{protocol}://{host}/{key}")))
    }

    /// An object, as it may be read by everybody; `is_asked_for` where it is what the visitor named, so that his
    /// conditions and range are for it.
    async fn object(&self, key: &str, is_asked_for: bool) -> S3Result<Response<Body>> {
        let asking = Asking { caller: None, connection: self.connection, headers: self.headers, query: "" };
        let (bucket, front) = (self.bucket, self.front);
        let granted = policy::authorize(front, asking, "GetObject", Some(bucket), Some(key)).await?;
        let reader = version::open(front, &granted, bucket, key, None).await?;
        let info = reader.info().clone();
        if let Some((_, location)) = info.metadata.iter().find(|(name, _)| name == REDIRECT_NAME) {
            return Ok(redirect(301, location));
        }
        let mut wanted = HeaderMap::new();
        let said = WANTED.iter().filter(|_| is_asked_for).filter_map(|name| Some((name, self.headers.get(name)?)));
        wanted.extend(said.map(|(name, value)| (name.clone(), value.clone())));
        // Conditions that can't be read are none.
        let mut answer = lane::wanted(&wanted).unwrap_or_default().answer(&info, None)?;
        version::show(&granted, &info, &mut answer.headers)?;
        lifecycle::show(front, &granted, key, &info, &mut answer.headers).await?;
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers;
        if *self.method == Method::HEAD {
            return Ok(response.map(|()| body::empty()));
        }
        let body = match get::data(reader, &answer.range, info.size).await? {
            Data::Whole(bytes) => body::full(bytes),
            Data::More(chunks) => body::stream(chunks),
        };
        Ok(response.map(|()| body))
    }
}

fn is_absent(failed: &S3Error) -> bool {
    *failed.code() == S3ErrorCode::NoSuchKey
}

fn not_modified(failed: &S3Error) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    if let Some(headers) = failed.headers() {
        response.headers_mut().extend(headers.clone());
    }
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}
