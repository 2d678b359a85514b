//! S3's canned access lists on Swift's container lists, which are what is kept and what decides:
//!
//! | canned | `x-container-read` | `x-container-write` |
//! |---|---|---|
//! | `private` | | |
//! | `public-read` | `.r:*,.rlistings` | |
//! | `public-read-write` | `.r:*,.rlistings` | `*:*` |
//! | `authenticated-read` | `*:*` | |
//!
//! An object has no list of its own: as with buckets whose owner enforces ownership (Amazon's default),
//! a list that would open it is refused with AccessControlListNotSupported. `public-read-write` opens
//! writing to every caller who has signed, never to anonymous ones. Grants by header or XML other than
//! the owner's own are refused too.

use anello_api::identity::Caller;
use anello_storage::store::IfMissing;
use anello_storage::{ContainerInfo, Metadata};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::bucket_policy::Block;
use super::error::OrNoBucket;
use super::front::{Front, owner_id};
use super::policy::Granted;
use super::version;
use crate::acl::Acl;

/// Container metadata that holds who may read.
pub(super) const READ: &str = "x-container-read";
/// Container metadata that holds who may write.
pub(super) const WRITE: &str = "x-container-write";

const EVERYBODY: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const SIGNED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

/// What somebody who does not own the bucket wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    List,
    Read,
    Write,
}

/// Somebody who wants something.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Visitor<'a> {
    /// Who calls; `None` for anonymous callers.
    pub(super) caller: Option<&'a Caller>,
    /// Whether he is of the project that owns the container; names of roles count for those only.
    pub(super) is_own: bool,
    /// The page that led here, as the client says.
    pub(super) referrer: Option<&'a str>,
    /// Whether what is given to the public doesn't count.
    pub(super) is_public_ignored: bool,
}

/// Whether an item of a list is given to the public.
fn is_for_all(item: &str) -> bool {
    item == "*:*" || item.starts_with(".r:")
}

/// Whether a container's lists give anything to the public.
pub(super) fn is_public(container: &ContainerInfo) -> bool {
    let lists = container.metadata.iter().filter(|(name, _)| name == READ || name == WRITE);
    lists.flat_map(|(_, items)| items.split(',')).any(is_for_all)
}

/// Whether the container's lists let somebody do it who may not by role. Users and projects count by their ids: names
/// are unique within a domain only.
pub(super) fn permits(container: &ContainerInfo, visitor: Visitor<'_>, grant: Grant) -> bool {
    let Visitor { caller, is_own, referrer, is_public_ignored } = visitor;
    let name = if grant == Grant::Write { WRITE } else { READ };
    let Some((_, text)) = container.metadata.iter().find(|(found, _)| found == name) else { return false };
    let items: Vec<_> = text.split(',').filter(|item| !(is_public_ignored && is_for_all(item))).collect();
    let acl = Acl::parse(&items.join(","));
    if caller.is_some_and(|caller| acl.names(caller, false) || (is_own && acl.grants_role(caller))) {
        return true;
    }
    let open = if grant == Grant::Write { None } else { acl.referrer(referrer) };
    open.is_some_and(|may_list| may_list || grant == Grant::Read)
}

/// The container metadata that a canned list is.
pub(super) fn canned(name: &str) -> S3Result<Metadata> {
    let (read, write) = match name {
        "private" => ("", ""),
        "public-read" => (".r:*,.rlistings", ""),
        "public-read-write" => (".r:*,.rlistings", "*:*"),
        "authenticated-read" => ("*:*", ""),
        _ => return Err(s3_error!(InvalidArgument, "The canned ACL {name:?} is not known.")),
    };
    Ok(vec![(READ.to_owned(), read.to_owned()), (WRITE.to_owned(), write.to_owned())])
}

/// An object's list may only say what holds anyway.
pub(super) fn check_object(acl: Option<&dto::ObjectCannedACL>, grants: &[&Option<String>]) -> S3Result<()> {
    let is_owners =
        acl.is_none_or(|acl| matches!(acl.as_str(), "private" | "bucket-owner-full-control" | "bucket-owner-read"));
    if is_owners && grants.iter().all(|grant| grant.is_none()) { Ok(()) } else { Err(not_supported()) }
}

fn not_supported() -> s3s::S3Error {
    s3_error!(
        AccessControlListNotSupported,
        "The bucket does not allow ACLs on objects, nor grants other than canned ones."
    )
}

fn grants(account: &str, container: &ContainerInfo) -> Vec<dto::Grant> {
    let group = |uri: &str, permission: &'static str| dto::Grant {
        grantee: Some(dto::Grantee {
            type_: dto::Type::from_static(dto::Type::GROUP),
            uri: Some(uri.to_owned()),
            display_name: None,
            email_address: None,
            id: None,
        }),
        permission: Some(dto::Permission::from_static(permission)),
    };
    let has = |list: &str, item: &str| {
        let lists = container.metadata.iter().filter(|(name, _)| name == list);
        lists.flat_map(|(_, items)| items.split(',')).any(|found| found == item)
    };
    let mut grants = vec![dto::Grant {
        grantee: Some(dto::Grantee {
            type_: dto::Type::from_static(dto::Type::CANONICAL_USER),
            id: Some(owner_id(account).to_owned()),
            display_name: Some(owner_id(account).to_owned()),
            email_address: None,
            uri: None,
        }),
        permission: Some(dto::Permission::from_static(dto::Permission::FULL_CONTROL)),
    }];
    if has(READ, ".r:*") {
        grants.push(group(EVERYBODY, dto::Permission::READ));
    }
    if has(READ, "*:*") {
        grants.push(group(SIGNED, dto::Permission::READ));
    }
    if has(WRITE, "*:*") {
        grants.push(group(SIGNED, dto::Permission::WRITE));
    }
    grants
}

/// The owner as S3 shows it.
pub(super) fn owner(account: &str) -> dto::Owner {
    let id = owner_id(account).to_owned();
    dto::Owner { display_name: Some(id.clone()), id: Some(id) }
}

/// GetBucketAcl.
pub(super) async fn get_bucket(
    front: &Front,
    req: S3Request<dto::GetBucketAclInput>,
) -> S3Result<S3Response<dto::GetBucketAclOutput>> {
    let granted = Granted::of(&req)?;
    let container = front.container(&granted, &req.input.bucket).await?;
    let (grants, owner) = (Some(grants(&granted.account, &container)), Some(owner(&granted.account)));
    Ok(S3Response::new(dto::GetBucketAclOutput { grants, owner }))
}

/// PutBucketAcl.
pub(super) async fn put_bucket(
    front: &Front,
    req: S3Request<dto::PutBucketAclInput>,
) -> S3Result<S3Response<dto::PutBucketAclOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let headers = [
        &input.grant_full_control,
        &input.grant_read,
        &input.grant_read_acp,
        &input.grant_write,
        &input.grant_write_acp,
    ];
    if headers.iter().any(|grant| grant.is_some()) {
        return Err(not_supported());
    }
    let changes = match (&input.acl, &input.access_control_policy) {
        (Some(acl), None) => canned(acl.as_str())?,
        (None, Some(policy)) => from_policy(policy, &granted.account)?,
        _ => return Err(s3_error!(InvalidRequest, "Specify either a canned ACL or an access control policy.")),
    };
    let opens = changes.iter().any(|(_, items)| items.split(',').any(is_for_all));
    if opens && Block::of(granted.container()?).new_lists {
        return Err(S3ErrorCode::AccessDenied.into());
    }
    front.store.container_update(&granted.account, &input.bucket, changes, 0, IfMissing::Fail).await.or_no_bucket()?;
    Ok(S3Response::new(dto::PutBucketAclOutput::default()))
}

/// A policy in XML, where it says what a canned list says.
fn from_policy(policy: &dto::AccessControlPolicy, account: &str) -> S3Result<Metadata> {
    let mut said = [false; 3];
    for grant in policy.grants.iter().flatten() {
        let (Some(grantee), Some(permission)) = (&grant.grantee, &grant.permission) else {
            return Err(S3ErrorCode::MalformedACLError.into());
        };
        match (grantee.uri.as_deref(), grantee.id.as_deref(), permission.as_str()) {
            (None, Some(id), _) if id == owner_id(account) => {}
            (Some(EVERYBODY), _, dto::Permission::READ) => said[0] = true,
            (Some(SIGNED), _, dto::Permission::READ) => said[1] = true,
            (Some(SIGNED | EVERYBODY), _, dto::Permission::WRITE) => said[2] = true,
            _ => return Err(not_supported()),
        }
    }
    match said {
        [false, false, false] => canned("private"),
        [true, false, false] => canned("public-read"),
        [true, false, true] => canned("public-read-write"),
        [false, true, false] => canned("authenticated-read"),
        _ => Err(not_supported()),
    }
}

/// GetObjectAcl: what the bucket's lists give.
pub(super) async fn get_object(
    front: &Front,
    req: S3Request<dto::GetObjectAclInput>,
) -> S3Result<S3Response<dto::GetObjectAclOutput>> {
    let granted = Granted::of(&req)?;
    let version = req.input.version_id.as_deref();
    version::find(front, &granted, &req.input.bucket, &req.input.key, version).await?;
    let container = front.container(&granted, &req.input.bucket).await?;
    let mut grants = grants(&granted.account, &container);
    grants.retain(|grant| grant.permission.as_ref().is_some_and(|given| given.as_str() != dto::Permission::WRITE));
    let owner = Some(owner(&granted.account));
    Ok(S3Response::new(dto::GetObjectAclOutput { grants: Some(grants), owner, request_charged: None }))
}

/// PutObjectAcl: accepted where it changes nothing.
pub(super) async fn put_object(
    front: &Front,
    req: S3Request<dto::PutObjectAclInput>,
) -> S3Result<S3Response<dto::PutObjectAclOutput>> {
    let granted = Granted::of(&req)?;
    let input = &req.input;
    check_object(
        input.acl.as_ref(),
        &[
            &input.grant_full_control,
            &input.grant_read,
            &input.grant_read_acp,
            &input.grant_write,
            &input.grant_write_acp,
        ],
    )?;
    if let Some(policy) = &input.access_control_policy
        && from_policy(policy, &granted.account)?.iter().any(|(_, list)| !list.is_empty())
    {
        return Err(not_supported());
    }
    version::find(front, &granted, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    Ok(S3Response::new(dto::PutObjectAclOutput::default()))
}

#[cfg(test)]
mod tests {
    use anello_base::Timestamp;

    use super::*;

    fn container(name: &str) -> ContainerInfo {
        ContainerInfo {
            created: Timestamp::ZERO,
            modified: Timestamp::ZERO,
            deleted: Timestamp::ZERO,
            object_count: 0,
            bytes_used: 0,
            policy: 0,
            metadata: canned(name).expect(name),
        }
    }

    #[test]
    fn canned_lists_open_what_they_say_and_no_more() {
        let signed = Caller { user_id: "u".into(), project_id: Some("p".into()), ..Caller::default() };
        let check = |name: &str, caller: Option<&Caller>, want: [bool; 3]| {
            let found = [Grant::List, Grant::Read, Grant::Write]
                .map(|grant| permits(&container(name), Visitor { caller, ..Visitor::default() }, grant));
            assert_eq!(found, want, "{name} {}", caller.is_some());
            let ignoring = Visitor { caller, is_public_ignored: true, ..Visitor::default() };
            assert!(!permits(&container(name), ignoring, Grant::Read), "{name}");
        };
        check("private", None, [false; 3]);
        check("private", Some(&signed), [false; 3]);
        check("public-read", None, [true, true, false]);
        check("public-read", Some(&signed), [true, true, false]);
        check("public-read-write", None, [true, true, false]);
        check("public-read-write", Some(&signed), [true; 3]);
        check("authenticated-read", None, [false; 3]);
        check("authenticated-read", Some(&signed), [true, true, false]);
        assert!(canned("log-delivery-write").is_err());
    }
}
