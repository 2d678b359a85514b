//! Times and sizes as text.

use anello_base::Timestamp;
use anello_base::units::parse_size;

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[("timestamp", timestamp)];

/// A time that is read is shown as one that is the same.
fn timestamp(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse::<Timestamp>().ok(), Some(time));
    }
    if let Some(size) = parse_size(text) {
        assert_eq!(parse_size(&size.to_string()), Some(size));
    }
}
