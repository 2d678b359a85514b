//! Lifecycle rules of buckets: where they are kept, and the daemon that carries them out. S3 alone sets them, and what
//! they delete is gone for both doors. Layout and steps are `docs/formats/lifecycle.md`.
//!
//! The rules of a bucket are an object in the system account [`ACCOUNT`] that never changes; the container's metadata
//! name it. So the daemon finds every bucket that has rules in one list, requests remember rules for as long as they
//! like, and a bucket without rules costs nothing.

mod claim;
mod rule;
mod worker;

use anello_base::id;
use anello_storage::store::{IfMissing, ObjectHead};
use anello_storage::{ContainerInfo, Error, ObjectPath, Precondition, Result, Store};
use bytes::Bytes;
use md5::{Digest, Md5};

#[cfg(feature = "fuzzing")]
pub(crate) use rule::feed;
pub(crate) use rule::{DAY, Expiration, Filter, Form, Noncurrent, Rule, Rules, Subject};
pub use worker::{Done, Lifecycle};

/// The system account that keeps rules, and its container; no door reaches them by name.
const ACCOUNT: &str = ".s3";
const CONTAINER: &str = "lifecycle";

/// The bucket's metadata that name its rules: `<account>/<bucket>/<16 hex digits of chance>`.
pub(crate) const BUCKET_NAME: &str = "x-container-sysmeta-s3-lifecycle";

/// The name of a bucket's rules, where it has any.
pub(crate) fn name_of(container: &ContainerInfo) -> Option<&str> {
    container.metadata.iter().find(|(name, _)| name == BUCKET_NAME).map(|(_, name)| name.as_str())
}

/// Account and bucket that a name of rules is for.
fn owner(name: &str) -> Option<(&str, &str)> {
    let (owner, _) = name.rsplit_once('/')?;
    owner.split_once('/')
}

fn path(name: &str) -> ObjectPath {
    ObjectPath::new(ACCOUNT, CONTAINER, name)
}

/// Keeps rules for a bucket, and tells their name. They count once the bucket's metadata have it.
pub(crate) async fn store(store: &Store, account: &str, bucket: &str, rules: &Rules) -> Result<String> {
    let name = format!("{account}/{bucket}/{}", &id::hex_id()[..16]);
    let data = Bytes::from(rules.encode());
    let etag = hex::encode(Md5::digest(&data));
    let head = ObjectHead { etag, content_type: "application/json".into(), ..ObjectHead::default() };
    let always = Precondition::default();
    let path = path(&name);
    let put = || store.object_put(&path, data.clone(), head.clone(), &always);
    match put().await {
        Err(Error::Missing(_)) => {}
        other => return other.map(|_| name.clone()),
    }
    let policy = store.policies().default_policy().index;
    store.container_update(ACCOUNT, CONTAINER, Vec::new(), policy, IfMissing::Create).await?;
    put().await.map(|_| name.clone())
}

/// Rules by their name; `None` where there are none.
pub(crate) async fn load(store: &Store, name: &str) -> Result<Option<Rules>> {
    let mut reader = match store.object_read(&path(name)).await {
        Ok(Some(reader)) => reader,
        Ok(None) | Err(Error::Missing(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    while let Some(data) = reader.next().await? {
        bytes.extend_from_slice(&data);
    }
    let rules = Rules::decode(&bytes);
    if rules.is_none() {
        tracing::error!(name, "a bucket's lifecycle rules can't be read: nothing expires by them");
    }
    Ok(rules)
}

/// Deletes rules that no bucket names any more.
pub(crate) async fn forget(store: &Store, name: &str) -> Result<()> {
    match store.object_delete(&path(name), &Precondition::default()).await {
        Ok(_) | Err(Error::Missing(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
