//! The digests of an upload, computed while it streams: its MD5 (its entity tag), and where the client has
//! signed it, its SHA-256.
//!
//! Neither can be spread over a vector within one stream, so they are the dearest part of a large upload: two
//! CPU seconds per GiB if they were computed one after the other. But MD5s of several streams can go side by
//! side in the lanes of one vector, sixteen of them for little more than one, and SHA-256s by twos. Hence: a
//! small body is hashed where it is received, both digests at once; a large one gathers its pieces (by
//! reference) and hands them to a thread, which hashes those of all uploads in lock step, while their next
//! pieces are received and written.
//!
//! - [`kernel`]: the block functions. [`work`]: whole blocks out of pieces. [`lanes`]: jobs in lock step.
//!   [`hasher`]: the thread, its queue, its patience. [`crowd`]: who else is uploading.
//! - Invariant: at most one job of an upload is in flight, so that its parts are hashed in order.
//! - Memory of one upload: twice [`limits::JOB_BYTES`] (alone: [`limits::LONE_JOB_BYTES`]) and two frames of
//!   its body, by reference.
//! - Left out on purpose: hashing one stream faster than one core does. There is no way.

mod crowd;
mod hasher;
mod kernel;
mod lanes;
mod limits;
mod work;

use bytes::Bytes;
use tokio::sync::oneshot;

use hasher::Hasher;
use kernel::{BLOCK_BYTES, State};
use limits::{GATHERED_PIECES, JOB_BYTES, JOB_MIN_BYTES, LONE_JOB_BYTES, SMALL_BYTES};
use work::Pieces;

/// What a [`Digester`] has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// RFC 1321.
    pub md5: [u8; 16],
    /// FIPS 180-4, where it was wanted.
    pub sha256: Option<[u8; 32]>,
}

/// Digests of a stream. Dropped before its end, it leaves nothing behind but at most one job, which is
/// dropped when its turn comes.
#[derive(Debug)]
pub struct Digester {
    /// The state after all blocks that were taken out of `gathered`, but for those in flight.
    state: State,
    /// Bytes taken in all.
    length: u64,
    /// What is neither hashed nor in flight.
    gathered: Pieces,
    /// The job that the hashing thread has. Its answer is the next `state`.
    flight: Option<oneshot::Receiver<State>>,
    /// Held from the moment on at which the upload is known to be large.
    large: Option<Large>,
}

impl Digester {
    /// Finds the MD5, and `with_sha256` both.
    pub fn new(with_sha256: bool) -> Self {
        let state = State::new(with_sha256);
        Self { state, length: 0, gathered: Pieces::default(), flight: None, large: None }
    }

    /// Takes the next bytes in order. Waits while the hashing is behind, so that memory stays bounded.
    ///
    /// If it is dropped half-way the bytes are taken, and the digest goes on as if it had returned.
    pub async fn update(&mut self, data: Bytes) {
        self.length += data.len() as u64;
        self.gathered.push(data);
        if self.length > SMALL_BYTES as u64 && self.large.is_none() {
            self.large = Some(Large::enter());
        }
        let full = self.gathered.bytes() >= self.job_bytes() || self.gathered.count() >= GATHERED_PIECES;
        if full {
            self.land().await;
            self.advance(self.hasher());
        }
    }

    /// The digests of everything taken.
    pub async fn finish(mut self) -> Digests {
        self.land().await;
        // Nothing is left to do meanwhile, so that only company is worth the change of threads.
        self.advance(self.hasher().filter(|hasher| hasher.is_crowded()));
        self.land().await;
        let mut tail = [0; BLOCK_BYTES];
        let length = self.gathered.copy_tail(&mut tail);
        self.state.finish(self.length, &tail[..length])
    }

    /// Waits for the job in flight. If dropped, the job is still in flight.
    async fn land(&mut self) {
        if let Some(flight) = &mut self.flight {
            self.state = flight.await.expect("the hashing thread never ends and answers every job");
            self.flight = None;
        }
    }

    /// Sends what is gathered into flight to `hasher`, or hashes it here where there is too little of it.
    /// Nothing may be in flight.
    fn advance(&mut self, hasher: Option<&'static Hasher>) {
        match hasher {
            Some(hasher) if self.gathered.bytes() >= JOB_MIN_BYTES => {
                self.flight = Some(hasher.submit(self.state, self.gathered.take_blocks()));
            }
            _ => self.hash_here(),
        }
    }

    /// Hashes what is gathered, but for an unfinished block. Nothing may be in flight.
    fn hash_here(&mut self) {
        assert!(self.flight.is_none(), "the parts of an upload are hashed in order");
        lanes::hash(&mut self.state, &mut self.gathered.take_blocks());
    }

    /// How much to gather. An upload that has the thread to itself waits for it after every job, and takes
    /// larger ones the longer it is.
    fn job_bytes(&self) -> usize {
        match self.hasher() {
            Some(hasher) if !hasher.is_crowded() => (self.length as usize / 8).clamp(JOB_BYTES, LONE_JOB_BYTES),
            _ => JOB_BYTES,
        }
    }

    /// The hashing thread, if this upload is large.
    fn hasher(&self) -> Option<&'static Hasher> {
        self.large.as_ref().and_then(|large| large.hasher)
    }
}

/// A large upload's place in the crowd.
#[derive(Debug)]
struct Large {
    hasher: Option<&'static Hasher>,
}

impl Large {
    fn enter() -> Self {
        let hasher = Hasher::shared();
        if let Some(hasher) = hasher {
            hasher.crowd().enter();
        }
        Self { hasher }
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        if let Some(hasher) = self.hasher {
            hasher.crowd().leave();
        }
    }
}

#[cfg(test)]
mod tests;
