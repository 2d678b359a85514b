//! Three hosts as three processes: founded, joined, written to through each of them while one is killed, is
//! paused or comes back; then a fourth joins, and one is drained and removed. What was acknowledged is there, through
//! whichever host one asks.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::host::{self, Host};
use harness::{Server, Session, request};
use rustix::process::Signal;

const HOSTS: usize = 3;

/// Inline, and streamed.
const SIZES: [usize; 3] = [100, 5000, 400_000];

fn form(root: &Path) -> (Vec<Host>, Vec<Server>) {
    let hosts: Vec<Host> = (0..HOSTS).map(|number| Host::new(root, number, "")).collect();
    host::found(&hosts);
    let servers = host::start(&hosts);
    (hosts, servers)
}

fn content(name: &str) -> Vec<u8> {
    let number = name.bytes().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    (0..SIZES[number % SIZES.len()]).map(|at| (number.wrapping_add(at).wrapping_mul(0x9e37_79b9) >> 24) as u8).collect()
}

/// Names that a writer writes as fast as it can. After these it pauses: each of them is read through every host.
const NAMES_AT_ONCE: usize = 300;
const PAUSE: Duration = Duration::from_millis(20);

/// Writes through one host until told to stop; tells which names were acknowledged (true) and which may be there.
fn write(session: &Session, prefix: &str, stop: &AtomicBool) -> BTreeMap<String, bool> {
    let mut names = BTreeMap::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{prefix}-{number}");
        let status = session.swift("PUT", &format!("/c/{name}"), &content(&name)).map(|answer| answer.status);
        // 503 where nobody knows; an error where the host went away.
        assert!(status.as_ref().map_or(true, |status| matches!(status, 201 | 503)), "{name}: {status:?}");
        names.insert(name, matches!(status, Ok(201)));
        if number >= NAMES_AT_ONCE {
            std::thread::sleep(PAUSE);
        }
    }
    names
}

/// Every name in the container, page by page.
fn list(session: &Session) -> BTreeSet<String> {
    let mut listed = BTreeSet::new();
    loop {
        let marker = listed.last().cloned().unwrap_or_default();
        let page = session.swift("GET", &format!("/c?limit=10000&marker={marker}"), b"").expect("an answer").text();
        if page.is_empty() {
            return listed;
        }
        listed.extend(page.lines().map(str::to_owned));
    }
}

fn check(sessions: &[&Session], names: &BTreeMap<String, bool>) {
    for (at, session) in sessions.iter().enumerate() {
        let listed = list(session);
        for (name, acknowledged) in names {
            let answer = session.swift("GET", &format!("/c/{name}"), b"").expect("an answer");
            match answer.status {
                200 => assert!(
                    answer.body == content(name),
                    "host {at}: {name} is not what was stored: {} bytes of {}; {}",
                    answer.body.len(),
                    content(name).len(),
                    answer.head
                ),
                404 => assert!(!acknowledged, "host {at}: {name} was acknowledged and is lost"),
                status => panic!("host {at}: {name}: {status} {}", answer.text()),
            }
            assert!(!acknowledged || listed.contains(name), "host {at}: {name} is not listed");
        }
    }
}

/// The hosts of the cluster as one of them knows it.
fn host_names(server: &Server) -> Vec<String> {
    let status = server.status();
    let hosts = status["store"]["cluster"]["hosts"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = hosts.iter().map(|host| host["name"].as_str().unwrap_or("?").to_owned()).collect();
    names.sort();
    names
}

/// What a server's threads are called, with their nice values and scheduling policies.
fn threads(server: &Server) -> BTreeSet<(String, i32, i32)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
    let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).ok();
    let of = |stat: String| {
        // proc(5): the name in brackets is the second field, the nice value the 19th, the policy the 41st.
        let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
        let field = |number: usize| fields.split_whitespace().nth(number - 3)?.parse().ok();
        Some((name.to_owned(), field(19)?, field(41)?))
    };
    tasks.flatten().filter_map(stat).filter_map(of).collect()
}

#[test]
fn what_was_acknowledged_is_there_through_every_host_whatever_happens_to_one() {
    let root = tempfile::tempdir().expect("temporary directory");
    let (hosts, mut servers) = form(root.path());
    let token = servers[0].log_in();
    let through = |server: &Server| token.at(&server.gateway);
    let [first, second] = [0, 1].map(|host| through(&servers[host]));
    for session in [&first, &second, &through(&servers[2])] {
        session.wait_until_known();
    }
    assert_eq!(second.swift("PUT", "/c", b"").expect("an answer").status, 201);

    // Who doesn't know the secret is told nothing.
    let stranger = request(&hosts[1].node, "POST", "/node/1", &[("x-anello-nonce", &"0".repeat(32))], b"hello");
    assert_eq!(stranger.map(|answer| (answer.status, answer.body.len())).expect("an answer"), (403, 0));

    let mut names = BTreeMap::new();
    let stop = Arc::new(AtomicBool::new(false));
    for (round, fault) in ["none", "kill", "pause"].into_iter().enumerate() {
        stop.store(false, Ordering::Relaxed);
        let third_now = through(&servers[2]);
        std::thread::scope(|scope| {
            let writers: Vec<_> = [&first, &second, &third_now]
                .into_iter()
                .zip(["a", "b", "c"])
                .map(|(session, prefix)| {
                    let (stop, prefix) = (&stop, format!("{round}{prefix}"));
                    scope.spawn(move || write(session, &prefix, stop))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(700));
            match fault {
                "kill" => servers.remove(2).kill(),
                "pause" => servers[2].signal(Signal::STOP),
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(1500));
            stop.store(true, Ordering::Relaxed);
            if fault == "pause" {
                servers[2].signal(Signal::CONT);
            }
            writers.into_iter().for_each(|writer| names.extend(writer.join().expect("a writer")));
        });
        check(&[&first, &second], &names);
        if fault == "kill" {
            servers.push(hosts[2].start());
            through(&servers[2]).wait_until_known();
        }
        // Hosts that were left alone for a while are asked again.
        std::thread::sleep(Duration::from_secs(6));
        check(&[&first, &second, &through(&servers[2])], &names);
    }

    // A fourth comes and one of the first goes, while clients read and write.
    stop.store(false, Ordering::Relaxed);
    let mut hosts = hosts;
    hosts.push(Host::new(root.path(), HOSTS, ""));
    std::thread::scope(|scope| {
        let writers: Vec<_> = [(&first, "x"), (&second, "y")]
            .map(|(session, prefix)| {
                let stop = &stop;
                scope.spawn(move || write(session, prefix, stop))
            })
            .into();
        let change = || {
            hosts[3].join(&hosts[1].run(&["cluster", "token"]));
            servers.push(hosts[3].start());
            hosts[0].run(&["cluster", "drain", "h2", "--wait"]);
            hosts[1].run(&["cluster", "remove", "h2", "--wait"]);
        };
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change));
        // The writers, which the test waits for, end whatever went wrong.
        stop.store(true, Ordering::Relaxed);
        changed.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        for writer in writers {
            let written = writer.join().expect("a writer");
            let refused: Vec<&String> = written.iter().filter(|(_, done)| !**done).map(|(name, _)| name).collect();
            assert!(refused.is_empty(), "{refused:?} of {}", written.len());
            names.extend(written);
        }
    });
    drop(servers.remove(2));
    let deadline = Instant::now() + Duration::from_secs(60);
    while host_names(&servers[0]) != ["h0", "h1", "h3"] {
        assert!(Instant::now() < deadline, "{:?}", host_names(&servers[0]));
        std::thread::sleep(Duration::from_millis(200));
    }
    through(&servers[2]).wait_until_known();
    check(&[&first, &second, &through(&servers[2])], &names);

    let table = hosts[0].run(&["cluster", "dispersion"]);
    let rings: Vec<&str> = table.lines().map(|line| line.split("  ").next().unwrap_or_default()).collect();
    assert_eq!(rings, ["ring", "accounts", "containers", "objects Policy-0"], "{table}");
    let is_whole = || {
        let report: serde_json::Value =
            serde_json::from_str(&hosts[3].run(&["cluster", "dispersion", "--json"])).expect("JSON");
        let rings = report["rings"].as_array().cloned().unwrap_or_default();
        let is_whole = |ring: &serde_json::Value| ring["found"] == ring["copies"] && ring["misplaced"] == 0;
        !rings.is_empty() && rings.iter().all(is_whole)
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_whole() {
        assert!(Instant::now() < deadline, "{}", hosts[3].run(&["cluster", "dispersion"]));
        std::thread::sleep(Duration::from_secs(1));
    }

    // What brought all this about gives way to whoever serves clients.
    for server in &servers {
        let threads = threads(server);
        let (other, idle) = (0, 5);
        for (name, nice, policy) in [("idle", 0, idle), ("sharing", 10, other), ("tokio-rt-worker", 0, other)] {
            let of_name: Vec<_> = threads.iter().filter(|(it, ..)| it == name).collect();
            assert_eq!(of_name, [&(name.to_owned(), nice, policy)], "{threads:?}");
        }
    }

    let acknowledged = names.values().filter(|acknowledged| **acknowledged).count();
    eprintln!("{} names, {acknowledged} acknowledged", names.len());
    assert!(acknowledged > 0);
}
