//! What the room builds on holds for every back end of its records, and for the store itself across a restart.

mod servers;

use std::path::Path;
use std::sync::Arc;

use anello_api::identity::Identity;
use anello_identity::records::{Copied, Expect, Kind, MemoryRecords, ObjectRecords, Records, SqlRecords, etag};
use anello_identity::{Bootstrap, Bootstrapped, Error, IdentityConfig, IdentityRoom, KeyKind};
use anello_storage::Store;
use anello_storage::device::DeviceOptions;
use anello_storage::store::{DaemonOptions, StoreOptions};
use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

fn store(dir: &Path) -> Store {
    let options = StoreOptions {
        devices: vec![dir.join("device")],
        state_dir: dir.join("rings"),
        cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
        cluster_secret: b"secret".to_vec(),
        device: DeviceOptions::default(),
        daemons: DaemonOptions::default(),
    };
    Store::open(options).expect("opens")
}

async fn check(records: &dyn Records) {
    records.prepare().await.expect("prepares");
    records.prepare().await.expect("and again");
    let (one, two) = (Bytes::from_static(b"{\"one\":1}"), Bytes::from_static(b"{\"two\":2}"));
    let put = |id, data: &Bytes, expect| records.put(Kind::User, id, data.clone(), expect);
    let other = etag(&two);
    let state = async || records.state(Kind::User).await.expect("readable").expect("every back end can tell");
    let before = state().await;
    put("elsewhere", &one, Expect::Etag(&other)).await.expect_err("nothing is there");
    records.put(Kind::Group, "g", one.clone(), Expect::Anything).await.expect("of another kind");
    assert!(state().await.is_still(&before), "nothing of the kind was written");
    let first = put("a|b", &one, Expect::Absent).await.expect("absent");
    assert_eq!(first.etag, etag(&one), "a back end's tags are those that writers expect");
    assert!(matches!(put("a|b", &two, Expect::Absent).await, Err(Error::Changed)));
    assert!(matches!(put("a|b", &two, Expect::Etag(&other)).await, Err(Error::Changed)));
    let created = state().await;
    assert!(!created.is_still(&before));
    let second = put("a|b", &two, Expect::Etag(&first.etag)).await.expect("expected");
    assert!(second.timestamp > first.timestamp);
    let changed = state().await;
    assert!(!changed.is_still(&created));
    assert_eq!(records.get(Kind::User, "a|b").await.expect("readable"), Some((second.clone(), two.clone())));
    put("a", &one, Expect::Anything).await.expect("whatever");
    let listed = records.versions(Kind::User).await.expect("listed");
    assert_eq!(listed.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "a|b"]);
    assert_eq!(listed[1].1, second);
    let delete = |id, expect| records.delete(Kind::User, id, expect);
    assert!(matches!(delete("a|b", Expect::Etag(&first.etag)).await, Err(Error::Changed)));
    assert_eq!(delete("a|b", Expect::Etag(&second.etag)).await.expect("expected"), Some(second.timestamp));
    let deleted = state().await;
    assert!(!deleted.is_still(&changed));
    assert_eq!(delete("a|b", Expect::Anything).await.expect("nothing there"), None);
    assert_eq!(records.get(Kind::User, "a|b").await.expect("readable"), None);
    let third = put("a|b", &one, Expect::Absent).await.expect("absent again");
    assert!(third.timestamp > second.timestamp);
}

/// What a back end gives of a kind at one go, by id.
async fn copies(records: &dyn Records, kind: Kind) -> Vec<Copied> {
    let parts: Vec<Vec<Copied>> = records.copies(kind).try_collect().await.expect("readable");
    parts.concat()
}

/// Writes records of all sizes, more than a page or a part of a snapshot holds.
async fn fill(records: &dyn Records) -> Vec<Copied> {
    let mut made = Vec::new();
    for number in 0..600 {
        let id = format!("user:{number:04}|ü");
        let data = Bytes::from(vec![b'a' + (number % 26) as u8; 1 + (number * 37) % 9000]);
        let version = records.put(Kind::Grant, &id, data.clone(), Expect::Absent).await.expect("absent");
        made.push(Copied { id, version, data });
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_back_as_it_was_written_and_the_next_takes_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let records = ObjectRecords::new(store(dir.path()));
    records.prepare().await.expect("prepares");
    let snapshots = records.snapshots().expect("objects are slow to read one by one");
    assert_eq!(snapshots.written(Kind::Grant).await.expect("readable"), None);
    assert!(copies(&records, Kind::Grant).await.is_empty());
    let made = fill(&records).await;
    snapshots.keep(Kind::Grant, stream::iter(made.clone().into_iter().map(Ok)).boxed()).await.expect("written");
    let first = snapshots.written(Kind::Grant).await.expect("readable").expect("there");
    assert_eq!(copies(&records, Kind::Grant).await, made);
    assert!(copies(&records, Kind::User).await.is_empty());
    // Broken off, the one before stays.
    let broken = made[..300].iter().cloned().map(Ok).chain([Err(Error::Changed)]);
    assert!(snapshots.keep(Kind::Grant, stream::iter(broken).boxed()).await.is_err());
    assert_eq!(copies(&records, Kind::Grant).await, made);
    snapshots.keep(Kind::Grant, stream::iter([Ok(made[0].clone())]).boxed()).await.expect("written");
    assert_eq!(copies(&records, Kind::Grant).await, made[..1]);
    assert!(snapshots.written(Kind::Grant).await.expect("readable").expect("there") > first);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_back_end_checks_and_writes_in_one_step() {
    check(&MemoryRecords::default()).await;
    let dir = tempfile::tempdir().expect("a directory");
    check(&ObjectRecords::new(store(dir.path()))).await;
}

async fn open(store: Store) -> (Arc<IdentityRoom>, Bootstrapped) {
    let config = IdentityConfig { cluster_secret: b"secret".to_vec(), ..IdentityConfig::default() };
    let room = IdentityRoom::open(store, config).await.expect("opens");
    let bootstrap =
        Bootstrap { admin_password: "password".to_owned(), region: "RegionOne".to_owned(), catalog: Vec::new() };
    let made = room.bootstrap(&bootstrap).await.expect("bootstraps");
    (room, made)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_admin_and_his_key_are_there_when_the_room_is_opened_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = store(dir.path());
    let (room, made) = open(store.clone()).await;
    assert!(made.created);
    drop(room);
    let (room, again) = open(store).await;
    assert!(!again.created);
    assert_eq!((&made.user_id, &made.project_id, &made.access), (&again.user_id, &again.project_id, &again.access));
    assert_eq!(room.signing_key(&made.access).await.expect("known").secret, made.secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_database_checks_and_writes_in_one_step() {
    let dir = tempfile::tempdir().expect("a directory");
    let servers = [servers::postgres(), servers::mariadb()];
    let mut urls = vec![format!("sqlite://{}?mode=rwc", dir.path().join("records.db").display())];
    urls.extend(servers.iter().flatten().map(|server| server.url.clone()));
    for url in urls {
        let database = SqlRecords::connect(&url).await.expect("connects");
        check(&database).await;
        // Two hosts with one database: of those who change the same, one wins.
        let other = SqlRecords::connect(&url).await.expect("connects");
        let data = |text: &'static str| Bytes::from_static(text.as_bytes());
        let (one, two) = tokio::join!(
            database.put(Kind::Name, "n", data("1"), Expect::Absent),
            other.put(Kind::Name, "n", data("2"), Expect::Absent)
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{url}");
        for id in ["Ä", "a", "A", "a ", "a/b"] {
            database.put(Kind::Region, id, data("x"), Expect::Absent).await.expect("all are different ids");
        }
        let ids: Vec<String> = other.versions(Kind::Region).await.expect("listed").into_iter().map(|it| it.0).collect();
        assert_eq!(ids, ["A", "a", "a ", "a/b", "Ä"], "{url}");
        // As a release that did not count writes left it.
        let old = sqlx::AnyPool::connect(&url).await.expect("connects");
        sqlx::query("DROP TABLE identity_writes").execute(&old).await.expect("dropped");
        other.prepare().await.expect("counts from now on");
        let before = other.state(Kind::Region).await.expect("readable").expect("counted");
        database.delete(Kind::Region, "a", Expect::Anything).await.expect("there");
        assert!(!other.state(Kind::Region).await.expect("readable").expect("counted").is_still(&before), "{url}");
        let made = fill(&database).await;
        assert_eq!(copies(&other, Kind::Grant).await, made, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_moves_to_a_database_and_back_and_is_the_same_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let (room, made) = open(store(dir.path())).await;
    let database = || async {
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("moved.db").display());
        SqlRecords::connect(&url).await.expect("connects")
    };
    assert!(room.migrate(&database().await).await.expect("copied") > 20);
    let config = || IdentityConfig { cluster_secret: b"secret".to_vec(), ..IdentityConfig::default() };
    assert!(room.rotate_keys(KeyKind::Token).await.is_ok(), "reads go on");
    let moved = IdentityRoom::open_with(Arc::new(database().await), config()).await.expect("opens");
    assert_eq!(moved.signing_key(&made.access).await.expect("known").secret, made.secret);
    let error = moved.migrate(&database().await).await.expect_err("not over other records");
    assert!(error.to_string().contains("holds records already"), "{error}");
    let back = MemoryRecords::default();
    moved.migrate(&back).await.expect("copied");
    let back = IdentityRoom::open_with(Arc::new(back), config()).await.expect("opens");
    assert_eq!(back.signing_key(&made.access).await.expect("known").secret, made.secret);
}

/// Several servers over one database: each sees with its next refresh (5 s apart in a cluster) what another has changed,
/// and nobody's change is lost.
#[tokio::test(flavor = "multi_thread")]
async fn two_rooms_with_one_database_see_each_others_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let servers = [servers::postgres(), servers::mariadb()];
    let mut urls = vec![format!("sqlite://{}?mode=rwc", dir.path().join("shared.db").display())];
    urls.extend(servers.iter().flatten().map(|server| server.url.clone()));
    for url in urls {
        let open = async || {
            let config = IdentityConfig { cluster_secret: b"secret".to_vec(), ..IdentityConfig::default() };
            let records = Arc::new(SqlRecords::connect(&url).await.expect("connects"));
            let room = IdentityRoom::open_with(records, config).await.expect("opens");
            let bootstrap = Bootstrap {
                admin_password: "password".to_owned(),
                region: "RegionOne".to_owned(),
                catalog: Vec::new(),
            };
            let made = room.bootstrap(&bootstrap).await.expect("bootstraps");
            (room, made)
        };
        let ((here, first), (there, second)) = (open().await, open().await);
        assert_eq!((first.created, second.created), (true, false), "{url}");
        assert_eq!(first.access, second.access, "{url}");
        let admin = token(&here, "admin", "password").await.expect("logs in");
        assert!(there.token(&admin).await.is_ok(), "keys are shared: {url}");
        let user = serde_json::json!({"user": {"name": "someone", "domain_id": "default", "password": "one"}});
        let (status, made) = send(&here, &admin, "POST", "/v3/users", user).await;
        assert_eq!(status, 201, "{made}");
        let path = format!("/v3/users/{}", made["user"]["id"].as_str().expect("an id"));
        assert!(token(&there, "someone", "one").await.is_none(), "not refreshed yet: {url}");
        there.refresh().await.expect("reads");
        let theirs = token(&there, "someone", "one").await.expect("seen");
        let off = serde_json::json!({"user": {"enabled": false}});
        assert_eq!(send(&here, &admin, "PATCH", &path, off).await.0, 200);
        there.refresh().await.expect("reads");
        assert!(there.token(&theirs).await.is_err(), "{url}");
        // The name is taken also for whom has not seen it, and a change is made to what stands.
        let user = serde_json::json!({"user": {"name": "other", "domain_id": "default"}});
        assert_eq!(send(&here, &admin, "POST", "/v3/users", user.clone()).await.0, 201);
        assert_eq!(send(&there, &admin, "POST", "/v3/users", user).await.0, 409, "{url}");
        let (one, two) = (serde_json::json!({"user": {"a": "1"}}), serde_json::json!({"user": {"b": "2"}}));
        assert_eq!(send(&here, &admin, "PATCH", &path, one).await.0, 200);
        let (status, both) = send(&there, &admin, "PATCH", &path, two).await;
        assert_eq!((status, &both["user"]["a"], &both["user"]["b"]), (200, &"1".into(), &"2".into()), "{url}");
        assert_eq!(send(&there, &admin, "DELETE", &path, serde_json::Value::Null).await.0, 204);
        here.refresh().await.expect("reads");
        assert_eq!(send(&here, &admin, "GET", &path, serde_json::Value::Null).await.0, 404, "{url}");
    }
}

async fn answer(room: &Arc<IdentityRoom>, request: Request<Body>) -> (u16, http::HeaderMap, serde_json::Value) {
    let router = axum::Router::new().nest_service("/identity", room.router());
    let (parts, body) = router.oneshot(request).await.expect("an answer").into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    (parts.status.as_u16(), parts.headers, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn send(
    room: &Arc<IdentityRoom>,
    token: &str,
    method: &str,
    path: &str,
    body: serde_json::Value,
) -> (u16, serde_json::Value) {
    let request = Request::builder().method(method).uri(format!("/identity{path}")).header("x-auth-token", token);
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let (status, _, body) = answer(room, request.body(body).expect("a request")).await;
    (status, body)
}

/// A token for whoever has the password.
async fn token(room: &Arc<IdentityRoom>, name: &str, password: &str) -> Option<String> {
    let user = serde_json::json!({"name": name, "password": password, "domain": {"id": "default"}});
    let mut auth = serde_json::json!({"identity": {"methods": ["password"], "password": {"user": user}}});
    if name == "admin" {
        auth["scope"] = serde_json::json!({"project": {"name": "admin", "domain": {"id": "default"}}});
    }
    let body = Body::from(serde_json::json!({ "auth": auth }).to_string());
    let request = Request::builder().method("POST").uri("/identity/v3/auth/tokens").body(body).expect("a request");
    let (_, headers, _) = answer(room, request).await;
    Some(headers.get("x-subject-token")?.to_str().ok()?.to_owned())
}
