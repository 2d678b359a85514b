//! What tokens say, shared by hosts: a token that one of them has opened, the others need not open. Whether a token is
//! still good each host finds out by itself, from its own view; so nothing that is shared can keep a revoked token
//! alive, and a revocation counts as soon as without.
//!
//! Memcached is open to whoever reaches it. There an entry's name is a keyed hash of the token, and its value is sealed
//! together with that name: it shows neither the token nor whose it is, and what somebody else wrote or moved opens
//! nowhere. Both keys come of the cluster's secret and the keys that tokens are made with, so that dropping one of
//! these ends what it made here, too.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use fernet::Fernet;

use super::now_us;
use crate::error::Result;
use crate::memcached::Memcached;
use crate::time::SECOND_US;
use crate::token::{KeyRing, Payload};

/// Bytes of a name's hash.
const NAME_BYTES: usize = 32;

/// Opened tokens in memcached.
pub(crate) struct SharedTokens {
    memcached: Memcached,
    /// Made of the cluster's secret.
    root: [u8; 32],
}

/// A token's name, and what seals the value under it.
struct Entry {
    name: [u8; NAME_BYTES],
    seal: Fernet,
}

impl SharedTokens {
    /// Over these servers (`host:port`); `None` where there are none.
    pub(crate) fn new(servers: &[String], secret: &[u8]) -> Result<Option<Self>> {
        let root = blake3::derive_key("anello 2026-11 identity shared tokens v1", secret);
        let memcached = Memcached::new(servers)?;
        Ok((!servers.is_empty()).then_some(Self { memcached, root }))
    }

    fn entry(&self, ring: &KeyRing, token: &str) -> Option<Entry> {
        let root = ring.derived(&self.root);
        let names = blake3::derive_key("anello 2026-11 identity shared tokens: names v1", &root);
        let values = blake3::derive_key("anello 2026-11 identity shared tokens: values v1", &root);
        let name = *blake3::keyed_hash(&names, token.as_bytes()).as_bytes();
        Some(Entry { name, seal: Fernet::new(&URL_SAFE.encode(values))? })
    }

    /// What a host that has these keys found the token to say.
    pub(crate) async fn get(&self, ring: &KeyRing, token: &str) -> Option<Payload> {
        let entry = self.entry(ring, token)?;
        let value = self.memcached.get(&entry.key()).await?;
        let value = entry.seal.decrypt(std::str::from_utf8(&value).ok()?).ok()?;
        let (name, payload) = value.split_at_checked(NAME_BYTES)?;
        Payload::unpack(payload).filter(|_| name == entry.name)
    }

    /// Tells the other hosts what a token says that the keys opened.
    pub(crate) async fn put(&self, ring: &KeyRing, token: &str, payload: &Payload) {
        let Some(entry) = self.entry(ring, token) else { return };
        let value = entry.seal.encrypt(&[&entry.name[..], &payload.pack()].concat());
        let left_us = payload.expires_at_us.saturating_sub(now_us());
        let Ok(seconds @ 1..) = u32::try_from(left_us / SECOND_US) else { return };
        self.memcached.set(&entry.key(), value.into_bytes(), seconds).await;
    }
}

impl Entry {
    fn key(&self) -> String {
        format!("anello:{}", hex::encode(self.name))
    }
}
