//! Answers the calls of other hosts for the devices of this one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use anello_base::{HybridClock, Timestamp};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::Instant;

use super::Write;
use super::epoch::Epoch;
use super::limits::{CLOCK_SKEW_MAX, UPLOAD_TIMEOUT};
use super::local::Local;
use super::message::{self, Answer, Call, Envelope, Fault, FaultClass, Reply, Version};
use super::peer::Peers;
use super::replay::Replays;
use super::transport::{DataStream, Incoming, nothing};
use crate::cluster::Roll;
use crate::device::{DataReader, Device};
use crate::environment::random;
use crate::error::{Error, Result};
use crate::index::ObjectState;
use crate::key::KeyHash;
use crate::mutation::{Body, Extents, Mutation};
use std::ops::Range;

/// This host's side of the traffic between nodes.
pub struct NodeService {
    devices: HashMap<String, Local>,
    clock: Arc<HybridClock>,
    epoch: Arc<Epoch>,
    roll: Arc<Roll>,
    peers: Arc<Peers>,
    started: Timestamp,
    replays: Replays,
    uploads: Mutex<BTreeMap<u64, Pending>>,
}

/// Data that came and whose record has still to come.
#[derive(Debug)]
struct Pending {
    device: Device,
    extents: Extents,
    until: Instant,
}

impl NodeService {
    pub(crate) fn new(
        devices: &[Local],
        clock: Arc<HybridClock>,
        epoch: Arc<Epoch>,
        roll: Arc<Roll>,
        peers: Arc<Peers>,
    ) -> Self {
        let started = clock.wall();
        Self {
            devices: devices.iter().map(|local| (local.device.id(), local.clone())).collect(),
            clock,
            epoch,
            roll,
            peers,
            started,
            replays: Replays::default(),
            uploads: Mutex::default(),
        }
    }

    /// Answers one call. Dropped half-way, what was begun may still become durable.
    pub async fn answer(&self, call: Incoming) -> Result<(Bytes, DataStream)> {
        let (answer, data) = match self.carry_out(call).await {
            Ok((answer, data)) => (Ok(answer), data),
            Err(fault) => (Err(fault), nothing()),
        };
        let epoch = self.epoch.get();
        // Wherever the caller's next timestamp comes from, it must be behind all that this host knows of.
        let reply = Reply { now: self.clock.latest(), wall: self.clock.wall(), epoch, answer };
        Ok((message::encode(&reply)?.into(), data))
    }

    async fn carry_out(&self, call: Incoming) -> Result<(Answer, DataStream), Fault> {
        let envelope: Envelope = message::decode(&call.message)?;
        self.admit(&envelope)?;
        self.peers.hear(&envelope.host);
        match envelope.call {
            Call::Ping => return Ok((Answer::Pong, nothing())),
            Call::Join(host) => {
                let map = self.roll.enter(host)?.map(|map| map.encode()).transpose()?;
                return Ok((Answer::Map(map), nothing()));
            }
            Call::Map => {
                let map = self.roll.map().map(|map| map.encode()).transpose()?;
                return Ok((Answer::Map(map), nothing()));
            }
            Call::Progress => return Ok((Answer::Progress(self.roll.progress()), nothing())),
            _ => drop(self.epoch.enter(envelope.epoch).await?),
        }
        let local = self.devices.get(&envelope.device).ok_or_else(|| Fault::Other {
            class: FaultClass::Internal,
            message: format!("device {} is not here", envelope.device),
        })?;
        let local = &local.at(envelope.epoch);
        let answer = match envelope.call {
            Call::Read { object, timestamp, range } => {
                return Ok((Answer::Data, self.read(local, object, timestamp, range).await?));
            }
            Call::Fetch { tree, wants } => return Ok((Answer::Data, local.fetch(tree, wants))),
            Call::Import { applies } => Answer::Imported(local.import(applies, call.data).await?),
            Call::Upload { size_hint } => self.upload(local, size_hint, call.data).await?,
            Call::Commit(write) => self.commit(local, *write).await?,
            other => self.look_up(local, other).await?,
        };
        Ok((answer, nothing()))
    }

    /// Refuses what is recorded, or comes by another clock or another map.
    fn admit(&self, envelope: &Envelope) -> Result<(), Fault> {
        let now = self.clock.wall();
        if envelope.now > now.plus(CLOCK_SKEW_MAX) {
            return Err(Fault::Ahead);
        }
        let is_old = envelope.now < now.minus(CLOCK_SKEW_MAX) || envelope.now < self.started.minus(CLOCK_SKEW_MAX);
        if is_old || !self.replays.is_new(envelope.sender, envelope.number) {
            return Err(Fault::Other { class: FaultClass::Internal, message: "the call is old or repeated".into() });
        }
        Ok(())
    }

    async fn look_up(&self, local: &Local, call: Call) -> Result<Answer> {
        let index = local.device.index();
        Ok(match call {
            Call::Object(object) => Answer::Object(version(index.object_state(object)?)),
            Call::PrepareObject { object, until } => {
                self.check_clock(until)?;
                Answer::Object(version(local.prepare_object(object, until).await?))
            }
            Call::PrepareContainer { container, until } => {
                self.check_clock(until)?;
                Answer::PreparedContainer(local.prepare_container(container, until).await?)
            }
            Call::Container(container) => Answer::Container(index.known_container(container)?),
            Call::Account(account) => Answer::Account(index.known_account(account)?),
            Call::Objects { container, query } => {
                Answer::Objects(local.list(query.limit, move |index| index.list_objects(container, &query)).await?)
            }
            Call::Containers { account, query } => {
                Answer::Containers(local.list(query.limit, move |index| index.list_containers(account, &query)).await?)
            }
            Call::ObjectRows { container, names } => {
                let rows = names.iter().map(|name| index.known_object_row(container, name));
                Answer::ObjectRows(rows.collect::<Result<_>>()?)
            }
            Call::ContainerRows { account, names } => {
                let rows = names.iter().map(|name| index.known_container_row(account, name));
                Answer::ContainerRows(rows.collect::<Result<_>>()?)
            }
            Call::Differing { tree, power, partitions } => {
                Answer::Differing(local.differing(tree, power, &partitions)?)
            }
            Call::Partitions { tree, power, partitions } => {
                Answer::Partitions(local.partitions(tree, power, partitions)?)
            }
            Call::Compare(span) => Answer::Compared(local.compare(span).await?),
            Call::EntryVersion { tree, key } => Answer::EntryVersion(index.entry_version(tree, &key)?),
            Call::Ping
            | Call::Join(_)
            | Call::Map
            | Call::Progress
            | Call::Commit(_)
            | Call::Upload { .. }
            | Call::Read { .. }
            | Call::Fetch { .. }
            | Call::Import { .. } => {
                return Err(Error::Message("it is no look-up".to_owned()));
            }
        })
    }

    async fn read(
        &self,
        local: &Local,
        object: KeyHash,
        timestamp: Timestamp,
        range: Range<u64>,
    ) -> Result<DataStream> {
        let row = local.device.index().object(object)?.filter(|row| row.info.timestamp == timestamp);
        let row = row.ok_or(Error::Missing("object"))?;
        let reader = local.device.read(Some(object), &row, range).await?;
        Ok(stream(reader))
    }

    async fn upload(&self, local: &Local, size_hint: Option<u64>, mut data: DataStream) -> Result<Answer> {
        let mut writer = local.device.write_extents(size_hint);
        while let Some(bytes) = data.next().await {
            writer.write(bytes?).await?;
        }
        let (extents, number) = (writer.finish().await?, random());
        let pending = Pending { device: local.device.clone(), extents, until: Instant::now() + UPLOAD_TIMEOUT };
        self.pending().insert(number, pending);
        Ok(Answer::Uploaded(number))
    }

    async fn commit(&self, local: &Local, mut write: Write) -> Result<Answer> {
        self.check_clock(write.mutation.timestamp())?;
        self.clock.observe(write.mutation.timestamp());
        let upload = write.upload.take();
        let mut pending = None;
        if let Mutation::ObjectPut(put) = &mut write.mutation {
            // Places on this host's disks are known to this host alone.
            if matches!(put.body, Body::Extents(_)) {
                return Err(Error::Message("extents of another host were named".to_owned()));
            }
            if let Some(number) = upload {
                let found = self.pending().remove(&number).filter(|found| found.device.id() == local.device.id());
                let Some(found) = found else {
                    // Asked again: what was answered before may have been lost.
                    let is_here = local.data_version(put.hashes.object)? == Some(put.timestamp);
                    let again = Answer::Committed { stale: None, created: false };
                    return if is_here { Ok(again) } else { Err(Error::Contended) };
                };
                put.body = Body::Extents(found.extents.clone());
                pending = Some(found);
            }
        }
        let committed = local.commit(write).await;
        if let (Err(Error::Promised { .. } | Error::Missing(_) | Error::OldShards), Some(found)) = (&committed, pending)
        {
            // Nothing was written; the caller may come again with another timestamp.
            self.pending().extend(upload.map(|number| (number, found)));
        }
        let effect = committed?;
        Ok(Answer::Committed { stale: effect.stale, created: effect.created })
    }

    /// A version from far ahead could not be replaced until the clocks reach it.
    fn check_clock(&self, timestamp: Timestamp) -> Result<()> {
        let now = self.clock.wall();
        if timestamp > now.plus(CLOCK_SKEW_MAX) {
            return Err(Error::Ahead { timestamp, now });
        }
        Ok(())
    }

    /// Frees what was sent and never committed. To be called now and then.
    pub(crate) fn discard_old_uploads(&self) {
        let now = Instant::now();
        self.pending().retain(|_, pending| {
            let keep = pending.until > now;
            if !keep {
                pending.device.discard(&pending.extents);
            }
            keep
        });
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Pending>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(state: ObjectState) -> Version {
    match state {
        ObjectState::Absent => Version::Absent,
        ObjectState::Deleted(timestamp) => Version::Deleted(timestamp),
        ObjectState::Live(row) => Version::Live(Box::new(row.info)),
    }
}

fn stream(reader: DataReader) -> DataStream {
    Box::pin(futures::stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.serve().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl std::fmt::Debug for NodeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeService").field("devices", &self.devices.keys()).finish_non_exhaustive()
    }
}
