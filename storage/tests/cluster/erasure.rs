//! Objects that are cut into fragments, on six hosts of which some fail.

use std::ops::Range;
use std::time::Duration;

use anello_storage::index::{DIGEST_LEAVES, ObjectState, Tree};
use anello_storage::store::{IfMissing, ObjectHead};
use anello_storage::{Content, Error, KeyHasher, ListQuery, ObjectPath, Precondition, Result, Store};
use bytes::Bytes;

use crate::network::{Cluster, pattern};
use crate::replication::{all_are_asked, eager, entries, eventually, flip, healed, idle};

/// Fragments of policy 1.
const FRAGMENTS: Tree = Tree::Objects { policy: 1 << 31 | 1 };

/// In the record; inline fragments; one stripe and a bit; many stripes.
const SIZES: [usize; 6] = [0, 4096, 262_145, 600_001, 1_200_000, 9_437_185];

fn path(name: &str) -> ObjectPath {
    ObjectPath::new("AUTH_a", "cut", name)
}

async fn put(store: &Store, name: &str, data: Bytes) -> Result<()> {
    put_if(store, name, data, &Precondition::default()).await
}

async fn put_if(store: &Store, name: &str, data: Bytes, condition: &Precondition) -> Result<()> {
    let head = ObjectHead { etag: name.into(), content_type: "text/plain".into(), ..ObjectHead::default() };
    let mut writer = store.object_write(&path(name), None).await?;
    for piece in data.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish(head, condition).await.map(drop)
}

async fn get(store: &Store, name: &str) -> Option<Vec<u8>> {
    get_range(store, name, 0..u64::MAX).await.expect("reads")
}

async fn get_range(store: &Store, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
    let Some(mut reader) = store.object_read(&path(name)).await? else { return Ok(None) };
    reader.set_range(range);
    let mut data = Vec::new();
    while let Some(bytes) = reader.next().await? {
        data.extend_from_slice(&bytes);
    }
    Ok(Some(data))
}

/// A container of six hosts whose objects are cut into four fragments and two more.
async fn cut_container(cluster: &Cluster) {
    let store = &cluster.stores[0];
    let add = |policies: &anello_storage::Policies| policies.with("cheap", "ec 4+2".parse()?);
    store.change_policies(add).await.expect("a policy");
    for store in &cluster.stores {
        eventually("everybody knows the policy", || store.policies().named("cheap").is_some()).await;
    }
    store.container_update("AUTH_a", "cut", vec![], 1, IfMissing::Create).await.expect("a container");
}

fn fragments(cluster: &Cluster) -> u64 {
    cluster.stores.iter().map(|store| entries(store, FRAGMENTS)).sum()
}

/// Fragments that are there, without tombstones.
fn live(cluster: &Cluster) -> usize {
    let of_store = |store: &Store| {
        let index = store.devices().next().expect("a device").index();
        let entries = index.digest_entries(FRAGMENTS, 0..DIGEST_LEAVES, None, usize::MAX).expect("reads");
        entries
            .into_iter()
            .filter(|entry| matches!(index.object_state(entry.key.hash), Ok(ObjectState::Live(_))))
            .count()
    };
    cluster.stores.iter().map(of_store).sum()
}

/// Reaps what waits for it, until so many fragments are left: writes may still be at work in the background.
async fn reap_until(cluster: &Cluster, left: usize) {
    for _ in 0..300 {
        for store in &cluster.stores {
            for parts in store.parts_to_delete(1000).expect("reads") {
                assert!(store.delete_fragments(&parts).await.expect("deletes"));
                store.settle_parts(parts).await.expect("settles");
            }
        }
        if live(cluster) == left {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} fragments are left, not {left}", live(cluster));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_and_range_comes_back_also_without_two_of_the_hosts() {
    let cluster = Cluster::form_with(6, idle()).await;
    cut_container(&cluster).await;
    for size in SIZES {
        put(&cluster.stores[size % 6], &size.to_string(), pattern(size)).await.expect("put");
        let info = cluster.stores[0].object(&path(&size.to_string())).await.expect("asks").expect("is there");
        assert_eq!((info.size, info.stored_size, info.content), (size as u64, size as u64, Content::Plain));
    }
    let large = SIZES.iter().filter(|size| **size > 262_144).count() as u64;
    eventually("each has six fragments", || fragments(&cluster) == large * 6).await;
    let listed = cluster.stores[1]
        .container_list("AUTH_a", "cut", &ListQuery { limit: 100, ..ListQuery::default() })
        .await
        .expect("lists");
    assert_eq!(listed.len(), SIZES.len());
    // Each host is among those that are cut off once, and a reader that knows the container's policy.
    for cut in [vec![], vec![0, 1], vec![2, 3], vec![4, 5]] {
        for store in &cluster.stores {
            assert!(get(store, "4096").await.is_some());
        }
        cut.iter().for_each(|host| cluster.cut(*host));
        let reader = (0..6).find(|host| !cut.contains(host)).expect("one is left");
        for size in SIZES {
            let (store, name, want) = (&cluster.stores[reader], size.to_string(), pattern(size));
            assert_eq!(get(store, &name).await.as_deref(), Some(&want[..]), "{size} without {cut:?}");
            for (start, length) in [
                (0, 1),
                (size / 2, 70_000),
                (size.saturating_sub(1), 10),
                (65_535, 2),
                (262_140, 9),
                (300_000, 1_400_000),
            ] {
                let range = start.min(size)..(start + length).min(size);
                let got = get_range(store, &name, range.start as u64..range.end as u64).await.expect("reads");
                assert_eq!(got.as_deref(), Some(&want[range.clone()]), "{range:?} of {size} without {cut:?}");
            }
        }
        cluster.heal();
        all_are_asked(&cluster).await;
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_missed_is_made_from_the_others() {
    let cluster = Cluster::form_with(6, eager()).await;
    cut_container(&cluster).await;
    cluster.cut(5);
    for at in 0..10 {
        let (small, large) = (300_000 + at, 1_200_000 + at);
        put(&cluster.stores[at % 5], &format!("small{at}"), pattern(small)).await.expect("a small one");
        put(&cluster.stores[at % 5], &format!("large{at}"), pattern(large)).await.expect("a large one");
    }
    assert_eq!(entries(&cluster.stores[5], FRAGMENTS), 0);
    cluster.heal();
    eventually("it has a fragment of each", || entries(&cluster.stores[5], FRAGMENTS) == 20).await;
    eventually("nobody keeps another's", || fragments(&cluster) == 120).await;
    // Without two others its fragments are needed.
    for cut in [[0, 1], [3, 4]] {
        assert!(get(&cluster.stores[5], "small0").await.is_some());
        cut.iter().for_each(|host| cluster.cut(*host));
        for at in 0..10 {
            let (small, large) = (300_000 + at, 1_200_000 + at);
            assert_eq!(get(&cluster.stores[5], &format!("small{at}")).await, Some(pattern(small).to_vec()));
            assert_eq!(get(&cluster.stores[5], &format!("large{at}")).await, Some(pattern(large).to_vec()));
        }
        cluster.heal();
        all_are_asked(&cluster).await;
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_filled_again() {
    let mut cluster = Cluster::form_with(6, eager()).await;
    cut_container(&cluster).await;
    for at in 0..10 {
        put(&cluster.stores[at % 6], &format!("o{at}"), pattern(300_000 + at)).await.expect("put");
    }
    eventually("each has six fragments", || fragments(&cluster) == 60).await;
    cluster.replace_disk(2).await;
    eventually("the new disk has its fragments", || entries(&cluster.stores[2], FRAGMENTS) == 10).await;
    for at in 0..10 {
        let name = format!("o{at}");
        assert_eq!(get(&cluster.stores[2], &name).await, Some(pattern(300_000 + at).to_vec()), "{name}");
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_holds_up_nothing_else() {
    let mut cluster = Cluster::form_with(6, eager()).await;
    cut_container(&cluster).await;
    let lost = ["lost0", "lost1", "lost2"];
    for (at, name) in lost.into_iter().enumerate() {
        put(&cluster.stores[0], name, vec![0xA0 + at as u8; 300_000].into()).await.expect("put");
    }
    for at in 0..40 {
        put(&cluster.stores[at % 6], &format!("o{at}"), pattern(300_000 + at)).await.expect("put");
    }
    eventually("each has six fragments", || fragments(&cluster) == 43 * 6).await;
    for at in 0..lost.len() {
        let damaged = (0..6).filter(|host| flip(&cluster, *host, ".log.vol", &[0xA0 + at as u8; 1000])).count();
        assert!(damaged >= 3, "two can be done without, {damaged} are damaged");
    }
    cluster.replace_disk(2).await;
    eventually("the new disk has the others' fragments", || entries(&cluster.stores[2], FRAGMENTS) >= 40).await;
    for at in 0..40 {
        let name = format!("o{at}");
        assert_eq!(get(&cluster.stores[2], &name).await, Some(pattern(300_000 + at).to_vec()), "{name}");
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_fragment_is_made_anew() {
    let cluster = Cluster::form_with(6, idle()).await;
    cut_container(&cluster).await;
    put(&cluster.stores[0], "o", pattern(1_200_000)).await.expect("put");
    eventually("it has six fragments", || fragments(&cluster) == 6).await;
    // What is computed is nowhere as it was written.
    let is_flipped = |host: &usize| flip(&cluster, *host, ".data.vol", &pattern(5000)[1000..1100]);
    let damaged: Vec<usize> = (0..6).filter(is_flipped).take(1).collect();
    let (host, store) = (damaged[0], &cluster.stores[damaged[0]]);
    assert_eq!(get(store, "o").await, Some(pattern(1_200_000).to_vec()));
    eventually("it was healed", || healed(store) == 1).await;
    let before = store.status().devices[0].corrupt_reads;
    // Without two others the healed one is needed.
    (0..6).filter(|other| *other != host).take(2).for_each(|other| cluster.cut(other));
    assert_eq!(get(store, "o").await, Some(pattern(1_200_000).to_vec()));
    assert_eq!(store.status().devices[0].corrupt_reads, before);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_left_behind_holds_nothing_up() {
    let mut cluster = Cluster::form_with(6, eager()).await;
    cut_container(&cluster).await;
    // The three hosts that a writer can do without until it comes to the fragments.
    let container = KeyHasher::new(b"secret").container("AUTH_a", "cut");
    let has_container = |host: &usize| {
        let index = cluster.stores[*host].devices().next().expect("a device").index();
        index.container(container).expect("reads").is_some()
    };
    eventually("the container is on three hosts", || (0..6).filter(has_container).count() == 3).await;
    let writer_host = (0..6).find(has_container).expect("one of them");
    (0..6).filter(|host| !has_container(host)).for_each(|host| cluster.pause(host));
    for at in 0..5 {
        let name = format!("o{at}");
        let writer = put(&cluster.stores[writer_host], &name, pattern(300_000));
        let died = tokio::time::timeout(Duration::from_millis(500), writer).await;
        assert!(died.is_err(), "{died:?}");
    }
    cluster.heal();
    assert!((1..=15).contains(&live(&cluster)), "too few fragments to read anything: {}", live(&cluster));
    cluster.join().await;
    let is_settled = |store: &Store| store.status().cluster.is_some_and(|status| status.is_settled);
    eventually("the new host is one of them", || cluster.stores.iter().all(is_settled)).await;
    assert_eq!(get(&cluster.stores[0], "o0").await, None);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replaced_refused_or_deleted_leaves_no_fragments() {
    let cluster = Cluster::form_with(6, idle()).await;
    cut_container(&cluster).await;
    put(&cluster.stores[0], "o", pattern(1_700_000)).await.expect("put");
    put(&cluster.stores[1], "o", pattern(1_700_001)).await.expect("replaces");
    let refused = put_if(&cluster.stores[2], "o", pattern(1_700_002), &Precondition::absent()).await;
    assert!(matches!(refused, Err(Error::Precondition)), "{refused:?}");
    drop(cluster.stores[3].object_write(&path("given-up"), None).await.expect("begins"));
    eventually("six of three objects came", || fragments(&cluster) == 18).await;
    reap_until(&cluster, 6).await;
    assert_eq!(get(&cluster.stores[4], "o").await, Some(pattern(1_700_001).to_vec()));
    cluster.stores[5].object_delete(&path("o"), &Precondition::default()).await.expect("deletes");
    reap_until(&cluster, 0).await;
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_come_and_go_and_every_fragment_moves_with_them() {
    let mut cluster = Cluster::form_with(6, eager()).await;
    cut_container(&cluster).await;
    let too_few = cluster.stores[0].drain_host("h5").await;
    assert!(matches!(too_few, Err(Error::Policy(_))), "six fragments need six devices: {too_few:?}");
    for at in 0..12 {
        put(&cluster.stores[at % 6], &format!("o{at}"), pattern(300_000 + at * 200_000)).await.expect("put");
    }
    cluster.join().await;
    let is_settled = |store: &Store, hosts: usize| {
        let status = store.status().cluster.expect("one of several");
        status.is_settled && status.hosts.len() == hosts
    };
    eventually("the new host is one of them", || cluster.stores.iter().all(|store| is_settled(store, 7))).await;
    cluster.stores[1].drain_host("h0").await.expect("drains");
    let kept = |store: &Store| {
        let status = store.status().cluster.expect("one of several");
        status.hosts.iter().find(|host| host.name == "h0").map(|host| (status.is_settled, host.replicas))
    };
    eventually("the host keeps nothing", || kept(&cluster.stores[1]) == Some((true, 0))).await;
    eventually("its fragments are elsewhere", || entries(&cluster.stores[0], FRAGMENTS) == 0).await;
    eventually("each has six fragments", || fragments(&cluster) == 72).await;
    for reader in [1, 6] {
        for at in 0..12 {
            let want = pattern(300_000 + at * 200_000);
            assert_eq!(get(&cluster.stores[reader], &format!("o{at}")).await, Some(want.to_vec()), "o{at}");
        }
    }
    // Were any fragment there twice and another not at all, two hosts less would show it.
    for cut in [[1, 2], [3, 4], [5, 6]] {
        let reader = (1..7).find(|host| !cut.contains(host)).expect("one is left");
        cut.iter().for_each(|host| cluster.cut(*host));
        for at in 0..12 {
            let want = pattern(300_000 + at * 200_000);
            assert_eq!(get(&cluster.stores[reader], &format!("o{at}")).await, Some(want.to_vec()), "o{at}, {cut:?}");
        }
        cluster.heal();
        all_are_asked(&cluster).await;
    }
    cluster.close().await;
}
