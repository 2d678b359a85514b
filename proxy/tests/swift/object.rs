//! Objects: what goes in comes out, with what is known of it.

use super::door::{Cloud, md5_hex, pattern};

#[tokio::test]
async fn what_goes_in_comes_out() {
    let cloud = Cloud::with_container().await;
    for length in [0, 1, 5000, 65_536, 262_144, 262_145, 3_000_000] {
        let data = pattern(length);
        let put = cloud.ask("owner", "PUT /v1/AUTH_sea/c/a%20b/%E2%98%83", &[], data.clone()).await.is(201);
        assert_eq!(put.header("etag"), Some(md5_hex(&data).as_str()), "{length}");
        assert!(put.header("last-modified").is_some());
        let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/a%20b/%E2%98%83", &[], "").await.is(200);
        assert!(get.body == data, "{length} bytes came back changed");
        assert_eq!(get.header("content-length"), Some(length.to_string().as_str()));
        assert_eq!(get.header("etag"), put.header("etag"));
        assert_eq!(get.header("last-modified"), put.header("last-modified"));
        let head = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/a%20b/%E2%98%83", &[], "").await.is(200);
        assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));
        assert!(head.body.is_empty());
    }
    cloud.ask("owner", "GET /v1/AUTH_sea/c/none", &[], "").await.is(404);
    cloud.ask("owner", "PUT /v1/AUTH_sea/none/o", &[], "x").await.is(404);
}

#[tokio::test]
async fn the_media_type_is_kept_or_told_by_the_name() {
    let cloud = Cloud::with_container().await;
    for (name, headers, want) in [
        ("a.txt", &[][..], "text/plain"),
        ("a", &[], "application/octet-stream"),
        ("a.txt", &[("content-type", "x/y; z=1")], "x/y; z=1"),
        ("a.png", &[("content-type", "x/y"), ("x-detect-content-type", "true")], "image/png"),
    ] {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/c/{name}"), headers, "x").await.is(201);
        let head = cloud.ask("owner", &format!("HEAD /v1/AUTH_sea/c/{name}"), &[], "").await;
        assert_eq!(head.header("content-type"), Some(want), "{name} {headers:?}");
    }
}

#[tokio::test]
async fn post_replaces_what_clients_set() {
    let cloud = Cloud::with_container().await;
    let headers = [
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
        ("content-disposition", "attachment"),
        ("x-object-meta-a", "1"),
        ("x-object-meta-b", "☃"),
        ("x-object-sysmeta-forged", "x"),
        ("x-delete-after", "1000"),
    ];
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &headers, "data").await.is(201);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/o", &[], "").await.is(200);
    for (name, value) in &headers[..5] {
        assert_eq!(head.header(name), Some(*value), "{name}");
    }
    assert!(head.header("x-delete-at").is_some() && head.header("x-object-sysmeta-forged").is_none());
    let headers = [("x-object-meta-c", "3"), ("cache-control", "no-store")];
    cloud.ask("owner", "POST /v1/AUTH_sea/c/o", &headers, "").await.is(202);
    let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[], "").await.is(200);
    assert_eq!(get.text(), "data");
    for (name, want) in [
        ("x-object-meta-a", None),
        ("x-object-meta-b", None),
        ("x-object-meta-c", Some("3")),
        ("content-encoding", None),
        ("content-disposition", None),
        ("cache-control", Some("no-store")),
        ("content-type", Some("text/plain")),
        ("x-delete-at", None),
    ] {
        assert_eq!(get.header(name), want, "{name}");
    }
    cloud.ask("owner", "POST /v1/AUTH_sea/c/o", &[("content-type", "a/b")], "").await.is(202);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/o", &[], "").await;
    assert_eq!(head.header("content-type"), Some("a/b"));
    let listed = cloud.ask("owner", "GET /v1/AUTH_sea/c?format=json", &[], "").await.json();
    assert_eq!(listed[0]["content_type"], "a/b");
    cloud.ask("owner", "POST /v1/AUTH_sea/c/none", &[], "").await.is(404);
}

#[tokio::test]
async fn names_and_times_are_held_to_their_limits() {
    let cloud = Cloud::with_container().await;
    let long = "x".repeat(1025);
    for (line, headers, want) in [
        (format!("PUT /v1/AUTH_sea/c/{}", &long[1..]), &[][..], 201),
        (format!("PUT /v1/AUTH_sea/c/{long}"), &[], 400),
        ("PUT /v1/AUTH_sea/c/o".into(), &[("x-delete-at", "1")], 400),
        ("PUT /v1/AUTH_sea/c/o".into(), &[("x-delete-after", "x")], 400),
        ("PUT /v1/AUTH_sea/c/o".into(), &[("x-object-meta-", "x")], 400),
        ("DELETE /v1/AUTH_sea/c/o".into(), &[], 404),
    ] {
        cloud.ask("owner", &line, headers, "x").await.is(want);
    }
}

#[tokio::test]
async fn an_expired_object_is_gone() {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[("x-delete-after", "1")], "x").await.is(201);
    let mut status = 200;
    for _ in 0..300 {
        status = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/o", &[], "").await.status;
        if status == 404 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(status, 404);
}
