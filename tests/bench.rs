//! `anello bench` against a real server: both protocols, every operation, and figures that say what
//! happened.

mod harness;

use std::path::Path;
use std::process::Command;

use harness::Server;
use serde_json::Value;

/// The variables of a credential file.
fn variables(file: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(file).expect("a credential file");
    let line = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn bench(data: &Path, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
    command.args(["bench", "--quiet", "--json", "-", "--control"]).arg(data).args(arguments);
    command.envs(variables(&data.join("credentials/s3.env")));
    command.envs(variables(&data.join("credentials/openrc")));
    let output = command.output().expect("it runs");
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), json, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_operation_of_both_protocols_is_measured_and_verified() {
    let root = tempfile::tempdir().expect("temporary directory");
    let server = Server::start(root.path());
    let html = root.path().join("report.html");
    for api in ["s3", "swift"] {
        let container = format!("bench-{api}");
        let mix = "put=2,get=4,head=2,list=1,delete=1";
        let arguments =
            ["--api", api, "--mix", mix, "--size", "1..400KiB", "--count", "200", "--keys", "60", "-c", "4"];
        let report = ["--html", html.to_str().expect("text"), "--container", &container];
        let (code, json, complaint) = bench(root.path(), &[&arguments[..], &report[..]].concat());
        assert_eq!(code, Some(0), "{api}: {complaint}");
        assert_eq!((&json["errors"], &json["wrong_answers"]), (&0.into(), &0.into()), "{api}: {json:#}");
        let counts: u64 =
            json["operations"].as_array().expect("operations").iter().filter_map(|it| it["count"].as_u64()).sum();
        assert_eq!(counts, 200, "{api}: {json:#}");
        assert_eq!(json["operations"].as_array().map(Vec::len), Some(5), "{api}: {json:#}");
        let flushes = json["server"]["device_flushes_per_operation"].as_f64();
        assert!(flushes.is_some_and(|flushes| flushes > 0.0), "{api}: {json:#}");
        let page = std::fs::read_to_string(&html).expect("a report");
        assert!(page.contains("<svg") && !page.contains("http://www") && !page.contains("<script"), "{page}");
        // It cleans up behind itself.
        let listing = server.log_in().swift("GET", &format!("/{container}"), b"").expect("an answer");
        assert_eq!(listing.text(), "", "{api} left objects behind");
    }
}

#[test]
fn objects_that_are_not_what_they_should_be_make_a_run_fail() {
    let root = tempfile::tempdir().expect("temporary directory");
    let server = Server::start(root.path());
    let prepared = ["--keys", "10", "--size", "1000", "--prepare-only"];
    assert_eq!(bench(root.path(), &prepared).0, Some(0));
    let session = server.log_in();
    let changed = session.swift("PUT", "/anello-bench/k/000000000003", &[0; 1000]).expect("an answer");
    assert_eq!(changed.status, 201);
    let read = ["--keys", "10", "--size", "1000", "--no-prepare", "--mix", "get=1", "--count", "200", "--keep"];
    let (code, json, complaint) = bench(root.path(), &read);
    assert_eq!(code, Some(1), "{json:#}");
    assert!(complaint.contains("were not what was stored"), "{complaint}");
    assert!(json["wrong_answers"].as_u64().is_some_and(|wrong| wrong > 0 && wrong < 200), "{json:#}");
}

#[test]
fn every_request_that_is_due_at_a_rate_is_accounted_for() {
    let root = tempfile::tempdir().expect("temporary directory");
    let _server = Server::start(root.path());
    // One connection is soon behind; what is overdue is sent all the same, or counted as unsent.
    let arguments = ["--mix", "put=1", "-c", "1", "--rate", "500", "--duration", "400ms", "--warm-up", "0s"];
    let (code, json, complaint) = bench(root.path(), &arguments);
    assert_eq!(code, Some(0), "{complaint}");
    let sent = json["operations"][0]["count"].as_u64().expect("a count");
    assert_eq!(sent + json["unsent"].as_u64().expect("a count"), 200, "{json:#}");
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_is_done() {
    let root = tempfile::tempdir().expect("temporary directory");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
        let known =
            [("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s")];
        command.arg("bench").args(arguments).envs(known).current_dir(root.path());
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, complaint) in [
        (vec!["--mix", "fetch=1"], "is no operation"),
        (vec!["--mix", "get=1", "--keys", "0"], "--keys"),
        (vec!["--size", "9GiB"], "is no size"),
        (vec!["-c", "0"], "--concurrency"),
        (vec!["--rate", "0"], "--rate"),
        (vec!["--endpoint", "https://127.0.0.1:9"], "only http:// is spoken"),
        (vec!["--prefix", "a b"], "only letters"),
    ] {
        let (code, text) = run(&arguments);
        assert_ne!(code, Some(0), "{arguments:?}");
        assert!(text.contains(complaint), "{arguments:?}: {text}");
    }
}
