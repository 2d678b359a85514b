//! Objects whose time has come: they are gone for whoever does not ask for what has expired, and go for good once the
//! delay is over that their account or container has.

use std::collections::BTreeMap;

use super::Store;
use crate::key::ObjectPath;
use crate::model::ObjectInfo;

/// What an object is whose time to be deleted has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Not there.
    Absent,
    /// There, as long as it has not been deleted.
    Open,
}

/// How long what has expired is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpiryOptions {
    /// Seconds by `account`, or by `account/container`, which counts for its account's containers first; without any,
    /// none.
    pub delays: BTreeMap<String, u64>,
}

impl ExpiryOptions {
    /// Whether an object that expires at a second is to be deleted at another.
    pub(super) fn is_due(&self, path: &ObjectPath, delete_at: u64, now: u64) -> bool {
        let delay = match self.delays.is_empty() {
            true => 0,
            false => {
                let of_container = self.delays.get(&format!("{}/{}", path.account, path.container));
                of_container.or_else(|| self.delays.get(&*path.account)).copied().unwrap_or(0)
            }
        };
        delete_at.saturating_add(delay) <= now
    }
}

impl Store {
    /// Whether an object's time has come.
    pub(super) fn is_expired(&self, info: &ObjectInfo) -> bool {
        info.delete_at.is_some_and(|second| second <= self.clock().wall().seconds())
    }

    /// Whether an object is there for whoever takes what has expired for this.
    pub(super) fn is_there(&self, info: &ObjectInfo, expired: Expired) -> bool {
        expired == Expired::Open || !self.is_expired(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_asked_before_its_account() {
        let delays = [("a".to_owned(), 100), ("a/c".to_owned(), 10)];
        let options = ExpiryOptions { delays: delays.into_iter().collect() };
        let check = |account: &str, container: &str, now, want| {
            let path = ObjectPath::new(account, container, "o");
            assert_eq!(options.is_due(&path, 1000, now), want, "{account}/{container} at {now}");
        };
        check("a", "c", 1009, false);
        check("a", "c", 1010, true);
        check("a", "d", 1099, false);
        check("a", "d", 1100, true);
        check("b", "c", 1000, true);
    }
}
