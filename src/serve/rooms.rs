//! The rooms and the store behind one face: the only place that knows how they are opened, wired to each
//! other, asked and closed.

use std::pin::pin;
use std::sync::Arc;

use anello_api::identity::Identity;
use anello_api::rest::PeerAddress;
use anello_proxy::object::access_logs::Deliverer;
use anello_proxy::object::account_reaper::AccountReaper;
use anello_proxy::object::deletions::Deleter;
use anello_proxy::object::lifecycle::Lifecycle;
use anello_proxy::object::reaper::Reaper;
use anello_proxy::object::sweeper::Sweeper;
use anello_proxy::object::vault::Vault;
use anello_proxy::s3::{Connection, S3Config, S3Door};
use anello_proxy::swift::{Endpoint, SwiftDoor, Synchronizer, TempAuthConfig};
use anello_proxy::website::{self, WebsiteDoor};
use anello_storage::Store;
use anello_storage::cluster::Member;
use anello_storage::daemon::threads::Behind;
use anello_storage::device::DeviceOptions;
use anello_storage::store::{StoreOptions, freshness};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, Role};
use crate::serve::body::{RequestBody, ResponseBody};
use crate::serve::connection::Peer;
use crate::serve::gateway::fault;
use crate::serve::home::Cluster;
use crate::serve::identity::IdentityService;
use crate::serve::{daemons, devices, peers};

/// In an answer: it rests on what fewer than a majority of the devices said (`docs/consistency.md`).
const MAY_BE_STALE: HeaderName = HeaderName::from_static("x-backend-may-be-stale");

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What speaks to clients.
struct Doors {
    swift: SwiftDoor,
    s3: S3Door,
    website: WebsiteDoor,
}

/// Everything that serves.
pub(crate) struct Rooms {
    store: Store,
    identity: IdentityService,
    /// Where the host is a proxy.
    doors: Option<Doors>,
    /// Where it keeps data. These end with the rooms; each of their steps may be cut anywhere.
    workers: Vec<AbortOnDropHandle<()>>,
}

impl Rooms {
    /// Opens the rooms of a store. Whether there is news for identity: see [`IdentityService::open`].
    pub(crate) async fn open(config: &Config, cluster: &Cluster, store: Store, has_news: bool) -> Result<Self> {
        let identity = IdentityService::open(config, cluster, store.clone(), has_news).await?;
        let asked = identity.asked().filter(|_| config.roles.has(Role::Proxy));
        let vault = config.swift.vault(store.clone(), std::env::vars())?;
        let doors = asked.map(|asked| doors(config, cluster, &vault, asked)).transpose()?;
        let mut workers = match config.roles.has(Role::Storage) {
            true => vec![
                AbortOnDropHandle::new(tokio::spawn(Reaper::new(store.clone()).run())),
                AbortOnDropHandle::new(tokio::spawn(Sweeper::new(store.clone()).run())),
                AbortOnDropHandle::new(tokio::spawn(AccountReaper::new(store.clone()).run())),
                AbortOnDropHandle::new(tokio::spawn(Deleter::new(vault.clone()).run())),
                AbortOnDropHandle::new(tokio::spawn(Deliverer::new(vault.clone(), &config.s3.region).run())),
                AbortOnDropHandle::new(tokio::spawn(Lifecycle::new(vault).with_day(config.s3.day()).run())),
            ],
            false => Vec::new(),
        };
        // Whoever serves Swift reads and signs.
        let synchronizer = doors.as_ref().and_then(|doors| Synchronizer::new(&doors.swift));
        workers.extend(synchronizer.map(|it| AbortOnDropHandle::new(tokio::spawn(it.run()))));
        Ok(Self { store, identity, doors, workers })
    }

    /// Whether a request whose path does not say it is Swift's.
    pub(crate) fn is_swifts(&self, host: &str, path: &str) -> bool {
        self.doors.as_ref().is_some_and(|doors| doors.swift.answers(host, path))
    }

    /// Answers `/v1/…`, `/info`, `/healthcheck`.
    pub(crate) async fn swift(&self, peer: Peer, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        let Some(Doors { swift, .. }) = &self.doors else {
            return fault(StatusCode::NOT_FOUND, "Swift is not served here.");
        };
        if let Some(address) = peer.address {
            request.extensions_mut().insert(PeerAddress(address.ip()));
        }
        fresh_or_marked(request.method().clone(), pin!(swift.call(request))).await
    }

    /// Answers what comes to the S3 listener.
    pub(crate) async fn s3(&self, peer: Peer, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        let Some(Doors { s3, .. }) = &self.doors else { return fault(StatusCode::NOT_FOUND, "S3 is not served here.") };
        let address = peer.address.map(|address| address.ip());
        request.extensions_mut().insert(Connection { address, is_secure: peer.is_secure });
        fresh_or_marked(request.method().clone(), pin!(s3.call(request))).await
    }

    /// Answers what comes to the listener for web sites.
    pub(crate) async fn website(&self, peer: Peer, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        let Some(Doors { website, .. }) = &self.doors else {
            return fault(StatusCode::NOT_FOUND, "Web sites are not served here.");
        };
        let address = peer.address.map(|address| address.ip());
        request.extensions_mut().insert(Connection { address, is_secure: peer.is_secure });
        if let Some(address) = address {
            request.extensions_mut().insert(PeerAddress(address));
        }
        fresh_or_marked(request.method().clone(), pin!(website.call(request))).await
    }

    /// Keystone, or where it is.
    pub(crate) fn identity(&self) -> &IdentityService {
        &self.identity
    }

    /// What everything is kept in.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The figures of devices, daemons and other hosts.
    pub(crate) fn metrics(&self) -> [Registry; 3] {
        let status = self.store.status();
        [devices::registry(&status), daemons::registry(&status), peers::registry(&status)]
    }

    /// The store as `anello status` shows it.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::to_value(self.store.status()).unwrap_or_default()
    }

    /// Ends the workers and closes the store.
    pub(crate) async fn close(&self) -> Result<()> {
        self.workers.iter().for_each(AbortOnDropHandle::abort);
        self.identity.close().await;
        Ok(self.store.close().await?)
    }
}

/// Says of what was read where too few devices answered to know, that there may be something later.
async fn fresh_or_marked<B>(method: Method, answer: impl Future<Output = Response<B>>) -> Response<ResponseBody>
where
    ResponseBody: From<B>,
{
    let (mut response, may_be_stale) = freshness::watched(answer).await;
    if may_be_stale && matches!(method, Method::GET | Method::HEAD) {
        response.headers_mut().insert(MAY_BE_STALE, HeaderValue::from_static("true"));
    }
    response.map(ResponseBody::from)
}

fn doors(config: &Config, cluster: &Cluster, store: &Vault, identity: Arc<dyn Identity>) -> Result<Doors> {
    let (region, base_domain) = (config.s3.region.clone(), config.s3.base_domain.clone());
    let object_ownership = config.s3.object_ownership;
    let s3 = S3Config { region, base_domain, object_ownership, ..S3Config::default() };
    let endpoint = Endpoint {
        secret: cluster.secret(),
        public_url: config.gateway.public_url.clone(),
        is_tls: config.tls.certificate.is_some(),
    };
    let domain = config.website.domain.clone();
    let of_swift = domain.as_deref().map(|domain| {
        let config = website::swift_config(&config.swift, domain);
        SwiftDoor::new(config, store.clone(), Arc::clone(&identity)).at(endpoint.clone(), TempAuthConfig::default())
    });
    let swift = SwiftDoor::new(config.swift.clone(), store.clone(), Arc::clone(&identity))
        .at(endpoint, config.gateway.tempauth.clone());
    let s3 = S3Door::new(s3, store.clone(), identity)?;
    let website = WebsiteDoor::new(s3.clone(), of_swift, domain);
    Ok(Doors { swift, s3, website })
}

/// Opens the devices, replaying what was not closed; a host of several waits until the cluster is complete.
pub(crate) async fn open_store(
    config: &Config,
    cluster: &Cluster,
    member: Option<Member>,
    threads: &Behind,
) -> Result<Store> {
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
        daemons: config.storage.daemons(threads),
    };
    Ok(tokio::task::spawn_blocking(move || Store::open(options)).await??)
}
