//! Where identity is: a room of this host with its workers, or another host's service that is asked over HTTP, or
//! nowhere on a host that asks nobody who is calling.

use std::sync::Arc;
use std::time::Duration;

use anello_api::identity::Identity;
use anello_api::keystone::RemoteIdentity;
use anello_api::rest::PeerAddress;
use anello_identity::records::{ObjectRecords, SqlRecords};
use anello_identity::{Bootstrap, CatalogEntry, IdentityConfig, IdentityRoom, KeyKind};
use anello_storage::Store;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt;

use crate::config::{Config, Role};
use crate::limits::{
    CLUSTER_IDENTITY_REFRESH_INTERVAL, CLUSTER_IDENTITY_SETTLE, IDENTITY_REFRESH_INTERVAL, IDENTITY_SNAPSHOT_INTERVAL,
};
use crate::serve::body::{RequestBody, ResponseBody};
use crate::serve::connection::Peer;
use crate::serve::gateway::fault;
use crate::serve::home::{Cluster, Urls};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// See the module.
pub(crate) enum IdentityService {
    Here(Here),
    Elsewhere(Elsewhere),
    Absent,
}

/// This host's own.
pub(crate) struct Here {
    room: Arc<IdentityRoom>,
    store: Store,
    // Keystone under `/identity`.
    keystone: axum::Router,
    /// How long another host may take to learn of what has changed here.
    settle: Duration,
    // These end with the room; each of their steps may be cut anywhere.
    keeper: AbortOnDropHandle<()>,
    copier: AbortOnDropHandle<()>,
}

/// Another host's.
pub(crate) struct Elsewhere {
    remote: Arc<RemoteIdentity>,
    url: String,
    watcher: AbortOnDropHandle<()>,
}

/// The administrator's keys for signed requests. Secret: no `Debug`.
pub(crate) struct Administrator {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

impl IdentityService {
    /// Opens the room, or makes ready to ask the other host. A proxy has a room of its own to ask, and so has a founder
    /// that `has_news` for the records, such as that there is an administrator.
    pub(crate) async fn open(config: &Config, cluster: &Cluster, store: Store, has_news: bool) -> Result<Self> {
        let is_proxy = config.roles.has(Role::Proxy);
        let remote = match config.identity.remote() {
            None if is_proxy || config.roles.has(Role::Control) || has_news => {
                return Ok(Self::Here(Here::open(config, cluster, store).await?));
            }
            Some(remote) if is_proxy => remote,
            _ => return Ok(Self::Absent),
        };
        let url = remote.url.clone();
        if is_in_clear(&url) {
            tracing::warn!(
                url,
                "identity is asked without TLS: its tokens and the secrets of keys can be read on the way"
            );
        }
        let remote = Arc::new(RemoteIdentity::new(remote)?);
        let watched = remote.clone();
        let watcher = AbortOnDropHandle::new(tokio::spawn(async move { watched.watch().await }));
        Ok(Self::Elsewhere(Elsewhere { remote, url, watcher }))
    }

    /// Who tells the doors who is calling.
    pub(crate) fn asked(&self) -> Option<Arc<dyn Identity>> {
        match self {
            Self::Here(here) => Some(here.room.clone()),
            Self::Elsewhere(elsewhere) => Some(elsewhere.remote.clone()),
            Self::Absent => None,
        }
    }

    /// This host's own; where there is none, why.
    pub(crate) fn here(&self) -> std::result::Result<&Here, String> {
        match self {
            Self::Here(here) => Ok(here),
            Self::Elsewhere(Elsewhere { url, .. }) => {
                Err(format!("identity is not on this host but at {url} (identity.remote.url): do it there"))
            }
            Self::Absent => {
                Err("identity is not on this host: do it on one that has the role control or proxy".to_owned())
            }
        }
    }

    /// Waits until it can answer.
    pub(crate) async fn ready(&self) {
        if let Self::Elsewhere(elsewhere) = self {
            elsewhere.remote.answered().await;
        }
    }

    /// As `anello status` shows it.
    pub(crate) fn status(&self) -> Value {
        match self {
            Self::Here(_) | Self::Absent => Value::Null,
            Self::Elsewhere(elsewhere) => json!(elsewhere.remote.status()),
        }
    }

    /// Answers `/identity/…`.
    pub(crate) async fn answer(&self, peer: Peer, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        let Self::Here(here) = self else {
            return fault(StatusCode::NOT_FOUND, "Identity is not served here but by another host.");
        };
        if let Some(address) = peer.address {
            request.extensions_mut().insert(PeerAddress(address.ip()));
        }
        ask(here.keystone.clone(), request).await
    }

    /// Answers `/identity/…` on the control socket: every request is the operator's.
    pub(crate) async fn answer_operator(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        match self.here() {
            Ok(here) => ask(axum::Router::new().nest_service("/identity", here.room.operator_router()), request).await,
            Err(elsewhere) => fault(StatusCode::NOT_FOUND, &elsewhere),
        }
    }

    /// Ends the workers.
    pub(crate) async fn close(&self) {
        match self {
            Self::Absent => {}
            Self::Elsewhere(elsewhere) => elsewhere.watcher.abort(),
            Self::Here(here) => {
                here.keeper.abort();
                here.copier.abort();
                if let Err(error) = here.room.keep_snapshots(true).await {
                    tracing::warn!(%error, "identity's snapshots could not be written; the next start is slower");
                }
            }
        }
    }
}

impl Here {
    async fn open(config: &Config, cluster: &Cluster, store: Store) -> Result<Self> {
        let below_gateway = || config.gateway.public_url.as_ref().map(|url| format!("{url}/identity"));
        let public_url = config.identity.public_url.clone().or_else(below_gateway);
        let identity_config = IdentityConfig {
            cluster_secret: cluster.secret(),
            public_url,
            compliance: config.identity.security_compliance.clone(),
            policy_overrides: config.identity.policy_overrides()?,
            audit_log: config.identity.audit_log.clone(),
            memcached: config.identity.memcached.clone(),
            databases: config.identity.databases.clone(),
        };
        let room = match &config.identity.database {
            None => IdentityRoom::open(store.clone(), identity_config).await?,
            Some(url) => IdentityRoom::open_with(Arc::new(SqlRecords::connect(url).await?), identity_config).await?,
        };
        // A database may serve other hosts too.
        let is_alone = store.status().cluster.is_none() && config.identity.database.is_none();
        let (refresh, settle) = match is_alone {
            true => (IDENTITY_REFRESH_INTERVAL, Duration::ZERO),
            false => (CLUSTER_IDENTITY_REFRESH_INTERVAL, CLUSTER_IDENTITY_SETTLE),
        };
        Ok(Self {
            keystone: axum::Router::new().nest_service("/identity", room.router()),
            keeper: AbortOnDropHandle::new(tokio::spawn(keep(room.clone(), refresh))),
            copier: AbortOnDropHandle::new(tokio::spawn(keep_snapshots(room.clone()))),
            settle,
            room,
            store,
        })
    }

    /// Makes the administrator, the roles and the catalog; does nothing a second time.
    pub(crate) async fn bootstrap(&self, config: &Config, urls: &Urls, password: &str) -> Result<Administrator> {
        let bootstrap = Bootstrap {
            admin_password: password.to_owned(),
            region: config.identity.region.clone(),
            catalog: catalog(urls),
        };
        let made = self.room.bootstrap(&bootstrap).await?;
        Ok(Administrator { access_key: made.access, secret_key: made.secret })
    }

    /// Enters changed URLs into the catalog.
    pub(crate) async fn follow_urls(&self, config: &Config, urls: &Urls) -> Result<()> {
        Ok(self.room.publish(&config.identity.region, &catalog(urls)).await?)
    }

    /// Copies the records to a database, or (`objects`) back into the store, and tells how many. Nothing is changed
    /// then until the next start.
    pub(crate) async fn migrate(&self, to: &str) -> Result<usize> {
        Ok(match to {
            "objects" => self.room.migrate(&ObjectRecords::new(self.store.clone())).await?,
            url => self.room.migrate(&SqlRecords::connect(url).await?).await?,
        })
    }

    /// Moves the users and groups of a domain to a database of the configuration or back (`main`), and tells how many;
    /// `None` where a move that had not arrived was called back.
    pub(crate) async fn migrate_domain(&self, domain: &str, to: &str) -> Result<Option<usize>> {
        Ok(self.room.migrate_domain(domain, to, self.settle).await?)
    }

    /// Moves the keys of a kind on by one, and tells how many records were sealed anew.
    pub(crate) async fn rotate_keys(&self, kind: KeyKind) -> Result<usize> {
        Ok(self.room.rotate_keys(kind).await?)
    }
}

async fn ask(router: axum::Router, request: Request<RequestBody>) -> Response<ResponseBody> {
    match router.oneshot(request.map(axum::body::Body::new)).await {
        Ok(response) => response.map(ResponseBody::from),
        Err(never) => match never {},
    }
}

/// Whether what goes to a URL leaves this host in clear.
fn is_in_clear(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or(rest);
    let is_loopback = |address: std::net::SocketAddr| address.ip().is_loopback();
    let is_this = host.split(':').next() == Some("localhost")
        || host.parse().is_ok_and(is_loopback)
        || format!("{host}:80").parse().is_ok_and(is_loopback);
    !is_this
}

/// Takes note of what other hosts have changed, and drops what identity no longer needs, such as revocations of
/// tokens that have ended.
async fn keep(room: Arc<IdentityRoom>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = room.refresh().await {
            tracing::warn!(%error, "identity's records could not be refreshed, will be tried again");
        }
    }
}

/// Keeps what makes identity's next start fast.
async fn keep_snapshots(room: Arc<IdentityRoom>) {
    loop {
        if let Err(error) = room.keep_snapshots(false).await {
            tracing::warn!(%error, "identity's snapshots could not be written, will be tried again");
        }
        tokio::time::sleep(IDENTITY_SNAPSHOT_INTERVAL).await;
    }
}

/// The services that are served.
fn catalog(urls: &Urls) -> Vec<CatalogEntry> {
    let entry = |kind: &str, name: &str, url: String| CatalogEntry { kind: kind.into(), name: name.into(), url };
    vec![
        entry("identity", "keystone", urls.identity()),
        entry("object-store", "swift", format!("{}/v1/AUTH_%(project_id)s", urls.gateway)),
        entry("s3", "s3", urls.s3.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_this_host_in_clear_is_told_from_what_does_not() {
        for (url, want) in [
            ("http://keystone.example/identity", true),
            ("http://10.0.0.1:5000", true),
            ("https://keystone.example/identity", false),
            ("http://localhost:8080/identity", false),
            ("http://127.0.0.1:8080/identity", false),
            ("http://127.0.0.1", false),
            ("http://[::1]:8080", false),
            ("http://localhost.example", true),
        ] {
            assert_eq!(is_in_clear(url), want, "{url}");
        }
    }
}
