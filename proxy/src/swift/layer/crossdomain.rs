//! `/crossdomain.xml`: which sites' plug-ins may ask.

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Incoming, Layer, Next};
use crate::body::Body;
use crate::swift::SwiftDoor;
use crate::swift::config::CrossDomainConfig;
use crate::swift::fault::Fault;
use crate::swift::reply;

/// The path that it answers.
pub(in crate::swift) const PATH: &str = "/crossdomain.xml";

/// The middleware.
#[derive(Debug)]
pub(super) struct CrossDomain {
    config: CrossDomainConfig,
}

impl CrossDomain {
    pub(super) fn new(config: CrossDomainConfig) -> Self {
        Self { config }
    }

    fn policy(&self) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<!DOCTYPE cross-domain-policy SYSTEM \
             \"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd\" >\n<cross-domain-policy>\n{}\n\
             </cross-domain-policy>",
            self.config.cross_domain_policy
        )
    }
}

impl Layer for CrossDomain {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        vec![("crossdomain", json!({}))]
    }

    fn answers(&self, _door: &SwiftDoor, _host: &str, path: &str) -> bool {
        path == PATH
    }

    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            if request.method() == Method::GET && request.uri().path() == PATH {
                return Ok(reply::with_body(StatusCode::OK, "application/xml", self.policy()));
            }
            Ok(next.run(request).await)
        })
    }
}
