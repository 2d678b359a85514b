//! Requests from other web sites.

use super::door::Cloud;

const SITE: (&str, &str) = ("origin", "http://site.example");

#[tokio::test]
async fn a_site_sees_what_the_container_shares_with_it() {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[("x-object-meta-a", "1")], "x").await.is(201);
    let get = async |origin: &str| cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[("origin", origin)], "").await;
    assert_eq!(get(SITE.1).await.header("access-control-allow-origin"), None);
    for (allowed, origin, want) in [
        ("http://site.example http://b.example", SITE.1, Some(SITE.1)),
        ("http://site.example", "http://evil.example", None),
        ("*", SITE.1, Some("*")),
    ] {
        let headers = [
            ("x-container-meta-access-control-allow-origin", allowed),
            ("x-container-meta-access-control-expose-headers", "X-Mine"),
        ];
        cloud.ask("owner", "POST /v1/AUTH_sea/c", &headers, "").await.is(204);
        let answer = get(origin).await.is(200);
        assert_eq!(answer.header("access-control-allow-origin"), want, "{allowed} {origin}");
        let exposed = answer.header("access-control-expose-headers").unwrap_or("");
        let shown = ["x-mine", "x-object-meta-a", "etag"].iter().all(|name| exposed.contains(name));
        assert_eq!(shown, want.is_some(), "{exposed}");
    }
}

#[tokio::test]
async fn a_site_that_asks_beforehand_is_answered() {
    let cloud = Cloud::with_container().await;
    let ask = |headers: &'static [(&str, &str)]| cloud.ask("", "OPTIONS /v1/AUTH_sea/c/o", headers, "");
    let plain = ask(&[]).await.is(200);
    assert_eq!(plain.header("allow"), Some("GET, HEAD, PUT, POST, DELETE, COPY, OPTIONS"));
    ask(&[SITE, ("access-control-request-method", "GET")]).await.is(401);
    let headers =
        [("x-container-meta-access-control-allow-origin", SITE.1), ("x-container-meta-access-control-max-age", "5")];
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &headers, "").await.is(204);
    let asked = &[SITE, ("access-control-request-method", "PUT"), ("access-control-request-headers", "x-a, x-b")];
    let answer = ask(asked).await.is(200);
    for (name, want) in [
        ("access-control-allow-origin", SITE.1),
        ("access-control-max-age", "5"),
        ("access-control-allow-headers", "x-a, x-b"),
        ("access-control-allow-methods", "GET, HEAD, PUT, POST, DELETE, COPY, OPTIONS"),
    ] {
        assert_eq!(answer.header(name), Some(want), "{name}");
    }
    ask(&[SITE, ("access-control-request-method", "PATCH")]).await.is(401);
    ask(&[("origin", "http://evil.example"), ("access-control-request-method", "GET")]).await.is(401);
}
