//! Storage policies of a running server with six devices: objects that are cut into fragments, through a restart after
//! kill -9 and with two devices that lost their data.

mod harness;

use std::path::Path;
use std::process::{Command, Output};

use harness::{Server, Session, command, request};

const DEVICES: usize = 6;

fn start(root: &Path) -> Server {
    let first = root.join("d0");
    let mut serve = command(&first);
    for device in 1..DEVICES {
        serve.arg("--data").arg(root.join(format!("d{device}")));
    }
    Server::start_with(&first, serve)
}

fn policy(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
    command.arg("policy").args(&arguments[..1]).arg("--data").arg(root.join("d0")).args(&arguments[1..]);
    command.output().expect("runs")
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
}

fn check(session: &Session, when: &str) {
    for size in [1000, 500_000, 5_000_000] {
        let got = session.swift("GET", &format!("/cut/{size}"), b"").expect("an answer");
        assert_eq!((got.status, got.body == content(size)), (200, true), "{size} {when}");
    }
}

#[test]
fn fragments_are_there_after_a_crash_and_without_two_devices() {
    let root = tempfile::tempdir().expect("a directory");
    let server = start(root.path());
    let refused = policy(root.path(), &["add", "huge", "ec 5+2"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("needs 7 devices"), "{refused:?}");
    assert!(policy(root.path(), &["add", "cheap", "ec 4+2"]).status.success());
    assert!(policy(root.path(), &["default", "cheap"]).status.success());
    let listed = policy(root.path(), &["list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("replication 3") && listed.contains("ec 4+2  default"), "{listed}");
    let session = server.log_in();
    let headers = [("x-auth-token", session.token.as_str())];
    let path = format!("{}/cut", session.account);
    assert_eq!(request(&server.gateway, "PUT", &path, &headers, b"").expect("an answer").status, 201);
    for size in [1000, 500_000, 5_000_000] {
        let put = session.swift("PUT", &format!("/cut/{size}"), &content(size)).expect("an answer");
        assert_eq!(put.status, 201, "{}", put.text());
    }
    check(&session, "as it was written");
    server.kill();
    let server = start(root.path());
    let session = server.log_in();
    check(&session, "after kill -9");
    let head = session.swift("HEAD", "/cut", b"").expect("an answer");
    assert_eq!(head.header("x-storage-policy"), Some("cheap"));
    server.kill();
    for device in [4, 5] {
        spoil(&root.path().join(format!("d{device}")));
    }
    let server = start(root.path());
    check(&server.log_in(), "with two devices whose data are spoilt");
    assert!(server.terminate().success());
}

/// Overwrites the data volumes of a device, as a dying disk might.
fn spoil(device: &Path) {
    let volumes = std::fs::read_dir(device.join("volumes")).expect("lists");
    let paths = volumes.map(|entry| entry.expect("an entry").path());
    for path in paths.filter(|path| path.to_string_lossy().ends_with(".data.vol")) {
        let length = path.metadata().expect("is there").len().min(8 << 20) as usize;
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("opens");
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(4096)).expect("seeks");
        std::io::Write::write_all(&mut file, &vec![0xaa; length.saturating_sub(4096)]).expect("writes");
    }
}
