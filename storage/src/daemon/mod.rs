//! The background daemons of a device.

pub mod auditor;
pub mod compactor;
