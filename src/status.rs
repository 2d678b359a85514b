//! `anello status`: asks the running server over its control socket and shows the answer.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

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
    let socket = control_socket(directory);
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => StatusError::NotRunning(directory.to_owned()),
        _ => StatusError::Io { path: socket.clone(), source },
    };
    let (short, _directory) = short_path(&socket).map_err(io)?;
    let mut stream = UnixStream::connect(short).map_err(io)?;
    stream.set_read_timeout(Some(CONTROL_TIMEOUT)).map_err(io)?;
    stream.set_write_timeout(Some(CONTROL_TIMEOUT)).map_err(io)?;
    // HTTP/1.0: the answer ends with the connection and is never chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: control\r\n\r\n").map_err(io)?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).map_err(io)?;
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| StatusError::Answer("no end of the head".to_owned()))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(StatusError::Answer(format!("{status}: {}", body.trim())));
    }
    Ok(body.to_owned())
}

/// The status as text. What a server of another version adds is shown as it comes.
fn describe(status: &Value) -> String {
    let mut text = String::new();
    let word = |key: &str| status[key].as_str().unwrap_or("-").to_owned();
    let uptime = duration(status["uptime_seconds"].as_u64().unwrap_or_default());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "anello {}, {}, up {uptime}, pid {}", word("version"), word("state"), status["pid"]);
    let _ = writeln!(text, "cluster {}", word("cluster"));
    for listener in status["listeners"].as_array().into_iter().flatten() {
        let part = |key: &str| listener[key].as_str().unwrap_or("-");
        let _ = writeln!(text, "  {:<20}{:<26}({})", part("name"), part("url"), part("reach"));
    }
    match &status["store"] {
        Value::Null => text.push_str("the store is being opened\n"),
        store => text.push_str(&outline("store", store)),
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
            "listeners": [{"name": "S3", "url": "http://127.0.0.1:9000", "reach": "this host only"}],
            "store": {"devices": [{"path": "/data", "state": "in service", "used_bytes": 1536}]},
        });
        let text = describe(&status);
        for line in [
            "anello 0.1.0, ready, up 1 h 1 min, pid 7\n",
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
    fn a_server_that_does_not_run_is_said_to_not_run() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let error = ask(directory.path(), "/status").expect_err("nothing there");
        assert!(error.to_string().starts_with("no server is running on "), "{error}");
    }
}
