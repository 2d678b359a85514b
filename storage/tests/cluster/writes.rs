//! Writes and reads through any host, with hosts cut off.

use std::time::Duration;

use anello_base::Class;
use anello_storage::store::{IfMissing, ObjectHead, ObjectUpdate};
use anello_storage::{Error, Etags, KeyHasher, ListQuery, ObjectPath, Precondition};
use bytes::Bytes;
use futures::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::network::{Cluster, Weather, all, get, list, name, path, pattern, put};
use crate::replication::{all_are_asked, idle};

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_through_one_host_comes_out_through_every_other() {
    let cluster = Cluster::form(5).await;
    let sizes = [0, 1, 4096, 262_144, 262_145, 3_000_000];
    for (at, size) in sizes.iter().enumerate() {
        let store = &cluster.stores[at % 5];
        put(store, &format!("o{at}"), pattern(*size), &Precondition::default()).await.expect("put");
        for other in &cluster.stores {
            assert_eq!(get(other, &format!("o{at}")).await, Some(pattern(*size).to_vec()), "{size} bytes");
            assert_eq!(list(other, all()).await.len(), at + 1);
        }
    }
    let deleted = cluster.stores[3].object_delete(&path("o5"), &Precondition::default()).await.expect("deletes");
    assert_eq!(deleted.map(|info| info.size), Some(3_000_000));
    for store in &cluster.stores {
        assert_eq!(get(store, "o5").await, None);
        assert_eq!(list(store, all()).await, ["o0", "o1", "o2", "o3", "o4"]);
        assert!(matches!(store.container_delete("AUTH_a", "c").await, Err(Error::NotEmpty)));
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_host_cut_off_everything_goes_on_and_what_it_missed_does_not_come_back() {
    let cluster = Cluster::form(3).await;
    for at in 0..20 {
        put(&cluster.stores[0], &format!("old{at:02}"), pattern(at), &Precondition::default()).await.expect("put");
    }
    cluster.cut(2);
    for at in 0..20 {
        put(&cluster.stores[at % 2], &format!("new{at:02}"), pattern(300_000 + at), &Precondition::default())
            .await
            .expect("put");
        put(&cluster.stores[at % 2], &format!("old{at:02}"), pattern(500 + at), &Precondition::default())
            .await
            .expect("put");
    }
    for at in 0..10 {
        let store = &cluster.stores[at % 2];
        store.object_delete(&path(&format!("old{at:02}")), &Precondition::default()).await.expect("deletes");
    }
    // Whoever is cut off knows that it doesn't know.
    assert!(cluster.stores[2].object(&path("new00")).await.is_err());
    cluster.heal();
    // Hosts that were left alone for a while are asked again.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let expected: Vec<String> =
        (0..20).map(|at| format!("new{at:02}")).chain((10..20).map(|at| format!("old{at:02}"))).collect();
    for store in cluster.stores.iter().rev() {
        assert_eq!(list(store, all()).await, expected);
        for at in 0..20 {
            let old = (at >= 10).then(|| pattern(500 + at).to_vec());
            assert_eq!(get(store, &format!("old{at:02}")).await, old, "old{at}");
            assert_eq!(get(store, &format!("new{at:02}")).await, Some(pattern(300_000 + at).to_vec()), "new{at}");
        }
        let query = ListQuery { delimiter: Some("d".into()), reverse: true, ..all() };
        assert_eq!(list(store, query).await.first().map(String::as_str), Some("old"));
        for limit in [1, 7, 10] {
            let page = list(store, ListQuery { limit, marker: Some("new18".into()), ..all() }).await;
            assert_eq!(page, expected[19..].iter().take(limit).cloned().collect::<Vec<_>>());
        }
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_the_same_name_through_different_hosts_one_succeeds() {
    let cluster = Cluster::form(3).await;
    let mut won = 0;
    for round in 0..40 {
        let name = format!("o{round}");
        if round == 20 {
            cluster.cut(1);
        }
        let attempts = cluster.stores.iter().enumerate().flat_map(|(host, store)| {
            let name = &name;
            (0..2).map(move |twin| async move {
                let data = Bytes::from(format!("{host}.{twin}"));
                (data.clone(), put(store, name, data, &Precondition::absent()).await)
            })
        });
        let outcomes = join_all(attempts).await;
        let winners: Vec<&Bytes> = outcomes.iter().filter(|(_, made)| made.is_ok()).map(|(data, _)| data).collect();
        assert!(winners.len() <= 1, "{winners:?} all succeeded");
        won += winners.len();
        let found = get(&cluster.stores[0], &name).await;
        let unknown = outcomes.iter().filter(|(_, made)| made.as_ref().is_err_and(|e| e.class() == Class::Busy));
        let possible: Vec<&[u8]> = match winners.first() {
            Some(winner) => vec![&winner[..]],
            None => unknown.map(|(data, _)| &data[..]).collect(),
        };
        assert!(found.is_none() == possible.is_empty() || winners.is_empty(), "{outcomes:?}");
        assert!(found.is_none_or(|found| possible.contains(&&found[..])), "{outcomes:?}");
    }
    assert!(won >= 20, "only {won} of 40 were created");
    cluster.close().await;
}

/// Whoever reads from another host's disk may find the version gone that he was told of. That is not the same as an
/// object that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_before_its_data_are_read_is_not_missing() {
    let cluster = Cluster::form(4).await;
    put(&cluster.stores[0], "o", pattern(10), &Precondition::default()).await.expect("put");
    let mut replaced = 0;
    // Now and then the last replica still has what was replaced.
    for store in cluster.stores.iter().cycle().take(40) {
        let mut reader = store.object_read(&path("o")).await.expect("opens").expect("is there");
        put(&cluster.stores[0], "o", pattern(20), &Precondition::default()).await.expect("put");
        match reader.next().await {
            Ok(data) => assert_eq!(data.map(|data| data.len() as u64), Some(reader.info().size)),
            Err(error) => {
                assert_eq!(error.class(), Class::Busy, "{error}");
                replaced += 1;
            }
        }
    }
    assert!(replaced > 0, "each had it on its own disk");
    cluster.close().await;
}

/// Clocks that are ahead of time count instead of going, so that two hosts come to the same number. A plain write must
/// not pass for the conditional one that this number was promised to.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_write_and_a_deletion_at_the_same_time_are_told_apart() {
    let cluster = Cluster::form(3).await;
    let stores = &cluster.stores;
    stores[0].clock().observe(stores[0].clock().wall().plus(Duration::from_secs(20)));
    for round in 0..60 {
        let name = format!("o{round}");
        put(&stores[0], &name, pattern(1), &Precondition::default()).await.expect("put");
        let now = stores[0].clock().tick();
        stores.iter().for_each(|store| store.clock().observe(now));
        let of_what_stood = Precondition { if_match: Some(Etags::List(vec!["e".into()])), ..Precondition::default() };
        let (new, path) = (ObjectHead { etag: "new".into(), ..ObjectHead::default() }, path(&name));
        let always = Precondition::default();
        let (written, deleted) = tokio::join!(
            stores[1].object_put(&path, pattern(2), new, &always),
            stores[2].object_delete(&path, &of_what_stood),
        );
        if written.is_ok() {
            assert_eq!(get(&stores[0], &name).await, Some(pattern(2).to_vec()), "round {round}: {deleted:?}");
        }
    }
    cluster.close().await;
}

/// Of two that write the same large object the earlier may find the later everywhere, and begins again. Its data must
/// still be there then, or the write fails: what stands is neither damaged nor deleted.
#[tokio::test(flavor = "multi_thread")]
async fn large_objects_that_race_stay_whole() {
    let cluster = Cluster::form(4).await;
    let mut written = 0;
    for round in 0..12 {
        let random = StdRng::seed_from_u64(round);
        *cluster.network.weather.lock().expect("lock") = Some(Weather { random, lost: 0, late: 70 });
        let puts = (0..12).map(|at| {
            let (store, data) = (&cluster.stores[at % 4], pattern(300_000 + at));
            async move { put(store, "o", data, &Precondition::default()).await }
        });
        for made in join_all(puts).await {
            match made {
                Ok(()) => written += 1,
                Err(error) => assert_eq!(error.class(), Class::Busy, "{error}"),
            }
        }
        cluster.heal();
        for store in &cluster.stores {
            let data = get(store, "o").await.expect("something stands");
            assert_eq!(data, pattern(data.len()), "round {round}");
        }
    }
    assert!(written > 36, "only {written} of 144 were written");
    cluster.close().await;
}

/// A host that comes back waits until it is as late as it may have promised: else it would push every clock ahead.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_comes_back_does_not_push_clocks_ahead() {
    let mut cluster = Cluster::form(3).await;
    put(&cluster.stores[0], "o", pattern(1), &Precondition::absent()).await.expect("put");
    for host in 0..3 {
        cluster.restart(host).await;
        let store = &cluster.stores[host];
        let floor = store.devices().next().expect("a device").promise_floor().expect("reads");
        assert!(floor <= store.clock().wall(), "host {host}");
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_of_metadata_is_lost_between_hosts() {
    let cluster = Cluster::form(3).await;
    put(&cluster.stores[0], "counter", Bytes::new(), &Precondition::default()).await.expect("put");
    let count =
        |items: &[(String, String)]| items.first().map_or(0, |(_, value)| value.parse::<u32>().expect("number"));
    let writers = cluster.stores.iter().map(|store| async move {
        let mut done = 0;
        for _ in 0..25 {
            let add = |info: &anello_storage::ObjectInfo| {
                let metadata = vec![("x-object-meta-count".to_owned(), (count(&info.metadata) + 1).to_string())];
                Ok(ObjectUpdate { metadata, ..ObjectUpdate::default() })
            };
            match store.object_update(&path("counter"), add).await {
                Ok(_) => done += 1,
                // It may have happened, or not.
                Err(error) => assert_eq!(error.class(), Class::Busy, "{error}"),
            }
        }
        done
    });
    let done: u32 = join_all(writers).await.into_iter().sum();
    let info = cluster.stores[1].object(&path("counter")).await.expect("asks").expect("is there");
    let found = count(&info.metadata);
    assert!((done..=75).contains(&found), "{done} were acknowledged, {found} happened");
    assert!(done >= 25, "only {done} of 75 got through");
    cluster.close().await;
}

/// A write is answered at a majority; its last share may be overtaken by the promise that a later condition asks
/// for. It must not be refused for that: nothing but another write of the name would ever bring it there.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_condition_does_not_keep_an_earlier_write_from_its_last_replica() {
    let cluster = Cluster::form(3).await;
    *cluster.network.uneven.lock().expect("lock") = Some(name(2));
    for at in 0..40 {
        let name = format!("o{at}");
        put(&cluster.stores[0], &name, pattern(10), &Precondition::default()).await.expect("put");
        let refused = put(&cluster.stores[0], &name, Bytes::new(), &Precondition::absent()).await;
        assert!(matches!(refused, Err(Error::Precondition)), "{refused:?}");
    }
    let directory = cluster.close().await;
    for host in 0..3 {
        // By itself, as its own index has it.
        let device = Cluster::device(&directory, host);
        let container = KeyHasher::new(b"secret").container("AUTH_a", "c");
        let info = device.index().container(container).expect("asks").expect("is there");
        assert_eq!((info.object_count, info.bytes_used), (40, 400), "host {host}");
        device.close().await.expect("closes");
    }
}

/// Whoever keeps in memory what a container holds lists it again only where this says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_containers_state_changes_with_every_write_through_any_host_and_with_nothing_else() {
    let cluster = Cluster::form(3).await;
    let state = async |host: usize| cluster.stores[host].container_state("AUTH_a", "c").await.expect("answers");
    let settled = async |host: usize| {
        // Until every replica has what the others have.
        tokio::time::sleep(Duration::from_millis(300)).await;
        state(host).await
    };
    put(&cluster.stores[0], "o", pattern(10), &Precondition::default()).await.expect("put");
    let mut before = settled(2).await;
    for step in 0..6 {
        let store = &cluster.stores[step % 2];
        match step {
            // New, of another size, of the same size and content, metadata alone, and gone.
            0 => put(store, "p", pattern(5), &Precondition::default()).await.expect("put"),
            1 => put(store, "p", pattern(6), &Precondition::default()).await.expect("put"),
            2 | 3 => put(store, "p", pattern(6), &Precondition::default()).await.expect("put"),
            4 => drop(store.object_update(&path("p"), |_| Ok(ObjectUpdate::default())).await.expect("posts")),
            _ => drop(store.object_delete(&path("p"), &Precondition::default()).await.expect("deletes")),
        }
        assert!(!state(2).await.is_still(&before), "step {step} is not seen");
        before = settled(2).await;
    }
    // Which two of three answer is chance: of some pairs of looks one asks the same two.
    let mut stands = 0;
    for _ in 0..20 {
        let now = state(2).await;
        stands += usize::from(now.is_still(&before));
        before = now;
    }
    assert!(stands > 0, "nothing was written");
    cluster.cut(1);
    cluster.cut(0);
    assert!(cluster.stores[2].container_state("AUTH_a", "c").await.is_err(), "one of three knows nothing");
    cluster.heal();
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_listed_also_where_its_container_has_not_been_heard_of() {
    let cluster = Cluster::form_with(3, idle()).await;
    let stores = &cluster.stores;
    cluster.cut(2);
    stores[0].container_update("AUTH_a", "d", vec![], 0, IfMissing::Create).await.expect("a container");
    cluster.heal();
    all_are_asked(&cluster).await;
    cluster.cut(0);
    let (path, head) = (ObjectPath::new("AUTH_a", "d", "o"), ObjectHead { etag: "e".into(), ..ObjectHead::default() });
    stores[1].object_put(&path, pattern(10), head, &Precondition::default()).await.expect("put");
    cluster.heal();
    all_are_asked(&cluster).await;
    cluster.cut(1);
    for store in [&stores[0], &stores[2]] {
        let listed = store.container_list("AUTH_a", "d", &all()).await.expect("lists");
        assert_eq!(listed.len(), 1);
        assert!(matches!(store.container_delete("AUTH_a", "d").await, Err(Error::NotEmpty)));
    }
    cluster.close().await;
}
