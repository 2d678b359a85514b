//! What failed log-ins lead to: a user is locked out for a while where the rules say so (kept in the records, so
//! that it counts on every host and after a restart), and whoever guesses is slowed down (in this process only).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use moka::sync::Cache;

use super::now_us;
use crate::IdentityRoom;
use crate::compliance::{is_excused, today};
use crate::error::{Error, Result};
use crate::limits::{FAILED_LOGINS_MAX, FAILED_LOGINS_TRACKED_MAX, FAILED_LOGINS_WINDOW, PASSCODE_LIFE};
use crate::model::{Failure, User};
use crate::time::SECOND_US;

/// Who fails: the user as he was named, and where from.
type Guesser = (String, Option<IpAddr>);

/// Failed log-ins of late.
pub(crate) struct Throttle {
    failures: Cache<Guesser, Arc<AtomicU32>>,
    /// Passcodes that were used, by user: each is good for one log-in.
    used: Cache<(String, String), ()>,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        let failures = Cache::builder().max_capacity(FAILED_LOGINS_TRACKED_MAX).time_to_live(FAILED_LOGINS_WINDOW);
        let used = Cache::builder().max_capacity(FAILED_LOGINS_TRACKED_MAX).time_to_live(PASSCODE_LIFE);
        Self { failures: failures.build(), used: used.build() }
    }

    /// Whether somebody has failed too often of late to try again.
    pub(crate) fn is_over(&self, who: &Guesser) -> bool {
        self.failures.get(who).is_some_and(|count| count.load(Ordering::Relaxed) >= FAILED_LOGINS_MAX)
    }

    /// Counts a failure.
    pub(crate) fn count(&self, who: Guesser) {
        self.failures.get_with(who, Arc::default).fetch_add(1, Ordering::Relaxed);
    }

    /// Uses a passcode up; `false` where it was used before.
    pub(crate) fn use_up(&self, user_id: &str, passcode: &str) -> bool {
        self.used.entry((user_id.to_owned(), passcode.to_owned())).or_insert(()).is_fresh()
    }
}

impl IdentityRoom {
    /// Whether a user is locked out now.
    pub(crate) fn is_locked_out(&self, user: &User) -> bool {
        let rules = &self.rules.compliance;
        if rules.lockout_failure_attempts == 0 || is_excused(&user.options, "ignore_lockout_failure_attempts") {
            return false;
        }
        let failure = self.directory.get::<Failure>(&user.id);
        failure.is_some_and(|it| it.count >= rules.lockout_failure_attempts && !self.has_passed(&it))
    }

    fn has_passed(&self, failure: &Failure) -> bool {
        failure.last_at_us + self.rules.compliance.lockout_duration * SECOND_US <= now_us()
    }

    /// Notes a wrong password or passcode.
    pub(crate) async fn note_failure(&self, user: &User) -> Result<()> {
        if self.rules.compliance.lockout_failure_attempts == 0 {
            return Ok(());
        }
        let before = self.directory.get::<Failure>(&user.id).filter(|it| !self.has_passed(it));
        let count = before.map_or(0, |it| it.count) + 1;
        self.directory.put(Failure { user_id: user.id.clone(), count, last_at_us: now_us() }).await.map(|_| ())
    }

    /// Notes a good log-in.
    pub(crate) async fn note_success(&self, user: &User) -> Result<()> {
        if self.directory.get::<Failure>(&user.id).is_some() {
            self.directory.delete_all(|it: &Failure| it.user_id == user.id).await?;
        }
        let day = Some(today(now_us()));
        if self.rules.notes_activity() && user.dn.is_none() && user.last_active_day != day {
            let change = |it: &mut User| {
                it.last_active_day = day;
                Ok(())
            };
            // Who is on his way gets in all the same.
            match self.directory.update::<User>(&user.id, change).await {
                Ok(_) | Err(Error::Moving) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
