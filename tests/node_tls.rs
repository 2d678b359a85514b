//! TLS between hosts: a cluster whose hosts show each other certificates, what is refused there, how an operator who has
//! forgotten half of it learns that, and certificates that are replaced while everything goes on.

mod harness;

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::host::{self, Host};
use harness::{Answer, Server, read_answer, request};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const PATIENCE: Duration = Duration::from_secs(60);

/// An authority, which issues hosts' certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed"))
    }

    fn issue(&self, address: &str, files: &Files) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![address.to_owned()]).expect("parameters");
        let made = params.signed_by(&key, &self.0).expect("signed");
        std::fs::write(&files.certificate, made.pem()).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
    }
}

/// A host's three files.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

impl Files {
    fn new(root: &Path, name: &str) -> Self {
        let [certificate, key, ca] = ["crt", "key", "ca"].map(|kind| root.join(format!("{name}.{kind}")));
        Self { certificate, key, ca }
    }

    fn trust(&self, authorities: &[&Authority]) {
        let all: String = authorities.iter().map(|authority| authority.0.pem()).collect();
        std::fs::write(&self.ca, all).expect("written");
    }

    fn settings(&self) -> String {
        let Self { certificate, key, ca } = self;
        format!("cluster.tls = {{ certificate = {certificate:?}, key = {key:?}, ca = {ca:?} }}")
    }
}

struct Cluster {
    root: tempfile::TempDir,
    authority: Authority,
    files: Vec<Files>,
    hosts: Vec<Host>,
    servers: Vec<Server>,
}

impl Cluster {
    fn start() -> Self {
        let (root, authority) = (tempfile::tempdir().expect("temporary directory"), Authority::new("first"));
        let files: Vec<Files> = (0..3).map(|number| Files::new(root.path(), &format!("h{number}"))).collect();
        for files in &files {
            authority.issue("127.0.0.1", files);
            files.trust(&[&authority]);
        }
        let host = |(number, files): (usize, &Files)| Host::new(root.path(), number, &files.settings());
        let hosts: Vec<Host> = files.iter().enumerate().map(host).collect();
        host::found(&hosts);
        let servers = host::start(&hosts);
        Self { root, authority, files, hosts, servers }
    }

    /// Writes through each host and reads through the next.
    fn works(&self, prefix: &str) {
        let admin = self.servers[0].log_in();
        let sessions: Vec<_> = self.servers.iter().map(|server| admin.at(&server.gateway)).collect();
        sessions.iter().for_each(harness::Session::wait_until_known);
        assert!(matches!(sessions[0].swift("PUT", "/c", b"").expect("an answer").status, 201 | 202));
        for (at, size) in [0, 5000, 400_000].into_iter().enumerate() {
            let (path, body) = (format!("/c/{prefix}{at}"), prefix.repeat(size));
            assert_eq!(sessions[at].swift("PUT", &path, body.as_bytes()).expect("an answer").status, 201, "{path}");
            let got = sessions[(at + 1) % 3].swift("GET", &path, b"").expect("an answer");
            assert!(got.status == 200 && got.body == body.as_bytes(), "{path}: {}", got.status);
        }
    }

    /// Certificates and authorities are read again.
    fn reload(&self) {
        self.servers.iter().for_each(|server| server.signal(Signal::HUP));
        // Connections that are kept end within five seconds of rest; the new files are what is tried.
        std::thread::sleep(Duration::from_secs(6));
    }

    /// What a host that tries to join says on standard error while it can't.
    fn says_at_join(&self, number: usize, settings: &str, wanted: &str) {
        let host = Host::new(self.root.path(), number, settings);
        host.join(&self.hosts[0].run(&["cluster", "token"]));
        let log = self.root.path().join(format!("log{number}"));
        let mut serve = host.serve();
        serve.stderr(std::fs::File::create(&log).expect("created"));
        let mut server = serve.spawn().expect("it starts");
        let said = until(|| std::fs::read_to_string(&log).is_ok_and(|text| text.contains(wanted)));
        server.kill().and_then(|()| server.wait()).expect("it ends");
        assert!(said, "{wanted:?} is not in {}", std::fs::read_to_string(&log).expect("text"));
    }
}

fn until(holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    true
}

/// One HTTP request over TLS, with the certificate of these files or none.
fn over_tls(address: &str, trusted: &Files, shown: Option<&Files>) -> std::io::Result<Answer> {
    let read = |path: &Path| CertificateDer::from_pem_file(path).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(read(&trusted.ca)).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots);
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(files) => {
            let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
            config.with_client_auth_cert(vec![read(&files.certificate)], key).expect("they fit")
        }
    };
    let name = "127.0.0.1".try_into().expect("a name");
    let session = rustls::ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(session, TcpStream::connect(address)?);
    write!(stream, "POST /node/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")?;
    read_answer(stream)
}

#[test]
fn only_hosts_with_a_certificate_are_talked_to_and_who_forgot_it_is_told() {
    let mut cluster = Cluster::start();
    cluster.works("first");
    let node = cluster.hosts[1].node.clone();
    let plain = request(&node, "POST", "/node/1", &[("x-anello-nonce", &"0".repeat(32))], b"hello").expect("an answer");
    assert_eq!((plain.status, plain.body.len()), (426, 0));
    let stranger = Files::new(cluster.root.path(), "stranger");
    let other = Authority::new("other");
    other.issue("127.0.0.1", &stranger);
    stranger.trust(&[&cluster.authority]);
    // Who has a certificate gets as far as the seal, nobody else to any HTTP.
    assert_eq!(over_tls(&node, &cluster.files[0], Some(&cluster.files[0])).expect("an answer").status, 403);
    for (shown, complaint) in [(None, "CertificateRequired"), (Some(&stranger), "UnknownCA")] {
        let error = over_tls(&node, &stranger, shown).expect_err("it was let in").to_string();
        assert!(error.contains(complaint), "{error}");
    }

    cluster.says_at_join(3, "", "it takes calls over TLS only, and this host makes them without");
    cluster.says_at_join(4, &stranger.settings(), "UnknownCA");
    let elsewhere = Files::new(cluster.root.path(), "elsewhere");
    cluster.authority.issue("127.0.0.1", &elsewhere);
    elsewhere.trust(&[&other]);
    cluster.says_at_join(5, &elsewhere.settings(), "UnknownIssuer");

    // A host of the cluster that comes back without TLS.
    assert!(cluster.servers.remove(2).terminate().success());
    cluster.hosts[2].configure(2, "");
    let mut serve = cluster.hosts[2].serve();
    let mut halfway = serve.stderr(Stdio::null()).spawn().expect("it starts");
    let problem = || {
        let status = cluster.servers[0].status();
        let peers = status["store"]["cluster"]["peers"].as_array().cloned().unwrap_or_default();
        let third = peers.into_iter().find(|peer| peer["name"] == "h2").expect("a peer");
        third["problem"].as_str().unwrap_or_default().contains("it takes calls without TLS")
    };
    let is_said = until(problem);
    halfway.kill().and_then(|()| halfway.wait()).expect("it ends");
    assert!(is_said, "{}", cluster.servers[0].status()["store"]["cluster"]["peers"]);
    cluster.hosts[2].configure(2, &cluster.files[2].settings());
    cluster.servers.push(cluster.hosts[2].start());
    cluster.works("again");
}

#[test]
fn certificates_and_authorities_are_replaced_while_the_cluster_serves() {
    let cluster = Cluster::start();
    cluster.works("old");
    let next = Authority::new("next");
    // What an operator does: the new authority beside the old one, then new certificates, then it alone.
    cluster.files.iter().for_each(|files| files.trust(&[&cluster.authority, &next]));
    cluster.reload();
    let old = Files::new(cluster.root.path(), "old");
    for (from, to) in [(&cluster.files[0].certificate, &old.certificate), (&cluster.files[0].key, &old.key)] {
        std::fs::copy(from, to).expect("copied");
    }
    cluster.files.iter().for_each(|files| next.issue("127.0.0.1", files));
    cluster.reload();
    cluster.works("both");
    let node = &cluster.hosts[1].node;
    old.trust(&[&next]);
    assert_eq!(over_tls(node, &old, Some(&old)).expect("the old authority still counts").status, 403);
    cluster.files.iter().for_each(|files| files.trust(&[&next]));
    cluster.reload();
    cluster.works("new");
    let error = over_tls(node, &old, Some(&old)).expect_err("it was let in").to_string();
    assert!(error.contains("UnknownCA"), "{error}");

    // Files that don't fit leave what is in use.
    std::fs::write(&cluster.files[1].key, "no key").expect("written");
    cluster.reload();
    cluster.works("still");
}

/// Without this a host starts, and nobody can reach it.
#[test]
fn files_that_do_not_serve_are_refused_at_the_start() {
    let root = tempfile::tempdir().expect("temporary directory");
    let (files, authority) = (Files::new(root.path(), "h0"), Authority::new("first"));
    authority.issue("127.0.0.1", &files);
    files.trust(&[&authority]);
    let host = Host::new(root.path(), 0, &files.settings());
    host.run(&["cluster", "init", "--hosts", "2"]);
    for (file, text, complaint) in [
        (&files.ca, "", "no certificate in it"),
        (&files.key, "", "h0.key"),
        (&files.certificate, "", "no certificate in it"),
    ] {
        let good = std::fs::read_to_string(file).expect("text");
        std::fs::write(file, text).expect("written");
        let refusal = host.refused(&["serve"]);
        assert!(refusal.contains(complaint) && refusal.contains(&file.display().to_string()), "{refusal}");
        std::fs::write(file, good).expect("written");
    }
}
