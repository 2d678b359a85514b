//! Hosts come and go while clients read and write through all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anello_base::Class;
use anello_storage::cluster::HostState;
use anello_storage::index::Tree;
use anello_storage::{Error, Precondition, Store};
use bytes::Bytes;
use futures::future::join_all;

use crate::network::{Cluster, all, finish, get, list, path, pattern, put};
use crate::replication::{OBJECTS, eager, entries, eventually, stuck};

/// Names and what each is to contain.
type Written = Vec<(String, Option<Bytes>)>;

/// Clients that write and read back, each its own names, until told to stop. What is read must be what was written
/// last.
struct Clients {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Written>>,
    operations: Arc<AtomicUsize>,
}

impl Clients {
    fn start(stores: &[Store]) -> Self {
        let (stop, operations) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |(number, store): (usize, &Store)| {
            let (stop, operations, store) = (stop.clone(), operations.clone(), store.clone());
            tokio::spawn(async move { work(number, &store, &stop, &operations).await })
        };
        let tasks = stores.iter().enumerate().map(client).collect();
        Self { stop, tasks, operations }
    }

    /// What they wrote, and how many operations that took.
    async fn end(self) -> (Written, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let written = join_all(self.tasks).await.into_iter().flat_map(|task| task.expect("no client failed"));
        (written.collect(), self.operations.load(Ordering::Relaxed))
    }
}

async fn work(number: usize, store: &Store, stop: &AtomicBool, operations: &AtomicUsize) -> Written {
    let mut written = Written::new();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("client{number}-{:02}", round % 40);
        let size = if round % 20 == 7 { 300_000 } else { 500 };
        let data = Bytes::from([format!("{number} {round} ").as_bytes(), &pattern(size)[..]].concat());
        let place = written.iter().position(|(known, _)| *known == name);
        let now = match round % 7 {
            // Whether it is there is known: nobody else writes this name.
            5 => {
                let absent = place.is_none_or(|place| written[place].1.is_none());
                let made = put(store, &name, data.clone(), &Precondition::absent()).await;
                match (absent, made) {
                    (true, Ok(())) => Some(data),
                    (false, Err(Error::Precondition)) => written[place.expect("is there")].1.clone(),
                    (absent, made) => panic!("{name}, absent: {absent}: {made:?}"),
                }
            }
            6 => {
                store.object_delete(&path(&name), &Precondition::default()).await.expect("deletes");
                None
            }
            _ => {
                put(store, &name, data.clone(), &Precondition::default()).await.expect("puts");
                Some(data)
            }
        };
        assert_eq!(get(store, &name).await.map(Bytes::from), now, "{name} in round {round}");
        match place {
            Some(place) => written[place].1 = now,
            None => written.push((name, now)),
        }
        operations.fetch_add(2, Ordering::Relaxed);
        round += 1;
    }
    written
}

/// Whether every host goes by the same map, and nothing is to change by itself.
pub(crate) fn is_calm(stores: &[Store], hosts: usize) -> bool {
    let statuses: Vec<_> = stores.iter().map(|store| store.status().cluster.expect("a cluster")).collect();
    statuses.iter().all(|status| {
        status.change.is_none() && status.epoch == statuses[0].epoch && status.hosts.len() == hosts && status.is_settled
    })
}

/// That each object, its row, its container and the account has three replicas, and no more.
async fn has_three_of_each(stores: &[Store]) {
    let names = list(&stores[0], all()).await.len() as u64;
    let is_so = || {
        let total = |tree| stores.iter().map(|store| entries(store, tree)).sum::<u64>();
        total(OBJECTS) >= 3 * names && total(OBJECTS) % 3 == 0 && total(Tree::Accounts) % 3 == 0
    };
    eventually("there are three replicas of everything", is_so).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_come_and_go_and_no_client_notices() {
    let mut cluster = Cluster::form_with(3, eager()).await;
    for at in 0..40 {
        let size = if at % 8 == 0 { 300_000 } else { 100 + at };
        put(&cluster.stores[at % 3], &format!("o{at:02}"), pattern(size), &Precondition::default()).await.expect("put");
    }
    let clients = Clients::start(&cluster.stores);
    for hosts in [4, 5] {
        cluster.join().await;
        eventually("the newcomer is in", || is_calm(&cluster.stores, hosts)).await;
    }
    let writers: BTreeSet<u16> = cluster.stores.iter().map(|store| store.clock().tick().writer()).collect();
    assert!(writers.len() == 5 && !writers.contains(&0), "two hosts make the same timestamps: {writers:?}");
    let joined = cluster.stores[0].status().cluster.expect("a cluster");
    let shares: Vec<usize> = joined.hosts.iter().map(|host| host.replicas).collect();
    let mean = shares.iter().sum::<usize>() / 5;
    assert!(shares.iter().all(|share| share.abs_diff(mean) * 10 < mean), "{shares:?}");

    let early = cluster.stores[4].remove_host("h1", false).await;
    assert!(matches!(early, Err(Error::Membership(_))), "{early:?}");
    cluster.stores[2].drain_host("h1").await.expect("drains");
    let keeps = |store: &Store| {
        let status = store.status().cluster.expect("a cluster");
        status.hosts.iter().find(|host| host.name == "h1").map(|host| (host.state, host.replicas))
    };
    eventually("it is empty", || {
        is_calm(&cluster.stores, 5) && keeps(&cluster.stores[0]) == Some((HostState::Draining, 0))
    })
    .await;
    eventually("it has nothing", || entries(&cluster.stores[1], OBJECTS) == 0).await;
    cluster.stores[0].remove_host("h1", false).await.expect("removes");
    eventually("it is gone", || is_calm(&cluster.stores, 4)).await;

    let (written, operations) = clients.end().await;
    assert!(operations > 200, "only {operations}");
    has_three_of_each(&cluster.stores).await;
    for store in &cluster.stores {
        for (name, data) in &written {
            assert_eq!(get(store, name).await.map(Bytes::from), *data, "{name}");
        }
        for at in 0..40 {
            let size = if at % 8 == 0 { 300_000 } else { 100 + at };
            assert_eq!(get(store, &format!("o{at:02}")).await, Some(pattern(size).to_vec()));
        }
        let present = written.iter().filter(|(_, data)| data.is_some()).count();
        assert_eq!(list(store, all()).await.len(), 40 + present);
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_host_had_is_made_again_from_the_others() {
    let cluster = Cluster::form_with(5, eager()).await;
    let stores = &cluster.stores;
    for at in 0..60 {
        let size = if at % 10 == 0 { 300_000 } else { 100 + at };
        put(&stores[at % 5], &format!("o{at:02}"), pattern(size), &Precondition::default()).await.expect("put");
    }
    cluster.cut(3);
    stores[0].remove_host("h3", true).await.expect("removes");
    let left: Vec<Store> = [0, 1, 2, 4].map(|host| stores[host].clone()).into();
    eventually("it is gone", || is_calm(&left, 4)).await;
    let total = |tree| left.iter().map(|store| entries(store, tree)).sum::<u64>();
    eventually("there are three replicas again", || total(OBJECTS) == 3 * 61).await;
    for store in &left {
        assert_eq!(list(store, all()).await.len(), 60);
        for at in 0..60 {
            let size = if at % 10 == 0 { 300_000 } else { 100 + at };
            assert_eq!(get(store, &format!("o{at:02}")).await, Some(pattern(size).to_vec()));
        }
    }
    // It knows nothing of it, and is not let in again with what it had.
    cluster.heal();
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    let written = put(&stores[3], "late", pattern(10), &Precondition::default()).await;
    assert!(written.is_ok() || written.is_err_and(|error| error.class() == Class::Busy));
    assert_eq!(left[0].status().cluster.expect("a cluster").hosts.len(), 4);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_replaced_is_filled_again() {
    let mut cluster = Cluster::form_with(3, eager()).await;
    for at in 0..40 {
        let size = if at % 10 == 0 { 300_000 } else { 100 + at };
        put(&cluster.stores[at % 3], &format!("o{at:02}"), pattern(size), &Precondition::default()).await.expect("put");
    }
    let before = cluster.stores[0].status().cluster.expect("a cluster").epoch;
    cluster.replace_disk(1).await;
    let stores = &cluster.stores;
    let is_so = || {
        let changed = stores[0].status().cluster.is_some_and(|cluster| cluster.epoch > before);
        changed && is_calm(stores, 3) && entries(&stores[1], OBJECTS) == entries(&stores[0], OBJECTS)
    };
    eventually("the new disk has everything", is_so).await;
    for at in 0..40 {
        let size = if at % 10 == 0 { 300_000 } else { 100 + at };
        assert_eq!(get(&stores[1], &format!("o{at:02}")).await, Some(pattern(size).to_vec()));
    }
    cluster.close().await;
}

/// What a majority by the rings in force alone had would be gone with them.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_a_condition_stands_by_the_next_rings_too() {
    const NAMES: usize = 20;
    let mut cluster = Cluster::form_with(3, stuck()).await;
    // The replicators are busy with these.
    for name in 0..NAMES {
        put(&cluster.stores[0], &format!("old{name}"), pattern(500), &Precondition::default()).await.expect("puts");
    }
    // Something under way by the old map holds the change up.
    let _writer = cluster.stores[0].object_write(&path("long"), None).await.expect("begins");
    cluster.join().await;
    let is_announced = |store: &Store| store.status().cluster.is_some_and(|cluster| cluster.change.is_some());
    eventually("the change is announced", || cluster.stores.iter().all(is_announced)).await;
    let [cut, stays] = [1, 2];
    let names: Vec<String> = (0..NAMES).map(|name| format!("o{name}")).collect();
    let mut writers = Vec::new();
    for name in &names {
        writers.push(cluster.stores[stays].object_write(&path(name), None).await.expect("begins"));
    }
    cluster.cut(cut);
    cluster.cut(3);
    let mut failed = Vec::new();
    for (name, writer) in names.iter().zip(writers) {
        match finish(writer, pattern(100)).await {
            Ok(()) => {}
            Err(error) if error.class() == Class::Busy => failed.push(name),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert!(!failed.is_empty(), "nothing moves from where it would be");
    cluster.heal();
    let had = || entries(&cluster.stores[cut], OBJECTS) + entries(&cluster.stores[3], OBJECTS);
    let before = had();
    for name in &failed {
        loop {
            match put(&cluster.stores[stays], name, pattern(100), &Precondition::absent()).await {
                Err(Error::Precondition) => break,
                Err(error) if error.class() == Class::Busy => {}
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    assert!(had() > before, "nothing was brought");
    cluster.close().await;
}
