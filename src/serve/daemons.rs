//! The daemons' figures in Prometheus's form, made when they are asked for from what the store reports.

use anello_storage::daemon::watch::DaemonStatus;
use anello_storage::store::StoreStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DaemonLabels {
    daemon: &'static str,
    device: String,
    /// What is counted.
    unit: &'static str,
}

/// A figure's name, what it is, and where it comes from.
type Figure = (&'static str, &'static str, fn(&DaemonStatus) -> u64);

/// What only grows, since the start.
const COUNTERS: [Figure; 4] = [
    ("handled", "Worked on", |it| it.handled),
    ("passes", "Passes that came to their end", |it| it.passes),
    ("findings", "Things found wrong", |it| it.findings),
    ("errors", "Steps that failed, to be tried again", |it| it.errors),
];

/// What is so now.
const GAUGES: [Figure; 5] = [
    ("running", "1 while a pass is under way", |it| u64::from(it.is_running)),
    ("done", "Done in the pass that is under way", |it| it.done),
    ("expected", "What that pass will come to, 0 where that is not known", |it| it.expected.unwrap_or(0)),
    ("waiting", "What waits to be worked on", |it| it.waiting),
    ("last_pass_timestamp_seconds", "When the last pass ended, 0 before the first", |it| it.last_pass.unwrap_or(0)),
];

/// All figures of all daemons.
pub(crate) fn registry(status: &StoreStatus) -> Registry {
    let mut registry = Registry::with_prefix("anello_daemon");
    let labels = |it: &DaemonStatus| DaemonLabels {
        daemon: it.name,
        device: it.device.clone().unwrap_or_default(),
        unit: it.unit.name(),
    };
    for (name, help, value) in COUNTERS {
        let family = Family::<DaemonLabels, Counter>::default();
        for daemon in &status.daemons {
            family.get_or_create(&labels(daemon)).inc_by(value(daemon));
        }
        registry.register(name, help, family);
    }
    for (name, help, value) in GAUGES {
        let family = Family::<DaemonLabels, Gauge>::default();
        for daemon in &status.daemons {
            family.get_or_create(&labels(daemon)).set(i64::try_from(value(daemon)).unwrap_or(i64::MAX));
        }
        registry.register(name, help, family);
    }
    registry
}
