//! What each change does, case by case: who wins, what was there before, what it leaves dead.

use anello_base::Timestamp;
use anello_storage::error::Error;
use anello_storage::index::{DIGEST_LEAF_BITS, DIGEST_LEAVES, Digest, Effect, Index, Placed, Tree};
use anello_storage::key::ObjectPath;
use anello_storage::model::Content;
use anello_storage::mutation::{
    Applies, Body, ContainerPut, Extent, Extents, Location, LogPosition, Mutation, ObjectPost, ObjectPut,
};
use tempfile::TempDir;

use crate::workload::{all, entries, hasher, hashes, open};

/// An index that is fed one record after the other.
struct Fed {
    index: Index,
    dir: TempDir,
    records: u64,
    applies: Applies,
}

fn at(ticks: u64) -> Timestamp {
    Timestamp::from_ticks(ticks)
}

fn path() -> ObjectPath {
    ObjectPath::new("a", "c", "o")
}

fn place(record: u64) -> Location {
    Location { volume: 1 + record as u32, offset: 4096 * record, length: 100, data_start: 90 }
}

fn extent(offset: u64) -> Extent {
    Extent { volume: 4, offset, length: 4096 }
}

impl Fed {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let (index, position) = open(dir.path());
        assert_eq!(position, LogPosition::default());
        Self { index, dir, records: 0, applies: Applies::ALL }
    }

    /// Applies the record at the next place; volumes are numbered from 1, one for each record.
    fn apply(&mut self, mutation: Mutation) -> Effect {
        let location = place(self.records);
        self.records += 1;
        let position = LogPosition { volume: location.volume, offset: 0, sequence: self.records };
        let placed = Placed { mutation, applies: self.applies, location };
        self.index.apply(&[placed], position).expect("applies").remove(0)
    }

    fn put(&mut self, ticks: u64) -> Effect {
        self.apply(put(ticks))
    }

    fn delete(&mut self, ticks: u64) -> Effect {
        let path = path();
        self.apply(Mutation::ObjectDelete { hashes: hashes(&path), path, timestamp: at(ticks), policy: 0 })
    }

    fn post(&mut self, ticks: u64, content_type: Option<&str>) -> Effect {
        let path = path();
        let metadata = vec![("x-object-meta-at".to_owned(), ticks.to_string())];
        let content_type = content_type.map(str::to_owned);
        let (hashes, timestamp) = (hashes(&path), at(ticks));
        self.apply(Mutation::ObjectPost(ObjectPost {
            path,
            hashes,
            timestamp,
            policy: 0,
            content_type,
            delete_at: None,
            metadata,
        }))
    }

    fn container_put(&mut self, ticks: u64, name: &str, value: &str) -> Effect {
        let hashes = hashes(&path());
        self.apply(Mutation::ContainerPut(ContainerPut {
            account: "a".to_owned(),
            container: "c".to_owned(),
            account_hash: hashes.account,
            container_hash: hashes.container,
            timestamp: at(ticks),
            policy: ticks as u32,
            changes: vec![(name.to_owned(), value.to_owned())],
        }))
    }

    fn container_delete(&mut self, ticks: u64) -> Effect {
        let hashes = hashes(&path());
        self.apply(Mutation::ContainerDelete {
            account: "a".to_owned(),
            container: "c".to_owned(),
            account_hash: hashes.account,
            container_hash: hashes.container,
            timestamp: at(ticks),
        })
    }
}

fn put(ticks: u64) -> Mutation {
    let path = path();
    Mutation::ObjectPut(ObjectPut {
        hashes: hashes(&path),
        path,
        timestamp: at(ticks),
        policy: 0,
        size: ticks,
        etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        content_type: "text/plain".to_owned(),
        content: Content::Plain,
        delete_at: None,
        metadata: vec![],
        body: Body::Extents(Extents { length: 4096, pieces: vec![extent(ticks * 4096)], ..Extents::default() }),
    })
}

fn dead(record: u64) -> Vec<Location> {
    vec![place(record)]
}

/// Without this a client is told that something was created that was there, or the space of a replaced
/// object is never freed.
#[test]
fn a_newer_object_replaces_an_older_one_and_frees_it() {
    let mut fed = Fed::new();
    assert_eq!(fed.put(5), Effect { created: true, ..Effect::default() });
    let want = Effect { dead_records: dead(0), dead_extents: vec![extent(5 * 4096)], ..Effect::default() };
    assert_eq!(fed.put(7), want);
    let want =
        Effect { stale: Some(at(7)), dead_records: dead(2), dead_extents: vec![extent(6 * 4096)], ..Effect::default() };
    assert_eq!(fed.put(6), want);
    let row = fed.index.object(hashes(&path()).object).expect("reads").expect("is there");
    assert_eq!((row.info.timestamp, row.location, row.in_extents), (at(7), place(1), true));
    assert_eq!(fed.index.live_extents(4).expect("reads"), [extent(7 * 4096)]);
    assert_eq!(fed.index.dead_bytes().expect("reads"), [(1, 100), (3, 100)]);
}

/// Without this the copy that compaction made before a crash frees the extents of the object itself.
#[test]
fn a_second_copy_of_a_record_frees_nothing_but_itself() {
    let mut fed = Fed::new();
    fed.put(5);
    let want = Effect { stale: Some(at(5)), dead_records: dead(1), ..Effect::default() };
    assert_eq!(fed.put(5), want);
    assert_eq!(fed.index.live_extents(4).expect("reads"), [extent(5 * 4096)]);
}

/// Without this a deleted object is still served, or a late older version brings it back.
#[test]
fn a_deletion_hides_the_object_and_what_is_older() {
    let mut fed = Fed::new();
    fed.container_put(1, "x", "y");
    fed.put(5);
    let effect = fed.delete(6);
    assert_eq!((effect.created, effect.stale, effect.dead_records), (false, None, dead(1)));
    assert_eq!(fed.put(4).stale, Some(at(6)));
    assert_eq!(fed.index.object(hashes(&path()).object).expect("reads"), None);
    let info = fed.index.container(hashes(&path()).container).expect("reads").expect("is there");
    assert_eq!((info.object_count, info.bytes_used), (0, 0));
    // Deleting what is not there is told apart.
    assert!(fed.delete(7).created);
}

/// Without this a POST that overtakes its PUT is lost, or one that comes late changes what it must not.
#[test]
fn metadata_wait_for_their_object_and_a_newer_object_clears_them() {
    let mut fed = Fed::new();
    assert!(fed.post(6, Some("x/posted")).created);
    fed.put(5);
    let info = |fed: &Fed| fed.index.object(hashes(&path()).object).expect("reads").expect("is there").info;
    let found = info(&fed);
    assert_eq!((found.timestamp, found.meta_timestamp), (at(5), at(6)));
    assert_eq!((found.content_type.as_str(), found.metadata[0].1.as_str()), ("x/posted", "6"));
    // The media type stays until it is changed again.
    fed.post(8, None);
    assert_eq!((info(&fed).content_type.as_str(), info(&fed).metadata[0].1.as_str()), ("x/posted", "8"));
    assert_eq!(fed.post(7, None).stale, Some(at(8)));
    fed.put(9);
    assert_eq!((info(&fed).content_type.as_str(), info(&fed).metadata), ("text/plain", vec![]));
    assert_eq!(fed.post(9, None).stale, Some(at(9)));
}

/// Without this a container that is made again shows its former life.
#[test]
fn a_container_made_again_begins_anew_and_counts_the_rows_that_live() {
    let mut fed = Fed::new();
    let container = hashes(&path()).container;
    assert!(fed.container_put(1, "x", "old").created);
    assert!(!fed.container_put(2, "y", "old").created);
    fed.put(3);
    assert_eq!(fed.container_delete(4).stale, None);
    assert_eq!(fed.index.container(container).expect("reads"), None);
    assert_eq!(fed.container_put(3, "x", "late").stale, Some(at(4)));
    assert!(fed.container_put(6, "z", "new").created);
    let info = fed.index.container(container).expect("reads").expect("is there");
    assert_eq!((info.created, info.modified, info.policy), (at(6), at(6), 6));
    assert_eq!(info.metadata, [("z".to_owned(), "new".to_owned())]);
    assert_eq!((info.object_count, info.bytes_used), (1, 3));
    assert_eq!(entries(fed.index.list_objects(container, &all()).expect("lists")).len(), 1);
    let account = fed.index.account(hasher().account("a")).expect("reads").expect("is there");
    assert_eq!((account.created, account.container_count, account.bytes_used), (at(1), 1, 3));
}

/// Without this the parts of a replaced upload are never deleted, or its list is lost before they are.
#[test]
fn a_replaced_multipart_object_waits_for_its_parts() {
    let mut fed = Fed::new();
    let Mutation::ObjectPut(mut multipart) = put(5) else { unreachable!("it is one") };
    multipart.content = Content::Multipart;
    fed.apply(Mutation::ObjectPut(multipart.clone()));
    assert_eq!(fed.delete(6), Effect::default());
    let pending = fed.index.pending_parts(10).expect("reads");
    assert_eq!((pending.len(), pending[0].row.location), (1, place(0)));
    assert_eq!(fed.index.live_extents(4).expect("reads"), [extent(5 * 4096)]);
    assert!(fed.index.is_live(&Mutation::ObjectPut(multipart), place(0)).expect("reads"));
    let want = Effect { dead_records: dead(0), dead_extents: vec![extent(5 * 4096)], ..Effect::default() };
    assert_eq!(fed.index.settle_parts(&pending[0].id).expect("settles"), want);
    assert_eq!(fed.index.settle_parts(&pending[0].id).expect("settles"), Effect::default());
    assert_eq!(fed.index.pending_parts(10).expect("reads"), []);
    assert_eq!(fed.index.live_extents(4).expect("reads"), []);
    assert_eq!(fed.index.dead_bytes().expect("reads"), [(1, 100)]);
}

/// Without this an account on another device never learns of its containers, or is told for ever.
#[test]
fn statistics_for_another_device_wait_until_they_are_settled() {
    let mut fed = Fed::new();
    fed.applies.account = false;
    fed.container_put(1, "x", "y");
    let first = fed.index.pending_stats(10).expect("reads");
    assert_eq!(first.len(), 1);
    fed.put(5);
    fed.index.settle_stats(&first[0]).expect("settles");
    let second = fed.index.pending_stats(10).expect("reads");
    assert!(matches!(&second[..], [Mutation::ContainerStats { object_count: 1, bytes_used: 5, .. }]), "{second:?}");
    fed.index.settle_stats(&second[0]).expect("settles");
    assert_eq!(fed.index.pending_stats(10).expect("reads"), []);
    assert_eq!(fed.index.account(hasher().account("a")).expect("reads"), None);

    // The other device.
    let mut other = Fed::new();
    other.apply(second[0].clone());
    assert_eq!(other.apply(first[0].clone()).stale, Some(at(1)));
    let account = other.index.account(hasher().account("a")).expect("reads").expect("is there");
    assert_eq!((account.container_count, account.object_count, account.bytes_used), (1, 1, 5));
}

/// Without this tombstones gather for ever, or a rebuild brings the object back.
#[test]
fn a_tombstone_goes_when_it_is_old_and_the_log_has_forgotten_the_object() {
    let mut fed = Fed::new();
    fed.put(5);
    fed.delete(6);
    let reclaim = |fed: &Fed, before| fed.index.reclaim_tombstones(at(before)).expect("reclaims");
    assert_eq!(reclaim(&fed, 100), 0, "the put's record is in volume 1");
    fed.index.forget_volume(1).expect("forgets");
    assert_eq!(reclaim(&fed, 6), 0, "it is not old enough");
    assert_eq!(reclaim(&fed, 7), 2, "the object's and the row's");
    assert_eq!(fed.index.dead_bytes().expect("reads"), [(2, 100)]);
    assert!(fed.put(3).created, "nothing is known of it any more");
}

/// Without this a start-up replays the whole log, or misses some of it.
#[test]
fn a_closed_index_opens_where_it_was() {
    let mut fed = Fed::new();
    fed.put(5);
    let Fed { index, dir, .. } = fed;
    drop(index);
    let (index, position) = open(dir.path());
    assert_eq!(position, LogPosition { volume: 1, offset: 0, sequence: 1 });
    assert!(index.object(hashes(&path()).object).expect("reads").is_some());
}

/// Without this garbage in the directory is taken for an empty index.
#[test]
fn a_directory_that_is_no_index_is_an_error() {
    let dir = tempfile::tempdir().expect("directory");
    drop(open(dir.path()));
    std::fs::write(dir.path().join("CURRENT"), "MANIFEST-999999\n").expect("writes");
    assert!(matches!(Index::open(dir.path(), 8 << 20), Err(Error::Index(_))));
}

/// Without this objects with a time to be deleted stay for ever.
#[test]
fn objects_expire_in_order_and_a_post_changes_their_time() {
    let mut fed = Fed::new();
    let mut expiring = |ticks, name: &str, delete_at| {
        let Mutation::ObjectPut(mut put) = put(ticks) else { unreachable!("it is one") };
        put.path.object = name.to_owned();
        put.hashes = hashes(&put.path);
        put.delete_at = Some(delete_at);
        fed.apply(Mutation::ObjectPut(put));
    };
    expiring(5, "late", 300);
    expiring(6, "soon", 100);
    expiring(7, "o", 200);
    let expired = |fed: &Fed, second, limit| {
        let expired = fed.index.expired(second, limit).expect("reads");
        expired.into_iter().map(|expired| (expired.delete_at, expired.path.object)).collect::<Vec<_>>()
    };
    assert_eq!(expired(&fed, 99, 10), []);
    assert_eq!(expired(&fed, 200, 10), [(100, "soon".to_owned()), (200, "o".to_owned())]);
    assert_eq!(expired(&fed, u64::MAX, 1), [(100, "soon".to_owned())]);
    fed.post(8, None);
    assert_eq!(expired(&fed, 250, 10), [(100, "soon".to_owned())]);
}

/// Without this replicas compare partitions of one ring and miss what lies in those of another.
#[test]
fn digests_of_partitions_are_those_of_their_entries_whatever_the_ring() {
    let mut fed = Fed::new();
    let tree = Tree::Objects { policy: 0 };
    for number in 0..50 {
        let Mutation::ObjectPut(mut put) = put(5 + number) else { unreachable!("it is one") };
        put.path.object = format!("o{number}");
        put.hashes = hashes(&put.path);
        fed.apply(Mutation::ObjectPut(put));
    }
    let whole = fed.index.digest_of(tree, 0, 0).expect("reads");
    assert_eq!(whole.entries, 50);
    for power in [1, 10, 17, 18, 19, 24, 32] {
        let objects = fed.index.scan_objects(None, 1000).expect("reads");
        let mut partitions: Vec<_> = objects.iter().map(|(hash, _)| hash.partition(power)).collect();
        partitions.dedup();
        let mut sum = Digest::default();
        for partition in partitions {
            sum.add(fed.index.digest_of(tree, partition, power).expect("reads"));
        }
        assert_eq!(sum, whole, "{power}");
    }
}

/// Without this an entry is compared by halves: a page ends between two of them, or repeats one.
#[test]
fn entries_come_in_order_and_in_pages_of_any_length() {
    let mut fed = Fed::new();
    fed.container_put(1, "x", "y");
    for (ticks, name) in [(5, "b"), (6, "a"), (7, "a/b"), (8, "c")] {
        let Mutation::ObjectPut(mut put) = put(ticks) else { unreachable!("it is one") };
        put.path.object = name.to_owned();
        put.hashes = hashes(&put.path);
        fed.apply(Mutation::ObjectPut(put));
    }
    let gone = ObjectPath::new("a", "c", "c");
    fed.apply(Mutation::ObjectDelete { hashes: hashes(&gone), path: gone, timestamp: at(9), policy: 0 });
    let container = hashes(&path()).container;
    let leaf = container.partition(DIGEST_LEAF_BITS);
    let all = fed.index.digest_entries(Tree::Containers, leaf..leaf + 1, None, 100).expect("reads");
    let names: Vec<_> = all.iter().map(|entry| entry.key.name.as_deref()).collect();
    assert_eq!(names, [None, Some("a"), Some("a/b"), Some("b"), Some("c")]);
    assert!(all.is_sorted_by(|one, other| one.key < other.key) && all[4].version.is_deleted());
    for (number, container) in ["d", "e", "f"].into_iter().enumerate() {
        let Mutation::ObjectPut(mut put) = put(10 + number as u64) else { unreachable!("it is one") };
        put.path = ObjectPath::new("a", container, "a");
        put.hashes = hashes(&put.path);
        fed.apply(Mutation::ObjectPut(put));
    }
    let there = fed.index.digests(Tree::Containers, 0..DIGEST_LEAVES).expect("reads");
    assert!(there.len() > 1);
    let every: Vec<_> = there
        .iter()
        .flat_map(|(leaf, _)| fed.index.digest_entries(Tree::Containers, *leaf..leaf + 1, None, 100).expect("reads"))
        .collect();
    for (leaves, entries) in [(leaf..leaf + 1, all), (0..DIGEST_LEAVES, every), (leaf..leaf, Vec::new())] {
        for limit in 1..6 {
            let (mut pages, mut after) = (Vec::new(), None);
            loop {
                let page = fed.index.digest_entries(Tree::Containers, leaves.clone(), after.as_ref(), limit);
                let page = page.expect("reads");
                let Some(last) = page.last() else { break };
                after = Some(last.key.clone());
                pages.extend(page);
            }
            assert_eq!(pages, entries, "{leaves:?} {limit}");
        }
    }
}

/// Without this a listing of two replicas shows the older of two versions, or none.
#[test]
fn who_heard_of_new_metadata_alone_is_behind_who_has_the_data() {
    let (mut whole, mut behind, mut outdated) = (Fed::new(), Fed::new(), Fed::new());
    whole.put(20);
    whole.post(30, None);
    behind.post(30, None);
    outdated.put(10);
    outdated.post(30, None);
    let known = |fed: &Fed| fed.index.known_object_row(hashes(&path()).container, &path().object).expect("reads");
    let order = |fed: &Fed| (known(fed).version, known(fed).changes);
    assert!(order(&whole) > order(&behind) && order(&whole) > order(&outdated));
    assert!(known(&behind).info.is_none() && known(&whole).info.is_some());
}
