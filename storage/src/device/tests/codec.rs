//! The codec: every mutation comes back as it was, hostile bytes are refused without a panic, and the
//! golden files of every version stay readable.
//!
//! `ANELLO_GOLDEN=write cargo nextest run -p anello-storage golden` writes the golden files anew; a
//! change of one is a change of the format.

use std::path::PathBuf;

use anello_base::Timestamp;
use bytes::Bytes;
use proptest::prelude::*;

use super::sample;
use crate::device::codec::batch::{self, Plan};
use crate::device::codec::record::{self, Encoded};
use crate::device::disk::Disk;
use crate::device::disk::simulated::SimulatedDisk;
use crate::device::superblock::{self, Superblock};
use crate::error::Error;
use crate::key::{KeyHash, ObjectPath};
use crate::limits::{BLOCK_BYTES, INLINE_BYTES_MAX};
use crate::model::{Content, Metadata};
use crate::mutation::{Applies, Body, ContainerPut, Extent, Extents, Mutation, ObjectPost, ObjectPut, PathHashes};

fn whole(encoded: &Encoded) -> Bytes {
    [&encoded.head[..], &encoded.data[..]].concat().into()
}

fn times() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.order()).prop_map(Timestamp::from_order)
}

fn hashes() -> impl Strategy<Value = KeyHash> {
    any::<[u8; 16]>().prop_map(KeyHash)
}

fn metadata() -> impl Strategy<Value = Metadata> {
    prop::collection::vec((".{0,20}", ".{0,40}"), 0..4)
}

fn paths() -> impl Strategy<Value = (ObjectPath, PathHashes)> {
    (".{0,40}", ".{0,40}", ".{0,80}", hashes(), hashes(), hashes()).prop_map(|(a, c, o, account, container, object)| {
        (ObjectPath::new(a, c, o), PathHashes { account, container, object })
    })
}

fn extents() -> impl Strategy<Value = Extents> {
    let piece = (any::<u32>(), 0..1u64 << 40, 1..40u64);
    (prop::collection::vec(piece, 0..4), 0..BLOCK_BYTES, any::<[u8; 32]>()).prop_map(|(pieces, less, blake3)| {
        let mut extents = Extents { blake3, ..Extents::default() };
        let count = pieces.len();
        for (index, (volume, block, blocks)) in pieces.into_iter().enumerate() {
            let length = blocks * BLOCK_BYTES - if index + 1 == count { less } else { 0 };
            extents.length += length;
            extents.pieces.push(Extent { volume, offset: block * 4096, length });
        }
        extents.block_crcs = (0..extents.length.div_ceil(BLOCK_BYTES)).map(|n| n as u32 ^ 0xdead).collect();
        extents
    })
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![
        (0..200_000usize, any::<u64>()).prop_map(|(length, seed)| Body::Inline(sample::bytes(seed, length))),
        extents().prop_map(Body::Extents),
        any::<u64>().prop_map(Body::Absent),
    ]
}

fn contents() -> impl Strategy<Value = Content> {
    prop_oneof![Just(Content::Plain), Just(Content::Multipart), Just(Content::Segments), Just(Content::Fragments)]
}

fn puts() -> impl Strategy<Value = Mutation> {
    let etag = prop_oneof!["[0-9a-f]{32}", "[0-9A-Fa-f]{32}", "[0-9a-f]{32}-[0-9]{1,5}", ".{0,40}"];
    let content_type = prop_oneof![".{0,30}", Just("binary/octet-stream".to_owned())];
    let rest = (times(), any::<u64>(), etag, content_type, contents(), any::<Option<u64>>(), metadata(), bodies());
    (paths(), rest, policies()).prop_map(|((path, hashes), rest, policy)| {
        let (timestamp, size, etag, content_type, content, delete_at, metadata, body) = rest;
        Mutation::ObjectPut(ObjectPut {
            path,
            hashes,
            timestamp,
            policy,
            size,
            etag,
            content_type,
            content,
            delete_at,
            metadata,
            body,
        })
    })
}

fn policies() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), any::<u32>()]
}

fn registry() -> impl Strategy<Value = Mutation> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>());
    let common = (".{0,40}", ".{0,40}", hashes(), hashes(), times(), times(), times(), metadata(), numbers);
    (common, 0..5).prop_map(|(common, kind)| {
        let (account, container, account_hash, container_hash, timestamp, created, deleted, changes, numbers) = common;
        let (version, object_count, bytes_used, policy) = numbers;
        match kind {
            0 => Mutation::ContainerPut(ContainerPut {
                account,
                container,
                account_hash,
                container_hash,
                timestamp,
                policy,
                changes,
            }),
            1 => Mutation::ContainerDelete { account, container, account_hash, container_hash, timestamp },
            2 => Mutation::AccountPut { account, account_hash, timestamp, changes },
            3 => Mutation::AccountDelete { account, account_hash, timestamp },
            _ => Mutation::ContainerStats {
                account,
                container,
                account_hash,
                created,
                modified: timestamp,
                deleted,
                version,
                object_count,
                bytes_used,
            },
        }
    })
}

fn mutations() -> impl Strategy<Value = Mutation> {
    let post = (paths(), times(), policies(), any::<Option<u64>>(), prop::option::of(".{0,30}"), metadata());
    let post = post.prop_map(|((path, hashes), timestamp, policy, delete_at, content_type, metadata)| {
        Mutation::ObjectPost(ObjectPost { path, hashes, timestamp, policy, content_type, delete_at, metadata })
    });
    let delete = (paths(), times(), policies())
        .prop_map(|((path, hashes), timestamp, policy)| Mutation::ObjectDelete { path, hashes, timestamp, policy });
    prop_oneof![3 => puts(), 1 => post, 1 => delete, 2 => registry()]
}

fn applies() -> impl Strategy<Value = Applies> {
    any::<(bool, bool, bool)>().prop_map(|(object, container, account)| Applies { object, container, account })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_mutation_comes_back_as_it_was(mutation in mutations(), applies in applies()) {
        let encoded = record::encode(&mutation, applies).expect("encode");
        let bytes = whole(&encoded);
        let decoded = record::decode_whole(&bytes).expect("decode");
        prop_assert_eq!(&decoded.mutation, &mutation);
        prop_assert_eq!(decoded.header.applies, applies);
        let without = record::decode(&encoded.head).expect("decode the head");
        match (&mutation, &without.mutation) {
            (Mutation::ObjectPut(put), Mutation::ObjectPut(got)) if matches!(put.body, Body::Inline(_)) => {
                prop_assert_eq!(&got.body, &Body::Absent(put.body.len()));
            }
            (want, got) => prop_assert_eq!(got, want),
        }
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic(
        mutation in mutations(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        // With a right checksum, so that the fields behind it are reached.
        let mut head = record::encode(&mutation, Applies::ALL).expect("encode").head;
        for (place, value) in changes {
            let place = place.index(head.len());
            head[place] = value;
        }
        head.truncate(cut.index(head.len()) + 1);
        if head.len() >= record::HEADER_BYTES {
            let length = (head.len() as u32).to_le_bytes();
            head[8..12].copy_from_slice(&length);
            head[12..16].copy_from_slice(&length);
            let mut crc = crc32fast::Hasher::new();
            crc.update(&head[..40]);
            crc.update(&head[44..]);
            head[40..44].copy_from_slice(&crc.finalize().to_le_bytes());
        }
        let _ = record::decode(&head);
        let _ = record::decode_whole(&head.into());
    }

    #[test]
    fn random_bytes_are_no_batch(mut block in prop::collection::vec(any::<u8>(), 4096), magic in any::<bool>()) {
        if magic {
            block[..4].copy_from_slice(b"ANBT");
        }
        prop_assert!(batch::decode(&block, [0; 8], 1, 0).is_err());
    }
}

#[test]
fn what_is_too_large_for_a_record_is_refused() {
    let data = Bytes::from(vec![0; INLINE_BYTES_MAX as usize + 1]);
    let found = record::encode(&sample::put_inline("a", 1, data), Applies::ALL);
    assert!(matches!(found, Err(Error::TooLarge { .. })), "{found:?}");
    let mut mutation = sample::container(1);
    if let Mutation::ContainerPut(put) = &mut mutation {
        put.changes.push(("a".repeat(3 << 20), String::new()));
    }
    assert!(matches!(record::encode(&mutation, Applies::ALL), Err(Error::TooLarge { .. })));
}

/// Without this one mutation has two spellings, and records of before there were policies change.
#[test]
fn the_default_policy_is_left_out_and_refused_where_it_is_spelled() {
    let with_policy = |policy| {
        let Mutation::ObjectDelete { path, hashes, timestamp, .. } = sample::delete("a", 1) else { unreachable!() };
        let delete = Mutation::ObjectDelete { path, hashes, timestamp, policy };
        record::encode(&delete, Applies::ALL).expect("encode").head
    };
    assert_eq!(with_policy(0).len() + 1, with_policy(7).len());
    let mut head = with_policy(7);
    let last = head.len() - 1;
    head[last] = 0;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..40]);
    crc.update(&head[44..]);
    head[40..44].copy_from_slice(&crc.finalize().to_le_bytes());
    assert!(record::decode(&head).is_err());
}

#[test]
fn a_small_object_costs_little_beyond_its_names() {
    let data = sample::bytes(1, 4096);
    let encoded = record::encode(&sample::put_inline("a", 1, data), Applies::ALL).expect("encode");
    let names = "AUTH_test".len() + "box".len() + "a".len() + 1 + 16;
    let metadata = "x-object-meta-color".len() + "blue 1".len();
    let overhead = encoded.length() - 4096 - names - metadata;
    assert!(overhead <= 112, "{overhead}");
}

/// One mutation of each kind, with everything that a field may hold.
fn golden_mutations() -> Vec<(Mutation, Applies)> {
    let hash = |byte: u8| KeyHash([byte; 16]);
    let hashes = PathHashes { account: hash(1), container: hash(2), object: hash(3) };
    let at = |seconds: u64| Timestamp::from_seconds(1_700_000_000 + seconds);
    let path = || ObjectPath::new("AUTH_ö", "box", "dir/name");
    let put = |body, etag: &str, content, delete_at| {
        Mutation::ObjectPut(ObjectPut {
            path: path(),
            hashes,
            timestamp: at(1),
            policy: 0,
            size: 100_000,
            etag: etag.to_owned(),
            content_type: "text/plain".to_owned(),
            content,
            delete_at,
            metadata: vec![("x-object-meta-a".to_owned(), "1".to_owned())],
            body,
        })
    };
    let extents = Extents {
        length: 65_536 + 10,
        pieces: vec![
            Extent { volume: 1, offset: 4096, length: 65_536 },
            Extent { volume: 2, offset: 8192, length: 10 },
        ],
        block_crcs: vec![0x1122_3344, 0x5566_7788],
        blake3: [9; 32],
    };
    let md5 = "900150983cd24fb0d6963f7d28e17f72";
    let (account, container) = ("AUTH_ö".to_owned(), "box".to_owned());
    let (account_hash, container_hash) = (hashes.account, hashes.container);
    let changes = vec![("x-container-read".to_owned(), ".r:*".to_owned())];
    let post = ObjectPost {
        path: path(),
        hashes,
        timestamp: at(2),
        policy: 0,
        content_type: Some("image/png".to_owned()),
        delete_at: Some(1_800_000_000),
        metadata: vec![],
    };
    let container_put = ContainerPut {
        account: account.clone(),
        container: container.clone(),
        account_hash,
        container_hash,
        timestamp: at(4),
        policy: 3,
        changes: changes.clone(),
    };
    let one = Applies { object: true, container: false, account: false };
    vec![
        (put(Body::Inline(Bytes::from_static(b"abc")), md5, Content::Plain, None), Applies::ALL),
        (put(Body::Extents(extents), &format!("{md5}-2"), Content::Multipart, Some(1_900_000_000)), one),
        (put(Body::Absent(77), md5, Content::Plain, None), Applies { object: false, ..Applies::ALL }),
        (Mutation::ObjectPost(post), Applies::ALL),
        (Mutation::ObjectDelete { path: path(), hashes, timestamp: at(3), policy: 0 }, Applies::ALL),
        (Mutation::ContainerPut(container_put), Applies::ALL),
        (
            Mutation::ContainerDelete {
                account: account.clone(),
                container: container.clone(),
                account_hash,
                container_hash,
                timestamp: at(5),
            },
            Applies::ALL,
        ),
        (Mutation::AccountPut { account: account.clone(), account_hash, timestamp: at(6), changes }, Applies::ALL),
        (Mutation::AccountDelete { account: account.clone(), account_hash, timestamp: at(7) }, Applies::ALL),
        (
            Mutation::ContainerStats {
                account,
                container,
                account_hash,
                created: at(4),
                modified: at(8),
                deleted: Timestamp::ZERO,
                version: 5,
                object_count: 1_000_000,
                bytes_used: 4_096_000_000,
            },
            Applies::ALL,
        ),
    ]
}

const GOLDEN_TAG: [u8; 8] = *b"golden!!";

/// A batch of these mutations, as it stands at 8192 of volume 3.
fn golden_batch() -> Vec<u8> {
    let mut plan = Plan::default();
    let records: Vec<_> = golden_mutations()
        .iter()
        .map(|(mutation, applies)| whole(&record::encode(mutation, *applies).expect("encode")))
        .collect();
    assert!(records.iter().all(|record| plan.add(record.len())));
    let mut batch = vec![0; plan.length()];
    for (record, offset) in records.iter().zip(plan.offsets()) {
        batch[offset..offset + record.len()].copy_from_slice(record);
    }
    plan.seal(&mut batch, 7, GOLDEN_TAG, 3, 8192);
    batch
}

fn golden_superblock() -> Superblock {
    Superblock {
        cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
        device_id: *b"golden!!device-1",
        created: Timestamp::from_seconds(1_700_000_000),
    }
}

fn check_golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("ANELLO_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        std::fs::write(&path, bytes).expect("write");
    }
    let stored = std::fs::read(&path).expect("golden file");
    assert!(stored == bytes, "{name}: what is written now differs from the golden file");
    stored
}

#[test]
fn golden_batch_of_version_1_is_written_and_read_as_ever() {
    let stored = Bytes::from(check_golden("batch-v1.bin", &golden_batch()));
    let (header, lengths) = batch::decode(&stored[..4096], GOLDEN_TAG, 3, 8192).expect("batch");
    assert_eq!((header.sequence, header.length as usize, lengths.len()), (7, stored.len(), 10));
    for ((want, applies), (start, length)) in golden_mutations().into_iter().zip(batch::offsets(&lengths).zip(&lengths))
    {
        let decoded = record::decode_whole(&stored.slice(start..start + *length as usize)).expect("record");
        assert_eq!((decoded.mutation, decoded.header.applies), (want, applies));
    }
}

#[test]
fn golden_superblock_of_version_1_is_written_and_read_as_ever() {
    let disk = SimulatedDisk::default();
    superblock::create(&disk, &golden_superblock()).expect("create");
    let stored = check_golden("superblock-v1.bin", &disk.contents(superblock::FILE));
    let again = SimulatedDisk::default();
    again.replace_file(superblock::FILE, &stored).expect("write");
    assert_eq!(superblock::read(&again).expect("read"), Some(golden_superblock()));
}

#[test]
fn a_batch_in_another_place_is_none() {
    let batch = golden_batch();
    for (tag, volume, offset) in [([0; 8], 3, 8192), (GOLDEN_TAG, 2, 8192), (GOLDEN_TAG, 3, 4096)] {
        assert!(batch::decode(&batch, tag, volume, offset).is_err());
    }
    for place in 0..64 + 4 * golden_mutations().len() {
        let mut changed = batch.clone();
        changed[place] ^= 1;
        assert!(batch::decode(&changed, GOLDEN_TAG, 3, 8192).is_err(), "byte {place}");
    }
}
