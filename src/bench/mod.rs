//! `anello bench`: puts load on any S3 (Signature V4) or Swift (token) endpoint and measures it.
//!
//! It shares the machine with the server under test, so it is built to be cheap: one thread by default,
//! one hand-driven HTTP/1.1 connection per worker, signing key and payload hashes computed once. What is
//! read is compared byte for byte with what the key's number says it must be.
//!
//! Two loops: *closed* (each of `--concurrency` workers sends its next request when the last is
//! answered) and *open* (`--rate`: requests are due at fixed times, and latency counts from when one was
//! due, so that a server that stalls cannot hide the requests which it kept from being sent).
//!
//! Left out on purpose: TLS (it would measure the cipher), multipart, several endpoints.

mod args;
mod client;
mod html;
mod payload;
mod plot;
mod probe;
mod recorder;
mod report;
mod runner;
mod s3;
mod swift;
mod target;
mod worker;
mod workload;

use std::io::IsTerminal;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Outcome;
pub(crate) use crate::bench::args::BenchArgs;
use crate::bench::args::Plan;
use crate::bench::payload::Payloads;
use crate::bench::probe::Probe;
use crate::bench::report::Report;
use crate::bench::runner::{Job, Window, run_job};
use crate::bench::target::Target;
use crate::bench::workload::{Source, Workload};
use crate::terminal;

/// Runs `anello bench`.
pub(crate) fn run(args: BenchArgs) -> Outcome {
    let plan = Plan::new(args)?;
    let payloads = Arc::new(Payloads::new(&plan.sizes, plan.seed));
    let target = Arc::new(Target::connect(&plan.endpoint)?);
    target.create_container()?;
    let workload = Arc::new(Workload::new(&plan, payloads));
    if plan.prepare {
        let job = Job::sequence(&plan, Source::prepare(&workload));
        require_success("prepare", &run_job(job, &target, &workload, &progress("preparing", plan.keys, &plan))?)?;
    }
    let report = if plan.measure { Some(measure(&plan, &target, &workload)?) } else { None };
    if !plan.keep {
        let bar = progress("deleting", workload.written(), &plan);
        let job = Job::sequence(&plan, Source::clean_up(&workload));
        require_success("clean-up", &run_job(job, &target, &workload, &bar)?)?;
    }
    let Some(report) = report else { return Ok(()) };
    if let Some(path) = &plan.html {
        std::fs::write(path, html::page(&report)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = &plan.json {
        let text = format!("{:#}\n", serde_json::to_value(&report)?);
        if path.as_os_str() == "-" {
            terminal::say(text.trim_end());
        } else {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    if plan.json.as_ref().is_none_or(|path| path.as_os_str() != "-") {
        terminal::say(report.summary().trim_end());
    }
    if report.wrong_answers > 0 {
        return Err(format!("{} answers were not what was stored", report.wrong_answers).into());
    }
    Ok(())
}

fn measure(plan: &Plan, target: &Arc<Target>, workload: &Arc<Workload>) -> Result<Report, Box<dyn std::error::Error>> {
    let probe = Probe::new(plan);
    let total = plan.count.unwrap_or_else(|| (plan.warm_up + plan.duration).as_secs());
    let job = Job {
        source: Source::mix(workload),
        concurrency: plan.concurrency,
        threads: plan.threads,
        rate: plan.rate,
        count: plan.count,
        window: Window {
            warm_up: if plan.count.is_some() { std::time::Duration::ZERO } else { plan.warm_up },
            duration: plan.count.is_none().then_some(plan.duration),
        },
        probe: Some(probe),
    };
    let done = run_job(job, target, workload, &progress("measuring", total, plan))?;
    Ok(Report::new(plan, target, done))
}

/// Preparing and cleaning up must be whole, or what is measured is something else.
fn require_success(phase: &str, done: &runner::Done) -> Outcome {
    match done.recorder.first_error() {
        None => Ok(()),
        Some(error) => Err(format!("{phase}: {} requests failed; the first: {error}", done.recorder.errors()).into()),
    }
}

fn progress(what: &'static str, total: u64, plan: &Plan) -> ProgressBar {
    let shown = !plan.quiet && std::io::stderr().is_terminal();
    let draw = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{msg:>10} {wide_bar} {pos}/{len} {eta} {prefix}");
    ProgressBar::with_draw_target(Some(total), draw)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
