//! Rings and builders as bytes: Swift's ring file and our builder file. The layouts are described in
//! `docs/formats/ring.md`. Both readers take hostile input: lengths are checked before anything is
//! allocated for them, and checksums before anything is believed.

mod builder_file;
mod ring_file;

use crate::device::Device;
use crate::error::Error;
use crate::limits::DEVICES_MAX;
use std::io::Read;

fn damaged(what: impl Into<String>) -> Error {
    Error::Format(what.into())
}

/// Up to `length` bytes. Memory grows with what is there, not with what is claimed.
fn read_up_to(source: &mut impl Read, length: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    source.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Devices at the places of their ids, each checked.
fn checked_devices(devices: Vec<Option<Device>>) -> Result<Vec<Option<Device>>, Error> {
    if devices.len() > DEVICES_MAX {
        return Err(Error::TooManyDevices);
    }
    let check = |(index, device): (usize, Option<Device>)| match device {
        Some(device) if device.id.index() != index => {
            Err(damaged(format!("the device at place {index} of the list has id {}", device.id)))
        }
        Some(device) => device.checked().map(Some),
        None => Ok(None),
    };
    devices.into_iter().enumerate().map(check).collect()
}
