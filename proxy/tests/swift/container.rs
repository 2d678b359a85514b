//! Containers: life, listings, metadata.

use anello_storage::Policies;

use super::door::Cloud;

#[tokio::test]
async fn a_container_lives_and_goes_only_when_it_is_empty() {
    let cloud = Cloud::new().await;
    let ask = |line: &'static str| cloud.ask("owner", line, &[], "");
    ask("HEAD /v1/AUTH_sea/c").await.is(404);
    ask("PUT /v1/AUTH_sea/c").await.is(201);
    ask("PUT /v1/AUTH_sea/c").await.is(202);
    ask("PUT /v1/AUTH_sea/c/o").await.is(201);
    let head = ask("HEAD /v1/AUTH_sea/c").await.is(204);
    assert_eq!(head.header("x-container-object-count"), Some("1"));
    assert_eq!(head.header("x-storage-policy"), Some("Policy-0"));
    assert!(head.header("last-modified").is_some() && head.header("x-timestamp").is_some());
    ask("DELETE /v1/AUTH_sea/c").await.is(409);
    ask("DELETE /v1/AUTH_sea/c/o").await.is(204);
    ask("DELETE /v1/AUTH_sea/c").await.is(204);
    ask("DELETE /v1/AUTH_sea/c").await.is(404);
    ask("GET /v1/AUTH_sea/c").await.is(404);
    ask("POST /v1/AUTH_sea/c").await.is(404);
    cloud.ask("owner", &format!("PUT /v1/AUTH_sea/{}", "x".repeat(256)), &[], "").await.is(201);
    cloud.ask("owner", &format!("PUT /v1/AUTH_sea/{}", "x".repeat(257)), &[], "").await.is(400);
    cloud.ask("owner", "PUT /v1/AUTH_sea/d", &[("x-storage-policy", "gold")], "").await.is(400);
    cloud.ask("owner", "PUT /v1/AUTH_sea/d", &[("x-storage-policy", "policy-0")], "").await.is(201);
}

#[tokio::test]
async fn a_listing_shows_the_part_that_is_asked_for() {
    let cloud = Cloud::with_container().await;
    for name in ["a", "a/1", "a/2/x", "b", "b/%E2%98%83", "c"] {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/c/{name}"), &[], "x").await.is(201);
    }
    for (query, want) in [
        ("", "a\na/1\na/2/x\nb\nb/☃\nc\n"),
        ("limit=2", "a\na/1\n"),
        ("limit=2&marker=a/1", "a/2/x\nb\n"),
        ("prefix=a/", "a/1\na/2/x\n"),
        ("delimiter=/", "a\na/\nb\nb/\nc\n"),
        ("delimiter=/&prefix=a/", "a/1\na/2/\n"),
        ("delimiter=/&reverse=1", "c\nb/\nb\na/\na\n"),
        ("path=a", "a/1\n"),
        ("path=", "a\nb\nc\n"),
        ("end_marker=b", "a\na/1\na/2/x\n"),
        ("reverse=on&marker=b&limit=2", "a/2/x\na/1\n"),
    ] {
        let listing = cloud.ask("owner", &format!("GET /v1/AUTH_sea/c?{query}"), &[], "").await.is(200);
        assert_eq!(listing.text(), want, "{query}");
    }
    cloud.ask("owner", "GET /v1/AUTH_sea/c?marker=zz", &[], "").await.is(204);
    cloud.ask("owner", "GET /v1/AUTH_sea/c?limit=0", &[], "").await.is(204);
    cloud.ask("owner", "GET /v1/AUTH_sea/c?limit=10001", &[], "").await.is(412);
    cloud.ask("owner", "GET /v1/AUTH_sea/c", &[("accept", "image/png")], "").await.is(406);
    let json = cloud.ask("owner", "GET /v1/AUTH_sea/c?format=json&delimiter=/&limit=2", &[], "").await.is(200).json();
    assert_eq!(json[0]["hash"], "9dd4e461268c8034f5c8564e155c67a6");
    assert_eq!((&json[0]["bytes"], &json[1]["subdir"]), (&1.into(), &"a/".into()));
}

#[tokio::test]
async fn metadata_are_set_kept_and_removed_within_the_limits() {
    let cloud = Cloud::with_container().await;
    let post = |headers: &'static [(&str, &str)]| cloud.ask("owner", "POST /v1/AUTH_sea/c", headers, "");
    post(&[("x-container-meta-color", "blue"), ("x-container-read", ".r:*, .rlistings")]).await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[("x-container-meta-size", "big")], "").await.is(202);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea/c", &[], "").await.is(204);
    assert_eq!(head.header("x-container-meta-color"), Some("blue"));
    assert_eq!(head.header("x-container-meta-size"), Some("big"));
    assert_eq!(head.header("x-container-read"), Some(".r:*,.rlistings"));
    post(&[("x-remove-container-meta-color", "x"), ("x-container-read", "")]).await.is(204);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea/c", &[], "").await.is(204);
    assert_eq!((head.header("x-container-meta-color"), head.header("x-container-read")), (None, None));
    post(&[("x-container-write", ".r:*")]).await.is(400);
    post(&[("x-container-meta-", "x")]).await.is(400);
    post(&[("x-container-sync-to", "//realm/cluster/a/c")]).await.is(501);
}

#[tokio::test]
async fn a_container_has_the_storage_policy_that_it_was_made_with() {
    let cloud = Cloud::new().await;
    let add =
        |policies: &Policies| policies.with("gold", "replication 2".parse()?)?.with("old", "replication 1".parse()?);
    cloud.store.change_policies(add).await.expect("two more policies");
    cloud.store.change_policies(|policies: &Policies| policies.deprecating("old")).await.expect("one is deprecated");
    let put = async |path: &str, policy: &str| {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/{path}"), &[("x-storage-policy", policy)], "x").await
    };
    put("g", "Gold").await.is(201);
    put("g", "gold").await.is(202);
    put("g", "Policy-0").await.is(409);
    put("h", "silver").await.is(400);
    put("h", "old").await.is(400);
    cloud.ask("owner", "PUT /v1/AUTH_sea/g", &[], "").await.is(202);
    cloud.ask("owner", "POST /v1/AUTH_sea/g", &[("x-container-meta-a", "b")], "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/p", &[], "").await.is(201);
    for (container, policy) in [("g", "gold"), ("p", "Policy-0")] {
        let head = cloud.ask("owner", &format!("HEAD /v1/AUTH_sea/{container}"), &[], "").await.is(204);
        assert_eq!(head.header("x-storage-policy"), Some(policy));
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/{container}/o"), &[], "data").await.is(201);
        cloud.ask("owner", &format!("POST /v1/AUTH_sea/{container}/o"), &[("x-object-meta-a", "b")], "").await.is(202);
        let got = cloud.ask("owner", &format!("GET /v1/AUTH_sea/{container}/o"), &[], "").await.is(200);
        assert_eq!((got.text(), got.header("x-object-meta-a")), ("data", Some("b")));
    }
    let listed = cloud.ask("owner", "GET /v1/AUTH_sea?format=json", &[], "").await.is(200).json();
    assert_eq!((&listed[0]["storage_policy"], &listed[1]["storage_policy"]), (&"gold".into(), &"Policy-0".into()));
    let info = cloud.ask("", "GET /info", &[], "").await.is(200).json();
    let names: Vec<_> =
        info["swift"]["policies"].as_array().expect("a list").iter().map(|p| p["name"].clone()).collect();
    assert_eq!(names, ["Policy-0", "gold"]);
    // The same name with another policy: nothing of before is in the way.
    for path in ["/o", ""] {
        cloud.ask("owner", &format!("DELETE /v1/AUTH_sea/g{path}"), &[], "").await.is(204);
    }
    put("g", "Policy-0").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/g/o", &[], "again").await.is(201);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/g/o", &[], "").await.is(200).text(), "again");
}
