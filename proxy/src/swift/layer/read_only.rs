//! A cluster, or an account (`X-Account-Sysmeta-Read-Only`), that nobody writes to.

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Incoming, Layer, Next};
use crate::body::Body;
use crate::swift::call::is_true;
use crate::swift::config::ReadOnlyConfig;
use crate::swift::fault::Fault;
use crate::swift::metadata;
use crate::swift::target::Target;

/// Where an account keeps whether it is open to writes whatever holds for the cluster.
const ITEM: &str = "x-account-sysmeta-read-only";

/// The middleware.
#[derive(Debug)]
pub(super) struct ReadOnly {
    config: ReadOnlyConfig,
}

impl ReadOnly {
    pub(super) fn new(config: ReadOnlyConfig) -> Self {
        Self { config }
    }

    fn is_write(&self, request: &Request<Incoming>) -> bool {
        match request.method().as_str() {
            "COPY" | "POST" | "PUT" => true,
            "DELETE" => !self.config.allow_deletes,
            _ => false,
        }
    }
}

impl Layer for ReadOnly {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        if self.config.read_only { vec![("read_only", json!({}))] } else { Vec::new() }
    }

    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let target = Target::parse(request.uri().path()).ok();
            let Some(account) = target.as_ref().and_then(Target::account).filter(|_| self.is_write(&request)) else {
                return Ok(next.run(request).await);
            };
            let elsewhere = request.headers().get("destination-account").filter(|_| request.method() == "COPY");
            let elsewhere = elsewhere.and_then(|account| account.to_str().ok());
            let account = match elsewhere {
                Some(account) => percent_decode_str(account).decode_utf8_lossy().into_owned(),
                None => account.to_owned(),
            };
            let info = next.door().store.account_settings(&account).await?;
            let own = info.as_ref().and_then(|info| metadata::value(&info.metadata, ITEM));
            if own.map_or(self.config.read_only, is_true) {
                let detail = "Writes are disabled for this account.";
                return Err(Fault::because(StatusCode::METHOD_NOT_ALLOWED, detail));
            }
            Ok(next.run(request).await)
        })
    }
}
