//! The Swift door: the object store's v1 API on [`anello_storage::Store`], for Keystone identities.
//!
//! A request goes through the middlewares that are configured (`layer`), and comes to the core: it is read into a
//! `Call`, held to what is offered (`unsupported`, `policy`), authorized (`access`), and answered by its resource:
//! `account`, `container`, `object` with `download`, `upload` and `copy`. Large objects (`slo`, `dlo`) are read through
//! their segments (`source`, `large`), links (`symlink`) through what they lead to. What clients can send and see of
//! metadata is decided in `metadata` alone.
//!
//! Memory per request is bounded by what the store's writer and reader hold and by one listing page.
//!
//! Left out on purpose: middlewares that are another issue's (`unsupported` lists and refuses them), and
//! TLS, timeouts of idle connections and header limits, which the listener owns
//! ([`HEADER_COUNT_MAX`] says what it must let through).

mod access;
mod account;
mod call;
mod conditions;
mod config;
mod container;
mod copy;
mod cors;
mod dlo;
mod download;
mod expiry;
mod fault;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod info;
mod large;
mod layer;
mod limits;
mod listing;
mod manifest;
mod media_type;
mod metadata;
mod object;
mod octets;
mod policy;
mod policy_totals;
mod quota;
mod range;
mod reply;
mod report;
mod signature;
mod slo;
mod source;
mod symlink;
mod sync;
mod target;
mod tempauth;
#[cfg(test)]
mod testing;
mod unsupported;
mod upload;
mod version;
mod version_listing;
mod versioned;
mod write;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use anello_api::identity::Identity;
use anello_api::rest::PeerAddress;
use anello_base::{Clock, SystemClock};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;

pub use config::{
    Amount, CnameLookupConfig, ConfigFault, ContainerSyncConfig, CrossDomainConfig, DomainRemapConfig,
    EncryptionConfig, Endpoint, EtagQuoterConfig, FormPostConfig, InfoConfig, KeymasterConfig, ListEndpointsConfig,
    Middleware, NameCheckConfig, ProxyLoggingConfig, RatelimitConfig, ReadOnlyConfig, RealmConfig, Regexp,
    ServicePrefix, SloConfig, StaticWebConfig, SwiftConfig, TempAuthConfig, TempUrlConfig, TempUser,
};
pub use limits::HEADER_COUNT_MAX;
pub use signature::Digest;
pub use sync::Synchronizer;

use crate::body::Body;
use crate::object::vault::Vault;
use access::Access;
use call::Call;
use fault::Fault;
use layer::{BodyFault, Incoming, Layer, Next, Origin, Transaction};
use policy::Resource;
use target::Target;
use tempauth::TempAuth;

/// The Swift door. Cheap to clone.
#[derive(Clone)]
pub struct SwiftDoor {
    config: Arc<SwiftConfig>,
    store: Vault,
    identity: Arc<dyn Identity>,
    endpoint: Arc<Endpoint>,
    tempauth: Option<Arc<TempAuth>>,
    layers: Arc<[Arc<dyn Layer>]>,
    policy_totals: moka::sync::Cache<String, Arc<policy_totals::ByPolicy>>,
}

impl fmt::Debug for SwiftDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwiftDoor").field("config", &self.config).finish_non_exhaustive()
    }
}

impl SwiftDoor {
    /// A door to `store` for those whom `identity` knows.
    pub fn new(config: SwiftConfig, store: impl Into<Vault>, identity: Arc<dyn Identity>) -> Self {
        let (layers, endpoint) = (layer::layers(&config).into(), Arc::default());
        let store = store.into();
        Self {
            config: Arc::new(config),
            store,
            identity,
            endpoint,
            tempauth: None,
            layers,
            policy_totals: policy_totals::cache(),
        }
    }

    /// The same, which is to be found there; also for tempauth's users where they are enabled.
    pub fn at(mut self, endpoint: Endpoint, tempauth: TempAuthConfig) -> Self {
        self.endpoint = Arc::new(endpoint);
        if tempauth.enabled {
            self.tempauth = Some(Arc::new(TempAuth::new(tempauth, &self.config, &self.endpoint)));
        }
        self
    }

    /// Whether a request that is not for `/v1` is answered here: as its path, or its host where hosts are accounts.
    pub fn answers(&self, host: &str, path: &str) -> bool {
        (self.tempauth.is_some() && path.starts_with(tempauth::PATH))
            || self.layers.iter().any(|layer| layer.answers(self, host, path))
    }

    /// Whether a host's name is the gateway's, by which clients are told to reach it.
    fn is_own_host(&self, name: &str) -> bool {
        let own = self.endpoint.public_url.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
        own.as_ref().and_then(http::Uri::host).is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    /// Answers a request to `/v1/…`, `/info` or `/healthcheck`. Dropped before it is done, it leaves
    /// nothing behind but what it had acknowledged to itself: a write is whole or not there.
    pub async fn call<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let transaction = reply::transaction(request.headers(), SystemClock.wall());
        let is_head = request.method() == Method::HEAD;
        let mut request = request;
        if self.config.offers(Middleware::ProxyLogging) {
            request.extensions_mut().insert(Transaction(transaction.clone()));
        }
        let response =
            self.answer(request.map(|body| body.map_err(|error| BodyFault(error.into())).boxed_unsync())).await;
        reply::finish(response.unwrap_or_else(Fault::into_response), &transaction, is_head)
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Fault> {
        if let Some(tempauth) = &self.tempauth
            && request.uri().path().starts_with(tempauth::PATH)
        {
            return tempauth.answer(&request);
        }
        // Whoever asks what is open to everybody is not asked who he is.
        let is_open = matches!(Target::parse(request.uri().path()), Ok(Target::Info | Target::Health));
        let party = match !is_open && request.method() != Method::OPTIONS {
            true => self.identify(request.headers()).await?,
            false => None,
        };
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
        request.extensions_mut().insert(Origin { party, peer, ..Origin::default() });
        Ok(Next::first(self.clone()).run(request).await)
    }

    /// What is behind all layers.
    async fn core(&self, request: Request<Incoming>) -> Result<Response<Body>, Fault> {
        let (parts, body) = request.into_parts();
        let call = Arc::new(Call::read(parts)?);
        let mut response = self.dispatch(&call, body).await.unwrap_or_else(Fault::into_response);
        if call.method != Method::OPTIONS {
            cors::share(self, &call, &mut response).await?;
        }
        Ok(response)
    }

    /// Authorizes a request by the rule of its resource and method, and hands it to the resource.
    async fn dispatch(&self, call: &Arc<Call>, body: Incoming) -> Result<Response<Body>, Fault> {
        let resource = match call.target {
            Target::Info | Target::Health => Resource::Service,
            Target::Account(_) => Resource::Account,
            Target::Container(..) => Resource::Container,
            Target::Object(_) => Resource::Object,
        };
        let Some(rule) = policy::rule(resource, call.method.as_str()) else { return Err(not_allowed(resource)) };
        unsupported::check(self, call)?;
        if call.method == Method::OPTIONS {
            return cors::preflight(self, call, resource).await;
        }
        let access = match call.target.account() {
            None => Access::GUEST,
            Some(account) => {
                let container = call.target.container().map(|(_, container)| container);
                let rule = if resource == Resource::Object { version::rule(call, rule)? } else { rule };
                self.authorize(call, rule, account, container).await?
            }
        };
        match &call.target {
            Target::Info => info::read(self, call),
            Target::Health => Ok(info::health()),
            Target::Account(account) => self.account(call, access, account).await,
            Target::Container(account, container) => self.container(call, access, account, container).await,
            Target::Object(path) => match call.method.as_str() {
                "GET" | "HEAD" => download::read(self, call, path).await,
                "PUT" if call.header("x-copy-from").is_some_and(|source| !source.is_empty()) => {
                    copy::to_path(self, call, path).await
                }
                "PUT" => upload::put(self, call, access, path, body).await,
                "POST" => object::update(self, call, path).await,
                "DELETE" => object::delete(self, call, path).await,
                "COPY" => copy::from_path(self, call, path).await,
                _ => Err(not_allowed(resource)),
            },
        }
    }

    async fn account(&self, call: &Call, access: Access, account: &str) -> Result<Response<Body>, Fault> {
        let is_managing = ["PUT", "DELETE"].contains(&call.method.as_str());
        if is_managing && !self.config.allow_account_management {
            return Err(not_allowed(Resource::Account));
        }
        match call.method.as_str() {
            "GET" | "HEAD" => account::read(self, call, access, account).await,
            "PUT" => account::create(self, call, access, account).await,
            "POST" => account::update(self, call, access, account).await,
            "DELETE" => account::delete(self, call, account).await,
            _ => Err(not_allowed(Resource::Account)),
        }
    }

    async fn container(
        &self,
        call: &Call,
        access: Access,
        account: &str,
        container: &str,
    ) -> Result<Response<Body>, Fault> {
        match call.method.as_str() {
            "GET" | "HEAD" => container::read(self, call, access, account, container).await,
            "PUT" => container::create(self, call, access, account, container).await,
            "POST" => container::update(self, call, access, account, container).await,
            "DELETE" => container::delete(self, account, container).await,
            _ => Err(not_allowed(Resource::Container)),
        }
    }
}

/// 405, with what is offered.
fn not_allowed(resource: Resource) -> Fault {
    Fault::status(StatusCode::METHOD_NOT_ALLOWED).with("allow", &policy::allowed(resource))
}
