//! What this host finds of the others in Prometheus's form, made when it is asked for from what the store reports.

use std::sync::atomic::AtomicU64;

use anello_storage::store::StoreStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    host: String,
}

/// All figures of all other hosts; none where there are no others.
pub(crate) fn registry(status: &StoreStatus) -> Registry {
    let mut registry = Registry::with_prefix("anello_peer");
    let Some(cluster) = &status.cluster else { return registry };
    let reachable = Family::<PeerLabels, Gauge>::default();
    let skew = Family::<PeerLabels, Gauge<f64, AtomicU64>>::default();
    let off = Family::<PeerLabels, Gauge>::default();
    for peer in &cluster.peers {
        let labels = PeerLabels { host: peer.name.clone() };
        reachable.get_or_create(&labels).set(i64::from(peer.reachable));
        skew.get_or_create(&labels).set(peer.skew_ms as f64 / 1000.0);
        off.get_or_create(&labels).set(i64::from(peer.is_clock_off));
    }
    registry.register("reachable", "1 while the other host is asked", reachable);
    registry.register_with_unit("clock_skew", "How far its clock is ahead of ours", Unit::Seconds, skew);
    registry.register("clock_off", "1 while the clocks differ by more than a second", off);
    registry
}
