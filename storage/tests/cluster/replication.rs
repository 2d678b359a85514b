//! Replicas that were apart come together, with nobody's help.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use anello_storage::index::{DIGEST_LEAVES, Tree};
use anello_storage::store::{DaemonOptions, IfMissing, ObjectUpdate, ReplicationOptions};
use anello_storage::{Error, KeyHasher, Precondition, Store};
use bytes::Bytes;

use crate::network::{Cluster, all, finish, get, list, path, pattern, put};

/// Passes follow each other at once, and leave nothing out.
pub(crate) fn eager() -> DaemonOptions {
    let defaults = ReplicationOptions::default();
    with(ReplicationOptions { interval: Duration::from_millis(100), settle: Duration::ZERO, ..defaults })
}

/// No pass at all.
pub(crate) fn idle() -> DaemonOptions {
    with(ReplicationOptions { interval: Duration::from_secs(86_400), ..ReplicationOptions::default() })
}

/// Passes that bring next to nothing.
pub(crate) fn stuck() -> DaemonOptions {
    with(ReplicationOptions { bytes_per_second: 1, ..ReplicationOptions::default() })
}

fn with(replication: ReplicationOptions) -> DaemonOptions {
    DaemonOptions { replication, ..DaemonOptions::default() }
}

pub(crate) const OBJECTS: Tree = Tree::Objects { policy: 0 };

/// What a host's device says of all that replicas must agree on.
fn digests(store: &Store) -> BTreeMap<Tree, Vec<(u32, u64)>> {
    let index = store.devices().next().expect("a device").index();
    let of_tree = |tree| {
        let leaves = index.digests(tree, 0..DIGEST_LEAVES).expect("reads");
        leaves.into_iter().map(|(leaf, digest)| (leaf, digest.sum)).collect()
    };
    [OBJECTS, Tree::Containers, Tree::Accounts].map(|tree| (tree, of_tree(tree))).into()
}

/// Entries of a tree that a host's device has.
pub(crate) fn entries(store: &Store, tree: Tree) -> u64 {
    let index = store.devices().next().expect("a device").index();
    index.digests(tree, 0..DIGEST_LEAVES).expect("reads").iter().map(|(_, digest)| digest.entries).sum()
}

/// Passes that the replicator of a host came to the end of.
fn passes(store: &Store) -> u64 {
    store.status().daemons.iter().filter(|daemon| daemon.name == "replicator").map(|daemon| daemon.passes).sum()
}

pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("after a minute it is still not so that {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_cut_off_gets_all_that_it_missed() {
    let cluster = Cluster::form_with(3, eager()).await;
    let stores = &cluster.stores;
    for at in 0..30 {
        put(&stores[0], &format!("old{at:02}"), pattern(at), &Precondition::default()).await.expect("put");
    }
    cluster.cut(2);
    for at in 0..30 {
        let size = if at % 3 == 0 { 400_000 + at } else { 700 + at };
        put(&stores[at % 2], &format!("new{at:02}"), pattern(size), &Precondition::default()).await.expect("put");
    }
    for at in 0..10 {
        stores[0].object_delete(&path(&format!("old{at:02}")), &Precondition::default()).await.expect("deletes");
        let metadata = vec![("x-object-meta-color".to_owned(), "blue".to_owned())];
        let update = |_: &_| Ok(ObjectUpdate { metadata: metadata.clone(), ..ObjectUpdate::default() });
        stores[1].object_update(&path(&format!("old{:02}", at + 10)), update).await.expect("updates");
    }
    let metadata = vec![("x-container-meta-color".to_owned(), "blue".to_owned())];
    stores[0].container_update("AUTH_a", "c", metadata, 0, IfMissing::Fail).await.expect("updates");
    stores[1].container_update("AUTH_a", "other", vec![], 0, IfMissing::Create).await.expect("creates");
    stores[1].container_delete("AUTH_a", "other").await.expect("deletes");
    cluster.heal();
    eventually("all hosts have the same", || digests(&stores[2]) == digests(&stores[0])).await;
    assert_eq!(digests(&stores[1]), digests(&stores[0]));

    let directory = cluster.close().await;
    let device = Cluster::device(&directory, 2);
    let hasher = KeyHasher::new(b"secret");
    let info = device.index().container(hasher.container("AUTH_a", "c")).expect("asks").expect("is there");
    let bytes = (10..30).sum::<u64>() + (0..30).map(|at| at + if at % 3 == 0 { 400_000 } else { 700 }).sum::<u64>();
    assert_eq!((info.object_count, info.bytes_used), (50, bytes));
    assert_eq!(info.metadata, [("x-container-meta-color".to_owned(), "blue".to_owned())]);
    assert!(device.index().container(hasher.container("AUTH_a", "other")).expect("asks").is_none());
    for at in 0..30 {
        let hash = hasher.object(&path(&format!("new{at:02}")));
        let row = device.index().object(hash).expect("asks").expect("is there");
        let mut reader = device.read(Some(hash), &row, 0..u64::MAX).await.expect("opens");
        let mut data = Vec::new();
        while let Some(bytes) = reader.next().await.expect("reads") {
            data.extend_from_slice(&bytes);
        }
        let size = if at % 3 == 0 { 400_000 + at } else { 700 + at };
        assert!(data == pattern(size), "new{at:02}");
        let old = device.index().object(hasher.object(&path(&format!("old{at:02}")))).expect("asks");
        assert_eq!(old.is_some(), at >= 10, "old{at:02}");
        let is_blue = old.is_some_and(|old| old.info.metadata.iter().any(|(_, value)| value == "blue"));
        assert_eq!(is_blue, (10..20).contains(&at), "old{at:02}");
    }
    device.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn handoffs_give_what_they_kept_to_its_primaries_and_keep_nothing() {
    let cluster = Cluster::form_with(5, eager()).await;
    let stores = &cluster.stores;
    cluster.cut(4);
    for at in 0..100 {
        put(&stores[at % 4], &format!("o{at:03}"), pattern(100 + at), &Precondition::default()).await.expect("put");
    }
    for at in 0..20 {
        stores[0].object_delete(&path(&format!("o{at:03}")), &Precondition::default()).await.expect("deletes");
    }
    let total = |tree| stores.iter().map(|store| entries(store, tree)).sum::<u64>();
    cluster.heal();
    all_are_asked(&cluster).await;
    // What is on its way to a primary is there once more; nothing is, once everybody went through all that he has.
    let before: Vec<u64> = stores.iter().map(passes).collect();
    let went_through = || stores.iter().zip(&before).all(|(store, before)| passes(store) > before + 1);
    eventually("everybody went through all that he has", went_through).await;
    // Three of each: of 100 objects or tombstones; of as many rows and their container; of the account and its row.
    let is_so = || total(OBJECTS) == 300 && total(Tree::Containers) == 303 && total(Tree::Accounts) == 6;
    eventually("there are three replicas of everything", is_so).await;
    for store in stores {
        assert_eq!(list(store, all()).await.len(), 80);
        for at in 20..100 {
            assert_eq!(get(store, &format!("o{at:03}")).await, Some(pattern(100 + at).to_vec()));
        }
        let info = store.container("AUTH_a", "c").await.expect("asks").expect("is there");
        assert_eq!(info.object_count, 80);
    }
    assert_eq!(total(OBJECTS), 300, "reading brought nothing back");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handoffs_give_up_rows_of_containers_that_were_deleted_meanwhile() {
    let mut cluster = Cluster::form_with(5, idle()).await;
    cluster.cut(4);
    for at in 0..20 {
        let (store, account) = (&cluster.stores[at % 4], format!("AUTH_{at}"));
        store.container_update(&account, "c", vec![], 0, IfMissing::Create).await.expect("a container");
    }
    cluster.heal();
    all_are_asked(&cluster).await;
    for at in 0..20 {
        cluster.stores[at % 4].container_delete(&format!("AUTH_{at}"), "c").await.expect("deletes");
    }
    cluster.daemons = eager();
    for host in 0..5 {
        cluster.restart(host).await;
    }
    // Three of each account, and of the row of its container.
    let total = || cluster.stores.iter().map(|store| entries(store, Tree::Accounts)).sum::<u64>();
    eventually("nobody has what is others'", || total() == 21 * 2 * 3).await;
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_which_copies_are_not_where_they_should_be() {
    let mut cluster = Cluster::form_with(4, idle()).await;
    let rings = async |store: &Store| store.dispersion().await.expect("a report");
    for at in 0..20 {
        put(&cluster.stores[0], &format!("o{at}"), pattern(100), &Precondition::default()).await.expect("put");
    }
    eventually("each has three copies", || {
        cluster.stores.iter().map(|store| entries(store, OBJECTS)).sum::<u64>() == 60
    })
    .await;
    let report = rings(&cluster.stores[1]).await;
    let objects = report.rings.iter().find(|ring| ring.ring == "objects").expect("the objects' ring").clone();
    assert_eq!((objects.copies, objects.found, objects.misplaced), (60, 60, 0), "{report:?}");
    assert_eq!((objects.policy.as_deref(), report.silent.len()), (Some("Policy-0"), 0));

    cluster.cut(3);
    let report = rings(&cluster.stores[1]).await;
    assert_eq!(report.silent.len(), 1);
    let kept = entries(&cluster.stores[3], OBJECTS);
    let lacking = &report.rings.iter().find(|ring| ring.ring == "objects").expect("the objects' ring").lacking;
    assert_eq!(lacking, &[(1, kept)].into(), "a host that does not answer");
    for at in 0..20 {
        put(&cluster.stores[0], &format!("new{at}"), pattern(100), &Precondition::default()).await.expect("put");
    }
    cluster.heal();
    all_are_asked(&cluster).await;
    let report = rings(&cluster.stores[1]).await;
    let objects = report.rings.iter().find(|ring| ring.ring == "objects").expect("the objects' ring");
    assert!(objects.found < objects.copies && objects.misplaced > 0, "what stands in for it: {report:?}");

    // They come to where they belong.
    cluster.daemons = eager();
    for host in 0..4 {
        cluster.restart(host).await;
    }
    for _ in 0..600 {
        let report = rings(&cluster.stores[0]).await;
        if report.rings.iter().all(|ring| ring.found == ring.copies && ring.misplaced == 0) {
            cluster.close().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", rings(&cluster.stores[0]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_brings_together_what_it_finds_apart() {
    let cluster = Cluster::form_with(3, idle()).await;
    let stores = &cluster.stores;
    cluster.cut(2);
    put(&stores[0], "small", pattern(100), &Precondition::default()).await.expect("put");
    put(&stores[0], "large", pattern(500_000), &Precondition::default()).await.expect("put");
    cluster.heal();
    assert_eq!(entries(&stores[2], OBJECTS), 0);
    // A reader goes by the first majority that answers: now and then one that is not agreed.
    *cluster.network.uneven.lock().expect("lock") = Some(crate::network::name(0));
    for name in ["small", "large"] {
        for _ in 0..50 {
            assert!(get(&stores[2], name).await.is_some());
        }
    }
    eventually("the host has both", || entries(&stores[2], OBJECTS) == 2).await;
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_replaced_by_a_replicas() {
    let cluster = Cluster::form_with(3, idle()).await;
    put(&cluster.stores[0], "small", pattern(5000), &Precondition::default()).await.expect("put");
    put(&cluster.stores[0], "large", pattern(500_000), &Precondition::default()).await.expect("put");
    eventually("the last replica has them", || entries(&cluster.stores[1], OBJECTS) == 2).await;
    for (name, volume, size) in [("small", ".log.vol", 5000), ("large", ".data.vol", 500_000)] {
        assert!(flip(&cluster, 1, volume, &pattern(size)[1000..1100]), "{name} is in no volume {volume}");
        // Served whole although the nearest copy is damaged.
        assert_eq!(get(&cluster.stores[1], name).await, Some(pattern(size).to_vec()), "{name}");
    }
    eventually("both were healed", || healed(&cluster.stores[1]) == 2).await;
    let before = cluster.stores[1].status().devices[0].corrupt_reads;
    for (name, size) in [("small", 5000), ("large", 500_000)] {
        assert_eq!(get(&cluster.stores[1], name).await, Some(pattern(size).to_vec()), "{name}");
    }
    assert_eq!(cluster.stores[1].status().devices[0].corrupt_reads, before);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_where_it_alone_was_written_is_given_up() {
    let cluster = Cluster::form_with(3, eager()).await;
    let store = &cluster.stores[0];
    put(store, "replaced", pattern(3000), &Precondition::default()).await.expect("put");
    eventually("all have it", || cluster.stores.iter().all(|store| entries(store, OBJECTS) == 1)).await;
    let name = "a name that stands in its record so that one can find it there and damage it";
    let mut writers = Vec::new();
    for (name, content) in [("replaced", Bytes::from(vec![7; 3000])), (name, pattern(2000))] {
        writers.push((store.object_write(&path(name), None).await.expect("begins"), content));
    }
    (1..3).for_each(|host| cluster.cut(host));
    for (writer, content) in writers {
        let refused = finish(writer, content).await;
        assert!(matches!(refused, Err(Error::NoQuorum { .. } | Error::Unreachable { .. })), "{refused:?}");
    }
    assert_eq!(entries(store, OBJECTS), 2, "they were written here alone");
    assert!(flip(&cluster, 0, ".log.vol", &[7; 100]), "the data of one");
    assert!(flip(&cluster, 0, ".log.vol", &name.as_bytes()[..60]), "the head of the other's record");
    cluster.heal();
    eventually("replicas agree", || cluster.stores.iter().all(|store| digests(store) == digests(&cluster.stores[1])))
        .await;
    for store in &cluster.stores {
        assert_eq!(get(store, "replaced").await, Some(pattern(3000).to_vec()));
        assert_eq!(get(store, name).await, None);
        assert_eq!(list(store, all()).await, ["replaced"]);
    }
    cluster.close().await;
}

/// Damaged copies and fragments that a host has replaced.
pub(crate) fn healed(store: &Store) -> u64 {
    let status = store.status();
    status.daemons.iter().find(|daemon| daemon.name == "healer").map_or(0, |healer| healer.handled)
}

/// Waits until hosts that were cut off, and left alone for a while, are asked again.
pub(crate) async fn all_are_asked(cluster: &Cluster) {
    let are_asked = |store: &Store| store.status().cluster.expect("one").peers.iter().all(|peer| peer.reachable);
    eventually("all are asked again", || cluster.stores.iter().all(are_asked)).await;
}

/// Flips a bit of what a host has on its disk, where `near` stands; `false` where it stands nowhere.
pub(crate) fn flip(cluster: &Cluster, host: usize, kind: &str, near: &[u8]) -> bool {
    let volumes = cluster.directory.path().join(format!("h{host}/d0/volumes"));
    for entry in std::fs::read_dir(volumes).expect("lists") {
        let path = entry.expect("an entry").path();
        if !path.to_string_lossy().ends_with(kind) {
            continue;
        }
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opens");
        let mut bytes = vec![0; 4 << 20];
        let length = file.read(&mut bytes).expect("reads");
        let Some(place) = bytes[..length].windows(near.len()).position(|window| window == near) else { continue };
        file.seek(SeekFrom::Start(place as u64 + 50)).expect("seeks");
        file.write_all(&[near[50] ^ 1]).expect("writes");
        return true;
    }
    false
}
