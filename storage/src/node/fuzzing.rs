//! What hosts say to each other.

use std::fmt::Debug;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::{self, Answer, Envelope, Reply};
use super::seal::{ClusterKey, Direction, Opener, seal};
use super::transport::nothing;
use crate::cluster::ClusterMap;
use crate::error::Result;

/// What is read is written again as the same.
fn same<T: Debug + Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let read: T = message::decode(bytes).ok()?;
    let Ok(written) = message::encode(&read) else { return Some(read) };
    let again: T = message::decode(&written).expect("it was written");
    assert_eq!(message::encode(&again).expect("it fitted"), written, "{read:?}");
    Some(read)
}

pub(crate) fn call(bytes: &[u8]) {
    same::<Envelope>(bytes);
}

pub(crate) fn reply(bytes: &[u8]) {
    let Some(reply) = same::<Reply>(bytes) else { return };
    match reply.answer {
        Ok(Answer::Map(Some(bytes))) => map(&bytes),
        Ok(_) => {}
        Err(fault) => drop(fault.at("h1")),
    }
}

/// A map that is taken has rings that can be asked, or is refused.
pub(crate) fn map(bytes: &[u8]) {
    let Ok(map) = ClusterMap::decode(bytes) else { return };
    let written = map.encode().expect("it was read");
    assert_eq!(ClusterMap::decode(&written).expect("it was written"), map);
    let _ = (map.rings(), map.next_rings(), map.replicas_on(&["d1".to_owned()]));
}

/// Nothing comes out of frames but what was sealed: strangers' bytes give nothing, and a sealed message that is changed
/// is whole or refused.
pub(crate) fn frames(bytes: &[u8]) {
    let (key, nonce) = (ClusterKey::new(b"secret"), [7; 16]);
    assert!(opened(&key, bytes, 13).is_err(), "a stranger's frame was taken");
    let [place, change, message @ ..] = bytes else { return };
    let message = Bytes::copy_from_slice(message);
    let frames = seal(&key, &nonce, Direction::Call, message.clone(), nothing());
    let frames: Vec<Result<Bytes>> = futures::executor::block_on(futures::StreamExt::collect(frames));
    let mut sealed = frames.into_iter().map(|frame| frame.expect("it is sealed")).collect::<Vec<_>>().concat();
    assert_eq!(opened(&key, &sealed, 1 + usize::from(*place)).expect("it is whole"), message);
    let place = usize::from(*place) % sealed.len();
    sealed[place] ^= change;
    assert_eq!(opened(&key, &sealed, 13).is_ok(), *change == 0, "byte {place}");
}

fn opened(key: &ClusterKey, bytes: &[u8], piece: usize) -> Result<Bytes> {
    let pieces = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let mut opener = Opener::new(key, &[7; 16], Direction::Call, futures::stream::iter(pieces));
    futures::executor::block_on(async {
        let message = opener.message().await?;
        while opener.data().await?.is_some() {}
        Ok(message)
    })
}
