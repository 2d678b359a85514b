//! Quotas of accounts and containers.

use anello_storage::Policies;

use super::door::Cloud;

#[tokio::test]
async fn an_upload_beyond_a_quota_is_refused_whole() {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-meta-quota-bytes", "ten")], "").await.is(400);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-meta-quota-bytes", "10")], "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/a", &[], "123456").await.is(201);
    let refused = cloud.ask("owner", "PUT /v1/AUTH_sea/c/b", &[], "12345").await.is(413);
    assert_eq!(refused.text(), "Upload exceeds quota.");
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/b", &[("transfer-encoding", "chunked")], "12345").await.is(413);
    cloud.ask("owner", "COPY /v1/AUTH_sea/c/a", &[("destination", "c/b")], "").await.is(413);
    cloud.ask("stranger", "PUT /v1/AUTH_sea/c/b", &[], "12345").await.is(403);
    cloud.ask("owner", "HEAD /v1/AUTH_sea/c/b", &[], "").await.is(404);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/b", &[], "1234").await.is(201);
    let count = [("x-container-meta-quota-bytes", ""), ("x-container-meta-quota-count", "2")];
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &count, "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/d", &[], "").await.is(413);
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/a", &[], "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/d", &[], "").await.is(201);
}

#[tokio::test]
async fn accounts_are_limited_by_resellers_alone() {
    let cloud = Cloud::with_container().await;
    for name in ["x-account-quota-bytes", "x-account-meta-quota-bytes", "x-account-quota-count"] {
        cloud.ask("owner", "POST /v1/AUTH_sea", &[(name, "5")], "").await.is(403);
        cloud.ask("reseller", "POST /v1/AUTH_sea", &[(name, "many")], "").await.is(400);
    }
    cloud.ask("reseller", "POST /v1/AUTH_sea", &[("x-account-quota-bytes", "5")], "").await.is(204);
    let shown = cloud.ask("owner", "HEAD /v1/AUTH_sea", &[], "").await;
    assert_eq!(shown.header("x-account-quota-bytes"), Some("5"));
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "123456").await.is(413);
    cloud.ask("reseller", "PUT /v1/AUTH_sea/c/o", &[], "123456").await.is(201);
    cloud.ask("owner", "POST /v1/AUTH_sea", &[("x-remove-account-quota-bytes", "x")], "").await.is(403);
    cloud.ask("reseller", "POST /v1/AUTH_sea", &[("x-remove-account-quota-bytes", "x")], "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "123456").await.is(201);
    cloud.ask("reseller", "POST /v1/AUTH_sea", &[("x-account-quota-count", "1")], "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/more", &[], "").await.is(413);
    // With one policy, its quota is that of all.
    let name = cloud.store.policies().default_policy().name.clone();
    let header = format!("x-account-quota-bytes-policy-{}", name.to_ascii_lowercase());
    let policy = [("x-account-quota-count", ""), (header.as_str(), "6")];
    cloud.ask("reseller", "POST /v1/AUTH_sea", &policy, "").await.is(204);
    let refused = cloud.ask("owner", "PUT /v1/AUTH_sea/c/more", &[], "1").await.is(413);
    assert_eq!(refused.text(), "Upload exceeds policy quota.");
}

#[tokio::test]
async fn accounts_are_counted_by_policy_where_there_are_several() {
    let cloud = Cloud::new().await;
    let add = |policies: &Policies| policies.with("Gold", "replication 2".parse()?);
    cloud.store.change_policies(add).await.expect("another policy");
    cloud.ask("owner", "PUT /v1/AUTH_sea/g", &[("x-storage-policy", "gold")], "").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/p", &[], "").await.is(201);
    let quota = [("x-account-quota-bytes-policy-gold", "5")];
    cloud.ask("reseller", "POST /v1/AUTH_sea", &quota, "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/p/o", &[], "123456").await.is(201);
    let refused = cloud.ask("owner", "PUT /v1/AUTH_sea/g/o", &[], "123456").await.is(413);
    assert_eq!(refused.text(), "Upload exceeds policy quota.");
    cloud.ask("owner", "PUT /v1/AUTH_sea/g/o", &[], "1234").await.is(201);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea", &[], "").await.is(204);
    let of =
        |policy: &str, what: &str| head.header(&format!("x-account-storage-policy-{policy}-{what}")).map(str::to_owned);
    for (policy, bytes) in [("gold", "4"), ("policy-0", "6")] {
        assert_eq!(of(policy, "bytes-used").as_deref(), Some(bytes), "{policy}");
        assert_eq!(
            (of(policy, "container-count").as_deref(), of(policy, "object-count").as_deref()),
            (Some("1"), Some("1"))
        );
    }
    assert_eq!(head.header("x-account-bytes-used"), Some("10"));
}
