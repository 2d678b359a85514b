//! Counts anew what the statistics of containers and accounts are the sums of, and puts right what is wrong. Counted
//! is as of one moment, whatever is written meanwhile; put right is the difference that showed then.

use rocksdb::ReadOptions;

use super::overlay::Overlay;
use super::tables::{Table, behind};
use super::totals::{Account, Container, ContainerRow, adjust};
use super::version_codec::decode_entry;
use super::{Index, Reader};
use crate::error::Result;
use crate::key::KeyHash;

/// What statistics are kept of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Containers: their objects and bytes.
    Containers,
    /// Accounts: their containers, and the objects and bytes of these.
    Accounts,
}

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recount {
    /// The last one that was counted; `None` where it was the last of all.
    pub last: Option<KeyHash>,
    /// Containers or accounts that were counted.
    pub counted: u64,
    /// Their rows.
    pub rows: u64,
    /// Those whose statistics were wrong, and are right now.
    pub corrected: u64,
    /// Those that can't be read.
    pub damaged: u64,
}

/// Containers, objects and bytes.
type Sums = [u64; 3];

/// Statistics that are not what the rows come to.
struct Wrong {
    hash: KeyHash,
    stated: Sums,
    sums: Sums,
}

impl Counted {
    fn tables(self) -> (Table, Table) {
        match self {
            Self::Containers => (Table::Containers, Table::Rows),
            Self::Accounts => (Table::Accounts, Table::AccountRows),
        }
    }

    fn stated(self, value: &[u8]) -> Result<Sums> {
        Ok(match self {
            Self::Containers => {
                let container = Container::decode(value)?;
                [0, container.object_count, container.bytes_used]
            }
            Self::Accounts => {
                let account = Account::decode(value)?;
                [account.container_count, account.object_count, account.bytes_used]
            }
        })
    }

    fn of_row(self, value: &[u8]) -> Result<Sums> {
        Ok(match self {
            Self::Containers => decode_entry(String::new(), value)?.map_or([0; 3], |row| [0, 1, row.size]),
            Self::Accounts => {
                let row = ContainerRow::decode(value)?;
                if row.is_live() { [1, row.object_count, row.bytes_used] } else { [0; 3] }
            }
        })
    }
}

impl Index {
    /// Counts the rows of containers or accounts behind `after`, until `rows_max` rows were looked at, but at least
    /// of one. Reads from disk, without a lock.
    pub fn recount(&self, what: Counted, after: Option<KeyHash>, rows_max: u64) -> Result<Recount> {
        let moment = self.tables.moment();
        let options = || {
            let mut options = ReadOptions::default();
            options.set_snapshot(&moment);
            options
        };
        let (parents, rows) = what.tables();
        let sum = |hash: KeyHash| -> Result<(Sums, u64)> {
            let (mut sums, mut count) = (Sums::default(), 0);
            self.tables.scan_with(options(), rows, &hash.0, behind(&hash.0), |_, value| {
                count += 1;
                sums.iter_mut().zip(what.of_row(value)?).for_each(|(sum, more)| *sum += more);
                Ok(true)
            })?;
            Ok((sums, count))
        };
        let (mut done, mut wrong) = (Recount::default(), Vec::new());
        let low = after.map(|hash| [&hash.0[..], &[0]].concat()).unwrap_or_default();
        let mut is_whole = true;
        self.tables.scan_with(options(), parents, &low, None, |key, value| {
            if done.counted > 0 && done.rows >= rows_max {
                is_whole = false;
                return Ok(false);
            }
            let hash = KeyHash(Reader::new("key of a container or account in the index", key).array()?);
            done.last = Some(hash);
            done.counted += 1;
            match what.stated(value).and_then(|stated| Ok((stated, sum(hash)?))) {
                Ok((stated, (sums, rows))) => {
                    done.rows += rows.max(1);
                    wrong.extend((stated != sums).then_some(Wrong { hash, stated, sums }));
                }
                Err(error) => {
                    tracing::error!(%error, what = ?what, hash = %hex::encode(hash.0), "rows can't be counted; the index is to be rebuilt");
                    done.damaged += 1;
                }
            }
            Ok(true)
        })?;
        if is_whole {
            done.last = None;
        }
        for wrong in wrong {
            tracing::error!(
                what = ?what, hash = %hex::encode(wrong.hash.0), stated = ?wrong.stated, counted = ?wrong.sums,
                "statistics were wrong and are corrected"
            );
            self.correct(what, &wrong)?;
            done.corrected += 1;
        }
        Ok(done)
    }

    /// Adds what was missing then to the statistics as they are now.
    fn correct(&self, what: Counted, wrong: &Wrong) -> Result<()> {
        let Wrong { hash, stated, sums } = wrong;
        let mut dead = self.writer();
        let mut overlay = Overlay::new(&self.tables);
        match what {
            Counted::Containers => {
                let Some(touched) = overlay.known_container(*hash)? else { return Ok(()) };
                let container = &mut touched.now;
                container.object_count = adjust(container.object_count, stated[1], sums[1])?;
                container.bytes_used = adjust(container.bytes_used, stated[2], sums[2])?;
                container.touch(container.history.latest());
                let (account, name) = (container.account_hash, container.container.clone());
                let row = overlay.account_row(account, &name)?.now.as_ref().and_then(|row| row.container);
                if let Some(touched) = overlay.known_container(*hash)? {
                    touched.tell(row == Some(*hash));
                }
            }
            Counted::Accounts => {
                let account = &mut overlay.account(*hash)?.now;
                account.container_count = adjust(account.container_count, stated[0], sums[0])?;
                account.object_count = adjust(account.object_count, stated[1], sums[1])?;
                account.bytes_used = adjust(account.bytes_used, stated[2], sums[2])?;
            }
        }
        overlay.commit(&mut dead, None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::device::tests::sample;
    use crate::index::Placed;
    use crate::mutation::{Applies, Location, LogPosition, Mutation};

    fn apply(index: &Index, at: u64, mutation: Mutation) {
        let location = Location { volume: 1, offset: at * 1000, length: 100, data_start: 90 };
        let position = LogPosition { volume: 1, offset: at * 1000 + 100, sequence: at };
        index.apply(&[Placed { mutation, applies: Applies::ALL, location }], position).expect("applies");
    }

    fn open() -> (tempfile::TempDir, Index) {
        let dir = tempfile::tempdir().expect("a directory");
        let index = Index::open(dir.path(), 1 << 20).expect("opens").0;
        apply(&index, 1, sample::container(1));
        (dir, index)
    }

    fn put(index: &Index, at: u64) {
        apply(index, at, sample::put_inline(&format!("o{at}"), at, sample::bytes(at, 10)));
    }

    fn both(index: &Index) -> [Recount; 2] {
        [Counted::Containers, Counted::Accounts].map(|what| index.recount(what, None, 1000).expect("counts"))
    }

    #[test]
    fn wrong_statistics_are_found_and_put_right() {
        let (_dir, index) = open();
        (2..12).for_each(|at| put(&index, at));
        assert_eq!(both(&index).map(|done| (done.counted, done.corrected, done.last)), [(1, 0, None); 2]);
        let hashes = sample::hashes("o");
        let right = (index.container(hashes.container).expect("reads"), index.account(hashes.account).expect("reads"));
        let stored = index.tables.get(Table::Containers, &hashes.container.0).expect("reads").expect("is there");
        let mut container = Container::decode(&stored).expect("decodes");
        (container.object_count, container.bytes_used) = (7, 1_000_000);
        let mut batch = index.tables.batch();
        batch.put(Table::Containers, &hashes.container.0, &container.encode());
        batch.write().expect("writes");
        let stored = index.tables.get(Table::Accounts, &hashes.account.0).expect("reads").expect("is there");
        let mut account = Account::decode(&stored).expect("decodes");
        account.container_count = 3;
        let mut batch = index.tables.batch();
        batch.put(Table::Accounts, &hashes.account.0, &account.encode());
        batch.write().expect("writes");
        assert_eq!(both(&index).map(|done| done.corrected), [1, 1]);
        let now = (index.container(hashes.container).expect("reads"), index.account(hashes.account).expect("reads"));
        assert_eq!(now, right);
        assert_eq!(both(&index).map(|done| done.corrected), [0, 0]);
    }

    /// Without this a busy container is found wrong in each pass.
    #[test]
    fn what_is_written_meanwhile_is_no_mistake() {
        let (_dir, index) = open();
        (2..2000).for_each(|at| put(&index, at));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut at = 2000;
                while !is_over.load(Ordering::Relaxed) {
                    put(&index, at);
                    at += 1;
                }
            });
            for _ in 0..20 {
                assert_eq!(both(&index).map(|done| done.corrected), [0, 0]);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn what_can_not_be_read_is_told_and_passed_over() {
        let (_dir, index) = open();
        put(&index, 2);
        let mut batch = index.tables.batch();
        batch.put(Table::Containers, &[0; 16], b"damaged");
        batch.write().expect("writes");
        let first = index.recount(Counted::Containers, None, 1).expect("counts");
        assert_eq!((first.counted, first.damaged, first.rows), (2, 1, 1));
        assert_eq!(first.last, None);
    }
}
