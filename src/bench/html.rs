//! The report as one HTML file: figures, plots, and the options that made them. Nothing in it comes from
//! elsewhere.

use std::fmt::Write;

use anello_base::units::format_size;

use crate::bench::plot::{Axis, Line, Scale, draw, escape};
use crate::bench::report::Report;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
    color:#1a1a1a;background:#fff}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
    table{border-collapse:collapse;width:100%}th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd}\
    th:first-child,td:first-child{text-align:left}svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}\
    svg .name{font-weight:600}svg .middle{text-anchor:middle}svg .end{text-anchor:end}\
    .grid{stroke:#e4e4e4;fill:none}.line{fill:none;stroke-width:1.8}\
    @media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#161616}th,td{border-color:#333}\
    .grid{stroke:#333}svg text{fill:#aaa}}";

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{name}</title><style>{STYLE}</style>\n<h1>{name}</h1>\n<p>{target}, {seconds:.1} s, {concurrency} workers{rate}, \
         seed {seed}, {keys} prepared objects{verified}.</p>\n",
        name = escape(&report.name),
        target = escape(&report.target),
        seconds = report.seconds,
        concurrency = report.concurrency,
        rate = report.rate_per_second.map_or_else(String::new, |rate| format!(", {rate} requests due per second")),
        seed = report.seed,
        keys = report.keys,
        verified = if report.verified { ", contents compared" } else { "" },
    );
    operations(&mut html, report);
    server(&mut html, report);
    plots(&mut html, report);
    if !report.failures.is_empty() {
        html.push_str("<h2>Failures</h2><table><tr><th>What</th><th>Times</th></tr>");
        for (text, times) in &report.failures {
            row(&mut html, &[escape(text), times.to_string()]);
        }
        html.push_str("</table>\n");
    }
    html.push_str("</html>\n");
    html
}

fn row(html: &mut String, cells: &[String]) {
    html.push_str("<tr>");
    // Writing to a String cannot fail.
    cells.iter().for_each(|cell| {
        let _ = write!(html, "<td>{cell}</td>");
    });
    html.push_str("</tr>");
}

fn operations(html: &mut String, report: &Report) {
    html.push_str(
        "<h2>Requests</h2><table><tr><th></th><th>per second</th><th>per second</th><th>p50 µs</th><th>p90 µs</th>\
         <th>p99 µs</th><th>p99.9 µs</th><th>max µs</th><th>errors</th></tr>",
    );
    for it in &report.operations {
        let latency = &it.latency_us;
        let times = [latency.p50, latency.p90, latency.p99, latency.p999, latency.max];
        let mut cells =
            vec![it.operation.to_uppercase(), format!("{:.1}", it.per_second), format_size(it.bytes_per_second as u64)];
        cells.extend(times.map(|time| format!("{time:.0}")));
        cells.push(it.errors.to_string());
        row(html, &cells);
    }
    html.push_str("</table>\n");
}

fn server(html: &mut String, report: &Report) {
    let it = &report.server;
    let figures = [
        ("CPU per operation, µs", it.cpu_us_per_operation),
        ("CPU seconds per GiB of content", it.cpu_seconds_per_gib),
        ("Cores busy", it.cpu_cores),
        ("Peak memory, MiB", it.peak_memory_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))),
        ("Device flushes per operation", it.device_flushes_per_operation),
        ("Bytes written to devices per operation", it.device_written_bytes_per_operation),
        ("Bytes written to devices per byte of content", it.device_written_per_content_byte),
        ("Bytes written by the processes per operation", it.written_bytes_per_operation),
        ("Disk flushes per operation", it.block_flushes_per_operation),
        ("Disk bytes written per operation", it.block_written_bytes_per_operation),
        ("CPU of the load generator per operation, µs", report.client_cpu_us_per_operation),
    ];
    html.push_str("<h2>Cost</h2><table><tr><th></th><th></th></tr>");
    for (name, value) in figures {
        if let Some(value) = value {
            row(html, &[name.to_owned(), format!("{:.3}", value)]);
        }
    }
    html.push_str("</table>\n");
}

fn plots(html: &mut String, report: &Report) {
    let seconds = || Axis { title: "seconds", scale: Scale::Linear };
    let latency = || Axis { title: "latency, µs", scale: Scale::Logarithmic };
    let course = |name: &str, of: &dyn Fn(usize) -> Option<f64>| Line {
        name: name.to_owned(),
        points: (0..report.course.len()).filter_map(|at| Some((report.course[at].second as f64, of(at)?))).collect(),
    };
    let rate = course("all operations", &|at| Some(report.course[at].operations as f64));
    let flow = course("content", &|at| Some(report.course[at].bytes as f64 / f64::from(1 << 20)));
    let middle = course("p50", &|at| report.course[at].p50_us);
    let tail = course("p99", &|at| report.course[at].p99_us);
    let curves: Vec<Line> = report
        .operations
        .iter()
        .map(|it| Line { name: it.operation.to_uppercase(), points: it.curve.clone() })
        .collect();
    let share = Axis { title: "share of requests", scale: Scale::Nines };
    let per_second = |title| Axis { title, scale: Scale::Linear };
    for (title, svg) in [
        ("Latency by share of requests", draw(&share, &latency(), &curves)),
        ("Latency over time", draw(&seconds(), &latency(), &[middle, tail])),
        ("Operations per second over time", draw(&seconds(), &per_second("operations per second"), &[rate])),
        ("Content over time", draw(&seconds(), &per_second("MiB per second"), &[flow])),
    ] {
        if !svg.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(html, "<h2>{title}</h2>{svg}");
        }
    }
}
