//! A client for the tests: a door over a store in a temporary directory, and requests signed by an
//! implementation of Signature Version 4 that shares nothing with the server's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anello_api::identity::{Caller, Identity, IdentityError, SigningKey};
use anello_proxy::object::vault::Vault;
use anello_proxy::s3::{S3Config, S3Door};
use anello_proxy::swift::{Middleware, SwiftConfig};
use anello_storage::Store;
use anello_storage::store::{DaemonOptions, StoreOptions};
use bytes::Bytes;
use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use sha2::{Digest, Sha256};

/// Everything that a test needs.
pub(crate) struct Client {
    pub(crate) door: S3Door,
    pub(crate) store: Vault,
    pub(crate) keys: Arc<Keys>,
    _dir: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Text of an XML element, the first of its name.
    pub(crate) fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> String {
        self.element("Code").unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Fails unless the status is this.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:?} {}", self.headers, self.text());
        self
    }

    /// Fails unless it is this error.
    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.code(), code, "{}", answer.text());
        for name in ["Message", "Resource", "RequestId"] {
            assert!(answer.element(name).is_some_and(|text| !text.is_empty()), "{name}: {}", answer.text());
        }
        answer
    }
}

/// Identity as another host's is: it does not tell that something has changed.
pub(crate) struct Keys(Mutex<Result<HashMap<String, SigningKey>, IdentityError>>);

impl Keys {
    pub(crate) fn delete(&self, access: &str) {
        self.0.lock().expect("a lock").as_mut().expect("it is there").remove(access);
    }

    pub(crate) fn go_down(&self) {
        *self.0.lock().expect("a lock") = Err(IdentityError::Unavailable("it is down".into()));
    }
}

impl Identity for Keys {
    fn token<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Caller>, IdentityError>> {
        Box::pin(async { Err(IdentityError::NotValid) })
    }

    fn signing_key<'a>(&'a self, access: &'a str) -> BoxFuture<'a, Result<SigningKey, IdentityError>> {
        let keys = self.0.lock().expect("a lock").clone();
        Box::pin(async move { keys?.get(access).cloned().ok_or(IdentityError::NotValid) })
    }
}

/// Keys: `alice` and `bob` are members of their projects, `rita` only reads alice's.
fn keys() -> Keys {
    let key = |name: &str, project: &str, role: &str| {
        let caller = Caller {
            user_id: name.into(),
            project_id: Some(project.into()),
            roles: vec![role.into()],
            ..Caller::default()
        };
        (name.to_owned(), SigningKey { secret: format!("secret of {name}"), caller: Arc::new(caller) })
    };
    let all = [key("alice", "sea", "member"), key("bob", "land", "member"), key("rita", "sea", "reader")];
    Keys(Mutex::new(Ok(all.into())))
}

/// A request being put together.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    key: Option<String>,
    payload: Option<String>,
    date: Option<SystemTime>,
    region: String,
}

impl Call {
    pub(crate) fn new(method: &str, uri: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            uri: uri.into(),
            headers: vec![("host".into(), "localhost:9000".into())],
            body: Bytes::new(),
            key: Some("alice".into()),
            payload: None,
            date: None,
            region: "us-east-1".into(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Signs as somebody else.
    pub(crate) fn signed_by(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Does not sign.
    pub(crate) fn anonymous(mut self) -> Self {
        self.key = None;
        self
    }

    /// What `x-amz-content-sha256` says instead of the body's digest.
    pub(crate) fn payload(mut self, payload: &str) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Signs for another region.
    pub(crate) fn region(mut self, region: &str) -> Self {
        self.region = region.into();
        self
    }

    /// Signs for another time.
    pub(crate) fn at(mut self, date: SystemTime) -> Self {
        self.date = Some(date);
        self
    }

    /// Signs with the header `authorization`; also the seed for chunks and the scope they are signed in.
    pub(crate) fn sign(&mut self) -> Option<Seed> {
        let key = self.key.clone()?;
        let payload = self.payload.clone().unwrap_or_else(|| hex::encode(Sha256::digest(&self.body)));
        let stamp = stamp(self.date.unwrap_or_else(SystemTime::now));
        self.headers.push(("x-amz-date".into(), stamp.clone()));
        self.headers.push(("x-amz-content-sha256".into(), payload.clone()));
        self.headers.sort();
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let (path, query) = self.uri.split_once('?').unwrap_or((&self.uri, ""));
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let canonical = format!("{}\n{path}\n{}\n{lines}\n{names}\n{payload}", self.method, canonical_query(query));
        let scope = format!("{}/{}/s3/aws4_request", &stamp[..8], self.region);
        let signing_key = signing_key(&format!("secret of {key}"), &stamp[..8], &self.region);
        let digest = hex::encode(Sha256::digest(canonical));
        let signature = hex::encode(hmac(&signing_key, &format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}")));
        let value = format!("AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}");
        self.headers.push(("authorization".into(), value));
        Some(Seed { signing_key, stamp, scope, signature })
    }

    /// The URL signed in its query, valid for `seconds`.
    pub(crate) fn presigned(mut self, seconds: u64) -> Self {
        let key = self.key.take().expect("a key");
        let stamp = stamp(self.date.unwrap_or_else(SystemTime::now));
        let scope = format!("{}/{}/s3/aws4_request", &stamp[..8], self.region);
        let mark = if self.uri.contains('?') { '&' } else { '?' };
        self.uri = format!(
            "{}{mark}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={stamp}&X-Amz-Expires={seconds}\
             &X-Amz-SignedHeaders=host",
            self.uri,
            format!("{key}/{scope}").replace('/', "%2F"),
        );
        let (path, query) = self.uri.split_once('?').expect("a query");
        let canonical = format!(
            "{}\n{path}\n{}\nhost:localhost:9000\n\nhost\nUNSIGNED-PAYLOAD",
            self.method,
            canonical_query(query)
        );
        let digest = hex::encode(Sha256::digest(canonical));
        let signing_key = signing_key(&format!("secret of {key}"), &stamp[..8], &self.region);
        let signature = hex::encode(hmac(&signing_key, &format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}")));
        self.uri = format!("{}&X-Amz-Signature={signature}", self.uri);
        self
    }

    /// The request, signed where it is to be and is not yet.
    pub(crate) fn request(mut self) -> Request<Full<Bytes>> {
        if !self.headers.iter().any(|(name, _)| name == "authorization") {
            self.sign();
        }
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request = request.header("content-length", self.body.len());
        request.body(Full::new(self.body)).expect("a request")
    }

    /// Encodes the body as `aws-chunked` with signed chunks and a signed trailer.
    pub(crate) fn chunked(mut self, chunk_bytes: usize, trailer: Option<(&str, &str)>) -> Self {
        let data = std::mem::take(&mut self.body);
        self = self.header("x-amz-decoded-content-length", &data.len().to_string());
        self = self.header("content-encoding", "aws-chunked");
        if let Some((name, _)) = trailer {
            self = self.header("x-amz-trailer", name).payload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER");
        } else {
            self = self.payload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        }
        let seed = self.sign().expect("a key");
        let empty = hex::encode(Sha256::digest(b""));
        let mut previous = seed.signature.clone();
        let mut out = Vec::new();
        for chunk in data.chunks(chunk_bytes).chain([&b""[..]]) {
            let digest = hex::encode(Sha256::digest(chunk));
            previous = seed.sign("AWS4-HMAC-SHA256-PAYLOAD", &format!("{previous}\n{empty}\n{digest}"));
            out.extend(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).bytes());
            out.extend(chunk);
            if !chunk.is_empty() || trailer.is_none() {
                out.extend(b"\r\n");
            }
        }
        if let Some((name, value)) = trailer {
            let digest = hex::encode(Sha256::digest(format!("{name}:{value}\n")));
            let signature = seed.sign("AWS4-HMAC-SHA256-TRAILER", &format!("{previous}\n{digest}"));
            out.extend(format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n").bytes());
        }
        self.body = out.into();
        self.key = None;
        self
    }
}

/// What chunks are signed with.
pub(crate) struct Seed {
    signing_key: Vec<u8>,
    stamp: String,
    scope: String,
    signature: String,
}

impl Seed {
    fn sign(&self, algorithm: &str, rest: &str) -> String {
        hex::encode(hmac(&self.signing_key, &format!("{algorithm}\n{}\n{}\n{rest}", self.stamp, self.scope)))
    }
}

fn canonical_query(query: &str) -> String {
    let pair = |pair: &str| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") };
    let mut pairs: Vec<_> = query.split('&').filter(|text| !text.is_empty()).map(pair).collect();
    pairs.sort();
    pairs.join("&")
}

fn stamp(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let text = anello_base::Timestamp::from_seconds(seconds).iso8601();
    format!("{}Z", text.split_once('.').expect("decimals").0.replace(['-', ':'], ""))
}

fn signing_key(secret: &str, date: &str, region: &str) -> Vec<u8> {
    let first = hmac(format!("AWS4{secret}").as_bytes(), date);
    [region, "s3", "aws4_request"].iter().fold(first, |key, text| hmac(&key, text))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

impl Client {
    /// A fresh store with a door to it.
    pub(crate) async fn new() -> Self {
        Self::with_config(S3Config::default()).await
    }

    /// Likewise, the door set up in another way.
    pub(crate) async fn with_config(config: S3Config) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = StoreOptions {
            devices: vec![dir.path().join("d0")],
            state_dir: dir.path().join("state"),
            cluster_id: "0123456789abcdef0123456789abcdef".into(),
            cluster_secret: b"secret".to_vec(),
            device: anello_storage::device::DeviceOptions::default(),
            daemons: DaemonOptions::default(),
        };
        let store = tokio::task::spawn_blocking(move || Store::open(options)).await.expect("no panic").expect("opens");
        let config = S3Config { has_lane: crate::HAS_LANE, ..config };
        let keys = Arc::new(keys());
        let mut swift = SwiftConfig::default();
        let mut secrets = Vec::new();
        if std::env::var_os("ANELLO_TEST_ENCRYPTION").is_some() {
            swift.pipeline.extend([Middleware::Keymaster, Middleware::Encryption]);
            secrets.push((
                "ANELLO_ENCRYPTION_ROOT_SECRET".to_owned(),
                "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=".to_owned(),
            ));
        }
        let store = swift.vault(store, secrets).expect("secrets");
        let door = S3Door::new(config, store.clone(), keys.clone()).expect("a door");
        Self { door, store, keys, _dir: dir }
    }

    /// A fresh store with the bucket `photos` of alice's.
    pub(crate) async fn with_bucket() -> Self {
        let client = Self::new().await;
        client.send(Call::new("PUT", "/photos")).await.expect(200);
        client
    }

    /// Signs and sends.
    pub(crate) async fn send(&self, call: Call) -> Answer {
        let request = call.request();
        let (parts, body) = self.door.call(request).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Call::new("PUT", path).body(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Call::new("GET", path)).await
    }
}

/// Bytes that differ everywhere.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<_>>().into()
}
