//! Symbolic links.

use super::door::{Cloud, md5_hex};

#[tokio::test]
async fn a_link_is_read_as_what_it_leads_to_and_is_itself_when_asked() {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/t", &[("x-object-meta-a", "1")], "target").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/l", &[("x-symlink-target", "c/t")], "").await.is(201);
    let read = cloud.ask("owner", "GET /v1/AUTH_sea/c/l", &[("range", "bytes=0-2")], "").await.is(206);
    assert_eq!((read.text(), read.header("x-object-meta-a")), ("tar", Some("1")));
    assert_eq!(read.header("content-location"), Some("/v1/AUTH_sea/c/t"));
    let link = cloud.ask("owner", "GET /v1/AUTH_sea/c/l?symlink=get", &[], "").await.is(200);
    assert_eq!((link.text(), link.header("x-symlink-target")), ("", Some("c/t")));
    assert_eq!(link.header("content-type"), Some("application/symlink"));

    let moved = cloud.ask("owner", "POST /v1/AUTH_sea/c/l", &[("x-object-meta-b", "2")], "").await.is(307);
    assert_eq!(moved.header("location"), Some("/v1/AUTH_sea/c/t"));
    let row = cloud.ask("owner", "GET /v1/AUTH_sea/c?format=json&prefix=l", &[], "").await.json();
    assert_eq!((&row[0]["symlink_path"], &row[0]["bytes"]), (&"/v1/AUTH_sea/c/t".into(), &0.into()));

    cloud.ask("owner", "COPY /v1/AUTH_sea/c/l", &[("destination", "c/data")], "").await.is(201);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/data?symlink=get", &[], "").await.text(), "target");
    cloud.ask("owner", "COPY /v1/AUTH_sea/c/l?symlink=get", &[("destination", "c/l2")], "").await.is(201);
    let copy = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/l2?symlink=get", &[], "").await.is(200);
    assert_eq!(copy.header("x-symlink-target"), Some("c/t"));
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/l", &[], "").await.is(204);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/t", &[], "").await.is(200);
}

#[tokio::test]
async fn a_static_link_leads_to_one_version_alone() {
    let cloud = Cloud::with_container().await;
    let tag = md5_hex(b"one");
    let link = [("x-symlink-target", "c/t"), ("x-symlink-target-etag", tag.as_str())];
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/l", &link, "").await.is(409);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/t", &[("content-type", "text/x")], "one").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/l", &link, "").await.is(201);
    let row = cloud.ask("owner", "GET /v1/AUTH_sea/c?format=json&prefix=l", &[], "").await.json();
    assert_eq!((&row[0]["symlink_etag"], &row[0]["symlink_bytes"]), (&tag.as_str().into(), &3.into()));
    assert_eq!(row[0]["content_type"], "text/x");
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/l", &[], "").await.is(200).text(), "one");
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/t", &[], "two").await.is(201);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/l", &[], "").await.is(409);
}

#[tokio::test]
async fn a_way_that_is_too_long_closed_or_none_is_not_gone() {
    let cloud = Cloud::with_container().await;
    cloud.ask("stranger", "PUT /v1/AUTH_hill/c", &[], "").await.is(201);
    cloud.ask("stranger", "PUT /v1/AUTH_hill/c/secret", &[], "x").await.is(201);
    let elsewhere = [("x-symlink-target", "c/secret"), ("x-symlink-target-account", "AUTH_hill")];
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/thief", &elsewhere, "").await.is(201);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/thief", &[], "").await.is(403);
    let manifest = r#"[{"path": "/c/thief"}]"#;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/slo?multipart-manifest=put", &[], manifest).await.is(400);
    cloud.ask("stranger", "POST /v1/AUTH_hill/c", &[("x-container-read", "sea:*")], "").await.is(204);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/thief", &[], "").await.is(200);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/slo?multipart-manifest=put", &[], manifest).await.is(201);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/slo", &[], "").await.is(200);
    cloud.ask("stranger", "POST /v1/AUTH_hill/c", &[("x-container-read", "")], "").await.is(204);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/slo", &[], "").await.is(409);

    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[("x-symlink-target", "c/b")], "").await.is(201);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/a", &[], "").await.is(404);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/b", &[("x-symlink-target", "c/a")], "").await.is(201);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/a", &[], "").await.is(409);
    for (target, body, status) in [("c/l", "", 400), ("c/x", "data", 400), ("c", "", 412), ("/c/x", "", 412)] {
        cloud.ask("owner", "PUT /v1/AUTH_sea/c/l", &[("x-symlink-target", target)], body).await.is(status);
    }
    cloud.ask("owner", "POST /v1/AUTH_sea/c/a", &[("x-symlink-target", "c/x")], "").await.is(400);
}
