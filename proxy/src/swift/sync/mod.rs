//! Container sync: a container whose owner names another one, in this cluster or another of the same realm, has its
//! objects copied there, and what is deleted deleted. Operators agree on realms and their keys, owners on a key for both
//! containers; every request is signed with both ([`Realms::sign`], Swift's form) and carries the object's timestamp, so
//! that the later one wins wherever it came first. The layer `container_sync` lets such requests in; [`Synchronizer`]
//! makes them.

mod outgoing;
mod push;
mod rows;

use std::collections::BTreeMap;
use std::fmt;

use anello_base::Timestamp;
use anello_storage::store::{IfMissing, ObjectHead};
use anello_storage::{ContainerInfo, Error, Metadata, ObjectPath, Precondition, Store};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha1::Sha1;

use super::config::ContainerSyncConfig;
use super::metadata::value;
use super::reply;
pub use outgoing::Synchronizer;

/// Where the container's objects go: `//realm/cluster/account/container`.
pub(super) const SYNC_TO: &str = "x-container-sync-to";

/// The key that both containers have.
pub(super) const SYNC_KEY: &str = "x-container-sync-key";

/// The signature of a request: realm, nonce and HMAC.
pub(super) const SYNC_AUTH: &str = "x-container-sync-auth";

/// The system account of what is known about containers that are copied; no door reaches it by name.
const ACCOUNT: &str = ".sync";

/// Its container of the names of containers that are copied.
const CONTAINERS: &str = "containers";

/// The realms that this cluster is in. Names of realms and clusters have no case.
#[derive(Clone, Default)]
pub(super) struct Realms(BTreeMap<String, Realm>);

#[derive(Clone)]
struct Realm {
    keys: Vec<String>,
    /// Addresses up to and without the account.
    clusters: BTreeMap<String, String>,
}

impl fmt::Debug for Realms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Realms {
    pub(super) fn of(config: &ContainerSyncConfig) -> Self {
        let realm = |(name, realm): (&String, &super::config::RealmConfig)| {
            let clusters = realm.clusters.iter();
            let clusters = clusters.map(|(name, url)| (name.to_uppercase(), url.trim_end_matches('/').to_owned()));
            let keys = std::iter::once(&realm.key).chain(&realm.key2).cloned().collect();
            (name.to_uppercase(), Realm { keys, clusters: clusters.collect() })
        };
        Self(config.realms.iter().map(realm).collect())
    }

    /// Names of realms, and of the clusters in each.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        self.0.iter().map(|(name, realm)| (name.as_str(), realm.clusters.keys().map(String::as_str)))
    }

    /// The signature of a request with a realm's first key, and the container's.
    fn sign(&self, realm: &str, signed: &Signed<'_>, user_key: &str) -> Option<String> {
        let key = self.0.get(realm)?.keys.first()?;
        Some(hex::encode(mac(key, signed, user_key).finalize().into_bytes()))
    }

    /// Whether a signature is one of a realm's.
    pub(super) fn is_signed(&self, realm: &str, signed: &Signed<'_>, user_key: &str, signature: &str) -> bool {
        let Ok(signature) = hex::decode(signature) else { return false };
        let keys = self.0.get(&realm.to_uppercase()).map(|realm| realm.keys.as_slice()).unwrap_or_default();
        keys.iter().any(|key| mac(key, signed, user_key).verify_slice(&signature).is_ok())
    }

    /// Reads where a container's objects are to go.
    pub(super) fn target(&self, text: &str) -> Result<Target, String> {
        let rest =
            text.strip_prefix("//").ok_or("Only values of the format //realm/cluster/account/container are allowed")?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [realm, cluster, account, container] = parts[..] else {
            return Err(format!("Invalid X-Container-Sync-To format {text:?}"));
        };
        let (realm, cluster) = (realm.to_uppercase(), cluster.to_uppercase());
        let known = self.0.get(&realm).ok_or_else(|| format!("No realm key for {realm:?}"))?;
        let base = known.clusters.get(&cluster);
        let base = base.ok_or_else(|| format!("No cluster endpoint for {realm:?} {cluster:?}"))?;
        let name = |name: &str| {
            let name = percent_decode_str(name).decode_utf8().ok().filter(|name| !name.is_empty());
            name.map(|name| reply::quoted(&name).replace('/', "%2F"))
        };
        match (name(account), name(container)) {
            (Some(account), Some(container)) => Ok(Target { realm, url: format!("{base}/{account}/{container}") }),
            _ => Err(format!("Invalid X-Container-Sync-To format {text:?}")),
        }
    }
}

/// The container that another one's objects go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    realm: String,
    /// Its address.
    url: String,
}

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// Percent-encoded, without a query.
    pub(super) path: &'a str,
    /// As its header says it.
    pub(super) timestamp: &'a str,
    pub(super) nonce: &'a str,
}

fn mac(realm_key: &str, signed: &Signed<'_>, user_key: &str) -> Hmac<Sha1> {
    let mut mac = Hmac::<Sha1>::new_from_slice(realm_key.as_bytes()).expect("a key of any length will do");
    let Signed { method, path, timestamp, nonce } = signed;
    mac.update(format!("{method}\n{path}\n{timestamp}\n{nonce}\n{user_key}").as_bytes());
    mac
}

/// On a request that another cluster has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Synced {
    /// When what it tells of happened.
    pub(super) timestamp: Timestamp,
}

/// The key and the address of a container that has both.
fn setting(info: &ContainerInfo) -> Option<(&str, &str)> {
    let item = |name| value(&info.metadata, name).filter(|text| !text.is_empty());
    Some((item(SYNC_TO)?, item(SYNC_KEY)?))
}

/// Writes down that a container is copied, if what is about to change in it says so. Done before it is said, so that it
/// is found; what a crash leaves is found not to be so.
pub(super) async fn note(store: &Store, account: &str, container: &str, changes: &Metadata) -> Result<(), Error> {
    if value(changes, SYNC_TO).is_none_or(str::is_empty) {
        return Ok(());
    }
    let path = ObjectPath::new(ACCOUNT, CONTAINERS, format!("{account}/{container}"));
    put_row(store, &path, "").await
}

/// Writes a row of the system account, whose container may have to be made. The row's tag says all there is to say.
async fn put_row(store: &Store, path: &ObjectPath, tag: &str) -> Result<(), Error> {
    let head = ObjectHead { etag: tag.to_owned(), content_type: "application/x-sync".into(), ..ObjectHead::default() };
    let always = Precondition::default();
    match store.object_put(path, Bytes::new(), head.clone(), &always).await {
        Err(Error::Missing(_)) => {}
        other => return other.map(drop),
    }
    let policy = store.policies().default_policy().index;
    store.container_update(ACCOUNT, &path.container, Vec::new(), policy, IfMissing::Create).await?;
    store.object_put(path, Bytes::new(), head, &always).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::config::RealmConfig;
    use super::*;

    fn realms() -> Realms {
        let clusters = [("one".to_owned(), "http://one.example:8080/v1/".to_owned())].into_iter().collect();
        let realm = RealmConfig { key: "realm key".into(), key2: Some("old".into()), clusters };
        let realms = [("us".to_owned(), realm)].into_iter().collect();
        Realms::of(&ContainerSyncConfig { realms, ..ContainerSyncConfig::default() })
    }

    #[test]
    fn targets_are_containers_of_known_clusters() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(realms().target(text).ok().map(|target| target.url).as_deref(), want, "{text}");
        };
        check("//us/one/AUTH_a/c", Some("http://one.example:8080/v1/AUTH_a/c"));
        check("//US/One/AUTH_a/c%20d", Some("http://one.example:8080/v1/AUTH_a/c%20d"));
        for text in [
            "",
            "http://one.example:8080/v1/AUTH_a/c",
            "//us/one/AUTH_a",
            "//us/two/a/c",
            "//eu/one/a/c",
            "//us/one//c",
        ] {
            check(text, None);
        }
    }

    /// Made with Python: `hmac.new(b"realm key", b"PUT\n/v1/a/c/o\n1700000000.00000\nnonce\nuser key", "sha1")`.
    #[test]
    fn signatures_are_swifts() {
        let signed = Signed { method: "PUT", path: "/v1/a/c/o", timestamp: "1700000000.00000", nonce: "nonce" };
        let signature = realms().sign("US", &signed, "user key").expect("a realm");
        assert_eq!(signature, "13ac3b8ba8035b8f4f2df032f972c7a5096bf7ab");
        assert!(realms().is_signed("us", &signed, "user key", &signature));
        assert!(!realms().is_signed("us", &signed, "other key", &signature));
        assert!(!realms().is_signed("us", &Signed { method: "DELETE", ..signed }, "user key", &signature));
        assert!(!realms().is_signed("eu", &signed, "user key", &signature));
    }
}
