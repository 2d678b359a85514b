//! What replicas ask of each other to find their differences, and how what one lacks reaches it: a stream of
//! records as in `docs/formats/exchange.md`, checked on arrival.
//!
//! Replicas are compared from the top: digests of partitions, of their leaves, of runs of entries, and at last the
//! entries themselves ([`crate::index`]). What agrees costs one digest.

use std::collections::VecDeque;
use std::ops::Range;

use anello_base::Class;
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::FuturesUnordered;
use futures::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};

use super::local::Local;
use super::transport::DataStream;
use super::{Node, limits};
use crate::device::exchange::{Arrived, HEADER_BYTES, ImportedData, ReceivedRecord};
use crate::error::{Error, Result};
use crate::index::{DIGEST_LEAF_BITS, Digest, DigestEntry, EntryKey, EntryVersion, Index, Tree};
use crate::mutation::{Applies, Mutation};

/// A partition of which two replicas have different digests: the leaves of the one that was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Differing {
    pub(crate) partition: u32,
    pub(crate) leaves: Vec<(u32, Digest)>,
}

/// A run of entries below neighbouring leaves, as one replica has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) tree: Tree,
    pub(crate) leaves: Range<u32>,
    /// The run begins behind this one; at the leaves' first where there is none.
    pub(crate) after: Option<EntryKey>,
    /// Its last one; the leaves' where there is none.
    pub(crate) through: Option<EntryKey>,
    /// The sum of its entries.
    pub(crate) digest: Digest,
}

/// What another replica has in a [`Span`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entries {
    pub(crate) entries: Vec<DigestEntry>,
    /// Whether these are all; otherwise there are more behind the last one.
    pub(crate) is_whole: bool,
}

/// An entry that a replica lacks, and what it has of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Want {
    pub(crate) key: EntryKey,
    pub(crate) have: Option<EntryVersion>,
}

impl Node {
    /// Those of `theirs`, partitions of a ring with two to `power` of them, that have another digest here.
    pub(crate) async fn differing(&self, tree: Tree, power: u8, theirs: &[(u32, Digest)]) -> Result<Vec<Differing>> {
        match self {
            Self::Here(local) => local.differing(tree, power, theirs),
            Self::There(remote) => remote.differing(tree, power, theirs).await,
        }
    }

    /// Those of these partitions, of a ring with two to `power` of them, of which there is anything here, in order,
    /// with their digests.
    pub(crate) async fn partitions(&self, tree: Tree, power: u8, partitions: Range<u32>) -> Result<Vec<(u32, Digest)>> {
        match self {
            Self::Here(local) => local.partitions(tree, power, partitions),
            Self::There(remote) => remote.partitions(tree, power, partitions).await,
        }
    }

    /// What is here of a run of entries; `None` where it is the same.
    pub(crate) async fn compare(&self, span: Span) -> Result<Option<Entries>> {
        match self {
            Self::Here(local) => local.compare(span).await,
            Self::There(remote) => remote.compare(span).await,
        }
    }

    /// The version of one entry.
    pub(crate) async fn entry_version(&self, tree: Tree, key: &EntryKey) -> Result<Option<EntryVersion>> {
        match self {
            Self::Here(local) => local.device.index().entry_version(tree, key),
            Self::There(remote) => remote.entry_version(tree, key).await,
        }
    }

    /// Records of what is wanted. Those that are damaged here are left out.
    pub(crate) async fn fetch(&self, tree: Tree, wants: Vec<Want>) -> Result<DataStream> {
        match self {
            Self::Here(local) => Ok(local.fetch(tree, wants)),
            Self::There(remote) => remote.fetch(tree, wants).await,
        }
    }

    /// Commits records of a replica; tells how many came. After an error those before it may have been committed.
    pub(crate) async fn import(&self, applies: Applies, records: DataStream) -> Result<u64> {
        match self {
            Self::Here(local) => local.import(applies, records).await,
            Self::There(remote) => remote.import(applies, records).await,
        }
    }
}

impl Local {
    pub(super) fn differing(&self, tree: Tree, power: u8, theirs: &[(u32, Digest)]) -> Result<Vec<Differing>> {
        let index = self.device.index();
        let mut differing = Vec::new();
        for (partition, digest) in theirs {
            if index.digest_of(tree, *partition, power)? != *digest {
                let leaves = index.digests(tree, leaves_of(*partition, power))?;
                differing.push(Differing { partition: *partition, leaves });
            }
        }
        Ok(differing)
    }

    /// See [`Node::partitions`].
    pub(crate) fn partitions(&self, tree: Tree, power: u8, partitions: Range<u32>) -> Result<Vec<(u32, Digest)>> {
        let bits = DIGEST_LEAF_BITS.saturating_sub(power);
        let leaves = partitions.start << bits..partitions.end.min(1 << power) << bits;
        let mut found: Vec<(u32, Digest)> = Vec::new();
        for (leaf, digest) in self.device.index().digests(tree, leaves)? {
            match found.last_mut() {
                Some((partition, sum)) if *partition == leaf >> bits => sum.add(digest),
                _ => found.push((leaf >> bits, digest)),
            }
        }
        Ok(found)
    }

    pub(super) async fn compare(&self, span: Span) -> Result<Option<Entries>> {
        self.list(limits::ENTRIES_MAX, move |index| {
            let found = entries_of(index, &span)?;
            Ok((!found.is_whole || sum(&found.entries) != span.digest).then_some(found))
        })
        .await
    }

    /// See [`Node::fetch`].
    pub(crate) fn fetch(&self, tree: Tree, wants: Vec<Want>) -> DataStream {
        let (mut sender, receiver) = futures::channel::mpsc::channel(limits::FETCH_QUEUE);
        let local = self.clone();
        tokio::spawn(async move {
            for want in wants {
                if let Err(error) = local.send(tree, &want, &mut sender).await {
                    // Whoever asked has gone where this fails.
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            }
        });
        Box::pin(receiver)
    }

    async fn send(
        &self,
        tree: Tree,
        want: &Want,
        sender: &mut futures::channel::mpsc::Sender<Result<Bytes>>,
    ) -> Result<()> {
        let exported = match self.device.export(&self.hasher, tree, &want.key, want.have.as_ref()).await {
            Err(error @ Error::Corrupt { .. }) => {
                tracing::warn!(%error, "a record that a replica lacks is damaged here");
                self.device.report_damaged(want.key.clone());
                return Ok(());
            }
            // It was replaced meanwhile.
            Err(Error::Missing(_)) => return Ok(()),
            other => other?,
        };
        for record in exported {
            let head = record.head();
            self.device.precedence().after_clients(head.len()).await;
            sender.send(Ok(head)).await.map_err(|_| Error::Stopped)?;
            let Some(mut data) = record.data else { continue };
            while let Some(bytes) = data.next().await? {
                self.device.precedence().after_clients(bytes.len()).await;
                sender.send(Ok(bytes)).await.map_err(|_| Error::Stopped)?;
            }
        }
        Ok(())
    }

    /// See [`Node::import`]. What was received is committed together, while more comes.
    pub(crate) async fn import(&self, applies: Applies, records: DataStream) -> Result<u64> {
        let (mut records, mut commits, mut count) = (Records::new(records), FuturesUnordered::new(), 0);
        let mut outcome = 'records: loop {
            let receiving = self.receive(&mut records, applies);
            tokio::pin!(receiving);
            let received = loop {
                tokio::select! {
                    biased;
                    // Each holds up whoever asks for promises until it has ended.
                    Some(done) = commits.next() => if let Err(error) = done { break 'records Err(error) },
                    received = &mut receiving, if commits.len() < limits::IMPORTS_MAX => break received,
                }
            };
            match received {
                Ok(Some(arrived)) => {
                    count += 1;
                    if let Arrived::New(mutation) = arrived {
                        commits.push(self.take_in(mutation, applies));
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // Whatever else failed, these have their data.
        while let Some(done) = commits.next().await {
            outcome = outcome.and(done);
        }
        outcome.map(|()| count)
    }

    /// The next record, with its data on this device; `None` where there is none.
    async fn receive(&self, records: &mut Records, applies: Applies) -> Result<Option<Arrived>> {
        let Some(received) = records.next().await? else { return Ok(None) };
        self.device.precedence().after_clients(received.record.len()).await;
        let data = (received.data_length > 0).then(|| records.data());
        self.device.receive(&received.record, applies, data).await.map(Some)
    }

    /// Promises don't hinder it: what stands at one replica may come to stand at all (`docs/consistency.md`). But
    /// nobody may be promised something while it is on its way to the index.
    async fn take_in(&self, mutation: Mutation, applies: Applies) -> Result<()> {
        let _admitted = self.pass_gate(&mutation, applies).await;
        self.device.restore(mutation, applies).await.map(drop)
    }

    /// Replaces what is damaged of an object by what a replica sends; whether that was of the same version.
    pub(crate) async fn heal(&self, records: DataStream) -> Result<bool> {
        let mut records = Records::new(records);
        let mut is_healed = false;
        while let Some(received) = records.next().await? {
            let data = (received.data_length > 0).then(|| records.data());
            is_healed |= self.device.heal(&received.record, data).await?;
        }
        Ok(is_healed)
    }
}

/// The leaves that make up a partition of a ring with two to `power` of them.
pub(crate) fn leaves_of(partition: u32, power: u8) -> Range<u32> {
    let bits = DIGEST_LEAF_BITS.saturating_sub(power);
    partition << bits..(partition + 1) << bits
}

/// What is counted of some entries.
pub(crate) fn sum(entries: &[DigestEntry]) -> Digest {
    let mut sum = Digest::default();
    entries.iter().for_each(|entry| sum.add(entry.digest()));
    sum
}

fn entries_of(index: &Index, span: &Span) -> Result<Entries> {
    let Span { tree, leaves, after, through, .. } = span;
    let mut entries = index.digest_entries(*tree, leaves.clone(), after.as_ref(), limits::ENTRIES_MAX)?;
    let is_last = |through: &EntryKey| entries.last().is_some_and(|last| last.key >= *through);
    let is_whole = entries.len() < limits::ENTRIES_MAX || through.as_ref().is_some_and(is_last);
    if let Some(through) = through {
        entries.retain(|entry| entry.key <= *through);
    }
    Ok(Entries { entries, is_whole })
}

/// Takes a stream of records apart.
struct Records {
    stream: DataStream,
    /// What came and was not taken yet.
    pieces: VecDeque<Bytes>,
    /// Bytes of the last record's data that nobody has read.
    data_left: u64,
}

impl Records {
    fn new(stream: DataStream) -> Self {
        Self { stream, pieces: VecDeque::new(), data_left: 0 }
    }

    /// The next record; `None` where the stream ends behind the last one.
    async fn next(&mut self) -> Result<Option<ReceivedRecord>> {
        while self.piece().await?.is_some() {}
        if self.peek().await?.is_none() {
            return Ok(None);
        }
        let header = self.take(HEADER_BYTES).await?;
        let length = ReceivedRecord::head_length(&header)?.unwrap_or(HEADER_BYTES);
        let record = self.take(length - HEADER_BYTES).await?;
        let received = ReceivedRecord::decode(&[header, record].concat().into())?;
        self.data_left = received.data_length;
        Ok(Some(received))
    }

    /// The data behind the record that came last.
    fn data(&mut self) -> ImportedData<'_> {
        Box::pin(futures::stream::try_unfold(self, |records| async move {
            Ok(records.piece().await?.map(|bytes| (bytes, records)))
        }))
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        if self.data_left == 0 {
            return Ok(None);
        }
        let length = self.peek().await?.ok_or_else(cut)?.min(self.data_left as usize);
        self.data_left -= length as u64;
        self.take(length).await.map(Some)
    }

    /// How much is at hand; `None` at the end of the stream.
    async fn peek(&mut self) -> Result<Option<usize>> {
        loop {
            match self.pieces.front() {
                Some(piece) if !piece.is_empty() => return Ok(Some(piece.len())),
                Some(_) => drop(self.pieces.pop_front()),
                None => match self.stream.next().await {
                    Some(piece) => self.pieces.push_back(piece?),
                    None => return Ok(None),
                },
            }
        }
    }

    /// Exactly the next `length` bytes; not copied where they came in one piece.
    async fn take(&mut self, length: usize) -> Result<Bytes> {
        let mut taken = BytesMut::new();
        loop {
            let at_hand = if length == 0 { 0 } else { self.peek().await?.ok_or_else(cut)? };
            let missing = length - taken.len();
            let piece = match self.pieces.front_mut() {
                Some(piece) if missing > 0 => piece.copy_to_bytes(missing.min(at_hand)),
                _ => return Ok(taken.freeze()),
            };
            if piece.len() == length {
                return Ok(piece);
            }
            taken.extend_from_slice(&piece);
            if taken.len() == length {
                return Ok(taken.freeze());
            }
        }
    }
}

/// A stream ended where more was to come.
fn cut() -> Error {
    Error::Node { node: "replica".to_owned(), class: Class::Busy, message: "its records were cut off".to_owned() }
}

/// The account that a container's mutation belongs to is kept by the same device: what a record says of it counts.
pub(crate) fn applies_to(tree: Tree, account_is_there: bool) -> Applies {
    match tree {
        Tree::Objects { .. } => Applies { object: true, container: false, account: false },
        Tree::Containers => Applies { object: false, container: true, account: account_is_there },
        Tree::Accounts => Applies { object: false, container: false, account: true },
    }
}
