//! The configuration file: one TOML file with the defaults and their documentation in `default.toml`,
//! which `anello config print` shows and `serve` takes as it is. An unknown key is an error, so that a
//! misspelt one is never silently without effect.

mod identity;
mod roles;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anello_base::units::MIB;
use anello_proxy::s3::ObjectOwnership;
use anello_proxy::swift::{ConfigFault, SwiftConfig, TempAuthConfig};
use anello_storage::daemon::threads::Behind;
use anello_storage::limits::{REPLICATION_BYTES_PER_SECOND, SHARD_ROWS_MAX};
use anello_storage::store::{AuditOptions, DaemonOptions, ExpiryOptions, ReplicationOptions, ShardingOptions};
use serde::Deserialize;

use crate::Outcome;
use crate::cli::{LogFormat, ServeArgs};
use crate::limits::CONFIG_BYTES_MAX;
use crate::terminal;

pub(crate) use identity::Identity;
pub(crate) use roles::{Role, Roles};

/// The documented default.
const DEFAULT: &str = include_str!("default.toml");

/// All of it. See `default.toml` for what the keys mean.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) roles: Roles,
    pub(crate) data: Vec<PathBuf>,
    pub(crate) gateway: Gateway,
    pub(crate) swift: SwiftConfig,
    pub(crate) s3: S3,
    pub(crate) website: Website,
    pub(crate) identity: Identity,
    pub(crate) storage: Storage,
    pub(crate) cluster: Cluster,
    pub(crate) tls: Tls,
    pub(crate) log: Log,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Gateway {
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: Option<String>,
    pub(crate) metrics_access: MetricsAccess,
    pub(crate) tempauth: TempAuthConfig,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            public_url: None,
            metrics_access: MetricsAccess::Loopback,
            tempauth: TempAuthConfig::default(),
        }
    }
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MetricsAccess {
    /// Peers on this host.
    Loopback,
    /// Whoever reaches the gateway.
    Any,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct S3 {
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: Option<String>,
    pub(crate) region: String,
    pub(crate) base_domain: Option<String>,
    pub(crate) object_ownership: ObjectOwnership,
    pub(crate) lifecycle_day_seconds: NonZeroU32,
}

/// Where web sites are served, if they are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Website {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) domain: Option<String>,
}

impl Website {
    fn check(&mut self, roles: &Roles) -> Result<(), ConfigError> {
        if self.listen.is_some() && !roles.has(Role::Proxy) {
            return Err(ConfigError::NoWebsites(roles.clone()));
        }
        let Some(domain) = &mut self.domain else { return Ok(()) };
        *domain = domain.trim_matches('.').to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        match !domain.is_empty() && domain.bytes().all(is_name) {
            true => Ok(()),
            false => Err(ConfigError::Domain { key: "website.domain", value: domain.clone() }),
        }
    }
}

impl S3 {
    /// How long a day of lifecycle rules is.
    pub(crate) fn day(&self) -> Duration {
        Duration::from_secs(self.lifecycle_day_seconds.get().into())
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 9000).into(),
            public_url: None,
            region: "us-east-1".to_owned(),
            base_domain: None,
            object_ownership: ObjectOwnership::default(),
            lifecycle_day_seconds: NonZeroU32::new(24 * 3600).expect("is not zero"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    pub(crate) audit_days: NonZeroU32,
    pub(crate) shard_rows: NonZeroU64,
    /// What each device sends to others at most while replicas are brought together.
    pub(crate) replication_mib_per_second: NonZeroU64,
    pub(crate) delay_reaping: BTreeMap<String, u64>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            audit_days: NonZeroU32::new(7).expect("is not zero"),
            shard_rows: NonZeroU64::new(SHARD_ROWS_MAX).expect("is not zero"),
            replication_mib_per_second: NonZeroU64::new(REPLICATION_BYTES_PER_SECOND / MIB).expect("is not zero"),
            delay_reaping: BTreeMap::new(),
        }
    }
}

impl Storage {
    /// How the daemons work, and on which threads.
    pub(crate) fn daemons(&self, threads: &Behind) -> DaemonOptions {
        let within = Duration::from_secs(u64::from(self.audit_days.get()) * 24 * 3600);
        DaemonOptions {
            audit: AuditOptions { within },
            sharding: ShardingOptions { rows_max: self.shard_rows.get(), ..ShardingOptions::default() },
            replication: ReplicationOptions {
                bytes_per_second: self.replication_mib_per_second.get().saturating_mul(MIB),
                ..ReplicationOptions::default()
            },
            expiry: ExpiryOptions { delays: self.delay_reaping.clone() },
            threads: Some(threads.clone()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) region: u32,
    pub(crate) zone: u32,
    pub(crate) tls: ClusterTls,
}

/// TLS between hosts: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClusterTls {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
}

impl Default for Cluster {
    fn default() -> Self {
        let tls = ClusterTls::default();
        Self { listen: ([127, 0, 0, 1], 6200).into(), advertise: None, name: None, region: 1, zone: 1, tls }
    }
}

impl Cluster {
    /// Where the other hosts reach this one.
    pub(crate) fn address(&self) -> String {
        self.advertise.clone().unwrap_or_else(|| self.listen.to_string())
    }

    /// The host's name.
    pub(crate) fn host_name(&self) -> String {
        let system = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.name.clone().unwrap_or_else(system)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info,s3s=off".to_owned() }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is larger than {CONFIG_BYTES_MAX} bytes: not a configuration file")]
    TooLarge { path: PathBuf },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("[tls] needs both certificate and key")]
    HalfTls,
    #[error("[cluster.tls] needs certificate, key and ca")]
    PartTls,
    #[error("{key} must be an http:// or https:// URL without a query, not {value:?}")]
    Url { key: &'static str, value: String },
    #[error("{key} must be a domain's name, not {value:?}")]
    Domain { key: &'static str, value: String },
    #[error("website.listen is for a host with the role proxy, and this one has: {0}")]
    NoWebsites(Roles),
    #[error("[identity.remote] needs {0}")]
    RemoteNeeds(&'static str),
    #[error("{0}")]
    Swift(#[from] ConfigFault),
    #[error("identity.{0} is for an identity of this host's own, and identity.remote.url says that it is another's")]
    Elsewhere(&'static str),
    #[error("identity.remote.{key}: {reason}")]
    Remote { key: &'static str, reason: String },
    #[error("roles is empty: a host has at least one of storage, proxy and control")]
    NoRole,
    #[error("a host without the role storage has no devices: data names one directory, its home, and not {0}")]
    NoDevices(usize),
    #[error("--s3-listen is for a host with the role proxy, and this one has: {0}")]
    NoS3(Roles),
    #[error("a host with the role control alone serves identity, and identity.remote says that it is another's")]
    NothingToServe,
    #[error("no data directory: give --data, or set HOME")]
    NoData,
}

impl Config {
    /// The file (or the defaults) with the command line's options over it.
    pub(crate) fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        let mut config = Self::read(args.config.as_deref())?;
        if !args.data.is_empty() {
            config.data.clone_from(&args.data);
        }
        if !args.role.is_empty() {
            config.roles = args.role.iter().copied().collect();
        }
        if args.s3_listen.is_some() && !config.roles.has(Role::Proxy) {
            return Err(ConfigError::NoS3(config.roles));
        }
        if let Some(listen) = args.listen {
            config.gateway.listen = listen;
        }
        if let Some(listen) = args.s3_listen {
            config.s3.listen = listen;
        }
        if let Some(listen) = args.website_listen {
            config.website.listen = Some(listen);
        }
        if let Some(format) = args.log_format {
            config.log.format = format;
        }
        if let Some(filter) = &args.log {
            config.log.filter.clone_from(filter);
        }
        config.check()
    }

    /// The file alone, checked; the defaults where none is given.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::default().check() };
        let text = read_whole(path)?;
        let parse = |source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) };
        toml::from_str::<Self>(&text).map_err(parse)?.check()
    }

    fn check(mut self) -> Result<Self, ConfigError> {
        if self.data.is_empty() {
            self.data.push(default_data().ok_or(ConfigError::NoData)?);
        }
        self.check_roles()?;
        self.website.check(&self.roles)?;
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(ConfigError::HalfTls);
        }
        let tls = &self.cluster.tls;
        let given = [&tls.certificate, &tls.key, &tls.ca].into_iter().flatten().count();
        if !matches!(given, 0 | 3) {
            return Err(ConfigError::PartTls);
        }
        url("gateway.public_url", &mut self.gateway.public_url)?;
        url("s3.public_url", &mut self.s3.public_url)?;
        self.identity.check()?;
        self.swift.check()?;
        self.gateway.tempauth.check()?;
        Ok(self)
    }

    fn check_roles(&self) -> Result<(), ConfigError> {
        if self.roles.is_empty() {
            return Err(ConfigError::NoRole);
        }
        if !self.roles.has(Role::Storage) && self.data.len() > 1 {
            return Err(ConfigError::NoDevices(self.data.len()));
        }
        if self.roles.are(&[Role::Control]) && self.identity.remote().is_some() {
            return Err(ConfigError::NothingToServe);
        }
        Ok(())
    }

    /// The directories of this host's devices.
    pub(crate) fn devices(&self) -> &[PathBuf] {
        if self.roles.has(Role::Storage) { &self.data } else { &[] }
    }

    /// The first data directory: the one that keeps the cluster's identity.
    pub(crate) fn home(&self) -> &Path {
        // `check` leaves at least one.
        self.data.first().map_or(Path::new("."), PathBuf::as_path)
    }
}

/// Checks a URL, where there is one, and takes the slashes off its end.
fn url(key: &'static str, url: &mut Option<String>) -> Result<(), ConfigError> {
    let Some(value) = url else { return Ok(()) };
    let bare = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    if bare.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', ' ', '"', '\'', '\n'])) {
        return Err(ConfigError::Url { key, value: value.clone() });
    }
    *value = value.trim_end_matches('/').to_owned();
    Ok(())
}

/// The text of a file that an operator wrote.
fn read_whole(path: &Path) -> Result<String, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

/// Where data go when nothing is said: the user's data directory.
fn default_data() -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = named("XDG_DATA_HOME").or_else(|| named("HOME").map(|home| home.join(".local/share")))?;
    Some(base.join("anello"))
}

/// `anello config print`.
pub(crate) fn print() -> Outcome {
    terminal::say(DEFAULT.trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_default_is_what_serve_uses_without_a_file() {
        assert_eq!(toml::from_str::<Config>(DEFAULT).expect("default.toml"), Config::default());
    }

    #[test]
    fn the_printed_default_documents_keys_that_exist() {
        let is_key = |line: &&str| line.starts_with("# ") && line.contains(" = \"");
        let uncomment = |line| if is_key(&line) { line.trim_start_matches("# ") } else { line };
        let text: Vec<&str> = DEFAULT.lines().map(uncomment).collect();
        let config: Config = toml::from_str(&text.join("\n")).expect("every commented key");
        assert!(
            config.tls.key.is_some()
                && config.s3.base_domain.is_some()
                && config.cluster.advertise.is_some()
                && config.gateway.public_url.is_some()
        );
    }

    #[test]
    fn a_misspelt_or_half_given_setting_is_refused() {
        for (text, complaint) in [
            ("lisen = 1", "unknown field `lisen`"),
            ("[gateway]\nlistne = \"127.0.0.1:1\"", "unknown field `listne`"),
            ("[gateway]\nlisten = \"8080\"", "invalid socket address"),
            ("[gateway]\nmetrics_access = \"all\"", "unknown variant `all`"),
            ("roles = [\"storage\", \"gateway\"]", "unknown variant `gateway`"),
            ("roles = []", "at least one of storage, proxy and control"),
            ("roles = [\"proxy\"]\ndata = [\"/a\", \"/b\"]", "one directory, its home, and not 2"),
            ("[tls]\nkey = \"a\"", "both certificate and key"),
            ("[cluster.tls]\nkey = \"a\"\ncertificate = \"b\"", "needs certificate, key and ca"),
            ("[s3]\npublic_url = \"s3.example.org\"", "s3.public_url must be"),
            ("[website]\ndomain = \"a b\"", "website.domain must be a domain's name"),
            ("roles = [\"storage\"]\n[website]\nlisten = \"127.0.0.1:0\"", "for a host with the role proxy"),
            ("[swift]\npipelin = []", "unknown field `pipelin`"),
            ("[swift]\npipeline = [\"bulk\", \"bulk\"]", "swift.pipeline: Bulk stands there twice"),
            ("[swift.service_prefixes.AUTH_]", "swift.service_prefixes"),
            ("[gateway.tempauth.users.\"test\"]\nkey = \"k\"", "gateway.tempauth.users"),
            ("[identity.remote]\nuser = \"anello\"", "[identity.remote] needs url"),
            ("[identity.remote]\nurl = \"keystone:5000\"", "identity.remote.url must be"),
            ("[identity.remote]\nurl = \"http://h\"", "[identity.remote] needs user"),
            ("[identity.remote]\nurl = \"http://h\"\nuser = \"a\"", "[identity.remote] needs password_file"),
        ] {
            let file = tempfile::NamedTempFile::new().expect("temporary file");
            std::fs::write(file.path(), text).expect("written");
            let error = Config::read(Some(file.path())).expect_err(text);
            assert!(error.to_string().contains(complaint), "{text:?}: {error}");
        }
    }

    #[test]
    fn identity_is_here_or_elsewhere_and_not_half_of_each() {
        const REMOTE: &str = "url = \"http://h/identity/v3/\"\nuser = \"a\"\npassword_file = \"/p\"\n";
        let read = |here: &str, remote: &str| {
            let text = format!("[identity]\n{here}\n[identity.remote]\n{REMOTE}{remote}\n");
            toml::from_str::<Config>(&text).expect("TOML").check()
        };
        let remote = read("", "").expect("valid").identity.remote().expect("elsewhere");
        assert_eq!((remote.url.as_str(), remote.project), ("http://h/identity", None));
        for (here, remote, complaint) in [
            ("database = \"sqlite:///x\"", "", "identity.database is for an identity of this host's own"),
            ("databases.a = \"sqlite:///x\"", "", "identity.databases is"),
            ("region = \"two\"", "", "identity.region is"),
            ("memcached = [\"h:1\"]", "", "identity.memcached is"),
            ("policy_file = \"/x\"", "", "identity.policy_file is"),
            ("audit_log = \"/x\"", "", "identity.audit_log is"),
            ("security_compliance.lockout_failure_attempts = 3", "", "identity.security_compliance is"),
            ("", "ca_file = \"/c\"", "identity.remote.ca_file: the url is not https://"),
            ("", "project_domain = \"d\"", "identity.remote.project_domain: there is no project"),
            ("", "cache_seconds = 0", "identity.remote.cache_seconds: from 1 to 300"),
        ] {
            let error = read(here, remote).expect_err(complaint);
            assert!(error.to_string().contains(complaint), "{error}");
        }
        let text = format!("roles = [\"control\"]\n[identity.remote]\n{REMOTE}");
        let error = toml::from_str::<Config>(&text).expect("TOML").check().expect_err("it would serve nothing");
        assert!(error.to_string().contains("role control alone"), "{error}");
    }

    #[test]
    fn roles_of_the_command_line_count_and_s3_needs_a_proxy() {
        let roles = |role: &[Role], s3_listen| {
            let args = ServeArgs { role: role.to_vec(), s3_listen, data: vec!["/a".into()], ..ServeArgs::default() };
            Config::load(&args)
        };
        let config = roles(&[Role::Proxy, Role::Storage, Role::Proxy], None).expect("valid");
        assert!(config.roles.are(&[Role::Storage, Role::Proxy]) && !config.devices().is_empty());
        assert!(roles(&[Role::Control], None).expect("valid").devices().is_empty());
        let error = roles(&[Role::Storage], Some(([127, 0, 0, 1], 2).into())).expect_err("nobody would listen");
        assert_eq!(error.to_string(), "--s3-listen is for a host with the role proxy, and this one has: storage");
    }

    #[test]
    fn the_command_line_overrides_the_file() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), "data = [\"/a\", \"/b\"]\n[s3]\nlisten = \"127.0.0.1:1\"").expect("written");
        let args = ServeArgs {
            config: Some(file.path().to_owned()),
            data: vec!["/c".into()],
            listen: Some(([127, 0, 0, 1], 2).into()),
            ..ServeArgs::default()
        };
        let config = Config::load(&args).expect("valid");
        assert_eq!(config.data, [PathBuf::from("/c")]);
        assert_eq!(config.gateway.listen.port(), 2);
        assert_eq!(config.s3.listen.port(), 1);
    }
}
