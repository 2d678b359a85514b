//! Limits on how fast an account's containers and a container's objects change, and how often it is listed. A request
//! that comes too early waits; one that would have to wait too long is refused (498), and one of an account that is
//! blocked always (497). Every gateway counts what comes through it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Incoming, Layer, Next};
use crate::body::Body;
use crate::swift::SwiftDoor;
use crate::swift::config::{Amount, RatelimitConfig};
use crate::swift::fault::Fault;
use crate::swift::limits::{BLOCKED_SENDER_PAUSE, RATE_COUNTERS_MAX};
use crate::swift::target::Target;

/// Swift's own codes.
const BLOCKED: u16 = 497;
const TOO_FAST: u16 = 498;

/// On a request: it has been counted, and those that it is split into are not counted again.
#[derive(Debug, Clone, Copy)]
struct Counted;

/// What is counted, by account and container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Containers(String),
    Objects(String, String),
    Listings(String, String),
}

/// When the next request of each may come.
#[derive(Debug)]
struct Counters {
    began: Instant,
    /// Time since `began`, in seconds.
    next: HashMap<Key, f64>,
}

impl Counters {
    /// Counts a request; how long it has to wait, in seconds. `None`, and not counted, if that is too long.
    fn count(&mut self, key: Key, rate: f64, now: f64, config: &RatelimitConfig) -> Option<f64> {
        let (buffer, most) = (config.rate_buffer_seconds.0, config.max_sleep_time_seconds.0);
        if self.next.len() >= RATE_COUNTERS_MAX && !self.next.contains_key(&key) {
            self.next.retain(|_, next| now - *next <= buffer);
            if self.next.len() >= RATE_COUNTERS_MAX {
                self.next.clear();
            }
        }
        let next = self.next.entry(key).or_insert(f64::NEG_INFINITY);
        // Whoever has been idle for long has not saved up more than the buffer is.
        let due = if now - *next > buffer { now } else { *next };
        let wait = (due - now).max(0.0);
        if wait > 0.0 && wait >= most {
            return None;
        }
        *next = due + 1.0 / rate;
        Some(wait)
    }
}

/// The middleware.
#[derive(Debug)]
pub(super) struct Ratelimit {
    config: RatelimitConfig,
    counters: Mutex<Counters>,
}

impl Ratelimit {
    pub(super) fn new(mut config: RatelimitConfig) -> Self {
        for limits in [&mut config.container_ratelimits, &mut config.container_listing_ratelimits] {
            limits.sort_by_key(|(size, _)| *size);
        }
        let counters = Mutex::new(Counters { began: Instant::now(), next: HashMap::new() });
        Self { config, counters }
    }

    /// What a request counts as, and how many of these there may be in a second.
    async fn limit(&self, door: &SwiftDoor, method: &Method, target: &Target) -> Result<Option<(Key, f64)>, Fault> {
        let config = &self.config;
        let (limits, account, container, is_listing) = match (target, method.as_str()) {
            (Target::Container(account, _), "PUT" | "DELETE") => {
                let rate = config.account_ratelimit.0;
                return Ok((rate > 0.0).then(|| (Key::Containers(account.clone()), rate)));
            }
            (Target::Container(account, container), "GET") => {
                (&config.container_listing_ratelimits, account, container, true)
            }
            (Target::Object(path), "PUT" | "DELETE" | "POST" | "COPY") => {
                (&config.container_ratelimits, &path.account, &path.container, false)
            }
            _ => return Ok(None),
        };
        if limits.is_empty() {
            return Ok(None);
        }
        let info = door.store.container(account, container).await?;
        let rate = rate_for(limits, info.map_or(0, |info| info.object_count));
        let (account, container) = (account.clone(), container.clone());
        let key = if is_listing { Key::Listings(account, container) } else { Key::Objects(account, container) };
        Ok(rate.filter(|rate| *rate > 0.0).map(|rate| (key, rate)))
    }

    /// Holds a request back, or refuses it.
    async fn hold(&self, door: &SwiftDoor, method: &Method, target: &Target) -> Result<(), Fault> {
        let Some(account) = target.account() else { return Ok(()) };
        let is_in = |list: &[String]| list.iter().any(|known| known == account);
        if is_in(&self.config.account_whitelist) {
            return Ok(());
        }
        if is_in(&self.config.account_blacklist) {
            tracing::info!(account, "a request of a blocked account is refused");
            tokio::time::sleep(BLOCKED_SENDER_PAUSE).await;
            return Err(refused(BLOCKED, "Your account has been blacklisted"));
        }
        let Some((key, rate)) = self.limit(door, method, target).await? else { return Ok(()) };
        let wait = {
            let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            let now = counters.began.elapsed().as_secs_f64();
            counters.count(key, rate, now, &self.config)
        };
        let Some(wait) = wait else {
            tracing::info!(account, %method, rate, "a request that comes too fast is refused");
            return Err(refused(TOO_FAST, "Slow down"));
        };
        let logged = self.config.log_sleep_time_seconds.0;
        if logged > 0.0 && wait > logged {
            tracing::warn!(account, wait_seconds = wait, "a request that comes too fast waits");
        }
        if wait > 0.0 {
            tokio::time::sleep(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)).await;
        }
        Ok(())
    }
}

fn refused(code: u16, detail: &'static str) -> Fault {
    Fault::because(StatusCode::from_u16(code).unwrap_or(StatusCode::TOO_MANY_REQUESTS), detail)
}

/// The rate for a container of so many objects, by limits that are sorted by size: as Swift has it, on the line between
/// the two sizes that it is between. An empty container has none.
fn rate_for(limits: &[(u64, Amount)], size: u64) -> Option<f64> {
    let behind = limits.partition_point(|(from, _)| *from <= size);
    let (from, Amount(rate)) = *limits.get(behind.checked_sub(1)?).filter(|_| size > 0)?;
    let Some((to, Amount(next))) = limits.get(behind) else { return Some(rate) };
    Some(rate + (size - from) as f64 * (next - rate) / (to - from) as f64)
}

impl Layer for Ratelimit {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        let pairs =
            |limits: &[(u64, Amount)]| limits.iter().map(|(size, rate)| json!([size, rate.0])).collect::<Value>();
        let section = json!({
            "account_ratelimit": self.config.account_ratelimit.0,
            "max_sleep_time_seconds": self.config.max_sleep_time_seconds.0,
            "container_ratelimits": pairs(&self.config.container_ratelimits),
            "container_listing_ratelimits": pairs(&self.config.container_listing_ratelimits),
        });
        vec![("ratelimit", section)]
    }

    fn call<'a>(&'a self, mut request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            if request.extensions_mut().insert(Counted).is_none()
                && let Ok(target) = Target::parse(request.uri().path())
            {
                self.hold(next.door(), request.method(), &target).await?;
            }
            Ok(next.run(request).await)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_on_the_line_between_two_sizes() {
        let limits = [(100, Amount(100.0)), (200, Amount(50.0)), (1_000, Amount(10.0))];
        for (size, want) in [
            (0, None),
            (99, None),
            (100, Some(100.0)),
            (150, Some(75.0)),
            (200, Some(50.0)),
            (600, Some(30.0)),
            (1_000, Some(10.0)),
            (u64::MAX, Some(10.0)),
        ] {
            assert_eq!(rate_for(&limits, size), want, "{size}");
        }
        assert_eq!(rate_for(&[(0, Amount(5.0))], 0), None, "as in Swift an empty container has no limit");
        assert_eq!(rate_for(&[(0, Amount(5.0))], 1), Some(5.0));
        assert_eq!(rate_for(&[(5, Amount(5.0)), (5, Amount(7.0))], 6), Some(7.0));
    }

    #[test]
    fn who_comes_too_early_waits_and_who_comes_far_too_early_is_refused() {
        let config = RatelimitConfig { max_sleep_time_seconds: Amount(2.0), ..RatelimitConfig::default() };
        let mut counters = Counters { began: Instant::now(), next: HashMap::new() };
        let mut count = |now| counters.count(Key::Containers("a".into()), 2.0, now, &config);
        assert_eq!([count(100.0), count(100.0), count(100.0)], [Some(0.0), Some(0.5), Some(1.0)]);
        assert_eq!([count(100.0), count(100.0), count(100.0)], [Some(1.5), None, None], "and it is not counted");
        assert_eq!(count(101.0), Some(1.0));
        assert_eq!([count(104.0), count(104.0), count(104.0), count(104.0)], [Some(0.0); 4], "it has saved some up");
        assert_eq!([count(200.0), count(200.0)], [Some(0.0), Some(0.5)], "but not more than the buffer");
    }

    #[test]
    fn counters_are_bounded() {
        let config = RatelimitConfig::default();
        let mut counters = Counters { began: Instant::now(), next: HashMap::new() };
        for account in 0..RATE_COUNTERS_MAX + 10 {
            counters.count(Key::Containers(account.to_string()), 1.0, 7.0, &config);
        }
        assert!(counters.next.len() <= RATE_COUNTERS_MAX);
    }
}
