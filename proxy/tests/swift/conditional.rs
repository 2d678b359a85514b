//! Conditional requests.

use super::door::{Cloud, md5_hex};

const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const NEW: &str = "Sun, 06 Nov 2044 08:49:37 GMT";

#[tokio::test]
async fn reads_heed_their_conditions() {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[("x-object-meta-a", "1")], "data").await.is(201);
    let etag = md5_hex(b"data");
    for (name, value, want) in [
        ("if-match", etag.as_str(), 200),
        ("if-match", "*", 200),
        ("if-match", "\"x\"", 412),
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"x\"", 200),
        ("if-modified-since", OLD, 200),
        ("if-modified-since", NEW, 304),
        ("if-unmodified-since", OLD, 412),
        ("if-unmodified-since", NEW, 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = cloud.ask("owner", &format!("{method} /v1/AUTH_sea/c/o"), &[(name, value)], "").await.is(want);
            assert_eq!(answer.header("etag"), Some(etag.as_str()), "{method} {name}: {value}");
            assert!(want != 304 || answer.body.is_empty());
        }
    }
    let own = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/o", &[], "").await;
    let own = own.header("last-modified").expect("a date");
    cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[("if-modified-since", own)], "").await.is(304);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[("if-unmodified-since", own)], "").await.is(200);
}

#[tokio::test]
async fn writes_heed_their_conditions() {
    let cloud = Cloud::with_container().await;
    let etag = md5_hex(b"one");
    for (method, header, want) in [
        ("PUT", ("if-match", "*"), 412),
        ("PUT", ("if-none-match", "*"), 201),
        ("PUT", ("if-none-match", "*"), 412),
        ("PUT", ("if-match", "\"x\""), 412),
        ("PUT", ("if-match", etag.as_str()), 201),
        ("PUT", ("if-unmodified-since", OLD), 412),
        ("DELETE", ("if-match", "\"x\""), 412),
        ("DELETE", ("if-match", etag.as_str()), 204),
    ] {
        cloud.ask("owner", &format!("{method} /v1/AUTH_sea/c/o"), &[header], "one").await.is(want);
    }
}

#[tokio::test]
async fn of_many_who_create_one_wins() {
    let cloud = Cloud::with_container().await;
    let puts = (0..16).map(|at| {
        let body = format!("writer {at}");
        let cloud = &cloud;
        async move { cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[("if-none-match", "*")], body).await.status }
    });
    let statuses = futures::future::join_all(puts).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 15, "{statuses:?}");
}
