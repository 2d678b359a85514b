//! Who may do what: every operation names its rule, and what has no rule is not offered. Nobody who is
//! not granted gets through: there is no default but denial.
//!
//! A bucket's account decides. Callers of that project with a role that writes do all, with a role that
//! reads they read; others and anonymous callers have what the container's ACLs give them.

use std::sync::Arc;

use anello_api::identity::Caller;
use anello_storage::ContainerInfo;
use http::{HeaderMap, HeaderName};
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3ErrorCode, S3Request, S3Result, s3_error};

use super::acl::{self, Grant};
use super::error::OrNoBucket;
use super::front::{Front, account_of, owner_id};

/// Roles that may change what the project owns.
const WRITERS: [&str; 3] = ["admin", "member", "swiftoperator"];
/// The role that may only look.
const READER: &str = "reader";

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// To be a reader of one's own project; no bucket is named.
    OwnBuckets,
    /// To be a writer of one's own project; the bucket is to be one's own.
    CreateBucket,
    /// To look at the bucket's contents: owner's reader, or the ACL lets list.
    List,
    /// To read objects: owner's reader, or the ACL lets read.
    Read,
    /// To change objects: owner's writer, or the ACL lets write.
    Write,
    /// To look at the bucket's settings: owner's reader.
    OwnerRead,
    /// To change the bucket's settings: owner's writer.
    OwnerWrite,
}

/// The rule of an operation; `None` for those not offered.
pub(super) fn rule(operation: &str) -> Option<Rule> {
    Some(match operation {
        "ListBuckets" => Rule::OwnBuckets,
        "CreateBucket" => Rule::CreateBucket,
        "HeadBucket" | "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "GetBucketLocation" => Rule::List,
        "GetObject" | "HeadObject" | "GetObjectAttributes" | "GetObjectTagging" => Rule::Read,
        "PutObject"
        | "CopyObject"
        | "DeleteObject"
        | "DeleteObjects"
        | "PutObjectTagging"
        | "DeleteObjectTagging"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload"
        | "ListParts"
        | "ListMultipartUploads" => Rule::Write,
        "GetBucketAcl" | "GetObjectAcl" | "GetBucketTagging" | "GetBucketVersioning" => Rule::OwnerRead,
        "DeleteBucket" | "PutBucketAcl" | "PutObjectAcl" | "PutBucketTagging" | "DeleteBucketTagging" => {
            Rule::OwnerWrite
        }
        _ => return None,
    })
}

/// What was granted to a request, as its operation finds it.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    /// Who calls; `None` for anonymous callers.
    pub(super) caller: Option<Arc<Caller>>,
    /// The account that holds the bucket, or is to.
    pub(super) account: Arc<str>,
}

impl Granted {
    /// What the check left with the request. A request that never passed it has nothing, and is denied.
    pub(super) fn of<T>(req: &S3Request<T>) -> S3Result<Self> {
        req.extensions.get::<Self>().cloned().ok_or_else(|| S3ErrorCode::AccessDenied.into())
    }
}

/// The hook that `s3s` calls for every request, signed or not.
pub(super) struct Access(pub(super) Arc<Front>);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name();
        let Some(rule) = rule(operation) else {
            return Err(s3_error!(NotImplemented, "{operation} is not implemented."));
        };
        check_signed(context.headers(), context.uri().query())?;
        let caller = match context.credentials() {
            Some(credentials) => Some(self.0.signing_key(&credentials.access_key).await?.caller),
            None => None,
        };
        let referrer = context.headers().get("referer").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let granted =
            authorize(&self.0, Asking { caller, referrer }, context.s3_path().get_bucket_name(), rule).await?;
        if let Some(expected) = context.headers().get("x-amz-expected-bucket-owner")
            && expected.as_bytes() != owner_id(&granted.account).as_bytes()
        {
            return Err(S3ErrorCode::AccessDenied.into());
        }
        context.extensions_mut().insert(granted);
        Ok(())
    }
}

/// Every `x-amz-` header has to be under the signature: one that is not may have been added on the way.
/// Only the payload's digest may stand outside that of a presigned URL, which can't know it.
fn check_signed(headers: &HeaderMap, query: Option<&str>) -> S3Result<()> {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let by_header = header.filter(|text| text.starts_with("AWS4-")).and_then(|text| {
        let (_, rest) = text.split_once("SignedHeaders=")?;
        Some(rest.split([',', ' ']).next().unwrap_or_default().to_owned())
    });
    let by_query = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-SignedHeaders=")));
    let by_query = by_query.map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
    let Some(signed) = by_header.clone().or(by_query) else { return Ok(()) };
    let is_loose = |name: &&HeaderName| {
        let name = name.as_str();
        name.starts_with("x-amz-")
            && !(name == "x-amz-content-sha256" && by_header.is_none())
            && !signed.split(';').any(|signed| signed.eq_ignore_ascii_case(name))
    };
    match headers.keys().find(is_loose) {
        None => Ok(()),
        Some(name) => {
            Err(s3_error!(AccessDenied, "There were headers present in the request which were not signed: {name}"))
        }
    }
}

/// A request that asks for authority.
#[derive(Debug, Clone, Default)]
pub(super) struct Asking {
    /// Who calls; `None` for anonymous callers.
    pub(super) caller: Option<Arc<Caller>>,
    /// The page that led here, as the client says.
    pub(super) referrer: Option<String>,
}

/// Finds whose the bucket is and whether the caller has what the rule asks for.
pub(super) async fn authorize(front: &Front, asking: Asking, bucket: Option<&str>, rule: Rule) -> S3Result<Granted> {
    let own = asking.caller.as_deref().and_then(account_of);
    let (Some(bucket), false) = (bucket, rule == Rule::CreateBucket) else {
        let may = asking.caller.as_deref().is_some_and(|caller| has_role(caller, rule));
        return match own {
            Some(account) if may => Ok(Granted { account: account.into(), caller: asking.caller }),
            _ => Err(denied()),
        };
    };
    let registered = front.registry.owner(bucket).await.or_no_bucket()?;
    let account = match registered {
        Some(account) if own.as_deref() == Some(&*account) => account,
        Some(account) => match front.store.container(&account, bucket).await.or_no_bucket()? {
            Some(container) => return by_lists(asking, account, &container, false, rule),
            None => {
                front.registry.forget(bucket);
                own.ok_or(S3ErrorCode::NoSuchBucket)?.into()
            }
        },
        // Made through Swift, and never claimed: only its own account knows it by this name.
        None => own.ok_or(S3ErrorCode::NoSuchBucket)?.into(),
    };
    if asking.caller.as_deref().is_some_and(|caller| has_role(caller, rule)) {
        return Ok(Granted { caller: asking.caller, account });
    }
    match front.store.container(&account, bucket).await.or_no_bucket()? {
        Some(container) => by_lists(asking, account, &container, true, rule),
        None => Err(denied()),
    }
}

/// What the container's lists give to whoever has no role for it.
fn by_lists(
    asking: Asking,
    account: Arc<str>,
    container: &ContainerInfo,
    is_own: bool,
    rule: Rule,
) -> S3Result<Granted> {
    let grant = match rule {
        Rule::List => Grant::List,
        Rule::Read => Grant::Read,
        Rule::Write => Grant::Write,
        Rule::OwnBuckets | Rule::CreateBucket | Rule::OwnerRead | Rule::OwnerWrite => return Err(denied()),
    };
    let Asking { caller, referrer } = asking;
    if acl::permits(container, caller.as_deref(), is_own, referrer.as_deref(), grant) {
        Ok(Granted { caller, account })
    } else {
        Err(denied())
    }
}

fn has_role(caller: &Caller, rule: Rule) -> bool {
    let holds = |role: &str| caller.roles.iter().any(|held| held.eq_ignore_ascii_case(role));
    let writes = WRITERS.into_iter().any(holds);
    match rule {
        Rule::OwnBuckets | Rule::List | Rule::Read | Rule::OwnerRead => writes || holds(READER),
        Rule::CreateBucket | Rule::Write | Rule::OwnerWrite => writes,
    }
}

fn denied() -> s3s::S3Error {
    S3ErrorCode::AccessDenied.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_never_writes_and_no_role_gets_nothing() {
        let caller = |roles: &[&str]| Caller {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Caller::default()
        };
        let rules = [
            Rule::OwnBuckets,
            Rule::CreateBucket,
            Rule::List,
            Rule::Read,
            Rule::Write,
            Rule::OwnerRead,
            Rule::OwnerWrite,
        ];
        for rule in rules {
            let reads = !matches!(rule, Rule::CreateBucket | Rule::Write | Rule::OwnerWrite);
            assert!(has_role(&caller(&["member"]), rule), "{rule:?}");
            assert_eq!(has_role(&caller(&["reader"]), rule), reads, "{rule:?}");
            assert!(!has_role(&caller(&[]), rule) && !has_role(&caller(&["auditor"]), rule), "{rule:?}");
        }
    }

    #[test]
    fn what_has_no_rule_is_not_offered() {
        for operation in ["PutBucketPolicy", "PostObject", "SelectObjectContent", "PutBucketVersioning", ""] {
            assert_eq!(rule(operation), None, "{operation}");
        }
    }
}
