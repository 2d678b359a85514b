//! Versions of objects (`object::versions`): what is listed, read and left, also where an operation is cut off.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use anello_proxy::object::account_reaper::AccountReaper;
use anello_proxy::object::parts::PARTS_ACCOUNT;
use anello_proxy::object::reaper::Reaper;
use anello_proxy::object::vault::{RootSecrets, Vault};
use anello_proxy::object::versions::listing::{ListedVersion, VersionEntry, VersionQuery};
use anello_proxy::object::versions::{self, Behind, Found, Put, VersionId, Versions};
use anello_proxy::object::{self, Reader};
use anello_storage::store::{DaemonOptions, IfMissing, ObjectHead, ObjectUpdate, StoreOptions};
use anello_storage::{ContainerEntry, Error, Etags, ListQuery, Listed, ObjectInfo, ObjectPath, Precondition, Store};
use bytes::Bytes;
use md5::{Digest, Md5};

const LARGE: usize = 700_000;

struct Bucket {
    store: Vault,
    _dir: tempfile::TempDir,
}

impl Bucket {
    async fn new(is_enabled: Option<bool>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = StoreOptions {
            devices: vec![dir.path().join("device")],
            state_dir: dir.path().join("state"),
            cluster_id: "0123456789abcdef0123456789abcdef".into(),
            cluster_secret: b"secret".to_vec(),
            device: Default::default(),
            daemons: DaemonOptions::default(),
        };
        let store = tokio::task::spawn_blocking(|| Store::open(options)).await.expect("no panic").expect("opens");
        store.container_update("AUTH_a", "c", vec![], 0, IfMissing::Create).await.expect("container");
        let store = match std::env::var_os("ANELLO_TEST_ENCRYPTION") {
            None => Vault::from(store),
            Some(_) => {
                let secret = [("".to_owned(), "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=".to_owned())];
                Vault::new(store, Arc::new(RootSecrets::new(secret, None).expect("a secret")), true)
            }
        };
        let bucket = Self { store, _dir: dir };
        if let Some(is_enabled) = is_enabled {
            bucket.set(is_enabled).await;
        }
        bucket
    }

    async fn set(&self, is_enabled: bool) {
        versions::set(&self.store, "AUTH_a", "c", is_enabled).await.expect("sets");
    }

    async fn versions(&self) -> Versions {
        let info = self.store.container_settings("AUTH_a", "c").await.expect("asks").expect("is there");
        Versions::of(&self.store, "AUTH_a", "c", &info).expect("keeps versions")
    }

    /// Puts `content`, many times over where it is to be large.
    async fn put(&self, key: &str, content: &str) -> anello_storage::Result<Put> {
        put(&self.versions().await, key, content, &Precondition::default()).await
    }

    async fn put_plain(&self, key: &str, content: &str) {
        let path = ObjectPath::new("AUTH_a", "c", key);
        let data = data_of(content);
        let mut writer = self.store.object_write(&path, None).await.expect("begins");
        writer.write(data.clone()).await.expect("takes bytes");
        writer.finish(head(&data), &Precondition::default()).await.expect("writes");
    }

    async fn list(&self, query: VersionQuery) -> (Vec<ListedVersion>, bool) {
        let page = self.versions().await.list(&query).await.expect("lists");
        (page.listed, page.is_truncated)
    }

    async fn all(&self) -> Vec<VersionEntry> {
        let (listed, _) = self.list(VersionQuery { limit: 1_000, ..VersionQuery::default() }).await;
        let entry = |listed| match listed {
            ListedVersion::Version(entry) => entry,
            ListedVersion::Prefix(prefix) => panic!("no prefix was asked for: {prefix}"),
        };
        listed.into_iter().map(entry).collect()
    }

    /// All versions, one a page.
    async fn pages(&self, prefix: &str, reverse: bool) -> Vec<VersionEntry> {
        let (mut found, mut last) = (Vec::new(), None);
        loop {
            let (marker, version_marker) = last.map(|last: VersionEntry| (last.key, last.stamp.id)).unzip();
            let prefix = prefix.to_owned();
            let query = VersionQuery { prefix, marker, version_marker, limit: 1, reverse, ..VersionQuery::default() };
            let (page, _) = self.list(query).await;
            match page.into_iter().next() {
                None => return found,
                Some(ListedVersion::Prefix(prefix)) => panic!("no prefix was asked for: {prefix}"),
                Some(ListedVersion::Version(entry)) => {
                    last = Some(entry.clone());
                    found.push(entry);
                }
            }
        }
    }

    /// What a key's versions hold, from the newest; `-` is a delete marker, and what is not the latest is in brackets.
    async fn contents(&self, key: &str) -> Vec<String> {
        let mut contents = Vec::new();
        for entry in self.all().await.into_iter().filter(|entry| entry.key == key) {
            let text = match self.versions().await.open(key, &entry.stamp.id).await.expect("opens") {
                Some(Found::Object(reader)) => {
                    assert_eq!(reader.info().size, entry.size, "{key}");
                    read(reader).await
                }
                Some(Found::Marker(_)) => "-".to_owned(),
                None => panic!("{key} {} is listed and not there", entry.stamp.id),
            };
            contents.push(if entry.is_latest { text } else { format!("({text})") });
        }
        contents
    }

    /// What a reader gets who names no version.
    async fn current(&self, key: &str) -> Option<String> {
        let path = ObjectPath::new("AUTH_a", "c", key);
        match object::open(&self.store, &path).await.expect("opens") {
            Some(reader) => Some(read(reader).await),
            None => None,
        }
    }
}

fn data_of(content: &str) -> Bytes {
    match content.strip_prefix("large ") {
        Some(content) => content.repeat(LARGE / content.len()).into(),
        None => content.to_owned().into(),
    }
}

fn head(data: &Bytes) -> ObjectHead {
    ObjectHead {
        etag: hex::encode(Md5::digest(data)),
        content_type: "text/plain".into(),
        metadata: vec![("x-object-meta-a".into(), "1".into())],
        ..ObjectHead::default()
    }
}

async fn put(versions: &Versions, key: &str, content: &str, condition: &Precondition) -> anello_storage::Result<Put> {
    let data = data_of(content);
    let mut writer = versions.write(key, None).await?;
    for chunk in data.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(chunk)).await?;
    }
    writer.finish(head(&data), condition).await
}

/// A small object's content, or the beginning of a large one's, all of which is looked at.
async fn read(mut reader: Reader) -> String {
    let mut data = Vec::new();
    while let Some(chunk) = reader.next().await.expect("reads") {
        data.extend_from_slice(&chunk);
    }
    assert_eq!(data.len() as u64, reader.info().size);
    assert_eq!(hex::encode(Md5::digest(&data)), reader.info().etag);
    let text = String::from_utf8(data).expect("text");
    if text.len() < 100 { text } else { format!("large {}", &text[..1]) }
}

fn any() -> Precondition {
    Precondition::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_is_kept_and_read_by_its_id() {
    let bucket = Bucket::new(Some(true)).await;
    for content in ["1", "large 2", "large 3", "4"] {
        bucket.put("k", content).await.expect("puts");
    }
    assert_eq!(bucket.contents("k").await, ["4", "(large 3)", "(large 2)", "(1)"]);
    assert_eq!(bucket.current("k").await.as_deref(), Some("4"));
    let marker = bucket.versions().await.delete("k", &any()).await.expect("deletes").stamp;
    assert!(marker.is_marker);
    assert_eq!(bucket.current("k").await, None);
    assert_eq!(bucket.contents("k").await, ["-", "(4)", "(large 3)", "(large 2)", "(1)"]);
    let page = bucket.all().await;
    assert!(page.windows(2).all(|pair| pair[0].stamp < pair[1].stamp), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_version_gives_way_to_the_one_behind_it() {
    let bucket = Bucket::new(Some(true)).await;
    let mut ids = Vec::new();
    for content in ["1", "large 2", "3"] {
        ids.push(bucket.put("k", content).await.expect("puts").stamp.id);
    }
    let versions = bucket.versions().await;
    let marker = versions.delete("k", &any()).await.expect("deletes").stamp;
    let remove = |id: VersionId| {
        let versions = versions.clone();
        async move {
            versions
                .delete_version("k", &id, Behind::Next, |_| Ok(()))
                .await
                .expect("deletes")
                .map(|done| done.was_marker)
        }
    };
    assert_eq!(remove(marker.id.clone()).await, Some(true));
    assert_eq!(bucket.contents("k").await, ["3", "(large 2)", "(1)"]);
    assert_eq!(remove(marker.id).await, None);
    assert_eq!(remove(ids[2].clone()).await, Some(false));
    assert_eq!(bucket.contents("k").await, ["large 2", "(1)"]);
    assert_eq!(bucket.current("k").await.as_deref(), Some("large 2"));
    assert_eq!(remove(ids[0].clone()).await, Some(false));
    assert_eq!(remove(ids[1].clone()).await, Some(false));
    assert_eq!(bucket.contents("k").await, [""; 0]);
    versions::remove(&bucket.store, "AUTH_a", "c").await.expect("is empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_null_version() {
    let bucket = Bucket::new(None).await;
    bucket.put_plain("k", "large 1").await;
    bucket.put_plain("l", "1").await;
    bucket.set(true).await;
    bucket.put("k", "2").await.expect("puts");
    assert_eq!(bucket.contents("k").await, ["2", "(large 1)"]);
    assert_eq!(bucket.all().await[1].stamp.id, VersionId::Null);
    bucket.set(false).await;
    assert_eq!(bucket.put("k", "3").await.expect("puts").stamp.id, VersionId::Null);
    assert_eq!(bucket.contents("k").await, ["3", "(2)"]);
    bucket.put("k", "4").await.expect("puts");
    assert_eq!(bucket.contents("k").await, ["4", "(2)"]);
    let marker = bucket.versions().await.delete("k", &any()).await.expect("deletes").stamp;
    assert_eq!(marker.id, VersionId::Null);
    assert_eq!(bucket.contents("k").await, ["-", "(2)"]);
    bucket.set(true).await;
    bucket.put("k", "5").await.expect("puts");
    assert_eq!(bucket.contents("k").await, ["5", "(-)", "(2)"]);
    bucket.versions().await.delete_version("k", &VersionId::Null, Behind::Next, |_| Ok(())).await.expect("deletes");
    assert_eq!(bucket.contents("k").await, ["5", "(2)"]);
    assert_eq!(bucket.contents("l").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_the_same_in_pages_of_any_size() {
    let bucket = Bucket::new(None).await;
    for key in ["a", "a/1", "b"] {
        bucket.put_plain(key, "null").await;
    }
    bucket.set(true).await;
    for key in ["a", "a\u{1}x", "a!", "a/1", "a/2", "b/1/2", "c", "a", "c"] {
        bucket.put(key, "x").await.expect("puts");
    }
    for key in ["c", "d", "a/2"] {
        bucket.versions().await.delete(key, &any()).await.expect("deletes");
    }
    for (prefix, delimiter) in
        [("", None), ("", Some("/")), ("a", None), ("a/", Some("/")), ("b", Some("/1")), ("a", Some("v"))]
    {
        let query = |limit, marker: Option<String>, version_marker| VersionQuery {
            prefix: prefix.into(),
            delimiter: delimiter.map(str::to_owned),
            marker,
            version_marker,
            limit,
            ..VersionQuery::default()
        };
        let (whole, is_truncated) = bucket.list(query(1_000, None, None)).await;
        assert!(!is_truncated && !whole.is_empty());
        for limit in 1..=whole.len() {
            let (mut found, mut marker, mut version) = (Vec::new(), None, None);
            loop {
                let (page, is_truncated) = bucket.list(query(limit, marker, version)).await;
                assert_eq!(is_truncated, found.len() + page.len() < whole.len(), "{prefix:?} {delimiter:?} {limit}");
                (marker, version) = match page.last().expect("a page that is not empty") {
                    ListedVersion::Version(entry) => (Some(entry.key.clone()), Some(entry.stamp.id.clone())),
                    ListedVersion::Prefix(prefix) => (Some(prefix.clone()), None),
                };
                found.extend(page);
                if !is_truncated {
                    break;
                }
            }
            assert_eq!(found, whole, "{prefix:?} {delimiter:?} {limit}");
        }
    }
    let (rolled_up, _) =
        bucket.list(VersionQuery { delimiter: Some("/".into()), limit: 1_000, ..VersionQuery::default() }).await;
    let shown = rolled_up.iter().map(|listed| match listed {
        ListedVersion::Version(entry) => entry.key.as_str(),
        ListedVersion::Prefix(prefix) => prefix.as_str(),
    });
    assert_eq!(shown.collect::<Vec<_>>(), ["a", "a", "a", "a\u{1}x", "a!", "a/", "b", "b/", "c", "c", "c", "d"]);
}

/// Without this two clients that create the same object could both be told that they did.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_or_replace_one_wins_and_none_is_lost() {
    let bucket = Bucket::new(Some(true)).await;
    let versions = bucket.versions().await;
    let race = |condition: Precondition, contents: Vec<String>| {
        let versions = versions.clone();
        async move {
            let tasks = contents.into_iter().map(|content| {
                let (versions, condition) = (versions.clone(), condition.clone());
                tokio::spawn(async move { put(&versions, "k", &content, &condition).await })
            });
            let mut won = 0;
            for task in tasks.collect::<Vec<_>>() {
                match task.await.expect("no panic") {
                    Ok(_) => won += 1,
                    Err(Error::Precondition) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            won
        }
    };
    let contents = |what: &str| (0..8).map(|n| format!("{what}{n}")).collect::<Vec<_>>();
    assert_eq!(race(Precondition::absent(), contents("new")).await, 1);
    let etag = bucket.versions().await.find("k", None).await.expect("asks");
    let Some(Found::Object(info)) = etag else { panic!("it is there") };
    let if_same = Precondition { if_match: Some(Etags::List(vec![info.etag])), ..any() };
    assert_eq!(race(if_same, contents("large next")).await, 1);
    assert_eq!(race(any(), contents("any")).await, 8);
    assert_eq!(bucket.contents("k").await.len(), 10);
}

/// Polls a future so many times, and drops it: its host was killed there. What it had the engine begin may go on.
async fn cut<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Without this a version that was acknowledged could be lost, or a half of an operation be seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_cut_off_leaves_everything_whole() {
    for operation in [
        "put",
        "put large",
        "put expiring",
        "delete",
        "delete current",
        "delete marker",
        "delete older",
        "restore older",
        "suspended put",
        "unlink",
    ] {
        let bucket = Bucket::new(None).await;
        bucket.put_plain("k", "large 0").await;
        bucket.set(true).await;
        let mut polls = 0;
        loop {
            let older = bucket.put("k", "large 1").await.expect("puts").stamp.id;
            let newer = bucket.put("k", "2").await.expect("puts").stamp.id;
            let marker = match operation {
                "delete marker" => Some(bucket.versions().await.delete("k", &any()).await.expect("deletes").stamp.id),
                _ => None,
            };
            if operation == "suspended put" {
                bucket.set(false).await;
            }
            let versions = bucket.versions().await;
            let before = bucket.contents("k").await;
            let gone = match operation {
                "delete current" => Some(newer.clone()),
                "delete marker" => marker.clone(),
                "delete older" => Some(older.clone()),
                _ => None,
            };
            let acted = async {
                match (operation, &gone) {
                    ("delete", _) => drop(versions.delete("k", &any()).await.expect("deletes")),
                    (_, Some(id)) => {
                        versions.delete_version("k", id, Behind::Next, |_| Ok(())).await.expect("deletes");
                    }
                    ("restore older", _) => drop(versions.restore("k", &older).await.expect("restores")),
                    ("unlink", _) => drop(versions.unlink("k", &any(), |_| Ok(())).await.expect("takes it away")),
                    ("put expiring", _) => {
                        let head = ObjectHead { delete_at: Some(u64::MAX / 1_000_000), ..head(&"3".into()) };
                        drop(versions.put("k", "3".into(), head, &any(), None).await.expect("puts"));
                    }
                    ("put large", _) => drop(put(&versions, "k", "large 3", &any()).await.expect("puts")),
                    _ => drop(put(&versions, "k", "3", &any()).await.expect("puts")),
                }
            };
            let is_done = cut(polls, acted).await.is_some();
            let after = bucket.contents("k").await;
            let shown = after.iter().find(|text| !text.starts_with('(')).filter(|text| *text != "-").cloned();
            assert_eq!(bucket.current("k").await, shown, "{operation} {polls}: {before:?} {after:?}");
            for id in [&older, &newer].into_iter().filter(|id| Some(*id) != gone.as_ref()) {
                let found = bucket.versions().await.find("k", Some(id)).await.expect("asks");
                assert!(matches!(found, Some(Found::Object(_))), "{operation} {polls}: {before:?} {after:?}");
            }
            assert!(
                after.iter().any(|text| text.contains("large 0")) || operation == "suspended put",
                "{operation} {polls}: {before:?} {after:?}"
            );
            if is_done {
                break;
            }
            if operation == "suspended put" {
                bucket.set(true).await;
            }
            polls += 1;
        }
        // What was left behind is found, and nothing that is needed with it.
        let before = bucket.contents("k").await;
        let mut reaper = Reaper::with_grace(bucket.store.clone(), std::time::Duration::ZERO);
        reaper.step(std::time::Instant::now()).await.expect("reaps");
        let mut sweeper = object::sweeper::Sweeper::at_once(bucket.store.clone());
        let now = std::time::Instant::now();
        sweeper.round(now).await.expect("sweeps");
        sweeper.round(now + std::time::Duration::from_secs(4_000)).await.expect("sweeps");
        assert_eq!(bucket.contents("k").await, before, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_current_again_keeps_its_place_among_the_others() {
    let bucket = Bucket::new(Some(true)).await;
    let mut ids = Vec::new();
    for content in ["1", "large 2", "3"] {
        ids.push(bucket.put("k", content).await.expect("puts").stamp.id);
    }
    let versions = bucket.versions().await;
    let restored = versions.restore("k", &ids[1]).await.expect("restores").expect("is there");
    assert_eq!(versions::id_of(&restored), Some(ids[1].clone()));
    assert_eq!(bucket.contents("k").await, ["(3)", "large 2", "(1)"]);
    assert_eq!(bucket.current("k").await.as_deref(), Some("large 2"));
    let pages = bucket.pages("", true).await;
    assert_eq!(pages.iter().map(|entry| entry.is_latest).collect::<Vec<_>>(), [false, true, false]);
    let marker = versions.delete("k", &any()).await.expect("deletes").stamp;
    versions.restore("k", &ids[0]).await.expect("restores").expect("is there");
    assert_eq!(bucket.contents("k").await, ["(-)", "(3)", "(large 2)", "1"], "a marker that has happened stays");
    assert!(versions.restore("k", &marker.id).await.expect("asks").is_none(), "a delete marker is no object");
    bucket.put("k", "4").await.expect("puts");
    assert_eq!(bucket.contents("k").await, ["4", "(-)", "(3)", "(large 2)", "(1)"]);
    versions.restore("k", &ids[1]).await.expect("restores").expect("is there");
    let remove = async |id: &VersionId, behind| versions.delete_version("k", id, behind, |_| Ok(())).await;
    remove(&ids[1], Behind::Next).await.expect("deletes").expect("was there");
    assert_eq!(bucket.contents("k").await, ["4", "(-)", "(3)", "(1)"], "by S3 the newest takes its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_without_a_marker_leaves_the_versions() {
    let bucket = Bucket::new(Some(true)).await;
    let mut ids = Vec::new();
    for content in ["1", "large 2"] {
        ids.push(bucket.put("k", content).await.expect("puts").stamp.id);
    }
    let versions = bucket.versions().await;
    let no = |_: &ObjectInfo| Err(Error::NotEmpty);
    assert!(versions.unlink("k", &any(), no).await.expect("nothing is lost: nobody is asked"));
    assert_eq!(bucket.contents("k").await, ["(large 2)", "(1)"]);
    assert!(versions.find("k", None).await.expect("asks").is_none());
    assert!(!versions.unlink("k", &any(), no).await.expect("is not there"));
    versions.restore("k", &ids[1]).await.expect("restores").expect("is there");
    versions.delete_version("k", &ids[1], Behind::Nothing, |_| Ok(())).await.expect("deletes").expect("was there");
    assert_eq!(bucket.contents("k").await, ["(1)"]);
    assert_eq!(bucket.current("k").await, None);
    let marker = versions.delete("k", &any()).await.expect("deletes");
    assert!(!marker.was_there);
    versions.delete_version("k", &marker.stamp.id, Behind::Nothing, |_| Ok(())).await.expect("deletes");
    assert_eq!((bucket.contents("k").await, bucket.current("k").await), (vec!["(1)".to_owned()], None));
    bucket.set(false).await;
    bucket.put("k", "null").await.expect("puts");
    let versions = bucket.versions().await;
    assert!(matches!(versions.unlink("k", &any(), no).await, Err(Error::NotEmpty)), "it would be gone");
    assert!(versions.unlink("k", &any(), |_| Ok(())).await.expect("goes"));
    assert_eq!(bucket.contents("k").await, ["(1)"]);
}

/// Without this a version would be lost that nobody has deleted.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_expires_and_its_version_stays() {
    let bucket = Bucket::new(Some(true)).await;
    let versions = bucket.versions().await;
    let expiring = ObjectHead { delete_at: Some(1), ..head(&"1".into()) };
    let first = versions.put("k", "1".into(), expiring, &any(), None).await.expect("puts").stamp.id;
    assert_eq!((bucket.contents("k").await, bucket.current("k").await), (vec!["(1)".to_owned()], None));
    let second = bucket.put("k", "large 2").await.expect("puts in the place of what has expired").stamp.id;
    let expire = |info: &ObjectInfo| {
        let mut metadata = info.metadata.clone();
        metadata.retain(|(name, _)| name != "x-object-meta-a");
        metadata.push(("x-object-meta-b".into(), "2".into()));
        Ok(ObjectUpdate { content_type: None, delete_at: Some(1), metadata })
    };
    versions.update("k", None, expire).await.expect("says that it has expired");
    assert_eq!((bucket.contents("k").await.len(), bucket.current("k").await), (2, None));
    let Some(Found::Object(info)) = versions.find("k", Some(&second)).await.expect("asks") else { panic!("it stays") };
    assert!(info.metadata.contains(&("x-object-meta-b".into(), "2".into())), "{info:?}");
    assert!(!versions.delete("k", &any()).await.expect("deletes").was_there, "it has expired");
    assert_eq!(bucket.contents("k").await, ["-", "(large 2)", "(1)"]);
    versions.restore("k", &first).await.expect("restores").expect("is there");
    assert_eq!(bucket.current("k").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_both_ways() {
    let bucket = Bucket::new(None).await;
    for key in ["a", "a/1", "b"] {
        bucket.put_plain(key, "null").await;
    }
    bucket.set(true).await;
    for key in ["a", "a\u{1}x", "a!", "a/1", "a/2", "b/1/2", "c", "a", "c"] {
        bucket.put(key, "x").await.expect("puts");
    }
    for key in ["c", "d", "a/2"] {
        bucket.versions().await.delete(key, &any()).await.expect("deletes");
    }
    for (prefix, delimiter) in [("", None), ("", Some("/")), ("a", None), ("a/", Some("/")), ("b", Some("/1"))] {
        let query = |reverse| VersionQuery {
            prefix: prefix.into(),
            delimiter: delimiter.map(str::to_owned),
            limit: 1_000,
            reverse,
            ..VersionQuery::default()
        };
        let (forward, _) = bucket.list(query(false)).await;
        let (mut backward, _) = bucket.list(query(true)).await;
        backward.reverse();
        assert_eq!(backward, forward, "{prefix:?} {delimiter:?}");
        if delimiter.is_none() {
            let mut pages = bucket.pages(prefix, true).await;
            pages.reverse();
            let pages: Vec<_> = pages.into_iter().map(ListedVersion::Version).collect();
            assert_eq!(pages, forward, "{prefix:?} a version a page");
        }
    }
    let until = |reverse| VersionQuery {
        marker: Some(if reverse { "b" } else { "a" }.into()),
        end_marker: Some(if reverse { "a" } else { "b" }.into()),
        limit: 1_000,
        reverse,
        ..VersionQuery::default()
    };
    let keys = async |reverse| bucket.list(until(reverse)).await.0.into_iter().map(key_of).collect::<Vec<_>>();
    assert_eq!(keys(false).await, ["a\u{1}x", "a!", "a/1", "a/1", "a/2", "a/2"]);
    assert_eq!(keys(true).await, ["a/2", "a/2", "a/1", "a/1", "a!", "a\u{1}x"]);
}

fn key_of(listed: ListedVersion) -> String {
    match listed {
        ListedVersion::Version(entry) => entry.key,
        ListedVersion::Prefix(prefix) => prefix,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_with_the_last_version_that_has_them() {
    let bucket = Bucket::new(Some(true)).await;
    let first = bucket.put("k", "large 1").await.expect("puts").stamp.id;
    bucket.put("k", "2").await.expect("puts");
    let mut reaper = Reaper::with_grace(bucket.store.clone(), std::time::Duration::ZERO);
    reaper.step(std::time::Instant::now()).await.expect("reaps");
    assert_eq!(bucket.contents("k").await, ["2", "(large 1)"]);
    bucket.versions().await.delete_version("k", &first, Behind::Next, |_| Ok(())).await.expect("deletes");
    let reaped = reaper.step(std::time::Instant::now()).await.expect("reaps");
    assert_eq!(reaped.parts, 1);
    assert_eq!(bucket.contents("k").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_with_versions_is_not_empty_and_its_namesake_has_none() {
    let bucket = Bucket::new(Some(true)).await;
    let id = bucket.put("k", "1").await.expect("puts").stamp.id;
    let marker = bucket.versions().await.delete("k", &any()).await.expect("deletes").stamp.id;
    assert!(matches!(versions::remove(&bucket.store, "AUTH_a", "c").await, Err(Error::NotEmpty)));
    for id in [id, marker] {
        bucket.versions().await.delete_version("k", &id, Behind::Next, |_| Ok(())).await.expect("deletes");
    }
    let before = bucket.versions().await;
    versions::remove(&bucket.store, "AUTH_a", "c").await.expect("is empty");
    bucket.store.container_update("AUTH_a", "c", vec![], 0, IfMissing::Create).await.expect("container");
    bucket.set(true).await;
    before.delete("k", &any()).await.expect("a delete that comes late");
    assert_eq!(bucket.contents("k").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_parts_go_with_their_account() {
    let bucket = Bucket::new(Some(true)).await;
    bucket.put("k", "large 1").await.expect("puts");
    bucket.put("k", "2").await.expect("puts");
    bucket.put_plain("before", "3").await;
    let place = kept(&bucket.store).await;
    assert_eq!((place.len(), parts(&bucket.store).await), (1, 1));
    bucket.store.account_reap("AUTH_a").await.expect("is to go");
    let refused = bucket.store.container_update("AUTH_a", "d", vec![], 0, IfMissing::Create).await;
    assert!(matches!(refused, Err(Error::Missing("account"))), "{refused:?}");
    let reaper = AccountReaper::new(bucket.store.clone());
    assert_eq!(reaper.step().await.expect("a step"), 1);
    assert!(bucket.store.account("AUTH_a").await.expect("asks").is_none());
    assert!(bucket.store.container("AUTH_a", "c").await.expect("asks").is_none());
    assert_eq!((kept(&bucket.store).await, parts(&bucket.store).await), (vec![], 0));
    // Nothing of it comes back with an account of its name.
    bucket.store.container_update("AUTH_a", "c", vec![], 0, IfMissing::Create).await.expect("container");
    bucket.set(true).await;
    assert_eq!(bucket.contents("k").await, [""; 0]);
    assert_eq!(reaper.step().await.expect("a step"), 0);
}

/// Containers that keep versions.
async fn kept(store: &Store) -> Vec<String> {
    containers(store, versions::ACCOUNT).await.into_iter().map(|row| row.name).collect()
}

/// How many parts there are, of everybody.
async fn parts(store: &Store) -> u64 {
    containers(store, PARTS_ACCOUNT).await.iter().map(|row| row.object_count).sum()
}

async fn containers(store: &Store, account: &str) -> Vec<ContainerEntry> {
    let listed = store.account_list(account, &ListQuery { limit: 100, ..ListQuery::default() }).await.expect("lists");
    let entry = |row| match row {
        Listed::Entry(entry) => entry,
        Listed::Prefix(prefix) => panic!("no prefix was asked for: {prefix}"),
    };
    listed.into_iter().map(entry).collect()
}
