//! Object versioning: what a container that keeps versions shows, and what each operation leaves.

use anello_proxy::object::versions::listing::VersionQuery;
use anello_proxy::object::versions::{self, Versions};
use anello_proxy::swift::SwiftConfig;
use anello_storage::store::IfMissing;
use serde_json::Value;

use super::door::{Answer, Cloud, pattern};

const MARKER: &str = "application/x-deleted;swift_versions_deleted=1";

async fn cloud() -> Cloud {
    let cloud = Cloud::new().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[("x-versions-enabled", "true")], "").await.is(201);
    cloud
}

impl Cloud {
    async fn owner(&self, line: &str, body: &str) -> Answer {
        self.ask("owner", line, &[], body.to_owned()).await
    }

    /// Puts an object; its version's id.
    async fn version(&self, object: &str, body: &str) -> String {
        let made = self.owner(&format!("PUT /v1/AUTH_sea/c/{object}"), body).await.is(201);
        made.header("x-object-version-id").expect("a version").to_owned()
    }

    /// All versions: id and size, with a star behind the latest.
    async fn listed(&self, query: &str) -> Vec<(String, String)> {
        let rows = self.owner(&format!("GET /v1/AUTH_sea/c?versions{query}"), "").await.is(200).json();
        let row = |row: &Value| {
            let star = if row["is_latest"] == true { "*" } else { "" };
            let text = |name: &str| row[name].as_str().expect("text").to_owned();
            let what = if text("content_type") == MARKER { "-".into() } else { row["bytes"].to_string() };
            (text("version_id"), format!("{}{what}{star}", text("name")))
        };
        rows.as_array().expect("a list").iter().map(row).collect()
    }

    async fn shown(&self, query: &str) -> Vec<String> {
        self.listed(query).await.into_iter().map(|(_, text)| text).collect()
    }

    async fn suspend(&self) {
        self.ask("owner", "POST /v1/AUTH_sea/c", &[("x-versions-enabled", "false")], "").await.is(204);
    }
}

#[tokio::test]
async fn every_write_makes_a_version_and_a_deletion_a_marker() {
    let cloud = cloud().await;
    let large = String::from_utf8(vec![b'l'; 300_000]).expect("text");
    let (one, two) = (cloud.version("a", &large).await, cloud.version("a", "22").await);
    let head = cloud.owner("HEAD /v1/AUTH_sea/c/a", "").await.is(200);
    assert_eq!(head.header("x-object-version-id"), Some(&*two));
    assert_eq!(head.header("content-location"), Some(&*format!("/v1/AUTH_sea/c/a?version-id={two}")));
    let old = cloud.owner(&format!("GET /v1/AUTH_sea/c/a?version-id={one}"), "").await.is(200);
    assert_eq!((old.text(), old.header("x-object-version-id")), (&*large, Some(&*one)));
    let part = cloud
        .ask("owner", &format!("GET /v1/AUTH_sea/c/a?version-id={one}"), &[("range", "bytes=1-2,5-5")], "")
        .await
        .is(206);
    assert_eq!(part.header("x-object-version-id"), Some(&*one));

    let gone = cloud.owner("DELETE /v1/AUTH_sea/c/a", "").await.is(204);
    let marker = gone.header("x-object-version-id").expect("a marker").to_owned();
    cloud.owner("GET /v1/AUTH_sea/c/a", "").await.is(404);
    let of_marker = cloud.owner(&format!("HEAD /v1/AUTH_sea/c/a?version-id={marker}"), "").await.is(404);
    assert_eq!(
        (of_marker.header("content-type"), of_marker.header("x-object-version-id")),
        (Some(MARKER), Some(&*marker))
    );
    let again = cloud.owner("DELETE /v1/AUTH_sea/c/a", "").await.is(404);
    assert!(again.header("x-object-version-id").is_some_and(|id| id != marker), "each makes a marker");
    assert_eq!(cloud.shown("").await, ["a-*", "a-", "a2", "a300000"]);
    assert_eq!(cloud.owner("GET /v1/AUTH_sea/c", "").await.is(204).text(), "");
}

/// Without this Swift would replace what S3 keeps, where an operator does not offer versioning.
#[tokio::test]
async fn where_versioning_is_not_offered_versions_are_kept_all_the_same() {
    let cloud = Cloud::with(SwiftConfig { pipeline: Vec::new(), ..SwiftConfig::default() }).await;
    cloud.owner("PUT /v1/AUTH_sea/c", "").await.is(201);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-versions-enabled", "true")], "").await.is(501);
    cloud.owner("GET /v1/AUTH_sea/c/a?version-id=null", "").await.is(501);
    versions::set(&cloud.store, "AUTH_sea", "c", true).await.expect("keeps versions");
    for body in ["1", "2"] {
        let made = cloud.owner("PUT /v1/AUTH_sea/c/a", body).await.is(201);
        assert_eq!(made.header("x-object-version-id"), None);
    }
    cloud.owner("DELETE /v1/AUTH_sea/c/a", "").await.is(204);
    let info = cloud.store.container_settings("AUTH_sea", "c").await.expect("asks").expect("is there");
    let versions = Versions::of(&cloud.store, "AUTH_sea", "c", &info).expect("keeps versions");
    let page = versions.list(&VersionQuery { limit: 10, ..VersionQuery::default() }).await.expect("lists");
    assert_eq!(page.listed.len(), 3);
}

#[tokio::test]
async fn a_deleted_version_is_followed_by_nothing() {
    let cloud = cloud().await;
    let (one, two) = (cloud.version("a", "1").await, cloud.version("a", "22").await);
    let delete = async |id: &str| cloud.owner(&format!("DELETE /v1/AUTH_sea/c/a?version-id={id}"), "").await;
    let gone = delete(&two).await.is(204);
    let shown = ["x-object-version-id", "x-object-current-version-id"].map(|name| gone.header(name).map(str::to_owned));
    assert_eq!(shown, [Some(two.clone()), Some("null".into())]);
    cloud.owner("GET /v1/AUTH_sea/c/a", "").await.is(404);
    assert_eq!(cloud.shown("").await, ["a1"], "nothing is the latest");
    delete(&two).await.is(404);
    delete("1234567890.12345").await.is(404);
    delete("bad").await.is(400);
    let back = cloud.owner(&format!("PUT /v1/AUTH_sea/c/a?version-id={one}"), "").await.is(201);
    assert_eq!(back.header("x-object-version-id"), Some(&*one));
    assert_eq!(cloud.owner("GET /v1/AUTH_sea/c/a", "").await.text(), "1");
    assert_eq!(delete("null").await.is(204).header("x-object-version-id"), None);
    cloud.owner("GET /v1/AUTH_sea/c/a", "").await.is(404);
    assert_eq!(cloud.shown("").await, ["a1"], "only the name was taken from it");
}

#[tokio::test]
async fn an_older_version_is_made_current_or_copied() {
    let cloud = cloud().await;
    let ids = [cloud.version("a", "1").await, cloud.version("a", "22").await, cloud.version("a", "333").await];
    let address = format!("/v1/AUTH_sea/c/a?version-id={}", ids[1]);
    cloud.owner(&format!("PUT {address}"), "body").await.is(400);
    cloud.owner("PUT /v1/AUTH_sea/c/a?version-id=null", "").await.is(400);
    cloud.owner("PUT /v1/AUTH_sea/c/a?version-id=1234567890.12345", "").await.is(404);
    cloud.owner(&format!("POST {address}"), "").await.is(400);
    cloud.owner(&format!("PUT {address}"), "").await.is(201);
    assert_eq!(cloud.shown("").await, ["a3", "a2*", "a1"]);
    assert_eq!(cloud.shown("&reverse=true").await, ["a1", "a2*", "a3"]);
    let first = format!("/v1/AUTH_sea/c/a?version-id={}", ids[0]);
    let copied = cloud.ask("owner", &format!("COPY {first}"), &[("destination", "c/a")], "").await.is(201);
    assert_eq!(copied.header("x-copied-from-version-id"), Some(&*ids[0]));
    assert!(copied.header("x-object-version-id").is_some_and(|id| !ids.contains(&id.to_owned())));
    assert_eq!(cloud.shown("").await, ["a1*", "a3", "a2", "a1"]);
    let from = [("x-copy-from", "c/a")];
    let line = format!("PUT /v1/AUTH_sea/c/b?version-id={}", ids[2]);
    cloud.ask("owner", &line, &from, "").await.is(201);
    assert_eq!(cloud.owner("GET /v1/AUTH_sea/c/b", "").await.text(), "333");
}

#[tokio::test]
async fn while_keeping_is_suspended_there_is_one_more_version_and_no_marker() {
    let cloud = cloud().await;
    cloud.version("a", "1").await;
    cloud.suspend().await;
    let shown = cloud.owner("HEAD /v1/AUTH_sea/c", "").await.is(204);
    assert_eq!(shown.header("x-versions-enabled"), Some("False"));
    for body in ["22", "333"] {
        let made = cloud.owner("PUT /v1/AUTH_sea/c/a", body).await.is(201);
        assert_eq!(made.header("x-object-version-id"), None);
    }
    assert_eq!(cloud.listed("").await[0], ("null".to_owned(), "a3*".to_owned()));
    assert_eq!(cloud.shown("").await, ["a3*", "a1"]);
    cloud.owner("DELETE /v1/AUTH_sea/c/a", "").await.is(204);
    cloud.owner("DELETE /v1/AUTH_sea/c/a", "").await.is(404);
    assert_eq!(cloud.shown("").await, ["a1"]);
}

#[tokio::test]
async fn a_listing_of_versions_is_json_and_goes_on_behind_a_version() {
    let cloud = cloud().await;
    for body in ["1", "22", "333"] {
        cloud.version("a", body).await;
    }
    cloud.version("b/c", "1").await;
    let all = cloud.listed("").await;
    let behind = format!("&marker=a&version_marker={}", all[1].0);
    assert_eq!(cloud.shown(&behind).await, ["a1", "b/c1*"]);
    assert_eq!(cloud.shown(&format!("{behind}&reverse=on")).await, ["a3*"]);
    assert_eq!(cloud.shown("&limit=2").await, ["a3*", "a2"]);
    assert_eq!(cloud.shown("&end_marker=b").await.len(), 3);
    let rows = cloud.owner("GET /v1/AUTH_sea/c?versions&delimiter=/", "").await.json();
    assert_eq!(rows[3], serde_json::json!({"subdir": "b/"}));
    let get = async |query: &str, accept: &str| {
        let line = format!("GET /v1/AUTH_sea/c?versions{query}");
        cloud.ask("owner", &line, &[("accept", accept)], "").await.status
    };
    assert_eq!(get("&format=xml", "").await, 406);
    assert_eq!(get("&format=plain", "").await, 406);
    assert_eq!(get("", "text/plain").await, 406);
    assert_eq!(get("", "text/plain, */*;q=0.1").await, 200);
    assert_eq!(get("&version_marker=null", "").await, 400);
    assert_eq!(get("&marker=a&version_marker=bad", "").await, 400);
    cloud.owner("PUT /v1/AUTH_sea/plain", "").await.is(201);
    cloud.owner("PUT /v1/AUTH_sea/plain/o", "x").await.is(201);
    let rows = cloud.owner("GET /v1/AUTH_sea/plain?versions", "").await.json();
    assert_eq!((&rows[0]["version_id"], &rows[0]["is_latest"]), (&"null".into(), &true.into()));
}

/// Without this a quota would not count what fills the disks.
#[tokio::test]
async fn kept_versions_count_as_bytes_of_container_and_account() {
    let cloud = cloud().await;
    for body in ["1", "22", "333"] {
        cloud.version("a", body).await;
    }
    let head = cloud.owner("HEAD /v1/AUTH_sea/c", "").await;
    let counts = ["x-container-object-count", "x-container-bytes-used"].map(|name| head.header(name));
    assert_eq!(counts, [Some("1"), Some("6")]);
    let rows = cloud.owner("GET /v1/AUTH_sea?format=json", "").await.json();
    assert_eq!((&rows[0]["count"], &rows[0]["bytes"]), (&1.into(), &6.into()));
    assert_eq!(cloud.owner("HEAD /v1/AUTH_sea", "").await.header("x-account-bytes-used"), Some("6"));
    let rows = cloud.owner("GET /v1/AUTH_sea/c?format=json", "").await.json();
    assert_eq!((&rows[0]["bytes"], &rows[0]["version_symlink"]), (&3.into(), &true.into()));
    let id = cloud.listed("").await[0].0.clone();
    assert_eq!(rows[0]["symlink_path"], format!("/v1/AUTH_sea/c/a?version-id={id}"));
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-meta-quota-bytes", "7")], "").await.is(204);
    cloud.owner("PUT /v1/AUTH_sea/c/b", "22").await.is(413);
    cloud.owner("PUT /v1/AUTH_sea/c/b", "1").await.is(201);
}

#[tokio::test]
async fn a_container_keeps_versions_in_one_way_and_goes_with_the_last_of_them() {
    let cloud = cloud().await;
    let post = async |headers: &[(&str, &str)]| cloud.ask("owner", "POST /v1/AUTH_sea/c", headers, "").await.status;
    assert_eq!(post(&[("x-versions-location", "old")]).await, 400);
    assert_eq!(post(&[("x-versions-enabled", "true"), ("x-history-location", "old")]).await, 400);
    cloud.ask("owner", "PUT /v1/AUTH_sea/legacy", &[("x-versions-location", "old")], "").await.is(201);
    cloud.ask("owner", "POST /v1/AUTH_sea/legacy", &[("x-versions-enabled", "true")], "").await.is(400);
    cloud.owner("PUT /v1/AUTH_sea/legacy/a", "1").await.is(201);
    cloud.owner("GET /v1/AUTH_sea/legacy/a?version-id=1234567890.12345", "").await.is(400);
    cloud.owner("GET /v1/AUTH_sea/legacy/a?version-id=null", "").await.is(200);

    let id = cloud.version("a", "1").await;
    let marker = cloud.owner("DELETE /v1/AUTH_sea/c/a", "").await.is(204);
    cloud.owner("DELETE /v1/AUTH_sea/c", "").await.is(409);
    for id in [&id, marker.header("x-object-version-id").expect("a marker")] {
        cloud.owner(&format!("DELETE /v1/AUTH_sea/c/a?version-id={id}"), "").await.is(204);
    }
    cloud.owner("DELETE /v1/AUTH_sea/c", "").await.is(204);
}

/// Without this a container's lists would open what their makers can't see: that there are older versions.
#[tokio::test]
async fn versions_by_their_id_are_for_those_of_the_account() {
    let cloud = cloud().await;
    let lists = [("x-container-read", "hill:sue-id"), ("x-container-write", "hill:sue-id")];
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &lists, "").await.is(204);
    let id = cloud.version("a", "1").await;
    let ask = async |token: &str, line: &str| cloud.ask(token, line, &[], "").await.status;
    let of_version = format!("/v1/AUTH_sea/c/a?version-id={id}");
    assert_eq!(ask("stranger", "GET /v1/AUTH_sea/c/a").await, 200);
    assert_eq!(ask("stranger", &format!("GET {of_version}")).await, 403);
    assert_eq!(ask("stranger", &format!("DELETE {of_version}")).await, 403);
    let copy = [("destination", "c/b")];
    assert_eq!(cloud.ask("stranger", &format!("COPY {of_version}"), &copy, "").await.status, 403);
    let from = [("x-copy-from", "c/a")];
    let line = format!("PUT /v1/AUTH_sea/c/b?version-id={id}");
    assert_eq!(cloud.ask("stranger", &line, &from, "").await.status, 403);
    assert_eq!(ask("reader", &format!("GET {of_version}")).await, 200);
    assert_eq!(ask("reader", &format!("DELETE {of_version}")).await, 403);
    assert_eq!(ask("stranger", "PUT /v1/AUTH_sea/c/a").await, 201);
    assert_eq!(ask("stranger", "DELETE /v1/AUTH_sea/c/a").await, 204);
}

/// Without this whoever may write would get around what S3 has locked.
#[tokio::test]
async fn what_is_locked_stays() {
    let cloud = cloud().await;
    let default = vec![("x-container-sysmeta-s3-lock".to_owned(), "enabled COMPLIANCE 1 days".to_owned())];
    cloud.store.container_update("AUTH_sea", "c", default, 0, IfMissing::Fail).await.expect("sets");
    let id = cloud.version("a", "1").await;
    cloud.owner(&format!("DELETE /v1/AUTH_sea/c/a?version-id={id}"), "").await.is(403);
    cloud.ask("owner", "POST /v1/AUTH_sea/c/a", &[("x-object-meta-a", "1")], "").await.is(403);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-versions-enabled", "false")], "").await.is(409);
    cloud.owner("DELETE /v1/AUTH_sea/c/a?version-id=null", "").await.is(204);
    cloud.owner("DELETE /v1/AUTH_sea/c/a", "").await.is(404);
    cloud.owner(&format!("DELETE /v1/AUTH_sea/c/a?version-id={id}"), "").await.is(403);
    cloud.owner("DELETE /v1/AUTH_sea/c", "").await.is(409);
    assert_eq!(cloud.owner(&format!("GET /v1/AUTH_sea/c/a?version-id={id}"), "").await.text(), "1");
}

#[tokio::test]
async fn links_and_manifests_are_versions_like_others() {
    let cloud = cloud().await;
    let segment = String::from_utf8(vec![b's'; 1_000]).expect("text");
    cloud.owner("PUT /v1/AUTH_sea/segments", "").await.is(201);
    cloud.owner("PUT /v1/AUTH_sea/segments/s", &segment).await.is(201);
    let put = "PUT /v1/AUTH_sea/c/a?multipart-manifest=put";
    let slo = cloud.owner(put, r#"[{"path": "/segments/s"}]"#).await.is(201);
    let slo = slo.header("x-object-version-id").expect("a version").to_owned();
    let link = cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[("x-symlink-target", "segments/s")], "").await.is(201);
    let link = link.header("x-object-version-id").expect("a version").to_owned();
    cloud.version("a", "plain").await;
    let get = async |query: &str| cloud.owner(&format!("GET /v1/AUTH_sea/c/a?version-id={query}"), "").await;
    assert_eq!(get(&slo).await.is(200).text(), segment);
    assert_eq!(get(&link).await.is(200).text(), segment);
    let manifest = get(&format!("{slo}&multipart-manifest=get")).await.is(200).json();
    assert_eq!(manifest[0]["name"], "/segments/s");
    assert_eq!(get(&format!("{link}&symlink=get")).await.header("x-symlink-target"), Some("segments/s"));
    assert_eq!(cloud.shown("").await, ["a5*", "a0", "a1000"]);
    let rows = cloud.owner("GET /v1/AUTH_sea/c?versions", "").await.json();
    assert!(rows[2]["slo_etag"].is_string() && rows[1]["symlink_path"] == "/v1/AUTH_sea/segments/s", "{rows}");
    let line = format!("DELETE /v1/AUTH_sea/c/a?multipart-manifest=delete&version-id={slo}");
    let report = cloud.ask("owner", &line, &[("accept", "application/json")], "").await.is(200).json();
    assert_eq!((&report["Number Deleted"], &report["Response Status"]), (&2.into(), &"200 OK".into()));
    assert_eq!(cloud.shown("").await, ["a5*", "a0"]);
    cloud.owner("GET /v1/AUTH_sea/segments/s", "").await.is(404);
    assert_eq!(cloud.owner("GET /v1/AUTH_sea/c/a", "").await.text(), "plain");
}

#[tokio::test]
async fn an_object_expires_and_is_still_a_version() {
    let cloud = cloud().await;
    let made = cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[("x-delete-after", "1")], pattern(10)).await.is(201);
    let id = made.header("x-object-version-id").expect("a version").to_owned();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while cloud.owner("GET /v1/AUTH_sea/c/a", "").await.status == 200 {
        assert!(std::time::Instant::now() < until, "it never expires");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let kept = cloud.owner(&format!("GET /v1/AUTH_sea/c/a?version-id={id}"), "").await.is(200);
    assert_eq!((kept.body.len(), kept.header("x-delete-at")), (10, None));
    assert_eq!(cloud.shown("").await, ["a10"]);
    cloud.owner("DELETE /v1/AUTH_sea/c/a", "").await.is(404);
    cloud.version("a", "22").await;
    assert_eq!(cloud.shown("").await, ["a2*", "a-", "a10"]);
}
