//! The devices' figures in Prometheus's form, made when they are asked for from what the store reports.

use anello_storage::device::{DeviceState, DeviceStatus};
use anello_storage::store::StoreStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeviceLabels {
    device: String,
}

/// A figure's name, what it is, and where it comes from.
type Figure = (&'static str, &'static str, fn(&DeviceStatus) -> u64);

/// What only grows, since the device was opened.
const COUNTERS: [Figure; 17] = [
    ("records", "Records committed", |it| it.records),
    ("batches", "Batches written", |it| it.batches),
    ("flushes", "Flushes (fdatasync) of log and data volumes", |it| it.flushes),
    ("written_bytes", "Bytes written to volumes, padding included", |it| it.log_bytes_written + it.data_bytes_written),
    ("log_written_bytes", "Bytes written to log volumes", |it| it.log_bytes_written),
    ("data_written_bytes", "Bytes written to data volumes", |it| it.data_bytes_written),
    ("reads_cached", "Reads that the page cache answered", |it| it.reads_cached),
    ("reads_disk", "Reads that went to the disk", |it| it.reads_disk),
    ("read_bytes", "Bytes handed to readers", |it| it.bytes_read),
    ("corrupt_reads", "Reads refused because of a checksum", |it| it.corrupt_reads),
    ("quarantined", "Damaged pieces put into quarantine", |it| it.quarantined),
    ("torn_tails", "Torn batches cut from the end of the log at start", |it| it.torn_tails),
    ("replayed_records", "Records replayed at start", |it| it.replayed_records),
    ("punched_bytes", "Bytes of extents freed", |it| it.punched_bytes),
    ("compacted_bytes", "Bytes that compaction copied", |it| it.compacted_bytes),
    ("compacted_volumes", "Log volumes compacted", |it| it.compacted_volumes),
    ("audited_bytes", "Bytes that the auditor has read", |it| it.audited_bytes),
];

/// What is so now.
const GAUGES: [Figure; 7] = [
    ("in_service", "1 while the device takes writes", |it| u64::from(it.state == DeviceState::InService)),
    ("capacity_bytes", "Size of the filesystem", |it| it.capacity_bytes),
    ("free_bytes", "Bytes of the filesystem that are free", |it| it.free_bytes),
    ("log_volumes", "Log volumes on disk", |it| it.log_volumes),
    ("data_volumes", "Data volumes on disk", |it| it.data_volumes),
    ("dead_bytes", "Bytes of dead records that compaction will free", |it| it.dead_bytes),
    ("queue_length", "Records waiting for a batch", |it| it.queue_length),
];

/// All figures of all devices.
pub(crate) fn registry(status: &StoreStatus) -> Registry {
    let mut registry = Registry::with_prefix("anello_device");
    let labels = |device: &DeviceStatus| DeviceLabels { device: device.path.clone() };
    for (name, help, value) in COUNTERS {
        let family = Family::<DeviceLabels, Counter>::default();
        for device in &status.devices {
            family.get_or_create(&labels(device)).inc_by(value(device));
        }
        registry.register(name, help, family);
    }
    for (name, help, value) in GAUGES {
        let family = Family::<DeviceLabels, Gauge>::default();
        for device in &status.devices {
            family.get_or_create(&labels(device)).set(i64::try_from(value(device)).unwrap_or(i64::MAX));
        }
        registry.register(name, help, family);
    }
    registry
}
