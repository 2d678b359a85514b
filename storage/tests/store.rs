//! The store as its doors use it: on one device and on three, open, closed and opened again.

use anello_storage::device::DeviceOptions;
use anello_storage::store::{DaemonOptions, IfMissing, ObjectHead, ObjectUpdate, StoreOptions};
use anello_storage::{Error, ListQuery, Listed, ObjectPath, Precondition, Store};
use bytes::Bytes;
use std::path::Path;

fn options(root: &Path, devices: usize) -> StoreOptions {
    StoreOptions {
        devices: (0..devices).map(|n| root.join(format!("d{n}"))).collect(),
        state_dir: root.join("state"),
        cluster_id: "0123456789abcdef0123456789abcdef".into(),
        cluster_secret: b"secret".to_vec(),
        device: DeviceOptions::default(),
        daemons: DaemonOptions::default(),
    }
}

async fn open(root: &Path, devices: usize) -> Store {
    let options = options(root, devices);
    tokio::task::spawn_blocking(move || Store::open(options)).await.expect("no panic").expect("opens")
}

async fn with_container(root: &Path, devices: usize) -> Store {
    let store = open(root, devices).await;
    store.container_update("AUTH_a", "c", vec![], 0, IfMissing::Create).await.expect("container");
    store
}

fn path(name: &str) -> ObjectPath {
    ObjectPath::new("AUTH_a", "c", name)
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<_>>().into()
}

async fn put(store: &Store, name: &str, data: Bytes) {
    let head = ObjectHead { etag: "e".into(), content_type: "text/plain".into(), ..ObjectHead::default() };
    store.object_put(&path(name), data, head, &Precondition::default()).await.expect("put");
}

async fn get(store: &Store, name: &str) -> Option<Vec<u8>> {
    let mut reader = store.object_read(&path(name)).await.expect("opens")?;
    let mut data = Vec::new();
    while let Some(bytes) = reader.next().await.expect("reads") {
        data.extend_from_slice(&bytes);
    }
    Some(data)
}

async fn names(store: &Store) -> Vec<String> {
    let query = ListQuery { limit: 10_000, ..ListQuery::default() };
    let listed = store.container_list("AUTH_a", "c", &query).await.expect("lists");
    let name = |listed| match listed {
        Listed::Entry(anello_storage::ObjectEntry { name, .. }) | Listed::Prefix(name) => name,
    };
    listed.into_iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_comes_back_whole_and_survives_a_restart() {
    for devices in [1, 2, 3, 5] {
        let root = tempfile::tempdir().expect("a directory");
        let sizes = [0, 1, 4095, 4096, 65_536, 65_537, 262_144, 262_145, 1_048_577, 9_437_185];
        let store = with_container(root.path(), devices).await;
        for size in sizes {
            put(&store, &size.to_string(), pattern(size)).await;
        }
        store.close().await.expect("closes");
        drop(store);
        let store = open(root.path(), devices).await;
        for size in sizes {
            assert_eq!(get(&store, &size.to_string()).await, Some(pattern(size).to_vec()), "{size} on {devices}");
        }
        let info = store.container("AUTH_a", "c").await.expect("asks").expect("is there");
        let total: usize = sizes.iter().sum();
        assert_eq!((info.object_count, info.bytes_used), (sizes.len() as u64, total as u64));
        store.close().await.expect("closes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_reads_just_that() {
    let root = tempfile::tempdir().expect("a directory");
    let store = with_container(root.path(), 1).await;
    for size in [10, 200_000, 3_000_000] {
        put(&store, "o", pattern(size)).await;
        for range in [0..1, 5..10, size as u64 - 7..size as u64, 65_530..65_545, 1_048_570..2_097_200] {
            let mut reader = store.object_read(&path("o")).await.expect("opens").expect("is there");
            reader.set_range(range.clone());
            let mut data = Vec::new();
            while let Some(bytes) = reader.next().await.expect("reads") {
                data.extend_from_slice(&bytes);
            }
            let (start, end) = ((range.start as usize).min(size), (range.end as usize).min(size));
            assert_eq!(data, pattern(size)[start..end], "{range:?} of {size}");
        }
    }
    store.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_and_a_delete_keep_the_counts_exact() {
    for devices in [1, 3, 5] {
        let root = tempfile::tempdir().expect("a directory");
        let store = with_container(root.path(), devices).await;
        put(&store, "a", pattern(100)).await;
        put(&store, "a", pattern(7)).await;
        put(&store, "b", pattern(1_000_000)).await;
        assert_eq!(get(&store, "a").await, Some(pattern(7).to_vec()));
        assert_eq!(names(&store).await, ["a", "b"]);
        let deleted = store.object_delete(&path("b"), &Precondition::default()).await.expect("deletes");
        assert_eq!(deleted.map(|info| info.size), Some(1_000_000));
        assert_eq!(store.object_delete(&path("b"), &Precondition::default()).await.expect("deletes"), None);
        assert_eq!(get(&store, "b").await, None);
        assert_eq!(names(&store).await, ["a"]);
        let info = store.container("AUTH_a", "c").await.expect("asks").expect("is there");
        assert_eq!((info.object_count, info.bytes_used), (1, 7));
        let totals = settled_totals(&store).await;
        assert_eq!(totals, Some((1, 1, 7)), "on {devices} devices");
        store.close().await.expect("closes");
    }
}

/// The account's containers, objects and bytes, once they are what is expected or have had ten seconds.
async fn settled_totals(store: &Store) -> Option<(u64, u64, u64)> {
    let mut totals = None;
    for _ in 0..100 {
        let account = store.account("AUTH_a").await.expect("asks").expect("is there");
        totals = Some((account.container_count, account.object_count, account.bytes_used));
        if totals == Some((1, 1, 7)) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    totals
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_created_once_and_deleted_only_when_empty() {
    let root = tempfile::tempdir().expect("a directory");
    let store = with_container(root.path(), 1).await;
    let again = store.container_update("AUTH_a", "c", vec![], 0, IfMissing::Create).await.expect("updates");
    assert!(!again.created);
    put(&store, "o", pattern(1)).await;
    assert!(matches!(store.container_delete("AUTH_a", "c").await, Err(Error::NotEmpty)));
    store.object_delete(&path("o"), &Precondition::default()).await.expect("deletes");
    store.container_delete("AUTH_a", "c").await.expect("deletes");
    assert!(matches!(store.container_delete("AUTH_a", "c").await, Err(Error::Missing(_))));
    assert!(matches!(store.object_write(&path("o"), None).await, Err(Error::Missing(_))));
    assert_eq!(store.account("AUTH_a").await.expect("asks").map(|info| info.container_count), Some(0));
    store.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_only_one_wins() {
    let root = tempfile::tempdir().expect("a directory");
    let store = with_container(root.path(), 3).await;
    let tries = (0..32).map(|n: u8| {
        let store = store.clone();
        tokio::spawn(async move {
            let head = ObjectHead { etag: n.to_string(), ..ObjectHead::default() };
            store.object_put(&path("lock"), Bytes::from(vec![n]), head, &Precondition::absent()).await.map(|_| n)
        })
    });
    let outcomes = futures::future::join_all(tries).await;
    let winners: Vec<u8> = outcomes.into_iter().filter_map(|outcome| outcome.expect("no panic").ok()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(get(&store, "lock").await, Some(winners));
    store.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_replaced_and_data_stay() {
    let root = tempfile::tempdir().expect("a directory");
    let store = with_container(root.path(), 1).await;
    put(&store, "o", pattern(300_000)).await;
    let metadata = vec![("x-object-meta-color".to_owned(), "blue".to_owned())];
    let content_type = Some("image/png".to_owned());
    let update = ObjectUpdate { content_type, metadata: metadata.clone(), ..ObjectUpdate::default() };
    store.object_update(&path("o"), |_| Ok(update.clone())).await.expect("updates");
    let refused = store.object_update(&path("o"), |_| Err(Error::Precondition)).await;
    assert!(matches!(refused, Err(Error::Precondition)), "{refused:?}");
    store.close().await.expect("closes");
    drop(store);
    let store = open(root.path(), 1).await;
    let info = store.object(&path("o")).await.expect("asks").expect("is there");
    assert_eq!((info.metadata, info.content_type.as_str()), (metadata, "image/png"));
    assert!(info.meta_timestamp > info.timestamp);
    assert_eq!(get(&store, "o").await, Some(pattern(300_000).to_vec()));
    store.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_object_is_gone_at_once() {
    let root = tempfile::tempdir().expect("a directory");
    let store = with_container(root.path(), 1).await;
    let head = ObjectHead { delete_at: Some(1), ..ObjectHead::default() };
    store.object_put(&path("old"), pattern(5), head, &Precondition::default()).await.expect("put");
    assert_eq!(get(&store, "old").await, None);
    assert_eq!(store.object(&path("old")).await.expect("asks"), None);
    store.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_write_leaves_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let store = with_container(root.path(), 1).await;
    let mut writer = store.object_write(&path("half"), None).await.expect("starts");
    writer.write(pattern(5_000_000)).await.expect("writes");
    drop(writer);
    assert_eq!(get(&store, "half").await, None);
    assert_eq!(names(&store).await, Vec::<String>::new());
    store.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_another_cluster_are_refused() {
    let root = tempfile::tempdir().expect("a directory");
    with_container(root.path(), 1).await.close().await.expect("closes");
    let mut other = options(root.path(), 1);
    other.cluster_id = "f".repeat(32);
    assert!(matches!(Store::open(other), Err(Error::WrongDevice { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_many_containers_wherever_they_are() {
    for devices in [1, 3, 5, 6] {
        let root = tempfile::tempdir().expect("a directory");
        let store = open(root.path(), devices).await;
        for number in 0..40 {
            let made = store.container_update("AUTH_a", &format!("c{number}"), vec![], 0, IfMissing::Create).await;
            assert!(made.as_ref().is_ok_and(|written| written.created), "{number} on {devices}: {made:?}");
        }
        let query = ListQuery { limit: 100, ..ListQuery::default() };
        // Devices that keep the account and not the container hear of it a moment later.
        let mut listed = 0;
        for _ in 0..100 {
            listed = store.account_list("AUTH_a", &query).await.expect("lists").len();
            if listed == 40 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(listed, 40, "{devices}");
        store.close().await.expect("closes");
    }
}

/// Without this, what is made from the version that a write replaces could be made from another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_made_from_what_it_replaces_and_from_its_own_timestamp() {
    for size in [10, 1_000_000] {
        let root = tempfile::tempdir().expect("a directory");
        let store = with_container(root.path(), 3).await;
        let write = |expected: Option<&'static str>, etag: String| {
            let store = store.clone();
            async move {
                let mut writer = store.object_write(&path("o"), None).await.expect("begins");
                writer.write(pattern(size)).await.expect("takes bytes");
                let head = |current: Option<&anello_storage::ObjectInfo>, timestamp: anello_base::Timestamp| {
                    if current.map(|info| info.etag.as_str()) != expected {
                        return Err(Error::Precondition);
                    }
                    let metadata = vec![("at".to_owned(), timestamp.to_string())];
                    Ok(ObjectHead { etag: etag.clone(), metadata, ..ObjectHead::default() })
                };
                writer.finish_as(head).await
            }
        };
        let first = write(None, "1".into()).await.expect("nothing is there");
        assert!(first.created);
        assert!(matches!(write(None, "2".into()).await, Err(Error::Precondition)));
        let second = write(Some("1"), "2".into()).await.expect("the first is there");
        let info = store.object(&path("o")).await.expect("asks").expect("is there");
        assert_eq!((info.etag.as_str(), info.timestamp), ("2", second.timestamp));
        assert_eq!(info.metadata, [("at".to_owned(), second.timestamp.to_string())]);
        assert_eq!(get(&store, "o").await, Some(pattern(size).to_vec()));
        store.close().await.expect("closes");
    }
}
