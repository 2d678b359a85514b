//! Large objects that are deleted in the background.

use anello_proxy::object::deletions::Deleter;
use anello_proxy::swift::{SloConfig, SwiftConfig};
use anello_storage::store::ObjectUpdate;
use anello_storage::{ListQuery, Listed, ObjectPath};

use super::door::Cloud;

const ASYNC: &str = "DELETE /v1/AUTH_sea/c/large?multipart-manifest=delete&async=on";

/// A large object of the segments `1` and `2`.
async fn with_two_segments(config: SwiftConfig) -> Cloud {
    let cloud = Cloud::with(config).await;
    for line in ["c", "s", "s/1", "s/2", "s/other"] {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/{line}"), &[], "").await.is(201);
    }
    cloud.ask("owner", "PUT /v1/AUTH_sea/s/1", &[], "one").await.is(201);
    let manifest = r#"[{"path": "/s/1"}, {"path": "/s/2"}, {"data": "eA=="}]"#;
    cloud.ask("owner", "PUT /v1/AUTH_sea/s/2", &[], "two").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/large?multipart-manifest=put", &[], manifest).await.is(201);
    cloud
}

#[tokio::test]
async fn segments_are_deleted_in_the_background() {
    let cloud = with_two_segments(SwiftConfig::default()).await;
    assert_eq!(cloud.ask("", "GET /info", &[], "").await.json()["slo"]["allow_async_delete"], true);
    cloud.ask("stranger", ASYNC, &[], "").await.is(403);
    cloud.ask("owner", ASYNC, &[], "").await.is(204);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/large", &[], "").await.is(404);
    cloud.ask("owner", ASYNC, &[], "").await.is(404);
    // Written anew before the job was done: it is another.
    cloud.ask("owner", "PUT /v1/AUTH_sea/s/2", &[], "new").await.is(201);
    let deleter = Deleter::new(cloud.store.clone());
    assert_eq!(deleter.step().await.expect("does the job"), 1);
    cloud.ask("owner", "GET /v1/AUTH_sea/s/1", &[], "").await.is(404);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/s", &[], "").await.text(), "2\nother\n");
    assert_eq!(deleter.step().await.expect("looks"), 0, "it is done");
    cloud.ask("owner", "DELETE /v1/AUTH_sea/s/other?multipart-manifest=delete&async=on", &[], "").await.is(400);
}

#[tokio::test]
async fn only_simple_large_objects_are_deleted_in_the_background() {
    let cloud = with_two_segments(SwiftConfig::default()).await;
    let put = "PUT /v1/AUTH_sea/s/whole?multipart-manifest=put";
    cloud.ask("owner", put, &[], r#"[{"path": "/c/large"}]"#).await.is(201);
    let refused = cloud.ask("owner", "DELETE /v1/AUTH_sea/s/whole?multipart-manifest=delete&async=1", &[], "").await;
    assert_eq!(refused.is(400).text(), "No segments may be large objects.");
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/3", &[], "x").await.is(201);
    cloud.ask("owner", put, &[], r#"[{"path": "/s/1"}, {"path": "/c/3"}]"#).await.is(201);
    let refused = cloud.ask("owner", "DELETE /v1/AUTH_sea/s/whole?multipart-manifest=delete&async=1", &[], "").await;
    let detail = "All segments must be in one container. Found segments in \"c\", \"s\"";
    assert_eq!(refused.is(400).text(), detail);
    cloud.ask("owner", "GET /v1/AUTH_sea/s/whole", &[], "").await.is(200);

    let config = SwiftConfig { slo: SloConfig { allow_async_delete: false }, ..SwiftConfig::default() };
    let cloud = with_two_segments(config).await;
    let report = cloud.ask("owner", ASYNC, &[("accept", "application/json")], "").await.is(200).json();
    assert_eq!(report["Number Deleted"], 3, "at once");
}

/// Without this two hosts would do every job, and one that died would leave its job for ever.
#[tokio::test]
async fn a_job_is_one_hosts_for_a_while() {
    let cloud = with_two_segments(SwiftConfig::default()).await;
    cloud.ask("owner", ASYNC, &[], "").await.is(204);
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let page = cloud.store.container_list(".deletions", "jobs", &query).await;
    let Some(Listed::Entry(job)) = page.expect("lists").pop() else { panic!("a job") };
    let path = ObjectPath::new(".deletions", "jobs", job.name);
    let claim = async |ago: u64| {
        let claimed = cloud.store.clock().wall().minus(std::time::Duration::from_secs(ago)).ticks().to_string();
        let metadata = vec![("x-object-sysmeta-claimed".to_owned(), claimed)];
        let change = |_: &_| Ok(ObjectUpdate { content_type: None, delete_at: None, metadata: metadata.clone() });
        cloud.store.object_update(&path, change).await.expect("claims");
    };
    let deleter = Deleter::new(cloud.store.clone());
    claim(500).await;
    assert_eq!(deleter.step().await.expect("looks"), 0, "another host does it");
    cloud.ask("owner", "GET /v1/AUTH_sea/s/1", &[], "").await.is(200);
    claim(700).await;
    assert_eq!(deleter.step().await.expect("does the job"), 1, "that host has died");
    cloud.ask("owner", "GET /v1/AUTH_sea/s/1", &[], "").await.is(404);
}

#[tokio::test]
async fn segments_that_are_versions_stay_as_such_and_locked_ones_altogether() {
    let cloud = with_two_segments(SwiftConfig::default()).await;
    cloud.ask("owner", "POST /v1/AUTH_sea/s", &[("x-versions-enabled", "on")], "").await.is(204);
    let made = cloud.ask("owner", "PUT /v1/AUTH_sea/s/1", &[], "one").await.is(201);
    let id = made.header("x-object-version-id").expect("a version");
    let lock = |info: &anello_storage::ObjectInfo| {
        let metadata = vec![("x-object-sysmeta-s3-legal-hold".to_owned(), "ON".to_owned())];
        Ok(ObjectUpdate { content_type: None, delete_at: info.delete_at, metadata })
    };
    let null = ObjectPath::new("AUTH_sea", "s", "2");
    cloud.store.object_update(&null, lock).await.expect("locks");
    cloud.ask("owner", ASYNC, &[], "").await.is(204);
    assert_eq!(Deleter::new(cloud.store.clone()).step().await.expect("does the job"), 1);
    cloud.ask("owner", "GET /v1/AUTH_sea/s/1", &[], "").await.is(404);
    cloud.ask("owner", &format!("GET /v1/AUTH_sea/s/1?version-id={id}"), &[], "").await.is(200);
    cloud.ask("owner", "GET /v1/AUTH_sea/s/2", &[], "").await.is(200);
}
