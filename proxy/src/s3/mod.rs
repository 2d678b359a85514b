//! The S3 door, on the `s3s` crate, which reads and signs and shows; what the operations do is here.
//! A bucket is a container of the account `AUTH_<project>`; what S3 writes the Swift door reads.
//!
//! [`policy`] says who may do what, [`registry`] whose a bucket's name is, [`multipart`] keeps uploads.
//! Not offered, and answered with NotImplemented: notifications, replication, encryption, S3 Select.

mod access_log;
mod acl;
mod alike;
mod bucket;
mod bucket_policy;
mod checksum;
mod conditions;
mod copy;
mod cors;
mod delete;
mod document;
mod error;
mod form;
mod front;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod gate;
mod get;
mod lane;
mod lifecycle;
mod limits;
mod listing;
mod lock;
mod metadata;
mod multipart;
mod policy;
mod put;
mod quota;
mod receive;
mod registry;
mod service;
mod tagging;
mod unset;
mod version;
mod website;

use std::sync::Arc;

pub use acl::ObjectOwnership;
pub use policy::Connection;

use anello_api::identity::Identity;
use anello_base::id;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use s3s::config::StaticConfigProvider;
use s3s::service::{S3Service, S3ServiceBuilder};

use crate::body::Body;
use crate::object::vault::Vault;

/// How the door is set up.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The region's name, as clients put it into their signatures' scope; shown, not enforced there.
    pub region: String,
    /// Whether plain requests for objects are answered without going through `s3s`. Both ways answer
    /// alike; this one costs less.
    pub has_lane: bool,
    /// Domain below which a host names a bucket (`bucket.<domain>`); without it only paths do.
    pub base_domain: Option<String>,
    /// Size in bytes below which only an upload's last part may be: S3's 5 MiB. Less is for tests.
    pub part_bytes_min: u64,
    /// Whose objects are, and whether access lists count, in buckets that don't say.
    pub object_ownership: ObjectOwnership,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            has_lane: true,
            base_domain: None,
            part_bytes_min: limits::PART_BYTES_MIN,
            object_ownership: ObjectOwnership::default(),
        }
    }
}

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum S3ConfigError {
    /// The base domain is not a domain's name.
    #[error("{0:?} is not a domain name")]
    BaseDomain(String),
    /// The region has characters that a signature's scope can't have, or none.
    #[error("{0:?} is not a region's name")]
    Region(String),
}

/// The S3 door. Cheap to clone.
#[derive(Clone)]
pub struct S3Door {
    service: S3Service,
    front: Arc<front::Front>,
    base_domain: Option<Arc<str>>,
    lane: Option<lane::Lane>,
    region: Arc<str>,
}

impl std::fmt::Debug for S3Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Door").field("has_lane", &self.lane.is_some()).finish_non_exhaustive()
    }
}

impl S3Door {
    /// A door to `store`; callers are who `identity` says that their keys belong to.
    pub fn new(config: S3Config, store: impl Into<Vault>, identity: Arc<dyn Identity>) -> Result<Self, S3ConfigError> {
        let is_made_of = |text: &str, others: &[u8]| {
            let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || others.contains(&byte);
            !text.is_empty() && text.bytes().all(is_one)
        };
        if !is_made_of(&config.region, b"-") {
            return Err(S3ConfigError::Region(config.region));
        }
        let region = Arc::from(config.region.as_str());
        let front = Arc::new(front::Front::new(store.into(), identity, &config));
        let lane = config.has_lane.then(|| lane::Lane::new(front.clone(), config.base_domain.clone()));
        let base_domain = config.base_domain.as_deref().map(Arc::from);
        let mut builder = S3ServiceBuilder::new(service::Operations(front.clone()));
        builder.set_auth(service::Keys(front.clone()));
        builder.set_access(policy::Access(front.clone()));
        builder.set_validation(service::AnyContainer);
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(wire_limits()))));
        if let Some(domain) = config.base_domain {
            if !is_made_of(&domain, b"-.") {
                return Err(S3ConfigError::BaseDomain(domain));
            }
            builder.set_host(service::BaseDomain(domain));
        }
        Ok(Self { service: builder.build(), front, base_domain, lane, region })
    }

    /// Answers one request. Errors are answers too; what can still fail is the body while it streams.
    pub async fn call<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let must_close = expects_nothing(&request);
        let visit = cors::Visit::read(request.method(), request.headers());
        let is_question = request.method() == Method::OPTIONS;
        let bucket = (is_question || visit.is_some()).then(|| self.bucket_of(&request)).flatten();
        let watched = match self.front.logged.is_any(&self.front.store).await {
            true => self.watch(&request),
            false => None,
        };
        // What few requests need is boxed, here and below: the others' futures are smaller by it.
        let mut response = if is_question {
            Box::pin(self.preflight(&request, bucket.as_deref(), visit.as_ref())).await
        } else {
            self.answer(request).await
        };
        if let (false, Some(visit), Some(bucket)) = (is_question, &visit, &bucket) {
            Box::pin(cors::say(&self.front, bucket, visit, &mut response)).await;
        }
        if let Some(watched) = watched {
            let outcome = access_log::Outcome::of(&response);
            Box::pin(watched.record(&self.front, outcome)).await;
        }
        if must_close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Answers a visitor of a bucket's web site.
    pub(crate) async fn visit<B>(&self, bucket: &str, request: &Request<B>) -> Response<Body> {
        website::serve::serve(&self.front, bucket, request).await
    }

    /// Whether there is a bucket of that name, as far as can be told.
    pub(crate) async fn is_bucket(&self, name: &str) -> bool {
        matches!(self.front.registry.owner(name).await, Ok(Some(_)))
    }

    /// Whether the lane takes the request: it is of the usual kind, and its signature holds.
    #[doc(hidden)] // For the bench of the signature's check.
    pub async fn lane_takes<B>(&self, request: &Request<B>) -> bool {
        match &self.lane {
            Some(lane) => lane.take(request).await.is_some(),
            None => false,
        }
    }

    /// Whether there is such an access key, by the cache that the lane asks.
    #[doc(hidden)] // For the same bench.
    pub async fn knows_key(&self, access: &str) -> bool {
        match &self.lane {
            Some(lane) => lane.knows_key(access).await,
            None => false,
        }
    }

    /// The bucket that a request's host or path names.
    fn bucket_of<B>(&self, request: &Request<B>) -> Option<String> {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let by_host = self.base_domain.as_deref().zip(host).and_then(|(base, host)| service::bucket_below(base, host));
        let by_path = || request.uri().path().split('/').nth(1).filter(|name| !name.is_empty());
        let name = by_host.or_else(by_path)?;
        Some(percent_encoding::percent_decode_str(name).decode_utf8().ok()?.into_owned())
    }

    /// Whether a request names nothing in its bucket.
    fn names_no_key<B>(&self, request: &Request<B>) -> bool {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let is_by_host =
            self.base_domain.as_deref().zip(host).and_then(|(base, host)| service::bucket_below(base, host));
        let names = request.uri().path().split('/').filter(|name| !name.is_empty()).count();
        names == usize::from(is_by_host.is_none())
    }

    /// Keeps what an access log would tell of a request.
    fn watch<B>(&self, request: &Request<B>) -> Option<Box<access_log::Watched>> {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let is_by_host = self
            .base_domain
            .as_deref()
            .zip(host)
            .is_some_and(|(base, host)| service::bucket_below(base, host).is_some());
        let path = request.uri().path().trim_start_matches('/');
        let key = if is_by_host { Some(path) } else { path.split_once('/').map(|(_, key)| key) };
        self.front.logged.watch(request, self.bucket_of(request), key).map(Box::new)
    }

    /// Answers what a browser asks before a request from another site.
    async fn preflight<B>(
        &self,
        request: &Request<B>,
        bucket: Option<&str>,
        visit: Option<&cors::Visit>,
    ) -> Response<Body> {
        let request_id = new_request_id();
        let context = error::Context { resource: request.uri().path(), request_id: &request_id, region: &self.region };
        match cors::preflight(&self.front, bucket, visit).await {
            Ok(headers) => {
                let mut response = Response::new(crate::body::empty());
                *response.headers_mut() = headers;
                name_request(response.headers_mut(), &request_id);
                response
            }
            Err(error) => finish(error.to_http_response().unwrap_or_else(|_| internal_error()), context),
        }
    }

    async fn answer<B>(&self, mut request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let request_id = new_request_id();
        let resource = request.uri().path().to_owned();
        let context = error::Context { resource: &resource, request_id: &request_id, region: &self.region };
        if let Some(lane) = &self.lane
            && let Some(taken) = lane.take(&request).await
        {
            return match lane.serve(taken, request).await {
                Ok(mut response) => {
                    name_request(response.headers_mut(), &request_id);
                    response
                }
                Err(error) => {
                    let response = error.to_http_response().unwrap_or_else(|_| internal_error());
                    finish(response, context)
                }
            };
        }
        if gate::is_form(&request) {
            let served = match self.bucket_of(&request).filter(|_| self.names_no_key(&request)) {
                Some(bucket) => Box::pin(form::serve(&self.front, request, &bucket)).await,
                None => Err(s3s::S3ErrorCode::MethodNotAllowed.into()),
            };
            return match served {
                Ok(mut response) => {
                    name_request(response.headers_mut(), &request_id);
                    response
                }
                Err(error) => finish(error.to_http_response().unwrap_or_else(|_| internal_error()), context),
            };
        }
        let is_head = request.method() == Method::HEAD;
        gate::ignore_malformed_range(&mut request);
        let response = match gate::refuse(&request) {
            Ok(()) => Box::pin(self.ask_s3s(request)).await,
            Err(error) => error.to_http_response().unwrap_or_else(|_| internal_error()),
        };
        let mut response = finish(response, context);
        if is_head && response.status() == StatusCode::OK && response.headers().contains_key(header::CONTENT_RANGE) {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }

    async fn ask_s3s<B>(&self, request: Request<B>) -> Response<s3s::Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (request, document) = gate::Document::watch(request);
        let response = self.service.call(request).await.unwrap_or_else(|error| {
            let error: s3s::StdError = error.into();
            tracing::error!(%error, "an answer could not be made");
            internal_error()
        });
        match document {
            Some(document) => document.explain(response),
            None => response,
        }
    }
}

/// The limits that `s3s` keeps.
fn wire_limits() -> s3s::config::S3Config {
    let mut config = s3s::config::S3Config::default();
    config.xml_max_body_size = limits::XML_BYTES_MAX;
    config.presigned_url_max_skew_time_secs = u32::try_from(limits::CLOCK_SKEW.as_secs()).expect("15 minutes fit");
    config
}

/// Whether a client that has no body asks to be told to go on with it, as boto3 does for empty objects. It
/// is never told, there being nothing to come, and boto3 then takes the next answer on the connection for
/// this one's: the connection has to end.
fn expects_nothing<B>(request: &Request<B>) -> bool {
    let is = |name, value: &[u8]| request.headers().get(name).is_some_and(|found| found.as_bytes() == value);
    request.headers().contains_key(header::EXPECT) && is(header::CONTENT_LENGTH, b"0")
}

fn internal_error() -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn new_request_id() -> String {
    id::hex_id()[..16].to_ascii_uppercase()
}

/// Puts the request's id into an answer.
fn name_request(headers: &mut HeaderMap, request_id: &str) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("x-amz-request-id", value.clone());
        headers.insert("x-amz-id-2", value);
    }
}

/// Gives an answer its request id, and an error what `s3s` leaves out of it.
fn finish(response: Response<s3s::Body>, context: error::Context<'_>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let mut head = Response::from_parts(parts, ());
    name_request(head.headers_mut(), context.request_id);
    let status = head.status();
    let body = if let Some(document) = document::take(&mut head) {
        head.headers_mut().remove(header::CONTENT_LENGTH);
        crate::body::full(document)
    } else if status == StatusCode::NOT_MODIFIED {
        head.headers_mut().remove(header::CONTENT_TYPE);
        head.headers_mut().remove(header::CONTENT_LENGTH);
        crate::body::empty()
    } else if status.is_client_error() || status.is_server_error() {
        let xml = body.bytes().unwrap_or_default();
        crate::body::full(error::complete(&mut head, &xml, context))
    } else if let Some(bytes) = body.bytes() {
        crate::body::full(bytes)
    } else {
        BodyExt::map_err(body, stream_error).boxed_unsync()
    };
    head.map(|()| body)
}

/// What broke a stream: the engine's error as it was.
fn stream_error(error: s3s::StdError) -> anello_storage::Error {
    match error.downcast::<anello_storage::Error>() {
        Ok(error) => *error,
        Err(error) => anello_storage::Error::Io {
            action: "stream",
            path: std::path::PathBuf::new(),
            code: None,
            message: error.to_string(),
        },
    }
}
