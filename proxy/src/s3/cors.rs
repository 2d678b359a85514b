//! Requests from other web sites (CORS): a bucket's rules, the browser's question before a request (`OPTIONS`), and what
//! is said in answers to requests with an `Origin`.

use anello_storage::ContainerInfo;
use anello_storage::store::IfMissing;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};
use serde::{Deserialize, Serialize};

use super::error::{OrNoBucket, custom};
use super::front::Front;
use super::limits::{CORS_BYTES_MAX, CORS_RULES_MAX};
use super::policy::Granted;

/// The bucket's metadata that hold its rules, in JSON.
const CORS_NAME: &str = "x-container-sysmeta-s3-cors";

/// Methods that a rule may allow (S3's).
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// One of a bucket's rules, as it was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rule {
    id: Option<String>,
    methods: Vec<String>,
    origins: Vec<String>,
    headers: Vec<String>,
    exposed: Vec<String>,
    max_age: Option<i32>,
}

/// What a request from another site asks for.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    origin: String,
    method: String,
    headers: Vec<String>,
}

impl Visit {
    /// Reads it; `None` where there is no origin.
    pub(super) fn read(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(header::ORIGIN)?.to_owned();
        let announced = text(header::ACCESS_CONTROL_REQUEST_METHOD);
        if *method == Method::OPTIONS && announced.is_none() {
            return None;
        }
        let asked = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let headers = asked.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        let method = announced.unwrap_or(method.as_str()).to_owned();
        Some(Self { origin, method, headers: headers.collect() })
    }
}

/// Whether a pattern with one `*` at most fits.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

impl Rule {
    fn admits(&self, visit: &Visit) -> bool {
        let has_header = |name: &String| self.headers.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), name));
        self.methods.contains(&visit.method)
            && self.origins.iter().any(|pattern| fits(pattern, &visit.origin))
            && visit.headers.iter().all(has_header)
    }

    /// What is said to a visitor whom the rule admits.
    fn say(&self, visit: &Visit, headers: &mut HeaderMap) {
        let mut put = |name: HeaderName, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        if self.origins.iter().any(|origin| origin == "*") {
            put(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            put(header::ACCESS_CONTROL_ALLOW_ORIGIN, &visit.origin);
            put(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        put(header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods.join(", "));
        if !visit.headers.is_empty() {
            put(header::ACCESS_CONTROL_ALLOW_HEADERS, &visit.headers.join(", "));
        }
        if !self.exposed.is_empty() {
            put(header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.exposed.join(", "));
        }
        if let Some(seconds) = self.max_age {
            put(header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
        put(header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
    }
}

fn rules(container: &ContainerInfo) -> Vec<Rule> {
    let stored = container.metadata.iter().find(|(name, _)| name == CORS_NAME);
    stored.and_then(|(_, text)| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// A bucket by its name, whosever it is.
async fn container(front: &Front, bucket: &str) -> S3Result<Option<ContainerInfo>> {
    let Some(account) = front.registry.owner(bucket).await.or_no_bucket()? else { return Ok(None) };
    front.store.container_settings(&account, bucket).await.or_no_bucket()
}

/// Says in an answer what its site may do with it. Where the bucket can't be asked, nothing is.
pub(super) async fn say<B>(front: &Front, bucket: &str, visit: &Visit, response: &mut Response<B>) {
    let Ok(Some(container)) = container(front, bucket).await else { return };
    if let Some(rule) = rules(&container).iter().find(|rule| rule.admits(visit)) {
        rule.say(visit, response.headers_mut());
    }
}

/// Answers the question before a request.
pub(super) async fn preflight(front: &Front, bucket: Option<&str>, visit: Option<&Visit>) -> S3Result<HeaderMap> {
    let Some(visit) = visit else {
        return Err(custom(
            "BadRequest",
            StatusCode::BAD_REQUEST,
            "Insufficient information. Origin and Access-Control-Request-Method request headers are needed.",
        ));
    };
    let found = match bucket {
        Some(bucket) => container(front, bucket).await?,
        None => None,
    };
    let rules = found.map(|container| rules(&container)).unwrap_or_default();
    let Some(rule) = rules.iter().find(|rule| rule.admits(visit)) else {
        return Err(refused(rules.is_empty()));
    };
    let mut headers = HeaderMap::new();
    rule.say(visit, &mut headers);
    Ok(headers)
}

fn refused(has_none: bool) -> S3Error {
    let message = if has_none {
        "CORSResponse: CORS is not enabled for this bucket."
    } else {
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method \
         / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
    };
    custom("AccessForbidden", StatusCode::FORBIDDEN, message)
}

/// PutBucketCors.
pub(super) async fn put(
    front: &Front,
    req: S3Request<dto::PutBucketCorsInput>,
) -> S3Result<S3Response<dto::PutBucketCorsOutput>> {
    let granted = Granted::of(&req)?;
    let given = req.input.cors_configuration.cors_rules;
    if given.is_empty() || given.len() > CORS_RULES_MAX {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let rules = given.into_iter().map(checked).collect::<S3Result<Vec<_>>>()?;
    let text = serde_json::to_string(&rules).map_err(|_| S3ErrorCode::InternalError)?;
    if text.len() > CORS_BYTES_MAX {
        return Err(s3_error!(InvalidRequest, "The CORS configuration is larger than {CORS_BYTES_MAX} bytes."));
    }
    replace(front, &granted, &req.input.bucket, text).await?;
    Ok(S3Response::new(dto::PutBucketCorsOutput::default()))
}

fn checked(rule: dto::CORSRule) -> S3Result<Rule> {
    if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
        return Err(s3_error!(
            InvalidRequest,
            "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
        ));
    }
    let (headers, exposed) = (rule.allowed_headers.unwrap_or_default(), rule.expose_headers.unwrap_or_default());
    let has_two = |text: &String| text.matches('*').count() > 1;
    if rule.allowed_origins.iter().any(has_two) {
        return Err(s3_error!(InvalidRequest, "AllowedOrigin can not have more than one wildcard."));
    }
    if headers.iter().any(has_two) {
        return Err(s3_error!(InvalidRequest, "AllowedHeader can not have more than one wildcard."));
    }
    if exposed.iter().any(|name| name.contains('*')) {
        return Err(s3_error!(InvalidRequest, "ExposeHeader contains wildcard. We currently do not support wildcard."));
    }
    Ok(Rule {
        id: rule.id,
        methods: rule.allowed_methods,
        origins: rule.allowed_origins,
        headers,
        exposed,
        max_age: rule.max_age_seconds,
    })
}

/// GetBucketCors.
pub(super) async fn get(
    _: &Front,
    req: S3Request<dto::GetBucketCorsInput>,
) -> S3Result<S3Response<dto::GetBucketCorsOutput>> {
    let granted = Granted::of(&req)?;
    let rules = rules(granted.container()?);
    if rules.is_empty() {
        return Err(custom("NoSuchCORSConfiguration", StatusCode::NOT_FOUND, "The CORS configuration does not exist"));
    }
    let show = |rule: Rule| dto::CORSRule {
        allowed_headers: Some(rule.headers).filter(|headers| !headers.is_empty()),
        allowed_methods: rule.methods,
        allowed_origins: rule.origins,
        expose_headers: Some(rule.exposed).filter(|exposed| !exposed.is_empty()),
        id: rule.id,
        max_age_seconds: rule.max_age,
    };
    Ok(S3Response::new(dto::GetBucketCorsOutput { cors_rules: Some(rules.into_iter().map(show).collect()) }))
}

/// DeleteBucketCors.
pub(super) async fn delete(
    front: &Front,
    req: S3Request<dto::DeleteBucketCorsInput>,
) -> S3Result<S3Response<dto::DeleteBucketCorsOutput>> {
    let granted = Granted::of(&req)?;
    replace(front, &granted, &req.input.bucket, String::new()).await?;
    Ok(S3Response::new(dto::DeleteBucketCorsOutput::default()))
}

async fn replace(front: &Front, granted: &Granted, bucket: &str, text: String) -> S3Result<()> {
    let changes = vec![(CORS_NAME.to_owned(), text)];
    front.store.container_update(&granted.account, bucket, changes, 0, IfMissing::Fail).await.or_no_bucket()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], headers: &[&str]) -> Rule {
        let own = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Rule {
            id: None,
            methods: own(&["GET"]),
            origins: own(origins),
            headers: own(headers),
            exposed: vec![],
            max_age: None,
        }
    }

    fn visit(method: &'static str, items: &[(&'static str, &'static str)]) -> Option<Visit> {
        let headers =
            items.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Visit::read(&Method::from_bytes(method.as_bytes()).expect("a method"), &headers.collect())
    }

    #[test]
    fn a_rule_admits_what_fits_it() {
        let from = |origin| visit("GET", &[("origin", origin)]).expect("a visit");
        for (pattern, origin, want) in [
            ("*", "https://a", true),
            ("https://a", "https://a", true),
            ("https://*.a", "https://b.a", true),
            ("https://*.a", "https://.a", true),
            ("https://*.a", "http://b.a", false),
            ("start*end", "startend", true),
            ("aba*aba", "aba", false),
        ] {
            assert_eq!(rule(&[pattern], &[]).admits(&from(origin)), want, "{pattern} {origin}");
        }
        let asked = [
            ("origin", "o"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "X-Amz-Meta-A, range"),
        ];
        let asking = visit("OPTIONS", &asked).expect("a question");
        assert!(rule(&["o"], &["x-amz-meta-*", "Range"]).admits(&asking));
        assert!(!rule(&["o"], &["x-amz-meta-*"]).admits(&asking));
        assert!(visit("OPTIONS", &asked[..1]).is_none() && visit("GET", &[]).is_none());
    }

    #[test]
    fn credentials_are_for_named_origins_alone() {
        let asking = visit("GET", &[("origin", "https://a")]).expect("a visit");
        for (pattern, want, with) in [("*", "*", false), ("https://*", "https://a", true)] {
            let mut headers = HeaderMap::new();
            rule(&[pattern], &[]).say(&asking, &mut headers);
            assert_eq!(headers.get("access-control-allow-origin").map(HeaderValue::as_bytes), Some(want.as_bytes()));
            assert_eq!(headers.contains_key("access-control-allow-credentials"), with);
        }
    }
}
