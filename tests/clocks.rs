//! A host whose clock is wrong: it is shown, it is kept out while it is wrong by more than half a minute, and it makes
//! nobody else's clock wrong. The clock is a library of the test's own, loaded before the system's, which adds what a file
//! says; it is compiled with the C compiler that RocksDB needs as well.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::host::{self, Host};
use harness::{Server, request};
use serde_json::Value;

const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *seconds;

__attribute__((constructor)) static void map(void) {
    int file = open(getenv("TEST_CLOCK_FILE"), O_RDONLY);
    seconds = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME && seconds && seconds != MAP_FAILED) now->tv_sec += *seconds;
    return failed;
}
"#;

/// A clock that a test puts forward and back.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn new(root: &Path) -> Self {
        let (source, library, file) = (root.join("clock.c"), root.join("clock.so"), root.join("clock"));
        std::fs::write(&source, CLOCK).expect("written");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status();
        assert!(compiled.expect("a C compiler").success());
        let clock = Self { library, file };
        clock.set(0);
        clock
    }

    fn set(&self, seconds: i64) {
        // In place: it is mapped.
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&self.file);
        std::os::unix::fs::FileExt::write_all_at(&file.expect("opened"), &seconds.to_le_bytes(), 0).expect("written");
    }

    fn start(&self, host: &Host) -> Server {
        let mut serve = host.serve();
        serve.env("LD_PRELOAD", &self.library).env("TEST_CLOCK_FILE", &self.file);
        Server::start_with(&host.data, serve)
    }
}

fn peer(server: &Server, name: &str) -> Value {
    let peers = server.status()["store"]["cluster"]["peers"].as_array().cloned().unwrap_or_default();
    peers.into_iter().find(|peer| peer["name"] == name).expect("a peer")
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_clock_that_is_wrong_is_shown_and_makes_no_other_wrong() {
    let root = tempfile::tempdir().expect("temporary directory");
    let clock = Clock::new(root.path());
    let hosts: Vec<Host> = (0..3).map(|number| Host::new(root.path(), number, "")).collect();
    host::found(&hosts);
    let mut servers: Vec<Server> = std::thread::scope(|scope| {
        let starts = hosts.iter().enumerate().map(|(number, host)| {
            let clock = &clock;
            scope.spawn(move || if number == 2 { clock.start(host) } else { host.start() })
        });
        let starts: Vec<_> = starts.collect();
        starts.into_iter().map(|start| start.join().expect("starts")).collect()
    });
    let admin = servers[0].log_in();
    let sessions: Vec<_> = servers.iter().map(|server| admin.at(&server.gateway)).collect();
    sessions.iter().for_each(harness::Session::wait_until_known);
    let put =
        |host: usize, name: &str| sessions[host].swift("PUT", &format!("/c/{name}"), b"x").expect("an answer").status;
    assert_eq!(sessions[0].swift("PUT", "/c", b"").expect("an answer").status, 201);
    assert_eq!([put(0, "a"), put(1, "b"), put(2, "c")], [201; 3]);
    assert_eq!(peer(&servers[0], "h2")["is_clock_off"], false);
    let metric = |name: &str| {
        let text = request(&servers[0].gateway, "GET", "/metrics", &[], b"").expect("an answer").text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("anello_peer_{name}{{host=\"h2\"}} ")));
        line.expect("the figure").parse::<f64>().expect("a number")
    };

    // Wrong by seconds: shown, and everything goes on.
    clock.set(5);
    until("it is shown", || peer(&servers[0], "h2")["is_clock_off"] == true);
    assert!((4000..6000).contains(&peer(&servers[0], "h2")["skew_ms"].as_i64().expect("a number")));
    assert!((4.0..6.0).contains(&metric("clock_skew_seconds")) && metric("clock_off") == 1.0);
    until("it sees that as well", || peer(&servers[2], "h0")["is_clock_off"] == true);
    assert_eq!([put(2, "d"), put(0, "d"), put(1, "d")], [201; 3]);

    // By ten minutes: that host can do nothing, and the others all.
    let mut refused = Vec::new();
    for (offset, name) in [(600, "ahead"), (-600, "behind")] {
        clock.set(offset);
        let shows = |at: usize, other: &str, seconds: i64| {
            let skew = peer(&servers[at], other)["skew_ms"].as_i64();
            skew.is_some_and(|skew_ms| (skew_ms - seconds * 1000).abs() < 2000)
        };
        until(name, || shows(0, "h2", offset) && shows(2, "h0", -offset) && shows(2, "h1", -offset));
        for round in 0..5 {
            refused.push(format!("{name}-refused-{round}"));
            assert_ne!(put(2, refused.last().expect("a name")), 201, "{name}");
        }
        for round in 0..20 {
            let name = format!("{name}{round}");
            assert_eq!([put(0, &name), put(1, &name)], [201; 2], "{name}");
        }
        let later = sessions[1].swift("HEAD", "/c/ahead0", b"").expect("an answer");
        let timestamp: f64 = later.header("x-timestamp").expect("a timestamp").parse().expect("a number");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs_f64();
        assert!((timestamp - now).abs() < 60.0, "{timestamp} is not about {now}");
    }

    // Put right, and started again.
    clock.set(0);
    drop(servers.pop());
    servers.push(clock.start(&hosts[2]));
    until("it is as it was", || peer(&servers[0], "h2")["is_clock_off"] == false);
    let back = admin.at(&servers[2].gateway);
    back.wait_until_known();
    until("it writes again", || back.swift("PUT", "/c/back", b"x").expect("an answer").status == 201);
    assert_eq!([put(0, "e"), put(1, "e")], [201; 2]);
    assert_eq!(back.swift("GET", "/c/ahead19", b"").expect("an answer").status, 200);
    // It kept nothing of it for itself, which would count as later than all that came meanwhile.
    let ahead = || refused.iter().filter(|name| name.starts_with("ahead"));
    for (host, name) in (0..3).flat_map(|host| ahead().map(move |name| (host, name))) {
        let session = if host == 2 { &back } else { &sessions[host] };
        assert_eq!(session.swift("GET", &format!("/c/{name}"), b"").expect("an answer").status, 404);
    }
}
