//! A host of several: its configuration, its commands, its server.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use super::Server;

/// A host that may be one of a cluster.
pub(crate) struct Host {
    pub(crate) config: PathBuf,
    pub(crate) data: PathBuf,
    /// `host:port` of the gateway, of S3 and of the node listener.
    pub(crate) gateway: String,
    pub(crate) s3: String,
    pub(crate) node: String,
}

/// Addresses that nothing takes before the host does: ports below those that the kernel gives out, in a range of this
/// process's own among the tests that run.
fn free_address() -> String {
    const FIRST: u16 = 10_000;
    const RANGE: u16 = 64;
    const RANGES: u32 = 320;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = FIRST + (std::process::id() % RANGES) as u16 * RANGE;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number < RANGE, "no port is left for this test");
        let address = format!("127.0.0.1:{}", range + number);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

impl Host {
    /// A host in a zone of its own, with these lines in its configuration besides.
    pub(crate) fn new(root: &Path, number: usize, settings: &str) -> Self {
        let [gateway, s3, node] = std::array::from_fn(|_| free_address());
        let (config, data) = (root.join(format!("h{number}.toml")), root.join(format!("h{number}")));
        let host = Self { config, data, gateway, s3, node };
        host.configure(number, settings);
        host
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, number: usize, settings: &str) {
        let Self { data, gateway, s3, node, .. } = self;
        let text = format!(
            "data = [{data:?}]\ngateway.listen = \"{gateway}\"\ns3.listen = \"{s3}\"\ncluster.listen = \"{node}\"\n\
             cluster.name = \"h{number}\"\ncluster.zone = {}\n{settings}\n",
            number + 1
        );
        std::fs::write(&self.config, text).expect("written");
    }

    /// A command of this host's.
    pub(crate) fn anello(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
        command.args(arguments).arg("--config").arg(&self.config);
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        command
    }

    /// What a command prints that must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let done = self.anello(arguments).output().expect("runs");
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8(done.stdout).expect("text").trim().to_owned()
    }

    /// What a command says that must fail.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let done = self.anello(arguments).stderr(Stdio::piped()).output().expect("runs");
        assert!(!done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    fn try_to_join(&self, token: &str) -> Output {
        self.anello(&["cluster", "join"]).env("ANELLO_JOIN_TOKEN", token).output().expect("runs")
    }

    /// Joins a cluster, which a host does once.
    pub(crate) fn join(&self, token: &str) {
        let joined = self.try_to_join(token);
        assert!(joined.status.success(), "{joined:?}");
        assert!(!self.try_to_join(token).status.success(), "a host joined twice");
    }

    /// The command line of its server.
    pub(crate) fn serve(&self) -> Command {
        let mut command = self.anello(&["serve"]);
        command.stdout(Stdio::null());
        command
    }

    /// Starts its server and waits until that is ready.
    pub(crate) fn start(&self) -> Server {
        Server::start_with(&self.data, self.serve())
    }
}

/// The first of the hosts founds a cluster, the others join it.
pub(crate) fn found(hosts: &[Host]) {
    let token = hosts[0].run(&["cluster", "init", "--hosts", &hosts.len().to_string()]);
    hosts[1..].iter().for_each(|host| host.join(&token));
}

/// Starts hosts of which each waits for the others.
pub(crate) fn start(hosts: &[Host]) -> Vec<Server> {
    std::thread::scope(|scope| {
        let starts: Vec<_> = hosts.iter().map(|host| scope.spawn(|| host.start())).collect();
        starts.into_iter().map(|start| start.join().expect("starts")).collect()
    })
}
