//! Requests to the other host: one pool of connections, plain or over TLS, with a bound for time and size of each.

use std::path::Path;
use std::sync::Arc;

use anello_base::error::causes;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;

use super::SetupError;
use super::limits::{
    ANSWER_BYTES_MAX, ATTEMPT_TIMEOUT, CONNECT_TIMEOUT, IDLE_CONNECTION_TIMEOUT, IDLE_CONNECTIONS_MAX,
    REQUESTS_AT_ONCE_MAX,
};

/// See the module.
pub(super) struct Client {
    /// Up to and without `/v3`.
    base: String,
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    slots: Semaphore,
}

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Client {
    /// A client of the service at `base`. Its certificate is held against `ca_file`, or else the system's authorities.
    pub(super) fn new(base: &str, ca_file: Option<&Path>) -> Result<Self, SetupError> {
        let is_tls = base.starts_with("https://");
        let roots = if is_tls { authorities(ca_file)? } else { RootCertStore::empty() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let secure = HttpsConnectorBuilder::new().with_tls_config(tls);
        let secure = if is_tls { secure.https_only() } else { secure.https_or_http() };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .build(secure.enable_http1().wrap_connector(connector));
        Ok(Self { base: base.to_owned(), http, slots: Semaphore::new(REQUESTS_AT_ONCE_MAX) })
    }

    /// Sends a request to a path below `/v3`. What it fails with is for the log, and bears no secret.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, String> {
        let _slot = self.slots.acquire().await.map_err(|error| error.to_string())?;
        let uri = format!("{}/v3{path}", self.base);
        let mut request = Request::builder().method(method).uri(uri).body(Full::new(body));
        if let Ok(request) = &mut request {
            *request.headers_mut() = headers;
        }
        let request = request.map_err(|error| error.to_string())?;
        let exchange = async {
            let (head, body) = self.http.request(request).await.map_err(|error| causes(&error))?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let late = |_| Err(format!("no answer within {} s", ATTEMPT_TIMEOUT.as_secs()));
        tokio::time::timeout(ATTEMPT_TIMEOUT, exchange).await.unwrap_or_else(late)
    }
}

fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        return if roots.is_empty() { Err(SetupError::NoAuthorities) } else { Ok(roots) };
    };
    let wrong = |reason: String| SetupError::File { path: path.to_owned(), reason };
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("no certificate in it".to_owned())) } else { Ok(roots) }
}
