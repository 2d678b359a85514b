//! Web sites from buckets: PutBucketWebsite and its like here, what visitors get in [`serve`].

mod config;
mod page;
pub(super) mod serve;

use anello_storage::store::IfMissing;
use anello_storage::{ContainerInfo, Metadata};
use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::error::{OrNoBucket, custom};
use super::front::Front;
use super::limits::{REDIRECT_BYTES_MAX, WEBSITE_BYTES_MAX, WEBSITE_RULES_MAX};
use super::policy::Granted;
#[cfg(feature = "fuzzing")]
pub(super) use config::feed;
use config::{Elsewhere, Rule, Site};

/// The bucket's metadata that hold its site.
const BUCKET_NAME: &str = "x-container-sysmeta-s3-website";
/// The object's metadata that say where visitors of a site are sent who ask for it.
pub(super) const REDIRECT_NAME: &str = "x-object-sysmeta-s3-website-redirect";

/// A bucket's site, where it has one.
fn of(container: &ContainerInfo) -> Option<Site> {
    let (_, text) = container.metadata.iter().find(|(name, _)| name == BUCKET_NAME)?;
    Site::parse(text)
}

fn none() -> S3Error {
    custom(
        "NoSuchWebsiteConfiguration",
        StatusCode::NOT_FOUND,
        "The specified bucket does not have a website configuration",
    )
}

/// Puts where an object's visitors are sent among its metadata.
pub(super) fn store_redirect(location: Option<&str>, metadata: &mut Metadata) -> S3Result<()> {
    let Some(location) = location else { return Ok(()) };
    let is_address = ["/", "http://", "https://"].iter().any(|start| location.starts_with(start));
    if !is_address {
        return Err(custom(
            "InvalidRedirectLocation",
            StatusCode::BAD_REQUEST,
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        ));
    }
    if location.len() > REDIRECT_BYTES_MAX {
        return Err(s3_error!(
            InvalidArgument,
            "The website redirect location is longer than {REDIRECT_BYTES_MAX} bytes."
        ));
    }
    metadata.push((REDIRECT_NAME.to_owned(), location.to_owned()));
    metadata.sort();
    Ok(())
}

/// PutBucketWebsite.
pub(super) async fn put(
    front: &Front,
    req: S3Request<dto::PutBucketWebsiteInput>,
) -> S3Result<S3Response<dto::PutBucketWebsiteOutput>> {
    let granted = Granted::of(&req)?;
    granted.container()?;
    let site = checked(req.input.website_configuration)?;
    let text = site.text();
    if text.len() > WEBSITE_BYTES_MAX {
        return Err(s3_error!(InvalidRequest, "The website configuration is larger than {WEBSITE_BYTES_MAX} bytes."));
    }
    replace(front, &granted, &req.input.bucket, text).await?;
    Ok(S3Response::new(dto::PutBucketWebsiteOutput::default()))
}

async fn replace(front: &Front, granted: &Granted, bucket: &str, text: String) -> S3Result<()> {
    let changes = vec![(BUCKET_NAME.to_owned(), text)];
    front.store.container_update(&granted.account, bucket, changes, 0, IfMissing::Fail).await.or_no_bucket()?;
    Ok(())
}

fn checked(given: dto::WebsiteConfiguration) -> S3Result<Site> {
    let rules = given.routing_rules.unwrap_or_default();
    if let Some(other) = given.redirect_all_requests_to {
        if given.index_document.is_some() || given.error_document.is_some() || !rules.is_empty() {
            return Err(s3_error!(
                InvalidRequest,
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."
            ));
        }
        let elsewhere = Elsewhere { host: checked_host(other.host_name)?, protocol: checked_protocol(other.protocol)? };
        return Ok(Site { elsewhere: Some(elsewhere), ..Site::default() });
    }
    let index = given.index_document.map(|index| index.suffix).ok_or_else(|| {
        s3_error!(
            InvalidArgument,
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
        )
    })?;
    if index.is_empty() || index.contains('/') {
        return Err(s3_error!(InvalidArgument, "The IndexDocument Suffix is not well formed"));
    }
    let error = given.error_document.map(|error| error.key);
    if error.as_ref().is_some_and(String::is_empty) {
        return Err(s3_error!(InvalidArgument, "The ErrorDocument Key is not well formed"));
    }
    if rules.len() > WEBSITE_RULES_MAX {
        return Err(s3_error!(
            InvalidRequest,
            "{} routing rules provided, the number of routing rules in a website configuration is limited to {WEBSITE_RULES_MAX}.",
            rules.len()
        ));
    }
    let rules = rules.into_iter().map(checked_rule).collect::<S3Result<_>>()?;
    Ok(Site { index: Some(index), error, elsewhere: None, rules })
}

fn checked_rule(given: dto::RoutingRule) -> S3Result<Rule> {
    let (condition, redirect) = (given.condition, given.redirect);
    let (mut prefix, mut status) = (None, None);
    if let Some(condition) = condition {
        prefix = condition.key_prefix_equals;
        status = condition
            .http_error_code_returned_equals
            .map(|code| {
                status_of(&code, 400..600, "The provided HTTP error code is not valid. Valid codes are 4XX or 5XX.")
            })
            .transpose()?;
        if prefix.is_none() && status.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "Condition cannot be empty. To redirect all requests without a condition, the condition element \
                 shouldn't be present."
            ));
        }
    }
    if redirect.replace_key_with.is_some() && redirect.replace_key_prefix_with.is_some() {
        return Err(s3_error!(InvalidRequest, "You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
    }
    let code = redirect
        .http_redirect_code
        .map(|code| {
            status_of(&code, 301..400, "The provided HTTP redirect code is not valid. Valid codes are 3XX except 300.")
        })
        .transpose()?;
    let rule = Rule {
        prefix,
        status,
        host: redirect.host_name.map(checked_host).transpose()?,
        protocol: checked_protocol(redirect.protocol)?,
        code,
        replace_prefix: redirect.replace_key_prefix_with,
        replace_key: redirect.replace_key_with,
    };
    let Rule { host, protocol, code, replace_prefix, replace_key, .. } = &rule;
    let says_nothing = host.is_none() && protocol.is_none() && code.is_none();
    if says_nothing && replace_prefix.is_none() && replace_key.is_none() {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    Ok(rule)
}

fn status_of(text: &str, among: std::ops::Range<u16>, message: &'static str) -> S3Result<u16> {
    let status = text.parse().ok().filter(|status| among.contains(status));
    status.ok_or_else(|| S3Error::with_message(S3ErrorCode::InvalidRequest, message))
}

fn checked_host(host: String) -> S3Result<String> {
    let is_host =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']' | b'/');
    match !host.is_empty() && host.bytes().all(is_host) {
        true => Ok(host),
        false => Err(s3_error!(InvalidRequest, "The host name {host:?} is not valid.")),
    }
}

fn checked_protocol(protocol: Option<dto::Protocol>) -> S3Result<Option<String>> {
    match protocol.as_ref().map(dto::Protocol::as_str) {
        None => Ok(None),
        Some(protocol @ ("http" | "https")) => Ok(Some(protocol.to_owned())),
        Some(_) => Err(s3_error!(
            InvalidRequest,
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically."
        )),
    }
}

/// GetBucketWebsite.
pub(super) async fn get(
    _: &Front,
    req: S3Request<dto::GetBucketWebsiteInput>,
) -> S3Result<S3Response<dto::GetBucketWebsiteOutput>> {
    let granted = Granted::of(&req)?;
    let site = of(granted.container()?).ok_or_else(none)?;
    let rules: Vec<_> = site.rules.into_iter().map(shown).collect();
    Ok(S3Response::new(dto::GetBucketWebsiteOutput {
        error_document: site.error.map(|key| dto::ErrorDocument { key }),
        index_document: site.index.map(|suffix| dto::IndexDocument { suffix }),
        redirect_all_requests_to: site.elsewhere.map(|other| dto::RedirectAllRequestsTo {
            host_name: other.host,
            protocol: other.protocol.map(dto::Protocol::from),
        }),
        routing_rules: Some(rules).filter(|rules| !rules.is_empty()),
    }))
}

fn shown(rule: Rule) -> dto::RoutingRule {
    let has_condition = rule.prefix.is_some() || rule.status.is_some();
    dto::RoutingRule {
        condition: has_condition.then(|| dto::Condition {
            http_error_code_returned_equals: rule.status.map(|status| status.to_string()),
            key_prefix_equals: rule.prefix,
        }),
        redirect: dto::Redirect {
            host_name: rule.host,
            http_redirect_code: rule.code.map(|code| code.to_string()),
            protocol: rule.protocol.map(dto::Protocol::from),
            replace_key_prefix_with: rule.replace_prefix,
            replace_key_with: rule.replace_key,
        },
    }
}

/// DeleteBucketWebsite.
pub(super) async fn delete(
    front: &Front,
    req: S3Request<dto::DeleteBucketWebsiteInput>,
) -> S3Result<S3Response<dto::DeleteBucketWebsiteOutput>> {
    let granted = Granted::of(&req)?;
    if of(granted.container()?).is_some() {
        replace(front, &granted, &req.input.bucket, String::new()).await?;
    }
    Ok(S3Response::new(dto::DeleteBucketWebsiteOutput::default()))
}
