//! The order of records does not matter, and nothing that matters is ever called dead.

use anello_base::Timestamp;
use anello_storage::Content;
use anello_storage::index::{Index, Placed};
use anello_storage::mutation::{Location, LogPosition, Mutation};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::model::Model;
use crate::workload::{State, apply, open, records, seeds, state};

fn check_model(found: &State, records: &[Placed]) -> Result<(), TestCaseError> {
    let model = Model::of(records);
    prop_assert_eq!(&found.objects, &model.objects());
    prop_assert_eq!(&found.containers, &model.containers());
    prop_assert_eq!(&found.rows, &model.rows());
    prop_assert_eq!(&found.account_rows, &model.account_rows());
    prop_assert_eq!(&found.accounts, &model.accounts());
    prop_assert_eq!(&found.expired, &model.expired());
    Ok(())
}

/// Field by field, so that a failure shows what differs.
fn check_same(found: &State, want: &State) -> Result<(), TestCaseError> {
    prop_assert_eq!(&found.objects, &want.objects);
    prop_assert_eq!(&found.rows, &want.rows);
    prop_assert_eq!(&found.containers, &want.containers);
    prop_assert_eq!(&found.accounts, &want.accounts);
    prop_assert_eq!(&found.account_rows, &want.account_rows);
    prop_assert_eq!(&found.expired, &want.expired);
    prop_assert_eq!(&found.parts, &want.parts);
    prop_assert_eq!(&found.extents, &want.extents);
    prop_assert_eq!(&found.digests, &want.digests);
    Ok(())
}

fn is_live(index: &Index, placed: &Placed) -> bool {
    index.is_live(&placed.mutation, placed.location).expect("reads")
}

/// Every record is needed, or its bytes are counted as dead; never both.
fn check_dead_bytes(index: &Index, records: &[Placed]) -> Result<(), TestCaseError> {
    let mut dead = std::collections::BTreeMap::<u32, u64>::new();
    for placed in records.iter().filter(|placed| !is_live(index, placed)) {
        *dead.entry(placed.location.volume).or_default() += u64::from(placed.location.length);
    }
    prop_assert_eq!(index.dead_bytes().expect("reads"), dead.into_iter().collect::<Vec<_>>());
    Ok(())
}

fn shuffled(count: usize) -> impl Strategy<Value = (Vec<crate::workload::Seed>, Vec<usize>)> {
    // A rank per record, so that shrinking can leave records out.
    let ranked = (seeds(count), prop::collection::vec(any::<u32>(), count));
    ranked.prop_map(|(seeds, ranks)| {
        let mut order: Vec<_> = (0..seeds.len()).collect();
        order.sort_by_key(|place| ranks[*place]);
        (seeds, order)
    })
}

fn in_order(records: &[Placed], order: &[usize]) -> Vec<Placed> {
    order.iter().map(|place| records[*place].clone()).collect()
}

proptest! {
    #![proptest_config(Config { cases: 40, failure_persistence: None, max_shrink_iters: 60, ..Config::default() })]

    /// Without this a rebuild after compaction shows another state than before.
    #[test]
    fn any_order_in_any_batches_gives_what_the_model_says((seeds, order) in shuffled(80), batch in 1..20_usize) {
        let records = records(&seeds);
        let dir = tempfile::tempdir().expect("directory");
        let (index, _) = open(dir.path());
        apply(&index, &in_order(&records, &order), batch);
        check_model(&state(&index), &records)?;
        check_dead_bytes(&index, &records)?;
    }

    /// Without this replicas that know the same are compared entry by entry for ever.
    #[test]
    fn digests_are_the_same_whatever_the_order((seeds, order) in shuffled(60), batch in 1..20_usize) {
        let records = records(&seeds);
        let (first, second) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
        let ((index, _), (other, _)) = (open(first.path()), open(second.path()));
        apply(&index, &records, batch);
        apply(&other, &in_order(&records, &order), 7);
        prop_assert_eq!(state(&other).digests, state(&index).digests);
    }

    /// Without this replicas that differ are taken for equal.
    #[test]
    fn digests_tell_apart_what_lacks_a_version(seeds in seeds(60), left_out in any::<prop::sample::Index>()) {
        let records = records(&seeds);
        let (first, second) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
        let ((index, _), (other, _)) = (open(first.path()), open(second.path()));
        apply(&index, &records, 7);
        let needed = |placed: &&Placed| match &placed.mutation {
            // One that was replaced is needed until its parts are gone.
            Mutation::ObjectPut(put) => put.content != Content::Multipart && is_live(&index, placed),
            Mutation::ObjectPost(_) | Mutation::ObjectDelete { .. } => is_live(&index, placed),
            _ => false,
        };
        let needed: Vec<_> = records.iter().filter(needed).map(|placed| placed.location).collect();
        prop_assume!(!needed.is_empty());
        let left_out = *left_out.get(&needed);
        let fewer: Vec<_> = records.into_iter().filter(|placed| placed.location != left_out).collect();
        apply(&other, &fewer, 7);
        prop_assert_ne!(state(&other).digests, state(&index).digests);
    }

    /// Without this compaction drops a record that a rebuild needs.
    #[test]
    fn the_needed_records_alone_give_the_same_state((seeds, order) in shuffled(80), batch in 1..20_usize) {
        let records = records(&seeds);
        let (first, second) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
        let (index, _) = open(first.path());
        apply(&index, &records, batch);
        let (rebuilt, _) = open(second.path());
        let kept = in_order(&records, &order).into_iter().filter(|placed| is_live(&index, placed)).collect::<Vec<_>>();
        apply(&rebuilt, &kept, batch);
        check_same(&state(&rebuilt), &state(&index))?;
        check_dead_bytes(&rebuilt, &kept)?;
    }

    /// Without this a crash loses or doubles what came behind the last flush.
    #[test]
    fn after_a_crash_the_log_is_replayed_from_the_position(seeds in seeds(60), cut in 0..60_usize, batch in 1..9_usize) {
        let records = records(&seeds);
        let dir = tempfile::tempdir().expect("directory");
        let crashed = tempfile::tempdir().expect("directory");
        let (index, _) = open(dir.path());
        let cut = (cut % records.len()).next_multiple_of(batch).min(records.len());
        apply(&index, &records[..cut], batch);
        index.flush().expect("flushes");
        index.apply(&records[cut..], LogPosition { sequence: 1000, ..LogPosition::default() }).expect("applies");
        for entry in std::fs::read_dir(dir.path()).expect("lists") {
            let entry = entry.expect("entry");
            std::fs::copy(entry.path(), crashed.path().join(entry.file_name())).expect("copies");
        }
        let (replayed, position) = open(crashed.path());
        prop_assert_eq!(position.sequence, cut as u64);
        apply(&replayed, &records[cut..], batch);
        check_same(&state(&replayed), &state(&index))?;
        prop_assert_eq!(replayed.dead_bytes().expect("reads"), index.dead_bytes().expect("reads"));
    }

    /// Without this compaction leaves something that points to where nothing is any more.
    #[test]
    fn moved_records_are_found_in_their_new_places((seeds, order) in shuffled(60), volume in 1..6_u32) {
        let records = records(&seeds);
        let dir = tempfile::tempdir().expect("directory");
        let (index, _) = open(dir.path());
        apply(&index, &in_order(&records, &order), 7);
        let before = state(&index);
        let is_moved = |placed: &&Placed| placed.location.volume == volume && is_live(&index, placed);
        let to = |from: Location| Location { volume: 77, ..from };
        let moves: Vec<_> = records.iter().filter(is_moved).map(|placed| (placed.clone(), to(placed.location))).collect();
        index.relocate(&moves, LogPosition::default()).expect("relocates");
        check_same(&state(&index), &before)?;
        for (placed, to) in &moves {
            prop_assert!(!is_live(&index, placed));
            prop_assert!(index.is_live(&placed.mutation, *to).expect("reads"));
        }
        let whole: u64 = records.iter().map(|placed| placed.location).filter(|place| place.volume == volume).map(|place| u64::from(place.length)).sum();
        let dead = index.dead_bytes().expect("reads");
        prop_assert_eq!(dead.iter().find(|(other, _)| *other == volume).map_or(0, |(_, bytes)| *bytes), whole);
    }

    /// Without this a deleted object is back after a rebuild.
    #[test]
    fn what_was_reclaimed_does_not_come_back((seeds, order) in shuffled(80), gone in 0..32_u8) {
        let records = records(&seeds);
        let (first, second) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
        let (index, _) = open(first.path());
        apply(&index, &records, 7);
        for parts in index.pending_parts(1000).expect("reads") {
            index.settle_parts(&parts.id).expect("settles");
        }
        let before = state(&index);
        // Some volumes are gone, and with them the dead records in them.
        let is_gone = |placed: &Placed| gone & (1 << (placed.location.volume - 1)) != 0;
        let survives = |placed: &Placed| !is_gone(placed) || is_live(&index, placed);
        let survivors: Vec<_> = in_order(&records, &order).into_iter().filter(survives).collect();
        for volume in (1..=5).filter(|volume| gone & (1 << (volume - 1)) != 0) {
            index.forget_volume(volume).expect("forgets");
        }
        index.reclaim_tombstones(Timestamp::MAX).expect("reclaims");
        let reclaimed = state(&index);
        let before = State { digests: reclaimed.digests.clone(), ..before };
        check_same(&reclaimed, &before)?;
        // Compaction drops what has died since.
        let survivors: Vec<_> = survivors.into_iter().filter(|placed| !is_gone(placed) || is_live(&index, placed)).collect();
        let (rebuilt, _) = open(second.path());
        apply(&rebuilt, &survivors, 7);
        let mut after = state(&rebuilt);
        // Parts that were settled may be deleted twice.
        after.parts = vec![];
        after.extents = before.extents.clone();
        // A tombstone may come back with a record that something else needs; its digest comes with it.
        after.digests = before.digests.clone();
        check_same(&after, &before)?;
    }
}
