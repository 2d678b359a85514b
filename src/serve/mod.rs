//! `anello serve`: takes the data directory, binds the listeners, opens the rooms, and ends in order.
//!
//! The listeners are bound before the store is opened, so that a taken port is known before anything is
//! recovered, and answer 503 until all of it serves. At the end: no new connections, running requests
//! finish (within [`DRAIN_TIMEOUT`]), the rooms and the store close, exit code 0. A second signal ends
//! the process at once; what was acknowledged is durable either way.

mod body;
mod connection;
mod control;
mod credentials;
mod daemons;
mod devices;
mod gateway;
pub(crate) mod home;
mod identity;
mod listener;
mod metrics;
mod node;
mod peers;
mod phase;
mod recon;
mod rooms;
mod secured;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anello_storage::Store;
use anello_storage::daemon::threads::{Behind, Threads};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Outcome;
use crate::cli::ServeArgs;
use crate::config::{Config, Role, Roles};
use crate::limits::{CLOSE_TIMEOUT, CLUSTER_START_PAUSE, DRAIN_TIMEOUT};
use crate::serve::control::{Control, Listening};
use crate::serve::gateway::{Gateway, S3Service, Shared, WebsiteService};
use crate::serve::home::{Cluster, Home, HomeError, Urls};
use crate::serve::listener::Listener;
use crate::serve::node::NodeDoor;
use crate::serve::phase::Phase;
use crate::serve::rooms::Rooms;
use crate::serve::tls::TlsFiles;
use crate::{logging, terminal};

pub(crate) use crate::serve::control::short_path;
pub(crate) use crate::serve::home::control_socket;

/// Runs `anello serve`.
pub(crate) fn run(args: ServeArgs) -> Outcome {
    let config = Config::load(&args)?;
    logging::start(&config.log)?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let threads = Threads::start()?;
    let outcome = runtime.block_on(serve(config, &threads.behind()));
    // Blocking work that hangs (a dead disk) must not keep the process.
    runtime.shutdown_timeout(CLOSE_TIMEOUT);
    threads.end();
    outcome
}

async fn serve(config: Config, threads: &Behind) -> Outcome {
    let started = Instant::now();
    let mut signals = Signals::new()?;
    home::require_company(&config)?;
    let mut home = Home::open(config.home())?;
    let tls = TlsFiles::of_doors(&config.tls)?;
    let node_tls = TlsFiles::of_nodes(&config.cluster.tls)?;
    let certificates: Vec<&TlsFiles> = [&tls, &node_tls].into_iter().flatten().map(AsRef::as_ref).collect();
    let gateway = Listener::bind(gateway_name(&config.roles), config.gateway.listen, tls.clone())?;
    let bind_s3 = || Listener::bind("S3", config.s3.listen, tls.clone());
    let s3 = config.roles.has(Role::Proxy).then(bind_s3).transpose()?;
    let bind_website = |listen| Listener::bind("web sites", listen, tls.clone());
    let website = config.website.listen.map(bind_website).transpose()?;
    let urls = urls(&config, home.cluster(), &gateway, s3.as_ref())?;
    let bind_nodes = |_: &_| Listener::bind("nodes", config.cluster.listen, node_tls.clone());
    let nodes = home.cluster().member.as_ref().map(bind_nodes).transpose()?;
    let listeners = [Some(&gateway), s3.as_ref(), website.as_ref(), nodes.as_ref()];
    let listeners: Vec<Listening> = listeners.into_iter().flatten().map(listening).collect();
    let control_listener = control::bind(&home.control_socket())?;

    let shared = Arc::new(Shared::new());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let control = Control {
        shared: shared.clone(),
        cluster: home.cluster().id.clone(),
        roles: config.roles.clone(),
        listeners: listeners.clone(),
        started,
    };
    let accepting = TaskTracker::new();
    accepting.spawn(control::serve(control_listener, Arc::new(control), stop.clone(), tasks.clone()));
    let service = Arc::new(Gateway::new(shared.clone(), config.roles.clone(), config.gateway.metrics_access));
    accepting.spawn(gateway.serve(service, stop.clone(), tasks.clone()));
    if let Some(s3) = s3 {
        let service = Arc::new(S3Service::new(shared.clone()));
        accepting.spawn(s3.serve(service, stop.clone(), tasks.clone()));
    }
    if let Some(website) = website {
        let service = Arc::new(WebsiteService::new(shared.clone()));
        accepting.spawn(website.serve(service, stop.clone(), tasks.clone()));
    }

    let opened = tokio::select! {
        opened = async {
            let member = node::open(&config, home.cluster(), node_tls.clone(), threads).await?;
            if let (Some(member), Some(nodes)) = (&member, nodes) {
                let service = Arc::new(NodeDoor(member.http()));
                accepting.spawn(nodes.serve(service, stop.clone(), tasks.clone()));
            }
            let is_alone = member.is_none();
            let store = rooms::open_store(&config, home.cluster(), member, threads).await?;
            loop {
                match open_rooms(&config, &mut home, &urls, store.clone()).await {
                    Err(error) if !is_alone => {
                        // The other hosts may still be starting.
                        tracing::warn!(%error, "the rooms can't be opened yet, will be tried again");
                        tokio::time::sleep(CLUSTER_START_PAUSE).await;
                    }
                    opened => break opened,
                }
            }
        } => opened,
        () = signals.until_end(&certificates) => return Ok(()),
    };
    shared.rooms.set(opened?).map_err(|_| "the rooms were opened twice")?;
    let running = async {
        if let Some(rooms) = shared.rooms.get() {
            shared.phase.set(Phase::WaitingForIdentity);
            rooms.identity().ready().await;
        }
        shared.phase.set(Phase::Ready);
        greet(&listeners, &home.credentials(), config.identity.remote().map(|it| it.url).as_deref(), started);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = running => {}
        () = signals.until_end(&certificates) => {}
    }
    shared.phase.set(Phase::Draining);
    stop.cancel();
    accepting.close();
    tasks.close();
    let ended = tokio::select! {
        ended = end(&shared, &accepting, &tasks) => ended,
        () = signals.end() => {
            tracing::warn!("a second signal: ending at once");
            Ok(())
        }
    };
    let _ = std::fs::remove_file(home.control_socket());
    ended
}

/// What the gateway's listener is for.
fn gateway_name(roles: &Roles) -> &'static str {
    match (roles.has(Role::Proxy), roles.has(Role::Control)) {
        (true, true) => "Swift and Keystone",
        (true, false) => "Swift",
        (false, true) => "Keystone",
        (false, false) => "health and figures",
    }
}

/// By which URLs clients reach what this host is going to tell them of: the founder makes the catalog, and can't know
/// where the roles are served that it hasn't.
fn urls(config: &Config, cluster: &Cluster, gateway: &Listener, s3: Option<&Listener>) -> Result<Urls, HomeError> {
    let publishes = (cluster.first_start.is_some() || cluster.urls.is_some()) && config.identity.remote().is_none();
    let is_whole = config.roles.has(Role::Proxy) && config.roles.has(Role::Control);
    for (key, is_known) in [
        ("gateway.public_url", config.gateway.public_url.is_some() || s3.is_some()),
        ("s3.public_url", config.s3.public_url.is_some() || s3.is_some()),
        ("identity.public_url", config.identity.public_url.is_some() || is_whole),
    ] {
        if publishes && !is_known {
            return Err(HomeError::NeedsUrl { key, roles: config.roles.clone() });
        }
    }
    Ok(Urls {
        gateway: config.gateway.public_url.clone().unwrap_or_else(|| gateway.url()),
        s3: config.s3.public_url.clone().or_else(|| s3.map(Listener::url)).unwrap_or_default(),
        identity: config.identity.public_url.clone(),
    })
}

/// Opens the rooms; on the first start makes the administrator and the credential files.
async fn open_rooms(
    config: &Config,
    home: &mut Home,
    urls: &Urls,
    store: Store,
) -> Result<Rooms, Box<dyn std::error::Error>> {
    let has_news = home.cluster().first_start.is_some() || home.cluster().names_other_urls(urls);
    let rooms = Rooms::open(config, home.cluster(), store, has_news).await?;
    // Another host's has its administrator and its catalog; what this one would make stays to be made.
    let Ok(identity) = rooms.identity().here() else { return Ok(rooms) };
    if let Some(first_start) = home.cluster().first_start.clone() {
        let admin = identity.bootstrap(config, urls, &first_start.admin_password).await?;
        let credentials = credentials::Credentials {
            urls,
            identity_region: &config.identity.region,
            s3_region: &config.s3.region,
            password: &first_start.admin_password,
            access_key: &admin.access_key,
            secret_key: &admin.secret_key,
        };
        credentials.write(&home.credentials())?;
        home.update(|cluster| {
            cluster.urls = Some(urls.clone());
            cluster.first_start = None;
        })?;
    } else if home.cluster().names_other_urls(urls) {
        // Killed on the way, the files name some of these.
        home.update(|cluster| cluster.followed.extend(cluster.urls.replace(urls.clone())))?;
        identity.follow_urls(config, urls).await?;
        credentials::follow_urls(&home.credentials(), &home.cluster().followed, urls)?;
        home.update(|cluster| cluster.followed.clear())?;
    }
    Ok(rooms)
}

/// Finishes what runs and closes what is open.
async fn end(shared: &Shared, accepting: &TaskTracker, tasks: &TaskTracker) -> Outcome {
    tracing::info!(requests = tasks.len(), "draining");
    accepting.wait().await;
    if tokio::time::timeout(DRAIN_TIMEOUT, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "requests did not finish in time and are cut off");
    }
    if let Some(rooms) = shared.rooms.get() {
        tokio::time::timeout(CLOSE_TIMEOUT, rooms.close())
            .await
            .map_err(|_| "the store did not close in time; it is recovered at the next start")??;
    }
    tracing::info!("closed");
    Ok(())
}

fn listening(listener: &Listener) -> Listening {
    Listening { name: listener.name(), url: listener.url(), reach: listener.reach() }
}

/// Says where everything is. For people; `anello status --json` is for programs.
fn greet(listeners: &[Listening], credentials: &Path, identity: Option<&str>, started: Instant) {
    terminal::say(format_args!("anello {} is ready", env!("CARGO_PKG_VERSION")));
    for Listening { name, url, reach } in listeners {
        terminal::say(format_args!("  {name:<20}{url:<26}({reach})"));
    }
    if let Some(url) = identity {
        terminal::say(format_args!("  {:<20}{url}", "identity"));
    } else if credentials.exists() {
        terminal::say(format_args!("  {:<20}{}", "credentials", credentials.display()));
        for name in credentials::FILES.iter().filter(|name| credentials.join(name).exists()) {
            terminal::say(format_args!("  {:<20}  {name}", ""));
        }
    }
    tracing::info!(elapsed = ?started.elapsed(), "ready");
}

/// Each connection is a file descriptor, and the common soft limit of 1,024 is below our own limits.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// The signals that the server knows.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for SIGTERM or SIGINT, reading the certificates again at each SIGHUP.
    async fn until_end(&mut self, certificates: &[&TlsFiles]) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => certificates.iter().for_each(|files| match files.reload() {
                    Ok(()) => tracing::info!(%files, "SIGHUP: certificate and key were read again"),
                    Err(error) => tracing::error!(%error, %files, "SIGHUP: the certificate in use stays"),
                }),
            }
        }
    }
}
