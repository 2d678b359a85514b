//! `anello status`: asks the running server over its control socket and shows the answer.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anello_base::units::format_size;
use anello_base::{Clock, SystemClock};
use serde_json::Value;

use crate::Outcome;
use crate::cli::StatusArgs;
use crate::config::{Config, ConfigError};
use crate::limits::CONTROL_TIMEOUT;
use crate::outline::outline;
use crate::serve::{control_socket, short_path};
use crate::terminal;

/// An answer of the control socket; one device's figures are about 2 KiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("no server is running on {} (nothing answers on its control.sock)", .0.display())]
    NotRunning(PathBuf),
    #[error("cannot ask the server by {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the server's answer is not understood: {0}")]
    Answer(String),
}

/// Runs `anello status`.
pub(crate) fn run(args: &StatusArgs) -> Outcome {
    let directory = match &args.data {
        Some(directory) => directory.clone(),
        None => Config::read(args.config.as_deref()).map_err(StatusError::from)?.home().to_owned(),
    };
    let body = ask(&directory, "/status")?;
    let status: Value = serde_json::from_str(&body).map_err(|error| StatusError::Answer(error.to_string()))?;
    if args.json {
        terminal::say(format_args!("{status:#}"));
    } else {
        terminal::say(describe(&status).trim_end());
    }
    Ok(())
}

/// The body of the server's answer to `GET path`.
pub(crate) fn ask(directory: &Path, path: &str) -> Result<String, StatusError> {
    match exchange(directory, "GET", path, None, CONTROL_TIMEOUT)? {
        (200, body) => Ok(body),
        (status, body) => Err(StatusError::Answer(format!("{status}: {}", body.trim()))),
    }
}

/// Status and body of the server's answer to a request with a JSON body, or none.
pub(crate) fn exchange(
    directory: &Path,
    method: &str,
    path: &str,
    body: Option<&str>,
    patience: Duration,
) -> Result<(u16, String), StatusError> {
    let socket = control_socket(directory);
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => StatusError::NotRunning(directory.to_owned()),
        _ => StatusError::Io { path: socket.clone(), source },
    };
    let (short, _directory) = short_path(&socket).map_err(io)?;
    let mut stream = UnixStream::connect(short).map_err(io)?;
    stream.set_read_timeout(Some(patience)).map_err(io)?;
    stream.set_write_timeout(Some(CONTROL_TIMEOUT)).map_err(io)?;
    // HTTP/1.0: the answer ends with the connection and is never chunked.
    let body = body.unwrap_or_default();
    let head = format!("{method} {path} HTTP/1.0\r\nhost: control\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).map_err(io)?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).map_err(io)?;
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| StatusError::Answer("no end of the head".to_owned()))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| StatusError::Answer("no status".to_owned()))?;
    Ok((status, body.to_owned()))
}

/// The status as text. What a server of another version adds is shown as it comes.
fn describe(status: &Value) -> String {
    let mut text = String::new();
    let word = |key: &str| status[key].as_str().unwrap_or("-").to_owned();
    let uptime = duration(status["uptime_seconds"].as_u64().unwrap_or_default());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "anello {}, {}, up {uptime}, pid {}", word("version"), word("state"), status["pid"]);
    let _ = writeln!(text, "cluster {}", word("cluster"));
    let roles: Vec<&str> = status["roles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !roles.is_empty() {
        let _ = writeln!(text, "roles {}", roles.join(", "));
    }
    for listener in status["listeners"].as_array().into_iter().flatten() {
        let part = |key: &str| listener[key].as_str().unwrap_or("-");
        let _ = writeln!(text, "  {:<20}{:<26}({})", part("name"), part("url"), part("reach"));
    }
    if let Some(url) = status["identity"]["url"].as_str() {
        let _ = writeln!(text, "identity {url}, {}", reached(&status["identity"]));
    }
    match &status["store"] {
        Value::Null => text.push_str("the store is being opened\n"),
        store => {
            let mut store = store.clone();
            let daemons = store.as_object_mut().and_then(|store| store.remove("daemons"));
            text.push_str(&outline("store", &store));
            text.push_str(&daemons_table(daemons.as_ref(), SystemClock.wall().seconds()));
        }
    }
    text
}

/// How it stands with another host's identity.
fn reached(identity: &Value) -> String {
    let mut text = match identity["answered_seconds_ago"].as_u64() {
        Some(seconds) => format!("answered {} ago", duration(seconds)),
        None => "has not answered yet".to_owned(),
    };
    if let (Some(problem), Some(seconds)) = (identity["problem"].as_str(), identity["problem_seconds_ago"].as_u64()) {
        let _ = write!(text, "; last problem, {} ago: {problem}", duration(seconds));
    }
    text
}

/// The daemons, a line for each, and what failed last below those that have errors.
fn daemons_table(daemons: Option<&Value>, now_seconds: u64) -> String {
    let mut text = String::new();
    let mut line = |cells: [&str; 8]| {
        let [name, last, under_way, waiting, handled, findings, errors, device] = cells;
        let _ = writeln!(
            text,
            "{name:<20}{last:<14}{under_way:<24}{waiting:<18}{handled:<18}{findings:>6}{errors:>8}  {device}"
        );
    };
    let daemons = daemons.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !daemons.is_empty() {
        line(["daemon", "last pass", "under way", "waiting", "done", "found", "errors", "device"]);
    }
    for daemon in daemons {
        let word = |key: &str| daemon[key].as_str().unwrap_or("-");
        let number = |key: &str| daemon[key].as_u64().unwrap_or_default();
        let amount = |count: u64| match word("unit") {
            "bytes" => format_size(count),
            unit => format!("{count} {unit}"),
        };
        let last = daemon["last_pass"].as_u64();
        let last = last.map_or("-".to_owned(), |at| format!("{} ago", duration(now_seconds.saturating_sub(at))));
        let under_way = match (daemon["is_running"].as_bool(), daemon["expected"].as_u64()) {
            (Some(true), Some(expected)) => format!("{} of {}", amount(number("done")), amount(expected)),
            (Some(true), None) => amount(number("done")),
            _ => "-".to_owned(),
        };
        let (waiting, handled) = (amount(number("waiting")), amount(number("handled")));
        let (findings, errors) = (number("findings").to_string(), number("errors").to_string());
        line([word("name"), &last, &under_way, &waiting, &handled, &findings, &errors, word("device")]);
        if let Some(error) = daemon["last_error"].as_str() {
            line(["  last error:", error, "", "", "", "", "", ""]);
        }
    }
    text
}

/// `3 d 4 h`, `5 min`, `12 s`.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_state_devices_and_sizes() {
        let status = serde_json::json!({
            "version": "0.1.0", "pid": 7, "cluster": "c1", "state": "ready", "uptime_seconds": 3700,
            "roles": ["proxy", "control"],
            "listeners": [{"name": "S3", "url": "http://127.0.0.1:9000", "reach": "this host only"}],
            "store": {"devices": [{"path": "/data", "state": "in service", "used_bytes": 1536}]},
        });
        let text = describe(&status);
        for line in [
            "anello 0.1.0, ready, up 1 h 1 min, pid 7\n",
            "roles proxy, control\n",
            "  S3                  http://127.0.0.1:9000     (this host only)\n",
            "  device /data\n",
            "    used: 1.5 KiB\n",
            "    state: in service\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
        let starting = describe(&serde_json::json!({"state": "starting", "store": null}));
        assert!(starting.contains("the store is being opened"), "{starting}");
    }

    #[test]
    fn an_operator_reads_where_identity_is_and_whether_it_answers() {
        let mut identity = serde_json::json!({"url": "http://h", "answered_seconds_ago": null, "problem": null});
        let text = |identity: &Value| describe(&serde_json::json!({"identity": identity, "store": null}));
        assert!(text(&identity).contains("identity http://h, has not answered yet\n"));
        identity["answered_seconds_ago"] = 3.into();
        (identity["problem"], identity["problem_seconds_ago"]) = ("refused".into(), 70.into());
        assert!(text(&identity).contains("answered 3 s ago; last problem, 1 min ago: refused\n"));
    }

    #[test]
    fn an_operator_reads_what_daemons_do_and_what_waits_for_them() {
        let daemons = serde_json::json!([
            {"name": "compactor", "device": "/data", "unit": "bytes", "is_running": true, "done": 1 << 20,
             "expected": 4 << 20, "waiting": 3 << 20, "handled": 9 << 20, "passes": 2, "last_pass": 940,
             "findings": 1, "errors": 0, "last_error": null},
            {"name": "part reaper", "device": null, "unit": "objects", "is_running": false, "done": 0,
             "expected": null, "waiting": 7, "handled": 0, "passes": 0, "last_pass": null,
             "findings": 0, "errors": 2, "last_error": "no space"},
        ]);
        let text = daemons_table(Some(&daemons), 1000);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
        let words = words.iter().map(|cells| cells.iter().copied().filter(|cell| !cell.is_empty()).collect::<Vec<_>>());
        let want: [&[&str]; 4] = [
            &["daemon", "last pass", "under way", "waiting", "done", "found", "errors", "device"],
            &["compactor", "1 min ago", "1.0 MiB of 4.0 MiB", "3.0 MiB", "9.0 MiB", "1", "0", "/data"],
            &["part reaper", "-", "-", "7 objects", "0 objects", "0", "2", "-"],
            &["last error:", "no space"],
        ];
        assert_eq!(words.collect::<Vec<_>>(), want, "{text}");
        assert_eq!(daemons_table(None, 0), "", "a server of an earlier version");
    }

    #[test]
    fn a_server_that_does_not_run_is_said_to_not_run() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let error = ask(directory.path(), "/status").expect_err("nothing there");
        assert!(error.to_string().starts_with("no server is running on "), "{error}");
    }
}
