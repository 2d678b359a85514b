//! Placement: which devices hold a partition, and how that changes with the fewest moves.
//!
//! A [`Builder`] keeps devices and the rules (weights, replica count, overload, hours between moves);
//! its [`Builder::rebalance`] assigns partitions. The [`Ring`] is what servers read: a flat table from
//! partition to devices, and the order of hand-offs. Rings are read and written in Swift's ring file
//! format (version 1), builders in a format of our own (`docs/formats/ring.md`).
//!
//! Pure on purpose: no files, no clock, no source of randomness; bytes, the time and a seed are
//! arguments, so one seed gives one ring. How names become partitions is the store's matter.

mod builder;
mod device;
mod error;
mod format;
mod handoff;
pub mod limits;
mod partition;
mod plan;
mod random;
mod rebalance;
mod report;
mod ring;
mod spec;
mod table;
mod topology;

pub use builder::Builder;
pub use device::{Device, DeviceId, Region, Zone};
pub use error::Error;
pub use handoff::Handoffs;
pub use partition::{PartPower, Partition};
pub use rebalance::{Rebalanced, Step};
pub use report::{DeviceReport, DispersionReport, TierReport};
pub use ring::Ring;
pub use spec::DeviceMatch;
