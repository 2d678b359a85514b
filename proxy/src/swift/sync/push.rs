//! One object's copy in the other cluster: it is asked for first, and written only if it is older there.

use std::sync::Arc;

use anello_base::{Timestamp, error::causes, id};
use anello_storage::ObjectPath;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::{Realms, SYNC_AUTH, Signed, Target};
use crate::body::{self, Body};
use crate::swift::fault::Fault;
use crate::swift::limits::{SYNC_CONNECT_TIMEOUT, SYNC_EXCHANGE_TIMEOUT, SYNC_IDLE_MAX};
use crate::swift::{SwiftDoor, layer, reply};

/// Headers of an object that go with it, besides its metadata.
const HEADERS: [&str; 12] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "x-delete-at",
    "x-object-manifest",
    "x-robots-tag",
    "x-static-large-object",
    "x-symlink-target",
];

/// What begins the names of others that do.
const PREFIXES: [&str; 2] = ["x-object-meta-", "x-symlink-target-"];

/// Asks other clusters.
#[derive(Clone)]
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Body>,
    realms: Arc<Realms>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("realms", &self.realms).finish_non_exhaustive()
    }
}

/// Why a copy is not as it should be; it is tried again.
pub(super) type Failure = String;

impl Client {
    pub(super) fn new(realms: Realms) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(SYNC_CONNECT_TIMEOUT));
        let secure = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(SYNC_IDLE_MAX)
            .build(secure.wrap_connector(connector));
        Ok(Self { http, realms: Arc::new(realms) })
    }

    pub(super) fn realms(&self) -> &Realms {
        &self.realms
    }

    /// Sends a signed request about an object.
    async fn send(
        &self,
        method: Method,
        (target, key, name): (&Target, &str, &str),
        at: Timestamp,
        (query, headers, body): (&str, HeaderMap, Body),
    ) -> Result<Response<Incoming>, Failure> {
        let url = format!("{}/{}", target.url, reply::quoted(name));
        let uri: http::Uri = url.parse().map_err(|_| "its address is none".to_owned())?;
        let (timestamp, nonce) = (at.to_string(), id::hex_id());
        let signed = Signed { method: method.as_str(), path: uri.path(), timestamp: &timestamp, nonce: &nonce };
        let signature = self.realms.sign(&target.realm, &signed, key).ok_or("its realm has no key")?;
        let auth = format!("{} {nonce} {signature}", target.realm);
        let mut request = Request::builder().method(method).uri(format!("{url}{query}")).body(body);
        if let Ok(request) = &mut request {
            *request.headers_mut() = headers;
            let values = [("x-timestamp", timestamp), (SYNC_AUTH, auth)];
            for (name, value) in values {
                let value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        let request = request.map_err(|error| error.to_string())?;
        let exchange = self.http.request(request);
        match tokio::time::timeout(SYNC_EXCHANGE_TIMEOUT, exchange).await {
            Ok(answer) => answer.map_err(|error| causes(&error)),
            Err(_) => Err("it took too long".to_owned()),
        }
    }

    /// Makes the object there what it is here, if it is older there.
    pub(super) async fn copy(
        &self,
        door: &SwiftDoor,
        place: (&str, &str),
        to: (&Target, &str, &str),
        at: Timestamp,
    ) -> Result<Copied, Failure> {
        let head = self.send(Method::HEAD, to, at, ("?symlink=get", HeaderMap::new(), body::empty())).await?;
        let theirs = head.headers().get("x-timestamp").and_then(|value| value.to_str().ok()?.parse::<Timestamp>().ok());
        match head.status() {
            status if status.is_success() && theirs.is_some_and(|theirs| theirs.ticks() >= at.ticks()) => {
                return Ok(Copied::Before);
            }
            status if status.is_success() || status == StatusCode::NOT_FOUND => {}
            status => return Err(format!("it was asked for, and answered {status}")),
        }
        let ours = read(door, place, to.2).await?;
        let Some(ours) = ours else { return Ok(Copied::Gone) };
        let (parts, data) = ours.into_parts();
        let ours = parts.headers.get("x-timestamp").and_then(|value| value.to_str().ok()?.parse::<Timestamp>().ok());
        // It may have changed since it was listed.
        let Some(ours) = ours.filter(|ours| ours.ticks() >= at.ticks()) else {
            return Err("it is not there yet as it is listed".to_owned());
        };
        let is_kept = |name: &str| HEADERS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let mut headers = HeaderMap::new();
        headers.extend(
            parts.headers.iter().filter(|(name, _)| is_kept(name.as_str())).map(|(n, v)| (n.clone(), v.clone())),
        );
        let is_manifest = headers.contains_key("x-static-large-object");
        if let Some(etag) = parts.headers.get("etag").filter(|_| !is_manifest) {
            headers.insert(ETAG, etag.clone());
        }
        if is_manifest {
            // The answer's is that of a list.
            let path = ObjectPath::new(place.0, place.1, to.2);
            let info = door.store.object(&path).await.map_err(|error| error.to_string())?;
            let media_type = info.and_then(|info| HeaderValue::from_str(&info.content_type).ok());
            if let Some(media_type) = media_type {
                headers.insert(CONTENT_TYPE, media_type);
            }
        }
        let query = if is_manifest { "?multipart-manifest=put" } else { "" };
        let answer = self.send(Method::PUT, to, ours, (query, headers, data)).await?;
        match answer.status() {
            status if status.is_success() => Ok(Copied::Now(ours)),
            status => Err(format!("it was written, and answered {status}")),
        }
    }

    /// Deletes the object there, if it is not later than that.
    pub(super) async fn delete(&self, to: (&Target, &str, &str), at: Timestamp) -> Result<(), Failure> {
        let answer = self.send(Method::DELETE, to, at, ("", HeaderMap::new(), body::empty())).await?;
        match answer.status() {
            // Something later stands there.
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            status => Err(format!("it was deleted, and answered {status}")),
        }
    }
}

/// What came of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// It was there.
    Before,
    /// It is there, as it was at that time.
    Now(Timestamp),
    /// The object is not here any more.
    Gone,
}

/// The object as it is here: manifests and links themselves, and not what they lead to.
async fn read(
    door: &SwiftDoor,
    (account, container): (&str, &str),
    name: &str,
) -> Result<Option<Response<Body>>, Failure> {
    let path = reply::quoted(&format!("/v1/{account}/{container}/{name}"));
    let request = Request::get(format!("{path}?multipart-manifest=get&symlink=get"));
    let mut request = request.body(layer::whole("")).map_err(|error| error.to_string())?;
    let pass = layer::Pass { account: account.to_owned(), container: Some(container.to_owned()) };
    request.extensions_mut().insert(layer::Origin { pass: Some(pass), ..layer::Origin::default() });
    let answer = door.core(request).await.unwrap_or_else(Fault::into_response);
    match answer.status() {
        status if status.is_success() => Ok(Some(answer)),
        StatusCode::NOT_FOUND => Ok(None),
        status => Err(format!("it was read here, and answered {status}")),
    }
}
