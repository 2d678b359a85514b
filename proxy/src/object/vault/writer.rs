//! Writing an object through the lock: data are gathered to a chunk, sealed and given on. The last chunk is known as the
//! last one only when the object is finished, so one is always held back. Memory: two chunks.

use std::sync::Arc;

use anello_base::Timestamp;
use anello_storage::store::{ObjectHead, Written};
use anello_storage::{Error, ObjectInfo, ObjectPath, Precondition, Result};
use bytes::{Bytes, BytesMut};

use super::Finish;
use super::body::{BodyCipher, BodyKey, CHUNK_BYTES, TAG_BYTES};
use super::keys::{ContainerKeys, Purpose};
use super::seal;
use crate::object::parts::PartList;

/// As [`anello_storage::ObjectWriter`]: what goes in is sealed on its way.
#[derive(Debug)]
pub struct ObjectWriter(Kind);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum Kind {
    /// With what opens the object that stands there, where it may be sealed.
    Open(anello_storage::ObjectWriter, Option<Box<Known>>),
    Sealed(Box<SealedWriter>),
}

/// A place, and the keys of its container.
type Known = (Arc<ContainerKeys>, ObjectPath);

#[derive(Debug)]
struct SealedWriter {
    inner: anello_storage::ObjectWriter,
    keys: Arc<ContainerKeys>,
    path: ObjectPath,
    key: BodyKey,
    cipher: BodyCipher,
    /// The number of the chunk that is being gathered.
    number: u64,
    gathered: BytesMut,
    /// What is written is a list of parts and not data.
    is_list: bool,
}

impl ObjectWriter {
    /// What is written is not sealed.
    pub(super) fn open(
        inner: anello_storage::ObjectWriter,
        keys: Option<Arc<ContainerKeys>>,
        path: &ObjectPath,
    ) -> Self {
        Self(Kind::Open(inner, keys.map(|keys| Box::new((keys, path.clone())))))
    }

    pub(super) fn sealed(
        inner: anello_storage::ObjectWriter,
        keys: Arc<ContainerKeys>,
        path: &ObjectPath,
    ) -> Result<Self> {
        let key = BodyKey::random()?;
        let (path, cipher, gathered) = (path.clone(), BodyCipher::new(&key), BytesMut::new());
        Ok(Self(Kind::Sealed(Box::new(SealedWriter {
            inner,
            keys,
            path,
            key,
            cipher,
            number: 0,
            gathered,
            is_list: false,
        }))))
    }

    /// Takes the next bytes.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        match &mut self.0 {
            Kind::Open(writer, _) => writer.write(data).await,
            Kind::Sealed(sealed) => Box::pin(sealed.write(data)).await,
        }
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        match &self.0 {
            Kind::Open(writer, _) => writer.written(),
            Kind::Sealed(sealed) => sealed.key.length,
        }
    }

    /// Takes a list of parts, of which the digests are sealed and the rest stays open: whoever deletes parts needs it.
    pub(super) async fn write_list(&mut self, data: &[u8]) -> Result<()> {
        let Kind::Sealed(sealed) = &mut self.0 else { return Err(Error::Message("a list that is not sealed".into())) };
        let list = PartList::decode(data).map_err(|error| Error::Message(error.to_string()))?;
        let digests = seal::seal(&sealed.keys, &sealed.path.object, Purpose::Digests, &[], &list.digests())?;
        sealed.is_list = true;
        sealed.inner.write(list.encode_sealed(&digests)).await
    }

    /// Makes the object durable and visible: see [`anello_storage::ObjectWriter::finish`].
    pub async fn finish(self, head: ObjectHead, condition: &Precondition) -> Result<Written> {
        match self.0 {
            Kind::Open(writer, None) => writer.finish(head, condition).await,
            _ if condition.is_empty() => Box::pin(self.finish_by(Finish::Over(head))).await,
            _ => {
                let mut decide = |current: Option<&ObjectInfo>, _: Timestamp| {
                    condition.holds(current).then(|| head.clone()).ok_or(Error::Precondition)
                };
                Box::pin(self.finish_by(Finish::As(&mut decide))).await
            }
        }
    }

    pub(super) async fn finish_by(self, how: Finish<'_>) -> Result<Written> {
        match self.0 {
            Kind::Open(writer, None) => finish(writer, None, &ObjectPath::new("", "", ""), how, |_| Ok(())).await,
            Kind::Open(writer, Some(known)) => finish(writer, Some(&known.0), &known.1, how, |_| Ok(())).await,
            Kind::Sealed(sealed) => sealed.finish(how).await,
        }
    }
}

impl SealedWriter {
    async fn write(&mut self, mut data: Bytes) -> Result<()> {
        self.key.length += data.len() as u64;
        while self.gathered.len() + data.len() > CHUNK_BYTES {
            let rest = data.split_off(CHUNK_BYTES - self.gathered.len());
            self.gather(&data);
            data = rest;
            self.give(false).await?;
        }
        self.gather(&data);
        Ok(())
    }

    fn gather(&mut self, data: &[u8]) {
        self.gathered.reserve(data.len() + TAG_BYTES);
        self.gathered.extend_from_slice(data);
    }

    /// Gives the chunk on.
    async fn give(&mut self, is_last: bool) -> Result<()> {
        let mut chunk = std::mem::take(&mut self.gathered);
        self.cipher.seal(self.number, is_last, &mut chunk);
        self.number += 1;
        self.inner.write(chunk.freeze()).await
    }

    async fn finish(mut self, how: Finish<'_>) -> Result<Written> {
        if !self.gathered.is_empty() {
            self.give(true).await?;
        }
        let Self { inner, keys, path, key, is_list, .. } = self;
        let body = Some(&key).filter(|_| !is_list);
        let seal = |head: &mut ObjectHead| {
            let size = head.size.unwrap_or(key.length);
            seal::head(&keys, &path, size, body, head)
        };
        finish(inner, Some(&keys), &path, how, seal).await
    }
}

/// Finishes what was given on; `seal` seals its head. What it replaces is opened for who decides by it.
async fn finish(
    inner: anello_storage::ObjectWriter,
    keys: Option<&ContainerKeys>,
    path: &ObjectPath,
    how: Finish<'_>,
    seal: impl Fn(&mut ObjectHead) -> Result<()> + Send + Sync,
) -> Result<Written> {
    match how {
        Finish::Over(mut head) => {
            seal(&mut head)?;
            inner.finish(head, &Precondition::default()).await
        }
        Finish::As(decide) => {
            let decide = |current: Option<&ObjectInfo>, at| {
                let opened = match current {
                    Some(info) if seal::is_sealed(info) => Some(seal::open(keys, path, info.clone())?.info),
                    _ => None,
                };
                let mut head = decide(opened.as_ref().or(current), at)?;
                seal(&mut head)?;
                Ok(head)
            };
            inner.finish_as(decide).await
        }
    }
}
