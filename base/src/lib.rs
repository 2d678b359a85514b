//! Ground floor: what every other floor speaks in. Time and identifiers come from here, so that a
//! simulation can replace the clock, and so that one error class means one thing everywhere.
//!
//! Left out on purpose: anything that does input or output, and anything only one room needs.

pub mod error;
pub mod id;
pub mod timestamp;
pub mod units;

pub use error::Class;
pub use timestamp::{Clock, HybridClock, SystemClock, Timestamp, WRITER_MAX};
