//! One connection: HTTP/1.1 over TCP or TLS until it ends, stalls, or the server drains.
//!
//! A connection is stalled when we wait for bytes of a request's body, or for the client to take bytes
//! of an answer, and nothing has moved for [`STALL_TIMEOUT`]. It is dropped then, and with it the
//! request's future: what an upload wrote until then is never visible. Waiting for our own work (a disk,
//! a hash) is no stall. Time is kept in whole seconds, so that watching costs nothing per chunk.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::limits::{HEADER_BYTES_MAX, HEADER_TIMEOUT, HEADERS_MAX, READ_BUFFER_BYTES, STALL_CHECK, STALL_TIMEOUT};
use crate::serve::body::{RequestBody, ResponseBody};

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Its address; none on the control socket.
    pub(crate) address: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub(crate) is_secure: bool,
}

impl Peer {
    /// Whether it is on this host.
    pub(crate) fn is_loopback(self) -> bool {
        self.address.is_none_or(|address| address.ip().to_canonical().is_loopback())
    }
}

/// What answers the requests of a listener.
pub(crate) trait Service: Send + Sync + 'static {
    /// Whether answers bear `Header-Names` like this. They mean the same in any case, but some of Swift's
    /// clients look for what Swift writes.
    const TITLE_CASE_HEADERS: bool = false;

    /// Answers one request. Dropped half-way when the connection ends.
    fn call(&self, peer: Peer, request: Request<RequestBody>) -> impl Future<Output = Response<ResponseBody>> + Send;
}

/// Since when a connection has been waiting for its client.
#[derive(Debug)]
pub(crate) struct Watch {
    start: Instant,
    /// Seconds from `start`, plus one, since a body's bytes are waited for; 0: not waiting.
    body: AtomicU32,
    /// Likewise, since the client has taken no bytes of an answer.
    write: AtomicU32,
}

impl Watch {
    fn new() -> Self {
        Self { start: Instant::now(), body: AtomicU32::new(0), write: AtomicU32::new(0) }
    }

    /// Notes whether a body's bytes are waited for.
    pub(crate) fn body(&self, waiting: bool) {
        self.note(&self.body, waiting);
    }

    fn note(&self, since: &AtomicU32, waiting: bool) {
        if !waiting {
            since.store(0, Ordering::Relaxed);
        } else if since.load(Ordering::Relaxed) == 0 {
            since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn now(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_secs()).unwrap_or(u32::MAX - 1) + 1
    }

    fn is_stalled(&self) -> bool {
        let now = self.now();
        [&self.body, &self.write].into_iter().any(|since| {
            let since = since.load(Ordering::Relaxed);
            since != 0 && u64::from(now.saturating_sub(since)) >= STALL_TIMEOUT.as_secs()
        })
    }
}

/// Serves one connection to its end. `stop` lets the request that runs finish, and no further one begin.
pub(crate) async fn serve<S: Service>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    peer: Peer,
    service: Arc<S>,
    stop: CancellationToken,
) {
    let watch = Arc::new(Watch::new());
    let answer = service_fn(|request: Request<hyper::body::Incoming>| {
        let (service, watch) = (service.clone(), watch.clone());
        async move {
            if head_bytes(&request) > HEADER_BYTES_MAX {
                return Ok::<_, std::convert::Infallible>(head_too_large());
            }
            let request = request.map(|body| RequestBody::new(body, watch));
            Ok(service.call(peer, request).await)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BUFFER_BYTES)
        .title_case_headers(S::TITLE_CASE_HEADERS);
    let io = TokioIo::new(Watched { stream, watch: watch.clone() });
    let mut connection = pin!(builder.serve_connection(io, answer));
    let mut stopped = pin!(stop.cancelled());
    let mut draining = false;
    let mut check = interval(STALL_CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = ?peer.address, %error, "connection ended");
                }
                return;
            }
            () = stopped.as_mut(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = check.tick() => {
                if watch.is_stalled() {
                    tracing::debug!(peer = ?peer.address, "connection stalled");
                    return;
                }
            }
        }
    }
}

/// Bytes of the request line and the headers, about.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    target + request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>()
}

fn head_too_large() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole("Request header fields are too large.\n"));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    response
}

/// A stream that notes when its client does not take what is written.
struct Watched<T> {
    stream: T,
    watch: Arc<Watch>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch.note(&self.watch.write, polled.is_pending());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch.note(&self.watch.write, polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.watch.note(&self.watch.write, polled.is_pending());
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
