//! Where keys come from. A [`KeyService`] gives the key of a container under a root secret that it knows by an id, and
//! never the secret. [`RootSecrets`] has them in memory, from a file or the environment; a service that asks a key
//! management system is another implementation.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use anello_storage::{Error, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::future::BoxFuture;
use ring::hmac;
use serde::Deserialize;

use crate::object::limits::{ROOT_SECRET_BYTES_MIN, SECRET_ID_BYTES_MAX, SECRETS_FILE_BYTES_MAX};

/// The variable that may hold a root secret, in base64; behind it and `_` the secret's id, where it has one.
const VARIABLE: &str = "ANELLO_ENCRYPTION_ROOT_SECRET";

/// What a root secret is known by: letters, digits, `-` and `_`; the empty one is the secret without a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SecretId(String);

impl SecretId {
    /// Reads an id; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        (is_id && text.len() <= SECRET_ID_BYTES_MAX).then(|| Self(text.to_owned()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key of 256 bits that others are derived from. It is not shown.
#[derive(Clone)]
pub struct ContainerKey(pub(super) hmac::Key);

impl ContainerKey {
    /// These bytes as a key.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }
}

impl fmt::Debug for ContainerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContainerKey")
    }
}

/// Gives keys.
pub trait KeyService: fmt::Debug + Send + Sync {
    /// The root secrets that are known. Few: the keys of a container are asked for under each.
    fn ids(&self) -> Vec<SecretId>;

    /// The one that new objects are sealed under.
    fn active(&self) -> SecretId;

    /// The key of a container under a root secret: for the same names always the same. An error where it can't be told
    /// now; of a secret that is not known, [`Error::Sealed`].
    fn container_key<'a>(
        &'a self,
        id: &'a SecretId,
        account: &'a str,
        container: &'a str,
    ) -> BoxFuture<'a, Result<ContainerKey>>;
}

/// Why there are no root secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsFault {
    /// The file can't be read.
    #[error("the root secrets' file {path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A secret can't be used. It is not shown.
    #[error("root secret {id:?}: {reason}")]
    Secret {
        /// Which.
        id: String,
        /// Why.
        reason: &'static str,
    },
    /// There is no secret to seal with.
    #[error("there is no root secret {0:?}, which is to be the active one")]
    NoActive(String),
    /// There is none at all.
    #[error("there is no root secret: name a file in swift.keymaster.secrets_file, or set {VARIABLE}")]
    None,
}

/// Root secrets in memory.
pub struct RootSecrets {
    secrets: BTreeMap<SecretId, hmac::Key>,
    active: SecretId,
}

impl fmt::Debug for RootSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.secrets.keys().map(SecretId::as_str).collect();
        f.debug_struct("RootSecrets").field("ids", &ids).field("active", &self.active).finish_non_exhaustive()
    }
}

/// The file: secrets in base64 by their ids, and which of them is active.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsFile {
    active_root_secret_id: Option<String>,
    #[serde(default)]
    root_secrets: BTreeMap<String, String>,
}

impl RootSecrets {
    /// Reads the file, where one is named, and the environment's variables, given as pairs; `active` is the secret to
    /// seal with, before what the file says.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        active: Option<&str>,
    ) -> std::result::Result<Self, SecretsFault> {
        let mut found = BTreeMap::new();
        let mut active = active.map(str::to_owned);
        if let Some(path) = file {
            let file = read(path)?;
            active = active.or(file.active_root_secret_id);
            found.extend(file.root_secrets);
        }
        for (name, secret) in environment {
            let id = match name.strip_prefix(VARIABLE) {
                Some("") => "",
                Some(rest) => match rest.strip_prefix('_') {
                    Some(id) => id,
                    None => continue,
                },
                None => continue,
            };
            found.insert(id.to_owned(), secret);
        }
        Self::new(found, active.as_deref())
    }

    /// Secrets in base64 by their ids. The only one there is, is active.
    pub fn new(
        found: impl IntoIterator<Item = (String, String)>,
        active: Option<&str>,
    ) -> std::result::Result<Self, SecretsFault> {
        let mut secrets = BTreeMap::new();
        for (id, text) in found {
            let wrong = |reason| SecretsFault::Secret { id: id.clone(), reason };
            let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| wrong("it is not base64"))?;
            if bytes.len() < ROOT_SECRET_BYTES_MIN {
                return Err(wrong("it has less than 32 bytes"));
            }
            let name = SecretId::parse(&id);
            let name = name.ok_or_else(|| wrong("an id has up to 32 letters, digits, - and _"))?;
            secrets.insert(name, hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        }
        let active = match (active, secrets.len()) {
            (_, 0) => return Err(SecretsFault::None),
            (Some(active), _) => SecretId::parse(active),
            (None, 1) => secrets.keys().next().cloned(),
            (None, _) => Some(SecretId::default()),
        };
        match active.clone().filter(|active| secrets.contains_key(active)) {
            Some(active) => Ok(Self { secrets, active }),
            None => Err(SecretsFault::NoActive(active.unwrap_or_default().to_string())),
        }
    }
}

fn read(path: &Path) -> std::result::Result<SecretsFile, SecretsFault> {
    let fault = |reason: String| SecretsFault::File { path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(|error| fault(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| fault(error.to_string()))?;
    if std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0 {
        return Err(fault("others than its owner can read it: chmod 600".into()));
    }
    let mut text = String::new();
    let read = file.take(SECRETS_FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| fault(error.to_string()))?;
    if text.len() as u64 > SECRETS_FILE_BYTES_MAX {
        return Err(fault("it is too long".into()));
    }
    // The parser's own message would show the line.
    toml::from_str(&text).map_err(|_| fault("it is not of the form that docs/formats/encryption.md shows".into()))
}

impl KeyService for RootSecrets {
    fn ids(&self) -> Vec<SecretId> {
        self.secrets.keys().cloned().collect()
    }

    fn active(&self) -> SecretId {
        self.active.clone()
    }

    fn container_key<'a>(
        &'a self,
        id: &'a SecretId,
        account: &'a str,
        container: &'a str,
    ) -> BoxFuture<'a, Result<ContainerKey>> {
        Box::pin(async move {
            let root = self.secrets.get(id).ok_or_else(|| Error::Sealed(id.to_string()))?;
            let mut context = hmac::Context::with_key(root);
            context.update(b"anello container 1\0");
            for name in [account, container] {
                context.update(&(name.len() as u32).to_le_bytes());
                context.update(name.as_bytes());
            }
            Ok(ContainerKey(hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> String {
        BASE64_STANDARD.encode([byte; 32])
    }

    #[test]
    fn the_active_secret_is_one_that_there_is() {
        let check = |found: &[(&str, u8)], active: Option<&str>, want: Option<&str>| {
            let found = found.iter().map(|(id, byte)| ((*id).to_owned(), secret(*byte)));
            let secrets = RootSecrets::new(found, active).ok();
            assert_eq!(secrets.map(|it| it.active().to_string()).as_deref(), want);
        };
        check(&[("", 1)], None, Some(""));
        check(&[("2026", 1)], None, Some("2026"));
        check(&[("", 1), ("2026", 2)], None, Some(""));
        check(&[("", 1), ("2026", 2)], Some("2026"), Some("2026"));
        check(&[("2025", 1), ("2026", 2)], None, None);
        check(&[("2025", 1)], Some("2026"), None);
        check(&[], None, None);
    }

    #[test]
    fn secrets_are_read_from_a_file_of_its_owners_and_from_the_environment() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = format!("active_root_secret_id = \"new\"\n[root_secrets]\nnew = \"{}\"\n", secret(1));
        std::fs::write(file.path(), text).expect("written");
        let environment = || {
            let name = |end: &str| format!("{VARIABLE}{end}");
            [(name(""), secret(2)), (name("_old"), secret(3)), ("HOME".to_owned(), "/root".to_owned())]
        };
        let secrets = RootSecrets::load(Some(file.path()), environment(), None).expect("reads");
        let ids: Vec<_> = secrets.ids().iter().map(ToString::to_string).collect();
        assert_eq!((ids, secrets.active().as_str()), (vec!["".into(), "new".into(), "old".into()], "new"));
        assert!(!format!("{secrets:?}").contains(&secret(1)));
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).expect("changed");
        let refused = RootSecrets::load(Some(file.path()), environment(), None).expect_err("others read it");
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_bad_secret_is_refused_and_not_shown() {
        for text in ["short", "c2hvcnQ=", "not base64 at all, whatever it is that it is"] {
            let refused = RootSecrets::new([("x".to_owned(), text.to_owned())], None).expect_err(text);
            assert!(!refused.to_string().contains(text), "{refused}");
        }
        assert!(RootSecrets::new([("a/b".to_owned(), secret(1))], None).is_err());
    }
}
