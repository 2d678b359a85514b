//! What hosts remember together, in memcached servers. Nothing depends on it: a server that does not answer in time is
//! left alone for a while, and whoever asked does without.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_memcached::{AsciiProtocol, Client};
use tokio::sync::Semaphore;

use crate::auth::now_us;
use crate::error::{Error, Result};
use crate::limits::{MEMCACHED_REQUESTS_MAX, MEMCACHED_REST, MEMCACHED_TIMEOUT, MEMCACHED_VALUE_BYTES_MAX};

/// The servers. Each key has one of them, whatever their order in the configuration; while that one does not answer,
/// its keys are not there.
pub(crate) struct Memcached {
    servers: Vec<Server>,
}

struct Server {
    /// `host:port`.
    address: String,
    /// Requests at the same time; more are not waited for.
    places: Semaphore,
    /// Connections that no request uses.
    idle: Mutex<Vec<Client>>,
    /// When it may be asked again, in microseconds since 1970.
    rests_until_us: AtomicU64,
}

impl Memcached {
    /// Servers by their `host:port`; nothing is connected yet.
    pub(crate) fn new(addresses: &[String]) -> Result<Self> {
        let server = |address: &String| {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains("://"));
            if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                return Err(Error::Invalid(format!("memcached {address:?} is no host:port")));
            }
            Ok(Server {
                address: address.clone(),
                places: Semaphore::new(MEMCACHED_REQUESTS_MAX),
                idle: Mutex::default(),
                rests_until_us: AtomicU64::new(0),
            })
        };
        Ok(Self { servers: addresses.iter().map(server).collect::<Result<_>>()? })
    }

    /// The server of a key: the one whose name and the key together have the greatest digest, so that one more or
    /// less moves no keys among the others.
    fn server(&self, key: &str) -> Option<&Server> {
        self.servers.iter().max_by_key(|server| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(server.address.as_bytes()).update(&[0]).update(key.as_bytes());
            *hasher.finalize().as_bytes()
        })
    }

    /// The value of a key, if it is there and can be had now.
    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let asked = |mut client: Client| async move { Ok((client.get(key).await?, client)) };
        let value = self.server(key)?.ask(asked).await??;
        value.data.filter(|data| data.len() <= MEMCACHED_VALUE_BYTES_MAX)
    }

    /// Keeps a value for so many seconds, if that can be done now.
    pub(crate) async fn set(&self, key: &str, value: Vec<u8>, seconds: u32) {
        let Some(server) = self.server(key) else { return };
        let asked = |mut client: Client| async move {
            client.set(key, value.as_slice(), Some(i64::from(seconds)), None).await?;
            Ok(((), client))
        };
        server.ask(asked).await;
    }
}

impl Server {
    /// Makes a request. Dropped or cut half-way, its connection is closed and not used again.
    async fn ask<T, F>(&self, request: impl FnOnce(Client) -> F) -> Option<T>
    where
        F: Future<Output = Result<(T, Client), async_memcached::Error>>,
    {
        if now_us() < self.rests_until_us.load(Ordering::Relaxed) {
            return None;
        }
        let _place = self.places.try_acquire().ok()?;
        let answered = tokio::time::timeout(MEMCACHED_TIMEOUT, async {
            let (answer, client) = request(self.connection().await?).await?;
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
            Ok::<T, async_memcached::Error>(answer)
        });
        let why = match answered.await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(why, server = self.address, "memcached is done without for a while");
        // Connections to a server that was started again are of no use.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let rest_us = u64::try_from(MEMCACHED_REST.as_micros()).unwrap_or(u64::MAX);
        self.rests_until_us.store(now_us().saturating_add(rest_us), Ordering::Relaxed);
        None
    }

    async fn connection(&self) -> Result<Client, async_memcached::Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle.filter(|client| !client.is_closed()) {
            Some(client) => Ok(client),
            None => Client::new(format!("tcp://{}", self.address)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_same_server_on_every_host_and_keeps_it_when_another_goes() {
        let servers = |names: &[&str]| {
            Memcached::new(&names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()).expect("addresses")
        };
        let (all, other_order, fewer) =
            (servers(&["a:1", "b:1", "c:1"]), servers(&["c:1", "a:1", "b:1"]), servers(&["a:1", "c:1"]));
        let of = |them: &Memcached, key: &str| them.server(key).expect("a server").address.clone();
        let mut used = std::collections::HashSet::new();
        for number in 0..100 {
            let key = format!("key {number}");
            let one = of(&all, &key);
            assert_eq!(one, of(&other_order, &key));
            assert!(one == "b:1" || one == of(&fewer, &key), "{key} moved");
            used.insert(one);
        }
        assert_eq!(used.len(), 3);
        for wrong in ["", "host", ":11211", "host:port", "tcp://host:11211"] {
            assert!(Memcached::new(&[wrong.to_owned()]).is_err(), "{wrong:?}");
        }
    }
}
