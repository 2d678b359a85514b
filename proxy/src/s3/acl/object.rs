//! GetObjectAcl and PutObjectAcl, of objects and of versions of them.

use anello_storage::store::ObjectUpdate;
use anello_storage::{Metadata, ObjectInfo};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto};

use super::bucket::missing;
use super::given::{Given, not_supported};
use super::list::{List, shown};
use super::ownership::ObjectOwnership;
use super::{OBJECT_NAME, lists};
use crate::s3::bucket_policy::Block;
use crate::s3::front::{Front, owner_id};
use crate::s3::policy::Granted;
use crate::s3::version;

/// An object's list, or what there is without one. One that can't be read any more gives nothing.
pub(in crate::s3) fn of(metadata: &Metadata, account: &str) -> List {
    let stored = metadata.iter().find(|(name, _)| name == OBJECT_NAME);
    let list = stored.and_then(|(_, text)| List::parse(text));
    list.unwrap_or_else(|| List::private(owner_id(account)))
}

/// GetObjectAcl. What Swift's lists give to the public is shown too.
pub(in crate::s3) async fn get(
    front: &Front,
    req: S3Request<dto::GetObjectAclInput>,
) -> S3Result<S3Response<dto::GetObjectAclOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let info = version::find(front, &granted, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let container = granted.container()?;
    let List { owner, mut grants } = match ObjectOwnership::of(front, container).has_lists() {
        true => of(&info.metadata, &granted.account),
        false => List::private(owner_id(&granted.account)),
    };
    let more = lists::public_grants(container, false).into_iter().filter(|grant| !grants.contains(grant));
    grants.extend(more.collect::<Vec<_>>());
    let owner = Some(dto::Owner { display_name: Some(owner.clone()), id: Some(owner) });
    Ok(S3Response::new(dto::GetObjectAclOutput { grants: Some(shown(grants)), owner, request_charged: None }))
}

/// PutObjectAcl.
pub(in crate::s3) async fn put(
    front: &Front,
    req: S3Request<dto::PutObjectAclInput>,
) -> S3Result<S3Response<dto::PutObjectAclOutput>> {
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
    let version = input.version_id.as_deref();
    let info = version::find(front, &granted, &input.bucket, &input.key, version).await?;
    let bucket_owner = owner_id(&granted.account);
    let before = of(&info.metadata, &granted.account);
    let owner = before.owner.clone();
    let list = given.list(&owner, bucket_owner, false)?.ok_or_else(missing)?;
    if list.is_public() && Block::of(container).new_lists {
        return Err(S3ErrorCode::AccessDenied.into());
    }
    // A change of metadata shows in the object's date.
    if list == before {
        return Ok(S3Response::new(dto::PutObjectAclOutput::default()));
    }
    let change = |found: &ObjectInfo| {
        // Another may have been written meanwhile, by somebody else.
        if of(&found.metadata, &granted.account).owner != owner {
            return Err(anello_storage::Error::Precondition);
        }
        let mut metadata: Metadata = found.metadata.clone();
        metadata.retain(|(name, _)| name != OBJECT_NAME);
        if list != List::private(bucket_owner) {
            metadata.push((OBJECT_NAME.to_owned(), list.text()));
            metadata.sort();
        }
        Ok(ObjectUpdate { content_type: None, delete_at: found.delete_at, metadata })
    };
    version::update(front, &granted, &input.bucket, &input.key, version, change).await?;
    Ok(S3Response::new(dto::PutObjectAclOutput::default()))
}
