//! The model: what the index must say, computed from the whole set of records each time, with no regard
//! to speed or to their order.

use std::collections::BTreeMap;

use anello_base::Timestamp;
use anello_storage::index::Placed;
use anello_storage::key::ObjectPath;
use anello_storage::model::{AccountInfo, ContainerEntry, ContainerInfo, Metadata, ObjectEntry, ObjectInfo};
use anello_storage::mutation::{Applies, Mutation, ObjectPost, ObjectPut};

use crate::workload::{ACCOUNTS, REMOTE, containers, paths};

pub(crate) struct Model<'a> {
    records: &'a [Placed],
}

/// The latest data of a name if it is there, with the latest post and the latest change of type.
struct Current<'a> {
    put: &'a ObjectPut,
    post: Option<&'a ObjectPost>,
    content_type: &'a str,
}

impl<'a> Model<'a> {
    pub(crate) fn of(records: &'a [Placed]) -> Self {
        Self { records }
    }

    fn current(&self, path: &ObjectPath, applies: impl Fn(&Applies) -> bool) -> Option<Current<'a>> {
        let of_path = |placed: &&Placed| {
            applies(&placed.applies)
                && match &placed.mutation {
                    Mutation::ObjectPut(put) => put.path == *path,
                    Mutation::ObjectPost(post) => post.path == *path,
                    Mutation::ObjectDelete { path: other, .. } => other == path,
                    _ => false,
                }
        };
        let mine: Vec<_> = self.records.iter().filter(of_path).map(|placed| &placed.mutation).collect();
        let put = mine.iter().filter_map(|m| if let Mutation::ObjectPut(put) = m { Some(put) } else { None });
        let put = put.max_by_key(|put| put.timestamp)?;
        let deleted =
            mine.iter().any(|m| matches!(m, Mutation::ObjectDelete { timestamp, .. } if *timestamp >= put.timestamp));
        if deleted {
            return None;
        }
        let posts = mine.iter().filter_map(|m| if let Mutation::ObjectPost(post) = m { Some(post) } else { None });
        let posts: Vec<_> = posts.filter(|post| post.timestamp > put.timestamp).collect();
        let retype = posts.iter().filter(|post| post.content_type.is_some()).max_by_key(|post| post.timestamp);
        Some(Current {
            put,
            post: posts.iter().max_by_key(|post| post.timestamp).copied(),
            content_type: retype.and_then(|post| post.content_type.as_deref()).unwrap_or(&put.content_type),
        })
    }

    fn object(&self, path: &ObjectPath) -> Option<ObjectInfo> {
        let Current { put, post, content_type } = self.current(path, |applies| applies.object)?;
        Some(ObjectInfo {
            timestamp: put.timestamp,
            meta_timestamp: post.map_or(put.timestamp, |post| post.timestamp),
            size: put.size,
            stored_size: put.body.len(),
            etag: put.etag.clone(),
            content_type: content_type.to_owned(),
            content: put.content,
            delete_at: post.map_or(put.delete_at, |post| post.delete_at),
            metadata: post.map_or_else(|| put.metadata.clone(), |post| post.metadata.clone()),
        })
    }

    pub(crate) fn objects(&self) -> Vec<(ObjectPath, Option<ObjectInfo>)> {
        paths().into_iter().map(|path| (path.clone(), self.object(&path))).collect()
    }

    /// Live rows, also of a container that is not there.
    fn live_rows(&self, account: &str, container: &str) -> Vec<ObjectEntry> {
        let mine = paths().into_iter().filter(|path| path.account == account && path.container == container);
        let row = |path: ObjectPath| {
            let Current { put, post, content_type } = self.current(&path, |applies| applies.container)?;
            Some(ObjectEntry {
                name: path.object,
                timestamp: post.map_or(put.timestamp, |post| post.timestamp),
                size: put.size,
                etag: put.etag.clone(),
                content_type: content_type.to_owned(),
                content: put.content,
            })
        };
        mine.filter_map(row).collect()
    }

    pub(crate) fn rows(&self) -> Vec<(String, String, Vec<ObjectEntry>)> {
        let rows = |(account, container): (String, String)| {
            let rows = self.live_rows(&account, &container);
            (account, container, rows)
        };
        containers().into_iter().map(rows).collect()
    }

    fn container(&self, account: &str, container: &str) -> Option<ContainerInfo> {
        let deleted = self.records.iter().filter_map(|placed| match &placed.mutation {
            Mutation::ContainerDelete { account: a, container: c, timestamp, .. } if a == account && c == container => {
                Some(*timestamp)
            }
            _ => None,
        });
        let deleted = deleted.max().unwrap_or_default();
        let puts = self.records.iter().filter_map(|placed| match &placed.mutation {
            Mutation::ContainerPut(put) if put.account == account && put.container == container => Some(put),
            _ => None,
        });
        let mut puts: Vec<_> = puts.filter(|put| put.timestamp > deleted).collect();
        puts.sort_by_key(|put| put.timestamp);
        let rows = self.live_rows(account, container);
        Some(ContainerInfo {
            created: puts.first()?.timestamp,
            modified: puts.last()?.timestamp,
            deleted,
            object_count: rows.len() as u64,
            bytes_used: rows.iter().map(|row| row.size).sum(),
            policy: puts.first()?.policy,
            metadata: metadata(puts.iter().map(|put| &put.changes)),
        })
    }

    pub(crate) fn containers(&self) -> Vec<(String, String, Option<ContainerInfo>)> {
        let info = |(account, container): (String, String)| {
            let info = self.container(&account, &container);
            (account, container, info)
        };
        containers().into_iter().map(info).collect()
    }

    fn remote_row(&self, wanted_account: &str, wanted: &str) -> Option<ContainerEntry> {
        let stats = self.records.iter().filter_map(|placed| match &placed.mutation {
            Mutation::ContainerStats {
                account,
                container,
                created,
                modified,
                version,
                object_count,
                bytes_used,
                ..
            } if account == wanted_account && container == wanted => {
                let (created, modified) = (*created, *modified);
                let (object_count, bytes_used) = (*object_count, *bytes_used);
                Some((
                    *version,
                    ContainerEntry { name: wanted.to_owned(), created, modified, object_count, bytes_used },
                ))
            }
            _ => None,
        });
        let (_, row) = stats.max_by_key(|(version, _)| *version)?;
        (row.created > Timestamp::ZERO).then_some(row)
    }

    fn account_rows_of(&self, account: &str) -> Vec<ContainerEntry> {
        let here = containers().into_iter().filter(|(a, c)| a == account && c != "far");
        let row = |(account, name): (String, String)| {
            let info = self.container(&account, &name)?;
            let ContainerInfo { created, modified, object_count, bytes_used, .. } = info;
            Some(ContainerEntry { name, created, modified, object_count, bytes_used })
        };
        let mut rows: Vec<_> = here.filter_map(row).collect();
        rows.extend(REMOTE.iter().filter_map(|name| self.remote_row(account, name)));
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    pub(crate) fn account_rows(&self) -> Vec<(String, Vec<ContainerEntry>)> {
        ACCOUNTS.map(|account| (account.to_owned(), self.account_rows_of(account))).to_vec()
    }

    fn account(&self, wanted: &str) -> Option<AccountInfo> {
        let deleted = self.records.iter().filter_map(|placed| match &placed.mutation {
            Mutation::AccountDelete { account, timestamp, .. } if account == wanted => Some(*timestamp),
            _ => None,
        });
        let deleted = deleted.max().unwrap_or_default();
        let own = self.records.iter().filter_map(|placed| match &placed.mutation {
            Mutation::AccountPut { account, timestamp, changes, .. } if account == wanted => {
                Some((*timestamp, changes))
            }
            _ => None,
        });
        let mut own: Vec<_> = own.filter(|(timestamp, _)| *timestamp > deleted).collect();
        own.sort_by_key(|(timestamp, _)| *timestamp);
        let founding = self.records.iter().filter_map(|placed| match &placed.mutation {
            Mutation::ContainerPut(put) if put.account == wanted && placed.applies.account => Some(put.timestamp),
            Mutation::ContainerStats { account, created, .. } if account == wanted => Some(*created),
            _ => None,
        });
        let founded = founding.filter(|timestamp| *timestamp > deleted).min();
        let created = own.first().map(|(timestamp, _)| *timestamp).into_iter().chain(founded).min()?;
        let rows = self.account_rows_of(wanted);
        Some(AccountInfo {
            created,
            modified: own.last().map_or(created, |(timestamp, _)| *timestamp),
            container_count: rows.len() as u64,
            object_count: rows.iter().map(|row| row.object_count).sum(),
            bytes_used: rows.iter().map(|row| row.bytes_used).sum(),
            is_leaving: false,
            metadata: metadata(own.iter().map(|(_, changes)| *changes)),
        })
    }

    pub(crate) fn accounts(&self) -> Vec<(String, Option<AccountInfo>)> {
        ACCOUNTS.map(|account| (account.to_owned(), self.account(account))).to_vec()
    }

    pub(crate) fn expired(&self) -> Vec<(u64, ObjectPath)> {
        let of = |path: ObjectPath| Some((self.object(&path)?.delete_at?, path));
        let mut expired: Vec<_> = paths().into_iter().filter_map(of).collect();
        expired.sort();
        expired
    }
}

fn metadata<'a>(changes: impl Iterator<Item = &'a Metadata>) -> Metadata {
    let all: BTreeMap<_, _> = changes.flatten().cloned().collect();
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}
