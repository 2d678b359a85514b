//! What an operator relies on from `anello user|project|role|key|identity`: each job is one command on the machine.

mod harness;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Server, command};
use serde_json::Value;

/// Runs a command; its output, or what it complains of.
fn anello(data: &Path, words: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
    command.args(words).arg("--data").arg(data).env_remove("ANELLO_CONFIG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let done = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

fn json(data: &Path, words: &[&str]) -> Value {
    let text = anello(data, &[words, &["--json"]].concat(), "").expect("done");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn an_s3_key_for_a_new_user_is_one_command_and_ends_with_another() {
    let root = tempfile::tempdir().expect("temporary directory");
    let data = root.path().join("data");
    let _server = Server::start(&data);
    let made = json(&data, &["key", "create", "--user", "alice", "--project", "photos", "--create"]);
    let access = made["access"].as_str().expect("an access key");
    assert!(made["secret"].is_string() && made["password"].is_string(), "{made}");
    let again = anello(&data, &["key", "create", "--user", "alice"], "").expect("his only project is known");
    assert!(again.starts_with("export AWS_ACCESS_KEY_ID='"), "{again}");
    let holders = json(&data, &["role", "holders"]);
    let of_alice = holders.as_array().expect("a list").iter().filter(|line| line["user"] == "alice").count();
    assert_eq!(of_alice, 2, "member, and what it implies: {holders}");
    let keys = json(&data, &["key", "list", "--user", "alice"]);
    assert_eq!(keys.as_array().map(Vec::len), Some(2));
    assert!(!keys.to_string().contains("secret"), "{keys}");
    anello(&data, &["key", "delete", access, "--user", "alice"], "").expect("deleted");
    let error = anello(&data, &["key", "delete", access, "--user", "alice"], "").expect_err("gone");
    assert!(error.contains("Could not find credential"), "{error}");
}

#[test]
fn users_are_made_given_passwords_and_shut_out() {
    let root = tempfile::tempdir().expect("temporary directory");
    let data = root.path().join("data");
    let _server = Server::start(&data);
    anello(&data, &["user", "create", "bob", "--password-stdin"], "bob's own\n").expect("made");
    let error = anello(&data, &["user", "create", "bob"], "").expect_err("one of the name");
    assert!(error.contains("two of the name bob"), "{error}");
    anello(&data, &["project", "create", "demo"], "").expect("made");
    anello(&data, &["role", "add", "reader", "--user", "bob", "--project", "demo"], "").expect("given");
    anello(&data, &["role", "remove", "reader", "--user", "bob", "--project", "demo"], "").expect("taken");
    anello(&data, &["user", "disable", "bob"], "").expect("disabled");
    let users = json(&data, &["user", "list"]);
    let bob = users.as_array().expect("a list").iter().find(|user| user["name"] == "bob").expect("bob");
    assert_eq!(bob["enabled"], false);
    anello(&data, &["user", "enable", "bob"], "").expect("enabled");
    assert_eq!(anello(&data, &["user", "set-password", "bob"], "").expect("set").trim().len(), 24);
    anello(&data, &["user", "delete", "bob"], "").expect("deleted");
    let error = anello(&data, &["user", "delete", "bob"], "").expect_err("gone");
    assert!(error.contains("there is no user \"bob\""), "{error}");
}

#[test]
fn tokens_outlive_a_rotation_and_a_move_to_a_database() {
    let root = tempfile::tempdir().expect("temporary directory");
    let data = root.path().join("data");
    let server = Server::start(&data);
    let session = server.log_in();
    for kind in ["token", "receipt", "credential", "credential", "credential"] {
        let told = anello(&data, &["identity", "rotate-keys", "--kind", kind], "").expect("rotated");
        assert_eq!(told.contains("1 records were sealed anew"), kind == "credential", "{told}");
    }
    anello(&data, &["identity", "rotate-keys", "--kind", "other"], "").expect_err("no such keys");
    assert_eq!(session.swift("PUT", "/c", b"").expect("an answer").status, 201);
    let url = format!("sqlite://{}?mode=rwc", root.path().join("identity.db").display());
    let told = anello(&data, &["identity", "migrate", "-"], &format!("{url}\n")).expect("copied");
    assert!(told.contains("records were copied"), "{told}");
    let error = anello(&data, &["user", "create", "late"], "").expect_err("nothing is changed any more");
    assert!(error.contains("moved to another back end"), "{error}");
    assert!(server.terminate().success());
    let config = root.path().join("anello.toml");
    std::fs::write(&config, format!("[identity]\ndatabase = \"{url}\"\n")).expect("written");
    let mut serve = command(&data);
    serve.arg("--config").arg(&config);
    let server = Server::start_with(&data, serve);
    let again = server.log_in();
    assert_eq!(again.swift("GET", "", b"").expect("an answer").status, 200);
    anello(&data, &["user", "create", "late"], "").expect("and changes again");
}

#[test]
fn the_users_of_a_domain_move_into_a_database_of_its_own_and_back() {
    let root = tempfile::tempdir().expect("temporary directory");
    let data = root.path().join("data");
    let config = root.path().join("anello.toml");
    let url = format!("sqlite://{}?mode=rwc", root.path().join("company.db").display());
    std::fs::write(&config, format!("[identity.databases]\ncompany = \"{url}\"\n")).expect("written");
    let serve = || {
        let mut serve = command(&data);
        serve.arg("--config").arg(&config);
        Server::start_with(&data, serve)
    };
    let server = serve();
    anello(&data, &["user", "create", "bob"], "").expect("created");
    let move_to = |to: &str| anello(&data, &["identity", "migrate", "--domain", "Default", to], "");
    let error = move_to("unheard-of").expect_err("no such database");
    assert!(error.contains("no database unheard-of"), "{error}");
    assert_eq!(move_to("company").expect("moved"), "2 users and groups of Default are in company now\n");
    let error = move_to("company").expect_err("they are there");
    assert!(error.contains("there already"), "{error}");
    assert_eq!(server.log_in().swift("GET", "", b"").expect("an answer").status, 204);
    assert!(server.terminate().success());
    let server = serve();
    anello(&data, &["user", "disable", "bob"], "").expect("changed there");
    assert_eq!(move_to("main").expect("moved"), "2 users and groups of Default are in main now\n");
    let users = json(&data, &["user", "list"]);
    let bob = users.as_array().expect("a list").iter().find(|user| user["name"] == "bob").expect("bob");
    assert_eq!(bob["enabled"], false);
    assert_eq!(server.log_in().swift("GET", "", b"").expect("an answer").status, 204);
}
