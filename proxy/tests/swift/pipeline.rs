//! Which middlewares are there, in which order, and the small ones.

use anello_proxy::swift::{Middleware, ReadOnlyConfig, SwiftConfig};

use super::door::Cloud;

fn with(middleware: Middleware) -> SwiftConfig {
    let mut config = SwiftConfig::default();
    config.pipeline.insert(0, middleware);
    config
}

#[tokio::test]
async fn what_is_not_in_the_pipeline_is_neither_there_nor_announced() {
    let all = Cloud::with_container().await.ask("", "GET /info", &[], "").await.json();
    for name in ["bulk_upload", "bulk_delete", "tempurl", "formpost", "staticweb", "symlink", "account_quotas"] {
        assert!(all[name].is_object(), "{name}");
    }
    let cloud = Cloud::with(SwiftConfig { pipeline: Vec::new(), ..SwiftConfig::default() }).await;
    let none = cloud.ask("", "GET /info", &[], "").await.json();
    for name in ["bulk_delete", "tempurl", "formpost", "staticweb", "symlink", "container_quotas", "versioned_writes"] {
        assert!(none.get(name).is_none(), "{name}");
    }
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
    for (line, headers) in [
        ("POST /v1/AUTH_sea?bulk-delete", &[][..]),
        ("PUT /v1/AUTH_sea?extract-archive=tar", &[]),
        ("GET /v1/AUTH_sea/c/o?temp_url_sig=0&temp_url_expires=1", &[]),
        ("PUT /v1/AUTH_sea/c/o", &[("x-symlink-target", "c/t")]),
        ("POST /v1/AUTH_sea/c", &[("x-versions-location", "old")]),
        ("POST /v1/AUTH_sea/c", &[("x-container-meta-quota-bytes", "1")]),
        ("POST /v1/AUTH_sea/c", &[("x-container-meta-web-index", "i")]),
        ("POST /v1/AUTH_sea/c/o", &[("content-type", "multipart/form-data; boundary=x")]),
    ] {
        cloud.ask("owner", line, headers, "").await.is(501);
    }
}

#[tokio::test]
async fn a_closed_cluster_takes_no_writes() {
    let config = SwiftConfig {
        read_only: ReadOnlyConfig { read_only: true, allow_deletes: true },
        ..with(Middleware::ReadOnly)
    };
    let cloud = Cloud::with(config).await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(405);
    cloud.ask("owner", "POST /v1/AUTH_sea", &[], "").await.is(405);
    cloud.ask("owner", "COPY /v1/AUTH_sea/c/o", &[("destination", "c/p")], "").await.is(405);
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c", &[], "").await.is(404);
    cloud.ask("owner", "GET /v1/AUTH_sea", &[], "").await.is(204);
}

#[tokio::test]
async fn names_and_other_sites_are_as_the_operator_wants() {
    let mut config = with(Middleware::NameCheck);
    config.pipeline.insert(0, Middleware::Crossdomain);
    let cloud = Cloud::with(config).await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a%3Cb", &[], "").await.is(400);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a/../b", &[], "").await.is(400);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/ab", &[], "").await.is(201);
    let policy = cloud.ask("", "GET /crossdomain.xml", &[], "").await.is(200);
    assert!(policy.text().contains("<allow-access-from domain=\"*\""), "{}", policy.text());
    assert!(cloud.door.answers("", "/crossdomain.xml") && cloud.door.answers("", "/auth/v1.0"));
}
