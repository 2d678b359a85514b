//! Which middlewares are there, in which order, and the small ones.

use anello_proxy::swift::{Amount, EtagQuoterConfig, Middleware, RatelimitConfig, ReadOnlyConfig, SwiftConfig};

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

#[tokio::test]
async fn entity_tags_are_quoted_where_container_or_account_want_it() {
    let cloud = Cloud::with(with(Middleware::EtagQuoter)).await;
    let of_container = "x-container-rfc-compliant-etags";
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
    let put = async || {
        let made = cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "x").await.is(201);
        let etag = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/o", &[], "").await.is(200).header("etag").map(str::to_owned);
        assert_eq!(made.header("etag"), etag.as_deref());
        etag.expect("a tag").starts_with('"')
    };
    assert!(!put().await, "it isn't so by default");
    cloud.ask("owner", "POST /v1/AUTH_sea", &[("x-account-rfc-compliant-etags", "on")], "").await.is(204);
    assert!(put().await);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea", &[], "").await;
    assert_eq!(head.header("x-account-rfc-compliant-etags"), Some("True"));
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[(of_container, "no")], "").await.is(204);
    assert!(!put().await, "the container's word counts first");
    assert_eq!(cloud.ask("owner", "HEAD /v1/AUTH_sea/c", &[], "").await.header(of_container), Some("False"));
    let unset = [("x-remove-container-rfc-compliant-etags", "x")];
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &unset, "").await.is(204);
    assert!(put().await);

    let etag_quoter = EtagQuoterConfig { enable_by_default: true };
    let cloud = Cloud::with(SwiftConfig { etag_quoter, ..with(Middleware::EtagQuoter) }).await;
    assert_eq!(cloud.ask("", "GET /info", &[], "").await.json()["etag_quoter"]["enable_by_default"], true);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
    let made = cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "x").await;
    assert!(made.header("etag").is_some_and(|etag| etag.starts_with('"')));
}

#[tokio::test]
async fn endpoints_name_the_devices_that_keep_something() {
    let cloud = Cloud::with(with(Middleware::ListEndpoints)).await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
    let get = async |path: &str| cloud.ask("", &format!("GET /endpoints/{path}"), &[], "").await.is(200).json();
    let first = get("AUTH_sea/c/a%20b").await;
    let endpoint = first[0].as_str().expect("an address").to_owned();
    assert!(endpoint.starts_with("http://127.0.0.1:6200/") && endpoint.ends_with("/AUTH_sea/c/a%20b"), "{endpoint}");
    assert_eq!(get("v1/AUTH_sea/c/a%20b").await, first);
    let second = get("v2/AUTH_sea/c/a%20b").await;
    assert_eq!(second["endpoints"], first);
    assert_eq!(second["headers"], serde_json::json!({"X-Backend-Storage-Policy-Index": "0"}));
    assert_eq!(get("v2/AUTH_sea").await["headers"], serde_json::json!({}));
    assert!(get("AUTH_sea/c").await[0].as_str().is_some_and(|endpoint| endpoint.ends_with("/AUTH_sea/c")));
    assert!(cloud.door.answers("", "/endpoints/AUTH_sea") && !Cloud::new().await.door.answers("", "/endpoints/a"));
    cloud.ask("", "POST /endpoints/AUTH_sea", &[], "").await.is(405);
    cloud.ask("", "GET /endpoints/v3/AUTH_sea", &[], "").await.is(400);
    cloud.ask("", "GET /endpoints/", &[], "").await.is(400);
}

fn amount(number: f64) -> Amount {
    Amount::try_from(number).expect("a rate")
}

#[tokio::test]
async fn who_is_too_fast_is_held_to_the_limits() {
    let ratelimit = RatelimitConfig {
        account_ratelimit: amount(1e-6),
        container_ratelimits: vec![(2, amount(1e-6))],
        container_listing_ratelimits: vec![(2, amount(1e-6))],
        account_whitelist: vec!["AUTH_isle".into()],
        account_blacklist: vec!["AUTH_hill".into()],
        max_sleep_time_seconds: amount(0.5),
        ..RatelimitConfig::default()
    };
    let cloud = Cloud::with(SwiftConfig { ratelimit, ..with(Middleware::Ratelimit) }).await;
    let ask = async |token: &str, line: &str| cloud.ask(token, line, &[], "").await.status;
    assert_eq!(ask("owner", "PUT /v1/AUTH_sea/c").await, 201);
    assert_eq!(ask("owner", "PUT /v1/AUTH_sea/d").await, 498);
    assert_eq!(ask("owner", "DELETE /v1/AUTH_sea/c").await, 498);
    for object in ["1", "2", "3"] {
        assert_eq!(ask("owner", &format!("PUT /v1/AUTH_sea/c/{object}")).await, 201, "the third is the first of two");
    }
    assert_eq!(ask("owner", "PUT /v1/AUTH_sea/c/4").await, 498);
    assert_eq!(ask("owner", "DELETE /v1/AUTH_sea/c/1").await, 498);
    assert_eq!(ask("owner", "GET /v1/AUTH_sea/c/1").await, 200, "reading is not limited");
    assert_eq!([ask("owner", "GET /v1/AUTH_sea/c").await, ask("owner", "GET /v1/AUTH_sea/c").await], [200, 498]);
    assert_eq!(ask("owner", "HEAD /v1/AUTH_sea/c").await, 204);
    for container in ["a", "b", "c"] {
        assert_eq!(ask("foreign", &format!("PUT /v1/AUTH_isle/{container}")).await, 201);
    }
    assert_eq!(ask("stranger", "GET /v1/AUTH_hill").await, 497);
    let told = &cloud.ask("", "GET /info", &[], "").await.json()["ratelimit"];
    assert_eq!(told["container_ratelimits"], serde_json::json!([[2, 1e-6]]));
    assert_eq!(told["max_sleep_time_seconds"], 0.5);
    assert!(told.get("account_blacklist").is_none(), "that is nobody's business");
}
