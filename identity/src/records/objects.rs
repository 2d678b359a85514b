//! Records as objects of the system account: one JSON object per record, the container being its kind and
//! the object its id. No door reaches the account, because its name starts with a dot.

use anello_base::{Class, Timestamp};
use anello_storage::store::{IfMissing, ObjectHead};
use anello_storage::{Etags, ListQuery, Listed, ObjectPath, Precondition, Store};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::snapshot::{self, Copied, Snapshots};
use super::{Expect, Kind, Records, State, Version, etag};
use crate::error::{Error, Result};
use crate::limits::{RECORD_BYTES_MAX, RECORDS_PAGE_ROWS};

/// The system account that identity's records are in.
pub(super) const ACCOUNT: &str = ".identity";

/// Records in a [`Store`].
#[derive(Debug, Clone)]
pub struct ObjectRecords {
    store: Store,
}

impl ObjectRecords {
    /// Records in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

fn path(kind: Kind, id: &str) -> ObjectPath {
    ObjectPath::new(ACCOUNT, kind.container(), id)
}

fn precondition(expect: Expect<'_>) -> Precondition {
    match expect {
        Expect::Anything => Precondition::default(),
        Expect::Absent => Precondition::absent(),
        Expect::Etag(etag) => {
            Precondition { if_match: Some(Etags::List(vec![etag.to_owned()])), ..Precondition::default() }
        }
    }
}

fn changed(error: anello_storage::Error) -> Error {
    match error.class() {
        Class::Precondition => Error::Changed,
        _ => Error::Store(error),
    }
}

impl Records for ObjectRecords {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            for container in Kind::ALL.into_iter().map(Kind::container).chain([snapshot::CONTAINER]) {
                if self.store.container(ACCOUNT, container).await?.is_none() {
                    self.store.container_update(ACCOUNT, container, Vec::new(), 0, IfMissing::Create).await?;
                }
            }
            Ok(())
        })
    }

    fn versions(&self, kind: Kind) -> BoxFuture<'_, Result<Vec<(String, Version)>>> {
        Box::pin(async move {
            let mut versions = Vec::new();
            let mut query = ListQuery { limit: RECORDS_PAGE_ROWS, ..ListQuery::default() };
            loop {
                let page = self.store.container_list(ACCOUNT, kind.container(), &query).await?;
                let rows = page.len();
                for listed in page {
                    if let Listed::Entry(entry) = listed {
                        let version = Version { timestamp: entry.timestamp, etag: entry.etag };
                        versions.push((entry.name, version));
                    }
                }
                if rows < RECORDS_PAGE_ROWS {
                    return Ok(versions);
                }
                query.marker = versions.last().map(|(name, _)| name.clone());
            }
        })
    }

    fn get<'a>(&'a self, kind: Kind, id: &'a str) -> BoxFuture<'a, Result<Option<(Version, Bytes)>>> {
        Box::pin(async move {
            let Some(mut reader) = self.store.object_read(&path(kind, id)).await? else { return Ok(None) };
            let info = reader.info();
            let version = Version { timestamp: info.timestamp, etag: info.etag.clone() };
            let mut data = BytesMut::new();
            while let Some(part) = reader.next().await? {
                if data.len() + part.len() > RECORD_BYTES_MAX {
                    let why = format!("it is longer than {RECORD_BYTES_MAX} bytes");
                    return Err(Error::Corrupt { kind: kind.container(), id: id.to_owned(), why });
                }
                data.extend_from_slice(&part);
            }
            Ok(Some((version, data.freeze())))
        })
    }

    fn put<'a>(&'a self, kind: Kind, id: &'a str, data: Bytes, expect: Expect<'a>) -> BoxFuture<'a, Result<Version>> {
        Box::pin(async move {
            if data.len() > RECORD_BYTES_MAX {
                return Err(Error::Invalid(format!("The record is longer than {RECORD_BYTES_MAX} bytes.")));
            }
            let etag = etag(&data);
            let head =
                ObjectHead { etag: etag.clone(), content_type: "application/json".to_owned(), ..ObjectHead::default() };
            let written = self.store.object_put(&path(kind, id), data, head, &precondition(expect)).await;
            Ok(Version { timestamp: written.map_err(changed)?.timestamp, etag })
        })
    }

    fn delete<'a>(&'a self, kind: Kind, id: &'a str, expect: Expect<'a>) -> BoxFuture<'a, Result<Option<Timestamp>>> {
        Box::pin(async move {
            let deleted = self.store.object_delete(&path(kind, id), &precondition(expect)).await;
            Ok(deleted.map_err(changed)?.map(|info| info.timestamp))
        })
    }

    fn state(&self, kind: Kind) -> BoxFuture<'_, Result<Option<State>>> {
        Box::pin(async move {
            let state = self.store.container_state(ACCOUNT, kind.container()).await?;
            Ok(Some(State::Objects(state)))
        })
    }

    fn copies(&self, kind: Kind) -> BoxStream<'_, Result<Vec<Copied>>> {
        snapshot::copies(&self.store, kind)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }
}

impl Snapshots for ObjectRecords {
    fn written(&self, kind: Kind) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        Box::pin(snapshot::written(&self.store, kind))
    }

    fn keep<'a>(&'a self, kind: Kind, copies: BoxStream<'a, Result<Copied>>) -> BoxFuture<'a, Result<()>> {
        Box::pin(snapshot::keep(&self.store, kind, copies))
    }
}
