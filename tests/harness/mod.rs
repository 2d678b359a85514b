//! A real `anello serve` on free ports with a data directory of its own, and the little HTTP that tests
//! need to talk to it. What a test starts ends with it, also when the test fails.

// Each test binary uses its own part of this.
#![allow(dead_code, reason = "shared by several test binaries")]

pub(crate) mod host;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A start replays at most what a test has written; the machine may be busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const END_TIMEOUT: Duration = Duration::from_secs(90);
const KNOWN_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const IO_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    /// `host:port` of the gateway.
    pub(crate) gateway: String,
    /// `host:port` of S3; empty where that is not served.
    pub(crate) s3: String,
}

/// The command line of a server on free ports of the loopback.
pub(crate) fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--data"]).arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, command(data))
    }

    /// Likewise, from a command line of its own.
    pub(crate) fn start_with(data: &Path, command: Command) -> Self {
        Self::start_until(data, command, "ready")
    }

    /// Likewise, until it is in this state.
    pub(crate) fn start_until(data: &Path, mut command: Command, state: &str) -> Self {
        let mut child = command.spawn().expect("the server starts");
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                panic!("the server ended while it started: {status}");
            }
            if let Some(status) =
                ask_control(data, "/status").and_then(|text| serde_json::from_str::<Value>(&text).ok())
                && status["pid"] == child.id()
                && status["state"] == state
            {
                let listeners = status["listeners"].as_array().expect("listeners");
                let address = |listener: &Value| {
                    let url = listener["url"].as_str().expect("a URL");
                    url.split_once("://").expect("a URL").1.to_owned()
                };
                let s3 = listeners.iter().find(|listener| listener["name"] == "S3");
                let s3 = s3.map(address).unwrap_or_default();
                return Self { gateway: address(&listeners[0]), s3, data: data.to_owned(), child };
            }
            assert!(Instant::now() < deadline, "the server is not {state} after {START_TIMEOUT:?}");
            std::thread::sleep(POLL);
        }
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What `anello status --json` shows.
    pub(crate) fn status(&self) -> Value {
        let text = ask_control(&self.data, "/status").expect("the control socket answers");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("the server is there");
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the end of a server that was told to.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + END_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server has not ended after {END_TIMEOUT:?}");
            std::thread::sleep(POLL);
        }
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the server is there");
        self.child.wait().expect("it ends");
    }

    /// A session of the administrator, by the credentials that the server wrote.
    pub(crate) fn log_in(&self) -> Session {
        let openrc = std::fs::read_to_string(self.data.join("credentials/openrc")).expect("openrc");
        let variable = |name: &str| {
            let line = openrc.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")));
            line.and_then(|rest| rest.strip_suffix('\''))
                .unwrap_or_else(|| panic!("{name} is not in openrc"))
                .to_owned()
        };
        let domain = json!({"name": variable("OS_USER_DOMAIN_NAME")});
        let user = json!({"name": variable("OS_USERNAME"), "password": variable("OS_PASSWORD"), "domain": domain});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": variable("OS_PROJECT_NAME"), "domain": domain}},
        }});
        let path = format!("{}/auth/tokens", variable("OS_AUTH_URL").split_once(&self.gateway).expect("our URL").1);
        let headers = [("content-type", "application/json")];
        let answer = request(&self.gateway, "POST", &path, &headers, body.to_string().as_bytes()).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let project = token["token"]["project"]["id"].as_str().expect("a project");
        Session {
            gateway: self.gateway.clone(),
            token: answer.header("x-subject-token").expect("a token").to_owned(),
            account: format!("/v1/AUTH_{project}"),
            project: project.to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A token and its account.
#[derive(Clone)]
pub(crate) struct Session {
    gateway: String,
    pub(crate) token: String,
    /// Path of the account.
    pub(crate) account: String,
    /// Id of the project.
    pub(crate) project: String,
}

impl Session {
    /// The same session through another host's gateway.
    pub(crate) fn at(&self, gateway: &str) -> Self {
        Self { gateway: gateway.to_owned(), ..self.clone() }
    }

    /// Waits until the host asked knows the token: what identity keeps is seen by the other hosts some seconds later.
    pub(crate) fn wait_until_known(&self) {
        let deadline = Instant::now() + KNOWN_TIMEOUT;
        while self.swift("HEAD", "", b"").expect("an answer").status == 401 {
            assert!(Instant::now() < deadline, "the token is not known everywhere after {KNOWN_TIMEOUT:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A Swift request below the account; an error where the server went away.
    pub(crate) fn swift(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Answer> {
        let path = format!("{}{path}", self.account);
        request(&self.gateway, method, &path, &[("x-auth-token", &self.token)], body)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// One request on a connection of its own.
pub(crate) fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = connect(address)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    if !body.is_empty() || matches!(method, "PUT" | "POST") {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    read_answer(stream)
}

/// A connection to the server.
pub(crate) fn connect(address: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads an answer to the connection's end. One that is cut short is an error: a server that is killed
/// must not look as if it had answered.
pub(crate) fn read_answer(mut stream: impl Read) -> std::io::Result<Answer> {
    let broken = |what: &str| std::io::Error::new(std::io::ErrorKind::UnexpectedEof, what.to_owned());
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(|| broken("no head"))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let body = bytes.split_off(end + 4);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| broken("no status"))?;
    let mut answer = Answer { status, head, body };
    if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        answer.body = unchunk(&answer.body).ok_or_else(|| broken("a chunk is cut"))?;
    } else if let Some(length) = answer.header("content-length").and_then(|value| value.parse::<usize>().ok())
        && !answer.body.is_empty()
        && answer.body.len() != length
    {
        return Err(broken("the body is cut"));
    }
    Ok(answer)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 4 + length..)?;
    }
}

/// An answer of the control socket's; `None` where nobody listens.
fn ask_control(data: &Path, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(data.join("control.sock")).ok()?;
    stream.set_read_timeout(Some(IO_TIMEOUT)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: control\r\n\r\n").ok()?;
    let answer = read_answer(stream).ok()?;
    (answer.status == 200).then(|| answer.text())
}
