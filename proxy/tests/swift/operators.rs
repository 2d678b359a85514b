//! What operators turn on: the access log, sites under names of their own, objects that have expired, totals by policy.

use std::net::SocketAddr;

use anello_proxy::swift::{CnameLookupConfig, DomainRemapConfig, Middleware, ProxyLoggingConfig, SwiftConfig};
use anello_storage::store::{DaemonOptions, ExpiryOptions};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;

use super::door::{Cloud, store_with};

#[tokio::test]
async fn every_request_is_a_line_without_its_secrets() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let proxy_logging = ProxyLoggingConfig { access_log: Some(path.clone()), ..ProxyLoggingConfig::default() };
    let mut config = SwiftConfig { proxy_logging, ..SwiftConfig::default() };
    config.pipeline.insert(0, Middleware::ProxyLogging);
    let cloud = Cloud::with(config).await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
    let put = cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "hello").await.is(201);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[], "").await.is(200);
    cloud.ask("", "GET /v1/AUTH_sea/c/o?temp_url_sig=0123456789abcdef0123&temp_url_expires=1", &[], "").await.is(401);
    let text = std::fs::read_to_string(&path).expect("written");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines.iter().all(|line| line.len() == 21), "{text}");
    // Method, path, status, bytes that came and went.
    let of = |line: &[&str]| [line[3], line[4], line[6], line[10], line[11]].map(str::to_owned);
    assert_eq!(of(&lines[1]), ["PUT", "/v1/AUTH_sea/c/o", "201", "5", "0"]);
    assert_eq!(of(&lines[2]), ["GET", "/v1/AUTH_sea/c/o", "200", "0", "5"]);
    assert_eq!(Some(lines[1][13]), put.header("x-trans-id"));
    assert!(lines[3][4].contains("temp_url_sig=0123456789abcdef...&"), "{text}");
}

/// A name server that knows that `www.example.org` stands for a container's host, by way of another name.
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut bytes = [0; 1024];
        while let Ok((length, peer)) = socket.recv_from(&mut bytes).await {
            let Ok(asked) = Message::from_vec(&bytes[..length]) else { continue };
            let query = asked.queries[0].clone();
            let target = match query.name().to_string().as_str() {
                "www.example.org." => Some("c.auth-sea.cloud.example."),
                "one.example.org." => Some("www.example.org."),
                _ => None,
            };
            let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
            match target.map(|target| Name::from_ascii(target).expect("a name")) {
                Some(target) => {
                    answer.add_answer(Record::from_rdata(query.name().clone(), 60, RData::CNAME(CNAME(target))));
                }
                None => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            answer.add_query(query);
            let _ = socket.send_to(&answer.to_vec().expect("an answer"), peer).await;
        }
    });
    address
}

#[tokio::test]
async fn a_site_has_a_name_of_its_own() {
    let storage_domain = vec!["cloud.example".to_owned()];
    let nameservers = vec![name_server().await];
    let with_depth = async |lookup_depth| {
        let cname_lookup = CnameLookupConfig {
            storage_domain: storage_domain.clone(),
            lookup_depth,
            nameservers: nameservers.clone(),
        };
        let domain_remap = DomainRemapConfig { storage_domain: storage_domain.clone(), ..DomainRemapConfig::default() };
        let mut config = SwiftConfig { cname_lookup, domain_remap, ..SwiftConfig::default() };
        config.pipeline.insert(0, Middleware::DomainRemap);
        config.pipeline.insert(0, Middleware::CnameLookup);
        let cloud = Cloud::with(config).await;
        cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[("x-container-read", ".r:*")], "").await.is(201);
        cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "hello").await.is(201);
        cloud
    };
    let cloud = with_depth(1).await;
    for host in ["www.example.org", "www.example.org:8080"] {
        assert!(cloud.door.answers(host, "/o"));
        assert_eq!(cloud.ask("", "GET /o", &[("host", host)], "").await.is(200).text(), "hello");
    }
    cloud.ask("", "GET /o", &[("host", "one.example.org")], "").await.is(400);
    let unknown = cloud.ask("", "GET /o", &[("host", "unknown.example.org")], "").await.is(400);
    assert_eq!(unknown.text(), "CNAME lookup failed to resolve to a valid domain");
    let cloud = with_depth(2).await;
    assert_eq!(cloud.ask("", "GET /o", &[("host", "one.example.org")], "").await.is(200).text(), "hello");
    assert_eq!(cloud.ask("", "GET /info", &[], "").await.json()["cname_lookup"]["lookup_depth"], 2);
}

#[tokio::test]
async fn what_has_expired_is_read_while_it_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let expiry = ExpiryOptions { delays: [("AUTH_sea".to_owned(), 86_400)].into() };
    let store = store_with(directory.path(), DaemonOptions { expiry, ..DaemonOptions::default() }).await;
    let config = SwiftConfig { allow_open_expired: true, ..SwiftConfig::default() };
    let cloud = Cloud::of(directory, &store, config, &[]);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[("x-delete-after", "1")], "hello").await.is(201);
    while cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[], "").await.status != 404 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let open = [("x-open-expired", "true")];
    cloud.ask("owner", "HEAD /v1/AUTH_sea/c/o", &open, "").await.is(200);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &open, "").await.is(200).text(), "hello");
    let closed = Cloud::of(tempfile::tempdir().expect("a directory"), &store, SwiftConfig::default(), &[]);
    closed.ask("owner", "GET /v1/AUTH_sea/c/o", &open, "").await.is(404);
    cloud.ask("owner", "POST /v1/AUTH_sea/c/o", &[], "").await.is(404);
    // A POST takes the time away, and the object is there again.
    cloud.ask("owner", "POST /v1/AUTH_sea/c/o", &open, "").await.is(202);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[], "").await.is(200).text(), "hello");
}
