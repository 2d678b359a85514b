//! Access logs of buckets on their way to the buckets that keep them. A record is written down before the request that
//! it is of is answered, and the [`Deliverer`] puts what has gathered into log objects: each record is in one of them at
//! least once. Layout and steps are `docs/formats/access-logs.md`.

mod deliver;

use anello_base::id;
use anello_storage::store::{IfMissing, ObjectHead};
use anello_storage::{Error, ObjectPath, Precondition, Result, Store};
use bytes::Bytes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

pub use deliver::Deliverer;

/// The system account that keeps records, and its container; no door reaches them by name.
const ACCOUNT: &str = ".s3";
const CONTAINER: &str = "access-logs";

/// A record's metadata that say in JSON where it is to go.
const TARGET_NAME: &str = "x-object-sysmeta-target";

/// Where a bucket's records go: to a bucket of the same account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<Partition>,
}

/// What the dates in log objects' names are of, where their names have dates as directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Partition {
    /// The day of the requests.
    EventTime,
    /// The moment of the delivery.
    DeliveryTime,
}

impl Target {
    /// Reads a target as it is stored; `None` where it makes no sense.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("strings are JSON")
    }
}

/// Whether any bucket was ever to be logged.
pub(crate) async fn is_used(store: &Store) -> Result<bool> {
    Ok(store.container_settings(ACCOUNT, CONTAINER).await?.is_some())
}

/// A bucket is to be logged.
pub(crate) async fn prepare(store: &Store) -> Result<()> {
    let policy = store.policies().default_policy().index;
    store.container_update(ACCOUNT, CONTAINER, Vec::new(), policy, IfMissing::Create).await.map(drop)
}

/// Writes a record down; it is durable then, and will be delivered.
pub(crate) async fn store(store: &Store, account: &str, bucket: &str, target: &Target, line: String) -> Result<()> {
    let name = format!("{account}/{bucket}/{:016x}{}", store.clock().tick().ticks(), &id::hex_id()[..16]);
    let path = ObjectPath::new(ACCOUNT, CONTAINER, name);
    let data = Bytes::from(line);
    let head = ObjectHead {
        etag: hex::encode(Md5::digest(&data)),
        content_type: "text/plain".into(),
        metadata: vec![(TARGET_NAME.to_owned(), target.text())],
        ..ObjectHead::default()
    };
    let always = Precondition::default();
    match store.object_put(&path, data.clone(), head.clone(), &always).await {
        Err(Error::Missing(_)) => {}
        other => return other.map(drop),
    }
    prepare(store).await?;
    store.object_put(&path, data, head, &always).await.map(drop)
}
