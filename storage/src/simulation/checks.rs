//! What must hold once everything is as it should be again: replicas agree, hold nothing that is others', and
//! listings, counts and objects say the same through every host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::linearizability::Value;
use super::trace;
use super::workload::{Name, Workload, content, list, names, read_all};
use super::world::{ACCOUNT, CONTAINERS, World};
use crate::Store;
use crate::device::Device;
use crate::index::{DIGEST_LEAVES, Digest, ObjectRow, Tree};
use crate::key::KeyHash;
use crate::model::ListQuery;
use crate::shards::shards_of;

/// How often it is looked whether replicas agree, and how many times before that is given up.
const LOOK: Duration = Duration::from_secs(5);
const LOOKS: u32 = 120;

/// After so many the sweeper comes: of a write that failed so few fragments may be left that the others can't be made.
const LOOKS_BEFORE_SWEEP: u32 = 30;

/// The same for a damaged copy to be replaced by another's.
const HEALING_LOOKS: u32 = 6;

/// What is wrong.
pub(crate) type Finding = String;

impl World {
    /// Waits until replicas agree, and checks everything. Tells what each object is.
    pub(crate) async fn settle(&self, workload: &Workload) -> Result<BTreeMap<Name, Option<Value>>, Finding> {
        let mut apart = String::new();
        for look in 0..LOOKS {
            tokio::time::sleep(LOOK).await;
            if look == LOOKS_BEFORE_SWEEP {
                self.sweep().await?;
            }
            apart = self.unrest().unwrap_or_else(|| self.apart());
            if !apart.is_empty() {
                continue;
            }
            if let Some(counts) = self.counts_differ().await {
                apart = counts;
                continue;
            }
            trace::note(format_args!("replicas agree"));
            self.count_shards().await?;
            let agreed = self.check_all(workload).await?;
            self.check_fragments().await?;
            return Ok(agreed);
        }
        Err(format!("replicas do not come together: {apart}{}", self.entries_apart()))
    }

    /// Where replicas differ or hold what is others'; nothing where they don't.
    fn apart(&self) -> String {
        type Held = BTreeMap<String, Digest>;
        let mut partitions: BTreeMap<(Tree, u32), (BTreeSet<String>, Held)> = BTreeMap::new();
        for store in self.stores() {
            for holding in store.holdings().expect("reads") {
                let (keepers, held) = partitions.entry((holding.tree, holding.partition)).or_default();
                keepers.extend(holding.keepers);
                held.insert(holding.device, holding.digest);
            }
        }
        let differs = |(keepers, held): &(BTreeSet<String>, Held)| {
            let mut digests = held.values();
            let first = digests.next();
            !held.keys().eq(keepers.iter()) || digests.any(|digest| Some(digest) != first)
        };
        partitions.retain(|_, partition| differs(partition));
        partitions.iter().map(|(place, it)| format!("{place:?}: {it:?}\n")).collect()
    }

    /// The entries that not all hosts have alike.
    fn entries_apart(&self) -> String {
        let mut entries: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (host, store, _) in self.doors.all() {
            for entry in store.entries().expect("reads") {
                entries.entry(entry).or_default().push(host);
            }
        }
        entries.retain(|_, hosts| hosts.len() < self.hosts.len().min(3));
        entries.iter().map(|(entry, hosts)| format!("{hosts:?}: {entry}\n")).collect()
    }

    /// Where counts of containers and of the account do not say what listings show.
    async fn counts_differ(&self) -> Option<Finding> {
        for store in self.stores() {
            let (mut objects, mut bytes) = (0, 0);
            for (number, container) in CONTAINERS.iter().enumerate() {
                let info = store.container(ACCOUNT, container).await.ok()??;
                let listed = list(&store, number).await?;
                let sizes: u64 = listed.values().map(|value| content(*value).len() as u64).sum();
                if (info.object_count, info.bytes_used) != (listed.len() as u64, sizes) {
                    return Some(format!("{container} shows {listed:?} and counts {info:?}"));
                }
                objects += info.object_count;
                bytes += info.bytes_used;
            }
            let info = store.account(ACCOUNT).await.ok()??;
            if info.container_count != CONTAINERS.len() as u64 {
                return Some(format!("the account counts {info:?}"));
            }
            if (info.object_count, info.bytes_used) != (objects, bytes) {
                // A replica that missed a container's last statistics gets them with its next change.
                trace::count("totals of accounts that lag");
            }
        }
        None
    }

    /// Notes how far containers were split.
    async fn count_shards(&self) -> Result<(), Finding> {
        let (_, store, _) = self.doors.any().ok_or("nobody is up")?;
        let query = ListQuery { limit: 1000, ..ListQuery::default() };
        let listed = store.account_list(&shards_of(ACCOUNT), &query).await.map_err(|error| error.to_string())?;
        listed.iter().for_each(|_| trace::count("shards, and their maps"));
        Ok(())
    }

    async fn check_all(&self, workload: &Workload) -> Result<BTreeMap<Name, Option<Value>>, Finding> {
        let mut agreed: Option<BTreeMap<Name, Option<Value>>> = None;
        for (host, store, _) in self.doors.all() {
            let mut values = BTreeMap::new();
            for name in names() {
                let read =
                    read_all(&store, name).await.map_err(|error| format!("{name:?} through h{host}: {error}"))?;
                values.insert(name, read.map(|read| read.value));
            }
            for number in 0..CONTAINERS.len() {
                let listed = list(&store, number).await.ok_or("a listing fails")?;
                let there = values.iter().filter(|((container, _), _)| *container == number);
                for ((_, object), value) in there {
                    let shown = listed.get(object).copied();
                    let unknown = workload.unknown((number, *object));
                    if shown != *value && (unknown.contains(&shown) || unknown.contains(value)) {
                        trace::count("rows and objects apart behind a write that failed");
                    } else if shown != *value {
                        return Err(format!("h{host} shows o{object} of {number} as {shown:?}, and it is {value:?}"));
                    }
                }
            }
            if agreed.as_ref().is_some_and(|agreed| *agreed != values) {
                return Err(format!("h{host} reads {values:?}, another one {agreed:?}"));
            }
            agreed = Some(values);
            check_copies(&store).await.map_err(|finding| format!("h{host}: {finding}"))?;
        }
        agreed.ok_or_else(|| "nobody is up".to_owned())
    }
}

/// Reads a copy of an object to its end.
async fn read_copy(device: &Device, hash: KeyHash, row: &ObjectRow) -> crate::Result<()> {
    let mut reader = device.read(Some(hash), row, 0..u64::MAX).await?;
    while reader.next().await?.is_some() {}
    Ok(())
}

/// Every copy on this host's devices can be read, and digests are what the entries come to.
async fn check_copies(store: &Store) -> Result<(), Finding> {
    for device in store.devices() {
        let told = |error: crate::Error| error.to_string();
        for tree in device.index().digest_trees().map_err(told)? {
            let kept = device.index().digests(tree, 0..DIGEST_LEAVES).map_err(told)?;
            if kept != device.index().recomputed_digests(tree).map_err(told)? {
                return Err(format!("digests of {tree:?} are not those of its entries"));
            }
        }
        for (hash, row) in device.index().scan_objects(None, usize::MAX).map_err(told)? {
            let mut outcome = read_copy(device, hash, &row).await;
            for _ in 0..HEALING_LOOKS {
                if matches!(outcome, Ok(()) | Err(crate::Error::Missing(_))) {
                    break;
                }
                // Whoever finds it damaged has it healed.
                tokio::time::sleep(LOOK).await;
                outcome = read_copy(device, hash, &row).await;
            }
            let is_gone = matches!(outcome, Err(crate::Error::Missing(_)));
            if !is_gone || device.index().object(hash).map_err(told)?.is_some_and(|now| now.info == row.info) {
                outcome.map_err(told)?;
            }
        }
    }
    Ok(())
}
