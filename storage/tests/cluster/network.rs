//! The hosts, each with its own device and its own store, and the network between them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anello_base::SystemClock;
use anello_storage::cluster::{Member, MemberOptions, Part};
use anello_storage::device::{Device, DeviceOptions};
use anello_storage::node::{DataStream, Incoming, NodeService, Transport};
use anello_storage::store::{DaemonOptions, IfMissing, ObjectHead};
use anello_storage::{Error, ListQuery, Listed, ObjectPath, ObjectWriter, Precondition, Result, Store};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use futures::stream::StreamExt;
use rand::RngExt;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::sync::watch;

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

/// Who is where, and which hosts are cut off.
#[derive(Default)]
pub(crate) struct Network {
    hosts: Mutex<HashMap<String, Arc<NodeService>>>,
    cut: Mutex<HashSet<String>>,
    /// A host that some calls reach late, so that later ones overtake them.
    pub(crate) uneven: Mutex<Option<String>>,
    /// Hosts that stand still: calls from and to them wait.
    paused: watch::Sender<HashSet<String>>,
    pub(crate) weather: Mutex<Option<Weather>>,
}

/// What happens to calls on their way.
pub(crate) struct Weather {
    pub(crate) random: StdRng,
    /// Of a hundred calls.
    pub(crate) lost: u32,
    pub(crate) late: u32,
}

/// One call's way there or back.
#[derive(Default)]
struct Way {
    is_lost: bool,
    delay: Duration,
}

impl Way {
    async fn take(&self, to: &str) -> Result<()> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if !self.is_lost {
            return Ok(());
        }
        // Where a kept connection ended, the call is repeated, whether it was heard or not.
        Err(Error::Unreachable { node: to.to_owned(), at_once: self.delay.is_zero(), message: "lost".to_owned() })
    }
}

/// A call that is late is so by this many milliseconds at most.
const LATE_MS_MAX: u64 = 30;

impl Network {
    fn way(&self) -> Way {
        let mut weather = self.weather.lock().expect("lock");
        weather.as_mut().map_or_else(Way::default, |Weather { random, lost, late }| Way {
            is_lost: random.random_range(0..100) < *lost,
            delay: match random.random_range(0..100) < *late {
                true => Duration::from_millis(random.random_range(1..=LATE_MS_MAX)),
                false => Duration::ZERO,
            },
        })
    }

    /// Passes when neither stands still.
    async fn pass(&self, from: &str, to: &str) {
        let is_free = |paused: &HashSet<String>| !paused.contains(from) && !paused.contains(to);
        drop(self.paused.subscribe().wait_for(is_free).await.expect("the network is there"));
    }
}

/// One host's view of the network.
struct Link {
    network: Arc<Network>,
    from: String,
}

impl Transport for Link {
    fn call<'a>(&'a self, address: &'a str, message: Bytes, data: DataStream) -> BoxFuture<'a, Result<Incoming>> {
        Box::pin(async move {
            let unreachable =
                || Error::Unreachable { node: address.to_owned(), at_once: false, message: "cut off".to_owned() };
            let is_cut = |host: &str| self.network.cut.lock().expect("lock").contains(host);
            if is_cut(address) || is_cut(&self.from) {
                return Err(unreachable());
            }
            let is_uneven = self.network.uneven.lock().expect("lock").as_deref() == Some(address);
            if is_uneven && rand::random() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let (there, back) = (self.network.way(), self.network.way());
            self.network.pass(&self.from, address).await;
            there.take(address).await?;
            let service = self.network.hosts.lock().expect("lock").get(address).cloned();
            let (message, data) = service.ok_or_else(unreachable)?.answer(Incoming { message, data }).await?;
            self.network.pass(&self.from, address).await;
            back.take(address).await?;
            let (network, from, to) = (Arc::clone(&self.network), self.from.clone(), address.to_owned());
            let data = data.then(move |piece| {
                let (network, from, to) = (Arc::clone(&network), from.clone(), to.clone());
                async move {
                    network.pass(&from, &to).await;
                    piece
                }
            });
            Ok(Incoming { message, data: Box::pin(data) })
        })
    }
}

pub(crate) struct Cluster {
    pub(crate) network: Arc<Network>,
    pub(crate) stores: Vec<Store>,
    pub(crate) directory: TempDir,
    pub(crate) daemons: DaemonOptions,
}

fn options(root: &Path, host: usize, part: Part, daemons: &DaemonOptions) -> MemberOptions {
    let root = root.join(format!("h{host}"));
    MemberOptions {
        devices: vec![root.join("d0")],
        state_dir: root,
        cluster_id: CLUSTER.into(),
        cluster_secret: b"secret".to_vec(),
        device: DeviceOptions::default(),
        name: format!("h{host}"),
        address: name(host),
        region: 1,
        zone: 1 + host as u32,
        part,
        daemons: daemons.clone(),
    }
}

async fn open(network: &Arc<Network>, options: MemberOptions) -> Member {
    let link = Arc::new(Link { network: Arc::clone(network), from: options.address.clone() });
    let open = || {
        let (options, link) = (options.clone(), Arc::clone(&link) as Arc<dyn Transport>);
        tokio::task::spawn_blocking(|| Member::open_with(options, SystemClock, link))
    };
    loop {
        match open().await.expect("no panic") {
            // Calls that are under way still have the host's devices as they were opened before.
            Err(Error::Io { action: "lock", .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            opened => return opened.expect("opens"),
        }
    }
}

pub(crate) fn name(host: usize) -> String {
    format!("h{host}:1")
}

impl Cluster {
    pub(crate) async fn form(hosts: usize) -> Self {
        Self::form_with(hosts, DaemonOptions::default()).await
    }

    pub(crate) async fn form_with(hosts: usize, daemons: DaemonOptions) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let network = Arc::new(Network::default());
        let members = (0..hosts).map(|host| {
            let part = if host == 0 { Part::Found(hosts) } else { Part::Join(name(0)) };
            open(&network, options(directory.path(), host, part, &daemons))
        });
        let mut stores = Vec::new();
        let members: Vec<Member> = join_all(members).await;
        for (host, member) in members.iter().enumerate() {
            network.hosts.lock().expect("lock").insert(name(host), member.service());
        }
        let maps = join_all(members.iter().map(|member| async { member.map().await.expect("forms") })).await;
        for (member, map) in members.into_iter().zip(&maps) {
            stores.push(Store::open_member(member, map).expect("opens"));
        }
        let cluster = Self { network, stores, directory, daemons };
        cluster.stores[0].container_update("AUTH_a", "c", vec![], 0, IfMissing::Create).await.expect("container");
        cluster
    }

    /// One more host comes.
    pub(crate) async fn join(&mut self) {
        let host = self.stores.len();
        let options = options(self.directory.path(), host, Part::Join(name(0)), &self.daemons);
        let member = open(&self.network, options).await;
        self.network.hosts.lock().expect("lock").insert(name(host), member.service());
        let map = member.map().await.expect("the map");
        self.stores.push(Store::open_member(member, &map).expect("opens"));
    }

    /// A host ends, its disk is replaced by an empty one, and it starts again.
    pub(crate) async fn replace_disk(&mut self, host: usize) {
        let new = self.directory.path().join(format!("h{host}/new"));
        self.start_again(host, |options| options.devices = vec![new]).await;
    }

    /// A host ends and starts again.
    pub(crate) async fn restart(&mut self, host: usize) {
        self.start_again(host, |_| ()).await;
    }

    async fn start_again(&mut self, host: usize, change: impl FnOnce(&mut MemberOptions)) {
        self.network.hosts.lock().expect("lock").remove(&name(host));
        let old = self.stores.remove(host);
        old.close().await.expect("closes");
        drop(old);
        let mut options = options(self.directory.path(), host, Part::Join(name(0)), &self.daemons);
        change(&mut options);
        let member = open(&self.network, options).await;
        self.network.hosts.lock().expect("lock").insert(name(host), member.service());
        let map = member.map().await.expect("the map");
        self.stores.insert(host, Store::open_member(member, &map).expect("opens"));
    }

    pub(crate) fn cut(&self, host: usize) {
        self.network.cut.lock().expect("lock").insert(name(host));
    }

    pub(crate) fn pause(&self, host: usize) {
        self.network.paused.send_modify(|paused| {
            paused.insert(name(host));
        });
    }

    /// No host is cut off or stands still, and the weather is fair.
    pub(crate) fn heal(&self) {
        self.network.cut.lock().expect("lock").clear();
        self.network.paused.send_modify(HashSet::clear);
        *self.network.weather.lock().expect("lock") = None;
    }

    /// Opens what host number `host` has on its disk, when the cluster is closed.
    pub(crate) fn device(directory: &TempDir, host: usize) -> Device {
        let dir = directory.path().join(format!("h{host}/d0"));
        Device::open(&dir, CLUSTER, DeviceOptions::default()).expect("opens")
    }

    pub(crate) async fn close(self) -> TempDir {
        for store in self.stores {
            store.close().await.expect("closes");
        }
        self.network.hosts.lock().expect("lock").clear();
        self.directory
    }
}

pub(crate) fn path(name: &str) -> ObjectPath {
    ObjectPath::new("AUTH_a", "c", name)
}

pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<_>>().into()
}

fn head() -> ObjectHead {
    ObjectHead { etag: "e".into(), content_type: "text/plain".into(), ..ObjectHead::default() }
}

pub(crate) async fn put(store: &Store, name: &str, data: Bytes, condition: &Precondition) -> Result<()> {
    store.object_put(&path(name), data, head(), condition).await.map(drop)
}

/// Ends a write that began before something went wrong.
pub(crate) async fn finish(mut writer: ObjectWriter, data: Bytes) -> Result<()> {
    writer.write(data).await?;
    writer.finish(head(), &Precondition::default()).await.map(drop)
}

pub(crate) async fn get(store: &Store, name: &str) -> Option<Vec<u8>> {
    let mut reader = store.object_read(&path(name)).await.expect("opens")?;
    let mut data = Vec::new();
    while let Some(bytes) = reader.next().await.expect("reads") {
        data.extend_from_slice(&bytes);
    }
    Some(data)
}

pub(crate) async fn list(store: &Store, query: ListQuery) -> Vec<String> {
    let listed = store.container_list("AUTH_a", "c", &query).await.expect("lists");
    let name = |listed| match listed {
        Listed::Entry(anello_storage::ObjectEntry { name, .. }) | Listed::Prefix(name) => name,
    };
    listed.into_iter().map(name).collect()
}

pub(crate) fn all() -> ListQuery {
    ListQuery { limit: 10_000, ..ListQuery::default() }
}
