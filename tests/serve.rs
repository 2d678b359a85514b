//! What an operator relies on from `anello serve`: the first start, the end, and what lies between.

mod harness;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Server, command, connect, read_answer, request};
use rustix::process::Signal;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

fn get(address: &str, path: &str) -> harness::Answer {
    request(address, "GET", path, &[], b"").expect("an answer")
}

#[test]
fn the_first_start_leaves_credentials_that_work_and_that_only_the_owner_reads() {
    let root = tempfile::tempdir().expect("temporary directory");
    let data = root.path().join("data");
    let server = Server::start(&data);
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("credentials")), 0o700);
    for file in ["credentials/clouds.yaml", "credentials/openrc", "credentials/s3.env", "cluster.toml", "control.sock"]
    {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    let s3 = std::fs::read_to_string(data.join("credentials/s3.env")).expect("s3.env");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"] {
        assert!(s3.contains(&format!("export {name}='")), "{name} is not in s3.env");
    }
    assert!(s3.contains(&format!("export AWS_ENDPOINT_URL='http://{}'", server.s3)), "s3.env names another endpoint");
    let session = server.log_in();
    assert_eq!(session.swift("PUT", "/first", b"").expect("an answer").status, 201);
    let cluster = std::fs::read_to_string(data.join("cluster.toml")).expect("cluster.toml");
    assert!(!cluster.contains("admin_password"), "the first start's password stays in cluster.toml");
}

#[test]
fn health_readiness_roots_and_unknown_paths_are_answered() {
    let root = tempfile::tempdir().expect("temporary directory");
    let server = Server::start(root.path());
    for (path, status, text) in [
        ("/healthz", 200, "ok"),
        ("/readyz", 200, "ready"),
        ("/", 200, "\"object-store\":\"/v1\""),
        ("/nothing/here", 404, "\"code\":404"),
        ("/v10", 404, "\"code\":404"),
        ("/healthcheck", 200, "OK"),
        ("/info", 200, "\"swift\""),
        ("/metrics", 200, "anello_device_flushes_total{"),
    ] {
        let answer = get(&server.gateway, path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(text), "{path}: {}", answer.text());
    }
    let info = get(&server.gateway, "/info").head;
    assert!(info.contains("\r\nX-Trans-Id: tx"), "clients of Swift's look for its headers in title case: {info}");
    let answer = request(&server.gateway, "POST", "/readyz", &[], b"x").expect("an answer");
    assert_eq!(answer.status, 405);
    // Nobody reads or writes without showing who he is.
    for (address, path) in [(&server.gateway, "/v1/AUTH_x/c/o"), (&server.gateway, "/identity/v3/users")] {
        assert_eq!(get(address, path).status, 401, "{path}");
    }
    assert_eq!(request(&server.s3, "PUT", "/bucket", &[], b"").expect("an answer").status, 403);
}

/// Without this a site's visitors would get nothing, or more than visitors may.
#[test]
fn web_sites_are_served_to_visitors_where_they_are_asked_for() {
    let root = tempfile::tempdir().expect("temporary directory");
    let mut with_sites = command(root.path());
    with_sites.args(["--website-listen", "127.0.0.1:0"]);
    let server = Server::start_with(root.path(), with_sites);
    let status = server.status();
    let listeners = status["listeners"].as_array().expect("listeners");
    let sites = listeners.iter().find(|listener| listener["name"] == "web sites").expect("a listener");
    assert_eq!(sites["reach"], "this host only");
    let address = sites["url"].as_str().and_then(|url| url.strip_prefix("http://")).expect("a URL").to_owned();
    let answer = get(&address, "/");
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("<li>Code: NoSuchBucket</li>"), "{}", answer.text());
    assert_eq!(request(&address, "PUT", "/page", &[], b"x").expect("an answer").status, 405);
    assert!(get(&server.gateway, "/metrics").text().contains("door=\"website\""));
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_server_goes_on() {
    let root = tempfile::tempdir().expect("temporary directory");
    let server = Server::start(root.path());
    let large = "x".repeat(70 * 1024);
    for address in [&server.gateway, &server.s3] {
        let answer = request(address, "GET", "/", &[("x-large", &large)], b"").expect("an answer");
        assert_eq!(answer.status, 431);
        let many: Vec<(String, &str)> = (0..300).map(|number| (format!("x-many-{number}"), "x")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(request(address, "GET", "/", &many, b"").expect("an answer").status, 431);
        let mut garbage = connect(address).expect("a connection");
        garbage.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").expect("taken");
        assert_eq!(read_answer(garbage).expect("an answer").status, 400);
    }
    assert_eq!(get(&server.gateway, "/readyz").status, 200);
}

#[test]
fn sigterm_lets_a_running_upload_finish_and_exits_with_0() {
    let root = tempfile::tempdir().expect("temporary directory");
    let mut server = Server::start(root.path());
    let session = server.log_in();
    assert_eq!(session.swift("PUT", "/c", b"").expect("an answer").status, 201);
    let mut upload = connect(&server.gateway).expect("a connection");
    let head = format!(
        "PUT {}/c/slow HTTP/1.1\r\nhost: a\r\nx-auth-token: {}\r\ncontent-length: 11\r\n\r\nhello ",
        session.account, session.token
    );
    upload.write_all(head.as_bytes()).expect("taken");
    // An idle kept-alive connection must not hold the server up.
    let _idle = connect(&server.gateway).expect("a connection");
    std::thread::sleep(Duration::from_millis(300));
    server.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(500));
    assert!(connect(&server.gateway).is_err(), "a server that drains takes new connections");
    upload.write_all(b"world").expect("taken");
    assert_eq!(read_answer(upload).expect("an answer").status, 201);
    assert!(server.wait().success());
    assert!(!root.path().join("control.sock").exists());

    let server = Server::start(root.path());
    let session = server.log_in();
    assert_eq!(session.swift("GET", "/c/slow", b"").expect("an answer").text(), "hello world");
}

#[test]
fn a_restart_keeps_identity_objects_and_credentials_on_another_port() {
    let root = tempfile::tempdir().expect("temporary directory");
    let server = Server::start(root.path());
    let (before, cluster) = (server.log_in(), server.status()["cluster"].clone());
    assert_eq!(before.swift("PUT", "/kept", b"").expect("an answer").status, 201);
    assert_eq!(before.swift("PUT", "/kept/object", b"content").expect("an answer").status, 201);
    let old = server.gateway.clone();
    // The old port stays taken, so that the next server has another one.
    assert!(server.terminate().success());
    let _taken = std::net::TcpListener::bind(&old).expect("the port is free again");
    let server = Server::start(root.path());
    assert_ne!(server.gateway, old);
    assert_eq!(server.status()["cluster"], cluster);
    let after = server.log_in();
    assert_eq!(after.project, before.project);
    assert_eq!(after.swift("GET", "/kept/object", b"").expect("an answer").text(), "content");
    let clouds = std::fs::read_to_string(root.path().join("credentials/clouds.yaml")).expect("clouds.yaml");
    assert!(clouds.contains(&server.gateway) && !clouds.contains(&old), "clouds.yaml names the old port");
    let headers = [("x-auth-token", after.token.as_str())];
    let catalog = request(&server.gateway, "GET", "/identity/v3/auth/catalog", &headers, b"").expect("an answer");
    assert!(catalog.text().contains(&server.gateway) && !catalog.text().contains(&old), "{}", catalog.text());
}

#[test]
fn a_second_process_on_the_same_data_is_refused_and_says_why() {
    let root = tempfile::tempdir().expect("temporary directory");
    let server = Server::start(root.path());
    let second = command(root.path()).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains("is in use by another anello process"), "{text}");
    assert_eq!(get(&server.gateway, "/readyz").status, 200);
}

#[test]
fn a_taken_port_or_a_wrong_option_is_said_at_once() {
    let root = tempfile::tempdir().expect("temporary directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
        let data = root.path().to_str().expect("text");
        let output = command.arg("serve").args(["--data", data]).args(arguments).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let config = root.path().join("anello.toml");
    std::fs::write(&config, "[gateway]\nlistne = \"127.0.0.1:1\"\n").expect("written");
    for (arguments, code, complaint) in [
        (vec!["--listen", &address, "--s3-listen", "127.0.0.1:0"], 1, "cannot listen on"),
        (vec!["--listen", "127.0.0.1"], 2, "invalid value"),
        (vec!["--image-listen", "127.0.0.1:0"], 2, "unexpected argument"),
        (vec!["--config", config.to_str().expect("text")], 1, "unknown field `listne`"),
        (vec!["--config", "/nowhere/anello.toml"], 1, "cannot read /nowhere/anello.toml"),
    ] {
        let (found, text) = run(&arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(complaint), "{arguments:?}: {text}");
    }
}

#[test]
fn metrics_are_shown_to_this_host_only_unless_they_are_opened() {
    // An address of this machine that is not the loopback; connecting a datagram socket sends nothing.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let outside = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr());
    let Some(outside) = outside.ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback()) else {
        eprintln!("not tested: this machine has no address but the loopback");
        return;
    };
    for (access, status) in [("loopback", 403), ("any", 200)] {
        let root = tempfile::tempdir().expect("temporary directory");
        let config = root.path().join("anello.toml");
        std::fs::write(&config, format!("[gateway]\nmetrics_access = \"{access}\"\n")).expect("written");
        let data = root.path().join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
        command.arg("serve").arg("--config").arg(&config).arg("--data").arg(&data);
        command.args(["--listen", "0.0.0.0:0", "--s3-listen", "127.0.0.1:0"]).stdout(Stdio::null());
        let server = Server::start_with(&data, command);
        let port = server.gateway.rsplit(':').next().expect("a port");
        assert_eq!(get(&format!("{outside}:{port}"), "/metrics").status, status, "{access}");
        assert_eq!(get(&format!("127.0.0.1:{port}"), "/metrics").status, 200, "{access}");
    }
}

#[test]
fn status_shows_the_cluster_and_its_devices_and_says_when_nothing_runs() {
    let root = tempfile::tempdir().expect("temporary directory");
    let status = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
        command.arg("status").args(arguments).arg("--data").arg(root.path()).output().expect("it runs")
    };
    let none = status(&[]);
    assert_eq!(none.status.code(), Some(1));
    let text = String::from_utf8_lossy(&none.stderr);
    assert!(text.contains("no server is running on"), "{text}");
    let server = Server::start(root.path());
    let text = String::from_utf8(status(&[]).stdout).expect("text");
    for part in ["ready", &server.gateway, "(this host only)", root.path().to_str().expect("text"), "in-service"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let json: serde_json::Value = serde_json::from_slice(&status(&["--json"]).stdout).expect("JSON");
    assert_eq!(json["store"]["devices"].as_array().map(Vec::len), Some(1));
    let daemons = json["store"]["daemons"].as_array().expect("a list").iter();
    let names: Vec<_> = daemons.map(|daemon| daemon["name"].as_str().expect("a name")).collect();
    let metrics = get(&server.gateway, "/metrics").text();
    for name in ["compactor", "auditor", "expirer", "tombstone reclaimer", "part reaper", "part sweeper"] {
        assert!(names.contains(&name) && text.contains(name), "{name:?} is not in {names:?}:\n{text}");
        let series = format!("anello_daemon_passes_total{{daemon=\"{name}\"");
        assert!(metrics.contains(&series), "{series} is not in:\n{metrics}");
    }
}

#[test]
fn a_device_is_inspected_verified_and_rebuilt_only_while_no_server_has_it() {
    let root = tempfile::tempdir().expect("temporary directory");
    let device = |command: &str| {
        let mut anello = Command::new(env!("CARGO_BIN_EXE_anello"));
        anello.args(["device", command, "--json"]).arg(root.path()).output().expect("it runs")
    };
    let json = |command: &str| -> serde_json::Value {
        let output = device(command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let server = Server::start(root.path());
    let session = server.log_in();
    assert_eq!(session.swift("PUT", "/c", b"").expect("an answer").status, 201);
    assert_eq!(session.swift("PUT", "/c/small", b"content").expect("an answer").status, 201);
    let large = vec![7; 900_000];
    assert_eq!(session.swift("PUT", "/c/large", &large).expect("an answer").status, 201);
    for command in ["inspect", "verify", "rebuild-index"] {
        let output = device(command);
        assert_eq!(output.status.code(), Some(1), "{command} on a device in use");
    }
    assert_eq!(session.swift("GET", "/c/small", b"").expect("an answer").text(), "content");
    let cluster = server.status()["cluster"].clone();
    assert!(server.terminate().success());

    assert_eq!(json("inspect")["cluster_id"], cluster);
    assert_eq!(json("verify")["problem_count"], 0);
    assert!(json("rebuild-index")["records"].as_u64().is_some_and(|records| records > 3));
    assert_eq!(json("verify")["problem_count"], 0);

    let server = Server::start(root.path());
    let session = server.log_in();
    assert_eq!(session.swift("GET", "/c/small", b"").expect("an answer").text(), "content");
    assert!(session.swift("GET", "/c/large", b"").expect("an answer").body == large);
    assert_eq!(session.swift("GET", "/c", b"").expect("an answer").text(), "large\nsmall\n");
}
