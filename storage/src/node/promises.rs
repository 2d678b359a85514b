//! What a device has promised to the preparers of conditional writes: to refuse anything earlier
//! (`docs/consistency.md`).
//!
//! Promises are kept in memory. What must outlive a crash is only that none is broken, so the device keeps
//! a *floor* on disk: no promise lies beyond it, and after a restart everything up to it counts as promised.
//! It runs ahead by [`PROMISE_LEAD`], so that a stream of conditional writes costs one small write per second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anello_base::Timestamp;

use super::limits::{PROMISE_LEAD, PROMISES_PER_STRIPE, STRIPES};
use crate::device::Device;
use crate::environment::blocking;
use crate::error::Result;
use crate::key::KeyHash;

/// Promises of one device.
#[derive(Debug)]
pub(super) struct Promises {
    device: Device,
    stripes: Vec<Mutex<Stripe>>,
    /// The floor on disk, in ticks.
    durable: Arc<AtomicU64>,
    raising: Arc<tokio::sync::Mutex<()>>,
}

/// Promises for the keys of one stripe.
#[derive(Debug)]
struct Stripe {
    /// What counts as promised for every key.
    floor: Timestamp,
    recent: Vec<(KeyHash, Timestamp)>,
}

impl Promises {
    /// Reads the floor of a device.
    pub(super) fn open(device: Device) -> Result<Self> {
        let floor = device.promise_floor()?;
        let stripe = || Mutex::new(Stripe { floor, recent: Vec::new() });
        Ok(Self {
            device,
            stripes: (0..STRIPES).map(|_| stripe()).collect(),
            durable: Arc::new(AtomicU64::new(floor.order())),
            raising: Arc::default(),
        })
    }

    /// Nothing of `key` before this is accepted.
    pub(super) fn of(&self, key: KeyHash) -> Timestamp {
        let stripe = self.stripe(key);
        stripe.recent.iter().find(|(of, _)| *of == key).map_or(stripe.floor, |(_, until)| *until)
    }

    /// Promises to refuse what is earlier than `until`. To be called while nothing else promises for `key`.
    pub(super) async fn promise(&self, key: KeyHash, until: Timestamp) -> Result<()> {
        self.raise_floor(until).await?;
        let mut stripe = self.stripe(key);
        if let Some((_, promised)) = stripe.recent.iter_mut().find(|(of, _)| *of == key) {
            *promised = until.max(*promised);
            return Ok(());
        }
        if stripe.recent.len() >= PROMISES_PER_STRIPE {
            let (_, oldest) = stripe.recent.remove(0);
            stripe.floor = stripe.floor.max(oldest);
        }
        stripe.recent.push((key, until));
        Ok(())
    }

    /// A version of `key` stands at `at`, and refuses what is earlier by itself.
    pub(super) fn fulfilled(&self, key: KeyHash, at: Timestamp) {
        let mut stripe = self.stripe(key);
        stripe.recent.retain(|(of, until)| *of != key || *until > at);
    }

    /// Dropped half-way, the floor may be higher than need be, which does no harm.
    async fn raise_floor(&self, until: Timestamp) -> Result<()> {
        let is_durable = || until.order() <= self.durable.load(Ordering::Acquire);
        if is_durable() {
            return Ok(());
        }
        let one_at_a_time = Arc::clone(&self.raising).lock_owned().await;
        if is_durable() {
            return Ok(());
        }
        let floor = until.plus(PROMISE_LEAD);
        let (device, durable) = (self.device.clone(), Arc::clone(&self.durable));
        let raise = move || {
            // Held until the file is written, even where nobody waits for it any more.
            let _one_at_a_time = one_at_a_time;
            device.set_promise_floor(floor)?;
            durable.store(floor.order(), Ordering::Release);
            Ok(())
        };
        blocking(raise).await
    }

    fn stripe(&self, key: KeyHash) -> std::sync::MutexGuard<'_, Stripe> {
        // A stripe is whole between any two of the statements above.
        self.stripes[super::stripe(key)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceOptions;

    /// Without this a request that is given up makes another one fail: both write the floor at once.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_promise_that_nobody_waits_for_any_more_hinders_no_other() {
        let dir = tempfile::tempdir().expect("directory");
        let device = Device::open(dir.path(), "0123456789abcdef0123456789abcdef", DeviceOptions::default());
        let promises = Promises::open(device.expect("opens")).expect("opens");
        let mut until = Timestamp::from_seconds(1_700_000_000);
        for number in 0..100 {
            until = until.plus(PROMISE_LEAD * 2);
            let given_up = promises.promise(KeyHash([1; 16]), until);
            let _ = tokio::time::timeout(std::time::Duration::ZERO, given_up).await;
            until = until.plus(PROMISE_LEAD * 2);
            promises.promise(KeyHash([2; 16]), until).await.unwrap_or_else(|error| panic!("{number}: {error}"));
        }
        assert!(promises.device.promise_floor().expect("reads") >= until);
    }
}
