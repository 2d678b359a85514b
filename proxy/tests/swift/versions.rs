//! Versioned writes: what a container's archive keeps, and what deleting brings back.

use super::door::{Cloud, pattern};

async fn cloud(header: &str) -> Cloud {
    let cloud = Cloud::new().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/old", &[], "").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[(header, "old")], "").await.is(201);
    cloud
}

/// Names in the archive, without their times.
async fn archived(cloud: &Cloud) -> Vec<String> {
    let names = cloud.ask("owner", "GET /v1/AUTH_sea/old", &[], "").await;
    names.text().lines().map(|name| name.rsplit_once('/').expect("a time").0.to_owned()).collect()
}

#[tokio::test]
async fn a_stack_gives_back_what_was_replaced() {
    let cloud = cloud("x-versions-location").await;
    let large = pattern(600_000);
    for data in [large.clone(), "two".into(), "three".into()] {
        cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[("x-object-meta-n", "1")], data).await.is(201);
    }
    assert_eq!(archived(&cloud).await, ["001a", "001a"]);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[("etag", "wrong")], "bad").await.is(422);
    assert_eq!(archived(&cloud).await.len(), 2, "nothing was replaced");
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/a", &[], "").await.is(204);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/a", &[], "").await.text(), "two");
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/a", &[], "").await.is(204);
    let first = cloud.ask("owner", "GET /v1/AUTH_sea/c/a", &[], "").await.is(200);
    assert_eq!((first.body == large, first.header("x-object-meta-n")), (true, Some("1")));
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/a", &[], "").await.is(204);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/a", &[], "").await.is(404);
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/a", &[], "").await.is(404);
}

#[tokio::test]
async fn a_history_keeps_deletions_and_a_stack_undoes_them() {
    let cloud = cloud("x-history-location").await;
    let shown = cloud.ask("owner", "HEAD /v1/AUTH_sea/c", &[], "").await;
    assert_eq!((shown.header("x-history-location"), shown.header("x-versions-location")), (Some("old"), None));
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[], "one").await.is(201);
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/a", &[], "").await.is(204);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/a", &[], "").await.is(404);
    let rows = cloud.ask("owner", "GET /v1/AUTH_sea/old?format=json", &[], "").await.json();
    assert_eq!(rows.as_array().map(Vec::len), Some(2));
    assert_eq!(rows[1]["content_type"], "application/x-deleted;swift_versions_deleted=1");
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-versions-location", "old")], "").await.is(204);
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/a", &[], "").await.is(204);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/a", &[], "").await.text(), "one");
    assert!(archived(&cloud).await.is_empty());
}

#[tokio::test]
async fn an_archive_is_one_container_that_is_there() {
    let cloud = cloud("x-versions-location").await;
    let both = [("x-versions-location", "old"), ("x-history-location", "old")];
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &both, "").await.is(400);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-versions-location", "a/b")], "").await.is(412);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-versions-location", "none")], "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[], "one").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[], "two").await.is(412);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/a", &[], "").await.text(), "one");
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-remove-versions-location", "x")], "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[], "two").await.is(201);
}

#[tokio::test]
async fn links_and_manifests_are_archived_as_such() {
    let cloud = cloud("x-versions-location").await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/old/t", &[], "target").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[("x-symlink-target", "old/t")], "").await.is(201);
    let manifest = r#"[{"path": "/old/t"}]"#;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a?multipart-manifest=put", &[], manifest).await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[], "plain").await.is(201);
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/a", &[], "").await.is(204);
    let slo = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/a", &[], "").await.is(200);
    assert_eq!((slo.header("x-static-large-object"), slo.header("content-length")), (Some("True"), Some("6")));
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/a", &[], "").await.is(204);
    let link = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/a?symlink=get", &[], "").await.is(200);
    assert_eq!(link.header("x-symlink-target"), Some("old/t"));
}
