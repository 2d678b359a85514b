//! What the server spends: CPU time and memory of its processes, the flushes and writes that an anello's
//! devices report, and those of a block device. Readings are taken at both ends of a measurement; the
//! differences belong to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::bench::args::Plan;
use crate::bench::client::{Connection, Sink};
use crate::bench::target::Location;
use crate::status;

/// The kernel shows CPU times in hundredths of a second to every program (USER_HZ), whatever its own
/// clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// A sector in `/sys/block/*/stat`, whatever the disk's own.
const SECTOR_BYTES: u64 = 512;

/// What can be read.
pub(crate) struct Probe {
    pids: Vec<u32>,
    control: Option<PathBuf>,
    metrics_url: Option<String>,
    block_device: Option<String>,
}

/// One reading.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// CPU time of the server's processes, in seconds.
    pub(crate) server_cpu_seconds: Option<f64>,
    /// Peak of their resident memory since the first reading, in bytes.
    pub(crate) server_peak_bytes: Option<u64>,
    /// Bytes that they caused to be written to block devices.
    pub(crate) server_written_bytes: Option<u64>,
    /// Flushes that an anello's devices made.
    pub(crate) device_flushes: Option<f64>,
    /// Bytes that they wrote.
    pub(crate) device_written_bytes: Option<f64>,
    /// Flushes of the block device.
    pub(crate) block_flushes: Option<u64>,
    /// Bytes written to it.
    pub(crate) block_written_bytes: Option<u64>,
    /// CPU time of this program.
    pub(crate) own_cpu_seconds: Option<f64>,
    pub(crate) at: Option<Instant>,
}

impl Probe {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut pids = plan.server_pids.clone();
        if let Some(directory) = &plan.control
            && let Ok(text) = status::ask(directory, "/status")
            && let Ok(status) = serde_json::from_str::<serde_json::Value>(&text)
            && let Some(pid) = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
            && !pids.contains(&pid)
        {
            pids.push(pid);
        }
        Self {
            pids,
            control: plan.control.clone(),
            metrics_url: plan.metrics_url.clone(),
            block_device: plan.block_device.clone(),
        }
    }

    /// The first reading; the processes' memory peaks begin anew, where that is permitted.
    pub(crate) fn read_first(&mut self) -> Reading {
        self.pids = with_descendants(&self.pids);
        for pid in &self.pids {
            // "5" resets the peak; without the right to do so the peak is that of the process's life.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        self.read()
    }

    pub(crate) fn read(&mut self) -> Reading {
        let metrics = self.metrics();
        let metric = |name: &str| metrics.as_ref().map(|text| sum_of(text, name));
        let block = self.block_device.as_ref().and_then(|name| block_figures(name));
        let sum = |of: &dyn Fn(u32) -> Option<u64>| {
            let found: Vec<u64> = self.pids.iter().filter_map(|pid| of(*pid)).collect();
            (!found.is_empty()).then(|| found.into_iter().sum::<u64>())
        };
        Reading {
            server_cpu_seconds: sum(&|pid| cpu_ticks(&pid.to_string())).map(|ticks| ticks as f64 / TICKS_PER_SECOND),
            server_peak_bytes: sum(&|pid| field(&format!("/proc/{pid}/status"), "VmHWM:")).map(|kib| kib * 1024),
            server_written_bytes: sum(&|pid| field(&format!("/proc/{pid}/io"), "write_bytes:")),
            device_flushes: metric("anello_device_flushes_total"),
            device_written_bytes: metric("anello_device_written_bytes_total"),
            block_flushes: block.map(|(flushes, _)| flushes),
            block_written_bytes: block.map(|(_, bytes)| bytes),
            own_cpu_seconds: cpu_ticks("self").map(|ticks| ticks as f64 / TICKS_PER_SECOND),
            at: Some(Instant::now()),
        }
    }

    fn metrics(&self) -> Option<String> {
        if let Some(directory) = &self.control {
            return status::ask(directory, "/metrics").ok();
        }
        let location = Location::parse(self.metrics_url.as_ref()?).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let head = format!("GET {} HTTP/1.1\r\nhost: {}\r\n\r\n", location.path, location.host);
        let mut body = Vec::new();
        let mut connection = Connection::new(location.address);
        let answer = runtime.block_on(connection.exchange(head.as_bytes(), b"", Sink::Collect(&mut body))).ok()?;
        (answer.status == 200).then(|| String::from_utf8_lossy(&body).into_owned())
    }
}

/// Sum of all series of a metric in Prometheus's text.
fn sum_of(text: &str, name: &str) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with([' ', '{']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    values.sum()
}

/// Flushes and bytes written, from the kernel's figures of a block device (fields 16 and 7 of its `stat`,
/// see Documentation/block/stat.rst).
fn block_figures(name: &str) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/sys/block/{name}/stat")).ok()?;
    let fields: Vec<u64> = text.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    Some((*fields.get(15)?, fields.get(6)? * SECTOR_BYTES))
}

/// A number behind a label in one of the line-wise files under /proc.
fn field(path: &str, label: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(label))?.split_whitespace().next()?.parse().ok()
}

/// The fields of /proc/PID/stat behind the command's name, which may itself hold anything.
fn stat_fields(pid: &str) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect())
}

/// User and system time of all threads.
fn cpu_ticks(pid: &str) -> Option<u64> {
    let fields = stat_fields(pid)?;
    Some(fields.get(11)? + fields.get(12)?)
}

/// The processes and all that descend from them: many servers have workers.
fn with_descendants(pids: &[u32]) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let parent = stat_fields(&pid.to_string()).and_then(|fields| fields.get(1).copied());
        if let Some(parent) = parent.and_then(|parent| u32::try_from(parent).ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all = Vec::new();
    let mut queue = pids.to_vec();
    while let Some(pid) = queue.pop() {
        if !all.contains(&pid) {
            all.push(pid);
            queue.extend(children.get(&pid).into_iter().flatten());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_metric_are_summed_and_no_other() {
        let text =
            "# HELP a_total x\na_total{device=\"1\"} 2\na_total{device=\"2\"} 3.5\na_total_seconds 9\nb_total 7\n";
        assert!((sum_of(text, "a_total") - 5.5).abs() < 1e-9);
        assert!((sum_of(text, "b_total") - 7.0).abs() < 1e-9);
    }

    #[test]
    fn a_process_is_found_with_its_figures_and_children() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let family = with_descendants(&[me]);
        let found = (family.contains(&me), family.contains(&child.id()));
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert_eq!(found, (true, true));
        assert!(cpu_ticks("self").is_some());
        assert!(field("/proc/self/status", "VmHWM:").is_some_and(|kib| kib > 100));
    }
}
