//! Tempauth's users, what their groups let them do, and accounts' access lists.

use anello_proxy::swift::{ServicePrefix, SwiftConfig};

use super::door::Cloud;

#[tokio::test]
async fn a_user_gets_a_token_and_his_accounts_address_for_his_key_alone() {
    let cloud = Cloud::new().await;
    for (line, user, key, status) in [
        ("GET /auth/v1.0", ("x-auth-user", "test:owner"), ("x-auth-key", "secret"), 200),
        ("GET /auth/v1.0", ("x-storage-user", "test:owner"), ("x-storage-pass", "secret"), 200),
        ("GET /auth/v1/test/auth", ("x-storage-user", "owner"), ("x-storage-pass", "secret"), 200),
        ("GET /auth/v1/test/auth", ("x-auth-user", "test:owner"), ("x-auth-key", "secret"), 200),
        ("GET /auth/v1/other/auth", ("x-auth-user", "test:owner"), ("x-auth-key", "secret"), 401),
        ("GET /auth/v1.0", ("x-auth-user", "test:owner"), ("x-auth-key", "wrong"), 401),
        ("GET /auth/v1.0", ("x-auth-user", "test:nobody"), ("x-auth-key", "secret"), 401),
        ("GET /auth/v1.0", ("x-auth-user", "owner"), ("x-auth-key", "secret"), 401),
        ("GET /auth/v2.0", ("x-auth-user", "test:owner"), ("x-auth-key", "secret"), 400),
        ("POST /auth/v1.0", ("x-auth-user", "test:owner"), ("x-auth-key", "secret"), 405),
    ] {
        let answer = cloud.ask("", line, &[user, key, ("host", "h:1")], "").await.is(status);
        let url = answer.header("x-storage-url");
        assert_eq!(url, (status == 200).then_some("http://h:1/v1/AUTH_test"), "{line}");
        assert_eq!(answer.header("x-auth-token"), answer.header("x-storage-token"));
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{line}");
    }
}

#[tokio::test]
async fn groups_say_what_a_user_may_do() {
    let cloud = Cloud::new().await;
    let mut tokens = Vec::new();
    for user in ["test:owner", "test:guest", "other:owner", "root:admin", "root:reader"] {
        tokens.push(cloud.log_in(user).await);
    }
    cloud.ask(&tokens[0], "PUT /v1/AUTH_test/c", &[], "").await.is(201);
    for (line, want) in [
        ("GET /v1/AUTH_test", [200, 403, 403, 200, 200]),
        ("PUT /v1/AUTH_test", [403, 403, 403, 202, 403]),
        ("PUT /v1/AUTH_test/c/o", [201, 403, 403, 201, 403]),
        ("GET /v1/AUTH_test/c/o", [200, 403, 403, 200, 200]),
        ("GET /v1/AUTH_.system", [403, 403, 403, 403, 403]),
        ("GET /v1/.system", [403, 403, 403, 403, 403]),
        ("DELETE /v1/AUTH_test", [403, 403, 403, 204, 403]),
    ] {
        for (token, want) in tokens.iter().zip(want) {
            assert_eq!(cloud.ask(token, line, &[], "").await.status, want, "{line}");
        }
    }
    cloud.ask("AUTH_tkforged", "GET /v1/AUTH_test/c/o", &[], "").await.is(401);
    cloud.ask("owner", "GET /v1/AUTH_test/c/o", &[], "").await.is(403);
}

#[tokio::test]
async fn containers_lists_name_users_and_accounts() {
    let cloud = Cloud::new().await;
    let (owner, guest, other) =
        (cloud.log_in("test:owner").await, cloud.log_in("test:guest").await, cloud.log_in("other:owner").await);
    cloud.ask(&owner, "PUT /v1/AUTH_test/c", &[("x-container-read", "test:guest")], "").await.is(201);
    cloud.ask(&owner, "PUT /v1/AUTH_test/c/o", &[], "x").await.is(201);
    cloud.ask(&guest, "GET /v1/AUTH_test/c/o", &[], "").await.is(200);
    cloud.ask(&other, "GET /v1/AUTH_test/c/o", &[], "").await.is(403);
    cloud.ask(&owner, "POST /v1/AUTH_test/c", &[("x-container-write", "other")], "").await.is(204);
    cloud.ask(&other, "PUT /v1/AUTH_test/c/o", &[], "y").await.is(201);
    cloud.ask(&guest, "PUT /v1/AUTH_test/c/o", &[], "y").await.is(403);
}

#[tokio::test]
async fn an_accounts_list_opens_it_in_three_degrees() {
    let cloud = Cloud::new().await;
    let (owner, other) = (cloud.log_in("test:owner").await, cloud.log_in("other:owner").await);
    cloud.ask(&owner, "PUT /v1/AUTH_test/c", &[], "").await.is(201);
    let check = async |acl: &str, want: [u16; 6]| {
        let set = [("x-account-access-control", acl)];
        cloud.ask(&owner, "POST /v1/AUTH_test", &set, "").await.is(204);
        let lines = [
            ("GET /v1/AUTH_test", &[][..]),
            ("PUT /v1/AUTH_test/c/o", &[]),
            ("POST /v1/AUTH_test/c", &[("x-container-meta-a", "1")]),
            ("POST /v1/AUTH_test", &[("x-account-meta-a", "1")]),
            ("POST /v1/AUTH_test", &[("x-account-access-control", acl)]),
            ("DELETE /v1/AUTH_test", &[]),
        ];
        for ((line, headers), want) in lines.into_iter().zip(want) {
            assert_eq!(cloud.ask(&other, line, headers, "").await.status, want, "{acl}: {line}");
        }
    };
    check("{}", [403, 403, 403, 403, 403, 403]).await;
    check(r#"{"read-only":["other:owner"]}"#, [200, 403, 403, 403, 403, 403]).await;
    check(r#"{"read-write":["other"]}"#, [200, 201, 204, 403, 403, 403]).await;
    check(r#"{"admin":["other:owner"]}"#, [200, 201, 204, 204, 204, 403]).await;

    let acl = r#"{"read-write":["other"]}"#;
    cloud.ask(&owner, "POST /v1/AUTH_test", &[("x-account-access-control", acl)], "").await.is(204);
    cloud.ask(&owner, "POST /v1/AUTH_test", &[("x-account-meta-temp-url-key", "k")], "").await.is(204);
    let shown = cloud.ask(&owner, "HEAD /v1/AUTH_test", &[], "").await;
    assert_eq!(shown.header("x-account-access-control"), Some(acl));
    let hidden = cloud.ask(&other, "HEAD /v1/AUTH_test", &[], "").await.is(204);
    for name in ["x-account-access-control", "x-account-meta-temp-url-key"] {
        assert_eq!(hidden.header(name), None, "{name}");
    }
    // Who may write is no owner: lists and keys stay as they are.
    cloud.ask(&other, "POST /v1/AUTH_test/c", &[("x-container-read", ".r:*")], "").await.is(204);
    assert_eq!(cloud.ask(&owner, "HEAD /v1/AUTH_test/c", &[], "").await.header("x-container-read"), None);
    let bad = [("x-account-access-control", r#"{"all":[]}"#)];
    let refused = cloud.ask(&owner, "POST /v1/AUTH_test", &bad, "").await.is(400);
    assert!(refused.text().contains("\"all\" not recognized"), "{}", refused.text());
}

#[tokio::test]
async fn a_services_accounts_want_the_service_beside_the_user() {
    let service = ServicePrefix {
        require_group: Some("service".into()),
        service_roles: vec!["reader".into()],
        ..ServicePrefix::default()
    };
    let config = SwiftConfig { service_prefixes: [("SVC_".to_owned(), service)].into(), ..SwiftConfig::default() };
    let cloud = Cloud::with(config).await;
    let (owner, glance) = (cloud.log_in("test:owner").await, cloud.log_in("svc:glance").await);
    let line = "PUT /v1/SVC_test/c";
    cloud.ask(&owner, line, &[], "").await.is(403);
    cloud.ask(&glance, line, &[], "").await.is(403);
    cloud.ask(&owner, line, &[("x-service-token", &glance)], "").await.is(201);
    // The same with identity's tokens: the role is what the service needs.
    cloud.ask("owner", "PUT /v1/SVC_sea/c", &[], "").await.is(403);
    cloud.ask("owner", "PUT /v1/SVC_sea/c", &[("x-service-token", "stranger")], "").await.is(403);
    cloud.ask("owner", "PUT /v1/SVC_sea/c", &[("x-service-token", "reader")], "").await.is(201);
}
