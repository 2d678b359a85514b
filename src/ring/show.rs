//! Rings as text.

use std::collections::BTreeMap;

use anello_base::Timestamp;
use anello_ring::{Builder, Device, DeviceId, DispersionReport, Error, Ring};

use crate::Outcome;
use crate::terminal::say;

/// Rules, quality and devices of a builder.
pub(super) fn builder(builder: &Builder, now: Timestamp) -> Outcome {
    say(format_args!(
        "{} partitions (2^{}), {} replicas, version {}, {} devices",
        builder.part_power().partitions(),
        builder.part_power().get(),
        builder.replicas(),
        builder.version(),
        builder.devices().count()
    ));
    say(format_args!(
        "A partition rests {} hours after a move ({} do). Overload {:.2} %.",
        builder.min_part_hours(),
        builder.resting(now),
        builder.overload() * 100.0
    ));
    let reports = match builder.device_reports() {
        Ok(reports) => {
            say(format_args!(
                "Balance {:.2} %, dispersion {:.2} %.",
                builder.balance()?,
                builder.dispersion()?.percent
            ));
            reports
        }
        Err(error @ (Error::NeverRebalanced | Error::TooFewDevices { .. })) => {
            say(format_args!("Nothing to measure: {error}."));
            Vec::new()
        }
        Err(error) => return Err(error.into()),
    };
    let reports: BTreeMap<DeviceId, _> = reports.into_iter().map(|report| (report.id, report)).collect();
    header();
    for device in builder.devices() {
        let share = reports.get(&device.id).map_or_else(
            || if builder.is_leaving(device.id) { "  leaves".to_owned() } else { String::new() },
            |report| format!("{:>9} {:>8.2}", report.parts, report.balance_percent),
        );
        line(device, &share);
    }
    Ok(())
}

/// What servers know of a ring.
pub(super) fn ring(ring: &Ring) -> Outcome {
    let mut parts: BTreeMap<DeviceId, usize> = BTreeMap::new();
    for partition in ring.partitions() {
        for id in ring.primaries(partition) {
            *parts.entry(*id).or_default() += 1;
        }
    }
    say(format_args!(
        "{} partitions (2^{}), {} replicas, {}{} devices",
        ring.part_power().partitions(),
        ring.part_power().get(),
        ring.replicas(),
        ring.version().map_or_else(String::new, |version| format!("version {version}, ")),
        ring.devices().count()
    ));
    if let Some(next) = ring.next_part_power() {
        say(format_args!("Swift's tools are raising the part power to {next}."));
    }
    header();
    for device in ring.devices() {
        line(device, &format!("{:>9}", parts.get(&device.id).copied().unwrap_or(0)));
    }
    Ok(())
}

fn header() {
    say(format_args!(
        "{:>5} {:>6} {:>6} {:>28} {:>28} {:>16} {:>9} {:>9} {:>8}  remark",
        "id", "region", "zone", "address", "replication", "device", "weight", "parts", "balance"
    ));
}

fn line(device: &Device, share: &str) {
    let address = |ip: &str, port| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    say(format!(
        "{:>5} {:>6} {:>6} {:>28} {:>28} {:>16} {:>9.2} {share:<18}  {}",
        device.id.0,
        device.region.0,
        device.zone.0,
        address(&device.ip, device.port),
        address(&device.replication_ip, device.replication_port),
        device.name,
        device.weight,
        device.meta
    )
    .trim_end());
}

/// The whole and, where asked for, every failure domain; otherwise only those with too much.
pub(super) fn dispersion(builder: &Builder, report: &DispersionReport, verbose: bool) -> Outcome {
    say(format_args!(
        "Dispersion {:.2} %, balance {:.2} %, overload {:.2} %; {:.2} % would be needed for the best dispersion.",
        report.percent,
        builder.balance()?,
        builder.overload() * 100.0,
        report.required_overload * 100.0
    ));
    let mut tiers: Vec<_> = report.tiers.iter().filter(|tier| verbose || tier.percent > 0.0).collect();
    if !verbose {
        tiers.sort_by(|a, b| b.percent.total_cmp(&a.percent));
        tiers.truncate(WORST);
    }
    if tiers.is_empty() {
        return Ok(());
    }
    let counts: Vec<String> = (0..=builder.replicas().ceil() as usize).map(|count| format!("{count:>9}")).collect();
    say(format_args!("{:<32} {:>7} {:>4} {}  partitions by replicas held", "", "%", "most", counts.join(" ")));
    for tier in tiers {
        let partitions: Vec<String> = tier.partitions.iter().map(|count| format!("{count:>9}")).collect();
        say(format_args!("{:<32} {:>7.2} {:>4} {}", tier.name, tier.percent, tier.most, partitions.join(" ")));
    }
    Ok(())
}

/// Domains shown when not all are asked for.
const WORST: usize = 10;
