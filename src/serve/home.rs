//! The first data directory as the cluster's home: one process at a time, the cluster's id and secret
//! (`cluster.toml`), the control socket and the credentials.
//!
//! The first start is a sequence that kill -9 may cut anywhere and the next start takes up again:
//! 1. `cluster.toml` is written whole (temporary file, sync, rename, sync of the directory) with the id,
//!    the secret and, under `first_start`, the password that the administrator is going to have;
//! 2. the identity room is bootstrapped with that password, which does nothing a second time;
//! 3. the credential files are written, each whole;
//! 4. `cluster.toml` is replaced by one without `first_start`.
//!
//! A start that finds `first_start` repeats 2 to 4. One that does not writes credentials again only to
//! follow a changed URL, and never one that the operator has removed.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Config, Role, Roles};

/// Holds the cluster's identity.
const CLUSTER_FILE: &str = "cluster.toml";

/// `cluster.toml` is a few hundred bytes.
const CLUSTER_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of the cluster secret: the key length of the keyed hash that it feeds.
const SECRET_BYTES: usize = 32;

/// Length of the administrator's first password: 24 letters and digits are 142 bits.
const PASSWORD_CHARACTERS: usize = 24;

/// Why the directory cannot be the cluster's home.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    #[error("{} is in use by another anello process; `anello status --data {}` shows it", .0.display(), .0.display())]
    InUse(PathBuf),
    #[error("{} belongs to a cluster already", .0.display())]
    Taken(PathBuf),
    #[error("a host that is not one of a cluster needs the role storage and another, and this one has: {0}")]
    Lonely(Roles),
    #[error(
        "this host enters the URLs of what clients reach into the catalog, and with the roles {roles} can't know them \
             all: {key} must say it"
    )]
    NeedsUrl { key: &'static str, roles: Roles },
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} is damaged: {reason}. It holds the cluster's identity; restore it from a backup", path.display())]
    Damaged { path: PathBuf, reason: String },
}

impl HomeError {
    /// Wraps an error of the operating system with what was tried on which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// What `cluster.toml` holds. Secrets: no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    /// 32 hex digits; every device bears it.
    pub(crate) id: String,
    /// Key of the placement hash, in hex.
    secret: String,
    /// URLs that the credential files name.
    pub(crate) urls: Option<Urls>,
    /// URLs that they may still name, where a start was cut off while it changed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) followed: Vec<Urls>,
    /// There until the first start is complete.
    pub(crate) first_start: Option<FirstStart>,
    /// There where this is one host of several.
    pub(crate) member: Option<Membership>,
}

/// How this host comes to the cluster's map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Membership {
    /// It waits for this many hosts, itself included.
    Founds(usize),
    /// It asks the host at this address.
    Joins(String),
}

/// The URLs by which clients reach what is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Urls {
    /// Gateway, without a slash at the end.
    pub(crate) gateway: String,
    /// S3, likewise.
    pub(crate) s3: String,
    /// Identity, where it is not below the gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
}

impl Urls {
    /// Identity's, without a version.
    pub(crate) fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| format!("{}/identity", self.gateway))
    }
}

/// What the first start has decided and may have to repeat.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FirstStart {
    pub(crate) admin_password: String,
}

impl Cluster {
    fn new() -> Self {
        Self {
            id: anello_base::id::hex_id(),
            secret: hex::encode(rand::random::<[u8; SECRET_BYTES]>()),
            urls: None,
            followed: Vec::new(),
            first_start: Some(FirstStart { admin_password: password() }),
            member: None,
        }
    }

    /// The part of a host that joins: the founder makes the administrator.
    fn joining(id: String, secret: String, founder: String) -> Self {
        Self {
            id,
            secret,
            urls: None,
            followed: Vec::new(),
            first_start: None,
            member: Some(Membership::Joins(founder)),
        }
    }

    /// Whether the credential files are there and may name other URLs.
    pub(crate) fn names_other_urls(&self, urls: &Urls) -> bool {
        self.urls.as_ref().is_some_and(|named| named != urls || !self.followed.is_empty())
    }

    /// The secret in hex, for a join token.
    pub(crate) fn secret_hex(&self) -> &str {
        &self.secret
    }

    /// The secret's bytes.
    pub(crate) fn secret(&self) -> Vec<u8> {
        // `read` has checked that it is hex.
        hex::decode(&self.secret).unwrap_or_default()
    }
}

fn password() -> String {
    use rand::RngExt;
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(PASSWORD_CHARACTERS).map(char::from).collect()
}

/// The directory, locked for this process as long as it lives.
pub(crate) struct Home {
    directory: PathBuf,
    cluster: Cluster,
    _lock: File,
}

impl Home {
    /// Takes the directory, creating it (mode 0700) and the cluster where there is none yet.
    pub(crate) fn open(directory: &Path) -> Result<Self, HomeError> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(HomeError::io("create", directory))?;
        let lock = lock(directory)?;
        let path = directory.join(CLUSTER_FILE);
        let cluster = if let Some(cluster) = read(&path)? {
            cluster
        } else {
            let cluster = Cluster::new();
            write(&path, &cluster)?;
            cluster
        };
        Ok(Self { directory: directory.to_owned(), cluster, _lock: lock })
    }

    /// What the directory says of the cluster, also while a server runs; `None` where nothing was ever started.
    pub(crate) fn look(directory: &Path) -> Result<Option<Cluster>, HomeError> {
        read(&directory.join(CLUSTER_FILE))
    }

    /// Makes the directory the home of a host that joins a cluster. Refused where it is some cluster's already.
    pub(crate) fn join(directory: &Path, id: String, secret: String, founder: String) -> Result<Self, HomeError> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(HomeError::io("create", directory))?;
        let lock = lock(directory)?;
        let path = directory.join(CLUSTER_FILE);
        if read(&path)?.is_some() {
            return Err(HomeError::Taken(directory.to_owned()));
        }
        let cluster = Cluster::joining(id, secret, founder);
        write(&path, &cluster)?;
        Ok(Self { directory: directory.to_owned(), cluster, _lock: lock })
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Changes `cluster.toml`; durable when it returns.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Cluster)) -> Result<(), HomeError> {
        let mut next = self.cluster.clone();
        change(&mut next);
        write(&self.directory.join(CLUSTER_FILE), &next)?;
        self.cluster = next;
        Ok(())
    }

    /// Where the credential files stand.
    pub(crate) fn credentials(&self) -> PathBuf {
        self.directory.join("credentials")
    }

    /// Where the control socket stands.
    pub(crate) fn control_socket(&self) -> PathBuf {
        control_socket(&self.directory)
    }
}

/// Refuses roles that are of no use to a host that is alone: before it has made itself a cluster's home, which it could
/// then not leave.
pub(crate) fn require_company(config: &Config) -> Result<(), HomeError> {
    let roles = &config.roles;
    let is_whole = roles.has(Role::Storage) && !roles.are(&[Role::Storage]);
    let is_member = || Ok::<_, HomeError>(Home::look(config.home())?.is_some_and(|cluster| cluster.member.is_some()));
    if is_whole || is_member()? { Ok(()) } else { Err(HomeError::Lonely(roles.clone())) }
}

/// The control socket of the server whose first data directory is `directory`.
pub(crate) fn control_socket(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}

/// One process per directory: an advisory lock that ends with the process, however it ends.
fn lock(directory: &Path) -> Result<File, HomeError> {
    let path = directory.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(HomeError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(HomeError::InUse(directory.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(HomeError::Io { action: "lock", path, source }),
    }
}

fn read(path: &Path) -> Result<Option<Cluster>, HomeError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(HomeError::Io { action: "open", path: path.to_owned(), source }),
    };
    let mut text = String::new();
    file.take(CLUSTER_BYTES_MAX).read_to_string(&mut text).map_err(HomeError::io("read", path))?;
    let damaged = |reason: &str| HomeError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    // The parser's message would quote the text, and that has a secret in it.
    let cluster: Cluster = toml::from_str(&text).map_err(|error| damaged(error.message()))?;
    if !hex::decode(&cluster.secret).is_ok_and(|secret| secret.len() == SECRET_BYTES) {
        return Err(damaged("the secret is not 64 hex digits"));
    }
    if cluster.id.len() != 32 || hex::decode(&cluster.id).is_err() {
        return Err(damaged("the id is not 32 hex digits"));
    }
    Ok(Some(cluster))
}

fn write(path: &Path, cluster: &Cluster) -> Result<(), HomeError> {
    let body = toml::to_string(cluster).map_err(|error| HomeError::Io {
        action: "encode",
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })?;
    let text =
        format!("# The cluster's identity. Keep it secret, and keep a copy: devices are useless without it.\n{body}");
    write_whole(path, &text)
}

/// Writes a file that only its owner reads (0600), whole or not at all: after a crash there is the old
/// text or the new one. Durable when it returns.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), HomeError> {
    let temporary = path.with_extension("new");
    // Left over from a crash; it might bear other permissions.
    match std::fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(HomeError::Io { action: "remove", path: temporary, source }),
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(HomeError::io("create", &temporary))?;
    file.write_all(text.as_bytes()).map_err(HomeError::io("write", &temporary))?;
    file.sync_all().map_err(HomeError::io("sync", &temporary))?;
    std::fs::rename(&temporary, path).map_err(HomeError::io("rename", path))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory).and_then(|it| it.sync_all()).map_err(HomeError::io("sync", directory))
}

/// Makes a directory that only its owner enters (0700), also where it stood with other permissions.
pub(crate) fn private_directory(path: &Path) -> Result<(), HomeError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(HomeError::io("create", path))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(HomeError::io("protect", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_on_the_same_directory_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let first = Home::open(directory.path()).expect("free");
        let Err(error) = Home::open(directory.path()) else { panic!("two at a time") };
        assert!(error.to_string().contains("in use by another anello process"), "{error}");
        drop(first);
        Home::open(directory.path()).map(drop).expect("free again");
    }

    #[test]
    fn the_clusters_identity_survives_a_restart_and_only_the_owner_reads_it() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let id = Home::open(directory.path()).expect("first").cluster().id.clone();
        let mut again = Home::open(directory.path()).expect("second");
        assert_eq!(again.cluster().id, id);
        assert_eq!(again.cluster().secret().len(), SECRET_BYTES);
        again.update(|cluster| cluster.first_start = None).expect("written");
        drop(again);
        let again = Home::open(directory.path()).expect("third");
        assert_eq!(again.cluster().id, id);
        assert!(again.cluster().first_start.is_none());
        let mode = std::fs::metadata(directory.path().join("cluster.toml")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_identity_is_never_replaced_by_a_new_one() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("cluster.toml");
        for text in ["", "id = 1", "id = \"00000000000000000000000000000000\"\nsecret = \"abcd\""] {
            std::fs::write(&path, text).expect("written");
            let Err(error) = Home::open(directory.path()) else { panic!("{text:?} was taken") };
            assert!(error.to_string().contains("is damaged"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
        }
    }

    #[test]
    fn what_a_crash_left_half_written_does_not_stop_the_next_write() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("openrc");
        std::fs::write(path.with_extension("new"), "half").expect("written");
        write_whole(&path, "whole").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "whole");
    }
}
