//! A door over a store in a directory that goes with the test, and callers that it knows by simple tokens.

use std::path::Path;
use std::sync::Arc;

use anello_api::identity::{Caller, Identity, IdentityError, SigningKey};
use anello_proxy::object::vault::Vault;
use anello_proxy::swift::{Endpoint, Middleware, SwiftConfig, SwiftDoor, TempAuthConfig, TempUser};
use anello_storage::Store;
use anello_storage::device::DeviceOptions;
use anello_storage::store::{DaemonOptions, StoreOptions};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;

/// The door, and the directory of its store.
pub(crate) struct Cloud {
    pub(crate) door: SwiftDoor,
    pub(crate) store: Vault,
    pub(crate) directory: TempDir,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Holds the answer to a status.
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {:?}", self.headers, self.body);
        self
    }
}

/// Callers by token: who, in which project, with which roles.
const CALLERS: [(&str, &str, &str, &[&str]); 7] = [
    ("owner", "ann", "sea", &["member"]),
    ("reader", "rob", "sea", &["reader"]),
    ("gardener", "gil", "sea", &["Gardener"]),
    ("stranger", "sue", "hill", &["member"]),
    ("foreign", "fay", "isle", &["member"]),
    ("reseller", "ray", "root", &["reselleradmin"]),
    ("unscoped", "una", "", &[]),
];

/// Tempauth's users, and their groups.
const TEMPORARY: [(&str, &[&str]); 6] = [
    ("test:owner", &[".admin"]),
    ("test:guest", &[]),
    ("other:owner", &[".admin"]),
    ("root:admin", &[".admin", ".reseller_admin"]),
    ("root:reader", &[".reseller_reader"]),
    ("svc:glance", &["service"]),
];

struct Directory;

impl Identity for Directory {
    fn token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>, IdentityError>> {
        let caller = CALLERS.iter().find(|(known, ..)| *known == token).map(|(_, user, project, roles)| {
            let project = Some(*project).filter(|project| !project.is_empty());
            let domain = if token == "foreign" { "elsewhere" } else { "default" };
            Arc::new(Caller {
                user_id: format!("{user}-id"),
                user_name: (*user).into(),
                user_domain_id: domain.into(),
                project_id: project.map(str::to_owned),
                project_name: project.map(|project| format!("{project}-name")),
                project_domain_id: project.map(|_| domain.to_owned()),
                roles: roles.iter().map(|role| (*role).to_owned()).collect(),
                ..Caller::default()
            })
        });
        let answer = match (caller, token) {
            (Some(caller), _) => Ok(caller),
            (None, "unavailable") => Err(IdentityError::Unavailable("down".into())),
            (None, _) => Err(IdentityError::NotValid),
        };
        Box::pin(async move { answer })
    }

    fn signing_key<'a>(&'a self, _access: &'a str) -> BoxFuture<'a, Result<SigningKey, IdentityError>> {
        Box::pin(async { Err(IdentityError::NotValid) })
    }
}

pub(crate) async fn store(root: &Path) -> Store {
    store_with(root, DaemonOptions::default()).await
}

pub(crate) async fn store_with(root: &Path, daemons: DaemonOptions) -> Store {
    let options = StoreOptions {
        devices: vec![root.join("device")],
        state_dir: root.join("state"),
        cluster_id: "0123456789abcdef0123456789abcdef".into(),
        cluster_secret: b"secret".to_vec(),
        device: DeviceOptions::default(),
        daemons,
    };
    tokio::task::spawn_blocking(move || Store::open(options)).await.expect("no panic").expect("opens")
}

impl Cloud {
    /// An empty store.
    pub(crate) async fn new() -> Self {
        Self::with(SwiftConfig::default()).await
    }

    /// An empty store behind a door with settings of its own, and with tempauth's users.
    pub(crate) async fn with(config: SwiftConfig) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path()).await;
        let is_encrypted = std::env::var_os("ANELLO_TEST_ENCRYPTION").is_some();
        let secrets = if is_encrypted { &[(None, 1)][..] } else { &[] };
        Self::of(directory, &store, config, secrets)
    }

    /// A door to a store with these root secrets (id, and the byte that it is made of), which is encrypted if there are
    /// any; the last one is active.
    pub(crate) fn of(
        directory: TempDir,
        store: &Store,
        mut config: SwiftConfig,
        secrets: &[(Option<&str>, u8)],
    ) -> Self {
        if let Some((active, _)) = secrets.last() {
            config.pipeline.extend([Middleware::Keymaster, Middleware::Encryption]);
            config.keymaster.active_root_secret_id = Some(active.unwrap_or("").to_owned());
        }
        let variable = |(id, byte): &(Option<&str>, u8)| {
            let end = id.map(|id| format!("_{id}")).unwrap_or_default();
            (format!("ANELLO_ENCRYPTION_ROOT_SECRET{end}"), BASE64_STANDARD.encode([*byte; 32]))
        };
        let store = config.vault(store.clone(), secrets.iter().map(variable)).expect("secrets");
        let user = |(name, groups): &(&str, &[&str])| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            ((*name).to_owned(), TempUser { key: "secret".into(), groups, storage_url: None })
        };
        let users = TEMPORARY.iter().map(user).collect();
        let tempauth = TempAuthConfig { enabled: true, users, ..TempAuthConfig::default() };
        let endpoint = Endpoint { secret: b"secret".to_vec(), ..Endpoint::default() };
        let door = SwiftDoor::new(config, store.clone(), Arc::new(Directory)).at(endpoint, tempauth);
        Self { door, store, directory }
    }

    /// A token of one of tempauth's users.
    pub(crate) async fn log_in(&self, user: &str) -> String {
        let headers = [("x-auth-user", user), ("x-auth-key", "secret")];
        let answer = self.ask("", "GET /auth/v1.0", &headers, "").await.is(200);
        answer.header("x-auth-token").expect("a token").to_owned()
    }

    /// A store with the container `/v1/AUTH_sea/c`.
    pub(crate) async fn with_container() -> Self {
        let cloud = Self::new().await;
        cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
        cloud
    }

    /// Asks as the caller behind `token` (nobody where it is empty). `line` is method and address; a length
    /// is stated where the headers don't frame the body.
    pub(crate) async fn ask(
        &self,
        token: &str,
        line: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let body = body.into();
        let (method, uri) = line.split_once(' ').expect("method and address");
        let mut request = Request::builder().method(method).uri(uri);
        if !token.is_empty() {
            request = request.header("x-auth-token", token);
        }
        let is_framed = headers.iter().any(|(name, _)| ["content-length", "transfer-encoding"].contains(name));
        if !is_framed && ["PUT", "POST"].contains(&method) {
            request = request.header("content-length", body.len());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body)).expect("a request")).await
    }

    /// Sends a request as it is.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = self.door.call(request).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<_>>().into()
}

/// MD5 in hexadecimal digits.
pub(crate) fn md5_hex(data: &[u8]) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(data))
}
