//! Who may do what: every operation names its rule, and what has no rule is not offered. Nobody who is
//! not granted gets through: there is no default but denial.
//!
//! A bucket's account decides. Callers of that project with a role that writes do all, with a role that
//! reads they read; others and anonymous callers have what the bucket's policy and the container's ACLs give them. What
//! the policy denies is denied, to the own project too, but for the policy itself, so that nobody locks himself out.

use std::net::IpAddr;
use std::sync::Arc;

use anello_api::identity::Caller;
use anello_storage::ContainerInfo;
use http::{HeaderMap, HeaderName};
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3ErrorCode, S3Request, S3Result, s3_error};
use time::format_description::well_known::Rfc3339;

use super::acl::lists::{self, Wish};
use super::acl::{self, Needed, ObjectOwnership, Permission};
use super::bucket_policy::{Asker, Block, Facts, Policy, Verdict};
use super::error::OrNoBucket;
use super::front::{Front, account_of, owner_id};
use super::{tagging, version};

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
        "GetBucketCors"
        | "GetBucketLifecycleConfiguration"
        | "GetBucketEncryption"
        | "GetBucketWebsite"
        | "GetBucketReplication"
        | "GetBucketAccelerateConfiguration"
        | "GetBucketLogging"
        | "GetBucketNotificationConfiguration"
        | "GetBucketRequestPayment" => Rule::OwnerRead,
        "PutBucketLifecycleConfiguration"
        | "DeleteBucketLifecycle"
        | "DeleteBucketEncryption"
        | "PutBucketWebsite"
        | "PutBucketLogging"
        | "PutBucketRequestPayment"
        | "PutBucketAccelerateConfiguration"
        | "DeleteBucketWebsite"
        | "DeleteBucketReplication" => Rule::OwnerWrite,
        "PutBucketCors" | "DeleteBucketCors" => Rule::OwnerWrite,
        "GetBucketPolicy" | "GetBucketPolicyStatus" | "GetPublicAccessBlock" => Rule::OwnerRead,
        "PutBucketPolicy" | "DeleteBucketPolicy" | "PutPublicAccessBlock" | "DeletePublicAccessBlock" => {
            Rule::OwnerWrite
        }
        "GetObjectRetention" | "GetObjectLegalHold" | "GetObjectLockConfiguration" => Rule::OwnerRead,
        "PutObjectRetention" | "PutObjectLegalHold" | "PutObjectLockConfiguration" => Rule::OwnerWrite,
        "GetBucketAcl" | "GetObjectAcl" | "GetBucketOwnershipControls" | "GetBucketTagging" | "GetBucketVersioning" => {
            Rule::OwnerRead
        }
        "DeleteBucket"
        | "PutBucketVersioning"
        | "PutBucketAcl"
        | "PutObjectAcl"
        | "PutBucketOwnershipControls"
        | "DeleteBucketOwnershipControls"
        | "PutBucketTagging"
        | "DeleteBucketTagging" => Rule::OwnerWrite,
        _ => return None,
    })
}

/// The action of policies that an operation is, `None` where it is none or one for each key that it names.
fn action(operation: &str, of_version: bool) -> Option<&'static str> {
    Some(match operation {
        "ListBuckets" | "CreateBucket" | "DeleteObjects" => return None,
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => "s3:ListBucket",
        "ListObjectVersions" => "s3:ListBucketVersions",
        "GetObject" | "HeadObject" if of_version => "s3:GetObjectVersion",
        "GetObject" | "HeadObject" => "s3:GetObject",
        "GetObjectAttributes" if of_version => "s3:GetObjectVersionAttributes",
        "GetObjectTagging" if of_version => "s3:GetObjectVersionTagging",
        "PutObjectTagging" if of_version => "s3:PutObjectVersionTagging",
        "DeleteObjectTagging" if of_version => "s3:DeleteObjectVersionTagging",
        "GetObjectAcl" if of_version => "s3:GetObjectVersionAcl",
        "PutObjectAcl" if of_version => "s3:PutObjectVersionAcl",
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => "s3:PutObject",
        "DeleteObject" if of_version => DELETE_VERSION,
        "DeleteObject" => DELETE,
        "ListParts" => "s3:ListMultipartUploadParts",
        "ListMultipartUploads" => "s3:ListBucketMultipartUploads",
        "DeleteBucketTagging" => "s3:PutBucketTagging",
        "DeleteBucketOwnershipControls" => "s3:PutBucketOwnershipControls",
        "GetBucketLifecycleConfiguration" => "s3:GetLifecycleConfiguration",
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => "s3:PutLifecycleConfiguration",
        "GetBucketEncryption" => "s3:GetEncryptionConfiguration",
        "DeleteBucketEncryption" => "s3:PutEncryptionConfiguration",
        "GetBucketReplication" => "s3:GetReplicationConfiguration",
        "DeleteBucketReplication" => "s3:PutReplicationConfiguration",
        "GetBucketAccelerateConfiguration" => "s3:GetAccelerateConfiguration",
        "PutBucketAccelerateConfiguration" => "s3:PutAccelerateConfiguration",
        "GetBucketNotificationConfiguration" => "s3:GetBucketNotification",
        "GetBucketCors" => "s3:GetBucketCORS",
        "PutBucketCors" | "DeleteBucketCors" => "s3:PutBucketCORS",
        "PutObjectLockConfiguration" => "s3:PutBucketObjectLockConfiguration",
        "GetObjectLockConfiguration" => "s3:GetBucketObjectLockConfiguration",
        "GetPublicAccessBlock" => "s3:GetBucketPublicAccessBlock",
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => "s3:PutBucketPublicAccessBlock",
        other => ALIKE.iter().find(|action| action.strip_prefix("s3:") == Some(other))?,
    })
}

/// Actions that are called like their operations.
const ALIKE: [&str; 32] = [
    "s3:AbortMultipartUpload",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:DeleteBucketWebsite",
    "s3:DeleteObjectTagging",
    "s3:GetBucketAcl",
    "s3:GetBucketLocation",
    "s3:GetBucketLogging",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy",
    "s3:GetBucketPolicyStatus",
    "s3:GetBucketRequestPayment",
    "s3:GetBucketTagging",
    "s3:GetBucketVersioning",
    "s3:GetBucketWebsite",
    "s3:GetObjectAcl",
    "s3:GetObjectAttributes",
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectTagging",
    "s3:PutBucketAcl",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketLogging",
    "s3:PutBucketPolicy",
    "s3:PutBucketRequestPayment",
    "s3:PutBucketTagging",
    "s3:PutBucketVersioning",
    "s3:PutBucketWebsite",
    "s3:PutObjectAcl",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
];

const DELETE: &str = "s3:DeleteObject";
const DELETE_VERSION: &str = "s3:DeleteObjectVersion";
/// Not an operation's own: to pass over governance in one.
pub(super) const BYPASS: &str = "s3:BypassGovernanceRetention";

/// The action of deleting a key or one of its versions.
pub(super) fn deletion(of_version: bool) -> &'static str {
    if of_version { DELETE_VERSION } else { DELETE }
}

/// What was granted to a request, as its operation finds it.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    /// Who calls; `None` for anonymous callers.
    pub(super) caller: Option<Arc<Caller>>,
    /// The account that holds the bucket, or is to.
    pub(super) account: Arc<str>,
    /// The bucket as it was then, where one was named and is there; its counts may lag.
    pub(super) container: Option<Arc<ContainerInfo>>,
    basis: Arc<Basis>,
}

/// What decided, and decides again about what an operation finds in its document.
#[derive(Debug, Default)]
struct Basis {
    /// Whether a role or the lists give it, whatever the policy says.
    otherwise: bool,
    /// Whether the caller has it by his role in the bucket's account.
    by_role: bool,
    /// The bucket's policy, where it has one, and what it looks at.
    policy: Option<(Arc<Policy>, Facts)>,
    /// Whether what the policy allows counts.
    is_open: bool,
}

impl Granted {
    /// What the check left with the request. A request that never passed it has nothing, and is denied.
    pub(super) fn of<T>(req: &S3Request<T>) -> S3Result<Self> {
        req.extensions.get::<Self>().cloned().ok_or_else(|| S3ErrorCode::AccessDenied.into())
    }

    /// The bucket; NoSuchBucket where there is none.
    pub(super) fn container(&self) -> S3Result<&ContainerInfo> {
        self.container.as_deref().ok_or_else(|| S3ErrorCode::NoSuchBucket.into())
    }

    /// One of somebody who may do all, without a bucket.
    #[cfg(test)]
    pub(super) fn of_account(account: &str) -> Self {
        Self { caller: None, account: account.into(), container: None, basis: Arc::default() }
    }

    /// Decides about another action of the same request: on one of many keys, or with `more` facts.
    pub(super) fn check_again(&self, action: &str, bucket: &str, key: &str, more: &[(String, String)]) -> S3Result<()> {
        let Basis { otherwise, policy, is_open, .. } = &*self.basis;
        let verdict = match policy {
            None => Verdict::Silent,
            Some((policy, facts)) => {
                let mut facts = facts.clone();
                more.iter().for_each(|(name, value)| facts.add(name, value.as_str()));
                policy.decide(asker(self.caller.as_deref()), action, &resource(bucket, Some(key)), &facts)
            }
        };
        match verdict {
            Verdict::Deny => Err(denied()),
            Verdict::Allow if *is_open => Ok(()),
            Verdict::Allow | Verdict::Silent if *otherwise => Ok(()),
            Verdict::Allow | Verdict::Silent => Err(denied()),
        }
    }

    /// Whether the caller may pass over governance: by his role, or because the policy says so.
    pub(super) fn may_bypass(&self, bucket: &str, key: &str) -> bool {
        let Basis { by_role, policy, is_open, .. } = &*self.basis;
        let verdict = policy.as_ref().map_or(Verdict::Silent, |(policy, facts)| {
            policy.decide(asker(self.caller.as_deref()), BYPASS, &resource(bucket, Some(key)), facts)
        });
        match verdict {
            Verdict::Deny => false,
            Verdict::Allow => *is_open || *by_role,
            Verdict::Silent => *by_role,
        }
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Connection {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Whether it came over TLS.
    pub is_secure: bool,
}

/// The hook that `s3s` calls for every request, signed or not.
pub(super) struct Access(pub(super) Arc<Front>);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let connection = context.extensions_mut().get::<Connection>().copied().unwrap_or_default();
        let operation = context.s3_op().name();
        if rule(operation).is_none() {
            return Err(s3_error!(NotImplemented, "{operation} is not implemented."));
        }
        check_signed(context.headers(), context.uri().query())?;
        let caller = match context.credentials() {
            Some(credentials) => Some(self.0.signing_key(&credentials.access_key).await?.caller),
            None => None,
        };
        let asking =
            Asking { caller, connection, headers: context.headers(), query: context.uri().query().unwrap_or_default() };
        let (bucket, key) = (context.s3_path().get_bucket_name(), context.s3_path().get_object_key());
        let granted = authorize(&self.0, asking, operation, bucket, key).await?;
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
#[derive(Debug, Clone)]
pub(super) struct Asking<'a> {
    /// Who calls; `None` for anonymous callers.
    pub(super) caller: Option<Arc<Caller>>,
    pub(super) connection: Connection,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a str,
}

impl Asking<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Finds whose the bucket is and whether the caller may do the operation there.
pub(super) async fn authorize(
    front: &Front,
    asking: Asking<'_>,
    operation: &str,
    bucket: Option<&str>,
    key: Option<&str>,
) -> S3Result<Granted> {
    let rule = rule(operation).ok_or(S3ErrorCode::AccessDenied)?;
    let own = asking.caller.as_deref().and_then(account_of);
    let may = asking.caller.as_deref().is_some_and(|caller| has_role(caller, rule));
    let (Some(bucket), false) = (bucket, rule == Rule::CreateBucket) else {
        let basis = Arc::new(Basis { otherwise: true, by_role: true, ..Basis::default() });
        return match own {
            Some(account) if may => {
                Ok(Granted { account: account.into(), caller: asking.caller, container: None, basis })
            }
            _ => Err(denied()),
        };
    };
    let registered = front.registry.owner(bucket).await.or_no_bucket()?;
    let is_foreign = registered.is_some() && own.as_deref() != registered.as_deref();
    if let Some(account) = registered.filter(|_| is_foreign) {
        match front.store.container_settings(&account, bucket).await.or_no_bucket()? {
            Some(container) => {
                let place = Place { account, container, bucket, key, is_own: false };
                return decide(front, asking, operation, rule, place).await;
            }
            None => front.registry.forget(bucket),
        }
    }
    // One's own, or one that was made through Swift and never claimed: only its own account knows it by this name.
    let account: Arc<str> = own.ok_or(S3ErrorCode::NoSuchBucket)?.into();
    match front.store.container_settings(&account, bucket).await.or_no_bucket()? {
        Some(container) => {
            let place = Place { account, container, bucket, key, is_own: true };
            decide(front, asking, operation, rule, place).await
        }
        None if may => Ok(Granted { caller: asking.caller, account, container: None, basis: Arc::default() }),
        None => Err(denied()),
    }
}

/// The bucket that a request is for, and the key if it names one.
struct Place<'a> {
    account: Arc<str>,
    container: ContainerInfo,
    bucket: &'a str,
    key: Option<&'a str>,
    is_own: bool,
}

/// Asks the bucket's policy, the caller's role and the container's lists.
async fn decide(front: &Front, asking: Asking<'_>, operation: &str, rule: Rule, place: Place<'_>) -> S3Result<Granted> {
    front.logged.note(&place.account, place.bucket, &place.container);
    let by_role = place.is_own && asking.caller.as_deref().is_some_and(|caller| has_role(caller, rule));
    let block = Block::of(&place.container);
    let lists = Lists { has_any: ObjectOwnership::of(front, &place.container).has_lists(), block, rule };
    let otherwise = by_role || by_lists(&asking, &place, block, rule) || lists.of_bucket(&asking, &place, operation);
    let policy = front.policies.of(place.bucket, &place.container)?;
    let is_about_policy = matches!(operation, "GetBucketPolicy" | "PutBucketPolicy" | "DeleteBucketPolicy");
    let mut basis = Basis { otherwise, by_role, policy: None, is_open: true };
    let mut is_granted = otherwise;
    if let Some(policy) = policy.filter(|_| !(by_role && is_about_policy)) {
        let facts = Box::pin(facts(front, &asking, &place, &policy)).await?;
        let of_version = asking.query.split('&').any(|pair| pair.starts_with("versionId="));
        basis.is_open = place.is_own || !(block.policies && policy.is_public());
        match action(operation, of_version) {
            Some(action) => {
                let resource = resource(place.bucket, place.key);
                match policy.decide(asker(asking.caller.as_deref()), action, &resource, &facts) {
                    Verdict::Deny => return Err(denied()),
                    Verdict::Allow => is_granted |= basis.is_open,
                    Verdict::Silent => {}
                }
            }
            // Each of the keys is decided about.
            None => is_granted = true,
        }
        basis.policy = Some((policy, facts));
    }
    if !is_granted {
        // Rare, and nothing that the others' futures need room for.
        is_granted = lists.has_any && Box::pin(lists.of_object(front, &asking, &place, operation)).await?;
        basis.otherwise = is_granted;
    }
    if !is_granted {
        return Err(denied());
    }
    let container = Some(Arc::new(place.container));
    Ok(Granted { caller: asking.caller, account: place.account, container, basis: Arc::new(basis) })
}

/// Who asks, as policies name callers.
fn asker(caller: Option<&Caller>) -> Asker<'_> {
    let signed = caller.map(|caller| {
        (caller.project_id.as_deref().unwrap_or_default(), caller.user_id.as_str(), caller.user_name.as_str())
    });
    Asker { signed }
}

/// What policies call a bucket or an object.
fn resource(bucket: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("arn:aws:s3:::{bucket}/{key}"),
        None => format!("arn:aws:s3:::{bucket}"),
    }
}

/// Headers that conditions look at under their own names.
const HEADER_FACTS: [&str; 14] = [
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
];

/// What a policy may look at of a request.
async fn facts(front: &Front, asking: &Asking<'_>, place: &Place<'_>, policy: &Policy) -> S3Result<Facts> {
    let mut facts = Facts::default();
    let now = time::OffsetDateTime::from(front.store.clock().wall().system_time());
    facts.add("aws:CurrentTime", now.format(&Rfc3339).unwrap_or_default());
    facts.add("aws:EpochTime", now.unix_timestamp().to_string());
    facts.add("aws:SecureTransport", asking.connection.is_secure.to_string());
    if let Some(address) = asking.connection.address {
        facts.add("aws:SourceIp", address.to_canonical().to_string());
    }
    for (key, header) in [("aws:Referer", "referer"), ("aws:UserAgent", "user-agent")] {
        asking.header(header).into_iter().for_each(|value| facts.add(key, value));
    }
    facts.add("s3:ResourceAccount", owner_id(&place.account));
    match asking.caller.as_deref() {
        None => facts.add("aws:PrincipalType", "Anonymous"),
        Some(caller) => {
            let project = caller.project_id.as_deref().unwrap_or_default();
            facts.add("aws:PrincipalType", "User");
            facts.add("aws:PrincipalAccount", project);
            facts.add("aws:PrincipalArn", format!("arn:aws:iam::{project}:user/{}", caller.user_name));
            facts.add("aws:userid", caller.user_id.as_str());
            facts.add("aws:username", caller.user_name.as_str());
            let is_in_query = !asking.headers.contains_key("authorization");
            facts.add("s3:authType", if is_in_query { "REST-QUERY-STRING" } else { "REST-HEADER" });
            let is_version_2 = asking.header("authorization").is_some_and(|text| text.starts_with("AWS "))
                || asking.query.contains("AWSAccessKeyId=");
            facts.add("s3:signatureversion", if is_version_2 { "AWS" } else { "AWS4-HMAC-SHA256" });
        }
    }
    for pair in asking.query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = match name {
            "prefix" => "s3:prefix",
            "delimiter" => "s3:delimiter",
            "max-keys" => "s3:max-keys",
            "versionId" => "s3:VersionId",
            _ => continue,
        };
        let spaced = value.replace('+', " ");
        facts.add(key, percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy());
    }
    for header in HEADER_FACTS {
        asking.header(header).into_iter().for_each(|value| facts.add(&format!("s3:{header}"), value));
    }
    for (key, header) in [
        ("s3:if-match", "if-match"),
        ("s3:if-none-match", "if-none-match"),
        ("s3:object-lock-mode", "x-amz-object-lock-mode"),
        ("s3:object-lock-legal-hold", "x-amz-object-lock-legal-hold"),
        ("s3:object-lock-retain-until-date", "x-amz-object-lock-retain-until-date"),
        ("s3:x-amz-website-redirect-location", "x-amz-website-redirect-location"),
    ] {
        asking.header(header).into_iter().for_each(|value| facts.add(key, value));
    }
    if let Some(text) = asking.header("x-amz-tagging") {
        tagging::facts(&tagging::parse_header(text)?).into_iter().for_each(|(key, value)| facts.add(&key, value));
    }
    if let Some(key) = place.key.filter(|_| policy.asks_for_tags()) {
        let version = asking.query.split('&').find_map(|pair| pair.strip_prefix("versionId="));
        for (name, value) in version::tags(front, &place.account, place.bucket, key, version, &place.container).await? {
            facts.add(&format!("s3:ExistingObjectTag/{name}"), value);
        }
    }
    Ok(facts)
}

/// What S3's own access lists say where they count.
struct Lists {
    has_any: bool,
    block: Block,
    rule: Rule,
}

impl Lists {
    fn permits(&self, list: &acl::list::List, asking: &Asking<'_>, wanted: Permission) -> bool {
        let caller = asking.caller.as_deref();
        let has_role = caller.is_some_and(|caller| has_role(caller, self.rule));
        list.permits(caller, has_role, wanted, self.block.lists)
    }

    /// Whether the bucket's list gives it.
    fn of_bucket(&self, asking: &Asking<'_>, place: &Place<'_>, operation: &str) -> bool {
        match acl::needed(operation) {
            Some(Needed::OfBucket(wanted)) if self.has_any => self.bucket_permits(asking, place, wanted),
            _ => false,
        }
    }

    fn bucket_permits(&self, asking: &Asking<'_>, place: &Place<'_>, wanted: Permission) -> bool {
        acl::bucket::stored(&place.container).is_some_and(|list| self.permits(&list, asking, wanted))
    }

    /// Whether the object's list gives it. Of an object that is not there those are told who may list the bucket.
    async fn of_object(
        &self,
        front: &Front,
        asking: &Asking<'_>,
        place: &Place<'_>,
        operation: &str,
    ) -> S3Result<bool> {
        let (Some(Needed::OfObject(wanted)), Some(key)) = (acl::needed(operation), place.key) else { return Ok(false) };
        let version = asking.query.split('&').find_map(|pair| pair.strip_prefix("versionId="));
        let found = version::metadata(front, &place.account, place.bucket, key, version, &place.container).await?;
        Ok(match found {
            Some(metadata) => self.permits(&acl::object::of(&metadata, &place.account), asking, wanted),
            None => self.bucket_permits(asking, place, Permission::Read),
        })
    }
}

/// Whether the container's lists give it to somebody who has no role for it.
fn by_lists(asking: &Asking<'_>, place: &Place<'_>, block: Block, rule: Rule) -> bool {
    let wish = match rule {
        Rule::List => Wish::List,
        Rule::Read => Wish::Read,
        Rule::Write => Wish::Write,
        Rule::OwnBuckets | Rule::CreateBucket | Rule::OwnerRead | Rule::OwnerWrite => return false,
    };
    let visitor = lists::Visitor {
        caller: asking.caller.as_deref(),
        is_own: place.is_own,
        referrer: asking.header("referer"),
        is_public_ignored: block.lists,
    };
    lists::permits(&place.container, visitor, wish)
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

    /// Without this a policy could say nothing about an operation.
    #[test]
    fn every_operation_on_a_bucket_is_an_action_of_policies() {
        let source = include_str!("service.rs");
        let operations =
            source.lines().filter_map(|line| Some(line.trim().split_once("Input) -> ")?.0.split_once('(')?.1));
        let operations: Vec<_> = operations.collect();
        assert!(operations.len() > 30, "{operations:?}");
        for operation in operations {
            assert!(rule(operation).is_some(), "{operation}");
            let has_none = matches!(operation, "ListBuckets" | "CreateBucket" | "DeleteObjects");
            assert_eq!(action(operation, false).is_none(), has_none, "{operation}");
        }
    }

    #[test]
    fn what_has_no_rule_is_not_offered() {
        for operation in ["PostObject", "SelectObjectContent", ""] {
            assert_eq!(rule(operation), None, "{operation}");
        }
    }
}
