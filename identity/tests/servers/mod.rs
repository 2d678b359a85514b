//! The real servers that the back ends speak with, from Debian's packages: each started by the test that needs it, on a
//! free port of this host and with data of its own, and ended with it. Where a program is not installed the test says
//! so and tries the others; `./dev test` installs all of them.

#![allow(dead_code, reason = "each test program uses some of the servers")]

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    child: Child,
    _data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port()
}

fn installed(program: &str) -> Option<PathBuf> {
    let newest = |pattern: &str| -> Option<PathBuf> {
        let (dir, rest) = pattern.split_once("/*/")?;
        let mut found: Vec<_> =
            std::fs::read_dir(dir).ok()?.filter_map(|it| Some(it.ok()?.path().join(rest))).collect();
        found.retain(|path| path.exists());
        found.sort();
        found.pop()
    };
    let path = if program.contains('*') { newest(program) } else { Some(PathBuf::from(program)) };
    let path = path.filter(|path| path.exists());
    if path.is_none() {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests is told what was not tried")]
        {
            eprintln!("NOT TRIED: {program} is not installed");
        }
    }
    path
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn start(command: &mut Command, data: TempDir, port: u16, url: String) -> Server {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let server = Server { url, child: child.expect("the server starts"), _data: data };
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < START_MAX, "{command:?} does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

/// Whether this is root, whom database servers refuse to run as; then they run as a user of their own.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}

fn id_of(user: &str) -> (u32, u32) {
    let passwd = std::fs::read_to_string("/etc/passwd").expect("users");
    let line = passwd.lines().find(|line| line.starts_with(&format!("{user}:"))).expect("the package's user");
    let fields: Vec<&str> = line.split(':').collect();
    (fields[2].parse().expect("a number"), fields[3].parse().expect("a number"))
}

/// A command that runs as the package's user where we are root; its directory becomes that user's.
fn as_user(user: &str, program: &Path, data: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let (uid, gid) = id_of(user);
    chown(data, Some(uid), Some(gid)).expect("root may");
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups").arg(program);
    command
}

/// PostgreSQL with an empty database.
pub(crate) fn postgres() -> Option<Server> {
    let bin = installed("/usr/lib/postgresql/*/bin/postgres")?;
    let (data, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let cluster = data.path().join("cluster");
    let command = |program: &str| {
        let mut command = as_user("postgres", &bin.with_file_name(program), data.path());
        command.current_dir(data.path());
        command
    };
    run(command("initdb").args(["-A", "trust", "-U", "anello", "-E", "UTF8", "-D"]).arg(&cluster));
    let mut server = command("postgres");
    server.arg("-D").arg(&cluster).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"]).arg(data.path());
    Some(start(&mut server, data, port, format!("postgres://anello@127.0.0.1:{port}/postgres")))
}

/// MariaDB with an empty database.
pub(crate) fn mariadb() -> Option<Server> {
    let program = installed("/usr/sbin/mariadbd")?;
    let install = installed("/usr/bin/mariadb-install-db")?;
    let (data, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let tables = data.path().join("tables");
    let mut command = as_user("mysql", &install, data.path());
    run(command
        .current_dir(data.path())
        .args(["--no-defaults", "--auth-root-authentication-method=normal"])
        .arg(format!("--datadir={}", tables.display())));
    let mut command = as_user("mysql", &program, data.path());
    command.current_dir(data.path()).arg("--no-defaults").arg(format!("--datadir={}", tables.display()));
    command.arg(format!("--port={port}")).arg("--bind-address=127.0.0.1");
    command.arg(format!("--socket={}", data.path().join("s").display()));
    Some(start(&mut command, data, port, format!("mysql://root@127.0.0.1:{port}/test")))
}

/// OpenLDAP with the entries of an LDIF text under `dc=example,dc=org`; its administrator is `cn=admin` with the
/// password `admin`.
pub(crate) fn slapd(ldif: &str) -> Option<Server> {
    let (data, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let url = format!("ldap://127.0.0.1:{port}");
    slapd_at(ldif, data, port, &[&url], "")
}

/// The same with TLS: it answers `ldaps`, and plain `ldap` for `StartTLS` alone.
pub(crate) struct SecureDirectory {
    pub(crate) plain: Server,
    pub(crate) ldaps: String,
    /// The authority of its certificate, and another one.
    pub(crate) authority: PathBuf,
    pub(crate) stranger: PathBuf,
}

/// OpenLDAP as [`slapd`] has it, with a certificate of its own authority.
pub(crate) fn secure_slapd(ldif: &str) -> Option<SecureDirectory> {
    let data = tempfile::tempdir().expect("a directory");
    let file = |name: &str| data.path().join(name);
    let [authority, stranger, certificate, key] =
        ["authority.pem", "stranger.pem", "certificate.pem", "key.pem"].map(file);
    for (path, is_own) in [(&authority, true), (&stranger, false)] {
        let root_key = rcgen::KeyPair::generate().expect("a key");
        let mut root = rcgen::CertificateParams::default();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(path, root.self_signed(&root_key).expect("a certificate").pem()).expect("written");
        if is_own {
            let own_key = rcgen::KeyPair::generate().expect("a key");
            let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
            let issuer = rcgen::Issuer::new(root, root_key);
            std::fs::write(&certificate, own.signed_by(&own_key, &issuer).expect("signs").pem()).expect("written");
            std::fs::write(&key, own_key.serialize_pem()).expect("written");
        }
    }
    let config = format!(
        "TLSCACertificateFile {}\nTLSCertificateFile {}\nTLSCertificateKeyFile {}\nsecurity tls=1\n",
        authority.display(),
        certificate.display(),
        key.display()
    );
    let port = free_port();
    let (url, ldaps) = (format!("ldap://127.0.0.1:{port}"), format!("ldaps://127.0.0.1:{}", free_port()));
    let plain = slapd_at(ldif, data, port, &[&url, &ldaps], &config)?;
    Some(SecureDirectory { plain, ldaps, authority, stranger })
}

fn slapd_at(ldif: &str, data: TempDir, port: u16, urls: &[&str], more: &str) -> Option<Server> {
    let program = installed("/usr/sbin/slapd")?;
    let slapadd = installed("/usr/sbin/slapadd")?;
    let (config, entries) = (data.path().join("slapd.conf"), data.path().join("entries.ldif"));
    std::fs::create_dir(data.path().join("db")).expect("a directory");
    let text = format!(
        "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
         pidfile {dir}/pid\n{more}database mdb\nsuffix \"dc=example,dc=org\"\nrootdn \"cn=admin,dc=example,dc=org\"\n\
         rootpw admin\ndirectory {dir}/db\naccess to attrs=userPassword by anonymous auth by * none\n\
         access to * by users read by anonymous auth\n",
        dir = data.path().display()
    );
    std::fs::write(&config, text).expect("written");
    std::fs::write(&entries, ldif).expect("written");
    run(Command::new(slapadd).arg("-f").arg(&config).arg("-l").arg(&entries));
    let mut command = Command::new(program);
    command.arg("-f").arg(&config).args(["-d", "0", "-h", &urls.join(" ")]);
    Some(start(&mut command, data, port, urls[0].to_owned()))
}

/// Memcached; its address is `host:port`.
pub(crate) fn memcached() -> Option<Server> {
    let program = installed("/usr/bin/memcached")?;
    let (data, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let mut command = Command::new(program);
    command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0"]);
    if is_root() {
        command.args(["-u", "nobody"]);
    }
    Some(start(&mut command, data, port, format!("127.0.0.1:{port}")))
}
