//! What can go wrong in placement.

use crate::device::DeviceId;
use crate::limits::{DEVICES_MAX, PART_POWER_MAX, REPLICAS_MAX, SLOTS_MAX};
use crate::partition::Partition;
use anello_base::Class;
use std::io;

/// The failures of this package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too many partitions.
    #[error("part power {given} is above the most, {PART_POWER_MAX}")]
    PartPower {
        /// What was asked for.
        given: u64,
    },
    /// A replica count that no ring can have.
    #[error("replica count {given} is not between 1 and {REPLICAS_MAX}")]
    Replicas {
        /// What was asked for.
        given: f64,
    },
    /// Part power and replica count are each allowed, their product is not.
    #[error("{slots} assignments are above the most, {SLOTS_MAX}: lower the part power or the replica count")]
    TooLarge {
        /// Partitions times replicas.
        slots: usize,
    },
    /// A weight that is negative or no number.
    #[error("weight {given} is not a number from 0 up")]
    Weight {
        /// What was asked for.
        given: f64,
    },
    /// An overload that is negative or no number.
    #[error("overload {given} is not a number from 0 up (0.1 is ten percent)")]
    Overload {
        /// What was asked for.
        given: f64,
    },
    /// A text that no device can be described by.
    #[error("{text:?} does not describe a device: {reason}")]
    Spec {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A field of a device breaks a rule.
    #[error("{field} of the device: {reason}")]
    DeviceField {
        /// Name of the field.
        field: &'static str,
        /// The rule.
        reason: &'static str,
    },
    /// There is no such device, or it is about to leave.
    #[error("device {0} is not in the ring")]
    DeviceMissing(DeviceId),
    /// The same disk twice.
    #[error("{place} is in the ring already, as device {id}")]
    DeviceExists {
        /// Its id.
        id: DeviceId,
        /// Address, port and name.
        place: String,
    },
    /// The ids are used up.
    #[error("a ring holds at most {DEVICES_MAX} devices")]
    TooManyDevices,
    /// Distinct devices for all replicas cannot be found.
    #[error("{replicas} replicas need as many devices with a weight; there are {devices}")]
    TooFewDevices {
        /// Replica count.
        replicas: f64,
        /// Devices with a weight above 0.
        devices: usize,
    },
    /// The builder has no assignments yet.
    #[error("the ring was never rebalanced")]
    NeverRebalanced,
    /// A check of the assignments failed.
    #[error("partition {partition}: {reason}")]
    Invalid {
        /// Which partition.
        partition: Partition,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes that are no ring or builder file, or a damaged one.
    #[error("{0}")]
    Format(String),
    /// A file of a version that is not read here.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// The class of the failure.
    pub fn class(&self) -> Class {
        match self {
            Self::DeviceMissing(_) => Class::Missing,
            Self::DeviceExists { .. } | Self::TooFewDevices { .. } | Self::NeverRebalanced => Class::Conflict,
            Self::Invalid { .. } | Self::Format(_) => Class::Corrupt,
            Self::Unsupported(_) => Class::Unsupported,
            Self::TooLarge { .. } | Self::TooManyDevices => Class::TooLarge,
            Self::Io(_) => Class::Internal,
            _ => Class::Invalid,
        }
    }
}
