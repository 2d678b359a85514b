//! Devices in Swift's short form, as its operators type them.
//!
//! `r1z2-10.0.0.1:6200R10.1.0.1:6200/sdb1_remark` describes a device to add; with any parts left out, and
//! `d<id>` before them, it matches devices that are there. IPv6 addresses stand in brackets.

use crate::device::{Device, DeviceId, Region, Zone};
use crate::error::Error;
use std::str::FromStr;

/// Which devices are meant: those that agree in every field that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceMatch {
    /// Number in the ring.
    pub id: Option<DeviceId>,
    /// Region.
    pub region: Option<Region>,
    /// Zone.
    pub zone: Option<Zone>,
    /// Address for clients' traffic.
    pub ip: Option<String>,
    /// Port for clients' traffic.
    pub port: Option<u16>,
    /// Address for replication.
    pub replication_ip: Option<String>,
    /// Port for replication.
    pub replication_port: Option<u16>,
    /// Name on the host.
    pub name: Option<String>,
    /// A piece of the remark.
    pub meta: Option<String>,
}

impl DeviceMatch {
    /// Whether `device` is meant.
    pub fn matches(&self, device: &Device) -> bool {
        fn agrees<T: PartialEq>(wanted: Option<&T>, is: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        agrees(self.id.as_ref(), &device.id)
            && agrees(self.region.as_ref(), &device.region)
            && agrees(self.zone.as_ref(), &device.zone)
            && agrees(self.ip.as_ref(), &device.ip)
            && agrees(self.port.as_ref(), &device.port)
            && agrees(self.replication_ip.as_ref(), &device.replication_ip)
            && agrees(self.replication_port.as_ref(), &device.replication_port)
            && agrees(self.name.as_ref(), &device.name)
            && self.meta.as_ref().is_none_or(|meta| device.meta.contains(meta))
    }

    /// The device that is described, for adding it. Region 1 where none is given; its `id` is of no meaning.
    ///
    /// # Errors
    /// [`Error::Spec`] where zone, address, port or name is missing.
    pub fn into_device(self, weight: f64) -> Result<Device, Error> {
        let missing = |reason| Error::Spec { text: "the device".to_owned(), reason };
        let ip = self.ip.ok_or_else(|| missing("its address is missing, as in r1z1-10.0.0.1:6200/sdb1"))?;
        let port = self.port.ok_or_else(|| missing("its port is missing, as in r1z1-10.0.0.1:6200/sdb1"))?;
        Ok(Device {
            id: DeviceId(0),
            region: self.region.unwrap_or(Region(1)),
            zone: self.zone.ok_or_else(|| missing("its zone is missing, as in r1z1-10.0.0.1:6200/sdb1"))?,
            replication_ip: self.replication_ip.unwrap_or_else(|| ip.clone()),
            replication_port: self.replication_port.unwrap_or(port),
            ip,
            port,
            name: self.name.ok_or_else(|| missing("its name is missing, as in r1z1-10.0.0.1:6200/sdb1"))?,
            weight,
            meta: self.meta.unwrap_or_default(),
        })
    }

    /// `device` with the fields that are given replaced; id, region and zone are no part of it.
    pub fn applied_to(self, device: &Device) -> Device {
        let mut new = device.clone();
        let set = |field: &mut String, value: Option<String>| {
            if let Some(value) = value {
                *field = value;
            }
        };
        set(&mut new.ip, self.ip);
        set(&mut new.replication_ip, self.replication_ip);
        set(&mut new.name, self.name);
        set(&mut new.meta, self.meta);
        new.port = self.port.unwrap_or(new.port);
        new.replication_port = self.replication_port.unwrap_or(new.replication_port);
        new
    }
}

impl FromStr for DeviceMatch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut reader = Reader { text, rest: text };
        let id = reader.number('d')?.map(DeviceId);
        let region = reader.number('r')?.map(Region);
        let zone = reader.number('z')?.map(Zone);
        reader.skip('-');
        let ip = reader.address()?;
        let port = reader.number(':')?;
        let (mut replication_ip, mut replication_port) = (None, None);
        if reader.skip('R') {
            replication_ip = reader.address()?;
            replication_port = reader.number(':')?;
        }
        let name = reader.skip('/').then(|| reader.until_underscore());
        let meta = reader.skip('_').then(|| std::mem::take(&mut reader.rest).to_owned());
        if !reader.rest.is_empty() || text.is_empty() {
            return Err(reader.refuse("the form is d0r1z1-10.0.0.1:6200R10.1.0.1:6200/sdb1_remark"));
        }
        Ok(Self { id, region, zone, ip, port, replication_ip, replication_port, name, meta })
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn refuse(&self, reason: &'static str) -> Error {
        Error::Spec { text: self.text.to_owned(), reason }
    }

    fn skip(&mut self, mark: char) -> bool {
        let rest = self.rest.strip_prefix(mark);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn split(&mut self, at: usize) -> &'a str {
        let (head, rest) = self.rest.split_at(at);
        self.rest = rest;
        head
    }

    /// A number behind `mark`, if it is there. A letter without a digit begins a host's name.
    fn number<T: FromStr>(&mut self, mark: char) -> Result<Option<T>, Error> {
        let Some(digits) = self.rest.strip_prefix(mark) else { return Ok(None) };
        let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        if length == 0 && mark != ':' {
            return Ok(None);
        }
        self.rest = digits;
        let digits = self.split(length);
        digits.parse().map(Some).map_err(|_| self.refuse("a number in it is missing or too large"))
    }

    fn address(&mut self) -> Result<Option<String>, Error> {
        if self.skip('[') {
            let end = self.rest.find(']').ok_or_else(|| self.refuse("the bracket is not closed"))?;
            let address = self.split(end);
            self.skip(']');
            let address: std::net::Ipv6Addr =
                address.parse().map_err(|_| self.refuse("in brackets stands no IPv6 address"))?;
            return Ok(Some(address.to_string()));
        }
        let end = self.rest.find([':', 'R', '/', '_']).unwrap_or(self.rest.len());
        let address = self.split(end);
        Ok((!address.is_empty()).then(|| address.to_ascii_lowercase()))
    }

    fn until_underscore(&mut self) -> String {
        let end = self.rest.find('_').unwrap_or(self.rest.len());
        self.split(end).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        let device = text.parse::<DeviceMatch>().and_then(|found| found.into_device(1.0)).expect(text);
        assert_eq!(device.to_string(), shown, "{text}");
    }

    #[test]
    fn devices_are_added_in_swifts_short_form() {
        check("r1z2-10.0.0.1:6200/sdb1", "d0r1z2-10.0.0.1:6200R10.0.0.1:6200/sdb1");
        check("z2-10.0.0.1:6200/sdb1_hot", "d0r1z2-10.0.0.1:6200R10.0.0.1:6200/sdb1_hot");
        check("r3z2-10.0.0.1:6200R10.1.0.1:6300/d_a_b", "d0r3z2-10.0.0.1:6200R10.1.0.1:6300/d_a_b");
        check("r1z1-[2001:DB8::0:1]:6200/sdb1", "d0r1z1-[2001:db8::1]:6200R[2001:db8::1]:6200/sdb1");
        check("r1z1-rack.Example.net:6200/sdb1", "d0r1z1-rack.example.net:6200Rrack.example.net:6200/sdb1");
    }

    #[test]
    fn what_describes_no_device_is_refused() {
        for text in ["", "10.0.0.1/sdb1", "r1z1-10.0.0.1:6200", "z1-:6200/x", "z1-a:b/x", "z1-a:99999/x", "z1-[::1/x"] {
            let found = text.parse::<DeviceMatch>().and_then(|found| found.into_device(1.0));
            assert!(found.is_err(), "{text:?} became {found:?}");
        }
    }

    #[test]
    fn a_match_means_every_device_that_agrees_with_what_is_given() {
        let device =
            "r1z2-10.0.0.1:6200R10.1.0.1:6300/sdb1_hot".parse::<DeviceMatch>().and_then(|d| d.into_device(1.0));
        let device = device.expect("a device");
        for (text, wanted) in [
            ("d0", true),
            ("d1", false),
            ("r1", true),
            ("z3", false),
            ("z2-10.0.0.1", true),
            ("10.0.0.1:6200", true),
            (":6201", false),
            ("R10.1.0.1", true),
            ("/sdb1", true),
            ("/sdb", false),
            ("_ho", true),
        ] {
            assert_eq!(text.parse::<DeviceMatch>().expect(text).matches(&device), wanted, "{text}");
        }
    }
}
