//! How many replicas of so many count.

/// Replicas that must acknowledge: more than half, and of two one (as in Swift), since otherwise two
/// devices would be less available than one.
pub(crate) fn majority(replicas: usize) -> usize {
    if replicas == 2 { 1 } else { replicas / 2 + 1 }
}

/// Replicas that must be asked, so that one of them has whatever a majority has acknowledged.
pub(crate) fn readers(replicas: usize) -> usize {
    replicas + 1 - majority(replicas).min(replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_more_than_half_and_of_two_one() {
        assert_eq!([1, 2, 3, 4, 5].map(majority), [1, 1, 2, 3, 3]);
        assert_eq!([1, 2, 3, 4, 5].map(readers), [1, 2, 2, 2, 3]);
    }
}
