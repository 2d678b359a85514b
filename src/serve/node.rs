//! The node listener of a host that is one of several: the other hosts' calls to its devices. What was not sealed
//! with the cluster's secret gets 403 and nothing else (`storage/src/node`).

use std::sync::Arc;

use anello_base::SystemClock;
use anello_storage::cluster::{Member, MemberOptions, Part};
use anello_storage::daemon::threads::Behind;
use anello_storage::device::DeviceOptions;
use anello_storage::node::{HttpService, HttpTransport, Transport, connector};
use http::{Request, Response};

use crate::config::Config;
use crate::serve::body::{RequestBody, ResponseBody};
use crate::serve::connection::{Peer, Service};
use crate::serve::home::{Cluster, Membership};
use crate::serve::secured::Secured;
use crate::serve::tls::TlsFiles;

/// Answers on the node listener.
pub(crate) struct NodeDoor(pub(crate) HttpService);

impl Service for NodeDoor {
    async fn call(&self, _peer: Peer, request: Request<RequestBody>) -> Response<ResponseBody> {
        self.0.call(request).await.map(ResponseBody::from)
    }
}

/// Opens the host's devices and its part in the cluster; `None` where it is the only host.
pub(crate) async fn open(
    config: &Config,
    cluster: &Cluster,
    tls: Option<Arc<TlsFiles>>,
    threads: &Behind,
) -> Result<Option<Member>, Box<dyn std::error::Error>> {
    let Some(membership) = &cluster.member else { return Ok(None) };
    let part = match membership {
        Membership::Founds(hosts) => Part::Found(*hosts),
        Membership::Joins(founder) => Part::Join(founder.clone()),
    };
    let options = MemberOptions {
        devices: config.devices().to_vec(),
        state_dir: config.home().to_owned(),
        cluster_id: cluster.id.clone(),
        cluster_secret: cluster.secret(),
        device: DeviceOptions::default(),
        name: config.cluster.host_name(),
        address: config.cluster.address(),
        region: config.cluster.region,
        zone: config.cluster.zone,
        part,
        daemons: config.storage.daemons(threads),
    };
    let transport: Arc<dyn Transport> = match tls {
        None => Arc::new(HttpTransport::new(&options.cluster_secret)),
        Some(tls) => Arc::new(HttpTransport::over("https", Secured::new(connector(), tls), &options.cluster_secret)),
    };
    Ok(Some(tokio::task::spawn_blocking(move || Member::open_with(options, SystemClock, transport)).await??))
}
