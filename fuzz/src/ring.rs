//! Ring and builder files, and devices as text. A ring file is compressed, and no mutation finds a checksum, so what is
//! fed is compressed first, too.

use std::io::Write;

use anello_ring::{Builder, DeviceMatch, Ring};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[("ring", ring), ("ring-builder", builder), ("ring-device", device)];

/// A ring that is taken gives primaries that it has devices for, and is written as the same ring.
fn ring(bytes: &[u8]) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("memory takes everything");
    for bytes in [bytes, &gzip.finish().expect("memory takes everything")] {
        let Ok(ring) = Ring::read(bytes) else { continue };
        for partition in ring.partitions().take(64) {
            assert!(ring.primaries(partition).iter().all(|id| ring.device(*id).is_some()), "{partition:?}");
        }
        let _ = ring.validate();
        let (mut written, mut again) = (Vec::new(), Vec::new());
        ring.write(&mut written).expect("it was read");
        Ring::read(&written[..]).expect("it was written").write(&mut again).expect("it was read");
        assert_eq!(again, written);
    }
}

/// As [`ring`]; what is fed once more with its checksum put right.
fn builder(bytes: &[u8]) {
    check_builder(bytes);
    if bytes.len() >= 40 {
        let checksum = crc32fast::hash(&[&bytes[..32], &bytes[40..]].concat());
        check_builder(&[&bytes[..32], &checksum.to_le_bytes(), &[0; 4], &bytes[40..]].concat());
    }
}

fn check_builder(bytes: &[u8]) {
    let Ok(builder) = Builder::read(bytes) else { return };
    let (mut written, mut again) = (Vec::new(), Vec::new());
    builder.write(&mut written).expect("it was read");
    Builder::read(&written[..]).expect("it was written").write(&mut again).expect("it was read");
    assert_eq!(again, written);
    let _ = builder.ring();
}

fn device(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = text.parse::<DeviceMatch>();
}
