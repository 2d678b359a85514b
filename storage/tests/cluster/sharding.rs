//! Containers that grow beyond what one list may have are split into shards and joined again, and nobody who writes or
//! lists notices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anello_storage::store::{DaemonOptions, IfMissing, ObjectUpdate, ShardingOptions};
use anello_storage::{Error, ListQuery, Listed, ObjectEntry, Precondition, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

use crate::network::{Cluster, all, get, list, path, pattern, put};
use crate::replication::eager;

const ROWS_MAX: u64 = 40;

/// Names that stand from before the first split to the end.
const STABLE: usize = 60;

fn splitting() -> DaemonOptions {
    let sharding = ShardingOptions {
        rows_max: ROWS_MAX,
        interval: Duration::from_millis(50),
        rows_per_second: 1_000_000,
        grace: Duration::from_millis(500),
    };
    DaemonOptions { sharding, ..eager() }
}

fn stable(at: usize) -> String {
    // Several levels, so that delimiters roll up what lies in different shards.
    format!("s{}/{:02}/x{at:02}", at % 3, at)
}

/// Writers and listers that go on until they are told to end.
struct Clients {
    over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<BTreeMap<String, Option<bool>>>>,
    listers: Vec<JoinHandle<()>>,
    listings: Arc<AtomicUsize>,
}

impl Clients {
    /// Whether each name is there is told at the end, as far as the answers said so; `may_fail` where hosts fail.
    fn start(stores: &[Store], known: &BTreeMap<String, Option<bool>>, may_fail: bool) -> Self {
        let (over, listings) = (Arc::new(AtomicBool::default()), Arc::new(AtomicUsize::default()));
        let writer = |number: usize| {
            let (stores, known, over) = (stores.to_vec(), known.clone(), Arc::clone(&over));
            tokio::spawn(async move { write(&stores, number, known, may_fail, &over).await })
        };
        let lister = |number: usize| {
            let (store, over, listings) =
                (stores[number % stores.len()].clone(), Arc::clone(&over), Arc::clone(&listings));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    check_listing(&store, may_fail).await;
                    listings.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        Self { writers: (0..4).map(writer).collect(), listers: (0..3).map(lister).collect(), over, listings }
    }

    async fn end(self) -> (BTreeMap<String, Option<bool>>, usize) {
        self.over.store(true, Ordering::Relaxed);
        let mut names = BTreeMap::new();
        for writer in self.writers {
            names.extend(writer.await.expect("no panic"));
        }
        for lister in self.listers {
            lister.await.expect("no panic");
        }
        (names, self.listings.load(Ordering::Relaxed))
    }
}

/// Puts, deletes and changes names of its own through all hosts.
async fn write(
    stores: &[Store],
    number: usize,
    mut names: BTreeMap<String, Option<bool>>,
    may_fail: bool,
    over: &AtomicBool,
) -> BTreeMap<String, Option<bool>> {
    names.retain(|name, _| name.starts_with(&format!("s{number}/")));
    let mut random = StdRng::seed_from_u64(number as u64);
    while !over.load(Ordering::Relaxed) {
        let (store, name) =
            (&stores[random.random_range(0..stores.len())], format!("s{number}/w{:02}", random.random_range(0..50)));
        let is_there = names.get(&name).copied().unwrap_or(Some(false));
        let (done, after) = match random.random_range(0..10) {
            0..6 => (put(store, &name, pattern(50), &Precondition::default()).await, true),
            6..8 => (store.object_delete(&path(&name), &Precondition::default()).await.map(drop), false),
            _ if is_there == Some(true) => {
                let update = || ObjectUpdate { content_type: Some("text/html".into()), ..ObjectUpdate::default() };
                (store.object_update(&path(&name), |_| Ok(update())).await.map(drop), true)
            }
            _ => continue,
        };
        match done {
            // One that was answered with an error may have come to the row alone, until the name is written again.
            Ok(()) if is_there.is_none() && !after => None,
            Ok(()) => names.insert(name, Some(after)),
            Err(error) if may_fail && error.class() == anello_base::Class::Busy => names.insert(name, None),
            Err(error) => panic!("{name}: {error}"),
        };
    }
    names
}

/// What stands is in every listing, once and in order.
async fn check_listing(store: &Store, may_fail: bool) {
    let query = ListQuery { prefix: "s1/".into(), ..all() };
    let listed = match store.container_list("AUTH_a", "c", &query).await {
        Ok(listed) => listed,
        Err(error) if may_fail && error.class() == anello_base::Class::Busy => return,
        Err(error) => panic!("{error}"),
    };
    let names: Vec<String> = listed.into_iter().map(key).collect();
    assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");
    for name in (0..STABLE).map(stable).filter(|name| name.starts_with("s1/")) {
        assert!(names.binary_search(&name).is_ok(), "{name} is not in {} names", names.len());
    }
}

fn key(row: Listed<ObjectEntry>) -> String {
    match row {
        Listed::Entry(ObjectEntry { name, .. }) | Listed::Prefix(name) => name,
    }
}

async fn shards(store: &Store) -> Vec<String> {
    let query = ListQuery { prefix: "c/".into(), ..all() };
    let listed = store.account_list(".shards/AUTH_a", &query).await.expect("lists");
    let name = |row| match row {
        Listed::Entry(anello_storage::ContainerEntry { name, .. }) | Listed::Prefix(name) => name,
    };
    listed.into_iter().map(name).collect()
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it is not so after a minute: {what}");
}

/// Every kind of listing is what the names say.
async fn listings_agree(store: &Store, names: &[String]) {
    let markers = [None, Some("s1/".to_owned()), Some("s1/2".to_owned()), Some(names[names.len() / 2].clone())];
    for reverse in [false, true] {
        for marker in &markers {
            for (prefix, delimiter) in [("", None), ("", Some("/")), ("s1/", Some("/")), ("s2/", None)] {
                for limit in [3, 10_000] {
                    let query = ListQuery {
                        prefix: prefix.into(),
                        delimiter: delimiter.map(str::to_owned),
                        marker: marker.clone(),
                        reverse,
                        limit,
                        ..ListQuery::default()
                    };
                    let (listed, expected) = (list(store, query.clone()).await, expected(names, &query));
                    let only = |these: &[String], those: &[String]| {
                        these.iter().filter(|name| !those.contains(name)).cloned().collect::<Vec<_>>()
                    };
                    let (more, less) = (only(&listed, &expected), only(&expected, &listed));
                    assert!(listed == expected, "{query:?}: {more:?} too many, {less:?} missing");
                }
            }
        }
    }
}

/// The listing of these names, by the words of [`ListQuery`].
fn expected(names: &[String], query: &ListQuery) -> Vec<String> {
    let rolled = |name: &String| match &query.delimiter {
        Some(delimiter) => match name[query.prefix.len()..].find(delimiter.as_str()) {
            Some(at) => name[..query.prefix.len() + at + delimiter.len()].to_owned(),
            None => name.clone(),
        },
        None => name.clone(),
    };
    let is_in = |name: &&String| {
        name.starts_with(&query.prefix)
            && query.marker.as_ref().is_none_or(|marker| if query.reverse { *name < marker } else { *name > marker })
    };
    let mut listed: Vec<String> = names.iter().filter(is_in).map(rolled).collect();
    listed.retain(|name| query.reverse || Some(name) != query.marker.as_ref());
    listed.dedup();
    if query.reverse {
        listed.reverse();
    }
    listed.truncate(query.limit);
    listed
}

async fn fill(cluster: &Cluster) {
    for at in 0..STABLE {
        put(&cluster.stores[at % 3], &stable(at), pattern(100), &Precondition::default()).await.expect("put");
    }
}

/// All that is known of the names holds through every host.
async fn all_agree(cluster: &Cluster, written: &BTreeMap<String, Option<bool>>) {
    let mut names: Vec<String> = (0..STABLE).map(stable).collect();
    for (name, is_there) in written {
        let found = get(&cluster.stores[0], name).await.is_some();
        assert_eq!(found, is_there.unwrap_or(found), "{name}");
        names.extend(found.then(|| name.clone()));
    }
    names.sort_unstable();
    if written.values().all(Option::is_some) {
        for store in &cluster.stores {
            listings_agree(store, &names).await;
        }
        let store = &cluster.stores[0];
        eventually("the counts are right", || async {
            let container = store.container("AUTH_a", "c").await.expect("reads").expect("is there");
            let account = store.account("AUTH_a").await.expect("reads").expect("is there");
            container.object_count == names.len() as u64 && account.object_count == names.len() as u64
        })
        .await;
    } else {
        let listed = list(&cluster.stores[1], all()).await;
        let is_known = |name: &&String| written.get(*name).copied().unwrap_or(Some(true)).is_some();
        let of = |names: &[String]| names.iter().filter(is_known).cloned().collect::<BTreeSet<String>>();
        let (listed, names) = (of(&listed), of(&names));
        let differing: Vec<&String> = listed.symmetric_difference(&names).collect();
        assert!(differing.is_empty(), "{differing:?} of {listed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_split_and_joined_while_clients_write_and_list() {
    let cluster = Cluster::form_with(3, splitting()).await;
    let store = cluster.stores[0].clone();
    fill(&cluster).await;
    let clients = Clients::start(&cluster.stores, &BTreeMap::new(), false);
    eventually("there are shards", || async { shards(&store).await.len() > 3 }).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (written, listings) = clients.end().await;
    assert!(written.len() > 100 && listings > 10, "{} names, {listings} listings", written.len());
    all_agree(&cluster, &written).await;
    let metadata = store.container("AUTH_a", "c").await.expect("reads").expect("is there").metadata;
    assert_eq!(metadata, [], "the engine's own items are seen");

    assert!(matches!(store.container_delete("AUTH_a", "c").await, Err(Error::NotEmpty)));
    put(&store, "after a deletion that was refused", pattern(1), &Precondition::default()).await.expect("put");
    for name in list(&store, all()).await {
        store.object_delete(&path(&name), &Precondition::default()).await.expect("deletes");
    }
    eventually("the shards are joined", || async { shards(&store).await.len() == 1 }).await;
    eventually("it is deleted", || async {
        match store.container_delete("AUTH_a", "c").await {
            Ok(()) => true,
            // The sharder was at it.
            Err(Error::Precondition | Error::Contended) => false,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    assert_eq!(shards(&store).await, [""; 0]);
    store.container_update("AUTH_a", "c", vec![], 0, IfMissing::Create).await.expect("made anew");
    put(&cluster.stores[1], "new", pattern(1), &Precondition::default()).await.expect("put");
    assert_eq!(list(&cluster.stores[2], all()).await, ["new"]);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_split_while_hosts_come_and_go() {
    let mut cluster = Cluster::form_with(3, splitting()).await;
    fill(&cluster).await;
    let mut known = BTreeMap::new();
    for round in 0..4 {
        let clients = Clients::start(&cluster.stores, &known, true);
        for host in 0..3 {
            cluster.cut(host);
            tokio::time::sleep(Duration::from_millis(400)).await;
            cluster.heal();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let (written, _) = clients.end().await;
        known = written;
        cluster.restart(round % 3).await;
        all_agree(&cluster, &known).await;
    }
    let store = cluster.stores[0].clone();
    eventually("there are shards", || async { shards(&store).await.len() > 1 }).await;
    cluster.close().await;
}
