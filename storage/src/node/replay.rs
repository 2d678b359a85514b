//! Which calls were answered already. A call that was recorded on the network and is sent again must not be
//! carried out again: each caller numbers its calls, and a number counts once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::limits::{REPLAY_WINDOW, SENDERS_MAX};

const WORDS: usize = (REPLAY_WINDOW / 64) as usize;

/// What the senders have sent.
#[derive(Debug, Default)]
pub(super) struct Replays {
    senders: Mutex<HashMap<u64, Window>>,
}

/// A sender's latest numbers, as a ring of bits.
#[derive(Debug)]
struct Window {
    latest: u64,
    seen: [u64; WORDS],
}

impl Replays {
    /// Whether the call is the first with its number. Numbers that are more than [`REPLAY_WINDOW`] behind the
    /// sender's latest count as repeated.
    pub(super) fn is_new(&self, sender: u64, number: u64) -> bool {
        // Each entry is whole between any two calls.
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if senders.len() >= SENDERS_MAX && !senders.contains_key(&sender) {
            // More processes than a cluster has: forget those that are not of now. Their calls are refused by
            // their age in any case.
            senders.clear();
        }
        senders.entry(sender).or_insert(Window { latest: 0, seen: [0; WORDS] }).note(number)
    }
}

impl Window {
    fn note(&mut self, number: u64) -> bool {
        if number + REPLAY_WINDOW <= self.latest {
            return false;
        }
        if number > self.latest {
            let skipped = (number - self.latest).min(REPLAY_WINDOW);
            for fresh in 0..skipped {
                self.clear(number - fresh);
            }
            self.latest = number;
        }
        let (word, bit) = Self::place(number);
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_new
    }

    fn clear(&mut self, number: u64) {
        let (word, bit) = Self::place(number);
        self.seen[word] &= !bit;
    }

    fn place(number: u64) -> (usize, u64) {
        let at = number % REPLAY_WINDOW;
        ((at / 64) as usize, 1 << (at % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_once_in_whatever_order_they_come() {
        let replays = Replays::default();
        for number in [5, 3, 4, 9000, 8999, 5000] {
            assert!(replays.is_new(1, number), "{number}");
            assert!(!replays.is_new(1, number), "{number} again");
        }
        assert!(replays.is_new(2, 5), "another sender");
        assert!(!replays.is_new(1, 9000 - REPLAY_WINDOW), "too far behind to know");
        assert!(!replays.is_new(1, 3), "long ago");
    }
}
