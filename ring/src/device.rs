//! Devices as the ring knows them: where they are and how much they take.

use crate::error::Error;
use crate::limits::TEXT_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A device's number in one ring. Ids of removed devices are not given out again while others are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(transparent)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// No device: what Swift's files and our tables hold where nothing is assigned.
    pub(crate) const NONE: Self = Self(u16::MAX);

    /// As an index into arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a region: the widest domain of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Region(pub u32);

/// Number of a zone within its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zone(pub u32);

/// A device; the fields and their names are those of Swift's ring files. A host is known by its `ip`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its number; set by the builder.
    pub id: DeviceId,
    /// Region; old ring files have none and mean 1.
    #[serde(default = "first_region")]
    pub region: Region,
    /// Zone.
    pub zone: Zone,
    /// Address or name of the host, for clients' traffic.
    pub ip: String,
    /// Port of the storage server.
    pub port: u16,
    /// Address for replication; empty means `ip`.
    #[serde(default)]
    pub replication_ip: String,
    /// Port for replication; 0 means `port`.
    #[serde(default)]
    pub replication_port: u16,
    /// Name of the device on its host.
    #[serde(rename = "device")]
    pub name: String,
    /// Share of the partitions relative to other devices; 0 drains it.
    pub weight: f64,
    /// Anything the operator wants to note.
    #[serde(default)]
    pub meta: String,
}

fn first_region() -> Region {
    Region(1)
}

impl Device {
    /// Fills in the replication address where it is missing, and checks every field.
    ///
    /// # Errors
    /// [`Error::Weight`], [`Error::DeviceField`].
    pub(crate) fn checked(mut self) -> Result<Self, Error> {
        let refuse = |field, reason| Err(Error::DeviceField { field, reason });
        if !self.weight.is_finite() || self.weight < 0.0 {
            return Err(Error::Weight { given: self.weight });
        }
        if self.replication_ip.is_empty() {
            self.replication_ip.clone_from(&self.ip);
        }
        if self.replication_port == 0 {
            self.replication_port = self.port;
        }
        let texts =
            [("ip", &self.ip), ("replication_ip", &self.replication_ip), ("device", &self.name), ("meta", &self.meta)];
        for (field, text) in texts {
            if text.len() > TEXT_BYTES_MAX {
                return refuse(field, "longer than 1,024 bytes");
            }
            if text.chars().any(char::is_control) {
                return refuse(field, "holds control characters");
            }
            if field != "meta" && (text.is_empty() || text.contains(['/', ' '])) {
                return refuse(field, "is empty or holds a slash or a space");
            }
        }
        if matches!(self.name.as_str(), "." | "..") {
            return refuse("device", "is no name for a directory");
        }
        Ok(self)
    }

    /// Address, port and name: what makes two devices the same disk.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", bracketed(&self.ip, self.port), self.name)
    }

    pub(crate) fn is_same_disk(&self, other: &Self) -> bool {
        (&self.ip, self.port, &self.name) == (&other.ip, other.port, &other.name)
    }
}

/// `address:port`, an IPv6 address in brackets.
fn bracketed(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Swift's form: `d3r1z2-10.0.0.1:6200R10.1.0.1:6200/sdb1_remark`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "d{}r{}z{}-{}R{}/{}",
            self.id,
            self.region.0,
            self.zone.0,
            bracketed(&self.ip, self.port),
            bracketed(&self.replication_ip, self.replication_port),
            self.name
        )?;
        if self.meta.is_empty() { Ok(()) } else { write!(f, "_{}", self.meta) }
    }
}
