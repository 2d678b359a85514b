//! Snapshots of the records: taken at the start, and written when they have become old. See
//! [`crate::records::Copied`] for why an old or damaged one does no harm.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use anello_base::Timestamp;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::load::{Claims, Unpacked};
use super::write::pack;
use super::{Directory, of_every_kind};
use crate::auth::now_us;
use crate::error::{Error, Result};
use crate::limits::{SNAPSHOT_AGE_MAX, SNAPSHOT_OLD_PART, SNAPSHOT_PARTS_AT_ONCE_MAX, SNAPSHOT_RECORDS_MIN};
use crate::model::Kept;
use crate::records::{Copied, Kind, Snapshots, Version, etag};

/// Records that are packed for a snapshot while the view is looked at once.
const ROWS_AT_ONCE: usize = 1000;

/// How old the snapshots are, by [`Kind`].
#[derive(Default)]
pub(super) struct Ages {
    of_kinds: [Age; Kind::ALL.len()],
    /// Whether one is being written.
    is_busy: AtomicBool,
}

#[derive(Default)]
struct Age {
    /// Records that are no longer as the snapshot has them, roughly.
    changes: AtomicUsize,
    /// Ticks of the snapshot that was last read or written here; zero where none was.
    seen: AtomicU64,
}

impl Ages {
    /// A record was read one by one, written or deleted.
    pub(super) fn changed(&self, kind: Kind) {
        self.of(kind).changes.fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, kind: Kind) -> &Age {
        &self.of_kinds[kind as usize]
    }
}

/// Clears the mark, also where the writing is dropped.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What became of a part of the copies: records, and versions whose copies are damaged.
type Part<T> = (Vec<Unpacked<T>>, Vec<(String, Version)>);

fn unpack_part<T: Kept>(part: Vec<Copied>, claims: &Claims) -> Result<Part<T>> {
    let (mut whole, mut damaged) = (Vec::with_capacity(part.len()), Vec::new());
    for Copied { id, version, data } in part {
        match etag(&data) == version.etag {
            true => whole.push(Unpacked::new(&id, version, &data, claims)?),
            false => damaged.push((id, version)),
        }
    }
    Ok((whole, damaged))
}

impl Directory {
    /// Shows those of the `new` records that the back end has copies of, and takes them out of `new`.
    pub(super) async fn take_copies<T: Kept>(
        &self,
        new: &mut HashMap<String, Version>,
        claims: &Arc<Claims>,
    ) -> Result<()> {
        if let Some(snapshots) = self.records.snapshots() {
            self.saw(T::KIND, snapshots.written(T::KIND).await?);
        }
        let mut copies = self.records.copies(T::KIND);
        let mut parts = VecDeque::new();
        let mut is_more = true;
        while is_more || !parts.is_empty() {
            if is_more && parts.len() < SNAPSHOT_PARTS_AT_ONCE_MAX {
                match copies.try_next().await {
                    Ok(Some(part)) => {
                        let (part, claims) = (self.choose::<T>(part, new), Arc::clone(claims));
                        parts.push_back(tokio::task::spawn_blocking(move || unpack_part::<T>(part, &claims)));
                    }
                    Ok(None) => is_more = false,
                    Err(error) => {
                        is_more = false;
                        tracing::warn!(%error, kind = T::KIND.noun(), "a snapshot can't be read to its end");
                    }
                }
            } else if let Some(part) = parts.pop_front() {
                let (whole, damaged) = part.await.map_err(|error| Error::Internal(error.to_string()))??;
                new.extend(damaged);
                for unpacked in whole {
                    self.take(unpacked).await?;
                }
            }
        }
        Ok(())
    }

    /// The copies of versions that stand and are new; these are then no longer in `new`.
    fn choose<T: Kept>(&self, copies: Vec<Copied>, new: &mut HashMap<String, Version>) -> Vec<Copied> {
        let view = self.view();
        let is_chosen = |copy: &Copied| match new.get(&copy.id) {
            Some(version) if *version == copy.version => new.remove(&copy.id).is_some(),
            Some(_) => false,
            None => {
                if T::table(&view).get(&copy.id).is_none() {
                    self.ages.changed(T::KIND);
                }
                false
            }
        };
        copies.into_iter().filter(is_chosen).collect()
    }

    fn saw(&self, kind: Kind, written: Option<Timestamp>) {
        self.ages.of(kind).seen.store(written.unwrap_or_default().order(), Ordering::Relaxed);
    }

    /// Writes the snapshots that have become too old; `is_last` before an end, when it is worth more.
    pub(crate) async fn keep_snapshots(&self, is_last: bool) -> Result<()> {
        let Some(snapshots) = self.records.snapshots() else { return Ok(()) };
        if self.ages.is_busy.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let _busy = Busy(&self.ages.is_busy);
        of_every_kind!(Record, self.keep_snapshot::<Record>(snapshots, is_last).await?);
        Ok(())
    }

    async fn keep_snapshot<T: Kept>(&self, snapshots: &dyn Snapshots, is_last: bool) -> Result<()> {
        let age = self.ages.of(T::KIND);
        let changes = age.changes.load(Ordering::Relaxed);
        if changes == 0 {
            return Ok(());
        }
        let written = snapshots.written(T::KIND).await?;
        let seen = age.seen.load(Ordering::Relaxed);
        if seen > 0 && written.is_some_and(|written| written.order() > seen) {
            // Another host was faster.
            self.saw(T::KIND, written);
            age.changes.fetch_sub(changes, Ordering::Relaxed);
            return Ok(());
        }
        let part = if is_last { 0 } else { T::table(&self.view()).len() / SNAPSHOT_OLD_PART };
        let oldest = Timestamp::from_ticks(now_us() / 10).minus(SNAPSHOT_AGE_MAX);
        if changes >= part.max(SNAPSHOT_RECORDS_MIN) || written.is_some_and(|written| written < oldest) {
            snapshots.keep(T::KIND, self.pack_all::<T>()).await?;
            self.saw(T::KIND, snapshots.written(T::KIND).await?);
            age.changes.fetch_sub(changes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Every record as it is kept, as many at a time as [`ROWS_AT_ONCE`].
    fn pack_all<T: Kept>(&self) -> BoxStream<'_, Result<Copied>> {
        let pages = stream::try_unfold(String::new(), move |after| async move {
            let rows = T::table(&self.view()).own_after(&after, ROWS_AT_ONCE);
            let Some((last, ..)) = rows.last() else { return Ok(None) };
            let last = last.clone();
            let mut copies = Vec::with_capacity(rows.len());
            for (id, record, version) in rows {
                let data = pack(&*record, None)?;
                if etag(&data) == version.etag {
                    copies.push(Copied { id, version, data });
                } else if let Some((version, data)) = self.records.get(T::KIND, &id).await? {
                    // An older release wrote it, or it was renamed.
                    copies.push(Copied { id, version, data });
                }
            }
            copies.retain(|copy| self.records.is_copied(T::KIND, &copy.data));
            Ok::<_, Error>(Some((stream::iter(copies.into_iter().map(Ok)), last)))
        });
        pages.try_flatten().boxed()
    }
}
