//! GetBucketAcl and PutBucketAcl.

use anello_storage::store::IfMissing;
use anello_storage::{ContainerInfo, Metadata};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto};

use super::given::{Given, not_supported};
use super::list::{List, shown};
use super::ownership::{ObjectOwnership, conflict};
use super::{BUCKET_NAME, lists, owner};
use crate::s3::bucket_policy::Block;
use crate::s3::error::{OrNoBucket, custom};
use crate::s3::front::{Front, owner_id};
use crate::s3::policy::Granted;

/// The list that was put. One that can't be read any more gives nothing.
pub(in crate::s3) fn stored(container: &ContainerInfo) -> Option<List> {
    let (_, text) = container.metadata.iter().find(|(name, _)| name == BUCKET_NAME)?;
    let list = List::parse(text);
    if list.is_none() {
        tracing::error!("a bucket's access list can't be read: it gives nothing");
    }
    list
}

/// Container metadata of a bucket that is to be made with such a list.
pub(in crate::s3) fn of_new(given: &Given, account: &str, ownership: ObjectOwnership) -> S3Result<Metadata> {
    let owner = owner_id(account);
    let Some(list) = given.list(owner, owner, true)? else { return Ok(Metadata::new()) };
    if list == List::private(owner) {
        return Ok(Metadata::new());
    }
    if !ownership.has_lists() {
        return Err(conflict());
    }
    Ok(vec![(BUCKET_NAME.to_owned(), list.text())])
}

/// GetBucketAcl. What Swift's lists give to the public is shown too.
pub(in crate::s3) async fn get(
    front: &Front,
    req: S3Request<dto::GetBucketAclInput>,
) -> S3Result<S3Response<dto::GetBucketAclOutput>> {
    let granted = Granted::of(&req)?;
    let container = granted.container()?;
    let list = match ObjectOwnership::of(front, container).has_lists() {
        true => stored(container),
        false => None,
    };
    let mut grants = list.unwrap_or_else(|| List::private(owner_id(&granted.account))).grants;
    let more = lists::public_grants(container, true).into_iter().filter(|grant| !grants.contains(grant));
    grants.extend(more.collect::<Vec<_>>());
    Ok(S3Response::new(dto::GetBucketAclOutput { grants: Some(shown(grants)), owner: Some(owner(&granted.account)) }))
}

/// PutBucketAcl: takes the place of Swift's lists too.
pub(in crate::s3) async fn put(
    front: &Front,
    req: S3Request<dto::PutBucketAclInput>,
) -> S3Result<S3Response<dto::PutBucketAclOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let container = granted.container()?;
    if !ObjectOwnership::of(front, container).has_lists() {
        return Err(not_supported());
    }
    let given = Given {
        canned: input.acl.map(|acl| acl.as_str().to_owned()),
        headers: [
            input.grant_full_control,
            input.grant_read,
            input.grant_read_acp,
            input.grant_write,
            input.grant_write_acp,
        ],
        policy: input.access_control_policy,
    };
    let owner = owner_id(&granted.account);
    let list = given.list(owner, owner, true)?.ok_or_else(missing)?;
    if list.is_public() && Block::of(container).new_lists {
        return Err(S3ErrorCode::AccessDenied.into());
    }
    let text = if list == List::private(owner) { String::new() } else { list.text() };
    let lists = [lists::READ, lists::WRITE].map(|name| (name.to_owned(), String::new()));
    let mut changes: Metadata = vec![(BUCKET_NAME.to_owned(), text)];
    changes.extend(lists);
    changes.sort();
    front.store.container_update(&granted.account, &input.bucket, changes, 0, IfMissing::Fail).await.or_no_bucket()?;
    Ok(S3Response::new(dto::PutBucketAclOutput::default()))
}

/// A request for a list that says none.
pub(super) fn missing() -> s3s::S3Error {
    custom("MissingSecurityHeader", http::StatusCode::BAD_REQUEST, "Your request was missing a required header")
}
