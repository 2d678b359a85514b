//! The control socket: a Unix socket in the first data directory by which `anello status` asks the
//! running server. Whoever may open the file (mode 0600, in a directory of mode 0700) may ask. It speaks
//! HTTP: `GET /status`, `GET /metrics`, changes of the cluster, and Keystone's API below `/identity` without a token;
//! `curl --unix-socket` does too.

use std::fs::{File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anello_storage::Policies;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Roles;
use crate::limits::{ACCEPT_PAUSE, CONTROL_CONNECTIONS_MAX};
use crate::serve::body::{RequestBody, ResponseBody};
use crate::serve::connection::{self, Peer, Service};
use crate::serve::gateway::{Shared, fault, json as json_answer, metrics_answer};
use crate::serve::home::HomeError;
use crate::serve::identity::Here;
use crate::serve::rooms::Rooms;

/// A command's body: at the longest, an address of a database.
const BODY_BYTES_MAX: usize = 8 * 1024;

/// A listener as `anello status` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Listening {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) reach: String,
}

/// Answers on the control socket.
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cluster: String,
    pub(crate) roles: Roles,
    pub(crate) listeners: Vec<Listening>,
    pub(crate) started: Instant,
}

impl Control {
    fn status(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "cluster": self.cluster,
            "roles": self.roles,
            "state": self.shared.phase.get().name(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "listeners": self.listeners,
            "identity": self.shared.rooms.get().map(|rooms| rooms.identity().status()),
            "store": self.shared.rooms.get().map(Rooms::status),
        })
    }

    /// This host's own identity, or what is answered without one.
    fn identity(&self) -> Result<&Here, Box<Response<ResponseBody>>> {
        let rooms = self.shared.rooms.get().ok_or_else(|| Box::new(starting()))?;
        rooms.identity().here().map_err(|elsewhere| Box::new(fault(StatusCode::CONFLICT, &elsewhere)))
    }

    /// The body says where to, and of what domain alone, if so.
    async fn migrate_identity(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let identity = match self.identity() {
            Ok(identity) => identity,
            Err(refusal) => return *refusal,
        };
        let wanted = wanted(request).await;
        let Some(to) = wanted["to"].as_str() else {
            return fault(StatusCode::BAD_REQUEST, "The body is {\"to\": …, \"domain\": …}.");
        };
        let moved = match wanted["domain"].as_str() {
            Some(domain) => identity.migrate_domain(domain, to).await,
            None => identity.migrate(to).await.map(Some),
        };
        match moved {
            Ok(count) => json_answer(StatusCode::OK, &json!({"records": count})),
            Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    /// The body names the host, and of a removal whether it is lost.
    async fn change_cluster(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let Some(rooms) = self.shared.rooms.get() else { return starting() };
        let is_removal = request.uri().path() == "/cluster/remove";
        let wanted = wanted(request).await;
        let Some(host) = wanted["host"].as_str() else {
            return fault(StatusCode::BAD_REQUEST, "The body is {\"host\": …}.");
        };
        let is_lost = wanted["lost"] == true;
        let store = rooms.store();
        let changed = if is_removal { store.remove_host(host, is_lost).await } else { store.drain_host(host).await };
        told(changed.map(|()| json!({"host": host})))
    }

    /// The body names the policy, and of a new one its kind.
    async fn change_policies(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let Some(rooms) = self.shared.rooms.get() else { return starting() };
        let path = request.uri().path().to_owned();
        let wanted = wanted(request).await;
        let Some(name) = wanted["name"].as_str() else {
            return fault(StatusCode::BAD_REQUEST, "The body is {\"name\": …}, to add one with its \"kind\".");
        };
        let change = |policies: &Policies| match path.as_str() {
            "/policies/add" => policies.with(name, wanted["kind"].as_str().unwrap_or_default().parse()?),
            "/policies/default" => policies.with_default(name),
            _ => policies.deprecating(name),
        };
        told(rooms.store().change_policies(change).await.map(|()| json!({"name": name})))
    }

    /// The body says which.
    async fn rotate_identity_keys(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let identity = match self.identity() {
            Ok(identity) => identity,
            Err(refusal) => return *refusal,
        };
        let Ok(kind) = serde_json::from_value(wanted(request).await["kind"].take()) else {
            return fault(StatusCode::BAD_REQUEST, "The body is {\"kind\": \"token\", \"credential\" or \"receipt\"}.");
        };
        match identity.rotate_keys(kind).await {
            Ok(count) => json_answer(StatusCode::OK, &json!({"sealed_anew": count})),
            Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

impl Service for Control {
    async fn call(&self, _: Peer, request: Request<RequestBody>) -> Response<ResponseBody> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/status") => json_answer(StatusCode::OK, &self.status()),
            (&Method::GET, "/dispersion") => match self.shared.rooms.get() {
                Some(rooms) => told(rooms.store().dispersion().await.map(|report| json!(report))),
                None => starting(),
            },
            (&Method::GET, "/metrics") => metrics_answer(&self.shared),
            (_, path) if path.starts_with("/identity/") => match self.shared.rooms.get() {
                Some(rooms) => rooms.identity().answer_operator(request).await,
                None => starting(),
            },
            (&Method::POST, "/identity-keys/rotate") => self.rotate_identity_keys(request).await,
            (&Method::POST, "/identity-records/migrate") => self.migrate_identity(request).await,
            (&Method::POST, "/cluster/drain" | "/cluster/remove") => self.change_cluster(request).await,
            (&Method::POST, "/policies/add" | "/policies/default" | "/policies/deprecate") => {
                self.change_policies(request).await
            }
            _ => fault(StatusCode::NOT_FOUND, "GET /status or GET /metrics, or Keystone's API below /identity."),
        }
    }
}

/// The answer to a change of what all hosts agree on.
fn told(outcome: anello_storage::Result<Value>) -> Response<ResponseBody> {
    match outcome {
        Ok(what) => json_answer(StatusCode::OK, &what),
        Err(error @ (anello_storage::Error::Membership(_) | anello_storage::Error::Policy(_))) => {
            fault(StatusCode::CONFLICT, &error.to_string())
        }
        Err(error) => fault(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// What a request's body says; null where it is no JSON, or too long.
async fn wanted(request: Request<RequestBody>) -> Value {
    let body = http_body_util::Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok()).unwrap_or(Value::Null)
}

fn starting() -> Response<ResponseBody> {
    fault(StatusCode::SERVICE_UNAVAILABLE, "The server is starting.")
}

/// Opens the socket, taking the place of one that a killed server left: the directory's lock is held.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, HomeError> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(HomeError::Io { action: "remove", path: path.to_owned(), source }),
    }
    let (short, _directory) = short_path(path).map_err(HomeError::io("open", path))?;
    let listener = UnixListener::bind(short).map_err(HomeError::io("listen on", path))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(HomeError::io("protect", path))?;
    Ok(listener)
}

/// A name of `path` that fits a socket address, whatever the length of its directory's, as long as the
/// returned file is open. (A socket address holds 108 bytes.)
pub(crate) fn short_path(path: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    const SOCKET_PATH_BYTES_MAX: usize = 107;
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let directory = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((short, Some(directory)))
}

/// Accepts connections until `stop`.
pub(crate) async fn serve(listener: UnixListener, control: Arc<Control>, stop: CancellationToken, tasks: TaskTracker) {
    let slots = Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX));
    loop {
        let accept = async {
            let slot = slots.clone().acquire_owned().await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>((listener.accept().await?.0, slot))
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                let (control, stop) = (control.clone(), stop.clone());
                tasks.spawn(async move {
                    connection::serve(stream, Peer { address: None, is_secure: false }, control, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the control socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
