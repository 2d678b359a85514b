//! From a request to a room's handler and back. A handler gets a [`Call`] and gives a [`Reply`]; a reply can
//! only be made from a [`Granted`], which only [`Call::authorize`] gives: a handler that asks no policy
//! does not compile.
//!
//! Requests that change something run in a task of their own, so that a client that hangs up does not
//! stop a change half-way; the task ends with its one change.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{OriginalUri, RawPathParams, Request};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::audit::Trail;
use super::reply::finish;
use super::{Audited, Credentials, Dialect, Fault, Granted, Links, PeerAddress, Policy, Query, Reply, Target};
use crate::limits::JSON_BODY_BYTES_MAX;

/// What a room tells the dispatcher.
pub trait Service: Send + Sync + 'static {
    /// What it knows of a caller.
    type Caller: Credentials;

    /// How it speaks.
    fn dialect(&self) -> &'static Dialect;

    /// Its rules.
    fn policy(&self) -> &Policy;

    /// Its configured public address, where links are not to follow the request.
    fn public_url(&self) -> Option<&str>;

    /// Who is calling; `None` without a token or with an invalid one.
    fn identify<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Option<Arc<Self::Caller>>, Fault>>;

    /// Whether a known caller may make this request at all, whatever the policy says of it. 401 where not.
    fn admit(&self, _caller: &Self::Caller, _method: &Method, _path: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// Takes note of a request that was to change something, once it is answered.
    fn audit(&self, _request: &Audited<'_, Self::Caller>) {}
}

type Handler<S> = Arc<dyn Fn(Call<S>) -> BoxFuture<'static, Result<Reply, Fault>> + Send + Sync>;

/// One method of one path, the rule that guards it, and who handles it.
pub struct Route<S: Service> {
    /// HTTP method. A GET answers HEAD as well, unless HEAD has a route of its own.
    pub method: Method,
    /// Path template: `/v3/users/{user_id}`.
    pub path: &'static str,
    /// Name of the policy rule.
    pub rule: &'static str,
    handler: Handler<S>,
}

impl<S: Service> Route<S> {
    /// A route.
    pub fn new<F>(
        method: Method,
        path: &'static str,
        rule: &'static str,
        handler: impl Fn(Call<S>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Reply, Fault>> + Send + 'static,
    {
        Self { method, path, rule, handler: Arc::new(move |call| Box::pin(handler(call))) }
    }
}

/// A request on its way to a handler.
pub struct Call<S: Service> {
    /// The room.
    pub service: Arc<S>,
    /// The query string.
    pub query: Query,
    /// Its headers.
    pub headers: HeaderMap,
    /// Builds links under the address that the client used.
    pub links: Links,
    /// Where it comes from, where that is known.
    pub peer: Option<IpAddr>,
    caller: Option<Arc<S::Caller>>,
    rule: &'static str,
    params: Vec<(String, String)>,
    body: Bytes,
}

impl<S: Service> Call<S> {
    /// Asks the policy whether the caller may do to `target` what the route stands for. 403 otherwise.
    pub fn authorize(&self, target: &Target) -> Result<Granted, Fault> {
        self.authorize_as(self.rule, target)
    }

    /// As [`Call::authorize`], by another rule than the route's.
    pub fn authorize_as(&self, rule: &str, target: &Target) -> Result<Granted, Fault> {
        let caller = self.caller.as_deref().map(|caller| caller as &dyn Credentials);
        if self.service.policy().allows(rule, caller, target) {
            return Ok(Granted::new());
        }
        Err(match caller {
            None => Fault::unauthenticated(),
            Some(_) => Fault::forbidden(format!("You are not authorized to perform the requested action: {rule}.")),
        })
    }

    /// Who is calling. 401 where nobody is known.
    pub fn caller(&self) -> Result<&Arc<S::Caller>, Fault> {
        self.caller.as_ref().ok_or_else(Fault::unauthenticated)
    }

    /// A part of the path by its name in the template; empty where the template has none.
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON; 400 where it is none.
    pub fn json(&self) -> Result<Value, Fault> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Fault::invalid(format!("The request body is not valid JSON: {error}.")))
    }
}

/// A router for all of a room's routes, each with and without a trailing slash. Mount it with `nest_service`,
/// so that the mount point itself answers with and without a slash too.
///
/// # Panics
/// Where a route names a rule that the policy does not declare, or two routes are the same.
pub fn router<S: Service>(service: &Arc<S>, routes: Vec<Route<S>>) -> Router {
    let mut router = Router::new();
    for route in routes {
        assert!(service.policy().declares(route.rule), "{} {} has no rule", route.method, route.path);
        let filter = MethodFilter::try_from(route.method.clone()).expect("routes use standard methods");
        let (path, service) = (route.path, Arc::clone(service));
        let route = Arc::new(route);
        let handler = move |params: Result<RawPathParams, RawPathParamsRejection>, request: Request| {
            let (service, route) = (Arc::clone(&service), Arc::clone(&route));
            async move {
                match params {
                    Ok(params) => serve(service, &route, collect(&params), request).await,
                    // No text, so the id of nothing.
                    Err(_) => refuse(service, request, nowhere()).await,
                }
            }
        };
        let methods: MethodRouter = on(filter, handler);
        if !path.ends_with('/') && !path.contains("{*") {
            router = router.route(&format!("{path}/"), methods.clone());
        }
        router = router.route(path, methods);
    }
    let (unknown, wrong_method) = (Arc::clone(service), Arc::clone(service));
    router
        .method_not_allowed_fallback(move |request: Request| {
            let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed for the requested URL.");
            refuse(Arc::clone(&wrong_method), request, fault)
        })
        .fallback(move |request: Request| refuse(Arc::clone(&unknown), request, nowhere()))
}

fn nowhere() -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "The resource could not be found.")
}

fn collect(params: &RawPathParams) -> Vec<(String, String)> {
    params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// An answer for a path or method that no route has.
async fn refuse<S: Service>(service: Arc<S>, request: Request, fault: Fault) -> Response {
    let links = links(&*service, &request);
    finish(service.dialect(), &links, &anello_base::id::request_id(), Err(fault))
}

fn links<S: Service>(service: &S, request: &Request) -> Links {
    let inner = request.uri().path().trim_end_matches('/');
    let outer = request.extensions().get::<OriginalUri>().map_or(inner, |uri| uri.path());
    let mount = outer.trim_end_matches('/').strip_suffix(inner).unwrap_or("");
    Links::new(service.public_url(), request.headers(), mount)
}

async fn serve<S: Service>(
    service: Arc<S>,
    route: &Route<S>,
    params: Vec<(String, String)>,
    request: Request,
) -> Response {
    let request_id = anello_base::id::request_id();
    let links = links(&*service, &request);
    let dialect = service.dialect();
    let method = request.method().clone();
    let path = route.path;
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<PeerAddress>().map(|peer| peer.0);
    let trail = Trail { service: Arc::clone(&service), rule: route.rule, peer, request_id: request_id.clone() };
    let result = answer(service, route, (params, links.clone()), (parts, body), trail).await;
    match &result {
        Ok(reply) => tracing::debug!(%method, path, request_id, status = reply.status().as_u16(), "{}", dialect.name),
        Err(fault) if fault.status.is_server_error() => {
            tracing::error!(%method, path, request_id, status = fault.status.as_u16(), message = fault.message);
        }
        Err(fault) => tracing::debug!(%method, path, request_id, status = fault.status.as_u16(), "{}", fault.message),
    }
    finish(dialect, &links, &request_id, result)
}

async fn answer<S: Service>(
    service: Arc<S>,
    route: &Route<S>,
    (params, links): (Vec<(String, String)>, Links),
    (parts, body): (Parts, axum::body::Body),
    trail: Trail<S>,
) -> Result<Reply, Fault> {
    let caller = service.identify(&parts.headers).await?;
    let is_change = !parts.method.is_safe();
    let admitted = match &caller {
        None if !service.policy().is_public(route.rule) => Err(Fault::unauthenticated()),
        Some(caller) => service.admit(caller, &parts.method, parts.uri.path()),
        None => Ok(()),
    };
    let read = async {
        admitted?;
        Ok((Query::parse(&parts.uri)?, read(body).await?))
    };
    let (query, body) = match read.await {
        Ok(read) => read,
        Err(fault) => {
            let refused = Err(fault);
            if is_change {
                trail.note(&params, caller.as_deref(), &refused);
            }
            return refused;
        }
    };
    let noted = (params.clone(), caller.clone());
    let (headers, peer) = (parts.headers, trail.peer);
    let call = Call { service, query, headers, links, peer, caller, rule: route.rule, params, body };
    let handled = (route.handler)(call);
    if !is_change {
        return handled.await;
    }
    let change = tokio::spawn(async move {
        let result = handled.await;
        trail.note(&noted.0, noted.1.as_deref(), &result);
        result
    });
    change.await.unwrap_or_else(|_| Err(Fault::of(anello_base::Class::Internal, "An unexpected error occurred.")))
}

async fn read(body: axum::body::Body) -> Result<Bytes, Fault> {
    match Limited::new(body, JSON_BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Fault::of(
            anello_base::Class::TooLarge,
            format!("Request body must not exceed {JSON_BODY_BYTES_MAX} bytes."),
        )),
        Err(_) => Err(Fault::invalid("The request body could not be read.")),
    }
}
