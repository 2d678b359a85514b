//! Static web sites, and host names that stand for them.

use anello_proxy::swift::{DomainRemapConfig, Middleware, SwiftConfig};

use super::door::Cloud;

/// A site with an index, a page for what is missing, and files in a directory.
async fn site(config: SwiftConfig) -> Cloud {
    let cloud = Cloud::with(config).await;
    let headers = [
        ("x-container-read", ".r:*,.rlistings"),
        ("x-container-meta-web-index", "index.html"),
        ("x-container-meta-web-error", "error.html"),
    ];
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &headers, "").await.is(201);
    for (name, text) in
        [("index.html", "home"), ("404error.html", "nothing here"), ("d/index.html", "inner"), ("e/file.txt", "file")]
    {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/c/{name}"), &[], text).await.is(201);
    }
    cloud
}

#[tokio::test]
async fn a_visitor_sees_pages_and_the_owner_objects() {
    let cloud = site(SwiftConfig::default()).await;
    let check = async |path: &str, status: u16, text: &str| {
        let answer = cloud.ask("", &format!("GET /v1/AUTH_sea/c{path}"), &[("host", "h")], "").await.is(status);
        assert!(answer.text().contains(text), "{path}: {}", answer.text());
        answer
    };
    let moved = check("", 301, "").await;
    assert_eq!(moved.header("location"), Some("http://h/v1/AUTH_sea/c/"));
    let home = check("/", 200, "home").await;
    assert_eq!(home.header("content-type"), Some("text/html"));
    check("/d/", 200, "inner").await;
    assert_eq!(check("/d", 301, "").await.header("location"), Some("http://h/v1/AUTH_sea/c/d/"));
    check("/e", 301, "").await;
    check("/e/", 404, "nothing here").await;
    check("/none", 404, "nothing here").await;
    check("/e/file.txt", 200, "file").await;
    let known = [("if-none-match", home.header("etag").expect("a tag"))];
    cloud.ask("", "GET /v1/AUTH_sea/c/", &known, "").await.is(304);
    let part = cloud.ask("", "GET /v1/AUTH_sea/c/", &[("range", "bytes=1-2")], "").await.is(206);
    assert_eq!(part.text(), "om");

    let listed = cloud.ask("owner", "GET /v1/AUTH_sea/c/?format=json", &[], "").await.is(200);
    assert_eq!(listed.json().as_array().map(Vec::len), Some(4));
    let asked = cloud.ask("owner", "GET /v1/AUTH_sea/c/", &[("x-web-mode", "true")], "").await.is(200);
    assert_eq!(asked.text(), "home");
}

#[tokio::test]
async fn listings_are_shown_where_the_container_wants_it() {
    let cloud = site(SwiftConfig::default()).await;
    let headers = [("x-container-meta-web-listings", "true"), ("x-container-meta-web-listings-css", "list.css")];
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &headers, "").await.is(204);
    let page = cloud.ask("", "GET /v1/AUTH_sea/c/e/", &[], "").await.is(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=UTF-8"));
    for part in ["Listing of /v1/AUTH_sea/c/e/", "href=\"./file%2Etxt\"", "href=\"../list.css\"", "href=\"../\""] {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    cloud.ask("", "GET /v1/AUTH_sea/c/none/", &[], "").await.is(404);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-read", "")], "").await.is(204);
    cloud.ask("", "GET /v1/AUTH_sea/c/", &[], "").await.is(401);
    cloud.ask("", "GET /v1/AUTH_sea/c/e/", &[], "").await.is(401);
    cloud.ask("stranger", "GET /v1/AUTH_sea/c/e/", &[("x-web-mode", "true")], "").await.is(403);
}

#[tokio::test]
async fn a_site_is_found_by_its_host_name() {
    let mut config = SwiftConfig {
        domain_remap: DomainRemapConfig { storage_domain: vec!["sites.test".into()], ..DomainRemapConfig::default() },
        ..SwiftConfig::default()
    };
    config.pipeline.insert(0, Middleware::DomainRemap);
    let cloud = site(config).await;
    let host = ("host", "c.auth-sea.sites.test:8080");
    assert_eq!(cloud.ask("", "GET /", &[host], "").await.is(200).text(), "home");
    assert_eq!(cloud.ask("", "GET /e/file.txt", &[host], "").await.is(200).text(), "file");
    let moved = cloud.ask("", "GET /d", &[host], "").await.is(301);
    assert_eq!(moved.header("location"), Some("http://c.auth-sea.sites.test:8080/d/"));
    let of_account = [("host", "auth-sea.sites.test")];
    assert_eq!(cloud.ask("", "GET /c/e/file.txt", &of_account, "").await.is(200).text(), "file");
    cloud.ask("", "GET /", &[("host", "a.b.c.sites.test")], "").await.is(400);
    assert!(cloud.door.answers("c.auth-sea.sites.test", "/identity") && !cloud.door.answers("other.test", "/identity"));
}
