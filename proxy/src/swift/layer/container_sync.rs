//! Lets in what another cluster copies here: a request that is signed with its realm's key and the container's acts on
//! that container in the place of its sender's own rights, at the time that it says.

use anello_base::{Clock, SystemClock, Timestamp};
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{Incoming, Layer, Next, Origin, Pass};
use crate::body::Body;
use crate::swift::SwiftDoor;
use crate::swift::config::ContainerSyncConfig;
use crate::swift::fault::Fault;
use crate::swift::limits::SYNC_AHEAD_MAX;
use crate::swift::metadata::value;
use crate::swift::reply;
use crate::swift::sync::{Realms, SYNC_AUTH, SYNC_KEY, SYNC_TO, Signed, Synced};
use crate::swift::target::Target;

/// The middleware.
#[derive(Debug)]
pub(super) struct ContainerSync {
    realms: Realms,
    /// Realm and cluster that this one is.
    current: Option<(String, String)>,
}

impl ContainerSync {
    pub(super) fn new(config: &ContainerSyncConfig) -> Self {
        let current = config.current.as_ref().map(|current| current.trim_matches('/').to_uppercase());
        let current = current.as_ref().and_then(|current| current.split_once('/'));
        let current = current.map(|(realm, cluster)| (realm.to_owned(), cluster.to_owned()));
        Self { realms: Realms::of(config), current }
    }

    /// The container that a signed request is about, and when what it says happened; 401 for what is not signed.
    async fn admit(
        &self,
        door: &SwiftDoor,
        (method, path, header): (&Method, &str, Option<&str>),
        auth: &str,
    ) -> Result<(Target, Timestamp), Fault> {
        let target = Target::parse(path)?;
        let Some((account, container)) = target.container() else { return Err(refused("unknown")) };
        let parts: Vec<&str> = auth.split_whitespace().collect();
        let [realm, nonce, signature] = parts[..] else { return Err(refused(account)) };
        let info = door.store.container_settings(account, container).await?;
        let key = info.as_ref().and_then(|info| value(&info.metadata, SYNC_KEY)).filter(|key| !key.is_empty());
        let signed = |path: &str, key: &str| {
            let signed = Signed { method: method.as_str(), path, timestamp: header.unwrap_or("0"), nonce };
            self.realms.is_signed(realm, &signed, key, signature)
        };
        // Who signs encodes as Swift does; what came is taken for it too.
        let quoted = reply::quoted(&percent_decode_str(path).decode_utf8_lossy());
        if !key.is_some_and(|key| signed(&quoted, key) || signed(path, key)) {
            return Err(refused(account));
        }
        let now = SystemClock.wall();
        let at = match header {
            None => now,
            Some(text) => text.parse().map_err(|_| Fault::invalid("X-Timestamp is no time"))?,
        };
        if at > now.plus(SYNC_AHEAD_MAX) {
            return Err(Fault::invalid("X-Timestamp is in the future: the clocks of the clusters differ"));
        }
        Ok((target, at))
    }
}

fn refused(account: &str) -> Fault {
    let detail = "X-Container-Sync-Auth header not valid; contact cluster operator for support.";
    let realm = format!("SwiftContainerSync realm=\"{}\"", reply::quoted(account));
    Fault::because(StatusCode::UNAUTHORIZED, detail).with("www-authenticate", &realm)
}

impl Layer for ContainerSync {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        let mut realms = Map::new();
        for (realm, clusters) in self.realms.names() {
            let cluster = |cluster: &str| {
                let is_current = self.current.as_ref().is_some_and(|(r, c)| r == realm && c == cluster);
                (cluster.to_owned(), if is_current { json!({"current": true}) } else { json!({}) })
            };
            let clusters: Map<String, Value> = clusters.map(cluster).collect();
            realms.insert(realm.to_owned(), json!({"clusters": clusters}));
        }
        vec![("container_sync", json!({"realms": realms}))]
    }

    fn call<'a>(&'a self, mut request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            if let Some(target) = request.headers().get(SYNC_TO).filter(|target| !target.is_empty()) {
                let target = target.to_str().map_err(|_| Fault::invalid("Invalid X-Container-Sync-To"))?;
                self.realms.target(target).map_err(Fault::invalid)?;
            }
            let auth = request.headers().get(SYNC_AUTH).filter(|auth| !auth.is_empty());
            let Some(auth) = auth else { return Ok(next.run(request).await) };
            let auth = String::from_utf8_lossy(auth.as_bytes()).into_owned();
            let header = request.headers().get("x-timestamp").and_then(|value| value.to_str().ok());
            let asked = (request.method(), request.uri().path(), header);
            let (target, timestamp) = self.admit(next.door(), asked, &auth).await?;
            let container = target.container().map(|(account, container)| (account.to_owned(), container.to_owned()));
            if let Some((account, container)) = container {
                let mut origin = Origin::of(&request);
                origin.party = None;
                origin.pass = Some(Pass { account, container: Some(container) });
                origin.synced = Some(Synced { timestamp });
                request.extensions_mut().insert(origin);
            }
            let is_put = request.method() == Method::PUT;
            let response = next.run(request).await;
            // Something later is there already: that is as it should be.
            match is_put && response.status() == StatusCode::CONFLICT {
                true => Ok(reply::bare(StatusCode::ACCEPTED)),
                false => Ok(response),
            }
        })
    }
}
