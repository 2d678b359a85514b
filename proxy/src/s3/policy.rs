//! Who may do what: every operation names its rule, and what has no rule is not offered. Nobody who is
//! not granted gets through: there is no default but denial.
//!
//! A bucket's account decides. Callers of that project with a role that writes do all, with a role that
//! reads they read; others and anonymous callers have what the container's ACLs give them.

use std::sync::Arc;

use anello_api::identity::Caller;
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
        "PutObject" | "CopyObject" | "DeleteObject" | "DeleteObjects" | "PutObjectTagging" | "DeleteObjectTagging"
        | "CreateMultipartUpload" | "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload"
        | "AbortMultipartUpload" | "ListParts" | "ListMultipartUploads" => Rule::Write,
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
        let caller = match context.credentials() {
            Some(credentials) => Some(self.0.signing_key(&credentials.access_key).await?.caller),
            None => None,
        };
        let granted = authorize(&self.0, caller, context.s3_path().get_bucket_name(), rule).await?;
        if let Some(expected) = context.headers().get("x-amz-expected-bucket-owner")
            && expected.as_bytes() != owner_id(&granted.account).as_bytes()
        {
            return Err(S3ErrorCode::AccessDenied.into());
        }
        context.extensions_mut().insert(granted);
        Ok(())
    }
}

/// Finds whose the bucket is and whether the caller has what the rule asks for.
pub(super) async fn authorize(
    front: &Front,
    caller: Option<Arc<Caller>>,
    bucket: Option<&str>,
    rule: Rule,
) -> S3Result<Granted> {
    let own = caller.as_deref().and_then(account_of);
    let (Some(bucket), false) = (bucket, rule == Rule::CreateBucket) else {
        let (Some(account), Some(who)) = (own, caller.as_deref()) else { return Err(denied()) };
        return if has_role(who, rule) { Ok(Granted { account: account.into(), caller }) } else { Err(denied()) };
    };
    let registered = front.registry.owner(bucket).await.or_no_bucket()?;
    if let Some(account) = registered {
        if own.as_deref() == Some(&*account) {
            return as_owner(caller, account, rule);
        }
        if let Some(container) = front.store.container(&account, bucket).await.or_no_bucket()? {
            let is_granted = match rule {
                Rule::List => acl::permits(&container, caller.as_deref(), Grant::List),
                Rule::Read => acl::permits(&container, caller.as_deref(), Grant::Read),
                Rule::Write => acl::permits(&container, caller.as_deref(), Grant::Write),
                Rule::OwnBuckets | Rule::CreateBucket | Rule::OwnerRead | Rule::OwnerWrite => false,
            };
            return if is_granted { Ok(Granted { caller, account }) } else { Err(denied()) };
        }
        front.registry.forget(bucket);
    }
    // Made through Swift, and never claimed: only its own account knows it by this name.
    match own {
        Some(own) => as_owner(caller, own.into(), rule),
        None => Err(S3ErrorCode::NoSuchBucket.into()),
    }
}

fn as_owner(caller: Option<Arc<Caller>>, account: Arc<str>, rule: Rule) -> S3Result<Granted> {
    let may = caller.as_deref().is_some_and(|caller| has_role(caller, rule));
    if may { Ok(Granted { caller, account }) } else { Err(denied()) }
}

fn has_role(caller: &Caller, rule: Rule) -> bool {
    let writes = WRITERS.iter().any(|role| caller.has_role(role));
    match rule {
        Rule::OwnBuckets | Rule::List | Rule::Read | Rule::OwnerRead => writes || caller.has_role(READER),
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
        let rules =
            [Rule::OwnBuckets, Rule::CreateBucket, Rule::List, Rule::Read, Rule::Write, Rule::OwnerRead, Rule::OwnerWrite];
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
