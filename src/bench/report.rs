//! The figures of a run, as JSON and as a few lines of text.

use std::collections::BTreeMap;
use std::fmt::Write;

use anello_base::units::format_size;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bench::args::Plan;
use crate::bench::probe::Reading;
use crate::bench::recorder::OperationRecord;
use crate::bench::runner::Done;
use crate::bench::target::Target;
use crate::bench::workload::Operation;

/// Points of a latency curve: from the median on, halving the rest each time.
const CURVE_POINTS: u32 = 24;

/// All figures. The JSON has these names; units are in them.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) version: &'static str,
    pub(crate) mix: BTreeMap<&'static str, u32>,
    pub(crate) size: String,
    pub(crate) concurrency: usize,
    pub(crate) rate_per_second: Option<f64>,
    pub(crate) keys: u64,
    pub(crate) seed: u64,
    pub(crate) verified: bool,
    pub(crate) seconds: f64,
    pub(crate) operations: Vec<OperationReport>,
    pub(crate) operations_per_second: f64,
    pub(crate) bytes_per_second: f64,
    pub(crate) errors: u64,
    pub(crate) wrong_answers: u64,
    pub(crate) unsent: u64,
    /// Whether the prepared objects were used up before the time was over.
    pub(crate) used_up: bool,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) server: ServerReport,
    pub(crate) client_cpu_us_per_operation: Option<f64>,
    /// How late the generator's timer was, 99th percentile (open loop).
    pub(crate) client_lateness_p99_us: Option<f64>,
    pub(crate) course: Vec<CoursePoint>,
}

/// One operation's figures.
#[derive(Debug, Serialize)]
pub(crate) struct OperationReport {
    pub(crate) operation: &'static str,
    pub(crate) count: u64,
    pub(crate) errors: u64,
    pub(crate) per_second: f64,
    pub(crate) bytes_per_second: f64,
    pub(crate) names: u64,
    pub(crate) latency_us: Latency,
    /// Share of requests, and microseconds within which they were answered.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// Latencies in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// What the server spent.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ServerReport {
    pub(crate) cpu_us_per_operation: Option<f64>,
    pub(crate) cpu_seconds_per_gib: Option<f64>,
    pub(crate) cpu_cores: Option<f64>,
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) written_bytes_per_operation: Option<f64>,
    pub(crate) device_flushes_per_operation: Option<f64>,
    pub(crate) device_written_bytes_per_operation: Option<f64>,
    pub(crate) device_written_per_content_byte: Option<f64>,
    pub(crate) block_flushes_per_operation: Option<f64>,
    pub(crate) block_written_bytes_per_operation: Option<f64>,
}

/// One second.
#[derive(Debug, Serialize)]
pub(crate) struct CoursePoint {
    pub(crate) second: usize,
    pub(crate) operations: u64,
    pub(crate) bytes: u64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, target: &Target, done: Done) -> Self {
        let Done { recorder, elapsed, unsent, readings } = done;
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let count = recorder.count();
        let bytes: u64 = recorder.operations.iter().map(|record| record.bytes).sum();
        let put_bytes = recorder.operations[Operation::Put as usize].bytes;
        let server = readings.as_ref().map_or_else(ServerReport::default, |(before, after)| {
            ServerReport::new(before, after, count, bytes, put_bytes)
        });
        let own = readings.as_ref().and_then(|(before, after)| {
            Some((after.own_cpu_seconds? - before.own_cpu_seconds?) * 1e6 / count.max(1) as f64)
        });
        let seen = Operation::ALL.into_iter().zip(&recorder.operations);
        let seen = seen.filter(|(_, record)| !record.latency.is_empty() || record.errors > 0);
        let whole_seconds = (elapsed.as_secs() as usize).max(1);
        let course = recorder.seconds.iter().take(whole_seconds).enumerate().map(|(second, it)| CoursePoint {
            second,
            operations: it.operations.iter().copied().map(u64::from).sum(),
            bytes: it.bytes,
            p50_us: it.quantile_us(0.5),
            p99_us: it.quantile_us(0.99),
        });
        Self {
            name: plan.name.clone(),
            target: target.describe(),
            version: env!("CARGO_PKG_VERSION"),
            mix: plan.mix.iter().map(|(operation, weight)| (operation.name(), *weight)).collect(),
            size: plan.size_text.clone(),
            concurrency: plan.concurrency,
            rate_per_second: plan.rate,
            keys: plan.keys,
            seed: plan.seed,
            verified: plan.verify,
            seconds,
            operations: seen.map(|(operation, record)| OperationReport::new(operation, record, seconds)).collect(),
            operations_per_second: count as f64 / seconds,
            bytes_per_second: bytes as f64 / seconds,
            errors: recorder.errors(),
            wrong_answers: recorder.wrong_answers,
            unsent,
            used_up: plan.count.is_none() && elapsed + plan.duration / 20 < plan.duration,
            client_cpu_us_per_operation: own,
            client_lateness_p99_us: plan.rate.map(|_| microseconds(recorder.lateness.value_at_quantile(0.99))),
            course: course.collect(),
            failures: recorder.failures,
            server,
        }
    }

    /// A few lines for a terminal.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}  ({}, {:.1} s)", self.name, self.target, self.seconds);
        let head = ["", "ops/s", "MiB/s", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "max µs", "errors"];
        let [name, per_second, rest @ ..] = head;
        let _ = write!(text, "{name:<8}{per_second:>11}");
        rest.iter().for_each(|title| {
            let _ = write!(text, "{title:>11}");
        });
        text.push('\n');
        for it in &self.operations {
            let Latency { p50, p90, p99, p999, max, .. } = &it.latency_us;
            let mib = it.bytes_per_second / f64::from(1 << 20);
            let _ = writeln!(
                text,
                "{:<8}{:>11.1}{mib:>11.1}{p50:>11.0}{p90:>11.0}{p99:>11.0}{p999:>11.0}{max:>11.0}{:>11}",
                it.operation, it.per_second, it.errors
            );
        }
        self.server.describe(&mut text);
        if let Some(own) = self.client_cpu_us_per_operation {
            let _ = writeln!(text, "client  {own:.1} µs CPU per operation");
        }
        if self.unsent > 0 {
            let _ =
                writeln!(text, "{} requests were due and never sent: the rate is above what is served", self.unsent);
        }
        if self.used_up {
            let _ =
                writeln!(text, "the prepared objects were used up before the time was over: more --keys last longer");
        }
        for (failure, times) in &self.failures {
            let _ = writeln!(text, "failed  {times} × {failure}");
        }
        text
    }
}

impl OperationReport {
    fn new(operation: Operation, record: &OperationRecord, seconds: f64) -> Self {
        let latency = &record.latency;
        let shares = (0..CURVE_POINTS).map(|point| 1.0 - 0.5_f64.powi(point.cast_signed()));
        let resolved = shares.take_while(|share| (1.0 - share) * latency.len() as f64 >= 1.0);
        Self {
            operation: operation.name(),
            count: latency.len(),
            errors: record.errors,
            per_second: latency.len() as f64 / seconds,
            bytes_per_second: record.bytes as f64 / seconds,
            names: record.names,
            latency_us: Latency::new(latency),
            curve: resolved.map(|share| (share, microseconds(latency.value_at_quantile(share)))).collect(),
        }
    }
}

impl Latency {
    fn new(latency: &Histogram<u64>) -> Self {
        let at = |share| microseconds(latency.value_at_quantile(share));
        Self {
            min: microseconds(latency.min()),
            mean: latency.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: microseconds(latency.max()),
        }
    }
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

impl ServerReport {
    fn new(before: &Reading, after: &Reading, count: u64, bytes: u64, put_bytes: u64) -> Self {
        let operations = count.max(1) as f64;
        let whole = |of: fn(&Reading) -> Option<u64>| Some((of(after)?.saturating_sub(of(before)?)) as f64);
        let real = |of: fn(&Reading) -> Option<f64>| Some(of(after)? - of(before)?);
        let cpu = real(|it| it.server_cpu_seconds);
        let elapsed = after.at.zip(before.at).map_or(0.0, |(after, before)| (after - before).as_secs_f64());
        let device_bytes = real(|it| it.device_written_bytes);
        Self {
            cpu_us_per_operation: cpu.map(|cpu| cpu * 1e6 / operations),
            cpu_seconds_per_gib: cpu.filter(|_| bytes > 0).map(|cpu| cpu * (1_u64 << 30) as f64 / bytes as f64),
            cpu_cores: cpu.filter(|_| elapsed > 0.0).map(|cpu| cpu / elapsed),
            peak_memory_bytes: after.server_peak_bytes,
            written_bytes_per_operation: whole(|it| it.server_written_bytes).map(|it| it / operations),
            device_flushes_per_operation: real(|it| it.device_flushes).map(|it| it / operations),
            device_written_bytes_per_operation: device_bytes.map(|it| it / operations),
            device_written_per_content_byte: device_bytes.filter(|_| put_bytes > 0).map(|it| it / put_bytes as f64),
            block_flushes_per_operation: whole(|it| it.block_flushes).map(|it| it / operations),
            block_written_bytes_per_operation: whole(|it| it.block_written_bytes).map(|it| it / operations),
        }
    }

    fn describe(&self, text: &mut String) {
        let mut parts = Vec::new();
        let mut part = |value: Option<f64>, show: &dyn Fn(f64) -> String| parts.extend(value.map(show));
        part(self.cpu_us_per_operation, &|it| format!("{it:.1} µs CPU per operation"));
        part(self.cpu_seconds_per_gib, &|it| format!("{it:.2} CPU s per GiB"));
        part(self.cpu_cores, &|it| format!("{it:.2} cores"));
        part(self.peak_memory_bytes.map(|it| it as f64), &|it| format!("{} at peak", format_size(it as u64)));
        part(self.device_flushes_per_operation, &|it| format!("{it:.3} flushes per operation"));
        part(self.device_written_bytes_per_operation, &|it| format!("{it:.0} bytes to devices per operation"));
        part(self.device_written_per_content_byte, &|it| format!("{it:.2} per byte of content"));
        part(self.block_flushes_per_operation, &|it| format!("{it:.3} disk flushes per operation"));
        part(self.block_written_bytes_per_operation, &|it| format!("{it:.0} disk bytes per operation"));
        if !parts.is_empty() {
            text.push_str(&format!("server  {}\n", parts.join(", ")));
        }
    }
}
