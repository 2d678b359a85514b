//! What a signature opens without a token: temporary URLs, forms, and `/info` for administrators.

use std::net::IpAddr;

use anello_api::rest::PeerAddress;
use anello_proxy::swift::{InfoConfig, SwiftConfig};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use http_body_util::Full;
use sha2::Sha256;

use super::door::Cloud;

const END: &str = "4000000000";

fn sign(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// A door whose account and container have keys, and an object.
async fn cloud() -> Cloud {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "POST /v1/AUTH_sea", &[("x-account-meta-temp-url-key", "account")], "").await.is(204);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-meta-temp-url-key-2", "container")], "").await.is(204);
    cloud.ask("owner", "PUT /v1/AUTH_sea/other", &[], "").await.is(201);
    let headers = [("x-object-meta-secret", "s"), ("x-object-meta-public-a", "p")];
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/dir/o", &headers, "data").await.is(201);
    cloud
}

#[tokio::test]
async fn a_signature_opens_what_it_was_made_for_and_nothing_else() {
    let cloud = cloud().await;
    let url = |method: &str, key: &str, path: &str, end: &str| {
        format!("{path}?temp_url_sig={}&temp_url_expires={end}", sign(key, &format!("{method}\n{end}\n{path}")))
    };
    let path = "/v1/AUTH_sea/c/dir/o";
    for key in ["account", "container"] {
        let answer = cloud.ask("", &format!("GET {}", url("GET", key, path, END)), &[], "").await.is(200);
        assert_eq!(answer.text(), "data");
        let disposition = answer.header("content-disposition").expect("a browser saves it");
        assert_eq!(disposition, "attachment; filename=\"o\"; filename*=UTF-8''o");
        assert_eq!(answer.header("expires"), Some("Tue, 02 Oct 2096 07:06:40 GMT"));
        assert_eq!((answer.header("x-object-meta-secret"), answer.header("x-object-meta-public-a")), (None, Some("p")));
    }
    cloud.ask("", &format!("HEAD {}", url("GET", "account", path, END)), &[], "").await.is(200);
    let named = format!("GET {}&filename=a%20b&inline", url("GET", "account", path, END));
    let disposition = cloud.ask("", &named, &[], "").await;
    assert_eq!(disposition.header("content-disposition"), Some("inline; filename=\"a b\"; filename*=UTF-8''a%20b"));
    for line in [
        format!("PUT {}", url("GET", "account", path, END)),
        format!("GET {}", url("GET", "wrong", path, END)),
        format!("GET {}", url("GET", "account", path, "1000000000")),
        format!("GET {}", url("GET", "account", "/v1/AUTH_sea/c/dir/o", END).replace("dir/o", "dir/x")),
        format!("GET {path}?temp_url_expires={END}"),
        format!("GET {path}?temp_url_sig=00&temp_url_expires={END}"),
        format!("GET {}", url("GET", "account", "/v1/AUTH_sea/c", END)),
    ] {
        let answer = cloud.ask("", &line, &[], "").await.is(401);
        assert!(answer.text().contains("Temp URL invalid"), "{line}");
        // Nor does a token make good what a signature does not open.
        cloud.ask("owner", &line, &[], "").await.is(401);
    }
    let put = format!("PUT {}", url("PUT", "account", "/v1/AUTH_sea/c/new", END));
    cloud.ask("", &put, &[("x-object-manifest", "other/x")], "").await.is(400);
    cloud.ask("", &put, &[], "new").await.is(201);
}

#[tokio::test]
async fn a_prefix_a_date_and_a_network_are_signed_with_the_rest() {
    let cloud = cloud().await;
    let prefix = "prefix:/v1/AUTH_sea/c/dir/";
    let signature = sign("account", &format!("GET\n{END}\n{prefix}"));
    let query = format!("temp_url_sig={signature}&temp_url_expires={END}&temp_url_prefix=dir%2F");
    cloud.ask("", &format!("GET /v1/AUTH_sea/c/dir/o?{query}"), &[], "").await.is(200);
    cloud.ask("", &format!("GET /v1/AUTH_sea/c/o?{query}"), &[], "").await.is(401);
    let dated = query.replace(&format!("expires={END}"), "expires=2096-10-02T07:06:40Z");
    cloud.ask("", &format!("GET /v1/AUTH_sea/c/dir/o?{dated}"), &[], "").await.is(200);

    let path = "/v1/AUTH_sea/c/dir/o";
    let signature = sign("account", &format!("ip=10.1.0.0/16\nGET\n{END}\n{path}"));
    let uri = format!("{path}?temp_url_sig={signature}&temp_url_expires={END}&temp_url_ip_range=10.1.0.0/16");
    for (peer, status) in [(Some([10, 1, 2, 3]), 200), (Some([10, 2, 2, 3]), 401), (None, 401)] {
        let mut request = Request::builder().uri(&uri).body(Full::new(Bytes::new())).expect("a request");
        request.extensions_mut().extend(
            peer.map(|peer| {
                let mut extensions = http::Extensions::new();
                extensions.insert(PeerAddress(IpAddr::from(peer)));
                extensions
            })
            .unwrap_or_default(),
        );
        assert_eq!(cloud.send(request).await.status, status, "{peer:?}");
    }
}

#[tokio::test]
async fn a_containers_key_opens_nothing_outside_it() {
    let cloud = cloud().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/other/o", &[], "x").await.is(201);
    for (name, header, value) in [("link", "x-symlink-target", "other/o"), ("large", "x-object-manifest", "other/o")] {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/c/{name}"), &[(header, value)], "").await.is(201);
        let path = format!("/v1/AUTH_sea/c/{name}");
        for (key, status) in [("account", 200), ("container", 401)] {
            let signature = sign(key, &format!("GET\n{END}\n{path}"));
            let line = format!("GET {path}?temp_url_sig={signature}&temp_url_expires={END}");
            assert_eq!(cloud.ask("", &line, &[], "").await.status, status, "{name} {key}");
        }
    }
}

/// A form with its fields and files, as a browser sends it.
fn form(fields: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    let fields = fields
        .iter()
        .map(|(name, value)| format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    let files = files.iter().map(|(name, data)| {
        format!(
            "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: text/x-form\r\n\r\n{data}\r\n"
        )
    });
    fields.chain(files).collect::<String>() + "--X--\r\n"
}

#[tokio::test]
async fn a_signed_form_stores_its_files_within_what_it_says() {
    let cloud = cloud().await;
    let send = async |redirect: &str, size: &str, count: &str, key: &str, files: &[(&str, &str)]| {
        let path = "/v1/AUTH_sea/c/up-";
        let signature = sign(key, &format!("{path}\n{redirect}\n{size}\n{count}\n{END}"));
        let fields = [
            ("redirect", redirect),
            ("max_file_size", size),
            ("max_file_count", count),
            ("expires", END),
            ("signature", &signature),
        ];
        let headers = [("content-type", "multipart/form-data; boundary=X")];
        cloud.ask("", &format!("POST {path}"), &headers, form(&fields, files)).await
    };
    send("", "10", "2", "account", &[("a.txt", "hello"), ("b", "world")]).await.is(201);
    let stored = cloud.ask("owner", "GET /v1/AUTH_sea/c/up-a.txt", &[], "").await.is(200);
    assert_eq!((stored.text(), stored.header("content-type")), ("hello", Some("text/x-form")));
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/up-b", &[], "").await.text(), "world");

    let answer = send("http://e.org/x?y", "10", "1", "container", &[("c", "1")]).await.is(303);
    assert_eq!(answer.header("location"), Some("http://e.org/x?y&status=201&message="));
    let answer = send("http://e.org", "10", "1", "account", &[("d", "1"), ("e", "1")]).await.is(303);
    assert_eq!(answer.header("location"), Some("http://e.org?status=400&message=max%20file%20count%20exceeded"));
    cloud.ask("owner", "HEAD /v1/AUTH_sea/c/up-e", &[], "").await.is(404);

    let answer = send("", "4", "1", "account", &[("f", "hello")]).await.is(400);
    assert!(answer.text().contains("max_file_size exceeded"), "{}", answer.text());
    cloud.ask("owner", "HEAD /v1/AUTH_sea/c/up-f", &[], "").await.is(404);
    send("", "10", "1", "wrong", &[("g", "1")]).await.is(401);
    send("", "ten", "1", "account", &[("g", "1")]).await.is(400);
    let answer = send("http://thief.example", "10", "1", "wrong", &[]).await.is(400);
    assert_eq!(answer.header("location"), None, "nobody has signed where this leads");
}

#[tokio::test]
async fn administrators_see_what_is_withheld_from_others() {
    let info = InfoConfig {
        admin_key: Some("key".into()),
        disallowed_sections: vec!["slo".into(), "swift.version".into()],
        ..InfoConfig::default()
    };
    let cloud = Cloud::with(SwiftConfig { info, ..SwiftConfig::default() }).await;
    let open = cloud.ask("", "GET /info", &[], "").await.is(200).json();
    assert!(open.get("slo").is_none() && open["swift"].get("version").is_none() && open.get("admin").is_none());
    assert_eq!(open["tempauth"]["account_acls"], true);
    let signature = sign("key", &format!("GET\n{END}\n/info"));
    let all = cloud.ask("", &format!("GET /info?swiftinfo_sig={signature}&swiftinfo_expires={END}"), &[], "").await;
    let all = all.is(200).json();
    assert_eq!(all["admin"]["disallowed_sections"], serde_json::json!(["slo", "swift.version"]));
    assert!(all["slo"].is_object() && all["swift"]["version"].is_string());
    for query in [
        format!("swiftinfo_sig={}&swiftinfo_expires={END}", sign("x", &format!("GET\n{END}\n/info"))),
        format!("swiftinfo_sig={}&swiftinfo_expires=1", sign("key", "GET\n1\n/info")),
        "swiftinfo_sig=00".into(),
    ] {
        cloud.ask("", &format!("GET /info?{query}"), &[], "").await.is(401);
    }
}
