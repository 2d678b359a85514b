//! The background daemons of a device, and what every daemon tells of itself.

pub mod auditor;
pub mod compactor;
pub mod watch;
