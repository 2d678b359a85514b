//! Two devices that exchange what the other lacks, guided by digests alone, come to say the same; and what
//! was changed on its way leaves nothing.

#[path = "index/workload.rs"]
#[expect(dead_code, reason = "the index's own tests use all of it")]
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use anello_storage::device::exchange::{ExportedRecord, ReceivedRecord};
use anello_storage::device::{Device, DeviceOptions};
use anello_storage::index::{DIGEST_LEAVES, DigestEntry, EntryKey, EntryVersion, Placed, Tree};
use anello_storage::mutation::{Applies, Body, Mutation, ObjectPut};
use anello_storage::{Content, Error, ObjectPath, Result};
use bytes::Bytes;
use futures::StreamExt as _;
use proptest::prelude::*;
use proptest::test_runner::Config;
use tempfile::TempDir;
use workload::{ACCOUNTS, TREES, hasher, hashes, paths, records, seeds, state};

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

/// Rounds after which two devices must agree: what one round brings may show what the next one needs, as a
/// container's deletion shows which of its changes came first behind it.
const ROUNDS_MAX: usize = 4;

struct Peer {
    device: Device,
    _dir: TempDir,
}

impl Peer {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let device = Device::open(dir.path(), CLUSTER, DeviceOptions::default()).expect("opens");
        Self { device, _dir: dir }
    }

    async fn large(&self, data: Bytes) -> Body {
        let mut writer = self.device.write_extents(Some(data.len() as u64));
        writer.write(data).await.expect("writes");
        Body::Extents(writer.finish().await.expect("finishes"))
    }

    /// Commits a record of the workload with real data, which its timestamp decides.
    async fn commit(&self, placed: &Placed) {
        let mut mutation = placed.mutation.clone();
        if let Mutation::ObjectPut(put) = &mut mutation {
            let data = data_of(put);
            put.body = match put.body {
                _ if !placed.applies.object => Body::Absent(data.len() as u64),
                Body::Extents(_) => self.large(data).await,
                _ => Body::Inline(data),
            };
        }
        self.device.commit(mutation, placed.applies).await.expect("commits");
    }

    fn entries(&self, tree: Tree, leaf: u32) -> BTreeMap<EntryKey, EntryVersion> {
        let (mut all, mut after) = (BTreeMap::new(), None);
        loop {
            // In pages of one, so that every key is a beginning once.
            let page = self.device.index().digest_entries(tree, leaf..leaf + 1, after.as_ref(), 1).expect("reads");
            let Some(DigestEntry { key, version }) = page.into_iter().next() else { return all };
            after = Some(key.clone());
            assert_eq!(self.device.index().entry_version(tree, &key).expect("reads"), Some(version.clone()));
            all.insert(key, version);
        }
    }

    async fn read(&self, path: &ObjectPath) -> Option<Bytes> {
        let hash = hasher().object(path);
        let row = self.device.index().object(hash).expect("reads")?;
        let mut reader = self.device.read(Some(hash), &row, 0..u64::MAX).await.expect("opens");
        let mut data = Vec::new();
        while let Some(bytes) = reader.next().await.expect("reads") {
            data.extend_from_slice(&bytes);
        }
        Some(data.into())
    }
}

fn bytes(seed: u64, length: usize) -> Bytes {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out.into()
}

fn data_of(put: &ObjectPut) -> Bytes {
    bytes(put.timestamp.ticks(), if matches!(put.body, Body::Extents(_)) { 150_000 } else { 700 })
}

/// The parts of a record that concern a device which keeps all there is, but no account of `far`.
fn applies(tree: Tree, key: &EntryKey) -> Applies {
    let is_far = ACCOUNTS.iter().any(|account| hasher().container(account, "far") == key.hash);
    match tree {
        Tree::Objects { .. } => Applies { object: true, container: false, account: false },
        Tree::Containers => Applies { object: false, container: true, account: !is_far },
        Tree::Accounts => Applies { object: false, container: false, account: true },
    }
}

/// Sends a record through its form for transports.
async fn deliver(mut exported: ExportedRecord, to: &Peer, applies: Applies) -> Result<()> {
    let head = exported.head();
    assert_eq!(ReceivedRecord::head_length(&head[..24]).expect("a header"), Some(head.len()));
    let received = ReceivedRecord::decode(&head).expect("decodes");
    assert_eq!(received.data_length, exported.data_length);
    let data = exported.data.as_mut().map(|reader| {
        futures::stream::unfold(reader, |reader| async move { Some((reader.next().await.transpose()?, reader)) })
            .boxed()
    });
    to.device.import(&received.record, applies, data).await.map(drop)
}

/// Gives `to` what it lacks of what `from` has; returns how many records that were.
async fn send(from: &Peer, to: &Peer) -> usize {
    let mut sent = 0;
    for tree in TREES {
        let leaves = |peer: &Peer| peer.device.index().digests(tree, 0..DIGEST_LEAVES).expect("reads");
        let theirs: BTreeMap<_, _> = leaves(to).into_iter().collect();
        for (leaf, digest) in leaves(from) {
            if theirs.get(&leaf) == Some(&digest) {
                continue;
            }
            for (key, version) in from.entries(tree, leaf) {
                let have = to.device.index().entry_version(tree, &key).expect("reads");
                if have.as_ref() == Some(&version) {
                    continue;
                }
                let exported = from.device.export(&hasher(), tree, &key, have.as_ref()).await.expect("exports");
                for record in exported {
                    deliver(record, to, applies(tree, &key)).await.expect("imports");
                    sent += 1;
                }
            }
        }
    }
    sent
}

fn digests(peer: &Peer) -> Vec<(Tree, Vec<(u32, anello_storage::index::Digest)>)> {
    state(peer.device.index()).digests
}

/// Everything that clients see is the same on both.
async fn check_agree(a: &Peer, b: &Peer, records: &[Placed]) -> Result<(), TestCaseError> {
    let (one, other) = (state(a.device.index()), state(b.device.index()));
    prop_assert_eq!(&one.digests, &other.digests);
    prop_assert_eq!(&one.objects, &other.objects);
    prop_assert_eq!(&one.rows, &other.rows);
    prop_assert_eq!(&one.containers, &other.containers);
    prop_assert_eq!(&one.accounts, &other.accounts);
    prop_assert_eq!(&one.account_rows, &other.account_rows);
    prop_assert_eq!(&one.expired, &other.expired);
    for path in paths() {
        let (data, same) = (a.read(&path).await, b.read(&path).await);
        let timestamp =
            one.objects.iter().find(|(other, _)| *other == path).and_then(|(_, info)| Some(info.as_ref()?.timestamp));
        let put = records.iter().find_map(|placed| match &placed.mutation {
            Mutation::ObjectPut(put) if Some(put.timestamp) == timestamp => Some(data_of(put)),
            _ => None,
        });
        prop_assert!(data == put && same == put, "{}", path);
    }
    Ok(())
}

fn run(future: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("runtime")
        .block_on(future)
}

proptest! {
    #![proptest_config(Config { cases: 16, failure_persistence: None, max_shrink_iters: 40, ..Config::default() })]

    /// Without this replicas that missed writes stay different, or serve something that neither was given.
    #[test]
    fn devices_with_any_histories_converge(seeds in seeds(50), whose in prop::collection::vec(1..4_u8, 50)) {
        let records = records(&seeds);
        run(async {
            let (a, b) = (Peer::new(), Peer::new());
            for (placed, whose) in records.iter().zip(&whose) {
                for (peer, bit) in [(&a, 1), (&b, 2)] {
                    if whose & bit != 0 {
                        peer.commit(placed).await;
                    }
                }
            }
            // One way only: then whatever differs still is something that `a` has to learn.
            let mut rounds = 0;
            while send(&a, &b).await > 0 && rounds < ROUNDS_MAX {
                rounds += 1;
            }
            for tree in TREES {
                for (leaf, _) in a.device.index().digests(tree, 0..DIGEST_LEAVES).expect("reads") {
                    for key in a.entries(tree, leaf).into_keys() {
                        let have = b.device.index().entry_version(tree, &key).expect("reads");
                        let lacking = a.device.index().lacking(&hasher(), tree, &key, have.as_ref()).expect("reads");
                        let is_row = tree == Tree::Accounts && key.name.is_some();
                        prop_assert!(is_row || lacking.records.is_empty(), "{:?} {:?}", key, lacking);
                    }
                }
            }
            rounds = 0;
            while digests(&a) != digests(&b) && rounds < ROUNDS_MAX {
                send(&b, &a).await;
                send(&a, &b).await;
                rounds += 1;
            }
            check_agree(&a, &b, &records).await?;
            prop_assert_eq!(send(&a, &b).await + send(&b, &a).await, 0);
            Ok(())
        })?;
    }
}

fn put(name: &str, at: u64, body: Body) -> Mutation {
    let path = ObjectPath::new("AUTH_a", "one", name);
    Mutation::ObjectPut(ObjectPut {
        hashes: hashes(&path),
        path,
        timestamp: anello_base::Timestamp::from_ticks(at),
        policy: 0,
        size: body.len(),
        etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        content_type: "text/plain".to_owned(),
        content: Content::Plain,
        delete_at: None,
        metadata: vec![],
        body,
    })
}

/// Without this comparing replicas costs their size and not their differences.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_records_are_exchanged_as_differ() {
    let (a, b) = (Peer::new(), Peer::new());
    for peer in [&a, &b] {
        let puts = (0..200).map(|at| put(&format!("o{at}"), 1 + at, Body::Inline(bytes(at, 100))));
        futures::future::join_all(puts.map(|put| peer.device.commit(put, Applies::ALL))).await;
    }
    assert_eq!(send(&a, &b).await, 0);
    a.device.commit(put("o7", 1000, Body::Inline(bytes(1000, 50))), Applies::ALL).await.expect("commits");
    let path = ObjectPath::new("AUTH_a", "one", "o8");
    let timestamp = anello_base::Timestamp::from_ticks(1001);
    let delete = Mutation::ObjectDelete { hashes: hashes(&path), path, timestamp, policy: 0 };
    b.device.commit(delete, Applies::ALL).await.expect("commits");
    // Each for the object and for its row.
    assert_eq!((send(&a, &b).await, send(&b, &a).await), (2, 2));
    assert_eq!(digests(&a), digests(&b));
    assert_eq!((send(&a, &b).await, send(&b, &a).await), (0, 0));
}

async fn exported(peer: &Peer, name: &str) -> ExportedRecord {
    let hash = hasher().object(&ObjectPath::new("AUTH_a", "one", name));
    let key = EntryKey { hash, name: None };
    let tree = Tree::Objects { policy: 0 };
    peer.device.export(&hasher(), tree, &key, None).await.expect("exports").remove(0)
}

const OBJECT: Applies = Applies { object: true, container: false, account: false };

/// Without this a faulty network or a faulty peer puts something into the store that nobody wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_flipped_or_cut_is_refused() {
    let a = Peer::new();
    a.device.commit(put("small", 1, Body::Inline(bytes(1, 300))), Applies::ALL).await.expect("commits");
    let large = a.large(bytes(2, 300_000)).await;
    a.device.commit(put("large", 2, large), Applies::ALL).await.expect("commits");
    for name in ["small", "large"] {
        let head = exported(&a, name).await.head();
        for place in 0..head.len() {
            for bit in 0..8 {
                let mut changed = head.to_vec();
                changed[place] ^= 1 << bit;
                let found = ReceivedRecord::decode(&changed.into());
                assert!(matches!(found, Err(Error::Corrupt { .. })), "{name}, byte {place}, bit {bit}: {found:?}");
            }
            assert!(ReceivedRecord::decode(&head.slice(..place)).is_err(), "{name} cut at {place}");
            let _ = ReceivedRecord::head_length(&head[..place]);
        }
        let longer = [&head[..], &[0]].concat();
        assert!(ReceivedRecord::decode(&longer.into()).is_err());
    }
}

/// Without this an object is served whose data are not those that it was written with, or space is lost.
#[tokio::test(flavor = "multi_thread")]
async fn data_that_were_changed_or_cut_leave_nothing() {
    let (a, b) = (Peer::new(), Peer::new());
    let data = bytes(2, 300_000);
    let large = a.large(data.clone()).await;
    a.device.commit(put("large", 2, large), Applies::ALL).await.expect("commits");
    let record = exported(&a, "large").await.record;
    let mut flipped = data.to_vec();
    flipped[123_456] ^= 1;
    let longer = [&data[..], &[0]].concat();
    let failing = Err(Error::Stopped);
    for chunks in [
        vec![],
        vec![Ok(Bytes::from(flipped))],
        vec![Ok(data.slice(..299_999))],
        vec![Ok(data.slice(1..))],
        vec![Ok(longer.into())],
        vec![Ok(data.slice(..70_000)), failing],
    ] {
        let stream = futures::stream::iter(chunks).boxed();
        let found = b.device.import(&record, OBJECT, Some(stream)).await;
        assert!(matches!(found, Err(Error::Corrupt { .. } | Error::Stopped)), "{found:?}");
    }
    assert!(b.device.import(&record, OBJECT, None).await.is_err());
    let path = ObjectPath::new("AUTH_a", "one", "large");
    assert_eq!((b.read(&path).await, b.device.status().records), (None, 0));
    for _ in 0..2 {
        let stream =
            futures::stream::iter(data.chunks(50_000).map(|chunk| Ok(data.slice_ref(chunk))).collect::<Vec<_>>());
        b.device.import(&record, OBJECT, Some(stream.boxed())).await.expect("imports");
    }
    assert_eq!((b.read(&path).await, b.device.status().records), (Some(data), 1));
    let live: BTreeSet<_> = b.device.index().live_extents(1).expect("reads").iter().map(|e| e.length).collect();
    assert_eq!(live, [300_000].into());
}

/// All entries of a tree.
fn all_entries(peer: &Peer, tree: Tree) -> Vec<DigestEntry> {
    let leaves = peer.device.index().digests(tree, 0..DIGEST_LEAVES).expect("reads");
    let entries = leaves.into_iter().flat_map(|(leaf, _)| peer.entries(tree, leaf));
    entries.map(|(key, version)| DigestEntry { key, version }).collect()
}

fn digests_hold(peer: &Peer) -> Result<(), TestCaseError> {
    for tree in TREES {
        let kept = peer.device.index().digests(tree, 0..DIGEST_LEAVES).expect("reads");
        prop_assert_eq!(kept, peer.device.index().recomputed_digests(tree).expect("computes"));
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 16, failure_persistence: None, max_shrink_iters: 40, ..Config::default() })]

    /// Without this a device that gives up what is not its own takes something else with it, or keeps some of it
    /// for ever.
    #[test]
    fn what_a_device_gives_up_is_gone_and_nothing_else_and_can_come_back(seeds in seeds(50), order in 0..6_usize) {
        let records = records(&seeds);
        run(async {
            let (a, b) = (Peer::new(), Peer::new());
            for placed in &records {
                a.commit(placed).await;
                b.commit(placed).await;
            }
            let before = state(b.device.index());
            let mut trees = TREES.to_vec();
            trees.rotate_left(order % TREES.len());
            if order % 2 == 1 {
                trees.reverse();
            }
            for (at, tree) in trees.iter().enumerate() {
                let entries = all_entries(&a, *tree);
                let stale = entries.iter().map(|entry| DigestEntry {
                    version: EntryVersion::Row(anello_storage::index::RowVersion::default()),
                    ..entry.clone()
                });
                let forgotten = a.device.forget(&hasher(), *tree, &stale.collect::<Vec<_>>()).await.expect("forgets");
                prop_assert_eq!(forgotten, 0, "another version than stands was given up");
                // In parts, as they come.
                for part in entries.chunks(7).rev() {
                    a.device.forget(&hasher(), *tree, part).await.expect("forgets");
                }
                // A container or an account goes when nothing of it is left.
                a.device.forget(&hasher(), *tree, &all_entries(&a, *tree)).await.expect("forgets");
                prop_assert_eq!(all_entries(&a, *tree), vec![]);
                digests_hold(&a)?;
                let now = state(a.device.index());
                for kept in &trees[at + 1..] {
                    let of = |state: &workload::State| state.digests.iter().find(|(t, _)| t == kept).cloned();
                    prop_assert_eq!(of(&now), of(&before), "{:?}", kept);
                }
            }
            for parts in a.device.index().pending_parts(1000).expect("reads") {
                a.device.settle_parts(&parts.id).await.expect("settles");
            }
            for volume in 0..4 {
                prop_assert_eq!(a.device.index().live_extents(volume).expect("reads"), vec![]);
            }
            prop_assert_eq!(a.device.index().expired(u64::MAX - 1, 1000).expect("reads"), vec![]);
            let mut rounds = 0;
            while digests(&a) != digests(&b) && rounds < ROUNDS_MAX {
                send(&b, &a).await;
                rounds += 1;
            }
            digests_hold(&a)?;
            check_agree(&a, &b, &records).await
        })?;
    }
}
