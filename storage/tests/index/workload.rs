//! Random records for the index, and the whole of what an index says, so that two can be compared.

use anello_base::Timestamp;
use anello_storage::index::{DIGEST_LEAVES, Digest, Effect, Index, ObjectRow, Placed, Tree};
use anello_storage::key::{KeyHasher, ObjectPath};
use anello_storage::model::{
    AccountInfo, ContainerEntry, ContainerInfo, Content, ListQuery, Listed, Metadata, ObjectEntry, ObjectInfo,
};
use anello_storage::mutation::{
    Applies, Body, ContainerPut, Extent, Extents, Location, LogPosition, Mutation, ObjectPost, ObjectPut, PathHashes,
};
use proptest::prelude::*;

pub(crate) const ACCOUNTS: [&str; 2] = ["AUTH_a", "AUTH_b"];
/// The last one's account is on another device.
pub(crate) const CONTAINERS: [&str; 3] = ["one", "two", "far"];
/// Containers of other devices, whose statistics come as records.
pub(crate) const REMOTE: [&str; 2] = ["remote-1", "remote-2"];
pub(crate) const OBJECTS: [&str; 4] = ["a", "a/b", "a/c", "z"];

pub(crate) const TREES: [Tree; 4] =
    [Tree::Objects { policy: 0 }, Tree::Objects { policy: 1 }, Tree::Containers, Tree::Accounts];

pub(crate) fn hasher() -> KeyHasher {
    KeyHasher::new(b"test")
}

pub(crate) fn hashes(path: &ObjectPath) -> PathHashes {
    let hasher = hasher();
    PathHashes {
        account: hasher.account(&path.account),
        container: hasher.container(&path.account, &path.container),
        object: hasher.object(path),
    }
}

/// What a record is made of; its place among the others gives it a timestamp and a location.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    kind: u8,
    account: usize,
    container: usize,
    object: usize,
    applies: u8,
    detail: u8,
}

pub(crate) fn seeds(count: usize) -> impl Strategy<Value = Vec<Seed>> {
    let seed = (0..24_u8, 0..2_usize, 0..3_usize, 0..4_usize, any::<u8>(), any::<u8>());
    let seed = seed.prop_map(|(kind, account, container, object, applies, detail)| Seed {
        kind,
        account,
        container,
        object,
        applies,
        detail,
    });
    prop::collection::vec(seed, 1..count)
}

pub(crate) fn location(place: usize) -> Location {
    Location { volume: 1 + (place % 5) as u32, offset: place as u64 * 1000, length: 100 + place as u32, data_start: 90 }
}

/// Records with timestamps 1, 2, 3, …
pub(crate) fn records(seeds: &[Seed]) -> Vec<Placed> {
    let record = |(place, seed): (usize, &Seed)| {
        let (mutation, applies) = seed.mutation(place);
        Placed { mutation, applies, location: location(place) }
    };
    seeds.iter().enumerate().map(record).collect()
}

impl Seed {
    fn path(&self) -> ObjectPath {
        ObjectPath::new(ACCOUNTS[self.account], CONTAINERS[self.container], OBJECTS[self.object])
    }

    fn applies(&self, is_object: bool) -> Applies {
        let account = self.container != 2;
        match self.applies % 8 {
            0 if is_object => Applies { object: true, container: false, account },
            1 if is_object => Applies { object: false, container: true, account },
            _ => Applies { object: true, container: true, account },
        }
    }

    fn mutation(&self, place: usize) -> (Mutation, Applies) {
        let timestamp = Timestamp::from_ticks(1 + place as u64);
        let path = self.path();
        let hashes = hashes(&path);
        let (account_hash, container_hash) = (hashes.account, hashes.container);
        let (account, container) = (path.account.clone(), path.container.clone());
        let object = self.applies(true);
        let other = self.applies(false);
        match self.kind {
            0..=8 => (Mutation::ObjectPut(self.put(path, hashes, timestamp, place)), object),
            9..=12 => (Mutation::ObjectPost(self.post(path, hashes, timestamp)), object),
            13..=16 => (Mutation::ObjectDelete { path, hashes, timestamp, policy: self.policy() }, object),
            17 | 18 => {
                let changes = self.items();
                let policy = u32::from(self.detail % 3);
                let put = ContainerPut { account, container, account_hash, container_hash, timestamp, policy, changes };
                (Mutation::ContainerPut(put), other)
            }
            19 => {
                let delete = Mutation::ContainerDelete { account, container, account_hash, container_hash, timestamp };
                (delete, other)
            }
            20 => (Mutation::AccountPut { account, account_hash, timestamp, changes: self.items() }, Applies::ALL),
            21 => (Mutation::AccountDelete { account, account_hash, timestamp }, Applies::ALL),
            _ => {
                let is_deleted = self.detail.is_multiple_of(4);
                let stats = Mutation::ContainerStats {
                    account,
                    container: REMOTE[self.object % 2].to_owned(),
                    account_hash,
                    created: if is_deleted { Timestamp::ZERO } else { timestamp },
                    modified: if is_deleted { Timestamp::ZERO } else { timestamp },
                    deleted: if is_deleted { timestamp } else { Timestamp::ZERO },
                    version: timestamp.ticks(),
                    object_count: u64::from(self.detail),
                    bytes_used: u64::from(self.detail) * 10,
                };
                (stats, Applies { object: false, container: false, account: true })
            }
        }
    }

    fn items(&self) -> Metadata {
        let value =
            |name: &str, keep: bool| (name.to_owned(), if keep { self.detail.to_string() } else { String::new() });
        match self.detail % 4 {
            0 => vec![],
            1 => vec![value("x-one", true)],
            2 => vec![value("x-one", self.detail & 8 == 0), value("x-two", true)],
            _ => vec![value("x-two", false)],
        }
    }

    /// Mostly one policy for all; a container that was made again with another one mixes them.
    fn policy(&self) -> u32 {
        u32::from(self.detail.is_multiple_of(7))
    }

    fn delete_at(&self) -> Option<u64> {
        (self.detail & 16 != 0).then_some(1000 + u64::from(self.detail))
    }

    fn put(&self, path: ObjectPath, hashes: PathHashes, timestamp: Timestamp, place: usize) -> ObjectPut {
        let extent = Extent { volume: 1 + place as u32 % 2, offset: place as u64 * 8192, length: 5000 };
        let second = Extent { volume: 3, ..extent };
        let body = match self.detail % 3 {
            0 => Body::Extents(Extents { length: 10_000, pieces: vec![extent, second], ..Extents::default() }),
            1 => Body::Absent(u64::from(self.detail)),
            _ => Body::Inline(vec![0; usize::from(self.detail)].into()),
        };
        ObjectPut {
            path,
            hashes,
            timestamp,
            policy: self.policy(),
            size: u64::from(self.detail) * 3,
            etag: format!("{:032x}", u128::from(self.detail)),
            content_type: if self.detail & 32 == 0 { "text/plain" } else { "x/unusual" }.to_owned(),
            content: if self.detail & 64 == 0 { Content::Plain } else { Content::Multipart },
            delete_at: self.delete_at(),
            metadata: self.items(),
            body,
        }
    }

    fn post(&self, path: ObjectPath, hashes: PathHashes, timestamp: Timestamp) -> ObjectPost {
        ObjectPost {
            path,
            hashes,
            timestamp,
            policy: self.policy(),
            content_type: self.detail.is_multiple_of(3).then(|| format!("x/post-{}", self.detail)),
            delete_at: self.delete_at(),
            metadata: self.items(),
        }
    }
}

/// Applies `records` in batches; the position is the number of records.
pub(crate) fn apply(index: &Index, records: &[Placed], batch: usize) -> Vec<Effect> {
    let mut effects = Vec::new();
    for batch in records.chunks(batch) {
        let position = LogPosition { volume: 9, offset: 0, sequence: (effects.len() + batch.len()) as u64 };
        effects.extend(index.apply(batch, position).expect("applies"));
    }
    effects
}

/// All that an index shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) objects: Vec<(ObjectPath, Option<ObjectInfo>)>,
    pub(crate) rows: Vec<(String, String, Vec<ObjectEntry>)>,
    pub(crate) containers: Vec<(String, String, Option<ContainerInfo>)>,
    pub(crate) accounts: Vec<(String, Option<AccountInfo>)>,
    pub(crate) account_rows: Vec<(String, Vec<ContainerEntry>)>,
    pub(crate) expired: Vec<(u64, ObjectPath)>,
    pub(crate) parts: Vec<(Vec<u8>, ObjectInfo)>,
    pub(crate) extents: Vec<Vec<Extent>>,
    pub(crate) digests: Vec<(Tree, Vec<(u32, Digest)>)>,
}

/// A tree's leaves, which must be what its entries come to.
pub(crate) fn digests(index: &Index, tree: Tree) -> Vec<(u32, Digest)> {
    let kept = index.digests(tree, 0..DIGEST_LEAVES).expect("reads");
    assert_eq!(kept, index.recomputed_digests(tree).expect("reads"), "{tree:?}");
    kept
}

pub(crate) fn all() -> ListQuery {
    ListQuery { limit: 10_000, ..ListQuery::default() }
}

pub(crate) fn entries<E>(listed: Vec<Listed<E>>) -> Vec<E> {
    let entry = |listed| match listed {
        Listed::Entry(entry) => entry,
        Listed::Prefix(prefix) => panic!("{prefix} was rolled up"),
    };
    listed.into_iter().map(entry).collect()
}

pub(crate) fn paths() -> Vec<ObjectPath> {
    let objects = |account| {
        let below = move |container| OBJECTS.iter().map(move |object| ObjectPath::new(account, container, *object));
        CONTAINERS.iter().flat_map(move |container| below(*container))
    };
    ACCOUNTS.iter().flat_map(|account| objects(*account)).collect()
}

pub(crate) fn containers() -> Vec<(String, String)> {
    let of = |account: &&str| CONTAINERS.map(|container| ((*account).to_owned(), container.to_owned()));
    ACCOUNTS.iter().flat_map(of).collect()
}

pub(crate) fn state(index: &Index) -> State {
    let hasher = hasher();
    let object = |path: &ObjectPath| index.object(hasher.object(path)).expect("reads");
    let rows = |account: &str, container: &str| {
        entries(index.list_objects(hasher.container(account, container), &all()).expect("lists"))
    };
    let expired = index.expired(u64::MAX, 1000).expect("reads");
    let parts = index.pending_parts(1000).expect("reads");
    State {
        objects: paths().into_iter().map(|path| (path.clone(), object(&path).map(|row: ObjectRow| row.info))).collect(),
        rows: containers().into_iter().map(|(a, c)| (a.clone(), c.clone(), rows(&a, &c))).collect(),
        containers: containers()
            .into_iter()
            .map(|(a, c)| (a.clone(), c.clone(), index.container(hasher.container(&a, &c)).expect("reads")))
            .collect(),
        accounts: ACCOUNTS.map(|a| (a.to_owned(), index.account(hasher.account(a)).expect("reads"))).to_vec(),
        account_rows: ACCOUNTS
            .map(|a| (a.to_owned(), entries(index.list_containers(hasher.account(a), &all()).expect("lists"))))
            .to_vec(),
        expired: {
            let mut expired: Vec<_> = expired.into_iter().map(|expired| (expired.delete_at, expired.path)).collect();
            expired.sort();
            expired
        },
        parts: parts.into_iter().map(|parts| (parts.id, parts.row.info)).collect(),
        extents: (1..=3).map(|volume| index.live_extents(volume).expect("reads")).collect(),
        digests: TREES.map(|tree| (tree, digests(index, tree))).to_vec(),
    }
}

pub(crate) fn open(dir: &std::path::Path) -> (Index, LogPosition) {
    Index::open(dir, 8 << 20).expect("opens")
}
