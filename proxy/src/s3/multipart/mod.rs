//! Multipart uploads. An upload is a record, its parts are objects, both in the system account
//! [`PARTS_ACCOUNT`]; completing writes one object in the bucket whose body is the list of the parts, and
//! moves no data. Layout and names are `docs/formats/multipart.md`.
//!
//! Order, so that a crash anywhere leaves only what can be seen and cleared away:
//! - a part is durable before its upload is answered; if the upload ended meanwhile, it is deleted again;
//! - completing first claims the record with a conditional write, so that no two lists ever share parts;
//!   then the object is written, then the record deleted, then the parts that are not in the list;
//! - aborting deletes the record, unless it is claimed, and then the parts.
//!
//! A record left by a crash shows in ListMultipartUploads and can be completed or aborted again; a claim
//! counts as abandoned after [`CLAIM_SECONDS`].

mod complete;
mod list;
mod part;

use anello_base::{Clock, SystemClock, id};
use anello_storage::store::{IfMissing, ObjectHead};
use anello_storage::{Error, Etags, ListQuery, Listed, ObjectEntry, ObjectInfo, ObjectPath, Precondition};
use bytes::Bytes;
use futures::StreamExt;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

pub(super) use complete::complete;
pub(super) use list::{parts, uploads};
pub(super) use part::{upload, upload_copy};

use super::checksum::{Algorithm, Kind};
use super::error::{OrNoBucket, from_storage};
use super::front::Front;
use super::get::refuse_customer_keys;
use super::lifecycle;
use super::limits::{CLAIM_SECONDS, DELETE_CONCURRENCY, SCAN_PAGE};
use super::policy::Granted;
use super::website;
use crate::object::PARTS_ACCOUNT;
use crate::object::names::{self, UPLOAD_ID_LENGTH, parts_container, uploads_container};
use crate::object::vault::Vault;
use crate::s3::alike::{acl_given, check_extras, described, lock_wanted};

/// Where a record keeps the algorithm and kind of the object's checksum: `<algorithm> <kind>`.
const CHECKSUM_NAME: &str = "x-object-sysmeta-s3-upload-checksum";

/// Where a completed object keeps which upload made it, so that completing twice answers the same.
const UPLOAD_NAME: &str = "x-object-sysmeta-s3-upload";

/// An upload: which, and of what.
#[derive(Debug, Clone)]
struct Upload {
    account: String,
    bucket: String,
    key: String,
    id: String,
}

/// An upload's record as it was read.
#[derive(Debug)]
struct Record {
    info: ObjectInfo,
    checksum: Option<(Algorithm, Kind)>,
}

impl Upload {
    /// An upload as a request names it; an id that is not of our making is no upload.
    fn new(granted: &Granted, bucket: &str, key: &str, id: &str) -> S3Result<Self> {
        let is_ours = id.len() == UPLOAD_ID_LENGTH && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_ours {
            return Err(S3ErrorCode::NoSuchUpload.into());
        }
        let text = |text: &str| text.to_owned();
        Ok(Self { account: text(&granted.account), bucket: text(bucket), key: text(key), id: text(id) })
    }

    /// The object that it is to become.
    fn target(&self) -> ObjectPath {
        ObjectPath::new(self.account.as_str(), self.bucket.as_str(), self.key.as_str())
    }

    fn record_path(&self) -> ObjectPath {
        let name = names::record(&self.key, Some(&self.id));
        ObjectPath::new(PARTS_ACCOUNT, uploads_container(&self.account, &self.bucket), name)
    }

    fn parts_container(&self) -> String {
        parts_container(&self.account, &self.bucket)
    }

    async fn record(&self, store: &Vault) -> S3Result<Record> {
        match store.object(&self.record_path()).await {
            Ok(Some(info)) => {
                let stored = info.metadata.iter().find(|(name, _)| name == CHECKSUM_NAME);
                let checksum = stored.and_then(|(_, text)| {
                    let (algorithm, kind) = text.split_once(' ')?;
                    Some((Algorithm::from_name(algorithm)?, Kind::from_name(kind)?))
                });
                Ok(Record { info, checksum })
            }
            Ok(None) | Err(Error::Missing(_)) => Err(S3ErrorCode::NoSuchUpload.into()),
            Err(error) => Err(from_storage(error, S3ErrorCode::NoSuchUpload)),
        }
    }

    /// Every stored part, in the order of number and then time.
    async fn stored_parts(&self, store: &Vault) -> S3Result<Vec<ObjectEntry>> {
        scan(store, &self.parts_container(), format!("{}/", self.id)).await
    }

    /// Deletes the parts for which `drop_it` holds. What can't be deleted now stays for the next to try.
    async fn delete_parts(&self, store: &Vault, drop_it: impl Fn(&str) -> bool) {
        let Ok(stored) = self.stored_parts(store).await else { return };
        let container = self.parts_container();
        let paths = stored
            .into_iter()
            .filter(|entry| drop_it(&entry.name))
            .map(|entry| ObjectPath::new(PARTS_ACCOUNT, container.as_str(), entry.name));
        delete_all(store, paths).await;
    }
}

impl Record {
    /// Whether a completion has it now.
    fn is_claimed(&self, upload: &Upload) -> bool {
        let age_seconds = SystemClock.wall().seconds().saturating_sub(self.info.timestamp.seconds());
        self.info.etag != upload.id && age_seconds < CLAIM_SECONDS
    }

    /// The condition that nobody changed it since it was read.
    fn unchanged(&self) -> Precondition {
        Precondition { if_match: Some(Etags::List(vec![self.info.etag.clone()])), ..Precondition::default() }
    }

    /// Writes it again under another tag, unless somebody else did.
    async fn retag(&self, store: &Vault, upload: &Upload, etag: String) -> anello_storage::Result<()> {
        let head = ObjectHead {
            etag,
            content_type: self.info.content_type.clone(),
            metadata: self.info.metadata.clone(),
            ..ObjectHead::default()
        };
        store.object_put(&upload.record_path(), Bytes::new(), head, &self.unchanged()).await.map(drop)
    }
}

/// A new upload's id: its time, so that ids of one key sort by it, and as much chance.
fn new_id() -> String {
    format!("{:016x}{}", SystemClock.wall().ticks(), &id::hex_id()[..UPLOAD_ID_LENGTH - 16])
}

/// All rows of a container of the system account that start with `prefix`; none where there is none.
async fn scan(store: &Vault, container: &str, prefix: String) -> S3Result<Vec<ObjectEntry>> {
    let mut query = ListQuery { prefix, limit: SCAN_PAGE, ..ListQuery::default() };
    let mut all = Vec::new();
    loop {
        let page = rows(store, container, &query).await?;
        let is_last = page.len() < SCAN_PAGE;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
        query.marker = all.last().map(|entry| entry.name.clone());
    }
}

/// One page of rows of a container of the system account; none where there is none.
async fn rows(store: &Vault, container: &str, query: &ListQuery) -> S3Result<Vec<ObjectEntry>> {
    let page = match store.container_list(PARTS_ACCOUNT, container, query).await {
        Err(Error::Missing(_)) => return Ok(Vec::new()),
        other => other.or_no_bucket()?,
    };
    let entry = |listed| match listed {
        Listed::Entry(entry) => Some(entry),
        Listed::Prefix(_) => None,
    };
    Ok(page.into_iter().filter_map(entry).collect())
}

async fn delete_all(store: &Vault, paths: impl Iterator<Item = ObjectPath>) {
    let delete = |path: ObjectPath| async move {
        if let Err(error) = store.object_delete(&path, &Precondition::default()).await {
            tracing::warn!(%path, %error, "a part that nothing needs is left behind");
        }
    };
    futures::stream::iter(paths).map(delete).buffer_unordered(DELETE_CONCURRENCY).for_each(|()| async {}).await;
}

/// CreateMultipartUpload.
pub(super) async fn create(
    front: &Front,
    req: S3Request<dto::CreateMultipartUploadInput>,
) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
    let granted = Granted::of(&req)?;
    let mut input = req.input;
    refuse(&input)?;
    let (lock, acl) = (lock_wanted!(input), acl_given!(input));
    let policy = front.container(&granted, &input.bucket).await?.policy;
    front.check_class(&granted, &input.bucket, input.storage_class.as_ref()).await?;
    let checksum = chosen(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let (content_type, mut metadata) = described!(input).into_stored()?;
    lock.store(front, granted.container()?, &mut metadata)?;
    acl.store(front, &granted, &mut metadata)?;
    website::store_redirect(input.website_redirect_location.as_deref(), &mut metadata)?;
    if let Some((algorithm, kind)) = checksum {
        metadata.push((CHECKSUM_NAME.to_owned(), format!("{} {}", algorithm.name(), kind.name())));
        metadata.sort();
    }
    let upload = Upload::new(&granted, &input.bucket, &input.key, &new_id())?;
    for (container, policy) in
        [(uploads_container(&upload.account, &upload.bucket), 0), (upload.parts_container(), policy)]
    {
        if front.store.container(PARTS_ACCOUNT, &container).await.or_no_bucket()?.is_none() {
            front
                .store
                .container_update(PARTS_ACCOUNT, &container, Vec::new(), policy, IfMissing::Create)
                .await
                .or_no_bucket()?;
        }
    }
    let head = ObjectHead { etag: upload.id.clone(), content_type, metadata, ..ObjectHead::default() };
    let written = front.store.object_put(&upload.record_path(), Bytes::new(), head, &Precondition::absent()).await;
    written.or_no_bucket()?;
    let abortion = lifecycle::abortion(front, granted.container()?, &upload.key, names::begun(&upload.id)).await?;
    let (abort_date, abort_rule_id) = abortion.unzip();
    Ok(S3Response::new(dto::CreateMultipartUploadOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        checksum_algorithm: checksum.map(|(algorithm, _)| dto::ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: checksum.map(|(_, kind)| dto::ChecksumType::from_static(kind.name())),
        ..Default::default()
    }))
}

fn refuse(input: &dto::CreateMultipartUploadInput) -> S3Result<()> {
    check_extras!(input);
    refuse_customer_keys(&[&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5])
}

fn chosen(
    algorithm: Option<&dto::ChecksumAlgorithm>,
    kind: Option<&dto::ChecksumType>,
) -> S3Result<Option<(Algorithm, Kind)>> {
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )),
        };
    };
    let algorithm = Algorithm::from_name(algorithm.as_str())
        .ok_or_else(|| s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported."))?;
    let kind = match kind {
        None => algorithm.default_kind(),
        Some(kind) => Kind::from_name(kind.as_str())
            .ok_or_else(|| s3_error!(InvalidRequest, "Value for x-amz-checksum-type header is invalid."))?,
    };
    if !algorithm.offers(kind) {
        return Err(s3_error!(
            InvalidRequest,
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name()
        ));
    }
    Ok(Some((algorithm, kind)))
}

/// AbortMultipartUpload.
pub(super) async fn abort(
    front: &Front,
    req: S3Request<dto::AbortMultipartUploadInput>,
) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    if input.if_match_initiated_time.is_some() {
        return Err(s3_error!(NotImplemented, "Conditions on time are for directory buckets."));
    }
    let upload = Upload::new(&granted, &input.bucket, &input.key, &input.upload_id)?;
    let record = match upload.record(&front.store).await {
        Ok(record) => record,
        Err(error) => {
            front.container(&granted, &input.bucket).await?;
            return Err(error);
        }
    };
    if record.is_claimed(&upload) {
        return Err(S3ErrorCode::OperationAborted.into());
    }
    match front.store.object_delete(&upload.record_path(), &record.unchanged()).await {
        Ok(Some(_)) => {}
        Ok(None) => return Err(S3ErrorCode::NoSuchUpload.into()),
        Err(Error::Precondition) => return Err(S3ErrorCode::OperationAborted.into()),
        Err(error) => return Err(from_storage(error, S3ErrorCode::NoSuchUpload)),
    }
    // A completion that crashed after its object was written leaves a record whose parts are in use.
    let in_use = complete::parts_in_use(front, &upload).await?;
    upload.delete_parts(&front.store, |name| !in_use.contains(name)).await;
    Ok(S3Response::new(dto::AbortMultipartUploadOutput::default()))
}

/// A bucket was deleted: its uploads go with it. What can't be deleted now is only space.
pub(super) async fn forget_bucket(front: &Front, account: &str, bucket: &str) {
    for container in [uploads_container(account, bucket), parts_container(account, bucket)] {
        let Ok(rows) = scan(&front.store, &container, String::new()).await else { continue };
        let path = |entry: ObjectEntry| ObjectPath::new(PARTS_ACCOUNT, container.as_str(), entry.name);
        delete_all(&front.store, rows.into_iter().map(path)).await;
        match front.store.container_delete(PARTS_ACCOUNT, &container).await {
            Ok(()) | Err(Error::Missing(_)) => {}
            Err(error) => tracing::warn!(%error, container, "a deleted bucket's uploads are left behind"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_id_tells_when_it_was_begun() {
        let before = SystemClock.wall();
        let id = new_id();
        assert_eq!(id.len(), UPLOAD_ID_LENGTH);
        assert!(names::begun(&id) >= before && names::begun(&id) <= SystemClock.wall());
    }

    #[test]
    fn an_id_that_names_another_path_is_no_upload() {
        let granted = Granted::of_account("AUTH_a");
        for id in ["", "../x", "0123456789abcdef0123456789abcdeF", "0123456789abcdef/0123456789abcdef"] {
            assert!(Upload::new(&granted, "b", "k", id).is_err(), "{id}");
        }
        assert!(Upload::new(&granted, "b", "k", &new_id()).is_ok());
    }
}
