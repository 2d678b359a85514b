//! What hosts share through a real memcached helps them, tells others nothing, and is never needed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anello_api::identity::Identity;
use anello_identity::{IdentityConfig, IdentityRoom, KeyKind};
use serde_json::json;

use crate::cloud::{Cloud, open_with};
use crate::servers::memcached;

/// Hosts that may be too busy to wait for memcached.
const TRIES: usize = 50;

fn config(server: &str) -> IdentityConfig {
    IdentityConfig { memcached: vec![server.to_owned()], ..IdentityConfig::default() }
}

/// Another host of the cloud.
async fn host(cloud: &Cloud, server: &str) -> Arc<IdentityRoom> {
    open_with(&cloud.records, config(server)).await.0
}

/// The keys of these tokens, once all are there: a host that is busy does not wait for memcached.
async fn kept(cloud: &Cloud, server: &str, tokens: &[&str]) -> Vec<String> {
    for _ in 0..TRIES {
        let room = host(cloud, server).await;
        for token in tokens {
            assert!(room.token(token).await.is_ok());
        }
        let keys = Peer::new(server).keys();
        if keys.len() == tokens.len() {
            return keys;
        }
    }
    panic!("memcached does not have the tokens");
}

/// A host that found the token in memcached.
async fn found(cloud: &Cloud, server: &str, token: &str) -> Arc<IdentityRoom> {
    let mut peer = Peer::new(server);
    for _ in 0..TRIES {
        let (room, before) = (host(cloud, server).await, peer.hits());
        assert_eq!(room.token(token).await.expect("valid").user_id, cloud.made.user_id);
        if peer.hits() == before + 1 {
            return room;
        }
    }
    panic!("no host finds the token");
}

/// Memcached as whoever reaches it sees it.
struct Peer(BufReader<TcpStream>);

impl Peer {
    fn new(server: &str) -> Self {
        Self(BufReader::new(TcpStream::connect(server).expect("connects")))
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("written");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn lines(&mut self, command: &str) -> Vec<String> {
        self.say(&format!("{command}\r\n"));
        std::iter::from_fn(|| Some(self.line()).filter(|line| line != "END")).collect()
    }

    fn hits(&mut self) -> u64 {
        let stats = self.lines("stats");
        stats.iter().find_map(|line| line.strip_prefix("STAT get_hits ")).expect("counted").parse().expect("a number")
    }

    fn keys(&mut self) -> Vec<String> {
        let listed = self.lines("lru_crawler metadump all");
        let key = |line: &String| line.split(' ').next()?.strip_prefix("key=").map(|key| key.replace("%3A", ":"));
        listed.iter().map(|line| key(line).expect("a key")).collect()
    }

    fn get(&mut self, key: &str) -> String {
        self.say(&format!("get {key}\r\n"));
        let head = self.line();
        let bytes: usize = head.rsplit(' ').next().expect("words").parse().expect("a length");
        let mut value = vec![0; bytes];
        self.0.read_exact(&mut value).expect("the value");
        assert_eq!((self.line().as_str(), self.line().as_str()), ("", "END"));
        String::from_utf8(value).expect("text")
    }

    fn set(&mut self, key: &str, value: &str) {
        self.say(&format!("set {key} 0 0 {}\r\n{value}\r\n", value.len()));
        assert_eq!(self.line(), "STORED");
    }
}

#[tokio::test]
async fn a_token_that_one_host_has_opened_the_next_finds_in_memcached_and_strangers_learn_nothing() {
    let Some(server) = memcached() else { return };
    let cloud = Cloud::with(config(&server.url)).await;
    let token = cloud.admin_token().await;
    let keys = kept(&cloud, &server.url, &[&token]).await;
    let mut peer = Peer::new(&server.url);
    let other = found(&cloud, &server.url, &token).await;
    let before = peer.hits();
    assert!(other.token(&token).await.is_ok());
    assert_eq!(peer.hits(), before, "it is remembered");
    assert!(other.token("gAAAAnonsense").await.is_err());
    assert_eq!(peer.keys(), keys, "what is no token is not kept");
    let shown = format!("{} {}", keys[0], peer.get(&keys[0]));
    let user = hex::decode(&cloud.made.user_id).expect("hex");
    for secret in [&token, &cloud.made.user_id, &cloud.made.project_id] {
        assert!(!shown.contains(secret.as_str()), "{shown}");
    }
    assert!(!shown.as_bytes().windows(user.len()).any(|bytes| bytes == user));
    assert!(other.token(&peer.get(&keys[0])).await.is_err(), "a value is no token");
}

#[tokio::test]
async fn a_revocation_counts_at_once_and_elsewhere_with_the_next_refresh() {
    let Some(server) = memcached() else { return };
    let cloud = Cloud::with(config(&server.url)).await;
    let (admin, token) = (cloud.admin_token().await, cloud.admin_token().await);
    let (warm, cold) = (host(&cloud, &server.url).await, host(&cloud, &server.url).await);
    for room in [&cloud.room, &warm] {
        assert!(room.token(&token).await.is_ok());
    }
    let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
    assert_eq!(cloud.send("DELETE", "/identity/v3/auth/tokens", &headers, None).await.status, 204);
    assert!(cloud.room.token(&token).await.is_err());
    for room in [&warm, &cold] {
        room.refresh().await.expect("reads");
        assert!(room.token(&token).await.is_err());
    }
    let late = host(&cloud, &server.url).await;
    assert!(late.token(&token).await.is_err(), "although memcached has it still");
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    warm.refresh().await.expect("reads");
    assert!(warm.token(&token).await.is_ok());
    let disabled = json!({"user": {"enabled": false}});
    cloud.want(200, &admin, "PATCH", &format!("/v3/users/{}", person.user_id), Some(disabled)).await;
    assert!(cloud.room.token(&token).await.is_err());
}

#[tokio::test]
async fn what_a_stranger_writes_into_memcached_lets_nobody_in_as_another() {
    let Some(server) = memcached() else { return };
    let cloud = Cloud::with(config(&server.url)).await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let keys = kept(&cloud, &server.url, &[&admin, &token]).await;
    let mut peer = Peer::new(&server.url);
    let [one, two] = keys.as_slice() else { panic!("{keys:?}") };
    let (of_one, of_two) = (peer.get(one), peer.get(two));
    for (first, second) in [(of_two.as_str(), of_one.as_str()), ("nonsense", ""), (&of_one[1..], &of_two[1..])] {
        peer.set(one, first);
        peer.set(two, second);
        let room = host(&cloud, &server.url).await;
        assert_eq!(room.token(&token).await.expect("valid").user_id, person.user_id);
        assert_eq!(room.token(&admin).await.expect("valid").user_id, cloud.made.user_id);
    }
}

#[tokio::test]
async fn what_a_dropped_key_made_is_no_token_although_memcached_has_it() {
    let Some(server) = memcached() else { return };
    let cloud = Cloud::with(config(&server.url)).await;
    let token = cloud.admin_token().await;
    assert!(cloud.room.token(&token).await.is_ok());
    for is_valid in [true, false] {
        cloud.room.rotate_keys(KeyKind::Token).await.expect("rotates");
        let room = host(&cloud, &server.url).await;
        assert_eq!(room.token(&token).await.is_ok(), is_valid);
        assert_eq!(cloud.room.token(&token).await.is_ok(), is_valid);
    }
}

#[tokio::test]
async fn without_memcached_everything_goes_on_and_soon_as_fast() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = (silent.local_addr().expect("an address").to_string(), Some(silent));
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let mut servers = vec![silent, (gone, None)];
    if let Some(server) = memcached() {
        // Ended while it is in use.
        let cloud = Cloud::with(config(&server.url)).await;
        assert!(cloud.room.token(&cloud.admin_token().await).await.is_ok());
        servers.push((server.url.clone(), None));
        drop(server);
        let token = cloud.admin_token().await;
        assert!(cloud.room.token(&token).await.is_ok());
    }
    for (address, _listener) in &servers {
        let cloud = Cloud::with(config(address)).await;
        let mut tokens = Vec::new();
        for _ in 0..20 {
            tokens.push(cloud.admin_token().await);
        }
        let started = Instant::now();
        for token in &tokens {
            assert!(cloud.room.token(token).await.is_ok(), "{address}");
        }
        assert!(started.elapsed() < Duration::from_secs(1), "{address}: {:?}", started.elapsed());
    }
    let wrong = IdentityConfig { memcached: vec!["nowhere".to_owned()], ..IdentityConfig::default() };
    let records = anello_identity::records::MemoryRecords::default();
    assert!(IdentityRoom::open_with(Arc::new(records), wrong).await.is_err(), "a misspelt server stops the start");
}
