//! Deletes the parts of joined objects that were replaced or deleted. The engine remembers such objects
//! durably; the reaper takes some, deletes their parts, and settles them. Each step may be repeated: after
//! a crash an object comes again, and deleting a part twice does no harm.
//!
//! An object is left alone for a while after it was first seen, so that a download that was under way
//! comes to its end. Parts that the object now standing under the same name also lists are kept: an upload
//! that was completed twice lists them twice.

use std::collections::HashSet;

use anello_storage::{Error, ObjectPath, Precondition, Result, Store};
use futures::{StreamExt, TryStreamExt};

use super::limits::REAP_CONCURRENCY;
use super::parts::PartList;

/// Deletes the parts of a list that nothing needs any more; tells how many.
pub async fn delete_parts(store: &Store, list: &PartList) -> Result<usize> {
    let kept: HashSet<ObjectPath> = match super::open(store, &list.owner).await {
        Ok(current) => current
            .as_ref()
            .and_then(super::Reader::list)
            .map(|current| current.parts.iter().map(|part| current.path(part)).collect())
            .unwrap_or_default(),
        Err(Error::Missing(_)) => HashSet::new(),
        Err(error) => return Err(error),
    };
    let dead = list.parts.iter().map(|part| list.path(part)).filter(|path| !kept.contains(path));
    let delete = |path: ObjectPath| async move {
        match store.object_delete(&path, &Precondition::default()).await {
            Ok(_) | Err(Error::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    };
    let paths: Vec<_> = dead.collect();
    let count = paths.len();
    futures::stream::iter(paths).map(delete).buffer_unordered(REAP_CONCURRENCY).try_collect::<Vec<()>>().await?;
    Ok(count)
}
