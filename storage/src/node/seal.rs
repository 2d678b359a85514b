//! Frames between hosts, each with a MAC: what a member of the cluster sends arrives whole and in order, and
//! what anybody else sends is refused. It isn't encrypted; TLS does that where it is wanted.
//!
//! A frame: length and kind (4 bytes little-endian, the kind in the top two bits), MAC (16), payload. The MAC is a
//! keyed BLAKE3 of the frame's number, these four bytes and the payload; its key is made from the cluster's
//! secret, the call's nonce and the direction. So no frame can be cut out, repeated, moved to another call or
//! sent back.

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};

use super::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use super::transport::DataStream;
use crate::error::{Error, Result};

/// Bytes before a frame's payload.
const HEADER_BYTES: usize = 4 + MAC_BYTES;
const MAC_BYTES: usize = 16;
const KIND_SHIFT: u32 = 30;

/// A call's number used once.
pub(super) type Nonce = [u8; 16];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Part of the message; more of it follows.
    Message = 0,
    /// The message's last part.
    MessageEnd = 1,
    Data = 2,
    /// Nothing follows.
    End = 3,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    Call = 0,
    Answer = 1,
}

/// The key by which hosts of one cluster know each other. Secret: no `Debug`.
#[derive(Clone)]
pub(super) struct ClusterKey([u8; 32]);

impl ClusterKey {
    pub(super) fn new(cluster_secret: &[u8]) -> Self {
        Self(blake3::derive_key("anello 2026-11 node traffic v1", cluster_secret))
    }

    fn of(&self, nonce: &Nonce, direction: Direction) -> Mac {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(nonce).update(&[direction as u8]);
        Mac { key: *hasher.finalize().as_bytes(), number: 0 }
    }
}

struct Mac {
    key: [u8; 32],
    /// Of the next frame.
    number: u64,
}

impl Mac {
    fn next(&mut self, head: [u8; 4], payload: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&self.number.to_le_bytes()).update(&head).update(payload);
        self.number += 1;
        hasher.finalize()
    }

    fn seal(&mut self, kind: Kind, payload: Bytes) -> [Bytes; 2] {
        let head = (payload.len() as u32 | (kind as u32) << KIND_SHIFT).to_le_bytes();
        let mut header = BytesMut::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&head);
        header.extend_from_slice(&self.next(head, &payload).as_bytes()[..MAC_BYTES]);
        [header.freeze(), payload]
    }
}

/// The frames of a message and the data behind it. Ends early, so that the receiver notices, where the data do.
pub(super) fn seal(
    key: &ClusterKey,
    nonce: &Nonce,
    direction: Direction,
    message: Bytes,
    data: DataStream,
) -> impl Stream<Item = Result<Bytes>> + Send + Sync + use<> {
    let mut mac = key.of(nonce, direction);
    let mut first = Vec::new();
    let mut rest = message;
    loop {
        let part = rest.split_to(rest.len().min(FRAME_BYTES_MAX));
        let kind = if rest.is_empty() { Kind::MessageEnd } else { Kind::Message };
        first.extend(mac.seal(kind, part));
        if rest.is_empty() {
            break;
        }
    }
    let sealed = futures::stream::unfold(Some((mac, data)), |state| async {
        let (mut mac, mut data) = state?;
        match data.next().await {
            Some(Ok(chunk)) => {
                let frames = pieces(chunk).flat_map(|piece| mac.seal(Kind::Data, piece)).map(Ok).collect::<Vec<_>>();
                Some((frames, Some((mac, data))))
            }
            Some(Err(error)) => Some((vec![Err(error)], None)),
            None => Some((mac.seal(Kind::End, Bytes::new()).map(Ok).to_vec(), None)),
        }
    });
    futures::stream::iter(first.into_iter().map(Ok)).chain(sealed.flat_map(futures::stream::iter))
}

fn pieces(mut chunk: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!chunk.is_empty()).then(|| chunk.split_to(chunk.len().min(FRAME_BYTES_MAX))))
}

/// Takes frames apart as their bytes come.
pub(super) struct Opener<S> {
    mac: Mac,
    source: S,
    buffer: BytesMut,
    ended: bool,
}

impl<S: Stream<Item = Result<Bytes>> + Unpin> Opener<S> {
    pub(super) fn new(key: &ClusterKey, nonce: &Nonce, direction: Direction, source: S) -> Self {
        Self { mac: key.of(nonce, direction), source, buffer: BytesMut::new(), ended: false }
    }

    /// The message; the data behind it come from [`Opener::data`].
    pub(super) async fn message(&mut self) -> Result<Bytes> {
        let mut message = BytesMut::new();
        loop {
            match self.frame().await? {
                (Kind::MessageEnd, part) if message.is_empty() => return Ok(part),
                (kind @ (Kind::Message | Kind::MessageEnd), part) => {
                    if message.len() + part.len() > MESSAGE_BYTES_MAX {
                        return Err(broken("a message is too long"));
                    }
                    message.extend_from_slice(&part);
                    if kind == Kind::MessageEnd {
                        return Ok(message.freeze());
                    }
                }
                (Kind::Data | Kind::End, _) => return Err(broken("data came before the message")),
            }
        }
    }

    /// The next data; `None` at their end.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        match self.frame().await? {
            (Kind::Data, data) => Ok(Some(data)),
            (Kind::End, _) => {
                self.ended = true;
                Ok(None)
            }
            (Kind::Message | Kind::MessageEnd, _) => Err(broken("a second message came")),
        }
    }

    async fn frame(&mut self) -> Result<(Kind, Bytes)> {
        self.fill(HEADER_BYTES).await?;
        let mut head = [0; 4];
        head.copy_from_slice(&self.buffer[..4]);
        let word = u32::from_le_bytes(head);
        let kind = match word >> KIND_SHIFT {
            0 => Kind::Message,
            1 => Kind::MessageEnd,
            2 => Kind::Data,
            _ => Kind::End,
        };
        let length = (word & ((1 << KIND_SHIFT) - 1)) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(broken("a frame is too long"));
        }
        self.fill(HEADER_BYTES + length).await?;
        let header = self.buffer.split_to(HEADER_BYTES);
        let payload = self.buffer.split_to(length).freeze();
        let expected = self.mac.next(head, &payload);
        // Compared in constant time: `blake3::Hash` does, of whole hashes.
        let mut found = *expected.as_bytes();
        found[..MAC_BYTES].copy_from_slice(&header[4..]);
        if expected != blake3::Hash::from_bytes(found) {
            return Err(broken("a frame's MAC is wrong"));
        }
        Ok((kind, payload))
    }

    async fn fill(&mut self, wanted: usize) -> Result<()> {
        while self.buffer.len() < wanted {
            match self.source.next().await {
                Some(chunk) => {
                    let chunk = chunk?;
                    if self.buffer.is_empty() && chunk.len() >= wanted {
                        // The usual case: no copy.
                        self.buffer = chunk.try_into_mut().unwrap_or_else(|chunk| BytesMut::from(&chunk[..]));
                    } else {
                        self.buffer.extend_from_slice(chunk.chunk());
                    }
                }
                None => return Err(broken("it was cut off")),
            }
        }
        Ok(())
    }
}

fn broken(what: &'static str) -> Error {
    Error::Message(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::transport::nothing;
    use super::*;

    const NONCE: Nonce = [7; 16];

    fn key() -> ClusterKey {
        ClusterKey::new(b"secret")
    }

    async fn sealed(message: &'static [u8], data: Vec<&'static [u8]>) -> Vec<u8> {
        let data = Box::pin(futures::stream::iter(data.into_iter().map(|chunk| Ok(Bytes::from_static(chunk)))));
        let frames = seal(&key(), &NONCE, Direction::Call, Bytes::from_static(message), data);
        frames.map(|frame| frame.expect("sealed").to_vec()).concat().await
    }

    async fn open(key: &ClusterKey, nonce: &Nonce, direction: Direction, bytes: &[u8]) -> Result<(Bytes, Vec<u8>)> {
        // In pieces that end in the middle of everything.
        let pieces: Vec<_> = bytes.chunks(13).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut opener = Opener::new(key, nonce, direction, futures::stream::iter(pieces));
        let message = opener.message().await?;
        let mut all = Vec::new();
        while let Some(data) = opener.data().await? {
            all.extend_from_slice(&data);
        }
        Ok((message, all))
    }

    #[tokio::test]
    async fn what_was_sealed_comes_out() {
        let bytes = sealed(b"hello", vec![b"one", b"", b"two"]).await;
        let (message, data) = open(&key(), &NONCE, Direction::Call, &bytes).await.expect("opens");
        assert_eq!((&message[..], &data[..]), (&b"hello"[..], &b"onetwo"[..]));
    }

    #[tokio::test]
    async fn a_long_message_takes_several_frames() {
        let message = Bytes::from(vec![5; FRAME_BYTES_MAX * 2 + 1]);
        let frames: Vec<_> = seal(&key(), &NONCE, Direction::Answer, message.clone(), nothing()).collect().await;
        let mut opener = Opener::new(&key(), &NONCE, Direction::Answer, futures::stream::iter(frames));
        assert_eq!(opener.message().await.expect("opens"), message);
        assert_eq!(opener.data().await.expect("ends"), None);
    }

    #[tokio::test]
    async fn whatever_is_changed_cut_or_meant_for_another_call_is_refused() {
        let bytes = sealed(b"hello", vec![b"one"]).await;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(open(&key(), &NONCE, Direction::Call, &flipped).await.is_err(), "byte {at}");
            assert!(open(&key(), &NONCE, Direction::Call, &bytes[..at]).await.is_err(), "cut at {at}");
        }
        assert!(open(&ClusterKey::new(b"other"), &NONCE, Direction::Call, &bytes).await.is_err());
        assert!(open(&key(), &[8; 16], Direction::Call, &bytes).await.is_err());
        assert!(open(&key(), &NONCE, Direction::Answer, &bytes).await.is_err());
    }

    #[tokio::test]
    async fn data_that_fail_at_their_source_do_not_look_complete() {
        let data: DataStream = Box::pin(futures::stream::iter([Ok(Bytes::from_static(b"one")), Err(Error::Stopped)]));
        let frames: Vec<_> = seal(&key(), &NONCE, Direction::Call, Bytes::from_static(b"m"), data).collect().await;
        let mut opener = Opener::new(&key(), &NONCE, Direction::Call, futures::stream::iter(frames));
        opener.message().await.expect("message");
        opener.data().await.expect("first");
        assert!(opener.data().await.is_err());
    }
}
