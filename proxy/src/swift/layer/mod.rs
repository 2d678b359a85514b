//! Middlewares: each looks at a request before the door's core does, and may answer it, change it, or ask what is
//! behind it, also several times. The operator orders them (`swift.pipeline`); what is not in that list is not offered.
//!
//! A layer that asks on behalf of a client asks [`Next`], with the client's own standing: what is behind it authorizes
//! every request anew.

pub(super) mod bulk;
mod cname_lookup;
mod container_sync;
mod crossdomain;
mod domain_remap;
pub(super) mod etag_quoter;
pub(super) mod formpost;
mod list_endpoints;
mod name_check;
mod origin;
pub(super) mod proxy_logging;
mod ratelimit;
mod read_only;
mod staticweb;
mod tempurl;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;
use tokio::sync::mpsc;

use super::SwiftDoor;
use super::config::{Middleware, SwiftConfig};
use super::fault::Fault;
use crate::body::Body;
use cname_lookup::CnameLookup;
use container_sync::ContainerSync;
use crossdomain::CrossDomain;
use domain_remap::DomainRemap;
use etag_quoter::EtagQuoter;
use formpost::FormPost;
use list_endpoints::ListEndpoints;
use name_check::NameCheck;
pub(super) use origin::{Origin, Party, Pass};
use proxy_logging::ProxyLogging;
use ratelimit::Ratelimit;
use read_only::ReadOnly;
use staticweb::StaticWeb;
use tempurl::TempUrl;

/// The body of a request on its way through the layers.
pub(super) type Incoming = UnsyncBoxBody<Bytes, BodyFault>;

/// Why the rest of a body does not come.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BodyFault(pub(super) Box<dyn StdError + Send + Sync>);

/// A body that is at hand.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Incoming {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is fed while the request is under way, a piece at a time. It is whole only once it was ended: whatever
/// drops its [`Chunks`] before makes the request fail.
pub(super) fn piped() -> (Incoming, Chunks) {
    let (sender, receiver) = mpsc::channel::<Piece>(1);
    let stream = futures::stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Piece::Data(bytes)) => Some((Ok(Frame::data(bytes)), Some(receiver))),
            Some(Piece::End) => None,
            Some(Piece::Fault(reason)) => Some((Err(BodyFault(reason.into())), None)),
            None => Some((Err(BodyFault("the rest does not come".into())), None)),
        }
    });
    (StreamBody::new(stream).boxed_unsync(), Chunks(sender))
}

enum Piece {
    Data(Bytes),
    End,
    Fault(&'static str),
}

/// What feeds a body.
pub(super) struct Chunks(mpsc::Sender<Piece>);

impl Chunks {
    /// Gives a piece on; whether anybody wants it.
    pub(super) async fn send(&self, bytes: Bytes) -> bool {
        self.0.send(Piece::Data(bytes)).await.is_ok()
    }

    /// There is no more.
    pub(super) async fn end(self) {
        // Whoever wants no more knows already.
        let _ = self.0.send(Piece::End).await;
    }

    /// There is something wrong with it.
    pub(super) async fn fail(self, reason: &'static str) {
        let _ = self.0.send(Piece::Fault(reason)).await;
    }
}

/// A middleware.
pub(super) trait Layer: fmt::Debug + Send + Sync {
    /// What `/info` says of it: the names of sections, and what is in them.
    fn announce(&self) -> Vec<(&'static str, Value)>;

    /// Whether it makes this door's a request that is not for one of its own paths.
    fn answers(&self, _door: &SwiftDoor, _host: &str, _path: &str) -> bool {
        false
    }

    /// Answers a request, or lets `next` do it.
    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>>;
}

/// What is behind a layer.
#[derive(Clone)]
pub(super) struct Next {
    door: SwiftDoor,
    at: usize,
}

impl Next {
    /// Everything: the first layer is next.
    pub(super) fn first(door: SwiftDoor) -> Self {
        Self { door, at: 0 }
    }

    /// The door that the layers belong to.
    pub(super) fn door(&self) -> &SwiftDoor {
        &self.door
    }

    /// Asks it.
    pub(super) fn run(self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            let answer = match self.door.layers.get(self.at).cloned() {
                None => self.door.core(request).await,
                Some(layer) => layer.call(request, Self { at: self.at + 1, ..self }).await,
            };
            answer.unwrap_or_else(Fault::into_response)
        })
    }
}

/// The layers that a configuration names, in its order. What is of the core is none.
pub(super) fn layers(config: &SwiftConfig) -> Vec<Arc<dyn Layer>> {
    let layer = |middleware: &Middleware| -> Option<Arc<dyn Layer>> {
        Some(match middleware {
            Middleware::Bulk => Arc::new(bulk::Bulk),
            Middleware::CnameLookup => Arc::new(CnameLookup::new(config.cname_lookup.clone())),
            Middleware::ContainerSync => Arc::new(ContainerSync::new(&config.container_sync)),
            Middleware::Crossdomain => Arc::new(CrossDomain::new(config.crossdomain.clone())),
            Middleware::DomainRemap => Arc::new(DomainRemap::new(config.domain_remap.clone(), config.prefixes())),
            Middleware::EtagQuoter => Arc::new(EtagQuoter::new(config.etag_quoter.clone())),
            Middleware::Formpost => Arc::new(FormPost::new(config.formpost.clone())),
            Middleware::ListEndpoints => Arc::new(ListEndpoints::new(&config.list_endpoints)),
            Middleware::NameCheck => Arc::new(NameCheck::new(config.name_check.clone())),
            Middleware::ProxyLogging => Arc::new(ProxyLogging::new(config.proxy_logging.clone())),
            Middleware::Ratelimit => Arc::new(Ratelimit::new(config.ratelimit.clone())),
            Middleware::ReadOnly => Arc::new(ReadOnly::new(config.read_only.clone())),
            Middleware::Staticweb => Arc::new(StaticWeb::new(config.staticweb.clone())),
            Middleware::Tempurl => Arc::new(TempUrl::new(config.tempurl.clone())),
            Middleware::AccountQuotas
            | Middleware::ContainerQuotas
            | Middleware::Encryption
            | Middleware::Keymaster
            | Middleware::ObjectVersioning
            | Middleware::Symlink
            | Middleware::VersionedWrites => return None,
        })
    };
    config.pipeline.iter().filter_map(layer).collect()
}

/// On an answer: it was made here, and no client has written it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generated;

/// On a request: the id that it is known by, where a layer wants it.
#[derive(Debug, Clone)]
pub(super) struct Transaction(pub(super) String);

/// On a request whose address a layer has changed: the path that the client knows.
#[derive(Debug, Clone)]
pub(super) struct ClientPath(pub(super) String);

/// Headers that are about the sender and not about what he has asked for.
const SENDERS: [&str; 6] = ["host", "referer", "user-agent", "x-auth-token", "x-newest", "x-storage-token"];

/// A request for something else, by the same sender and with his standing. Of its headers only those that are about the
/// sender come along.
pub(super) fn subrequest(parts: &Parts, method: Method, uri: &str) -> Result<Request<Incoming>, Fault> {
    let mut request = Request::from_parts(parts.clone(), whole(""));
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().map_err(|_| Fault::status(StatusCode::BAD_REQUEST))?;
    let headers = request.headers_mut();
    headers.clear();
    headers.extend(SENDERS.into_iter().filter_map(|name| {
        let name = HeaderName::from_static(name);
        Some((name.clone(), parts.headers.get(&name)?.clone()))
    }));
    Ok(request)
}

/// For the fuzzer: a host and a path, and a signed query.
#[cfg(feature = "fuzzing")]
pub(super) fn feed(host: &str, path: &str) {
    domain_remap::feed(host, path);
    tempurl::feed(path);
    list_endpoints::feed(path);
}
