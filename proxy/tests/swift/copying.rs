//! Copies made by the server.

use super::door::{Cloud, md5_hex, pattern};

async fn with_source() -> Cloud {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/d", &[], "").await.is(201);
    let headers =
        [("content-type", "a/b"), ("content-encoding", "gzip"), ("x-object-meta-a", "1"), ("x-object-meta-b", "2")];
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a%20b", &headers, pattern(300_000)).await.is(201);
    cloud
}

#[tokio::test]
async fn a_copy_is_like_its_source_and_what_the_request_says() {
    let cloud = with_source().await;
    let source = ("x-copy-from", "/c/a%20b");
    let to = |line: &'static str| line;
    for (line, extra, a, b, c, media_type) in [
        (to("PUT /v1/AUTH_sea/d/o"), &[source][..], Some("1"), Some("2"), None, "a/b"),
        (to("COPY /v1/AUTH_sea/c/a%20b"), &[("destination", "d/o")], Some("1"), Some("2"), None, "a/b"),
        (
            to("COPY /v1/AUTH_sea/c/a%20b"),
            &[("destination", "/d/o"), ("x-object-meta-a", "9"), ("x-object-meta-c", "3"), ("content-type", "x/y")],
            Some("9"),
            Some("2"),
            Some("3"),
            "x/y",
        ),
        (
            to("COPY /v1/AUTH_sea/c/a%20b"),
            &[("destination", "d/o"), ("x-fresh-metadata", "true"), ("x-object-meta-c", "3")],
            None,
            None,
            Some("3"),
            "a/b",
        ),
    ] {
        let copied = cloud.ask("owner", line, extra, "").await.is(201);
        assert_eq!(copied.header("x-copied-from"), Some("c/a%20b"));
        assert_eq!(copied.header("x-copied-from-account"), Some("AUTH_sea"));
        assert_eq!(copied.header("etag"), Some(md5_hex(&pattern(300_000)).as_str()));
        let got = cloud.ask("owner", "GET /v1/AUTH_sea/d/o", &[], "").await.is(200);
        assert!(got.body == pattern(300_000));
        for (name, want) in [("x-object-meta-a", a), ("x-object-meta-b", b), ("x-object-meta-c", c)] {
            assert_eq!(got.header(name), want, "{line} {extra:?} {name}");
        }
        assert_eq!(got.header("content-type"), Some(media_type), "{line} {extra:?}");
    }
}

#[tokio::test]
async fn a_copy_that_makes_no_sense_is_refused() {
    let cloud = with_source().await;
    for (line, headers, body, want) in [
        ("COPY /v1/AUTH_sea/c/a%20b", &[][..], "", 412),
        ("COPY /v1/AUTH_sea/c/a%20b", &[("destination", "d")], "", 412),
        ("COPY /v1/AUTH_sea/c/none", &[("destination", "d/o")], "", 404),
        ("COPY /v1/AUTH_sea/c/a%20b", &[("destination", "none/o")], "", 404),
        ("PUT /v1/AUTH_sea/d/o", &[("x-copy-from", "c")], "", 412),
        ("PUT /v1/AUTH_sea/d/o", &[("x-copy-from", "c/a%20b")], "x", 400),
        ("PUT /v1/AUTH_sea/d/o", &[("x-copy-from", "c/a%20b"), ("if-match", "\"x\"")], "", 412),
        ("PUT /v1/AUTH_sea/d/o", &[("x-copy-from", "c/a%20b"), ("range", "bytes=900000-")], "", 416),
        ("COPY /v1/AUTH_sea/c/a%20b", &[("destination", "d/o"), ("destination-account", "AUTH_hill")], "", 403),
    ] {
        cloud.ask("owner", line, headers, body).await.is(want);
        cloud.ask("owner", "HEAD /v1/AUTH_sea/d/o", &[], "").await.is(404);
    }
}

#[tokio::test]
async fn an_object_copied_onto_itself_changes_its_metadata_alone() {
    let cloud = with_source().await;
    let headers = [("destination", "c/a%20b"), ("x-object-meta-a", "new"), ("range", "")];
    cloud.ask("owner", "COPY /v1/AUTH_sea/c/a%20b", &headers, "").await.is(201);
    let got = cloud.ask("owner", "GET /v1/AUTH_sea/c/a%20b", &[], "").await.is(200);
    assert!(got.body == pattern(300_000));
    assert_eq!((got.header("x-object-meta-a"), got.header("x-object-meta-b")), (Some("new"), Some("2")));
    let part = [("x-copy-from", "c/a%20b"), ("range", "bytes=5-9")];
    cloud.ask("owner", "PUT /v1/AUTH_sea/d/part", &part, "").await.is(201);
    assert!(cloud.ask("owner", "GET /v1/AUTH_sea/d/part", &[], "").await.body == pattern(300_000).slice(5..10));
}

#[tokio::test]
async fn another_account_is_copied_from_where_its_lists_allow() {
    let cloud = with_source().await;
    cloud.ask("stranger", "PUT /v1/AUTH_hill/h", &[], "").await.is(201);
    let headers = [("x-copy-from", "c/a%20b"), ("x-copy-from-account", "AUTH_sea")];
    cloud.ask("stranger", "PUT /v1/AUTH_hill/h/o", &headers, "").await.is(403);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-read", "hill:*")], "").await.is(204);
    let copied = cloud.ask("stranger", "PUT /v1/AUTH_hill/h/o", &headers, "").await.is(201);
    assert_eq!(copied.header("x-copied-from-account"), Some("AUTH_sea"));
}
