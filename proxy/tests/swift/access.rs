//! Who may do what. The table has every method of every resource, for every kind of caller.

use super::door::Cloud;

/// Callers in the order of the columns: owner, reader of the project, other role in it, another project's
/// member, nobody, reseller admin.
const CALLERS: [&str; 6] = ["owner", "reader", "gardener", "stranger", "", "reseller"];

async fn check(cloud: &Cloud, cases: &[(&str, [u16; 6])]) {
    for (line, want) in cases {
        for (token, want) in CALLERS.iter().zip(want) {
            // Whatever a caller could have deleted is there for the next.
            cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "x").await.is(201);
            let answer = cloud.ask(token, line, &[("destination", "c/copy")], "").await;
            assert_eq!(answer.status, *want, "{token:?}: {line}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge.is_some(), *want == 401, "{token:?}: {line} {challenge:?}");
        }
    }
}

#[tokio::test]
async fn without_lists_an_account_is_its_projects_alone() {
    let cloud = Cloud::with_container().await;
    let cases = [
        ("GET /v1/AUTH_sea", [200, 200, 403, 403, 401, 200]),
        ("HEAD /v1/AUTH_sea", [204, 204, 403, 403, 401, 204]),
        ("POST /v1/AUTH_sea", [204, 403, 403, 403, 401, 204]),
        ("PUT /v1/AUTH_sea", [202, 403, 403, 403, 401, 202]),
        ("GET /v1/AUTH_sea/c", [200, 200, 403, 403, 401, 200]),
        ("HEAD /v1/AUTH_sea/c", [204, 204, 403, 403, 401, 204]),
        ("PUT /v1/AUTH_sea/c", [202, 403, 403, 403, 401, 202]),
        ("POST /v1/AUTH_sea/c", [204, 403, 403, 403, 401, 204]),
        ("DELETE /v1/AUTH_sea/c", [409, 403, 403, 403, 401, 409]),
        ("GET /v1/AUTH_sea/c/o", [200, 200, 403, 403, 401, 200]),
        ("HEAD /v1/AUTH_sea/c/o", [200, 200, 403, 403, 401, 200]),
        ("PUT /v1/AUTH_sea/c/o", [201, 403, 403, 403, 401, 201]),
        ("POST /v1/AUTH_sea/c/o", [202, 403, 403, 403, 401, 202]),
        ("COPY /v1/AUTH_sea/c/o", [201, 403, 403, 403, 401, 201]),
        ("DELETE /v1/AUTH_sea/c/o", [204, 403, 403, 403, 401, 204]),
        ("GET /v1/AUTH_sea/none", [404, 404, 403, 403, 401, 404]),
        ("GET /v1/.system", [403, 403, 403, 403, 401, 403]),
        ("GET /v1/.system/c/o", [403, 403, 403, 403, 401, 403]),
        ("PUT /v1/other_sea/c", [403, 403, 403, 403, 401, 403]),
        ("OPTIONS /v1/AUTH_sea/c/o", [200; 6]),
        // The last of them deletes all.
        ("DELETE /v1/AUTH_sea", [403, 403, 403, 403, 401, 204]),
    ];
    check(&cloud, &cases).await;
}

#[tokio::test]
async fn a_containers_lists_open_it_as_far_as_they_say() {
    let cloud = Cloud::with_container().await;
    let open = |read: &'static str, write: &'static str| {
        let cloud = &cloud;
        async move {
            let headers = [("x-container-read", read), ("x-container-write", write)];
            cloud.ask("owner", "POST /v1/AUTH_sea/c", &headers, "").await.is(204);
        }
    };
    let (list, get, put) = ("GET /v1/AUTH_sea/c", "GET /v1/AUTH_sea/c/o", "PUT /v1/AUTH_sea/c/o");
    open(".r:*", "").await;
    check(&cloud, &[(list, [200, 200, 403, 403, 401, 200]), (get, [200; 6]), (put, [201, 403, 403, 403, 401, 201])])
        .await;
    open(".r:*,.rlistings", "").await;
    check(&cloud, &[(list, [200; 6]), (get, [200; 6])]).await;
    open("hill:sue-id", "hill:*").await;
    check(&cloud, &[(list, [200, 200, 403, 200, 401, 200]), (put, [201, 403, 403, 201, 401, 201])]).await;
    check(&cloud, &[("POST /v1/AUTH_sea/c", [204, 403, 403, 403, 401, 204])]).await;
    open("hill-name:sue", "").await;
    check(&cloud, &[(get, [200, 200, 403, 200, 401, 200])]).await;
    open("gardener", "Gardener").await;
    check(&cloud, &[(get, [200, 200, 200, 403, 401, 200]), (put, [201, 403, 201, 403, 401, 201])]).await;
    open("*:*", "").await;
    check(&cloud, &[(get, [200, 200, 200, 200, 401, 200])]).await;
}

#[tokio::test]
async fn names_of_another_domain_open_nothing() {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[("x-object-meta-a", "1")], "x").await.is(201);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-read", "isle-name:fay")], "").await.is(204);
    cloud.ask("foreign", "GET /v1/AUTH_sea/c/o", &[], "").await.is(403);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-read", "isle:fay-id")], "").await.is(204);
    cloud.ask("foreign", "GET /v1/AUTH_sea/c/o", &[], "").await.is(200);
}

#[tokio::test]
async fn lists_are_shown_to_owners_alone() {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-read", ".r:*,.rlistings")], "").await.is(204);
    for (token, is_shown) in [("owner", true), ("reseller", true), ("reader", false), ("", false)] {
        let head = cloud.ask(token, "HEAD /v1/AUTH_sea/c", &[], "").await.is(204);
        assert_eq!(head.header("x-container-read").is_some(), is_shown, "{token:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_none() {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "x").await.is(201);
    cloud.ask("expired", "GET /v1/AUTH_sea/c/o", &[], "").await.is(401);
    cloud.ask("unscoped", "GET /v1/AUTH_sea/c/o", &[], "").await.is(403);
    cloud.ask("unscoped", "GET /v1/AUTH_/c/o", &[], "").await.is(403);
    cloud.ask("unavailable", "GET /v1/AUTH_sea/c/o", &[], "").await.is(503);
    cloud.ask("", "GET /v1/AUTH_sea/c/o", &[("x-storage-token", "owner")], "").await.is(200);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-read", ".r:*")], "").await.is(204);
    cloud.ask("expired", "GET /v1/AUTH_sea/c/o", &[], "").await.is(200);
}
