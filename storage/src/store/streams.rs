//! An object's data on their way to the devices that keep them.

use bytes::{Bytes, BytesMut};
use futures::future::join_all;

use super::placement::{Placement, Slot};
use crate::error::{Error, Result};
use crate::majority::majority;
use crate::mutation::Body;
use crate::node::{Stored, Upload};

/// One device's stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// The primary.
    pub(super) slot: Slot,
    pub(super) upload: Result<Upload>,
}

/// What each device's record says of the data.
pub(super) enum Bodies {
    Inline(Bytes),
    /// Each device has its own.
    Several(Vec<(Slot, Bytes)>),
    Streamed(Vec<(Slot, Result<Stored>)>),
}

impl Bodies {
    /// The body, or the number under which a device on another host has it.
    pub(super) fn of(&self, slot: Slot, length: u64) -> Result<(Body, Option<u64>)> {
        match self {
            Self::Inline(data) => Ok((Body::Inline(data.clone()), None)),
            Self::Several(bodies) => {
                let found = bodies.iter().find(|(at, _)| *at == slot).ok_or(Error::Stopped)?;
                Ok((Body::Inline(found.1.clone()), None))
            }
            Self::Streamed(bodies) => {
                let found = bodies.iter().find(|(at, _)| *at == slot);
                match found.map_or(Err(Error::Stopped), |(_, stored)| stored.clone())? {
                    Stored::Here(body) => Ok((body, None)),
                    Stored::There(upload) => Ok((Body::Absent(length), Some(upload))),
                }
            }
        }
    }

    /// Frees extents that no record is going to name.
    pub(super) fn discard(&self, placement: &Placement) {
        let Self::Streamed(bodies) = self else { return };
        for (slot, stored) in bodies {
            if let Ok(stored) = stored {
                placement.node(*slot).discard(stored);
            }
        }
    }

    /// What the devices say that they have.
    pub(super) async fn of_streams(streams: Vec<Stream>) -> Self {
        let finished = streams.into_iter().map(|stream| async move {
            let stored = match stream.upload {
                Ok(upload) => upload.finish().await,
                Err(error) => Err(error),
            };
            (stream.slot, stored)
        });
        Self::Streamed(join_all(finished).await)
    }
}

/// A body of one chunk, the usual case, is not copied.
pub(super) fn join(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 {
        return chunks.swap_remove(0);
    }
    let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| joined.extend_from_slice(chunk));
    joined.freeze()
}

/// Writes to every device that has not failed; one that fails now is left out from here on.
/// Each set needs a majority of its devices, or `at_least` so many.
pub(super) async fn write_to_all(
    streams: &mut [Stream],
    sets: &[Vec<Slot>],
    at_least: usize,
    data: impl Fn(Slot) -> Bytes,
) -> Result<()> {
    let data = &data;
    join_all(streams.iter_mut().map(|stream| async {
        if let Ok(upload) = &mut stream.upload
            && let Err(error) = upload.write(data(stream.slot)).await
        {
            stream.upload = Err(error);
        }
    }))
    .await;
    let Some(cause) = streams.iter().find_map(|stream| stream.upload.as_ref().err()) else { return Ok(()) };
    for set in sets {
        let of_set = streams.iter().filter(|stream| set.contains(&stream.slot));
        let (done, wanted) = (of_set.filter(|stream| stream.upload.is_ok()).count(), majority(set.len()).max(at_least));
        if done < wanted {
            return Err(Error::NoQuorum { done, wanted, cause: Box::new(cause.clone()) });
        }
    }
    Ok(())
}
