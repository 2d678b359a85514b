//! Ring and builder files: what is written is read again, and what is damaged or hostile is refused.

mod clusters;

use anello_base::Class;
use anello_ring::{Builder, Device, DeviceId, Error, Ring};
use clusters::{Cluster, device, rebalance};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::io::{Read, Write};

fn builder_bytes(builder: &Builder) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder.write(&mut bytes).expect("memory takes it");
    bytes
}

fn ring_bytes(ring: &Ring) -> Vec<u8> {
    let mut bytes = Vec::new();
    ring.write(&mut bytes).expect("memory takes it");
    bytes
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).expect("just written");
    plain
}

/// A ring file with this head and these rows.
fn ring_file(head: &str, rows: &[u8]) -> Vec<u8> {
    let length = (head.len() as u32).to_be_bytes();
    gzip(&[b"R1NG\x00\x01".as_slice(), &length, head.as_bytes(), rows].concat())
}

fn head(part_shift: u32, replica_count: u64) -> String {
    let dev = r#"{"id":0,"zone":1,"ip":"10.0.0.1","port":6200,"device":"sda","weight":1}"#;
    format!(r#"{{"devs":[{dev},null],"part_shift":{part_shift},"replica_count":{replica_count}}}"#)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn builders_and_rings_survive_a_round_trip(cluster in clusters::any(), leaving in 0_u16..5) {
        let mut builder = cluster.builder();
        prop_assert_eq!(&Builder::read(&builder_bytes(&builder)[..]).expect("just written"), &builder);
        rebalance(&mut builder, 1);
        builder.remove(DeviceId(leaving)).expect("there are five");
        prop_assert_eq!(&Builder::read(&builder_bytes(&builder)[..]).expect("just written"), &builder);
        let ring = builder.ring().expect("it was rebalanced");
        let read = Ring::read(&ring_bytes(&ring)[..]).expect("just written");
        prop_assert_eq!(read.version(), ring.version());
        prop_assert!(read.devices().eq(ring.devices()));
        prop_assert!(ring.partitions().all(|partition| ring.primaries(partition) == read.primaries(partition)));
        prop_assert_eq!(ring_bytes(&read), ring_bytes(&ring));
    }

    #[test]
    fn any_flipped_bit_of_a_builder_file_is_noticed(at: prop::sample::Index, bit in 0..8) {
        let mut bytes = builder_bytes(&Cluster { power: 4, ..Cluster::even(1, 2, 2, 2, 2.0) }.balanced());
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(Builder::read(&bytes[..]).is_err(), "bit {bit} of byte {at}");
    }

    #[test]
    fn damaged_ring_files_never_panic(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let ring = Cluster { power: 4, ..Cluster::even(1, 2, 2, 2, 2.0) }.balanced().ring().expect("rebalanced");
        let mut plain = gunzip(&ring_bytes(&ring));
        let at = at.index(plain.len());
        plain[at] = byte;
        let _ = Ring::read(&gzip(&plain)[..]);
        plain.truncate(cut.index(plain.len()));
        let _ = Ring::read(&gzip(&plain)[..]);
    }
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let builder = Cluster { power: 3, ..Cluster::even(1, 2, 1, 2, 2.0) }.balanced();
    let bytes = builder_bytes(&builder);
    for length in 0..bytes.len() {
        assert!(Builder::read(&bytes[..length]).is_err(), "{length} bytes of the builder");
    }
    let bytes = ring_bytes(&builder.ring().expect("rebalanced"));
    for length in 0..bytes.len() {
        assert!(Ring::read(&bytes[..length]).is_err(), "{length} bytes of the ring");
    }
}

#[test]
fn hostile_ring_files_are_refused_with_the_reason() {
    let refused = |bytes: &[u8], class: Class, piece: &str| {
        let error = Ring::read(bytes).expect_err(piece);
        assert!(
            error.class() == class && error.to_string().contains(piece),
            "{piece:?}: {error} ({:?})",
            error.class()
        );
    };
    let plain = |bytes: &[u8]| gzip(bytes);
    refused(b"no gzip at all", Class::Corrupt, "not a ring file");
    refused(&plain(b"\x80\x02}q\x00(U\x04devs"), Class::Unsupported, "version 0");
    refused(&plain(b"R1NG\x00\x02rest"), Class::Unsupported, "version 2");
    refused(&plain(b"R1NG\x00\x09rest"), Class::Corrupt, "version 9");
    refused(&plain(b"RING\x00\x01rest"), Class::Corrupt, "magic");
    refused(&plain(b"R1NG\x00\x01\xff\xff\xff\xff{}"), Class::Corrupt, "4294967295 bytes");
    refused(&plain(b"R1NG\x00\x01\x00\x00\x00\xff{}"), Class::Corrupt, "within its head");
    refused(&ring_file("[]", b""), Class::Corrupt, "head");
    refused(&ring_file(&head(33, 1), b""), Class::Corrupt, "part_shift");
    refused(&ring_file(&head(0, 1), b""), Class::Invalid, "part power 32");
    refused(&ring_file(&head(8, 64), b""), Class::TooLarge, "assignments");
    refused(&ring_file(&head(30, u64::MAX / 2), b""), Class::Invalid, "replica count");
    refused(&ring_file(&head(30, 0), b""), Class::Invalid, "replica count");
    refused(&ring_file(&head(31, 1), b"\x00\x00\x00"), Class::Corrupt, "too short");
    refused(&ring_file(&head(31, 2), b"\x00\x00"), Class::Corrupt, "too short");
    refused(&ring_file(&head(31, 1), b"\x00\x00\x00\x00\x00"), Class::Corrupt, "bytes follow");
    refused(&ring_file(&head(31, 1), b"\x00\x00\x01\x00"), Class::Corrupt, "not listed");
    refused(&ring_file(&head(31, 1), b"\x00\x00\xff\xff"), Class::Corrupt, "no device");
    refused(&ring_file(&head(31, 1).replace("sda", "../etc"), b"\x00\x00\x00\x00"), Class::Invalid, "device");
    refused(&ring_file(&head(31, 1).replace("\"id\":0", "\"id\":7"), b"\x00\x00\x00\x00"), Class::Corrupt, "has id 7");
    refused(
        &ring_file(&head(31, 1).replace("\"weight\":1", "\"weight\":-1"), b"\x00\x00\x00\x00"),
        Class::Invalid,
        "weight",
    );
    Ring::read(&ring_file(&head(31, 1), b"\x00\x00\x00\x00")[..]).expect("the smallest whole file");
}

#[test]
fn a_files_byte_order_is_followed() {
    let little = head(31, 1).replacen("null", &device_json(1), 1);
    let big = little.replacen('{', r#"{"byteorder":"big","#, 1);
    let ring = Ring::read(&ring_file(&big, b"\x00\x01\x00\x00")[..]).expect("a whole file");
    assert_eq!(ring.partitions().map(|partition| ring.primaries(partition)[0].0).collect::<Vec<_>>(), [1, 0]);
    let ring = Ring::read(&ring_file(&little, b"\x01\x00\x00\x00")[..]).expect("a whole file");
    assert_eq!(ring.partitions().map(|partition| ring.primaries(partition)[0].0).collect::<Vec<_>>(), [1, 0]);
}

fn device_json(id: u16) -> String {
    let device = Device { id: DeviceId(id), ..device(1, 1, 1, u32::from(id), 1.0) };
    serde_json::to_string(&device).expect("plain data")
}

#[test]
fn a_device_named_twice_for_a_partition_counts_once() {
    let head = head(31, 2).replacen("null", &device_json(1), 1);
    let ring = Ring::read(&ring_file(&head, b"\x00\x00\x01\x00\x00\x00\x00\x00")[..]).expect("a whole file");
    let rows: Vec<_> = ring.partitions().map(|partition| ring.primaries(partition).to_vec()).collect();
    assert_eq!(rows, [vec![DeviceId(0)], vec![DeviceId(1), DeviceId(0)]]);
    assert!(matches!(ring.validate(), Err(Error::Invalid { .. })));
    let again = Ring::read(&ring_bytes(&ring)[..]).expect("just written");
    assert!(ring.partitions().all(|partition| ring.primaries(partition) == again.primaries(partition)));
    let mut builder = Builder::from_ring(&ring, 1).expect("valid");
    rebalance(&mut builder, 1);
    builder.validate().expect("the missing replica was placed");
}

#[test]
fn a_builder_made_from_a_ring_gives_the_same_ring() {
    let builder = Cluster::even(1, 3, 2, 2, 2.5).balanced();
    let ring = builder.ring().expect("rebalanced");
    let mut again = Builder::from_ring(&ring, 24).expect("valid");
    assert_eq!(ring_bytes(&again.ring().expect("it has assignments")), ring_bytes(&ring));
    assert_eq!(rebalance(&mut again, 3).moved, 0);
}

#[test]
fn builder_files_of_others_and_of_later_versions_are_refused_by_name() {
    let bytes = builder_bytes(&Cluster::even(1, 2, 1, 2, 2.0).builder());
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, class, piece) in [
        (b"\x80\x02}q\x00(X".to_vec(), Class::Unsupported, "write-builder"),
        (b"something else".to_vec(), Class::Corrupt, "magic"),
        (changed(8, 2), Class::Unsupported, "later version"),
        (changed(37, 1), Class::Corrupt, "reserved"),
        (changed(15, 0xff), Class::Corrupt, "absurd"),
        (changed(22, 0x7f), Class::Corrupt, "too early"),
        ([bytes.clone(), vec![0]].concat(), Class::Corrupt, "follow"),
    ] {
        let error = Builder::read(&bytes[..]).expect_err(piece);
        assert!(error.class() == class && error.to_string().contains(piece), "{piece:?}: {error}");
    }
}

#[test]
fn builder_files_of_version_one_stay_readable() {
    // Golden bytes: one device, two partitions, one replica.
    let builder = Builder::read(&include_bytes!("golden/builder-v1")[..]).expect("a file of version 1");
    assert_eq!((builder.part_power().get(), builder.replicas(), builder.min_part_hours()), (1, 1.0, 24));
    assert_eq!((builder.overload(), builder.version()), (0.1, 3));
    let device = builder.devices().next().expect("one device");
    assert_eq!(device.to_string(), "d0r1z2-10.0.0.1:6200R10.1.0.1:6300/sdb1_hot");
    let ring = builder.ring().expect("it has assignments");
    assert!(ring.partitions().all(|partition| ring.primaries(partition) == [DeviceId(0)]));
    assert_eq!(builder_bytes(&builder), include_bytes!("golden/builder-v1"));
}
