//! What a device has promised to the preparers of conditional writes: to refuse anything earlier
//! (`docs/consistency.md`).
//!
//! Promises are kept in memory. What must outlive a crash is only that none is broken, so the device keeps
//! a *floor* on disk: no promise lies beyond it, and after a restart everything up to it counts as promised.
//! It runs ahead by [`PROMISE_LEAD`], so that a stream of conditional writes costs one small write per second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anello_base::Timestamp;

use super::limits::{PROMISE_LEAD, PROMISES_PER_STRIPE, STRIPES};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::key::KeyHash;

/// Promises of one device.
#[derive(Debug)]
pub(super) struct Promises {
    device: Device,
    stripes: Vec<Mutex<Stripe>>,
    /// The floor on disk, in ticks.
    durable: AtomicU64,
    raising: tokio::sync::Mutex<()>,
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
            durable: AtomicU64::new(floor.ticks()),
            raising: tokio::sync::Mutex::new(()),
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
        let is_durable = || until.ticks() <= self.durable.load(Ordering::Acquire);
        if is_durable() {
            return Ok(());
        }
        let _one_at_a_time = self.raising.lock().await;
        if is_durable() {
            return Ok(());
        }
        let floor = until.plus(PROMISE_LEAD);
        let device = self.device.clone();
        let raised = tokio::task::spawn_blocking(move || device.set_promise_floor(floor)).await;
        raised.map_err(|_| Error::Stopped)??;
        self.durable.store(floor.ticks(), Ordering::Release);
        Ok(())
    }

    fn stripe(&self, key: KeyHash) -> std::sync::MutexGuard<'_, Stripe> {
        // A stripe is whole between any two of the statements above.
        self.stripes[super::stripe(key)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
