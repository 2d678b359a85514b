//! Whose a bucket's objects are, and whether access lists count there at all: PutBucketOwnershipControls and its like.

use anello_storage::ContainerInfo;
use anello_storage::store::IfMissing;
use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto};
use serde::Deserialize;

use super::bucket;
use crate::s3::error::{OrNoBucket, custom};
use crate::s3::front::Front;
use crate::s3::policy::Granted;

/// The bucket's metadata that say it, by S3's names; `none` where the setting was deleted.
pub(in crate::s3) const NAME: &str = "x-container-sysmeta-s3-ownership";

/// Where the setting was deleted.
const NONE: &str = "none";

/// Whose objects are, and whether access lists count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum ObjectOwnership {
    /// The bucket's owner's. No access lists count, and none are taken.
    #[default]
    BucketOwnerEnforced,
    /// The writer's, unless he gives the bucket's owner full control.
    BucketOwnerPreferred,
    /// The writer's.
    ObjectWriter,
}

impl ObjectOwnership {
    fn name(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => dto::ObjectOwnership::BUCKET_OWNER_ENFORCED,
            Self::BucketOwnerPreferred => dto::ObjectOwnership::BUCKET_OWNER_PREFERRED,
            Self::ObjectWriter => dto::ObjectOwnership::OBJECT_WRITER,
        }
    }

    pub(in crate::s3) fn parse(name: &str) -> Option<Self> {
        let all = [Self::BucketOwnerEnforced, Self::BucketOwnerPreferred, Self::ObjectWriter];
        all.into_iter().find(|ownership| ownership.name() == name)
    }

    /// A bucket's.
    pub(in crate::s3) fn of(front: &Front, container: &ContainerInfo) -> Self {
        match stored(container) {
            // As in S3: without the setting, lists count.
            Some(NONE) => Self::ObjectWriter,
            Some(name) => Self::parse(name).unwrap_or_default(),
            None => front.object_ownership,
        }
    }

    /// The metadata of a bucket that is to have it.
    pub(in crate::s3) fn setting(self) -> (String, String) {
        (NAME.to_owned(), self.name().to_owned())
    }

    /// Whether access lists count.
    pub(in crate::s3) fn has_lists(self) -> bool {
        self != Self::BucketOwnerEnforced
    }
}

fn stored(container: &ContainerInfo) -> Option<&str> {
    container.metadata.iter().find(|(name, _)| name == NAME).map(|(_, value)| value.as_str())
}

/// A list that gives something to others can't be where none counts.
pub(in crate::s3) fn conflict() -> S3Error {
    custom(
        "InvalidBucketAclWithObjectOwnership",
        StatusCode::BAD_REQUEST,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    )
}

/// PutBucketOwnershipControls.
pub(in crate::s3) async fn put(
    front: &Front,
    req: S3Request<dto::PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<dto::PutBucketOwnershipControlsOutput>> {
    let granted = Granted::of(&req)?;
    let container = granted.container()?;
    let [rule] = req.input.ownership_controls.rules.as_slice() else { return Err(S3ErrorCode::MalformedXML.into()) };
    let wanted = ObjectOwnership::parse(rule.object_ownership.as_str()).ok_or(S3ErrorCode::MalformedXML)?;
    if !wanted.has_lists() && bucket::stored(container).is_some_and(|list| !list.is_private()) {
        return Err(conflict());
    }
    replace(front, &granted, &req.input.bucket, wanted.name()).await?;
    Ok(S3Response::new(dto::PutBucketOwnershipControlsOutput::default()))
}

async fn replace(front: &Front, granted: &Granted, bucket: &str, name: &str) -> S3Result<()> {
    let changes = vec![(NAME.to_owned(), name.to_owned())];
    front.store.container_update(&granted.account, bucket, changes, 0, IfMissing::Fail).await.or_no_bucket()?;
    Ok(())
}

/// GetBucketOwnershipControls.
pub(in crate::s3) async fn get(
    front: &Front,
    req: S3Request<dto::GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<dto::GetBucketOwnershipControlsOutput>> {
    let granted = Granted::of(&req)?;
    let container = granted.container()?;
    let ownership = ObjectOwnership::of(front, container);
    let is_set = stored(container).is_some_and(|name| name != NONE);
    if !is_set && ownership.has_lists() {
        return Err(custom(
            "OwnershipControlsNotFoundError",
            StatusCode::NOT_FOUND,
            "The bucket ownership controls were not found",
        ));
    }
    let object_ownership = dto::ObjectOwnership::from_static(ownership.name());
    let rules = vec![dto::OwnershipControlsRule { object_ownership }];
    let ownership_controls = Some(dto::OwnershipControls { rules });
    Ok(S3Response::new(dto::GetBucketOwnershipControlsOutput { ownership_controls }))
}

/// DeleteBucketOwnershipControls: as in S3, access lists count from then on.
pub(in crate::s3) async fn delete(
    front: &Front,
    req: S3Request<dto::DeleteBucketOwnershipControlsInput>,
) -> S3Result<S3Response<dto::DeleteBucketOwnershipControlsOutput>> {
    let granted = Granted::of(&req)?;
    replace(front, &granted, &req.input.bucket, NONE).await?;
    Ok(S3Response::new(dto::DeleteBucketOwnershipControlsOutput::default()))
}
