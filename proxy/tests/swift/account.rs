//! Accounts: totals, listings, metadata, management.

use anello_proxy::object::account_reaper::AccountReaper;

use super::door::Cloud;

#[tokio::test]
async fn an_account_is_there_before_anything_is_in_it() {
    let cloud = Cloud::new().await;
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea", &[], "").await.is(204);
    assert_eq!(head.header("x-account-container-count"), Some("0"));
    assert!(head.header("x-timestamp").is_some() && head.header("x-trans-id").is_some());
    cloud.ask("owner", "GET /v1/AUTH_sea", &[], "").await.is(204);
    let json = cloud.ask("owner", "GET /v1/AUTH_sea?format=json", &[], "").await.is(200);
    assert_eq!(json.text(), "[]");
}

#[tokio::test]
async fn totals_and_listings_follow_the_objects() {
    let cloud = Cloud::new().await;
    for name in ["b", "a", "c"] {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/{name}"), &[], "").await.is(201);
    }
    cloud.ask("owner", "PUT /v1/AUTH_sea/b/o", &[], "hello").await.is(201);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea", &[], "").await.is(204);
    for (name, want) in [
        ("x-account-container-count", "3"),
        ("x-account-object-count", "1"),
        ("x-account-bytes-used", "5"),
        ("x-account-storage-policy-policy-0-bytes-used", "5"),
        ("x-account-project-domain-id", "default"),
    ] {
        assert_eq!(head.header(name), Some(want), "{name}");
    }
    for (query, want) in [
        ("", "a\nb\nc\n"),
        ("?limit=2", "a\nb\n"),
        ("?marker=a", "b\nc\n"),
        ("?marker=a&end_marker=c", "b\n"),
        ("?prefix=b", "b\n"),
        ("?reverse=true", "c\nb\na\n"),
    ] {
        assert_eq!(
            cloud.ask("owner", &format!("GET /v1/AUTH_sea{query}"), &[], "").await.is(200).text(),
            want,
            "{query}"
        );
    }
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea?marker=z", &[], "").await.is(204).text(), "");
    cloud.ask("owner", "GET /v1/AUTH_sea?limit=10001", &[], "").await.is(412);
    let json = cloud.ask("owner", "GET /v1/AUTH_sea?format=json&prefix=b", &[], "").await.is(200).json();
    assert_eq!((&json[0]["name"], &json[0]["count"], &json[0]["bytes"]), (&"b".into(), &1.into(), &5.into()));
    let xml = cloud.ask("owner", "GET /v1/AUTH_sea", &[("accept", "application/xml")], "").await.is(200);
    assert_eq!(xml.header("content-type"), Some("application/xml; charset=utf-8"));
    assert!(xml.text().contains("<account name=\"AUTH_sea\">") && xml.text().contains("<count>1</count>"));
}

#[tokio::test]
async fn metadata_are_set_kept_and_removed() {
    let cloud = Cloud::new().await;
    let post = |headers: &'static [(&str, &str)]| cloud.ask("owner", "POST /v1/AUTH_sea", headers, "");
    post(&[("x-account-meta-color", "blue"), ("x-account-meta-snow", "☃")]).await.is(204);
    post(&[("x-account-meta-size", "big")]).await.is(204);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea", &[], "").await;
    assert_eq!(head.header("x-account-meta-color"), Some("blue"));
    assert_eq!(head.header("x-account-meta-snow"), Some("☃"));
    assert_eq!(head.header("x-account-meta-size"), Some("big"));
    post(&[("x-account-meta-color", ""), ("x-remove-account-meta-size", "x")]).await.is(204);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea", &[], "").await;
    assert_eq!((head.header("x-account-meta-color"), head.header("x-account-meta-size")), (None, None));
    assert!(head.headers.keys().all(|name| !name.as_str().contains("sysmeta")), "{:?}", head.headers);
}

#[tokio::test]
async fn accounts_are_created_by_owners_and_deleted_by_reseller_admins() {
    let cloud = Cloud::new().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea", &[], "").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea", &[], "").await.is(202);
    cloud.ask("owner", "DELETE /v1/AUTH_sea", &[], "").await.is(403);
    cloud.ask("reseller", "DELETE /v1/AUTH_sea?typo", &[], "").await.is(400);
    cloud.ask("reseller", "DELETE /v1/AUTH_sea", &[], "").await.is(204);
    cloud.ask("reseller", "DELETE /v1/AUTH_sea", &[], "").await.is(404);
    cloud.ask("owner", "GET /v1/AUTH_sea", &[], "").await.is(204);
}

#[tokio::test]
async fn an_account_is_deleted_with_all_that_is_in_it() {
    let cloud = Cloud::new().await;
    for name in ["b", "c"] {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/{name}"), &[], "").await.is(201);
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/{name}/o"), &[], "hello").await.is(201);
    }
    cloud.ask("reseller", "DELETE /v1/AUTH_sea", &[], "").await.is(204);
    for (line, status) in [
        ("HEAD /v1/AUTH_sea", 410),
        ("GET /v1/AUTH_sea", 410),
        ("POST /v1/AUTH_sea", 404),
        ("PUT /v1/AUTH_sea", 403),
        ("DELETE /v1/AUTH_sea", 404),
        ("PUT /v1/AUTH_sea/d", 404),
    ] {
        cloud.ask("reseller", line, &[], "").await.is(status);
    }
    let reaper = AccountReaper::new(cloud.store.clone());
    assert_eq!(reaper.step().await.expect("a step"), 1);
    cloud.ask("owner", "GET /v1/AUTH_sea/b/o", &[], "").await.is(404);
    cloud.ask("owner", "GET /v1/AUTH_sea/b", &[], "").await.is(404);
    let fresh = cloud.ask("owner", "HEAD /v1/AUTH_sea", &[], "").await.is(204);
    assert_eq!(fresh.header("x-account-container-count"), Some("0"));
    cloud.ask("owner", "PUT /v1/AUTH_sea/b", &[], "").await.is(201);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/b", &[], "").await.is(204).text(), "");
    assert_eq!(reaper.step().await.expect("a step"), 0);
}

#[tokio::test]
async fn what_is_not_offered_says_so() {
    let cloud = Cloud::with_container().await;
    for (line, want) in [
        ("PATCH /v1/AUTH_sea", 405),
        ("COPY /v1/AUTH_sea/c", 405),
        ("UPDATE /v1/AUTH_sea/c", 405),
        ("GET /v2/AUTH_sea", 404),
        ("GET /v1", 412),
        ("GET /v1/AUTH_sea/%FF", 412),
    ] {
        let answer = cloud.ask("owner", line, &[], "").await.is(want);
        assert_eq!(answer.header("allow").is_some(), want == 405, "{line}");
    }
    let info = cloud.ask("", "GET /info", &[], "").await.is(200).json();
    assert_eq!(info["swift"]["max_file_size"], 5_368_709_122_u64);
    assert!(info.get("ratelimit").is_none() && info.get("container_sync").is_none(), "{info}");
    assert_eq!(cloud.ask("", "GET /healthcheck", &[], "").await.is(200).text(), "OK");
}
