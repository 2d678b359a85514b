//! What an operator can set about the Swift door: the tables `[swift]` and `[gateway.tempauth]` of the configuration
//! file. `src/config/default.toml` says what each key means.

mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anello_storage::Store;
use serde::Deserialize;

use super::layer::proxy_logging::{self, line::Template};
use super::signature::Digest;
use crate::object::vault::{RootSecrets, SecretsFault, Vault};
pub use sync::{ContainerSyncConfig, RealmConfig};

/// Settings of the Swift door.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwiftConfig {
    /// What an account's name starts with; the project's id follows.
    pub reseller_prefix: String,
    /// Roles that own their project's account.
    pub operator_roles: Vec<String>,
    /// Roles that may read everything in their project's account.
    pub reader_roles: Vec<String>,
    /// The role that owns every account.
    pub reseller_admin_role: String,
    /// The role that reads every account.
    pub reseller_reader_role: Option<String>,
    /// What else accounts' names may start with: for accounts that services keep for projects.
    pub service_prefixes: BTreeMap<String, ServicePrefix>,
    /// Whether accounts can be created by PUT (owners) and deleted (reseller admins).
    pub allow_account_management: bool,
    /// Whether what has expired is reached by requests that ask for it.
    pub allow_open_expired: bool,
    /// The domain whose projects and users may be named (not only identified) in access lists.
    pub default_domain_id: String,
    /// Origins that are allowed in every container, as in `Access-Control-Allow-Origin`.
    pub cors_allow_origin: Vec<String>,
    /// Whether answers show `Access-Control-*` only to origins that are allowed.
    pub strict_cors_mode: bool,
    /// The middlewares, in the order in which a request comes to them.
    pub pipeline: Vec<Middleware>,
    /// `/info`.
    pub info: InfoConfig,
    /// Static large objects.
    pub slo: SloConfig,
    /// Settings of middlewares.
    pub tempurl: TempUrlConfig,
    /// See there.
    pub formpost: FormPostConfig,
    /// See there.
    pub staticweb: StaticWebConfig,
    /// See there.
    pub cname_lookup: CnameLookupConfig,
    /// See there.
    pub proxy_logging: ProxyLoggingConfig,
    /// See there.
    pub domain_remap: DomainRemapConfig,
    /// See there.
    pub keymaster: KeymasterConfig,
    /// See there.
    pub encryption: EncryptionConfig,
    /// See there.
    pub container_sync: ContainerSyncConfig,
    /// See there.
    pub crossdomain: CrossDomainConfig,
    /// See there.
    pub name_check: NameCheckConfig,
    /// See there.
    pub read_only: ReadOnlyConfig,
    /// See there.
    pub etag_quoter: EtagQuoterConfig,
    /// See there.
    pub list_endpoints: ListEndpointsConfig,
    /// See there.
    pub ratelimit: RatelimitConfig,
}

/// Accounts that a service keeps for projects.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServicePrefix {
    /// Roles in the project that are needed, in the place of `operator_roles` where there are any.
    pub operator_roles: Vec<String>,
    /// Roles of which the service that vouches for a request (`X-Service-Token`) needs one.
    pub service_roles: Vec<String>,
    /// The group that users of tempauth need.
    pub require_group: Option<String>,
}

/// A middleware, as the pipeline names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Middleware {
    /// Archives that are unpacked, and lists of objects that are deleted.
    Bulk,
    /// Limits that resellers set to accounts. Of the core, as the other four that say so: their places in the pipeline
    /// do not matter.
    AccountQuotas,
    /// Limits that owners set to containers. Of the core.
    ContainerQuotas,
    /// Sites under names of their own.
    CnameLookup,
    /// What other clusters copy here, and this one there.
    ContainerSync,
    /// `/crossdomain.xml`.
    Crossdomain,
    /// Accounts and containers as host names.
    DomainRemap,
    /// Entity tags in quotes.
    EtagQuoter,
    /// Uploads by a web form.
    Formpost,
    /// Which devices keep what.
    ListEndpoints,
    /// Encryption at rest of what is written. Below both doors, so that its place does not matter, as that of the next.
    Encryption,
    /// Keys for what is encrypted.
    Keymaster,
    /// Names that are not wanted.
    NameCheck,
    /// The access log.
    ProxyLogging,
    /// Requests that come too fast.
    Ratelimit,
    /// A cluster that nobody writes to.
    ReadOnly,
    /// Static web sites.
    Staticweb,
    /// Objects that stand for others. Of the core.
    Symlink,
    /// Addresses that are signed.
    Tempurl,
    /// Containers that keep every version of their objects. Of the core.
    ObjectVersioning,
    /// Older versions in another container. Of the core.
    VersionedWrites,
}

/// What is offered unless an operator says otherwise.
const PIPELINE: [Middleware; 9] = [
    Middleware::Bulk,
    Middleware::Tempurl,
    Middleware::Formpost,
    Middleware::Staticweb,
    Middleware::AccountQuotas,
    Middleware::ContainerQuotas,
    Middleware::VersionedWrites,
    Middleware::ObjectVersioning,
    Middleware::Symlink,
];

/// Static large objects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SloConfig {
    /// Whether segments may be deleted in the background.
    pub allow_async_delete: bool,
}

impl Default for SloConfig {
    fn default() -> Self {
        Self { allow_async_delete: true }
    }
}

/// `tempurl`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TempUrlConfig {
    /// Methods that may be signed.
    pub methods: Vec<String>,
    /// Hashes that signatures may be made with.
    pub allowed_digests: Vec<Digest>,
    /// Headers that are taken off signed requests; a name may end in `*`.
    pub incoming_remove_headers: Vec<String>,
    /// Exceptions from these.
    pub incoming_allow_headers: Vec<String>,
    /// Headers that are taken off their answers.
    pub outgoing_remove_headers: Vec<String>,
    /// Exceptions from these.
    pub outgoing_allow_headers: Vec<String>,
}

impl Default for TempUrlConfig {
    fn default() -> Self {
        Self {
            methods: names(&["GET", "HEAD", "PUT", "POST", "DELETE"]),
            allowed_digests: vec![Digest::Sha256, Digest::Sha512],
            incoming_remove_headers: names(&["x-timestamp", "x-open-expired"]),
            incoming_allow_headers: Vec::new(),
            outgoing_remove_headers: names(&["x-object-meta-*"]),
            outgoing_allow_headers: names(&["x-object-meta-public-*"]),
        }
    }
}

/// `formpost`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FormPostConfig {
    /// Hashes that signatures may be made with.
    pub allowed_digests: Vec<Digest>,
}

impl Default for FormPostConfig {
    fn default() -> Self {
        Self { allowed_digests: vec![Digest::Sha256, Digest::Sha512] }
    }
}

/// `staticweb`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StaticWebConfig {
    /// The URL that redirections start with, where the request does not tell it.
    pub url_base: Option<String>,
}

/// `domain_remap`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DomainRemapConfig {
    /// Domains below which accounts and containers are.
    pub storage_domain: Vec<String>,
    /// What accounts' names begin with where the host does not say it.
    pub default_reseller_prefix: Option<String>,
    /// Whether a path may also begin with `/v1`.
    pub mangle_client_paths: bool,
}

impl Default for DomainRemapConfig {
    fn default() -> Self {
        Self { storage_domain: names(&["example.com"]), default_reseller_prefix: None, mangle_client_paths: false }
    }
}

/// `cname_lookup`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CnameLookupConfig {
    /// Domains below which accounts and containers are.
    pub storage_domain: Vec<String>,
    /// How many names may stand for each other.
    pub lookup_depth: u32,
    /// Who is asked, where it is not the system's name servers.
    pub nameservers: Vec<SocketAddr>,
}

impl Default for CnameLookupConfig {
    fn default() -> Self {
        Self { storage_domain: names(&["example.com"]), lookup_depth: 1, nameservers: Vec::new() }
    }
}

/// `proxy_logging`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyLoggingConfig {
    /// The file that lines are appended to, where they don't go to the log.
    pub access_log: Option<PathBuf>,
    /// What a line is like.
    pub log_msg_template: Template,
    /// Whether the field `headers` shows any.
    pub access_log_headers: bool,
    /// Which, where it does; all if there is none.
    pub access_log_headers_only: Vec<String>,
    /// So many characters of tokens and signatures are shown.
    pub reveal_sensitive_prefix: usize,
}

impl Default for ProxyLoggingConfig {
    fn default() -> Self {
        Self {
            access_log: None,
            log_msg_template: Template::default(),
            access_log_headers: false,
            access_log_headers_only: Vec::new(),
            reveal_sensitive_prefix: 16,
        }
    }
}

/// `keymaster`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeymasterConfig {
    /// The file that holds root secrets, beside those of the environment.
    pub secrets_file: Option<PathBuf>,
    /// The root secret that new objects are encrypted under, where the file does not say it.
    pub active_root_secret_id: Option<String>,
}

/// `encryption`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncryptionConfig {
    /// Whether new objects are not encrypted; those that are go on being read.
    pub disable_encryption: bool,
}

/// `crossdomain`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossDomainConfig {
    /// What stands in the policy.
    pub cross_domain_policy: String,
}

impl Default for CrossDomainConfig {
    fn default() -> Self {
        Self { cross_domain_policy: "<allow-access-from domain=\"*\" secure=\"false\" />".into() }
    }
}

/// `name_check`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NameCheckConfig {
    /// Characters that no path may have.
    pub forbidden_chars: String,
    /// Bytes of a path.
    pub maximum_length: usize,
    /// What no path may fit.
    pub forbidden_regexp: Option<Regexp>,
}

impl Default for NameCheckConfig {
    fn default() -> Self {
        let regexp = Regexp::try_from(String::from(r"/\./|/\.\./|/\.$|/\.\.$"));
        Self { forbidden_chars: "'\"`<>".into(), maximum_length: 255, forbidden_regexp: regexp.ok() }
    }
}

/// A regular expression.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Regexp(fancy_regex::Regex);

impl Regexp {
    /// As it was written.
    pub(super) fn text(&self) -> &str {
        self.0.as_str()
    }

    /// Whether anything in a text fits, or it takes too long to tell.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text).unwrap_or(true)
    }
}

impl TryFrom<String> for Regexp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        fancy_regex::Regex::new(&text).map(Self).map_err(|error| error.to_string())
    }
}

impl PartialEq for Regexp {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Regexp {}

/// `read_only`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadOnlyConfig {
    /// Whether the cluster is closed to writes.
    pub read_only: bool,
    /// Whether deletions go on.
    pub allow_deletes: bool,
}

/// `etag_quoter`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtagQuoterConfig {
    /// Whether tags are quoted where neither the container nor the account says it.
    pub enable_by_default: bool,
}

/// `list_endpoints`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListEndpointsConfig {
    /// The path below which it answers.
    pub list_endpoints_path: String,
}

impl Default for ListEndpointsConfig {
    fn default() -> Self {
        Self { list_endpoints_path: "/endpoints/".into() }
    }
}

/// `ratelimit`. A rate of 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatelimitConfig {
    /// Containers of an account that are made or deleted in a second.
    pub account_ratelimit: Amount,
    /// Writes of objects in a second, by the number of objects in the container: between two sizes it is interpolated.
    pub container_ratelimits: Vec<(u64, Amount)>,
    /// The same for listings of the container.
    pub container_listing_ratelimits: Vec<(u64, Amount)>,
    /// Accounts that are held to no limit.
    pub account_whitelist: Vec<String>,
    /// Accounts that are answered nothing.
    pub account_blacklist: Vec<String>,
    /// How long a request waits at most, in seconds; one that had to wait longer is refused.
    pub max_sleep_time_seconds: Amount,
    /// Waiting longer than this many seconds is logged; 0 for never.
    pub log_sleep_time_seconds: Amount,
    /// For so many seconds whoever has been idle may be faster.
    pub rate_buffer_seconds: Amount,
}

impl Default for RatelimitConfig {
    fn default() -> Self {
        Self {
            account_ratelimit: Amount(0.0),
            container_ratelimits: Vec::new(),
            container_listing_ratelimits: Vec::new(),
            account_whitelist: Vec::new(),
            account_blacklist: Vec::new(),
            max_sleep_time_seconds: Amount(60.0),
            log_sleep_time_seconds: Amount(0.0),
            rate_buffer_seconds: Amount(5.0),
        }
    }
}

/// Seconds, or requests in a second: not negative, and finite.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Amount(pub(super) f64);

impl Eq for Amount {}

impl TryFrom<f64> for Amount {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        let is_amount = number.is_finite() && number >= 0.0;
        is_amount.then_some(Self(number)).ok_or_else(|| format!("{number} is negative, or no number"))
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// What `/info` tells.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfoConfig {
    /// Whether it tells anything.
    pub expose: bool,
    /// Sections that only administrators see.
    pub disallowed_sections: Vec<String>,
    /// The key that administrators sign with; without one nobody is one.
    pub admin_key: Option<String>,
}

impl Default for InfoConfig {
    fn default() -> Self {
        Self { expose: true, disallowed_sections: Vec::new(), admin_key: None }
    }
}

/// Users for development, in clear. Off where `enabled` is not set.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TempAuthConfig {
    /// Whether `/auth/v1.0` is there.
    pub enabled: bool,
    /// How long a token lives.
    pub token_life_seconds: u64,
    /// Users by `account:user`.
    pub users: BTreeMap<String, TempUser>,
}

impl Default for TempAuthConfig {
    fn default() -> Self {
        Self { enabled: false, token_life_seconds: 86_400, users: BTreeMap::new() }
    }
}

impl std::fmt::Debug for TempAuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TempAuthConfig").field("enabled", &self.enabled).field("users", &self.users.len()).finish()
    }
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TempUser {
    /// His password.
    pub key: String,
    /// His groups. `.admin` owns the account, `.reseller_admin` all accounts, `.reseller_reader` reads them.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The URL that he is given, in the place of his account's.
    #[serde(default)]
    pub storage_url: Option<String>,
}

/// Where the door is to be found, and what it seals with.
#[derive(Clone, Default)]
pub struct Endpoint {
    /// The cluster's secret.
    pub secret: Vec<u8>,
    /// The gateway's URL, where the operator has set it.
    pub public_url: Option<String>,
    /// Whether the listener speaks TLS.
    pub is_tls: bool,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct ConfigFault {
    /// The key, below `swift.` or `gateway.`.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ConfigFault {
    fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}

impl SwiftConfig {
    /// Whether a middleware is in the pipeline.
    pub(super) fn offers(&self, middleware: Middleware) -> bool {
        self.pipeline.contains(&middleware)
    }

    /// What accounts' names may begin with, longest first.
    pub(super) fn prefixes(&self) -> Vec<String> {
        std::iter::once(&self.reseller_prefix).chain(self.service_prefixes.keys()).cloned().collect()
    }

    /// A store that both doors go to, with the keys that `keymaster` has; `environment` is the process's.
    pub fn vault(
        &self,
        store: Store,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Vault, SecretsFault> {
        if !self.offers(Middleware::Keymaster) {
            return Ok(Vault::from(store));
        }
        let KeymasterConfig { secrets_file, active_root_secret_id } = &self.keymaster;
        let secrets = RootSecrets::load(secrets_file.as_deref(), environment, active_root_secret_id.as_deref())?;
        let is_sealing = self.offers(Middleware::Encryption) && !self.encryption.disable_encryption;
        Ok(Vault::new(store, Arc::new(secrets), is_sealing))
    }

    /// Looks for what does not make sense.
    pub fn check(&self) -> Result<(), ConfigFault> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.pipeline.iter().find(|middleware| !seen.insert(**middleware)) {
            return Err(ConfigFault::new("swift.pipeline", format!("{twice:?} stands there twice")));
        }
        if let Some(path) = self.proxy_logging.access_log.as_deref().filter(|_| self.offers(Middleware::ProxyLogging)) {
            let wrong =
                |error| ConfigFault::new("swift.proxy_logging.access_log", format!("{}: {error}", path.display()));
            proxy_logging::open(path).map_err(wrong)?;
        }
        if self.offers(Middleware::Encryption) && !self.offers(Middleware::Keymaster) {
            return Err(ConfigFault::new("swift.pipeline", "encryption needs keymaster"));
        }
        for (name, realm) in &self.container_sync.realms {
            let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
            if realm.key.is_empty() || !realm.clusters.values().all(is_url) {
                let key = format!("swift.container_sync.realms.{name}");
                return Err(ConfigFault::new(
                    key,
                    "a realm has a key, and clusters with http:// or https:// addresses",
                ));
            }
        }
        let prefixes = self.prefixes();
        for (at, prefix) in prefixes.iter().enumerate() {
            let is_ambiguous =
                |(other_at, other): (usize, &String)| at != other_at && other.starts_with(prefix.as_str());
            if prefix.is_empty() || prefix.contains('/') || prefixes.iter().enumerate().any(is_ambiguous) {
                let reason = format!("{prefix:?} is no prefix, or another one begins with it");
                return Err(ConfigFault::new("swift.service_prefixes", reason));
            }
        }
        Ok(())
    }
}

impl TempAuthConfig {
    /// Looks for what does not make sense.
    pub fn check(&self) -> Result<(), ConfigFault> {
        for (name, user) in &self.users {
            let is_name = name.split_once(':').is_some_and(|(account, user)| {
                !account.is_empty() && !user.is_empty() && !account.contains('/') && !user.contains([',', ':'])
            });
            if !is_name || user.key.is_empty() {
                let key = format!("gateway.tempauth.users.{name:?}");
                return Err(ConfigFault::new(key, "users are named account:user and have a key"));
            }
        }
        Ok(())
    }
}

impl Default for SwiftConfig {
    fn default() -> Self {
        Self {
            reseller_prefix: "AUTH_".into(),
            operator_roles: names(&["admin", "member", "swiftoperator"]),
            reader_roles: names(&["reader"]),
            reseller_admin_role: "ResellerAdmin".into(),
            reseller_reader_role: None,
            service_prefixes: BTreeMap::new(),
            allow_account_management: true,
            allow_open_expired: false,
            default_domain_id: "default".into(),
            cors_allow_origin: Vec::new(),
            strict_cors_mode: true,
            pipeline: PIPELINE.to_vec(),
            info: InfoConfig::default(),
            slo: SloConfig::default(),
            tempurl: TempUrlConfig::default(),
            formpost: FormPostConfig::default(),
            staticweb: StaticWebConfig::default(),
            cname_lookup: CnameLookupConfig::default(),
            proxy_logging: ProxyLoggingConfig::default(),
            domain_remap: DomainRemapConfig::default(),
            keymaster: KeymasterConfig::default(),
            encryption: EncryptionConfig::default(),
            container_sync: ContainerSyncConfig::default(),
            crossdomain: CrossDomainConfig::default(),
            name_check: NameCheckConfig::default(),
            read_only: ReadOnlyConfig::default(),
            etag_quoter: EtagQuoterConfig::default(),
            list_endpoints: ListEndpointsConfig::default(),
            ratelimit: RatelimitConfig::default(),
        }
    }
}
