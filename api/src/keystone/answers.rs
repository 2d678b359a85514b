//! Answers as they are remembered: until they are as old as they may be, counted from when they were asked for, and no
//! longer than what they tell of lasts. Those who ask the same at the same time ask once.

use std::time::{Duration, Instant};

use futures::FutureExt;
use moka::Expiry;
use moka::future::Cache;
use sha2::{Digest, Sha256};

use super::limits::{ANSWERS_MAX, REFUSALS_MAX};
use super::reach::now;
use crate::identity::IdentityError;

/// SHA-256 of what was asked about: no token or key is kept for longer than it is looked at.
type Question = [u8; 32];

/// See the module.
pub(super) struct Answers<T> {
    known: Cache<Question, Dated<T>>,
    // Apart from the others, so that guesses push nothing out.
    refused: moka::sync::Cache<Question, ()>,
    age: Duration,
}

/// An answer, and when it ends.
#[derive(Clone)]
pub(super) struct Known<T> {
    pub(super) value: T,
    /// In seconds since 1970.
    pub(super) ends_at: u64,
}

#[derive(Clone)]
struct Dated<T> {
    known: Known<T>,
    lasts: Duration,
}

struct ByDate;

impl<T> Expiry<Question, Dated<T>> for ByDate {
    fn expire_after_create(&self, _: &Question, answer: &Dated<T>, _: Instant) -> Option<Duration> {
        Some(answer.lasts)
    }
}

impl<T: Clone + Send + Sync + 'static> Answers<T> {
    /// None yet; each is used for `age` at the longest, and a refusal for `refusal_age`.
    pub(super) fn new(age: Duration, refusal_age: Duration) -> Self {
        Self {
            known: Cache::builder().max_capacity(ANSWERS_MAX).expire_after(ByDate).build(),
            refused: moka::sync::Cache::builder().max_capacity(REFUSALS_MAX).time_to_live(refusal_age).build(),
            age,
        }
    }

    /// The answer about `what`: a remembered one, or that of `ask`.
    pub(super) async fn get(
        &self,
        what: &str,
        ask: impl Future<Output = Result<Known<T>, IdentityError>>,
    ) -> Result<T, IdentityError> {
        let question = Sha256::digest(what.as_bytes()).into();
        if self.refused.contains_key(&question) {
            return Err(IdentityError::NotValid);
        }
        let asked = Instant::now();
        let dated = ask.map(|answer| match answer {
            Ok(known) => {
                let left = Duration::from_secs(known.ends_at.saturating_sub(now()));
                Ok(Dated { lasts: self.age.saturating_sub(asked.elapsed()).min(left), known })
            }
            Err(error) => {
                if error == IdentityError::NotValid {
                    self.refused.insert(question, ());
                }
                Err(error)
            }
        });
        let known = self.known.try_get_with(question, dated).await.map_err(|error| IdentityError::clone(&error))?.known;
        // What it tells of may have ended within the second.
        if known.ends_at <= now() { Err(IdentityError::NotValid) } else { Ok(known.value) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(300);

    async fn ask(count: &AtomicU32, ends_at: u64) -> Result<Known<u32>, IdentityError> {
        let number = count.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(Known { value: number, ends_at })
    }

    #[tokio::test]
    async fn who_asks_the_same_at_the_same_time_asks_once() {
        let (answers, count) = (Answers::new(LONG, LONG), AtomicU32::new(0));
        let all = (0..100).map(|_| answers.get("token", ask(&count, u64::MAX)));
        let all = futures::future::join_all(all).await;
        assert!(all.iter().all(|it| *it == Ok(0)), "{all:?}");
        assert_eq!(answers.get("token", ask(&count, u64::MAX)).await, Ok(0));
        assert_eq!(answers.get("another", ask(&count, u64::MAX)).await, Ok(1));
    }

    #[tokio::test]
    async fn an_answer_ends_with_what_it_tells_of_and_at_its_age() {
        let (answers, count) = (Answers::new(LONG, LONG), AtomicU32::new(0));
        assert_eq!(answers.get("ended", ask(&count, 1)).await, Err(IdentityError::NotValid));
        let answers = Answers::new(Duration::ZERO, LONG);
        for number in 1..4 {
            assert_eq!(answers.get("token", ask(&count, u64::MAX)).await, Ok(number), "asked anew");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_remembered_and_a_failure_is_not() {
        let answers = Answers::<u32>::new(LONG, LONG);
        let refuse = || async { Err(IdentityError::NotValid) };
        let fail = || async { Err(IdentityError::Unavailable("down".into())) };
        assert!(matches!(answers.get("token", fail()).await, Err(IdentityError::Unavailable(_))));
        assert_eq!(answers.get("token", refuse()).await, Err(IdentityError::NotValid));
        assert_eq!(answers.get("token", fail()).await, Err(IdentityError::NotValid), "it was not asked again");
    }
}
