//! A device of another host: every question becomes a call.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anello_base::Timestamp;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio_util::task::AbortOnDropHandle;

use super::exchange::{Differing, Entries, Span, Want};
use super::limits::{COMMIT_TIMEOUT, IMPORT_TIMEOUT, LOOK_UP_TIMEOUT, STREAM_TIMEOUT, UPLOAD_QUEUE, UPLOAD_TIMEOUT};
use super::message::{Answer, Call, Version};
use super::peer::Peer;
use super::transport::DataStream;
use super::{ContainerFound, Found, Source, Write};
use crate::error::{Error, Result};
use crate::index::{Digest, Effect, EntryKey, EntryVersion, Tree};
use crate::key::KeyHash;
use crate::model::{AccountInfo, ContainerEntry, ContainerInfo, Known, ListQuery, Listed, ObjectEntry};
use crate::mutation::Applies;

/// A device of another host.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    peer: Arc<Peer>,
    device: Arc<str>,
    /// The map that its callers go by.
    epoch: u64,
}

impl Remote {
    pub(crate) fn new(peer: Arc<Peer>, device: &str, epoch: u64) -> Self {
        Self { peer, device: device.into(), epoch }
    }

    async fn call(&self, call: Call, timeout: Duration) -> Result<(Answer, DataStream)> {
        self.peer.call(&self.device, self.epoch, call, timeout).await
    }

    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    pub(crate) fn is_reachable(&self) -> bool {
        self.peer.is_reachable()
    }

    async fn ask(&self, call: Call) -> Result<Answer> {
        Ok(self.call(call, LOOK_UP_TIMEOUT).await?.0)
    }

    fn confused(&self) -> Error {
        Error::Message(format!("{} answered something else than was asked", self.peer.name()))
    }

    pub(super) async fn commit(&self, write: Write) -> Result<Effect> {
        match self.call(Call::Commit(Box::new(write)), COMMIT_TIMEOUT).await?.0 {
            Answer::Committed { stale, created } => Ok(Effect { stale, created, ..Effect::default() }),
            _ => Err(self.confused()),
        }
    }

    fn found(&self, object: KeyHash, answer: Answer) -> Result<Found> {
        match answer {
            Answer::Object(Version::Absent) => Ok(Found::Absent),
            Answer::Object(Version::Deleted(timestamp)) => Ok(Found::Deleted(timestamp)),
            Answer::Object(Version::Live(info)) => Ok(Found::Live(Source::There(self.clone(), object, info))),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn object(&self, object: KeyHash) -> Result<Found> {
        self.found(object, self.ask(Call::Object(object)).await?)
    }

    pub(super) async fn prepare_object(&self, object: KeyHash, until: Timestamp) -> Result<Found> {
        self.found(object, self.ask(Call::PrepareObject { object, until }).await?)
    }

    pub(super) async fn prepare_container(&self, container: KeyHash, until: Timestamp) -> Result<ContainerFound> {
        match self.ask(Call::PrepareContainer { container, until }).await? {
            Answer::PreparedContainer(found) => Ok(found),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn container(&self, container: KeyHash) -> Result<Known<ContainerInfo>> {
        match self.ask(Call::Container(container)).await? {
            Answer::Container(info) => Ok(info),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn account(&self, account: KeyHash) -> Result<Known<AccountInfo>> {
        match self.ask(Call::Account(account)).await? {
            Answer::Account(info) => Ok(info),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn objects(&self, container: KeyHash, query: &ListQuery) -> Result<Vec<Listed<ObjectEntry>>> {
        match self.ask(Call::Objects { container, query: query.clone() }).await? {
            Answer::Objects(rows) => Ok(rows),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn containers(&self, account: KeyHash, query: &ListQuery) -> Result<Vec<Listed<ContainerEntry>>> {
        match self.ask(Call::Containers { account, query: query.clone() }).await? {
            Answer::Containers(rows) => Ok(rows),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn object_rows(&self, container: KeyHash, names: Vec<String>) -> Result<Vec<Known<ObjectEntry>>> {
        match self.ask(Call::ObjectRows { container, names }).await? {
            Answer::ObjectRows(rows) => Ok(rows),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn container_rows(
        &self,
        account: KeyHash,
        names: Vec<String>,
    ) -> Result<Vec<Known<ContainerEntry>>> {
        match self.ask(Call::ContainerRows { account, names }).await? {
            Answer::ContainerRows(rows) => Ok(rows),
            _ => Err(self.confused()),
        }
    }

    /// The stored bytes of one version; fails where it is another by now.
    pub(super) async fn read(&self, object: KeyHash, timestamp: Timestamp, range: Range<u64>) -> Result<DataStream> {
        let call = Call::Read { object, timestamp, range };
        match self.call(call, LOOK_UP_TIMEOUT).await? {
            (Answer::Data, data) => Ok(paced(data, self.peer.name().to_owned())),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn differing(&self, tree: Tree, power: u8, theirs: &[(u32, Digest)]) -> Result<Vec<Differing>> {
        match self.ask(Call::Differing { tree, power, partitions: theirs.to_vec() }).await? {
            Answer::Differing(differing) => Ok(differing),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn partitions(&self, tree: Tree, power: u8, partitions: Range<u32>) -> Result<Vec<(u32, Digest)>> {
        match self.ask(Call::Partitions { tree, power, partitions }).await? {
            Answer::Partitions(partitions) => Ok(partitions),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn compare(&self, span: Span) -> Result<Option<Entries>> {
        match self.ask(Call::Compare(span)).await? {
            Answer::Compared(entries) => Ok(entries),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn entry_version(&self, tree: Tree, key: &EntryKey) -> Result<Option<EntryVersion>> {
        match self.ask(Call::EntryVersion { tree, key: key.clone() }).await? {
            Answer::EntryVersion(version) => Ok(version),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn fetch(&self, tree: Tree, wants: Vec<Want>) -> Result<DataStream> {
        match self.call(Call::Fetch { tree, wants }, LOOK_UP_TIMEOUT).await? {
            (Answer::Data, data) => Ok(paced(data, self.peer.name().to_owned())),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn import(&self, applies: Applies, records: DataStream) -> Result<u64> {
        match self.peer.call_with(&self.device, self.epoch, Call::Import { applies }, records, IMPORT_TIMEOUT).await?.0
        {
            Answer::Imported(count) => Ok(count),
            _ => Err(self.confused()),
        }
    }

    pub(super) fn write_extents(&self, size_hint: Option<u64>) -> RemoteUpload {
        let (sender, receiver) = futures::channel::mpsc::channel(UPLOAD_QUEUE);
        let data: DataStream = Box::pin(receiver);
        let (peer, device, epoch) = (Arc::clone(&self.peer), Arc::clone(&self.device), self.epoch);
        let call = tokio::spawn(async move {
            match peer.call_with(&device, epoch, Call::Upload { size_hint }, data, UPLOAD_TIMEOUT).await?.0 {
                Answer::Uploaded(number) => Ok(number),
                _ => Err(Error::Message(format!("{} answered something else than was asked", peer.name()))),
            }
        });
        RemoteUpload { sender, call: AbortOnDropHandle::new(call) }
    }
}

/// Fails where the next piece doesn't come in time.
fn paced(data: DataStream, node: String) -> DataStream {
    Box::pin(futures::stream::unfold(Some((data, node)), |state| async {
        let (mut data, node) = state?;
        match tokio::time::timeout(STREAM_TIMEOUT, data.next()).await {
            Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some((data, node)))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => {
                let message = "it stopped sending".to_owned();
                Some((Err(Error::Node { node, class: anello_base::Class::Busy, message }), None))
            }
        }
    }))
}

/// A large object on its way to another host. Dropped before [`RemoteUpload::finish`], nothing is left of it there.
#[derive(Debug)]
pub(crate) struct RemoteUpload {
    sender: futures::channel::mpsc::Sender<Result<Bytes>>,
    call: AbortOnDropHandle<Result<u64>>,
}

impl RemoteUpload {
    pub(super) async fn write(&mut self, data: Bytes) -> Result<()> {
        let sent = tokio::time::timeout(STREAM_TIMEOUT, self.sender.send(Ok(data))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            // The call has ended, and knows why.
            _ if self.call.is_finished() => match (&mut self.call).await {
                Ok(Err(error)) => Err(error),
                _ => Err(Error::Stopped),
            },
            _ => Err(Error::Message("a node takes no more of an object's data".to_owned())),
        }
    }

    pub(super) async fn finish(self) -> Result<u64> {
        let Self { sender, call } = self;
        drop(sender);
        call.await.map_err(|_| Error::Stopped)?
    }
}
