//! The rooms and the store behind one face: the only place that knows how they are opened, wired to each
//! other, asked and closed.

use std::sync::Arc;
use std::time::Duration;

use anello_api::rest::PeerAddress;
use anello_identity::records::{ObjectRecords, SqlRecords};
use anello_identity::{Bootstrap, CatalogEntry, IdentityConfig, IdentityRoom, KeyKind};
use anello_proxy::object::reaper::Reaper;
use anello_proxy::object::sweeper::Sweeper;
use anello_proxy::s3::{S3Config, S3Door};
use anello_proxy::swift::{SwiftConfig, SwiftDoor};
use anello_storage::Store;
use anello_storage::cluster::Member;
use anello_storage::device::DeviceOptions;
use anello_storage::store::{ReplicationOptions, StoreOptions};
use http::{Request, Response};
use prometheus_client::registry::Registry;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt;

use crate::config::Config;
use crate::limits::{
    CLUSTER_IDENTITY_REFRESH_INTERVAL, CLUSTER_IDENTITY_SETTLE, IDENTITY_REFRESH_INTERVAL, IDENTITY_SNAPSHOT_INTERVAL,
};
use crate::serve::body::{RequestBody, ResponseBody};
use crate::serve::connection::Peer;
use crate::serve::home::{Cluster, Urls};
use crate::serve::{daemons, devices};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Everything that serves.
pub(crate) struct Rooms {
    store: Store,
    identity: Arc<IdentityRoom>,
    // Keystone under `/identity`.
    keystone: axum::Router,
    /// How long another host may take to learn of what identity has changed here.
    settle: Duration,
    swift: SwiftDoor,
    s3: S3Door,
    // These end with the rooms; each of their steps may be cut anywhere.
    reaper: AbortOnDropHandle<()>,
    sweeper: AbortOnDropHandle<()>,
    keeper: AbortOnDropHandle<()>,
    copier: AbortOnDropHandle<()>,
}

/// The administrator's keys for signed requests. Secret: no `Debug`.
pub(crate) struct Administrator {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

impl Rooms {
    /// Opens the rooms of a store.
    pub(crate) async fn open(config: &Config, cluster: &Cluster, store: Store) -> Result<Self> {
        let public_url = config.gateway.public_url.as_ref().map(|url| format!("{url}/identity"));
        let identity_config = IdentityConfig {
            cluster_secret: cluster.secret(),
            public_url,
            compliance: config.identity.security_compliance.clone(),
            policy_overrides: config.identity.policy_overrides()?,
            audit_log: config.identity.audit_log.clone(),
            memcached: config.identity.memcached.clone(),
            databases: config.identity.databases.clone(),
        };
        let identity = match &config.identity.database {
            None => IdentityRoom::open(store.clone(), identity_config).await?,
            Some(url) => IdentityRoom::open_with(Arc::new(SqlRecords::connect(url).await?), identity_config).await?,
        };
        let (region, base_domain) = (config.s3.region.clone(), config.s3.base_domain.clone());
        let s3_config = S3Config { region, base_domain, ..S3Config::default() };
        // A database may serve other hosts too.
        let is_alone = store.status().cluster.is_none() && config.identity.database.is_none();
        let (refresh, settle) = match is_alone {
            true => (IDENTITY_REFRESH_INTERVAL, Duration::ZERO),
            false => (CLUSTER_IDENTITY_REFRESH_INTERVAL, CLUSTER_IDENTITY_SETTLE),
        };
        Ok(Self {
            keystone: axum::Router::new().nest_service("/identity", identity.router()),
            swift: SwiftDoor::new(SwiftConfig::default(), store.clone(), identity.clone()),
            s3: S3Door::new(s3_config, store.clone(), identity.clone())?,
            reaper: AbortOnDropHandle::new(tokio::spawn(Reaper::new(store.clone()).run())),
            sweeper: AbortOnDropHandle::new(tokio::spawn(Sweeper::new(store.clone()).run())),
            keeper: AbortOnDropHandle::new(tokio::spawn(keep(identity.clone(), refresh))),
            copier: AbortOnDropHandle::new(tokio::spawn(keep_snapshots(identity.clone()))),
            settle,
            identity,
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
        let made = self.identity.bootstrap(&bootstrap).await?;
        Ok(Administrator { access_key: made.access, secret_key: made.secret })
    }

    /// Enters changed URLs into the catalog.
    pub(crate) async fn follow_urls(&self, config: &Config, urls: &Urls) -> Result<()> {
        Ok(self.identity.publish(&config.identity.region, &catalog(urls)).await?)
    }

    /// Answers `/v1/…`, `/info`, `/healthcheck`.
    pub(crate) async fn swift(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        self.swift.call(request).await.map(ResponseBody::from)
    }

    /// Answers what comes to the S3 listener.
    pub(crate) async fn s3(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        self.s3.call(request).await.map(ResponseBody::from)
    }

    /// Answers `/identity/…`.
    pub(crate) async fn identity(&self, peer: Peer, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        if let Some(address) = peer.address {
            request.extensions_mut().insert(PeerAddress(address.ip()));
        }
        match self.keystone.clone().oneshot(request.map(axum::body::Body::new)).await {
            Ok(response) => response.map(ResponseBody::from),
            Err(never) => match never {},
        }
    }

    /// Answers `/identity/…` on the control socket: every request is the operator's.
    pub(crate) async fn identity_for_operator(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let router = axum::Router::new().nest_service("/identity", self.identity.operator_router());
        match router.oneshot(request.map(axum::body::Body::new)).await {
            Ok(response) => response.map(ResponseBody::from),
            Err(never) => match never {},
        }
    }

    /// Copies identity's records to a database, or (`objects`) back into the store, and tells how many. Identity then
    /// changes nothing until the next start.
    pub(crate) async fn migrate_identity(&self, to: &str) -> Result<usize> {
        Ok(match to {
            "objects" => self.identity.migrate(&ObjectRecords::new(self.store.clone())).await?,
            url => self.identity.migrate(&SqlRecords::connect(url).await?).await?,
        })
    }

    /// Moves the users and groups of a domain to a database of the configuration or back (`main`), and tells how many;
    /// `None` where a move that had not arrived was called back.
    pub(crate) async fn migrate_identity_domain(&self, domain: &str, to: &str) -> Result<Option<usize>> {
        Ok(self.identity.migrate_domain(domain, to, self.settle).await?)
    }

    /// Moves identity's keys of a kind on by one, and tells how many records were sealed anew.
    pub(crate) async fn rotate_identity_keys(&self, kind: KeyKind) -> Result<usize> {
        Ok(self.identity.rotate_keys(kind).await?)
    }

    /// What everything is kept in.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The figures of devices and daemons.
    pub(crate) fn metrics(&self) -> [Registry; 2] {
        let status = self.store.status();
        [devices::registry(&status), daemons::registry(&status)]
    }

    /// The store as `anello status` shows it.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::to_value(self.store.status()).unwrap_or_default()
    }

    /// Ends the workers and closes the store.
    pub(crate) async fn close(&self) -> Result<()> {
        self.reaper.abort();
        self.sweeper.abort();
        self.keeper.abort();
        self.copier.abort();
        if let Err(error) = self.identity.keep_snapshots(true).await {
            tracing::warn!(%error, "identity's snapshots could not be written; the next start is slower");
        }
        Ok(self.store.close().await?)
    }
}

/// Opens the devices, replaying what was not closed; a host of several waits until the cluster is complete.
pub(crate) async fn open_store(config: &Config, cluster: &Cluster, member: Option<Member>) -> Result<Store> {
    if let Some(member) = member {
        let map = member.map().await?;
        return Ok(Store::open_member(member, &map)?);
    }
    let options = StoreOptions {
        devices: config.data.clone(),
        state_dir: config.home().to_owned(),
        cluster_id: cluster.id.clone(),
        cluster_secret: cluster.secret(),
        device: DeviceOptions::default(),
        replication: ReplicationOptions::default(),
        audit: config.storage.audit(),
    };
    Ok(tokio::task::spawn_blocking(move || Store::open(options)).await??)
}

/// Takes note of what other hosts have changed, and drops what identity no longer needs, such as revocations of
/// tokens that have ended.
async fn keep(identity: Arc<IdentityRoom>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = identity.refresh().await {
            tracing::warn!(%error, "identity's records could not be refreshed, will be tried again");
        }
    }
}

/// Keeps what makes identity's next start fast.
async fn keep_snapshots(identity: Arc<IdentityRoom>) {
    loop {
        if let Err(error) = identity.keep_snapshots(false).await {
            tracing::warn!(%error, "identity's snapshots could not be written, will be tried again");
        }
        tokio::time::sleep(IDENTITY_SNAPSHOT_INTERVAL).await;
    }
}

/// The services that are served.
fn catalog(urls: &Urls) -> Vec<CatalogEntry> {
    let entry = |kind: &str, name: &str, url: String| CatalogEntry { kind: kind.into(), name: name.into(), url };
    vec![
        entry("identity", "keystone", format!("{}/identity", urls.gateway)),
        entry("object-store", "swift", format!("{}/v1/AUTH_%(project_id)s", urls.gateway)),
        entry("s3", "s3", urls.s3.clone()),
    ]
}
