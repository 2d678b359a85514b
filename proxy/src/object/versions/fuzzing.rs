//! Names of kept versions and their ids, as rows and requests bring them.

use super::VersionId;
use super::name::{name, split};

/// A name that is read is written as the same, and an id that is taken is shown as it came.
pub(crate) fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(id) = VersionId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    let Some((key, stamp)) = split(text) else { return };
    let again = name(&key, &stamp);
    assert_eq!(split(&again), Some((key, stamp)));
}
