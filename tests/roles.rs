//! A cluster of hosts with different roles: what each serves and what it doesn't, real clients through a proxy that
//! keeps no data, hosts that come and go, and roles that fit nowhere. The environment variable `ANELLO_TEST_PYTHON`
//! names a Python that can import `boto3` and beside which the `swift` client lies; `./dev test` sets it.

mod harness;

use std::collections::HashMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::host::{self, Host};
use harness::{Answer, Server, request};
use serde_json::Value;

/// Objects of the sizes that take different ways; the arguments are the endpoint, `put` or `get`, and a prefix.
const BOTO: &str = r#"
import sys, boto3
endpoint, what, prefix = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint)
for size in [0, 100, 5000, 400_000, 9_000_000]:
    name, data = f"{prefix}/{size}", (f"{prefix} {size} ".encode() * (size // 4 + 1))[:size]
    if what == "put":
        s3.put_object(Bucket="roles", Key=name, Body=data)
    assert s3.get_object(Bucket="roles", Key=name)["Body"].read() == data, name
listed = s3.list_objects_v2(Bucket="roles", Prefix=f"{prefix}/")["Contents"]
assert len(listed) == 5, listed
"#;

/// Three hosts that keep data, a proxy, and a control host, which founds the cluster.
struct Cloud {
    root: tempfile::TempDir,
    /// In this order: the control host, those with data, the proxy.
    hosts: Vec<Host>,
    servers: Vec<Server>,
}

const CONTROL: usize = 0;
const STORAGE: [usize; 3] = [1, 2, 3];
const PROXY: usize = 4;

impl Cloud {
    fn start() -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let new = |number, role| Host::new(root.path(), number, &format!("roles = [\"{role}\"]"));
        let hosts = [new(CONTROL, "control")].into_iter();
        let hosts = hosts.chain(STORAGE.map(|number| new(number, "storage"))).chain([new(PROXY, "proxy")]);
        let hosts: Vec<Host> = hosts.collect();
        host::found(&hosts);
        let refusal = hosts[CONTROL].refused(&["serve"]);
        assert!(refusal.contains("gateway.public_url must say it"), "{refusal}");
        hosts[CONTROL].configure(CONTROL, &control_settings(&hosts[CONTROL], &hosts[PROXY]));
        let servers = host::start(&hosts);
        Self { root, hosts, servers }
    }

    /// What the founder's credential files say.
    fn variables(&self) -> HashMap<String, String> {
        let directory = self.hosts[CONTROL].data.join("credentials");
        let mut variables = HashMap::new();
        for file in ["openrc", "s3.env"] {
            let text = std::fs::read_to_string(directory.join(file)).expect("a credential file");
            for line in text.lines().filter_map(|line| line.strip_prefix("export ")) {
                let (name, value) = line.split_once('=').expect("a variable");
                variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
        }
        variables
    }

    /// Runs boto3 against an S3 address, and the swift client by the catalog.
    fn work(&self, s3: &str, what: &str, prefix: &str) {
        let Some(python) = python() else { return };
        let endpoint = format!("http://{s3}");
        self.client(Command::new(&python).args(["-c", BOTO, &endpoint, what, prefix]));
        let swift = python.with_file_name("swift");
        let file = self.root.path().join("content");
        std::fs::write(&file, prefix.repeat(1000)).expect("written");
        let name = format!("swift-{prefix}");
        if what == "put" {
            let upload = ["upload", "roles", "--object-name", &name].map(str::to_owned);
            self.client(Command::new(&swift).args(upload).arg(&file));
        }
        let text = self.client(Command::new(&swift).args(["download", "roles", &name, "--output", "-"]));
        assert_eq!(text, prefix.repeat(1000));
    }

    fn client(&self, client: &mut Command) -> String {
        let output = client.envs(self.variables()).env("AWS_EC2_METADATA_DISABLED", "true").output().expect("it runs");
        assert!(output.status.success(), "{client:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The founder is told where clients find what it doesn't serve itself.
fn control_settings(control: &Host, proxy: &Host) -> String {
    format!(
        "roles = [\"control\"]\ngateway.public_url = \"http://{}\"\ns3.public_url = \"http://{}\"\n\
         identity.public_url = \"http://{}/identity\"",
        proxy.gateway, proxy.s3, control.gateway
    )
}

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("ANELLO_TEST_PYTHON").filter(|path| !path.is_empty());
    if python.is_none() {
        eprintln!("SKIPPED in part: ANELLO_TEST_PYTHON names no Python that can import boto3");
    }
    python.map(PathBuf::from)
}

fn get(server: &Server, path: &str) -> Answer {
    request(&server.gateway, "GET", path, &[], b"").expect("an answer")
}

/// The hosts of the map and how many devices each has, as a host's own command shows it.
fn hosts_known_to(host: &Host) -> Vec<(String, u64)> {
    let status: Value = serde_json::from_str(&host.run(&["cluster", "status", "--json"])).expect("JSON");
    let hosts = status["store"]["cluster"]["hosts"].as_array().cloned().unwrap_or_default();
    let known =
        |host: &Value| (host["name"].as_str().unwrap_or("?").to_owned(), host["devices"].as_u64().unwrap_or(99));
    let mut hosts: Vec<_> = hosts.iter().map(known).collect();
    hosts.sort();
    hosts
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn each_host_serves_what_its_role_is_and_clients_work_through_a_proxy_without_data() {
    let mut cloud = Cloud::start();
    for (number, served, roots) in [
        (CONTROL, "/identity/v3", &["identity"][..]),
        (STORAGE[0], "", &[]),
        (PROXY, "/info", &["info", "object-store"]),
    ] {
        let server = &cloud.servers[number];
        for path in ["/identity/v3", "/info", "/v1/AUTH_a", "/healthcheck"] {
            let answer = get(server, path);
            match path == served || (served == "/info" && path != "/identity/v3") {
                true => assert_ne!(answer.status, 404, "host {number}: {path}"),
                false => {
                    assert_eq!(answer.status, 404, "host {number}: {path}");
                    assert!(answer.text().contains("hosts with the role"), "{}", answer.text());
                }
            }
        }
        for path in ["/healthz", "/readyz", "/metrics", "/recon/version"] {
            assert_eq!(get(server, path).status, 200, "host {number}: {path}");
        }
        let root: Value = serde_json::from_slice(&get(server, "/").body).expect("JSON");
        let named: Vec<&str> = root["roots"].as_object().expect("roots").keys().map(String::as_str).collect();
        assert_eq!(named, roots);
        let devices = serde_json::from_slice::<Value>(&get(server, "/recon/devices").body).expect("JSON");
        assert_eq!(devices["/"].as_array().map(Vec::len), Some(usize::from(number == STORAGE[0])));
        let has_s3 = TcpStream::connect(&cloud.hosts[number].s3).is_ok();
        assert_eq!(has_s3, number == PROXY, "host {number} listens for S3: {has_s3}");
    }
    let mut known =
        [("h0", 0), ("h1", 1), ("h2", 1), ("h3", 1), ("h4", 0)].map(|(name, n)| (name.to_owned(), n)).to_vec();
    assert_eq!(hosts_known_to(&cloud.hosts[PROXY]), known);
    let nobody = cloud.hosts[STORAGE[0]].refused(&["user", "list"]);
    assert!(nobody.contains("identity is not on this host"), "{nobody}");
    assert!(cloud.hosts[CONTROL].run(&["user", "list"]).contains("admin"));

    // The token is the control host's, the store is reached through the proxy.
    let admin = cloud.servers[CONTROL].log_in();
    let through = |server: &Server| admin.at(&server.gateway);
    through(&cloud.servers[PROXY]).wait_until_known();
    assert_eq!(through(&cloud.servers[PROXY]).swift("PUT", "/roles", b"").expect("an answer").status, 201);
    let proxy = cloud.hosts[PROXY].s3.clone();
    cloud.work(&proxy, "put", "all");

    let fallen = cloud.servers.remove(STORAGE[2]);
    fallen.kill();
    cloud.work(&proxy, "put", "two");
    cloud.work(&proxy, "get", "all");
    cloud.servers.insert(STORAGE[2], cloud.hosts[STORAGE[2]].start());

    // A second proxy comes, by way of a host that only keeps data, and goes.
    let second = Host::new(cloud.root.path(), 5, "roles = [\"proxy\"]");
    second.join(&cloud.hosts[STORAGE[1]].run(&["cluster", "token"]));
    let server = second.start();
    through(&server).wait_until_known();
    for prefix in ["all", "two"] {
        cloud.work(&second.s3, "get", prefix);
    }
    cloud.work(&second.s3, "put", "second");
    cloud.work(&proxy, "get", "second");
    known.push(("h5".into(), 0));
    until("everybody knows the second proxy", || cloud.hosts.iter().all(|host| hosts_known_to(host) == known));
    cloud.hosts[STORAGE[0]].run(&["cluster", "drain", "h5", "--wait"]);
    cloud.hosts[CONTROL].run(&["cluster", "remove", "h5", "--wait"]);
    drop(server);
    known.pop();
    until("it is gone", || cloud.hosts.iter().all(|host| hosts_known_to(host) == known));

    // A host that keeps data can't leave its devices behind; one that was drained can.
    let leaving = STORAGE[2];
    assert!(cloud.servers.remove(leaving).terminate().success());
    cloud.hosts[leaving].configure(leaving, "roles = [\"proxy\"]");
    let refusal = cloud.hosts[leaving].refused(&["serve"]);
    assert!(refusal.contains("it needs the role storage until it is drained"), "{refusal}");
    cloud.hosts[leaving].configure(leaving, "roles = [\"storage\"]");
    let again = cloud.hosts[leaving].start();
    let successor = Host::new(cloud.root.path(), 6, "roles = [\"storage\"]");
    successor.join(&cloud.hosts[PROXY].run(&["cluster", "token"]));
    let _successor = successor.start();
    cloud.hosts[PROXY].run(&["cluster", "drain", "h3", "--wait"]);
    assert!(again.terminate().success());
    cloud.hosts[leaving].configure(leaving, "roles = [\"proxy\"]");
    let _proxy = cloud.hosts[leaving].start();
    until("it has no device any more", || hosts_known_to(&cloud.hosts[PROXY])[leaving].1 == 0);
    for prefix in ["all", "two", "second"] {
        cloud.work(&cloud.hosts[leaving].s3, "get", prefix);
    }
}

/// The smallest cluster: its only device is another host's to the proxy, and not the only one for ever.
#[test]
fn a_proxy_before_a_single_device_serves_and_the_store_grows() {
    let root = tempfile::tempdir().expect("temporary directory");
    let mut hosts: Vec<Host> =
        [(0, ""), (1, "roles = [\"proxy\"]")].map(|(n, text)| Host::new(root.path(), n, text)).into();
    let urls = control_settings(&hosts[0], &hosts[1]).replace("[\"control\"]", "[\"storage\", \"control\"]");
    hosts[0].configure(0, &urls);
    host::found(&hosts);
    let mut servers = host::start(&hosts);
    let admin = servers[0].log_in().at(&servers[1].gateway);
    admin.wait_until_known();
    let ask = |method: &str, path: &str, body: &[u8]| admin.swift(method, path, body).expect("an answer");
    assert_eq!(ask("PUT", "/c", b"").status, 201);
    let bodies = [0, 5000, 400_000].map(|size| "x".repeat(size));
    for body in &bodies {
        let path = format!("/c/{}", body.len());
        assert_eq!(ask("PUT", &path, body.as_bytes()).status, 201);
        assert_eq!(ask("DELETE", &path, b"").status, 204);
        assert_eq!(ask("PUT", &path, body.as_bytes()).status, 201);
    }
    let are_there = || {
        let got = bodies.each_ref().map(|body| ask("GET", &format!("/c/{}", body.len()), b"").body.len());
        got == [0, 5000, 400_000]
    };
    assert!(are_there() && ask("GET", "/c", b"").text().lines().count() == 3);

    hosts.push(Host::new(root.path(), 2, "roles = [\"storage\"]"));
    hosts[2].join(&hosts[1].run(&["cluster", "token"]));
    servers.push(hosts[2].start());
    let copies = || {
        let report: Value = serde_json::from_str(&hosts[0].run(&["cluster", "dispersion", "--json"])).expect("JSON");
        let rings = report["rings"].as_array().cloned().unwrap_or_default();
        let is_whole = |ring: &Value| {
            ring["found"] == ring["copies"] && ring["copies"].as_u64() == ring["partitions"].as_u64().map(|it| 2 * it)
        };
        !rings.is_empty() && rings.iter().all(is_whole)
    };
    until("both devices have everything", copies);
    // What the first one had is on the second: the first can go.
    drop(servers.remove(0));
    until("the second alone answers", are_there);
}

/// Without this the cluster waits for ever, or a host is the home of a store that nobody can use.
#[test]
fn roles_that_fit_nowhere_are_refused_at_the_start() {
    let root = tempfile::tempdir().expect("temporary directory");
    let alone = Host::new(root.path(), 0, "");
    for roles in ["proxy", "control", "proxy,control", "storage"] {
        let refusal = alone.refused(&["serve", "--role", roles]);
        assert!(refusal.contains("needs the role storage and another"), "{roles}: {refusal}");
    }
    let refusal = alone.refused(&["serve", "--role", "storage", "--role", "control", "--s3-listen", "127.0.0.1:0"]);
    assert!(refusal.contains("--s3-listen is for a host with the role proxy"), "{refusal}");
    assert!(alone.refused(&["serve", "--role", "gateway"]).contains("possible values: storage, proxy, control"));
    assert!(!alone.data.exists(), "a refused start leaves nothing");

    let hosts = [0, 1].map(|number| Host::new(root.path(), number, "roles = [\"proxy\", \"control\"]"));
    host::found(&hosts);
    // The other one waits until it is told of the map.
    let mut other = hosts[1].serve().spawn().expect("it starts");
    let refusal = hosts[0].refused(&["serve"]);
    other.kill().and_then(|()| other.wait()).expect("it ends");
    assert!(refusal.contains("none of the hosts has a device"), "{refusal}");
}

/// A store whose identity is here and whose objects nobody reaches: what an identity host is.
#[test]
fn one_host_alone_may_leave_out_the_proxy_or_the_control() {
    let root = tempfile::tempdir().expect("temporary directory");
    let start = |number, roles: &str, settings: &str| {
        let host = Host::new(root.path(), number, settings);
        let mut serve = host.serve();
        serve.args(["--role", roles]);
        (Server::start_with(&host.data, serve), host)
    };
    let urls = "gateway.public_url = \"http://h\"\ns3.public_url = \"http://h\"\nidentity.public_url = \"http://h/id\"";
    let (server, host) = start(0, "storage,control", urls);
    assert_eq!((get(&server, "/identity/v3").status, get(&server, "/info").status), (200, 404));
    assert!(openrc(&host.data).contains("OS_AUTH_URL='http://h/id/v3'"));
    let (server, _) = start(1, "storage,proxy", urls);
    assert_eq!((get(&server, "/identity/v3").status, get(&server, "/info").status), (404, 200));
}

fn openrc(data: &Path) -> String {
    std::fs::read_to_string(data.join("credentials/openrc")).expect("openrc")
}
