//! Partitions and how many of them there are.

use crate::error::Error;
use crate::limits::PART_POWER_MAX;
use std::fmt;

/// Number of a partition, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

impl Partition {
    /// As an index into arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A ring has two to this power partitions; 0 to [`PART_POWER_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartPower(u8);

impl PartPower {
    /// # Errors
    /// [`Error::PartPower`] above [`PART_POWER_MAX`].
    pub const fn new(power: u8) -> Result<Self, Error> {
        if power > PART_POWER_MAX { Err(Error::PartPower { given: power as u64 }) } else { Ok(Self(power)) }
    }

    /// The exponent: a hash's top bits, so many, are its partition.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// How many partitions there are.
    pub const fn partitions(self) -> usize {
        1 << self.0
    }
}
