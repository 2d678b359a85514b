//! Versions of things. A [`Timestamp`] orders every mutation in the store: a time in ticks of ten microseconds, which
//! is exactly Swift's `X-Timestamp` form, and the number of the host that wrote, so that no two hosts make the same
//! (`docs/adr/0029-timestamps-of-hosts.md`).
//!
//! [`HybridClock`] hands them out: it follows the wall clock and never repeats or steps back, also
//! when the wall clock does, or when a peer's later timestamp has been seen.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Ticks per second: Swift shows five decimals.
pub const TICKS_PER_SECOND: u64 = 100_000;

/// Ten digits of seconds are all that Swift's form holds (until the year 2286).
const SECONDS_MAX: u64 = 9_999_999_999;

/// Ticks take 50 bits, which leaves these of a word for the writer.
const WRITER_BITS: u32 = 14;

/// The greatest number of a writer.
pub const WRITER_MAX: u16 = (1 << WRITER_BITS) - 1;

const TICKS_MAX: u64 = (SECONDS_MAX + 1) * TICKS_PER_SECOND - 1;
const TICK: u64 = 1 << WRITER_BITS;

const _: () = assert!(TICKS_MAX < 1 << (u64::BITS - WRITER_BITS));

/// A point in time in ticks of 10 µs since 1970 and the number of the host that wrote then (0 where no host's number
/// is known): the version of a mutation, of which the later one wins, and of two in one tick that of the greater number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before every other.
    pub const ZERO: Self = Self(0);
    /// After every other that can be shown.
    pub const MAX: Self = Self(TICKS_MAX << WRITER_BITS | WRITER_MAX as u64);

    /// From ticks of 10 µs since 1970; values past [`Timestamp::MAX`] are cut to it.
    pub const fn from_ticks(ticks: u64) -> Self {
        if ticks > TICKS_MAX { Self::MAX } else { Self(ticks << WRITER_BITS) }
    }

    /// The same time, written by this host; of a greater number than [`WRITER_MAX`] the lower bits count.
    pub const fn by(self, writer: u16) -> Self {
        Self(self.0 & !(TICK - 1) | (writer & WRITER_MAX) as u64)
    }

    /// Number of the host that wrote.
    pub const fn writer(self) -> u16 {
        (self.0 & (TICK - 1)) as u16
    }

    /// As it is stored: the ticks, above them the writer. Without a writer these are the ticks alone.
    pub const fn to_bits(self) -> u64 {
        self.0.rotate_right(WRITER_BITS)
    }

    /// From what was stored; `None` where that is past [`Timestamp::MAX`].
    pub const fn from_bits(bits: u64) -> Option<Self> {
        let stored = Self(bits.rotate_left(WRITER_BITS));
        if stored.ticks() > TICKS_MAX { None } else { Some(stored) }
    }

    /// A number that is greater for a later timestamp.
    pub const fn order(self) -> u64 {
        self.0
    }

    /// From such a number; [`Timestamp::MAX`] where it is beyond that.
    pub const fn from_order(order: u64) -> Self {
        if order > Self::MAX.0 { Self::MAX } else { Self(order) }
    }

    /// From whole seconds since 1970.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self::from_ticks(seconds.saturating_mul(TICKS_PER_SECOND))
    }

    /// Ticks of 10 µs since 1970.
    pub const fn ticks(self) -> u64 {
        self.0 >> WRITER_BITS
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn seconds(self) -> u64 {
        self.ticks() / TICKS_PER_SECOND
    }

    /// Whole seconds since 1970, rounded up: what `Last-Modified` shows, so that a thing is never
    /// newer than its header says (as Swift does).
    pub const fn seconds_ceil(self) -> u64 {
        self.ticks().div_ceil(TICKS_PER_SECOND)
    }

    /// Microseconds since 1970.
    pub const fn microseconds(self) -> u64 {
        self.ticks() * 10
    }

    /// This much later; [`Timestamp::MAX`] at most.
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_order(self.0.saturating_add(ticks_of(duration).saturating_mul(TICK)))
    }

    /// This much earlier; [`Timestamp::ZERO`] at least.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(ticks_of(duration).saturating_mul(TICK)))
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

impl From<Timestamp> for u64 {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_bits()
    }
}

impl TryFrom<u64> for Timestamp {
    type Error = &'static str;

    fn try_from(bits: u64) -> Result<Self, Self::Error> {
        Self::from_bits(bits).ok_or("a timestamp past the year 2286")
    }
}

/// Swift's form, `1700000000.12345`, without the writer.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}.{:05}", self.seconds(), self.ticks() % TICKS_PER_SECOND)
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
        Ok(Self::from_ticks(seconds * TICKS_PER_SECOND + ticks))
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
    /// In the form of [`Timestamp::order`].
    last: AtomicU64,
    writer: AtomicU16,
    /// How far ahead of the wall clock what is observed may be.
    ahead_max: Option<Duration>,
}

impl HybridClock {
    /// A clock that follows `wall`.
    pub fn new(wall: impl Clock) -> Self {
        Self { wall: Box::new(wall), last: AtomicU64::new(0), writer: AtomicU16::new(0), ahead_max: None }
    }

    /// A clock that follows `wall` and others' as long as they are not further ahead than this: by one that is wrong by
    /// hours nothing could be written before they have passed.
    pub fn within(wall: impl Clock, ahead_max: Duration) -> Self {
        Self { ahead_max: Some(ahead_max), ..Self::new(wall) }
    }

    /// From now on timestamps are this writer's.
    pub fn set_writer(&self, writer: u16) {
        self.writer.store(writer, Ordering::Release);
    }

    /// The next timestamp, never handed out before.
    pub fn tick(&self) -> Timestamp {
        let (wall, writer) = (self.wall.wall().ticks(), self.writer.load(Ordering::Acquire));
        // Always another tick: what follows what was seen is later also for those who are shown the time alone.
        let next = |last| Timestamp::from_ticks(wall.max(Timestamp(last).ticks() + 1)).by(writer);
        let advance = |last| Some(next(last).order());
        let last = match self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, advance) {
            Ok(last) | Err(last) => last,
        };
        next(last)
    }

    /// Takes note of a timestamp made elsewhere, so that the next tick is later, unless it is too far ahead.
    pub fn observe(&self, seen: Timestamp) {
        if self.ahead_max.is_some_and(|most| seen > self.wall().plus(most)) {
            return;
        }
        self.last.fetch_max(seen.order(), Ordering::AcqRel);
    }

    /// The latest timestamp that was handed out or observed.
    pub fn latest(&self) -> Timestamp {
        Timestamp(self.last.load(Ordering::Acquire))
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

    /// Without this two hosts whose clocks lag write different things under one version.
    #[test]
    fn hosts_that_go_by_the_same_time_make_different_timestamps() {
        let clock = |writer| {
            let clock = HybridClock::new(Stopped(Timestamp::from_seconds(100)));
            clock.set_writer(writer);
            clock.observe(Timestamp::from_seconds(500).by(2));
            clock
        };
        let mut made = Vec::new();
        for clock in [1, 2, 3, WRITER_MAX].map(clock) {
            let ticks: Vec<_> = (0..3).map(|_| clock.tick()).collect();
            assert!(ticks.is_sorted() && ticks[0].ticks() > Timestamp::from_seconds(500).ticks(), "{ticks:?}");
            made.extend(ticks);
        }
        made.sort_unstable();
        made.dedup();
        assert_eq!(made.len(), 12);
    }

    /// Without this what was written is read as another version, or what was stored before there were writers is.
    #[test]
    fn what_is_stored_is_read_again() {
        for at in [Timestamp::ZERO, Timestamp::from_ticks(170_000_000_012_345).by(77), Timestamp::MAX] {
            assert_eq!(Timestamp::from_bits(at.to_bits()), Some(at));
            assert_eq!(Timestamp::from_order(at.order()), at);
        }
        assert_eq!(Timestamp::from_ticks(170_000_000_012_345).to_bits(), 170_000_000_012_345);
        assert_eq!(Timestamp::from_bits(TICKS_MAX + 1), None);
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
