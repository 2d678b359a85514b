//! Access logs of buckets: PutBucketLogging and GetBucketLogging, and the record of each request to a bucket that has
//! one. [`crate::object::access_logs`] keeps the records and delivers them.
//!
//! Which buckets are logged is noted when their requests are authorized, which has to look at the bucket anyway; where
//! no bucket is, a request costs a look at a flag. A record is durable before its request is answered; where it can't
//! be written, the request is answered all the same.

mod line;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use anello_storage::store::IfMissing;
use anello_storage::{ContainerInfo, Store};
use http::{HeaderMap, Request, Response, StatusCode, header};
use moka::sync::Cache;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::error::{Code, OrNoBucket, custom};
use super::front::{Front, owner_id};
use super::limits::{LOG_PREFIX_BYTES_MAX, LOGGED_BUCKETS};
use super::policy::Granted;
use crate::object::access_logs::{self, Partition, Target};
use crate::object::lock;
pub(super) use line::Asked;
use line::{Answered, Parties};

/// The bucket's metadata that say where its log goes.
const BUCKET_NAME: &str = "x-container-sysmeta-s3-logging";

/// The buckets that are logged, as far as requests have come to them here.
#[derive(Debug)]
pub(super) struct Logged {
    /// Whether there are any: see [`Logged::is_any`].
    state: AtomicU8,
    targets: Cache<String, Arc<(String, Target)>>,
}

/// After a start nobody knows whether any bucket is logged.
const UNKNOWN: u8 = 0;
/// None was, when it was last known.
const NONE: u8 = 1;
/// Some may be.
const SOME: u8 = 2;

impl Default for Logged {
    fn default() -> Self {
        Self { state: AtomicU8::new(UNKNOWN), targets: Cache::new(LOGGED_BUCKETS) }
    }
}

fn of(container: &ContainerInfo) -> Option<Target> {
    let (_, text) = container.metadata.iter().find(|(name, _)| name == BUCKET_NAME)?;
    Target::parse(text)
}

impl Logged {
    /// Notes whether a bucket is logged, and where to.
    pub(super) fn note(&self, account: &str, bucket: &str, container: &ContainerInfo) {
        self.set(account, bucket, of(container));
    }

    fn set(&self, account: &str, bucket: &str, target: Option<Target>) {
        match target {
            Some(target) => {
                self.targets.insert(bucket.to_owned(), Arc::new((account.to_owned(), target)));
                self.state.store(SOME, Ordering::Relaxed);
            }
            None if self.state.load(Ordering::Relaxed) == SOME => self.targets.invalidate(bucket),
            None => {}
        }
    }

    /// Keeps what a record would tell of a request, where there may be one.
    pub(super) fn watch<B>(&self, request: &Request<B>, bucket: Option<String>, key: Option<&str>) -> Option<Watched> {
        let asked = Asked {
            method: request.method().clone(),
            target: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: request.headers().clone(),
            connection: request.extensions().get().copied().unwrap_or_default(),
            key: key.and_then(line::key_of),
            version: request.version(),
        };
        Some(Watched { bucket: bucket?, asked, began: Instant::now() })
    }

    /// Whether any bucket may be logged. Where another host has just begun to log the first of all, the first request
    /// to it that comes here finds out.
    pub(super) async fn is_any(&self, store: &Store) -> bool {
        match self.state.load(Ordering::Relaxed) {
            NONE => false,
            SOME => true,
            _ => Box::pin(self.find_out(store)).await,
        }
    }

    async fn find_out(&self, store: &Store) -> bool {
        let Ok(is_used) = access_logs::is_used(store).await else { return true };
        let state = if is_used { SOME } else { NONE };
        // Whoever noted a bucket meanwhile knows better.
        let _ = self.state.compare_exchange(UNKNOWN, state, Ordering::Relaxed, Ordering::Relaxed);
        is_used
    }
}

/// What a record tells of an answer.
pub(super) struct Outcome {
    status: StatusCode,
    headers: HeaderMap,
    code: Option<String>,
}

impl Outcome {
    pub(super) fn of<B>(response: &Response<B>) -> Self {
        let code = response.extensions().get::<Code>().map(|code| code.0.clone());
        Self { status: response.status(), headers: response.headers().clone(), code }
    }
}

/// A request that may be logged.
pub(super) struct Watched {
    bucket: String,
    asked: Asked,
    began: Instant,
}

impl Watched {
    /// Writes the record of the request and its answer down, where its bucket is logged.
    pub(super) async fn record(self, front: &Front, outcome: Outcome) {
        let Some(found) = front.logged.targets.get(&self.bucket) else { return };
        let (account, target) = &*found;
        let access = access_key(&self.asked.headers, &self.asked.target);
        let requester = match access {
            Some(access) => match front.signing_key(&access).await {
                Ok(key) => {
                    let project = key.caller.project_id.clone().unwrap_or_default();
                    Some(format!("arn:aws:iam::{project}:user/{}", key.caller.user_name))
                }
                Err(_) => None,
            },
            None => None,
        };
        let Outcome { status, headers, code } = outcome;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let number = |name: &str| text(name).and_then(|text| text.parse().ok());
        let length: Option<u64> = number("content-length");
        let is_read = matches!(self.asked.method.as_str(), "GET" | "HEAD") && self.asked.key.is_some();
        let whole = text("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        let sent = self.asked.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let decoded = self.asked.headers.get("x-amz-decoded-content-length");
        let decoded = decoded.and_then(|value| value.to_str().ok()?.parse().ok());
        let is_good = status.is_success();
        let answered = Answered {
            status: status.as_u16(),
            error: code,
            bytes_sent: length.filter(|_| self.asked.method != http::Method::HEAD),
            object_size: match (is_good && self.asked.key.is_some(), is_read) {
                (false, _) => None,
                (true, true) => whole.or(length),
                (true, false) => decoded.or(sent).filter(|_| self.asked.method == http::Method::PUT),
            },
            request_id: text("x-amz-request-id").unwrap_or_default(),
            version_id: text("x-amz-version-id"),
            milliseconds: self.began.elapsed().as_millis(),
        };
        let parties = Parties { owner: owner_id(account), bucket: &self.bucket, requester };
        let line = self.asked.line(&parties, &answered, front.store.clock().wall());
        if let Err(error) = access_logs::store(&front.store, account, &self.bucket, target, line).await {
            tracing::warn!(%error, bucket = self.bucket, "a request could not be logged");
        }
    }
}

/// The access key that a request is signed with.
fn access_key(headers: &HeaderMap, target: &str) -> Option<String> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let by_header = authorization.and_then(|text| match text.split_once("Credential=") {
        Some((_, rest)) => rest.split('/').next(),
        None => text.strip_prefix("AWS ")?.split(':').next(),
    });
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let by_query = || parameter("X-Amz-Credential").or_else(|| parameter("AWSAccessKeyId"));
    let found = by_header.or_else(by_query)?;
    let found = percent_encoding::percent_decode_str(found).decode_utf8().ok()?;
    Some(found.split('/').next().unwrap_or_default().to_owned())
}

/// PutBucketLogging.
pub(super) async fn put(
    front: &Front,
    req: S3Request<dto::PutBucketLoggingInput>,
) -> S3Result<S3Response<dto::PutBucketLoggingOutput>> {
    let granted = Granted::of(&req)?;
    let container = granted.container()?;
    let bucket = req.input.bucket.as_str();
    let target = match req.input.bucket_logging_status.logging_enabled {
        None => None,
        Some(enabled) => Some(checked(front, &granted, bucket, enabled).await?),
    };
    if target.is_none() && of(container).is_none() {
        return Ok(S3Response::new(dto::PutBucketLoggingOutput::default()));
    }
    access_logs::prepare(&front.store).await.or_no_bucket()?;
    let changes = vec![(BUCKET_NAME.to_owned(), target.as_ref().map(Target::text).unwrap_or_default())];
    front.store.container_update(&granted.account, bucket, changes, 0, IfMissing::Fail).await.or_no_bucket()?;
    front.logged.set(&granted.account, bucket, target);
    Ok(S3Response::new(dto::PutBucketLoggingOutput::default()))
}

async fn checked(front: &Front, granted: &Granted, bucket: &str, enabled: dto::LoggingEnabled) -> S3Result<Target> {
    if enabled.target_grants.is_some_and(|grants| !grants.is_empty()) {
        return Err(s3_error!(NotImplemented, "Grants on log objects are not implemented; give the bucket a policy."));
    }
    if enabled.target_prefix.len() > LOG_PREFIX_BYTES_MAX {
        return Err(s3_error!(InvalidArgument, "The TargetPrefix is longer than {LOG_PREFIX_BYTES_MAX} bytes."));
    }
    let partition = match enabled.target_object_key_format {
        None => None,
        Some(format) => match (format.simple_prefix, format.partitioned_prefix) {
            (Some(_), None) => None,
            (None, Some(partitioned)) => {
                Some(match partitioned.partition_date_source.as_ref().map(dto::PartitionDateSource::as_str) {
                    Some("EventTime") => Partition::EventTime,
                    Some("DeliveryTime") | None => Partition::DeliveryTime,
                    Some(_) => return Err(S3ErrorCode::MalformedXML.into()),
                })
            }
            _ => return Err(S3ErrorCode::MalformedXML.into()),
        },
    };
    let to = enabled.target_bucket;
    if to == bucket {
        return Err(invalid("The target bucket for logging must not be the bucket that is logged"));
    }
    let owner = front.registry.owner(&to).await.or_no_bucket()?;
    if owner.as_deref() != Some(&*granted.account) {
        return Err(invalid("The owner for the bucket to be logged and the target bucket must be the same"));
    }
    let target = front.store.container_settings(&granted.account, &to).await.or_no_bucket()?;
    let target = target.ok_or_else(|| invalid("The target bucket for logging does not exist"))?;
    if lock::has_default(&target) {
        return Err(invalid("The target bucket for logging must not have a default retention period"));
    }
    Ok(Target { bucket: to, prefix: enabled.target_prefix, partition })
}

fn invalid(message: &'static str) -> S3Error {
    custom("InvalidTargetBucketForLogging", StatusCode::BAD_REQUEST, message)
}

/// GetBucketLogging.
pub(super) async fn get(
    _: &Front,
    req: S3Request<dto::GetBucketLoggingInput>,
) -> S3Result<S3Response<dto::GetBucketLoggingOutput>> {
    let granted = Granted::of(&req)?;
    let logging_enabled = of(granted.container()?).map(|target| {
        let source = |name: &'static str| dto::TargetObjectKeyFormat {
            partitioned_prefix: Some(dto::PartitionedPrefix {
                partition_date_source: Some(dto::PartitionDateSource::from_static(name)),
            }),
            simple_prefix: None,
        };
        let format = match target.partition {
            None => dto::TargetObjectKeyFormat { simple_prefix: Some(dto::SimplePrefix {}), partitioned_prefix: None },
            Some(Partition::EventTime) => source("EventTime"),
            Some(Partition::DeliveryTime) => source("DeliveryTime"),
        };
        dto::LoggingEnabled {
            target_bucket: target.bucket,
            target_grants: None,
            target_object_key_format: Some(format),
            target_prefix: target.prefix,
        }
    });
    Ok(S3Response::new(dto::GetBucketLoggingOutput { logging_enabled }))
}
