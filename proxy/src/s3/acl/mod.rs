//! Access lists. S3's own are kept with buckets and objects ([`list`]) and count where the bucket's setting of ownership
//! says so ([`ownership`]), which it does not by default, as in S3; they are for this door alone. Swift's lists of
//! containers ([`lists`]) count for both doors, whatever that setting is.
//!
//! What is given to a project is given to those of its users whose role would let them do it at home.

pub(super) mod bucket;
pub(super) mod given;
pub(super) mod list;
pub(super) mod lists;
pub(super) mod object;
pub(super) mod ownership;

use anello_storage::ContainerInfo;
use s3s::dto;

pub(super) use given::Given;
pub(super) use list::Permission;
pub use ownership::ObjectOwnership;

use super::front::{Front, owner_id};

/// The bucket's metadata that hold its list.
const BUCKET_NAME: &str = "x-container-sysmeta-s3-acl";
/// The object's metadata that hold its list.
pub(super) const OBJECT_NAME: &str = "x-object-sysmeta-s3-acl";

/// What a list has to permit for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    /// The bucket's list.
    OfBucket(Permission),
    /// The object's list.
    OfObject(Permission),
}

/// What lists have to permit for an operation; `None` where none can.
pub(super) fn needed(operation: &str) -> Option<Needed> {
    use Needed::{OfBucket, OfObject};
    Some(match operation {
        "HeadBucket" | "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "ListMultipartUploads" => {
            OfBucket(Permission::Read)
        }
        "PutObject"
        | "CopyObject"
        | "DeleteObject"
        | "DeleteObjects"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload"
        | "ListParts" => OfBucket(Permission::Write),
        "GetBucketAcl" => OfBucket(Permission::ReadAcp),
        "PutBucketAcl" => OfBucket(Permission::WriteAcp),
        "GetObject" | "HeadObject" | "GetObjectAttributes" => OfObject(Permission::Read),
        "GetObjectAcl" => OfObject(Permission::ReadAcp),
        "PutObjectAcl" => OfObject(Permission::WriteAcp),
        _ => return None,
    })
}

/// Whether a bucket's lists, S3's or Swift's, give anything to the public.
pub(super) fn is_public(front: &Front, container: &ContainerInfo) -> bool {
    let by_list = || {
        ObjectOwnership::of(front, container).has_lists()
            && bucket::stored(container).is_some_and(|list| list.is_public())
    };
    lists::is_public(container) || by_list()
}

/// The owner as S3 shows it.
pub(super) fn owner(account: &str) -> dto::Owner {
    let id = owner_id(account).to_owned();
    dto::Owner { display_name: Some(id.clone()), id: Some(id) }
}
