//! Versions of things. A [`Timestamp`] orders every mutation in the store; it counts ticks of ten
//! microseconds, so that it is exactly Swift's `X-Timestamp` form and survives a round trip through it.
//!
//! [`HybridClock`] hands them out: it follows the wall clock and never repeats or steps back, also
//! when the wall clock does, or when a peer's later timestamp has been seen.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Ticks per second: Swift shows five decimals.
pub const TICKS_PER_SECOND: u64 = 100_000;

/// Ten digits of seconds are all that Swift's form holds (until the year 2286).
const SECONDS_MAX: u64 = 9_999_999_999;

/// A point in time in ticks of 10 µs since 1970, the version of a mutation: the later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before every other.
    pub const ZERO: Self = Self(0);
    /// After every other that can be shown.
    pub const MAX: Self = Self((SECONDS_MAX + 1) * TICKS_PER_SECOND - 1);

    /// From ticks of 10 µs since 1970; values past [`Timestamp::MAX`] are cut to it.
    pub const fn from_ticks(ticks: u64) -> Self {
        if ticks > Self::MAX.0 { Self::MAX } else { Self(ticks) }
    }

    /// From whole seconds since 1970.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self::from_ticks(seconds.saturating_mul(TICKS_PER_SECOND))
    }

    /// Ticks of 10 µs since 1970.
    pub const fn ticks(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn seconds(self) -> u64 {
        self.0 / TICKS_PER_SECOND
    }

    /// Whole seconds since 1970, rounded up: what `Last-Modified` shows, so that a thing is never
    /// newer than its header says (as Swift does).
    pub const fn seconds_ceil(self) -> u64 {
        self.0.div_ceil(TICKS_PER_SECOND)
    }

    /// Microseconds since 1970.
    pub const fn microseconds(self) -> u64 {
        self.0 * 10
    }

    /// This much later; [`Timestamp::MAX`] at most.
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_ticks(self.0.saturating_add(ticks_of(duration)))
    }

    /// This much earlier; [`Timestamp::ZERO`] at least.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(ticks_of(duration)))
    }

    /// The time as the standard library has it.
    pub fn system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.microseconds())
    }

    /// `2026-01-31T23:59:59.123450`, UTC without a zone: the form of Swift's listings.
    pub fn iso8601(self) -> String {
        let time = time::OffsetDateTime::from(self.system_time());
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.microsecond()
        )
    }
}

fn ticks_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros() / 10).unwrap_or(u64::MAX)
}

/// Swift's form, `1700000000.12345`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}.{:05}", self.seconds(), self.0 % TICKS_PER_SECOND)
    }
}

/// The text was not `seconds[.decimals]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a timestamp: seconds since 1970 with at most five decimals are expected")]
pub struct ParseTimestampError;

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if seconds.is_empty() || !all_digits(seconds) || !all_digits(decimals) {
            return Err(ParseTimestampError);
        }
        let seconds: u64 = seconds.parse().map_err(|_| ParseTimestampError)?;
        if seconds > SECONDS_MAX {
            return Err(ParseTimestampError);
        }
        let ticks = format!("{decimals:0<5}")[..5].parse::<u64>().map_err(|_| ParseTimestampError)?;
        Ok(Self(seconds * TICKS_PER_SECOND + ticks))
    }
}

/// Where the time comes from; a simulation brings its own.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock now.
    fn wall(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_ticks(u64::try_from(since.as_micros() / 10).unwrap_or(u64::MAX))
    }
}

/// A hybrid logical clock: each [`HybridClock::tick`] is later than every one before it and than every
/// timestamp that was [observed](HybridClock::observe), and as near to the wall clock as that allows.
pub struct HybridClock {
    wall: Box<dyn Clock>,
    last: AtomicU64,
    /// How far ahead of the wall clock what is observed may be.
    ahead_max: Option<Duration>,
}

impl HybridClock {
    /// A clock that follows `wall`.
    pub fn new(wall: impl Clock) -> Self {
        Self { wall: Box::new(wall), last: AtomicU64::new(0), ahead_max: None }
    }

    /// A clock that follows `wall` and others' as long as they are not further ahead than this: by one that is wrong by
    /// hours nothing could be written before they have passed.
    pub fn within(wall: impl Clock, ahead_max: Duration) -> Self {
        Self { ahead_max: Some(ahead_max), ..Self::new(wall) }
    }

    /// The next timestamp, never handed out before.
    pub fn tick(&self) -> Timestamp {
        let wall = self.wall.wall().ticks();
        let advance = |last: u64| Some(wall.max(last + 1));
        let last = match self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, advance) {
            Ok(last) | Err(last) => last,
        };
        Timestamp::from_ticks(wall.max(last + 1))
    }

    /// Takes note of a timestamp made elsewhere, so that the next tick is later, unless it is too far ahead.
    pub fn observe(&self, seen: Timestamp) {
        if self.ahead_max.is_some_and(|most| seen > self.wall().plus(most)) {
            return;
        }
        self.last.fetch_max(seen.ticks(), Ordering::AcqRel);
    }

    /// The latest timestamp that was handed out or observed.
    pub fn latest(&self) -> Timestamp {
        Timestamp::from_ticks(self.last.load(Ordering::Acquire))
    }

    /// The wall clock now, for ages and expiry; not for versions.
    pub fn wall(&self) -> Timestamp {
        self.wall.wall()
    }
}

impl fmt::Debug for HybridClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HybridClock").field("last", &self.last).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stopped(Timestamp);
    impl Clock for Stopped {
        fn wall(&self) -> Timestamp {
            self.0
        }
    }

    #[test]
    fn swifts_form_survives_a_round_trip() {
        for text in ["1700000000.12345", "0000000000.00000", "9999999999.99999"] {
            assert_eq!(text.parse::<Timestamp>().expect(text).to_string(), text);
        }
        assert_eq!("1700000000".parse::<Timestamp>(), Ok(Timestamp::from_seconds(1_700_000_000)));
        assert_eq!("1.5".parse::<Timestamp>(), Ok(Timestamp::from_ticks(150_000)));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in ["", "abc", "-1", "1e5", "1.2.3", "99999999999", ".5", "1_0", "१"] {
            assert_eq!(text.parse::<Timestamp>(), Err(ParseTimestampError), "{text:?}");
        }
    }

    #[test]
    fn listings_show_microseconds_without_a_zone() {
        assert_eq!(Timestamp::from_ticks(170_000_000_012_345).iso8601(), "2023-11-14T22:13:20.123450");
    }

    #[test]
    fn ticks_never_repeat_while_the_wall_clock_stands() {
        let clock = HybridClock::new(Stopped(Timestamp::from_seconds(100)));
        let (first, second) = (clock.tick(), clock.tick());
        assert!(second > first);
        clock.observe(Timestamp::from_seconds(500));
        assert!(clock.tick() > Timestamp::from_seconds(500));
        assert_eq!(clock.wall(), Timestamp::from_seconds(100));
    }

    /// Without this one host whose clock is wrong makes all others' wrong.
    #[test]
    fn a_clock_does_not_follow_one_that_is_too_far_ahead() {
        let clock = HybridClock::within(Stopped(Timestamp::from_seconds(100)), Duration::from_secs(30));
        clock.observe(Timestamp::from_seconds(131));
        assert!(clock.tick() < Timestamp::from_seconds(101));
        clock.observe(Timestamp::from_seconds(130));
        assert!(clock.tick() > Timestamp::from_seconds(130));
    }
}
