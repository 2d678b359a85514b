//! The background daemons of a device, and what every daemon tells of itself.

pub mod auditor;
pub mod compactor;
mod cursor;
pub(crate) mod recounter;
pub mod threads;
pub mod watch;
