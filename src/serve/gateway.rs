//! The gateway's paths. `/v1`, `/info` and `/healthcheck` are Swift's, `/identity` is Keystone's; health,
//! readiness and metrics are our own. While the rooms are not open every room's path answers 503.

use std::sync::{Arc, OnceLock};

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tracing::Level;

use crate::config::{MetricsAccess, Role, Roles};
use crate::serve::body::{RequestBody, ResponseBody};
use crate::serve::connection::{Peer, Service};
use crate::serve::metrics::{Door, Metrics};
use crate::serve::phase::{CurrentPhase, Phase};
use crate::serve::recon;
use crate::serve::rooms::Rooms;

/// Seconds after which a client may try again while the server starts: opening a device that was not
/// closed takes some seconds.
const RETRY_SECONDS: &str = "2";

/// What both listeners and the control socket know of the server.
pub(crate) struct Shared {
    pub(crate) phase: CurrentPhase,
    pub(crate) metrics: Metrics,
    pub(crate) rooms: OnceLock<Rooms>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { phase: CurrentPhase::default(), metrics: Metrics::new(), rooms: OnceLock::new() }
    }

    /// The text of `/metrics`.
    pub(crate) fn metrics_text(&self) -> Result<String, std::fmt::Error> {
        let stores = self.rooms.get().map(Rooms::metrics);
        self.metrics.encode(stores.as_ref().map_or(&[], |registries| &registries[..]))
    }
}

/// Answers on the gateway's listener.
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    roles: Roles,
    metrics_access: MetricsAccess,
}

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Swift,
    Identity,
    Health,
    Ready,
    Metrics,
    Recon,
    Roots,
    Unknown,
}

impl Route {
    fn of(path: &str) -> Self {
        let first = path.strip_prefix('/').map(|rest| rest.split('/').next().unwrap_or(rest));
        match (path, first) {
            ("/", _) => Self::Roots,
            ("/healthcheck", _) | (_, Some("v1" | "v1.0")) => Self::Swift,
            // What only begins like it is refused by Swift's rules.
            _ if path.starts_with("/info") => Self::Swift,
            (_, Some("identity")) => Self::Identity,
            ("/healthz", _) => Self::Health,
            ("/readyz", _) => Self::Ready,
            ("/metrics", _) => Self::Metrics,
            (_, Some("recon")) => Self::Recon,
            _ => Self::Unknown,
        }
    }

    /// What is served there, and by which role.
    fn needs(self) -> Option<(&'static str, Role)> {
        match self {
            Self::Swift => Some(("Swift", Role::Proxy)),
            Self::Identity => Some(("Identity", Role::Control)),
            _ => None,
        }
    }

    fn door(self) -> Door {
        match self {
            Self::Swift => Door::Swift,
            Self::Identity => Door::Identity,
            _ => Door::Gateway,
        }
    }
}

impl Gateway {
    pub(crate) fn new(shared: Arc<Shared>, roles: Roles, metrics_access: MetricsAccess) -> Self {
        Self { shared, roles, metrics_access }
    }

    async fn answer(&self, route: Route, peer: Peer, request: Request<RequestBody>) -> Response<ResponseBody> {
        if !matches!(route, Route::Swift | Route::Identity) && !matches!(*request.method(), Method::GET | Method::HEAD)
        {
            return fault(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are served here.");
        }
        if let Some((what, role)) = route.needs()
            && !self.roles.has(role)
        {
            let message = format!("{what} is not served here but by hosts with the role {role}.");
            return fault(StatusCode::NOT_FOUND, &message);
        }
        match (route, self.shared.rooms.get()) {
            (Route::Swift, Some(rooms)) => rooms.swift(peer, request).await,
            (Route::Identity, Some(rooms)) => rooms.identity().answer(peer, request).await,
            (Route::Swift | Route::Identity, None) => unavailable("The server is starting."),
            (Route::Health, _) => plain(StatusCode::OK, "ok\n"),
            (Route::Ready, _) => readiness(self.shared.phase.get()),
            (Route::Metrics, _) => self.metrics(peer),
            (Route::Recon, rooms) => self.recon(peer, request.uri().path(), rooms),
            (Route::Roots, rooms) => {
                let has_identity = rooms.is_none_or(|rooms| rooms.identity().here().is_ok());
                roots(self.roles.has(Role::Proxy), has_identity && self.roles.has(Role::Control))
            }
            (Route::Unknown, _) => fault(StatusCode::NOT_FOUND, "Nothing is served under this path."),
        }
    }

    fn metrics(&self, peer: Peer) -> Response<ResponseBody> {
        if self.is_refused(peer) {
            return fault(StatusCode::FORBIDDEN, "Metrics are shown to this host only (gateway.metrics_access).");
        }
        metrics_answer(&self.shared)
    }

    fn recon(&self, peer: Peer, path: &str, rooms: Option<&Rooms>) -> Response<ResponseBody> {
        if self.is_refused(peer) {
            return fault(StatusCode::FORBIDDEN, "Figures are shown to this host only (gateway.metrics_access).");
        }
        let Some(rooms) = rooms else { return unavailable("The server is starting.") };
        match recon::answer(path.strip_prefix("/recon").unwrap_or(path).trim_matches('/'), rooms.store()) {
            Some(answer) => json(StatusCode::OK, &answer),
            None => plain(StatusCode::NOT_FOUND, format!("Invalid path: {path}")),
        }
    }

    /// Whether figures are not for this peer.
    fn is_refused(&self, peer: Peer) -> bool {
        self.metrics_access == MetricsAccess::Loopback && !peer.is_loopback()
    }
}

impl Service for Gateway {
    const TITLE_CASE_HEADERS: bool = true;

    async fn call(&self, peer: Peer, request: Request<RequestBody>) -> Response<ResponseBody> {
        let path = request.uri().path();
        let host = request.headers().get(HOST).and_then(|host| std::str::from_utf8(host.as_bytes()).ok());
        let host = host.or_else(|| request.uri().host()).unwrap_or("");
        // A site's host has no paths of ours.
        let route = match self.shared.rooms.get() {
            Some(rooms) if rooms.is_swifts(host, path) => Route::Swift,
            _ => Route::of(path),
        };
        let must_say = asks_to_keep_alive(&request);
        let answer = |request| self.answer(route, peer, request);
        let mut response = measured(&self.shared, route.door(), peer, request, answer).await;
        if must_say {
            response.headers_mut().entry(CONNECTION).or_insert(HeaderValue::from_static("keep-alive"));
        }
        response
    }
}

/// Answers on the S3 listener: all paths are buckets.
pub(crate) struct S3Service {
    shared: Arc<Shared>,
}

impl S3Service {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Service for S3Service {
    async fn call(&self, peer: Peer, request: Request<RequestBody>) -> Response<ResponseBody> {
        let answer = async |request| match self.shared.rooms.get() {
            Some(rooms) => rooms.s3(peer, request).await,
            None => s3_unavailable(),
        };
        measured(&self.shared, Door::S3, peer, request, answer).await
    }
}

/// Answers on the listener for web sites: all hosts are sites.
pub(crate) struct WebsiteService {
    shared: Arc<Shared>,
}

impl WebsiteService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Service for WebsiteService {
    async fn call(&self, peer: Peer, request: Request<RequestBody>) -> Response<ResponseBody> {
        let answer = async |request| match self.shared.rooms.get() {
            Some(rooms) => rooms.website(peer, request).await,
            None => unavailable("The server is starting."),
        };
        measured(&self.shared, Door::Website, peer, request, answer).await
    }
}

/// Whether a client says what HTTP/1.1 does anyway. Some then want to be told so, and Swift does.
fn asks_to_keep_alive<B>(request: &Request<B>) -> bool {
    request.headers().get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
}

/// Counts a request and its answer, and logs it at debug.
async fn measured<F>(
    shared: &Shared,
    door: Door,
    peer: Peer,
    request: Request<RequestBody>,
    answer: impl FnOnce(Request<RequestBody>) -> F,
) -> Response<ResponseBody>
where
    F: Future<Output = Response<ResponseBody>>,
{
    let mut meter = shared.metrics.begin(door, request.method());
    // Only the path: a query may bear a signature.
    let line = tracing::enabled!(Level::DEBUG).then(|| (request.method().clone(), request.uri().path().to_owned()));
    let response = answer(request).await;
    meter.answered(response.status());
    if let Some((method, path)) = line {
        let (status, elapsed) = (response.status().as_u16(), meter.elapsed());
        tracing::debug!(?door, peer = ?peer.address, %method, path, status, ?elapsed, "answered");
    }
    response.map(|body| body.metered(meter))
}

/// `/metrics`.
pub(crate) fn metrics_answer(shared: &Shared) -> Response<ResponseBody> {
    match shared.metrics_text() {
        Ok(text) => typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            fault(StatusCode::INTERNAL_SERVER_ERROR, "Metrics cannot be encoded.")
        }
    }
}

fn readiness(phase: Phase) -> Response<ResponseBody> {
    let status = if phase == Phase::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    plain(status, format!("{}\n", phase.name()))
}

fn roots(has_swift: bool, has_identity: bool) -> Response<ResponseBody> {
    let mut roots = serde_json::json!({});
    if has_swift {
        (roots["object-store"], roots["info"]) = ("/v1".into(), "/info".into());
    }
    if has_identity {
        roots["identity"] = "/identity".into();
    }
    let version = env!("CARGO_PKG_VERSION");
    json(StatusCode::OK, &serde_json::json!({"name": "anello", "version": version, "roots": roots}))
}

fn plain(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<ResponseBody> {
    typed(status, "text/plain; charset=utf-8", text)
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<ResponseBody> {
    typed(status, "application/json", format!("{value}\n"))
}

/// A failure of the gateway's own, in the shape that the OpenStack clients show.
pub(crate) fn fault(status: StatusCode, message: &str) -> Response<ResponseBody> {
    let title = status.canonical_reason().unwrap_or_default();
    json(status, &serde_json::json!({"error": {"code": status.as_u16(), "title": title, "message": message}}))
}

fn unavailable(message: &str) -> Response<ResponseBody> {
    let mut response = fault(StatusCode::SERVICE_UNAVAILABLE, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    response
}

fn s3_unavailable() -> Response<ResponseBody> {
    let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>ServiceUnavailable</Code>\
                <Message>The server is starting. Please retry.</Message></Error>";
    let mut response = typed(StatusCode::SERVICE_UNAVAILABLE, "application/xml", text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    response
}

fn typed(status: StatusCode, content_type: &'static str, text: impl Into<bytes::Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_room_that_its_first_segment_names() {
        for (path, want) in [
            ("/", Route::Roots),
            ("/v1", Route::Swift),
            ("/v1/AUTH_a/c/o", Route::Swift),
            ("/v1.0/AUTH_a", Route::Swift),
            ("/v10", Route::Unknown),
            ("/info", Route::Swift),
            ("/info%20more", Route::Swift),
            ("/healthcheck", Route::Swift),
            ("/identity", Route::Identity),
            ("/identity/v3/auth/tokens", Route::Identity),
            ("/identityx", Route::Unknown),
            ("/healthz", Route::Health),
            ("/readyz", Route::Ready),
            ("/metrics", Route::Metrics),
            ("/metrics/", Route::Unknown),
            ("/recon/load", Route::Recon),
            ("/reconx", Route::Unknown),
            ("*", Route::Unknown),
            ("", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), want, "{path:?}");
        }
    }

    #[test]
    fn a_load_balancer_sees_only_a_ready_server_as_ready() {
        for (phase, status) in
            [(Phase::Starting, 503), (Phase::WaitingForIdentity, 503), (Phase::Ready, 200), (Phase::Draining, 503)]
        {
            assert_eq!(readiness(phase).status(), status, "{phase:?}");
        }
    }
}
