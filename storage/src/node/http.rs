//! Calls between hosts as HTTP/1.1: `POST /node/1`, the nonce in a header, sealed frames in both bodies.

use std::sync::Arc;

use anello_base::Class;
use anello_base::error::causes;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, BodyStream, Empty, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::limits::{
    CONNECT_TIMEOUT, DEAD_CONNECTION_TIMEOUT, IDLE_CONNECTION_TIMEOUT, IDLE_CONNECTIONS_MAX, KEEPALIVE_PROBES,
};
use super::seal::{ClusterKey, Direction, Nonce, Opener, seal};
use super::service::NodeService;
use super::transport::{DataStream, Incoming, Transport};
use crate::daemon::threads::{Behind, Pool};
use crate::error::{Error, Result};

/// The path bears the protocol's version: a node refuses what it doesn't know.
const PATH: &str = "/node/1";
const NONCE: &str = "x-anello-nonce";

/// Says that no client waits for the answer. Not sealed: whoever changes it on the way could as well delay the call.
const BEHIND: &str = "x-anello-behind";

/// A body of sealed frames.
pub type NodeBody = BoxBody<Bytes, Error>;

/// Carries calls over HTTP, on connections of `C`'s.
pub struct HttpTransport<C = HttpConnector> {
    /// By the threads that call: a connection is driven by those that made it.
    clients: [Client<C, NodeBody>; Pool::COUNT],
    scheme: &'static str,
    key: ClusterKey,
}

/// Makes the connections on which calls travel; what encrypts them comes on top.
pub fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let probe = DEAD_CONNECTION_TIMEOUT / KEEPALIVE_PROBES;
    connector.set_keepalive(Some(probe));
    connector.set_keepalive_interval(Some(probe));
    connector.set_keepalive_retries(Some(KEEPALIVE_PROBES - 1));
    connector.set_tcp_user_timeout(Some(DEAD_CONNECTION_TIMEOUT));
    connector
}

impl HttpTransport {
    /// A transport within the cluster that has this secret.
    pub fn new(cluster_secret: &[u8]) -> Self {
        Self::over("http", connector(), cluster_secret)
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> HttpTransport<C> {
    /// The same on connections of another kind, by the scheme that asks for them.
    pub fn over(scheme: &'static str, connector: C, cluster_secret: &[u8]) -> Self {
        let client = |_| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
                .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
                .build(connector.clone())
        };
        Self { clients: std::array::from_fn(client), scheme, key: ClusterKey::new(cluster_secret) }
    }

    async fn send(&self, address: &str, message: Bytes, data: DataStream) -> Result<Incoming> {
        let failed = |message: String| Error::Node { node: address.to_owned(), class: Class::Busy, message };
        let nonce: Nonce = rand::random();
        let frames = seal(&self.key, &nonce, Direction::Call, message, data);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}://{address}{PATH}", self.scheme))
            .header(NONCE, hex::encode(nonce))
            .body(body(frames))
            .map_err(|error| failed(error.to_string()))?;
        let pool = Pool::here();
        if pool != Pool::Serving {
            request.headers_mut().insert(BEHIND, HeaderValue::from_static("1"));
        }
        let response = self.clients[pool as usize].request(request).await.map_err(|error| Error::Unreachable {
            node: address.to_owned(),
            at_once: !error.is_connect(),
            message: causes(&error),
        })?;
        if response.status() == StatusCode::UPGRADE_REQUIRED {
            return Err(failed("it takes calls over TLS only, and this host makes them without".to_owned()));
        }
        if response.status() != StatusCode::OK {
            return Err(failed(format!("it refused the call ({})", response.status())));
        }
        let address = address.to_owned();
        let broken = move |error: hyper::Error| Error::Node {
            node: address.clone(),
            class: Class::Busy,
            message: causes(&error),
        };
        open(&self.key, &nonce, Direction::Answer, response.into_body(), broken).await
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> Transport for HttpTransport<C> {
    fn call<'a>(&'a self, address: &'a str, message: Bytes, data: DataStream) -> BoxFuture<'a, Result<Incoming>> {
        Box::pin(self.send(address, message, data))
    }
}

/// Answers HTTP requests with a [`NodeService`]. What was not sealed by a member of the cluster gets 403 and
/// nothing else.
#[derive(Clone)]
pub struct HttpService {
    service: Arc<NodeService>,
    key: ClusterKey,
    /// Where calls are answered for which no client waits; otherwise where the others are.
    threads: Option<Behind>,
}

impl HttpService {
    pub(crate) fn new(service: Arc<NodeService>, cluster_secret: &[u8], threads: Option<Behind>) -> Self {
        Self { service, key: ClusterKey::new(cluster_secret), threads }
    }

    /// Answers one request.
    pub async fn call<B>(&self, request: Request<B>) -> Response<NodeBody>
    where
        B: Body<Data = Bytes, Error: std::error::Error> + Send + Sync + Unpin + 'static,
    {
        let answer = match self.threads.as_ref().filter(|_| request.headers().contains_key(BEHIND)) {
            None => self.answer(request).await,
            Some(threads) => {
                let service = self.clone();
                threads.run(async move { service.answer(request).await }).await.unwrap_or(Err(Error::Stopped))
            }
        };
        match answer {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(%error, "a call to this node was refused");
                let mut refusal = Response::new(Empty::new().map_err(|never| match never {}).boxed());
                *refusal.status_mut() = StatusCode::FORBIDDEN;
                // Whatever else it was about to send is not read.
                refusal.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
                refusal
            }
        }
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<Response<NodeBody>>
    where
        B: Body<Data = Bytes, Error: std::error::Error> + Send + Sync + Unpin + 'static,
    {
        let nonce = nonce(&request)?;
        let broken = |error: B::Error| Error::Message(error.to_string());
        let call = open(&self.key, &nonce, Direction::Call, request.into_body(), broken).await?;
        let (message, data) = self.service.answer(call).await?;
        Ok(Response::new(body(seal(&self.key, &nonce, Direction::Answer, message, data))))
    }
}

fn nonce<B>(request: &Request<B>) -> Result<Nonce> {
    let refused = |what: &str| Error::Message(what.to_owned());
    if request.method() != Method::POST || request.uri().path() != PATH {
        return Err(refused("it is not a call of this version"));
    }
    let text = request.headers().get(NONCE).ok_or_else(|| refused("it has no nonce"))?;
    let mut nonce = Nonce::default();
    hex::decode_to_slice(text, &mut nonce).map_err(|_| refused("its nonce is malformed"))?;
    Ok(nonce)
}

fn body(frames: impl futures::Stream<Item = Result<Bytes>> + Send + Sync + 'static) -> NodeBody {
    BodyExt::boxed(StreamBody::new(frames.map_ok(Frame::data)))
}

/// The message in a body, and the data behind it.
async fn open<B>(
    key: &ClusterKey,
    nonce: &Nonce,
    direction: Direction,
    body: B,
    broken: impl Fn(B::Error) -> Error + Send + Sync + 'static,
) -> Result<Incoming>
where
    B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
{
    let frames = BodyStream::new(body).filter_map(move |frame| {
        let bytes = frame.map_err(&broken).map(|frame| frame.into_data().ok()).transpose();
        std::future::ready(bytes)
    });
    let mut opener = Opener::new(key, nonce, direction, frames);
    let message = opener.message().await?;
    let data = futures::stream::try_unfold(opener, |mut opener| async move {
        Ok(opener.data().await?.map(|bytes| (bytes, opener)))
    });
    Ok(Incoming { message, data: Box::pin(data) })
}

impl<C> std::fmt::Debug for HttpTransport<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpTransport")
    }
}

impl std::fmt::Debug for HttpService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpService")
    }
}
