//! Container sync between two clusters, each with a door of its own on a port of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anello_proxy::swift::{ContainerSyncConfig, Middleware, RealmConfig, SwiftConfig, Synchronizer};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::door::{Cloud, md5_hex, pattern};

/// Two clusters of a realm, and whether the second one answers.
struct Two {
    here: Cloud,
    there: Cloud,
    is_up: Arc<AtomicBool>,
}

fn config(addresses: &BTreeMap<String, String>) -> SwiftConfig {
    let realm = RealmConfig { key: "realm key".into(), key2: None, clusters: addresses.clone() };
    let container_sync = ContainerSyncConfig {
        current: Some("//Realm/here".into()),
        interval_seconds: 0,
        objects_per_second: 10_000,
        realms: BTreeMap::from([("realm".to_owned(), realm)]),
        ..ContainerSyncConfig::default()
    };
    let mut config = SwiftConfig { container_sync, ..SwiftConfig::default() };
    config.pipeline.insert(0, Middleware::ContainerSync);
    config
}

async fn two() -> Two {
    let listeners = [TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await];
    let [here, there] = listeners.map(|listener| listener.expect("a port"));
    let url = |listener: &TcpListener| format!("http://{}/v1/", listener.local_addr().expect("an address"));
    let addresses = BTreeMap::from([("here".to_owned(), url(&here)), ("there".to_owned(), url(&there))]);
    let is_up = Arc::new(AtomicBool::new(true));
    let two = Two { here: Cloud::with(config(&addresses)).await, there: Cloud::with(config(&addresses)).await, is_up };
    serve(&two.here, here, Arc::new(AtomicBool::new(true)));
    serve(&two.there, there, Arc::clone(&two.is_up));
    two
}

fn serve(cloud: &Cloud, listener: TcpListener, is_up: Arc<AtomicBool>) {
    let door = cloud.door.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (door, is_up) = (door.clone(), Arc::clone(&is_up));
            let answer = hyper::service::service_fn(move |request| {
                let (door, is_up) = (door.clone(), Arc::clone(&is_up));
                async move {
                    if is_up.load(Ordering::Relaxed) {
                        return Ok::<_, Infallible>(door.call(request).await);
                    }
                    let none = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
                    let mut response = Response::new(none);
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    Ok(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
}

const TARGET: (&str, &str) = ("x-container-sync-to", "//realm/there/AUTH_sea/copy");
const KEY: (&str, &str) = ("x-container-sync-key", "user key");

impl Two {
    async fn with_containers(self) -> Self {
        self.here.ask("owner", "PUT /v1/AUTH_sea/c", &[TARGET, KEY], "").await.is(201);
        self.there.ask("owner", "PUT /v1/AUTH_sea/copy", &[KEY], "").await.is(201);
        self
    }

    fn worker(&self) -> Synchronizer {
        Synchronizer::new(&self.here.door).expect("container sync is offered")
    }

    async fn names(&self) -> String {
        self.there.ask("owner", "GET /v1/AUTH_sea/copy", &[], "").await.text().replace('\n', " ")
    }
}

#[tokio::test]
async fn what_changes_in_one_container_changes_in_the_other() {
    let two = two().await.with_containers().await;
    let mut worker = two.worker();
    two.here.ask("owner", "PUT /v1/AUTH_sea/c/a%20b", &[("x-object-meta-color", "blue")], "one").await.is(201);
    two.here.ask("owner", "PUT /v1/AUTH_sea/c/large", &[], pattern(1 << 20)).await.is(201);
    assert_eq!(worker.step().await.expect("copies"), 2);
    let ours = two.here.ask("owner", "HEAD /v1/AUTH_sea/c/a%20b", &[], "").await.is(200);
    let theirs = two.there.ask("owner", "GET /v1/AUTH_sea/copy/a%20b", &[], "").await.is(200);
    assert_eq!((theirs.text(), theirs.header("x-object-meta-color")), ("one", Some("blue")));
    assert_eq!(theirs.header("x-timestamp"), ours.header("x-timestamp"));
    let large = two.there.ask("owner", "GET /v1/AUTH_sea/copy/large", &[], "").await.is(200);
    assert_eq!(
        (large.body, large.headers["etag"].to_str().ok()),
        (pattern(1 << 20), Some(&*md5_hex(&pattern(1 << 20))))
    );

    assert_eq!(worker.step().await.expect("has nothing to do"), 0);
    two.here.ask("owner", "POST /v1/AUTH_sea/c/a%20b", &[("x-object-meta-color", "red")], "").await.is(202);
    two.here.ask("owner", "DELETE /v1/AUTH_sea/c/large", &[], "").await.is(204);
    assert_eq!(worker.step().await.expect("copies"), 2);
    let theirs = two.there.ask("owner", "HEAD /v1/AUTH_sea/copy/a%20b", &[], "").await.is(200);
    assert_eq!(theirs.header("x-object-meta-color"), Some("red"));
    two.there.ask("owner", "GET /v1/AUTH_sea/copy/large", &[], "").await.is(404);
    two.here.ask("owner", "PUT /v1/AUTH_sea/c/large", &[], "again").await.is(201);
    // Also by a worker that knows nothing of the passes before.
    assert_eq!(two.worker().step().await.expect("copies"), 1);
    assert_eq!(two.names().await.trim(), "a b large");
}

#[tokio::test]
async fn manifests_and_links_are_copied_as_such() {
    let two = two().await.with_containers().await;
    for name in ["s/1", "s/2"] {
        two.here.ask("owner", &format!("PUT /v1/AUTH_sea/c/{name}"), &[], name).await.is(201);
    }
    let manifest = r#"[{"path":"c/s/1"},{"path":"c/s/2"}]"#;
    two.here.ask("owner", "PUT /v1/AUTH_sea/c/a-slo?multipart-manifest=put", &[], manifest).await.is(201);
    two.here.ask("owner", "PUT /v1/AUTH_sea/c/a-link", &[("x-symlink-target", "c/s/1")], "").await.is(201);
    assert_eq!(two.worker().step().await.expect("copies"), 4);
    let slo = two.there.ask("owner", "HEAD /v1/AUTH_sea/copy/a-slo", &[], "").await.is(200);
    assert_eq!((slo.header("x-static-large-object"), slo.header("content-length")), (Some("True"), Some("6")));
    two.there.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
    for name in ["s/1", "s/2"] {
        two.there
            .ask("owner", &format!("COPY /v1/AUTH_sea/copy/{name}"), &[("destination", &format!("c/{name}"))], "")
            .await
            .is(201);
    }
    assert_eq!(two.there.ask("owner", "GET /v1/AUTH_sea/copy/a-slo", &[], "").await.is(200).text(), "s/1s/2");
    assert_eq!(two.there.ask("owner", "GET /v1/AUTH_sea/copy/a-link", &[], "").await.is(200).text(), "s/1");
}

/// Without this what somebody writes there would be lost to what was here before.
#[tokio::test]
async fn the_later_one_wins() {
    let two = two().await.with_containers().await;
    let mut worker = two.worker();
    two.here.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "first").await.is(201);
    two.here.ask("owner", "PUT /v1/AUTH_sea/c/p", &[], "first").await.is(201);
    worker.step().await.expect("copies");
    two.there.ask("owner", "PUT /v1/AUTH_sea/copy/o", &[], "later").await.is(201);
    two.there.ask("owner", "PUT /v1/AUTH_sea/copy/p", &[], "later").await.is(201);
    two.here.ask("owner", "DELETE /v1/AUTH_sea/c/o", &[], "").await.is(204);
    worker.step().await.expect("deletes nothing");
    assert_eq!(two.there.ask("owner", "GET /v1/AUTH_sea/copy/o", &[], "").await.is(200).text(), "later");
    // A worker that has lost what it knew.
    two.there.ask("owner", "GET /v1/AUTH_sea/copy/p", &[], "").await.is(200);
}

#[tokio::test]
async fn what_failed_is_tried_again() {
    let two = two().await.with_containers().await;
    let mut worker = two.worker();
    two.is_up.store(false, Ordering::Relaxed);
    two.here.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "one").await.is(201);
    assert_eq!(worker.step().await.expect("goes on"), 0);
    two.is_up.store(true, Ordering::Relaxed);
    assert_eq!(worker.step().await.expect("copies"), 1);
    assert_eq!(two.names().await.trim(), "o");
    // A container that is not copied any more is left alone.
    two.here.ask("owner", "POST /v1/AUTH_sea/c", &[("x-remove-container-sync-to", "x")], "").await.is(204);
    two.here.ask("owner", "DELETE /v1/AUTH_sea/c/o", &[], "").await.is(204);
    assert_eq!(worker.step().await.expect("has nothing to do"), 0);
    assert_eq!(two.names().await.trim(), "o");
}

#[tokio::test]
async fn only_what_is_signed_is_let_in() {
    let two = two().await.with_containers().await;
    let there = &two.there;
    for auth in ["realm nonce 00", "realm nonce", "other nonce 00"] {
        let headers = [("x-container-sync-auth", auth), ("x-timestamp", "1700000000.00000")];
        let answer = there.ask("owner", "PUT /v1/AUTH_sea/copy/o", &headers, "x").await.is(401);
        assert!(answer.header("www-authenticate").is_some_and(|realm| realm.starts_with("SwiftContainerSync")));
    }
    for target in ["http://127.0.0.1:1/v1/a/c", "//realm/nowhere/a/c", "//nowhere/there/a/c", "//realm/there/a"] {
        let refused = two.here.ask("owner", "POST /v1/AUTH_sea/c", &[(TARGET.0, target)], "").await;
        refused.is(400);
    }
    let info = two.here.ask("", "GET /info", &[], "").await.json();
    assert_eq!(info["container_sync"]["realms"]["REALM"]["clusters"]["HERE"]["current"], true);
    two.here.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-read", ".r:*,.rlistings")], "").await.is(204);
    let seen = two.here.ask("", "HEAD /v1/AUTH_sea/c", &[], "").await.is(204);
    assert_eq!((seen.header(TARGET.0), seen.header(KEY.0)), (None, None));
    let owned = two.here.ask("owner", "HEAD /v1/AUTH_sea/c", &[], "").await.is(204);
    assert_eq!((owned.header(TARGET.0), owned.header(KEY.0)), (Some(TARGET.1), Some(KEY.1)));
}
