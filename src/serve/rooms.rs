//! The rooms and the store behind one face: the only place that knows how they are opened, wired to each
//! other, asked and closed.

use anello_api::rest::PeerAddress;
use anello_proxy::object::reaper::Reaper;
use anello_proxy::object::sweeper::Sweeper;
use anello_proxy::s3::{S3Config, S3Door};
use anello_proxy::swift::{Endpoint, SwiftDoor};
use anello_storage::Store;
use anello_storage::cluster::Member;
use anello_storage::device::DeviceOptions;
use anello_storage::store::{ReplicationOptions, StoreOptions};
use http::{Request, Response};
use prometheus_client::registry::Registry;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::serve::body::{RequestBody, ResponseBody};
use crate::serve::connection::Peer;
use crate::serve::home::Cluster;
use crate::serve::identity::IdentityService;
use crate::serve::{daemons, devices};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Everything that serves.
pub(crate) struct Rooms {
    store: Store,
    identity: IdentityService,
    swift: SwiftDoor,
    s3: S3Door,
    // These end with the rooms; each of their steps may be cut anywhere.
    reaper: AbortOnDropHandle<()>,
    sweeper: AbortOnDropHandle<()>,
}

impl Rooms {
    /// Opens the rooms of a store.
    pub(crate) async fn open(config: &Config, cluster: &Cluster, store: Store) -> Result<Self> {
        let identity = IdentityService::open(config, cluster, store.clone()).await?;
        let (region, base_domain) = (config.s3.region.clone(), config.s3.base_domain.clone());
        let s3_config = S3Config { region, base_domain, ..S3Config::default() };
        let endpoint = Endpoint {
            secret: cluster.secret(),
            public_url: config.gateway.public_url.clone(),
            is_tls: config.tls.certificate.is_some(),
        };
        Ok(Self {
            swift: SwiftDoor::new(config.swift.clone(), store.clone(), identity.asked())
                .at(endpoint, config.gateway.tempauth.clone()),
            s3: S3Door::new(s3_config, store.clone(), identity.asked())?,
            reaper: AbortOnDropHandle::new(tokio::spawn(Reaper::new(store.clone()).run())),
            sweeper: AbortOnDropHandle::new(tokio::spawn(Sweeper::new(store.clone()).run())),
            identity,
            store,
        })
    }

    /// Whether a request whose path does not say it is Swift's.
    pub(crate) fn is_swifts(&self, host: &str, path: &str) -> bool {
        self.swift.answers(host, path)
    }

    /// Answers `/v1/…`, `/info`, `/healthcheck`.
    pub(crate) async fn swift(&self, peer: Peer, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        if let Some(address) = peer.address {
            request.extensions_mut().insert(PeerAddress(address.ip()));
        }
        self.swift.call(request).await.map(ResponseBody::from)
    }

    /// Answers what comes to the S3 listener.
    pub(crate) async fn s3(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        self.s3.call(request).await.map(ResponseBody::from)
    }

    /// Keystone, or where it is.
    pub(crate) fn identity(&self) -> &IdentityService {
        &self.identity
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
        self.identity.close().await;
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
