//! kill -9 at random moments: what was acknowledged is there and whole after the restart, and what was
//! not is there whole or not at all. `ANELLO_TEST_KILLS` says how often.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::{Server, Session, command};

/// Kills where nothing else is said: enough to hit the batches, few enough for every run.
const KILLS: u64 = 5;
const WRITERS: u64 = 4;

/// Small ones go into the log, large ones are streamed beside it.
const SIZES: [usize; 4] = [0, 100, 5000, 700_000];

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Written and acknowledged.
    Stored,
    /// Deleted and acknowledged.
    Deleted,
    /// The answer never came: either is right, half is not.
    Open,
}

fn kills() -> u64 {
    std::env::var("ANELLO_TEST_KILLS").map_or(KILLS, |text| text.parse().expect("ANELLO_TEST_KILLS is a number"))
}

/// The content that follows from a name.
fn content(name: &str) -> Vec<u8> {
    let number = name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let length = SIZES[number as usize % SIZES.len()];
    (0..length).map(|at| (number.wrapping_add(at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Writes, and deletes every fifth of what it wrote, until the server goes away.
fn write(session: Session, writer: u64, round: u64, stop: Arc<AtomicBool>) -> BTreeMap<String, Fate> {
    let mut fates = BTreeMap::new();
    for number in 0.. {
        let name = format!("r{round}-w{writer}-{number}");
        fates.insert(name.clone(), Fate::Open);
        match session.swift("PUT", &format!("/crash/{name}"), &content(&name)) {
            Ok(answer) if answer.status == 201 => fates.insert(name.clone(), Fate::Stored),
            Ok(answer) => panic!("{name}: {} {}", answer.status, answer.text()),
            Err(_) => break,
        };
        if number % 5 == 4 {
            fates.insert(name.clone(), Fate::Open);
            match session.swift("DELETE", &format!("/crash/{name}"), b"") {
                Ok(answer) if answer.status == 204 => fates.insert(name, Fate::Deleted),
                Ok(answer) => panic!("{name}: {} {}", answer.status, answer.text()),
                Err(_) => break,
            };
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    fates
}

/// All names, page by page.
fn list(session: &Session) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut marker = String::new();
    loop {
        let page = session.swift("GET", &format!("/crash?marker={marker}"), b"").expect("an answer").text();
        let Some(last) = page.lines().last() else { return names };
        marker = last.to_owned();
        names.extend(page.lines().map(str::to_owned));
    }
}

fn check(session: &Session, fates: &mut BTreeMap<String, Fate>) {
    let listed = list(session);
    for (name, fate) in fates.iter_mut() {
        let answer = session.swift("GET", &format!("/crash/{name}"), b"").expect("an answer");
        match answer.status {
            200 => {
                assert_ne!(*fate, Fate::Deleted, "{name} is back");
                assert!(answer.body == content(name), "{name} is not what was stored");
            }
            404 => assert_ne!(*fate, Fate::Stored, "{name} was acknowledged and is lost"),
            status => panic!("{name}: {status} {}", answer.text()),
        }
        assert_eq!(listed.contains(name), answer.status == 200, "the listing is wrong about {name}");
        // Once seen, it must stay so.
        *fate = if answer.status == 200 { Fate::Stored } else { Fate::Deleted };
    }
    let stored = fates.values().filter(|fate| **fate == Fate::Stored).count();
    let head = session.swift("HEAD", "/crash", b"").expect("an answer");
    assert_eq!(head.header("x-container-object-count"), Some(stored.to_string().as_str()), "the count is wrong");
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let root = tempfile::tempdir().expect("temporary directory");
    let mut server = Server::start(root.path());
    assert_eq!(server.log_in().swift("PUT", "/crash", b"").expect("an answer").status, 201);
    let mut fates = BTreeMap::new();
    for round in 0..kills() {
        let session = server.log_in();
        let stop = Arc::new(AtomicBool::new(false));
        let start = |writer| {
            let (session, stop) = (session.clone(), stop.clone());
            std::thread::spawn(move || write(session, writer, round, stop))
        };
        let writers: Vec<JoinHandle<_>> = (0..WRITERS).map(start).collect();
        // Moments that differ from round to round, from the first request to some hundred later.
        std::thread::sleep(Duration::from_millis(20 + (round * 137) % 600));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| fates.extend(writer.join().expect("a writer")));
        server = Server::start(root.path());
        check(&server.log_in(), &mut fates);
    }
    let stored = fates.values().filter(|fate| **fate == Fate::Stored).count();
    eprintln!("{} kills, {} names, {stored} stored", kills(), fates.len());
    assert!(server.terminate().success());
    let server = Server::start(root.path());
    check(&server.log_in(), &mut fates);
}

#[test]
fn a_first_start_that_is_killed_anywhere_can_be_repeated() {
    let root = tempfile::tempdir().expect("temporary directory");
    for round in 0..12 {
        let mut child = command(root.path()).spawn().expect("the server starts");
        std::thread::sleep(Duration::from_millis(round * 45));
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    let server = Server::start(root.path());
    let session = server.log_in();
    assert_eq!(session.swift("PUT", "/works", b"").expect("an answer").status, 201);
    let cluster = server.status()["cluster"].clone();
    server.kill();
    assert_eq!(Server::start(root.path()).status()["cluster"], cluster);
}
