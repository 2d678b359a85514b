//! Connections to other hosts over TLS, made with the certificate that was read last.

use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::InvalidMessage;
use tokio::net::TcpStream;
use tower::Service;

use crate::limits::HANDSHAKE_TIMEOUT;
use crate::serve::tls::TlsFiles;

type Failure = Box<dyn Error + Send + Sync>;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Secured {
    tcp: HttpConnector,
    files: Arc<TlsFiles>,
}

impl Secured {
    /// TLS with these files over these connections.
    pub(crate) fn new(mut tcp: HttpConnector, files: Arc<TlsFiles>) -> Self {
        // Its addresses begin with https://.
        tcp.enforce_http(false);
        Self { tcp, files }
    }
}

impl Service<Uri> for Secured {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Self::Response, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Some(client) = self.files.client() else {
            return Box::pin(async { Err("there is no certificate for calls between hosts".into()) });
        };
        let mut secured = HttpsConnector::from((self.tcp.clone(), client));
        Box::pin(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, secured.call(uri)).await {
                Ok(Err(error)) if is_no_tls(error.as_ref()) => {
                    Err("it takes calls without TLS, and this host makes them over TLS only".into())
                }
                Ok(connected) => connected,
                Err(_) => Err("no TLS handshake in time".into()),
            }
        })
    }
}

/// Whether what came from the other end was no TLS at all.
fn is_no_tls(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(error, rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType));
    }
    // What an I/O error wraps is not its source.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => is_no_tls(inner),
        None => error.source().is_some_and(is_no_tls),
    }
}
