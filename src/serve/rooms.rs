//! The rooms and the store behind one face: the only place that knows how they are opened, wired to each
//! other, asked and closed.

use std::sync::Arc;

use http::{Request, Response};
use prometheus_client::registry::Registry;

use crate::config::Config;
use crate::serve::body::{RequestBody, ResponseBody};
use crate::serve::gateway::fault;
use crate::serve::home::{Cluster, Urls};

/// STUB
pub(crate) struct Rooms {}
/// What the administrator got.
pub(crate) struct Administrator {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

impl Rooms {
    pub(crate) async fn open(_config: &Config, cluster: &Cluster) -> Result<Self> {
        let _ = (cluster.secret(), Arc::new(0));
        Ok(Self {})
    }
    pub(crate) async fn bootstrap(&self, _config: &Config, _urls: &Urls, _password: &str) -> Result<Administrator> {
        Ok(Administrator { access_key: "a".into(), secret_key: "b".into() })
    }
    pub(crate) async fn follow_urls(&self, _before: &Urls, _now: &Urls) -> Result<()> {
        Ok(())
    }
    pub(crate) async fn swift(&self, _request: Request<RequestBody>) -> Response<ResponseBody> {
        fault(http::StatusCode::NOT_IMPLEMENTED, "")
    }
    pub(crate) async fn s3(&self, _request: Request<RequestBody>) -> Response<ResponseBody> {
        fault(http::StatusCode::NOT_IMPLEMENTED, "")
    }
    pub(crate) async fn identity(&self, _request: Request<RequestBody>) -> Response<ResponseBody> {
        fault(http::StatusCode::NOT_IMPLEMENTED, "")
    }
    pub(crate) fn metrics(&self) -> Registry {
        Registry::with_prefix("anello")
    }
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::json!({"devices": []})
    }
    pub(crate) async fn close(&self) -> Result<()> {
        Ok(())
    }
}
