//! `/recon/…` on the gateway: what this host tells Swift's own tools (`swift-recon`) of itself, in the shapes of Swift's
//! recon middleware. What Anello has no figure for is null, as it is there before the daemon in question has run.
//!
//! Shown to whom `/metrics` is shown.

use std::collections::BTreeMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anello_storage::Store;
use anello_storage::daemon::watch::DaemonStatus;
use anello_storage::device::{DeviceState, DeviceStatus};
use anello_storage::store::StoreStatus;
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

/// Bytes of a page of memory, as `/proc/net/sockstat` counts.
const PAGE_BYTES: u64 = 4096;

/// The answer to `GET /recon/{path}`; `None` where Swift knows no such path.
pub(crate) fn answer(path: &str, store: &Store) -> Option<Value> {
    Some(match path {
        "version" => json!({"version": env!("CARGO_PKG_VERSION")}),
        "time" => json!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()),
        "load" => load(&proc("loadavg")),
        "mem" => memory(&proc("meminfo")),
        "sockstat" => sockets(&proc("net/sockstat"), &proc("net/sockstat6")),
        "ringmd5" => ring_digests(store),
        "swiftconfmd5" => json!({"/etc/swift/swift.conf": null}),
        "driveaudit" => json!({"drive_audit_errors": null}),
        "relinker" => json!({"devices": null, "workers": null}),
        "sharding" => json!({"sharding_stats": null, "sharding_time": null, "sharding_last": null}),
        _ => return of_status(path, &store.status()),
    })
}

/// What the store says of itself.
fn of_status(path: &str, status: &StoreStatus) -> Option<Value> {
    let daemons = |name: &str| status.daemons.iter().filter(|it| it.name == name).collect::<Vec<_>>();
    Some(match path {
        "devices" => json!({"/": status.devices.iter().map(name).collect::<Vec<_>>()}),
        "mounted" => Value::Array(status.devices.iter().map(mount).collect()),
        "unmounted" => {
            let away = status.devices.iter().filter(|device| !is_readable(device));
            away.map(|device| json!({"device": name(device), "mounted": false})).collect()
        }
        "diskusage" => status.devices.iter().map(usage).collect(),
        "quarantined" => {
            let objects: u64 = status.devices.iter().map(|device| device.quarantined).sum();
            json!({"accounts": 0, "containers": 0, "objects": objects, "policies": {}})
        }
        "async" => {
            let updater = Passes::of(&daemons("statistics updater"));
            json!({"async_pending": updater.waiting, "async_pending_last": updater.oldest})
        }
        "replication" | "replication/object" => {
            let mut answer = replication(&daemons("replicator"));
            let minutes = answer["replication_time"].as_f64().map(|seconds| seconds / 60.0);
            answer["object_replication_time"] = json!(minutes);
            answer["object_replication_last"] = answer["replication_last"].clone();
            answer
        }
        "replication/account" | "replication/container" => replication(&daemons("replicator")),
        "reconstruction/object" => {
            let passes = Passes::of(&daemons("replicator"));
            let minutes = passes.seconds.map(|seconds| seconds / 60.0);
            json!({"object_reconstruction_time": minutes, "object_reconstruction_last": passes.oldest})
        }
        "updater/container" => {
            json!({"container_updater_sweep": Passes::of(&daemons("statistics updater")).seconds})
        }
        // Objects' rows are written together with the objects: nothing waits for an updater.
        "updater/object" => {
            json!({"object_updater_sweep": null, "object_updater_stats": null, "object_updater_last": null})
        }
        "expirer/object" => {
            let passes = Passes::of(&daemons("expirer"));
            json!({"object_expiration_pass": passes.seconds, "expired_last_pass": passes.handled})
        }
        "auditor/object" => objects_audited(&daemons("auditor"), &status.devices),
        "auditor/container" => audited("container", &daemons("container auditor")),
        "auditor/account" => audited("account", &daemons("account auditor")),
        _ => return None,
    })
}

/// The passes of a daemon over all devices.
#[derive(Default)]
struct Passes {
    /// How long the longest of the last passes took.
    seconds: Option<f64>,
    /// When the oldest of the last passes ended; none before each has ended one.
    oldest: Option<u64>,
    ended: u64,
    handled: u64,
    waiting: u64,
    findings: u64,
    errors: u64,
}

impl Passes {
    fn of(daemons: &[&DaemonStatus]) -> Self {
        let sum = |count: fn(&DaemonStatus) -> u64| daemons.iter().map(|it| count(it)).sum();
        let longest = daemons.iter().filter_map(|it| it.last_pass_ms).max();
        let ends: Option<Vec<u64>> = daemons.iter().map(|it| it.last_pass).collect();
        Self {
            seconds: longest.map(|ms| ms as f64 / 1000.0),
            oldest: ends.and_then(|ends| ends.into_iter().min()),
            ended: sum(|it| it.passes),
            handled: sum(|it| it.handled),
            waiting: sum(|it| it.waiting),
            findings: sum(|it| it.findings),
            errors: sum(|it| it.errors),
        }
    }
}

fn replication(replicators: &[&DaemonStatus]) -> Value {
    let passes = Passes::of(replicators);
    let stats = (!replicators.is_empty())
        .then(|| json!({"attempted": passes.ended + passes.errors, "success": passes.ended, "failure": passes.errors}));
    json!({"replication_time": passes.seconds, "replication_stats": stats, "replication_last": passes.oldest})
}

fn audited(kind: &str, auditors: &[&DaemonStatus]) -> Value {
    let passes = Passes::of(auditors);
    let mut answer = Map::new();
    answer.insert(format!("{kind}_audits_passed"), json!(passes.handled - passes.findings.min(passes.handled)));
    answer.insert(format!("{kind}_audits_failed"), json!(passes.findings));
    answer.insert(format!("{kind}_audits_since"), json!(passes.oldest));
    answer.insert(format!("{kind}_auditor_pass_completed"), json!(passes.seconds));
    Value::Object(answer)
}

fn objects_audited(auditors: &[&DaemonStatus], devices: &[DeviceStatus]) -> Value {
    let of_device = |device: &DeviceStatus| {
        let auditor = auditors.iter().find(|it| it.device.as_ref() == Some(&device.path))?;
        let figures = json!({
            "audit_time": auditor.last_pass_ms.map_or(0.0, |ms| ms as f64 / 1000.0),
            "bytes_processed": device.audited_bytes,
            "passes": device.audited_objects - auditor.findings.min(device.audited_objects),
            "errors": auditor.errors,
            "quarantined": device.quarantined,
            "start_time": auditor.last_pass,
        });
        Some((name(device), figures))
    };
    let all: BTreeMap<String, Value> = devices.iter().filter_map(of_device).collect();
    json!({"object_auditor_stats_ALL": all, "object_auditor_stats_ZBF": null})
}

/// A device's directory below the root.
fn name(device: &DeviceStatus) -> String {
    device.path.trim_matches('/').to_owned()
}

fn is_readable(device: &DeviceStatus) -> bool {
    !matches!(device.state, DeviceState::Stopped)
}

fn mount(device: &DeviceStatus) -> Value {
    json!({"device": name(device), "path": device.path})
}

fn usage(device: &DeviceStatus) -> Value {
    if !is_readable(device) {
        return json!({"device": name(device), "mounted": false, "size": "", "used": "", "avail": ""});
    }
    let (size, free) = (device.capacity_bytes, device.free_bytes);
    json!({"device": name(device), "mounted": true, "size": size, "used": size.saturating_sub(free), "avail": free})
}

fn ring_digests(store: &Store) -> Value {
    let files = store.ring_files().unwrap_or_else(|error| {
        tracing::warn!(%error, "the rings can't be read");
        Vec::new()
    });
    let digest = |(name, bytes): (String, Vec<u8>)| (format!("/etc/swift/{name}"), hex::encode(Md5::digest(bytes)));
    json!(files.into_iter().map(digest).collect::<BTreeMap<_, _>>())
}

/// A file of `/proc`; empty where there is none.
fn proc(name: &str) -> String {
    fs::read_to_string(format!("/proc/{name}")).unwrap_or_default()
}

fn load(text: &str) -> Value {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
    json!({
        "1m": number(0), "5m": number(1), "15m": number(2), "tasks": words.get(3), "processes": number(4).map(|it| it as u64),
    })
}

fn memory(text: &str) -> Value {
    let line = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    json!(text.lines().filter_map(line).collect::<BTreeMap<_, _>>())
}

fn sockets(v4: &str, v6: &str) -> Value {
    let figure = |text: &str, kind: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let mut words = line.split_whitespace().skip_while(|word| *word != name);
        words.nth(1)?.parse::<u64>().ok()
    };
    let v4 = |name| figure(v4, "TCP:", name);
    json!({
        "tcp_in_use": v4("inuse"), "orphan": v4("orphan"), "time_wait": v4("tw"),
        "tcp_mem_allocated_bytes": v4("mem").map(|pages| pages * PAGE_BYTES),
        "tcp6_in_use": figure(v6, "TCP6:", "inuse"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        assert_eq!(
            load("0.50 1.25 2.00 3/456 789\n"),
            json!({"1m": 0.5, "5m": 1.25, "15m": 2.0, "tasks": "3/456", "processes": 789})
        );
        assert_eq!(memory("MemTotal:  16 kB\nMemFree:  8 kB\n"), json!({"MemTotal": "16 kB", "MemFree": "8 kB"}));
        let v4 = "sockets: used 100\nTCP: inuse 5 orphan 1 tw 2 alloc 9 mem 3\nUDP: inuse 7 mem 1\n";
        assert_eq!(
            sockets(v4, "TCP6: inuse 4\n"),
            json!({"tcp_in_use": 5, "orphan": 1, "time_wait": 2, "tcp_mem_allocated_bytes": 12288, "tcp6_in_use": 4})
        );
    }
}
