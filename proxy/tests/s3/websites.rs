//! Web sites: what is configured by S3, and what visitors get.

use anello_proxy::s3::{ObjectOwnership, S3Config};
use anello_proxy::swift::{SwiftConfig, SwiftDoor};
use anello_proxy::website::{self, WebsiteDoor};
use anello_storage::ObjectPath;
use anello_storage::Precondition;
use anello_storage::store::{IfMissing, ObjectHead};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Empty};

use crate::client::{Answer, Call, Client};

/// A store with a bucket of sites, and the door for visitors.
struct Town {
    client: Client,
    door: WebsiteDoor,
}

impl Town {
    /// A site whose pages anybody may read.
    async fn new(configuration: &str) -> Self {
        let config = S3Config { object_ownership: ObjectOwnership::ObjectWriter, ..S3Config::default() };
        let client = Client::with_config(config).await;
        let domain = "sites.example".to_owned();
        let swift = SwiftDoor::new(
            website::swift_config(&SwiftConfig::default(), &domain),
            client.store.clone(),
            client.keys.clone(),
        );
        let door = WebsiteDoor::new(client.door.clone(), Some(swift), Some(domain));
        let town = Self { client, door };
        town.client.put("/www", "").await.expect(200);
        town.configure(configuration).await.expect(200);
        let policy = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::www/*"}]}"#;
        town.client.put("/www?policy", policy).await.expect(204);
        for key in ["index.html", "docs/index.html", "page", "error.html"] {
            town.client
                .send(Call::new("PUT", format!("/www/{key}")).header("content-type", "text/html").body(key))
                .await;
        }
        town
    }

    async fn configure(&self, configuration: &str) -> Answer {
        let body = format!("<WebsiteConfiguration>{configuration}</WebsiteConfiguration>");
        self.client.put("/www?website", body).await
    }

    async fn ask(&self, method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
        let (parts, body) = self.door.call(request).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", "www.sites.example:8090", path, &[]).await
    }
}

const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

#[tokio::test(flavor = "multi_thread")]
async fn visitors_get_pages_directories_and_errors() {
    let town = Town::new(&format!("{INDEX}<ErrorDocument><Key>error.html</Key></ErrorDocument>")).await;
    for (path, want) in [("/", "index.html"), ("/docs/", "docs/index.html"), ("/page", "page"), ("/page?acl", "page")] {
        assert_eq!(town.get(path).await.expect(200).text(), want, "{path}");
    }
    let page = town.get("/page").await;
    assert_eq!((page.header("content-type"), page.header("content-length")), (Some("text/html"), Some("4")));
    let etag = page.header("etag").expect("a tag").to_owned();
    town.ask("GET", "www.sites.example", "/page", &[("if-none-match", &etag)]).await.expect(304);
    let part = town.ask("GET", "www.sites.example", "/page", &[("range", "bytes=1-2"), ("cookie", "a=b")]).await;
    assert_eq!(part.expect(206).text(), "ag");
    let moved = town.get("/docs").await.expect(302);
    assert_eq!(moved.header("location"), Some("/docs/"));
    assert_eq!(town.get("/absent").await.expect(404).text(), "error.html");
    let head = town.ask("HEAD", "www.sites.example", "/", &[]).await.expect(200);
    assert!(head.body.is_empty() && head.header("content-length") == Some("10"));
    for method in ["PUT", "POST", "DELETE"] {
        assert_eq!(
            town.ask(method, "www.sites.example", "/page", &[]).await.expect(405).header("allow"),
            Some("GET, HEAD")
        );
    }
    town.client.send(Call::new("DELETE", "/www/error.html")).await.expect(204);
    let failed = town.get("/%3Cabsent%3E").await;
    assert_eq!(failed.status, 404);
    for part in ["404 Not Found", "Code: NoSuchKey", "Key: error.html", "Custom Error Document", "RequestId: "] {
        assert!(failed.text().contains(part), "{part}: {}", failed.text());
    }
    assert_eq!(failed.header("x-amz-error-code"), Some("NoSuchKey"));
    let elsewhere = town.ask("GET", "nowhere.sites.example", "/", &[]).await.expect(404);
    assert!(elsewhere.text().contains("NoSuchBucket"), "{}", elsewhere.text());
    let by_name = town.ask("GET", "www", "/page", &[]).await.expect(200);
    assert_eq!(by_name.text(), "page");
}

/// Without this a site would show what nobody may read, or to whom signs what visitors may not.
#[tokio::test(flavor = "multi_thread")]
async fn visitors_read_what_everybody_may() {
    let town = Town::new(INDEX).await;
    town.client.send(Call::new("DELETE", "/www?policy")).await.expect(204);
    let denied = town.get("/page").await.expect(403);
    assert!(
        denied.text().contains("Code: AccessDenied")
            && denied.header("content-type") == Some("text/html; charset=utf-8")
    );
    let mut request = Call::new("GET", "/page").request();
    request.headers_mut().insert("host", HeaderValue::from_static("www.sites.example"));
    assert_eq!(town.door.call(request).await.status(), 403);
    town.client.send(Call::new("PUT", "/www/page?acl").header("x-amz-acl", "public-read")).await.expect(200);
    town.get("/page").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_send_visitors_on() {
    let rule = |condition: &str, redirect: &str| {
        format!("<RoutingRule><Condition>{condition}</Condition><Redirect>{redirect}</Redirect></RoutingRule>")
    };
    let rules = [
        rule("<KeyPrefixEquals>old/</KeyPrefixEquals>", "<ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith>"),
        rule(
            "<HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>",
            "<HostName>archive.example</HostName><Protocol>https</Protocol><HttpRedirectCode>307</HttpRedirectCode>",
        ),
    ];
    let configuration = format!("{INDEX}<RoutingRules>{}</RoutingRules>", rules.concat());
    let town = Town::new(&configuration).await;
    let moved = town.get("/old/a%20b").await.expect(301);
    assert_eq!(moved.header("location"), Some("http://www.sites.example:8090/new/a%20b"));
    let moved = town.get("/absent").await.expect(307);
    assert_eq!(moved.header("location"), Some("https://archive.example/absent"));
    let shown = town.client.get("/www?website").await.expect(200).text();
    for part in [INDEX, "<KeyPrefixEquals>old/</KeyPrefixEquals>", "<HttpRedirectCode>307</HttpRedirectCode>"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let all =
        "<RedirectAllRequestsTo><HostName>other.example</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>";
    town.configure(all).await.expect(200);
    let moved = town.get("/any/page").await.expect(301);
    assert_eq!(moved.header("location"), Some("https://other.example/any/page"));
    town.client.send(Call::new("DELETE", "/www?website")).await.expect(204);
    town.client.get("/www?website").await.expect_error(404, "NoSuchWebsiteConfiguration");
    assert!(town.get("/").await.expect(404).text().contains("NoSuchWebsiteConfiguration"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_may_send_visitors_on() {
    let town = Town::new(INDEX).await;
    let location = "x-amz-website-redirect-location";
    town.client.send(Call::new("PUT", "/www/page").header(location, "/docs/").body("x")).await.expect(200);
    assert_eq!(town.client.get("/www/page").await.expect(200).header(location), Some("/docs/"));
    let moved = town.get("/page").await.expect(301);
    assert_eq!((moved.header("location"), moved.body.is_empty()), (Some("/docs/"), true));
    let wrong = Call::new("PUT", "/www/page").header(location, "docs/");
    town.client.send(wrong).await.expect_error(400, "InvalidRedirectLocation");
    let copy = Call::new("PUT", "/www/copy").header("x-amz-copy-source", "/www/page");
    town.client.send(copy).await.expect(200);
    town.get("/copy").await.expect(200);
    let onto_itself = Call::new("PUT", "/www/page").header("x-amz-copy-source", "/www/page");
    town.client.send(onto_itself.header(location, "https://a.example/")).await.expect(200);
    assert_eq!(town.get("/page").await.expect(301).header("location"), Some("https://a.example/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_that_make_no_sense_are_refused() {
    let town = Town::new(INDEX).await;
    let rule = |rule: &str| format!("{INDEX}<RoutingRules><RoutingRule>{rule}</RoutingRule></RoutingRules>");
    for (configuration, code) in [
        (String::new(), "InvalidArgument"),
        ("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>".into(), "InvalidArgument"),
        ("<IndexDocument><Suffix></Suffix></IndexDocument>".into(), "InvalidArgument"),
        (format!("{INDEX}<RedirectAllRequestsTo><HostName>a</HostName></RedirectAllRequestsTo>"), "InvalidRequest"),
        ("<RedirectAllRequestsTo><HostName>a b</HostName></RedirectAllRequestsTo>".into(), "InvalidRequest"),
        (rule("<Redirect></Redirect>"), "MalformedXML"),
        (rule("<Redirect><Protocol>ftp</Protocol></Redirect>"), "InvalidRequest"),
        (rule("<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>"), "InvalidRequest"),
        (
            rule(
                "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>",
            ),
            "InvalidRequest",
        ),
        (
            rule(
                "<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>a</HostName></Redirect>",
            ),
            "InvalidRequest",
        ),
    ] {
        town.configure(&configuration).await.expect_error(400, code);
    }
    let put = Call::new("PUT", "/www?website");
    town.client.send(put.signed_by("rita")).await.expect_error(403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn swifts_sites_are_here_too() {
    let town = Town::new(INDEX).await;
    let settings = [("x-container-meta-web-index", "home.html"), ("x-container-read", ".r:*,.rlistings")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let store = &town.client.store;
    store.container_update("AUTH_land", "site", settings, 0, IfMissing::Create).await.expect("a container");
    let head = ObjectHead { etag: "e".into(), content_type: "text/html".into(), ..ObjectHead::default() };
    let path = ObjectPath::new("AUTH_land", "site", "home.html");
    store.object_put(&path, "home".into(), head, &Precondition::default()).await.expect("an object");
    let page = town.ask("GET", "site.auth-land.sites.example", "/", &[]).await.expect(200);
    assert_eq!(page.text(), "home");
    town.ask("GET", "site.auth-land.sites.example", "/absent", &[]).await.expect(404);
    town.ask("PUT", "site.auth-land.sites.example", "/home.html", &[]).await.expect(405);
    town.ask("GET", "secret.auth-land.sites.example", "/", &[]).await;
    let listing = town.ask("GET", "site.auth-land.sites.example", "/?format=json", &[]).await.expect(200);
    assert_eq!(listing.text(), "home", "a visitor has no use for the API");
}
