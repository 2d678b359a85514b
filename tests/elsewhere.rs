//! What holds where identity is another host's, asked over HTTP: the same tokens, what is taken away there ends here,
//! and a host that can't ask says 503 and never that somebody is nobody.

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Answer, Server, Session, command, request};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Far behind any bound of the servers.
const PATIENCE: Duration = Duration::from_secs(60);

/// An identity host, and what a second one is configured with.
struct Cloud {
    root: tempfile::TempDir,
    identity: Server,
    admin: Session,
}

impl Cloud {
    /// Starts the identity host and makes the service user there.
    fn start() -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let identity = Server::start(&root.path().join("identity"));
        let cloud = Self { admin: identity.log_in(), identity, root };
        cloud.person("anello", "service password");
        let (user, reader) = (cloud.id_of("users", "anello"), cloud.id_of("roles", "reader"));
        cloud.change("PUT", &format!("/system/users/{user}/roles/{reader}"), 204);
        std::fs::write(cloud.password_file(), "service password\n").expect("written");
        cloud
    }

    fn password_file(&self) -> PathBuf {
        self.root.path().join("password")
    }

    /// The command line of a host that asks, which remembers answers for so long.
    fn asking(&self, name: &str, cache_seconds: u32) -> (PathBuf, Command) {
        let url = format!("http://{}/identity", self.identity.gateway);
        asking(self.root.path(), name, &format!("url = \"{url}\"\ncache_seconds = {cache_seconds}\n"))
    }

    fn keystone(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("x-auth-token", self.admin.token.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/identity/v3{path}");
        request(&self.identity.gateway, method, &path, &headers, body.as_bytes()).expect("an answer")
    }

    fn change(&self, method: &str, path: &str, status: u16) {
        let answer = self.keystone(method, path, &Value::Null);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }

    fn id_of(&self, kind: &str, name: &str) -> String {
        let found: Value =
            serde_json::from_slice(&self.keystone("GET", &format!("/{kind}?name={name}"), &Value::Null).body)
                .expect("JSON");
        found[kind][0]["id"].as_str().unwrap_or_else(|| panic!("{name} is none of {kind}: {found}")).to_owned()
    }

    fn person(&self, name: &str, password: &str) {
        let user = json!({"user": {"name": name, "domain_id": "default", "password": password}});
        assert_eq!(self.keystone("POST", "/users", &user).status, 201);
    }

    /// Path of the grant of `member` on the administrator's project.
    fn membership(&self, name: &str) -> String {
        let (user, member) = (self.id_of("users", name), self.id_of("roles", "member"));
        format!("/projects/{}/users/{user}/roles/{member}", self.admin.project)
    }

    fn log_in(&self, identity: &Value) -> (String, Value) {
        let body = match identity["methods"][0] == "password" {
            true => json!({"auth": {"identity": identity, "scope": {"project": {"id": self.admin.project}}}}),
            false => json!({"auth": {"identity": identity}}),
        };
        let answer = self.keystone("POST", "/auth/tokens", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token = answer.header("x-subject-token").expect("a token").to_owned();
        (token, serde_json::from_slice(&answer.body).expect("JSON"))
    }

    fn token_of(&self, name: &str, password: &str) -> String {
        let user = json!({"name": name, "password": password, "domain": {"id": "default"}});
        self.log_in(&json!({"methods": ["password"], "password": {"user": user}})).0
    }
}

fn asking(root: &Path, name: &str, remote: &str) -> (PathBuf, Command) {
    let (data, config) = (root.join(name), root.join(format!("{name}.toml")));
    let password_file = root.join("password");
    let text = format!("[identity.remote]\nuser = \"anello\"\npassword_file = {password_file:?}\n{remote}");
    std::fs::write(&config, text).expect("written");
    let mut serve = command(&data);
    serve.arg("--config").arg(&config);
    (data, serve)
}

/// The status of a request with a token.
fn status(server: &Server, token: &str, method: &str, path: &str) -> u16 {
    let answer = request(&server.gateway, method, path, &[("x-auth-token", token)], b"").expect("an answer");
    assert_ne!(answer.status, 500, "{}", answer.text());
    answer.status
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn tokens_of_another_host_count_until_it_takes_them_back() {
    let cloud = Cloud::start();
    let (data, serve) = cloud.asking("second", 1);
    let second = Server::start_with(&data, serve);
    let account = &cloud.admin.account;
    assert_eq!(status(&second, &cloud.admin.token, "PUT", &format!("{account}/c")), 201);
    assert_eq!(status(&cloud.identity, &cloud.admin.token, "GET", &format!("{account}/c")), 404, "a store of its own");
    assert_eq!(status(&second, "gAAAAnonsense", "GET", account), 401);
    assert_eq!(status(&second, "\u{fffd}", "GET", account), 401);

    cloud.person("alice", "pass word");
    let membership = cloud.membership("alice");
    cloud.change("PUT", &membership, 204);
    let alice = cloud.token_of("alice", "pass word");
    assert_eq!(status(&second, &alice, "GET", &format!("{account}/c")), 204);
    cloud.change("DELETE", &membership, 204);
    until("a role that is taken away", || status(&second, &alice, "GET", account) == 401);
    cloud.change("PUT", &membership, 204);
    until("and given back", || status(&second, &alice, "GET", account) == 200);
    let headers = [("x-auth-token", cloud.admin.token.as_str()), ("x-subject-token", &alice)];
    request(&cloud.identity.gateway, "DELETE", "/identity/v3/auth/tokens", &headers, b"").expect("an answer");
    until("a revoked token", || status(&second, &alice, "GET", account) == 401);

    let alice = cloud.token_of("alice", "pass word");
    assert_eq!(status(&second, &alice, "GET", account), 200);
    let path = format!("/users/{}", cloud.id_of("users", "alice"));
    assert_eq!(cloud.keystone("PATCH", &path, &json!({"user": {"enabled": false}})).status, 200);
    until("a disabled user", || status(&second, &alice, "GET", account) == 401);
}

#[test]
fn access_rules_of_another_host_hold() {
    let cloud = Cloud::start();
    let (data, serve) = cloud.asking("second", 5);
    let second = Server::start_with(&data, serve);
    let account = &cloud.admin.account;
    let path = format!("{account}/open");
    assert_eq!(status(&second, &cloud.admin.token, "PUT", &path), 201);
    let rules = json!([{"service": "object-store", "method": "GET", "path": path}]);
    let user = cloud.id_of("users", "admin");
    let body = json!({"application_credential": {"name": "one", "access_rules": rules}});
    let made = cloud.keystone("POST", &format!("/users/{user}/application_credentials"), &body);
    let made: Value = serde_json::from_slice(&made.body).expect("JSON");
    let proof = json!({"id": made["application_credential"]["id"], "secret": made["application_credential"]["secret"]});
    let (token, _) = cloud.log_in(&json!({"methods": ["application_credential"], "application_credential": proof}));
    assert_eq!(status(&second, &token, "GET", &path), 204);
    for (method, path) in [("PUT", path.clone()), ("GET", format!("{path}2")), ("GET", account.clone())] {
        assert_eq!(status(&second, &token, method, &path), 401, "{method} {path}");
    }
}

#[test]
fn while_identity_is_down_known_tokens_go_on_and_the_others_are_503() {
    let mut cloud = Cloud::start();
    let (patient_data, serve) = cloud.asking("patient", 300);
    let patient = Server::start_with(&patient_data, serve);
    let (strict_data, serve) = cloud.asking("strict", 1);
    let strict = Server::start_with(&strict_data, serve);
    let (account, known) = (cloud.admin.account.clone(), cloud.admin.token.clone());
    cloud.person("alice", "pass word");
    cloud.change("PUT", &cloud.membership("alice"), 204);
    let unknown = cloud.token_of("alice", "pass word");
    for server in [&patient, &strict] {
        assert_eq!(status(server, &known, "PUT", &format!("{account}/c")), 201);
    }

    cloud.identity.signal(Signal::TERM);
    assert!(cloud.identity.wait().success());
    until("an answer that has become too old", || status(&strict, &known, "GET", &account) == 503);
    assert_eq!(status(&patient, &known, "GET", &account), 200);
    assert_eq!(status(&patient, &unknown, "GET", &account), 503);
    let date = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc2822).expect("a date");
    let headers = [("date", date.as_str()), ("authorization", "AWS AKIANOBODY:c2lnbmF0dXJlIG9mIDIwIGJ5dA==")];
    let answer = request(&patient.s3, "GET", "/", &headers, b"").expect("an answer");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("<Code>ServiceUnavailable</Code>"), "{}", answer.text());
    assert_eq!(request(&patient.gateway, "GET", "/readyz", &[], b"").expect("an answer").status, 200);
    let problem = strict.status()["identity"]["problem"].to_string();
    assert!(problem.contains("onnect"), "{problem}");

    let data = cloud.root.path().join("identity");
    let mut again = Command::new(env!("CARGO_BIN_EXE_anello"));
    again.args(["serve", "--listen", &cloud.identity.gateway, "--s3-listen", "127.0.0.1:0", "--data"]).arg(&data);
    cloud.identity = Server::start_with(&data, {
        again.stdout(Stdio::null());
        again
    });
    for (server, token) in [(&strict, &known), (&patient, &unknown)] {
        until("identity is back", || status(server, token, "GET", &account) == 200);
    }
    let answer = request(&patient.s3, "GET", "/", &headers, b"").expect("an answer");
    assert!(answer.text().contains("<Code>InvalidAccessKeyId</Code>"), "{}", answer.text());
}

#[test]
fn a_wrong_service_password_is_503_until_the_right_one_is_in_its_file() {
    let cloud = Cloud::start();
    std::fs::write(cloud.password_file(), "wrong").expect("written");
    let (data, serve) = cloud.asking("second", 5);
    let second = Server::start_until(&data, serve, "waiting for identity");
    let ready = || request(&second.gateway, "GET", "/readyz", &[], b"").expect("an answer");
    assert_eq!((ready().status, ready().text().as_str()), (503, "waiting for identity\n"));
    assert_eq!(status(&second, &cloud.admin.token, "GET", &cloud.admin.account), 503);
    until("status says why", || {
        let problem = second.status()["identity"]["problem"].to_string();
        problem.contains("log-in of the service user anello for the system is refused (401)")
    });
    std::fs::write(cloud.password_file(), "service password").expect("written");
    until("the file is read again", || ready().status == 200);
    assert_eq!(status(&second, &cloud.admin.token, "PUT", &format!("{}/c", cloud.admin.account)), 201);
}

#[test]
fn a_host_without_identity_of_its_own_says_where_it_is() {
    let cloud = Cloud::start();
    let (data, serve) = cloud.asking("second", 5);
    let second = Server::start_with(&data, serve);
    let url = format!("http://{}/identity", cloud.identity.gateway);
    assert_eq!(second.status()["identity"]["url"], url);
    let answer = request(&second.gateway, "GET", "/identity/v3", &[], b"").expect("an answer");
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("Identity is not served here"), "{}", answer.text());
    assert!(!request(&second.gateway, "GET", "/", &[], b"").expect("an answer").text().contains("identity"));
    assert!(!data.join("credentials").exists(), "an administrator was made");
    for words in [
        &["user", "list"][..],
        &["project", "list"],
        &["role", "holders"],
        &["key", "create", "--user", "a"],
        &["identity", "rotate-keys"],
        &["identity", "migrate", "objects"],
    ] {
        let mut anello = Command::new(env!("CARGO_BIN_EXE_anello"));
        let done = anello.args(words).arg("--data").arg(&data).env_remove("ANELLO_CONFIG").output().expect("it runs");
        let text = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && text.contains(&format!("at {url}")), "{words:?}: {text}");
    }
}

#[test]
fn identity_over_tls_is_asked_only_where_its_certificate_is_known() {
    let cloud = Cloud::start();
    assert!(cloud.identity.terminate().success());
    let root = cloud.root.path();
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let (certificate, key) = (root.join(format!("{name}.pem")), root.join(format!("{name}.key")));
        std::fs::write(&certificate, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        (certificate, key)
    };
    let ((own, key), (other, _)) = (certificate("own"), certificate("other"));
    let config = root.join("identity.toml");
    std::fs::write(&config, format!("[tls]\ncertificate = {own:?}\nkey = {key:?}\n")).expect("written");
    let data = root.join("identity");
    let mut serve = command(&data);
    serve.arg("--config").arg(&config);
    let identity = Server::start_with(&data, serve);
    let remote = |ca: &Path| format!("url = \"https://{}/identity/v3\"\nca_file = {ca:?}\n", identity.gateway);
    let (data, serve) = asking(root, "knows", &remote(&own));
    Server::start_with(&data, serve);
    let (data, serve) = asking(root, "doubts", &remote(&other));
    let doubts = Server::start_until(&data, serve, "waiting for identity");
    until("it says why", || doubts.status()["identity"]["problem"].to_string().contains("certificate"));
}
