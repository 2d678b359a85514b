//! The room: its parts put together, and what other rooms and the roof ask of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anello_api::identity::{Caller, Identity, IdentityError, SigningKey};
use anello_api::rest::{self, Policy};
use anello_storage::Store;
use futures::future::{BoxFuture, ready};
use rand::distr::{Alphanumeric, SampleString};
use tokio::task::JoinSet;

use crate::audit::Audit;
use crate::auth::{EC2, Ec2Blob, SharedTokens, SigningKeys, Throttle, Tokens, now_us};
use crate::compliance::{Compliance, Rules};
use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::http::{Door, routes};
use crate::ldap::Sources;
use crate::limits::{REVOCATION_MARGIN, TOKEN_LIFE};
use crate::model::{Credential, Delegate, Extra, Revocation, Revoked, access_id};
use crate::password::Hasher;
use crate::records::{DomainRecords, ObjectRecords, Records};
use crate::time::SECOND_US;
use crate::token::{KeyKind, Keys};

/// Letters of a generated access key: as AWS's.
const ACCESS_CHARS: usize = 20;

/// Letters of a generated secret key: 62 letters to the 40th are 238 bits.
const SECRET_CHARS: usize = 40;

/// What the room is told at its start.
#[derive(Clone, Default)]
pub struct IdentityConfig {
    /// The cluster's secret: the key repositories are sealed under it.
    pub cluster_secret: Vec<u8>,
    /// Address of the room in links, such as `https://cloud.example/identity`. Without one, links follow the
    /// request (`X-Forwarded-Proto`, `-Host`, `-Prefix`, or `Host`) and the path under which it is mounted.
    pub public_url: Option<String>,
    /// Rules for passwords and log-ins.
    pub compliance: Compliance,
    /// An operator's rules in oslo.policy's YAML form, over the built-in ones.
    pub policy_overrides: Option<String>,
    /// File that security-relevant actions are written to, as CADF events; without one they go to the log.
    pub audit_log: Option<PathBuf>,
    /// Memcached servers (`host:port`) by which hosts share what tokens say; the same on every host.
    pub memcached: Vec<String>,
    /// Databases that domains may have their users and groups in, by the names that domain configurations use.
    pub databases: BTreeMap<String, String>,
}

impl std::fmt::Debug for IdentityConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityConfig").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

/// The identity room.
pub struct IdentityRoom {
    pub(crate) directory: Directory,
    /// Where the directory's records are.
    pub(crate) records: Arc<DomainRecords>,
    pub(crate) hasher: Hasher,
    pub(crate) tokens: Tokens,
    pub(crate) signing_keys: SigningKeys,
    /// Keys that seal receipts for parts of log-ins.
    pub(crate) receipt_keys: Keys,
    pub(crate) rules: Rules,
    pub(crate) throttle: Throttle,
    pub(crate) audit: Audit,
    /// Domains whose users come from elsewhere.
    pub(crate) sources: Sources,
    /// Held by the one move of records that may be under way.
    pub(crate) migrating: tokio::sync::Mutex<()>,
    /// Directories that are being read; they end with the room.
    reading: Mutex<JoinSet<()>>,
    pub(crate) policy: Policy,
    pub(crate) config: IdentityConfig,
}

impl std::fmt::Debug for IdentityRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityRoom").field("config", &self.config).finish_non_exhaustive()
    }
}

impl IdentityRoom {
    /// Opens the room with its records as objects in `store`.
    pub async fn open(store: Store, config: IdentityConfig) -> Result<Arc<Self>> {
        Self::open_with(Arc::new(ObjectRecords::new(store)), config).await
    }

    /// Opens the room over any back end: makes the key repositories where they are not there, and reads all
    /// records.
    pub async fn open_with(records: Arc<dyn Records>, config: IdentityConfig) -> Result<Arc<Self>> {
        records.prepare().await?;
        let keys = async |kind| Keys::open(&*records, kind, &config.cluster_secret).await;
        let token_keys = keys(KeyKind::Token).await?;
        let credential_keys = keys(KeyKind::Credential).await?;
        let receipt_keys = keys(KeyKind::Receipt).await?;
        let policy = crate::policy::with_overrides(config.policy_overrides.as_deref())?;
        let shared = SharedTokens::new(&config.memcached, &config.cluster_secret)?;
        let records = Arc::new(DomainRecords::new(records));
        let directory = Directory::new(Arc::clone(&records) as Arc<dyn Records>);
        directory.refresh().await?;
        let room = Arc::new(Self {
            directory,
            records,
            hasher: Hasher::new()?,
            tokens: Tokens::new(token_keys, shared),
            signing_keys: SigningKeys::new(credential_keys),
            receipt_keys,
            rules: Rules::new(config.compliance.clone())?,
            throttle: Throttle::new(),
            sources: Sources::default(),
            migrating: tokio::sync::Mutex::default(),
            reading: Mutex::default(),
            audit: Audit::open(config.audit_log.as_deref())?,
            policy,
            config,
        });
        room.follow_directories().await;
        Ok(room)
    }

    /// Reads the directories of users in the background.
    pub(crate) fn read_directories_soon(self: &Arc<Self>) {
        self.follow_configurations();
        let room = Arc::downgrade(self);
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended are forgotten.
        while reading.try_join_next().is_some() {}
        reading.spawn(async move {
            if let Some(room) = room.upgrade() {
                room.follow_directories().await;
            }
        });
    }

    /// Every path that the room serves. Mount it with `nest_service("/identity", …)`.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        rest::router(&Arc::new(Door::new(Arc::clone(self))), routes())
    }

    /// The same for whoever runs the store on its host: every request is his, and no token is asked for. Only for a
    /// socket that nobody else can open.
    pub fn operator_router(self: &Arc<Self>) -> axum::Router {
        rest::router(&Arc::new(Door::for_operator(Arc::clone(self))), routes())
    }

    /// Takes over what other hosts wrote to the records and keys since, and drops revocations that no token can
    /// need any more; reads directories of users that have not been read for long. For a timer; where one host alone
    /// writes, nothing is to be taken over.
    pub async fn refresh(&self) -> Result<()> {
        let (records, secret) = (self.directory.records(), &self.config.cluster_secret[..]);
        self.tokens.refresh_keys(records, secret).await?;
        self.signing_keys.keys.refresh(records, secret).await?;
        self.receipt_keys.refresh(records, secret).await?;
        self.directory.refresh().await?;
        self.follow_directories().await;
        let kept = TOKEN_LIFE + REVOCATION_MARGIN + crate::limits::TOKEN_EXPIRED_WINDOW;
        let oldest = (now_us() / SECOND_US).saturating_sub(kept.as_secs());
        self.directory.delete_all(|it: &Revocation| it.issued_before < oldest).await
    }

    /// Writes the snapshots that the next start reads, where they have become old. For a timer, and before the end
    /// (`is_last`), when it is worth more. Never needed: without them a start is slow.
    pub async fn keep_snapshots(&self, is_last: bool) -> Result<()> {
        self.directory.keep_snapshots(is_last).await
    }

    /// Ends tokens that were issued up to now. Counts at once here; elsewhere with the next [`Self::refresh`].
    pub(crate) async fn revoke(&self, of: Revoked) -> Result<()> {
        self.directory.put(Revocation { of, issued_before: now_us() / SECOND_US }).await.map(|_| ())
    }

    /// Makes an EC2 key for a user on a project.
    pub(crate) async fn new_ec2_key(
        &self,
        user_id: &str,
        project_id: &str,
        delegate: Option<Delegate>,
    ) -> Result<(Ec2Blob, Arc<Credential>)> {
        let letters = |count| Alphanumeric.sample_string(&mut rand::rng(), count);
        let blob = Ec2Blob { access: letters(ACCESS_CHARS).to_ascii_uppercase(), secret: letters(SECRET_CHARS) };
        let json = serde_json::to_vec(&blob).map_err(|error| Error::Internal(error.to_string()))?;
        let credential = Credential {
            id: access_id(&blob.access),
            kind: EC2.to_owned(),
            user_id: user_id.to_owned(),
            project_id: Some(project_id.to_owned()),
            sealed_blob: self.signing_keys.keys.seal(&json),
            moved_to: None,
            delegate,
            extra: Extra::new(),
        };
        Ok((blob, self.directory.create(credential).await?))
    }
}

impl Identity for IdentityRoom {
    fn token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>, IdentityError>> {
        Box::pin(async move {
            self.tokens.learn(token).await;
            let validated = self.tokens.validate(&self.directory, token, false);
            validated.map(|it| Arc::clone(&it.caller)).map_err(|_| IdentityError::NotValid)
        })
    }

    fn generation(&self) -> Option<u64> {
        Some(self.directory.generation())
    }

    fn signing_key<'a>(&'a self, access: &'a str) -> BoxFuture<'a, Result<SigningKey, IdentityError>> {
        let found = self.signing_keys.get(&self.directory, access);
        Box::pin(ready(found.map(|key| SigningKey::clone(&key)).map_err(|_| IdentityError::NotValid)))
    }
}
