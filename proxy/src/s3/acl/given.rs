//! The access list that a request brings: by a name, by headers, or in XML.

use anello_storage::Metadata;
use s3s::{S3Error, S3ErrorCode, S3Result, dto, s3_error};

use super::OBJECT_NAME;
use super::list::List;
use super::ownership::ObjectOwnership;
use crate::s3::bucket_policy::Block;
use crate::s3::front::{Front, owner_id};
use crate::s3::policy::Granted;

const FULL_CONTROL: &str = "bucket-owner-full-control";

/// What a request says about access.
#[derive(Debug, Default, Clone)]
pub(in crate::s3) struct Given {
    pub(in crate::s3) canned: Option<String>,
    /// Headers `x-amz-grant-…`: full control, read, read and write of the list in between, in the order of
    /// [`super::list::Permission::ALL`].
    pub(in crate::s3) headers: [Option<String>; 5],
    pub(in crate::s3) policy: Option<dto::AccessControlPolicy>,
}

/// Where access lists don't count.
pub(super) fn not_supported() -> S3Error {
    s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs")
}

impl Given {
    pub(in crate::s3) fn is_empty(&self) -> bool {
        self.canned.is_none() && self.policy.is_none() && self.headers.iter().all(Option::is_none)
    }

    /// The list; `None` where nothing is said.
    pub(super) fn list(&self, owner: &str, bucket_owner: &str, is_bucket: bool) -> S3Result<Option<List>> {
        let has_headers = self.headers.iter().any(Option::is_some);
        match (&self.canned, has_headers, &self.policy) {
            (None, false, None) => Ok(None),
            (Some(name), false, None) => List::canned(name, owner, bucket_owner, is_bucket).map(Some),
            (None, true, None) => List::of_headers(&self.headers, owner).map(Some),
            (None, false, Some(policy)) => List::of_policy(policy, owner).map(Some),
            (Some(_), true, _) => {
                Err(s3_error!(InvalidRequest, "Specifying both Canned ACLs and Header Grants is not allowed"))
            }
            _ => Err(s3_error!(UnexpectedContent, "This request contains unsupported content.")),
        }
    }

    /// Puts a new object's list among its metadata, unless it is what there is without one.
    pub(in crate::s3) fn store(&self, front: &Front, granted: &Granted, metadata: &mut Metadata) -> S3Result<()> {
        let bucket_owner = owner_id(&granted.account);
        let writer = granted.caller.as_ref().and_then(|caller| caller.project_id.as_deref()).unwrap_or(bucket_owner);
        if self.is_empty() && writer == bucket_owner {
            return Ok(());
        }
        let container = granted.container()?;
        let ownership = ObjectOwnership::of(front, container);
        let gives_owner_all = || {
            let full = format!("id=\"{bucket_owner}\"");
            let [all, others @ ..] = &self.headers;
            let by_header = all.as_ref().is_some_and(|text| *text == full || *text == full.replace('"', ""));
            self.canned.as_deref() == Some(FULL_CONTROL)
                || (self.canned.is_none() && by_header && others.iter().all(Option::is_none))
        };
        let owner = match ownership {
            ObjectOwnership::BucketOwnerEnforced if self.is_empty() || gives_owner_all() => return Ok(()),
            ObjectOwnership::BucketOwnerEnforced => return Err(not_supported()),
            ObjectOwnership::BucketOwnerPreferred if gives_owner_all() => bucket_owner,
            ObjectOwnership::BucketOwnerPreferred | ObjectOwnership::ObjectWriter => writer,
        };
        let list = self.list(owner, bucket_owner, false)?.unwrap_or_else(|| List::private(owner));
        if list.is_public() && Block::of(container).new_lists {
            return Err(S3ErrorCode::AccessDenied.into());
        }
        if list != List::private(bucket_owner) {
            metadata.push((OBJECT_NAME.to_owned(), list.text()));
            metadata.sort();
        }
        Ok(())
    }
}
