//! Whether an object's recorded history is one that `docs/consistency.md` allows.
//!
//! The search is Wing and Gong's with Lowe's memory of what was tried: from the operations that may come next, one is
//! taken, then the rest must follow. An operation may come next if no other one that is not taken yet returned
//! before it was invoked. Writes of unknown outcome may be taken at any time after they were invoked, or never; of those
//! that do the same as far as anybody tells, the first goes first.
//!
//! Plain reads may see a write before its writer is told, and need not agree with each other on it. So a read
//! demands less: after everything that returned before it was invoked, its version stands at some time, and that
//! version's write was invoked before the read returned.

use std::collections::HashSet;

/// Operations of one history at most: the bits of [`Taken`].
pub(crate) const OPERATIONS_MAX: usize = 128;

/// Which operations have been taken.
type Taken = u128;

/// What a write wrote; no two of a history write the same.
pub(crate) type Value = u32;

/// When a write or deletion is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    Absent,
    Is(Value),
}

impl Condition {
    fn holds(self, current: Option<Value>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => current.is_none(),
            Self::Is(value) => current == Some(value),
        }
    }
}

/// What was asked and what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Put(Condition, Value),
    /// What was there is told.
    Delete(Condition, Option<Value>),
    /// The condition did not hold.
    Refused(Condition),
    /// May happen at any later time, or never: the value, or nothing, would stand.
    Unknown(Condition, Option<Value>),
    Read(Option<Value>),
}

/// One operation, with its place in the order in which operations were invoked and returned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) invoked: u64,
    pub(crate) returned: u64,
    pub(crate) event: Event,
}

impl Operation {
    /// When it has happened at the latest.
    fn end(&self) -> u64 {
        match self.event {
            Event::Unknown(..) | Event::Read(_) => u64::MAX,
            _ => self.returned,
        }
    }

    /// What stands after it, where it changes that.
    fn leaves(&self) -> Option<Option<Value>> {
        match self.event {
            Event::Put(_, value) => Some(Some(value)),
            Event::Delete(..) => Some(None),
            Event::Unknown(_, value) => Some(value),
            Event::Refused(_) | Event::Read(_) => None,
        }
    }
}

/// Whether there is an order of these operations that explains every answer. In the beginning there is nothing.
pub(crate) fn is_linearizable(operations: &[Operation]) -> bool {
    assert!(operations.len() <= OPERATIONS_MAX, "{} operations are more than {OPERATIONS_MAX}", operations.len());
    Search { operations, twins: twins(operations), tried: HashSet::new() }.goes_on(0, None)
}

/// Of each write of unknown outcome, the earlier ones that might take its place: of the same condition, and leaving
/// nothing as it does, or a value that nobody names as its own.
fn twins(operations: &[Operation]) -> Vec<Taken> {
    let is_named = |value: Value, by: usize| {
        operations.iter().enumerate().any(|(at, it)| {
            at != by
                && match it.event {
                    Event::Read(seen) => seen == Some(value),
                    Event::Delete(condition, seen) => seen == Some(value) || condition == Condition::Is(value),
                    Event::Put(condition, _) | Event::Refused(condition) | Event::Unknown(condition, _) => {
                        condition == Condition::Is(value)
                    }
                }
        })
    };
    let does = |at: usize| match operations[at].event {
        Event::Unknown(condition, None) => Some((condition, false)),
        Event::Unknown(condition, Some(value)) if !is_named(value, at) => Some((condition, true)),
        _ => None,
    };
    let all: Vec<_> = (0..operations.len()).map(does).collect();
    let place = |at: usize| (operations[at].invoked, at);
    let is_earlier = |at: usize, of: usize| all[at].is_some() && all[at] == all[of] && place(at) < place(of);
    let before = |of: usize| (0..all.len()).filter(|at| is_earlier(*at, of)).fold(0, |twins, at| twins | (1 << at));
    (0..all.len()).map(before).collect()
}

/// Leaves out reads of a write that was under way, or whose outcome nobody knows: a reader may see it before it is
/// sure to stay, and the next one may not (`docs/consistency.md`, promise 3).
pub(crate) fn without_glimpses(operations: &[Operation]) -> Vec<Operation> {
    let is_of = |write: &Operation, value: Option<Value>| match write.event {
        Event::Put(_, written) => (value == Some(written), false),
        Event::Delete(..) => (value.is_none(), false),
        Event::Unknown(_, written) => (value == written, true),
        _ => (false, false),
    };
    let is_glimpse = |read: &Operation, value: Option<Value>| {
        operations.iter().any(|write| {
            let (is_its, is_unknown) = is_of(write, value);
            is_its && write.invoked < read.returned && (is_unknown || write.returned > read.invoked)
        })
    };
    let stays = |it: &&Operation| !matches!(it.event, Event::Read(value) if is_glimpse(it, value));
    operations.iter().filter(stays).copied().collect()
}

struct Search<'a> {
    operations: &'a [Operation],
    /// By operation.
    twins: Vec<Taken>,
    tried: HashSet<(Taken, Option<usize>)>,
}

impl Search<'_> {
    /// Whether the operations that are not `taken` can follow. `last` is the one that wrote what stands.
    fn goes_on(&mut self, mut taken: Taken, last: Option<usize>) -> bool {
        let value = last.and_then(|last| self.operations[last].leaves().flatten());
        let written = last.map_or(0, |last| self.operations[last].invoked);
        let open = |taken: Taken| (0..self.operations.len()).filter(move |at| taken & (1 << at) == 0);
        let first_end = open(taken).map(|at| self.operations[at].end()).min().unwrap_or(u64::MAX);
        // Reads change nothing, so whatever can be taken now is.
        for at in open(taken) {
            let Operation { invoked, returned, event } = self.operations[at];
            if event == Event::Read(value) && invoked < first_end && written < returned {
                taken |= 1 << at;
            }
        }
        if open(taken).all(|at| matches!(self.operations[at].event, Event::Unknown(..))) {
            return true;
        }
        if !self.tried.insert((taken, last)) {
            return false;
        }
        // Writes of unknown outcome last: most of them are not needed to explain anything.
        let (certain, unknown): (Vec<usize>, Vec<usize>) = open(taken)
            .filter(|at| self.operations[*at].invoked < first_end && self.twins[*at] & !taken == 0)
            .partition(|at| self.operations[*at].end() != u64::MAX);
        certain.into_iter().chain(unknown).any(|at| {
            let is_possible = match self.operations[at].event {
                Event::Put(condition, _) | Event::Unknown(condition, _) => condition.holds(value),
                Event::Delete(condition, before) => condition.holds(value) && before == value,
                Event::Refused(condition) => !condition.holds(value),
                Event::Read(_) => false,
            };
            let leaves = self.operations[at].leaves().map_or(last, |_| Some(at));
            is_possible && self.goes_on(taken | (1 << at), leaves)
        })
    }
}

/// The history without operations that it is refused without, too: what is left shows the contradiction.
pub(crate) fn minimal(mut operations: Vec<Operation>) -> Vec<Operation> {
    let mut at = 0;
    while at < operations.len() {
        let left_out = operations.remove(at);
        // Without a write whose value is seen the rest contradicts itself for another reason.
        let is_seen = left_out.leaves().flatten().is_some_and(|value| operations.iter().any(|it| sees(it, value)));
        if is_seen || is_linearizable(&operations) {
            operations.insert(at, left_out);
            at += 1;
        }
    }
    operations
}

/// The operation with whose answer the history ceases to have an order.
pub(crate) fn culprit(operations: &[Operation]) -> Option<Operation> {
    let mut by_end = operations.to_vec();
    by_end.sort_by_key(|it| it.returned);
    by_end.into_iter().find(|last| {
        let begun = operations.iter().filter(|it| it.invoked < last.returned);
        let known = begun.filter_map(|it| match it.event {
            _ if it.returned <= last.returned => Some(*it),
            Event::Put(condition, value) => Some(Operation { event: Event::Unknown(condition, Some(value)), ..*it }),
            Event::Delete(condition, _) => Some(Operation { event: Event::Unknown(condition, None), ..*it }),
            Event::Unknown(..) => Some(*it),
            Event::Refused(_) | Event::Read(_) => None,
        });
        !is_linearizable(&known.collect::<Vec<_>>())
    })
}

fn sees(operation: &Operation, value: Value) -> bool {
    match operation.event {
        Event::Read(seen) | Event::Delete(_, seen) => seen == Some(value),
        Event::Put(condition, _) => condition == Condition::Is(value),
        Event::Refused(_) | Event::Unknown(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Condition::{Absent, Always, Is};
    use super::Event::{Delete, Put, Read, Refused, Unknown};
    use super::{Event, Operation, is_linearizable, minimal};

    fn history(events: &[(u64, u64, Event)]) -> Vec<Operation> {
        events.iter().map(|&(invoked, returned, event)| Operation { invoked, returned, event }).collect()
    }

    #[track_caller]
    fn allowed(events: &[(u64, u64, Event)]) {
        assert!(is_linearizable(&history(events)));
    }

    #[track_caller]
    fn refused(events: &[(u64, u64, Event)]) {
        assert!(!is_linearizable(&history(events)));
    }

    #[test]
    fn what_follows_each_other_is_seen() {
        allowed(&[(0, 1, Put(Always, 1)), (2, 3, Read(Some(1))), (4, 5, Delete(Always, Some(1))), (6, 7, Read(None))]);
        allowed(&[(0, 1, Put(Absent, 1)), (2, 3, Refused(Absent)), (4, 5, Put(Is(1), 2)), (6, 7, Refused(Is(1)))]);
    }

    #[test]
    fn a_stale_read_is_refused() {
        refused(&[(0, 1, Put(Always, 1)), (2, 3, Put(Always, 2)), (4, 5, Read(Some(1)))]);
        refused(&[(0, 1, Put(Always, 1)), (2, 3, Read(None))]);
        refused(&[(0, 1, Put(Always, 1)), (2, 3, Delete(Always, Some(1))), (4, 5, Read(Some(1)))]);
        // While the second write is under way either may be read, and the first one once more.
        allowed(&[(0, 1, Put(Always, 1)), (2, 9, Put(Always, 2)), (3, 4, Read(Some(2))), (5, 6, Read(Some(1)))]);
    }

    #[test]
    fn a_read_of_what_nobody_has_begun_to_write_is_refused() {
        refused(&[(0, 1, Read(Some(1))), (2, 3, Put(Always, 1))]);
        refused(&[(0, 1, Put(Always, 1)), (2, 3, Read(None)), (4, 5, Delete(Always, Some(1)))]);
        refused(&[(0, 1, Read(Some(7)))]);
    }

    #[test]
    fn a_lost_update_is_refused() {
        refused(&[(0, 1, Put(Always, 1)), (2, 5, Put(Is(1), 2)), (3, 6, Put(Is(1), 3))]);
        refused(&[(0, 1, Put(Always, 1)), (2, 3, Put(Is(1), 2)), (4, 5, Delete(Always, Some(1)))]);
    }

    #[test]
    fn two_that_created_the_same_are_refused() {
        refused(&[(0, 3, Put(Absent, 1)), (1, 4, Put(Absent, 2))]);
        allowed(&[(0, 3, Put(Absent, 1)), (1, 4, Refused(Absent))]);
        allowed(&[(0, 3, Put(Absent, 1)), (1, 5, Delete(Always, Some(1))), (2, 4, Put(Absent, 2))]);
    }

    #[test]
    fn a_condition_that_failed_without_reason_is_refused() {
        refused(&[(0, 1, Refused(Absent)), (2, 3, Put(Always, 1))]);
        refused(&[(0, 1, Put(Always, 1)), (2, 3, Refused(Is(1)))]);
        refused(&[(0, 1, Put(Always, 1)), (2, 3, Delete(Always, None))]);
        allowed(&[(0, 3, Put(Always, 1)), (1, 2, Refused(Absent))]);
    }

    #[test]
    fn what_is_unknown_may_happen_late_or_never_but_once() {
        let unknown = (2, 3, Unknown(Always, Some(2)));
        allowed(&[(0, 1, Put(Always, 1)), unknown, (4, 5, Read(Some(1))), (6, 7, Read(Some(2)))]);
        allowed(&[(0, 1, Put(Always, 1)), unknown, (4, 5, Read(Some(1)))]);
        allowed(&[(0, 1, Put(Always, 1)), unknown, (4, 5, Put(Is(1), 3)), (6, 7, Read(Some(2)))]);
        refused(&[unknown, (4, 5, Put(Is(2), 3)), (6, 7, Put(Is(3), 4)), (8, 9, Read(Some(2)))]);
        // Not before it is asked for, and not where its condition can't hold.
        refused(&[(0, 1, Read(Some(2))), unknown]);
        refused(&[(0, 1, Put(Always, 1)), (2, 3, Unknown(Absent, Some(2))), (4, 5, Read(Some(2)))]);
        // A deletion explains that nothing is there.
        allowed(&[(0, 1, Put(Always, 1)), (2, 3, Unknown(Always, None)), (4, 5, Put(Absent, 2))]);
        // Each of two that look alike serves once, and neither before it was asked for.
        let twice = |second| {
            [(0, 1, Put(Always, 1)), (2, 3, Unknown(Always, None)), (second, second + 1, Unknown(Always, None))]
        };
        let puts = [(4, 5, Put(Absent, 2)), (10, 11, Put(Absent, 3)), (12, 13, Put(Absent, 4))];
        allowed(&[&twice(8), &puts[..2]].concat());
        allowed(&[&twice(3), &puts[..2]].concat());
        refused(&[&twice(12), &puts[..2]].concat());
        refused(&[&twice(3), &puts[..]].concat());
    }

    #[test]
    fn a_contradiction_is_shown_without_what_has_no_part_in_it() {
        let events = [
            (0, 1, Put(Absent, 1)),
            (2, 3, Read(Some(1))),
            (4, 9, Put(Is(1), 2)),
            (5, 10, Put(Is(1), 3)),
            (6, 11, Refused(Absent)),
            (12, 13, Put(Always, 4)),
        ];
        let left: Vec<Event> = minimal(history(&events)).iter().map(|operation| operation.event).collect();
        assert_eq!(left, [Put(Absent, 1), Put(Is(1), 2), Put(Is(1), 3)]);
    }
}
