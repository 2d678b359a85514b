//! The block functions. Each takes whole blocks of one or more streams into their states and knows nothing
//! of where the bytes come from.

pub(super) mod md5;
mod sha256;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

use super::Digests;

/// Bytes of a block, of both digests.
pub(super) const BLOCK_BYTES: usize = 64;

/// What a block function takes at a time.
pub(super) type Block = [u8; BLOCK_BYTES];

/// Streams that are hashed side by side.
pub(super) const LANES: usize = 16;

/// The chaining values of a stream between two blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) md5: md5::State,
    /// Where it is wanted.
    pub(super) sha256: Option<sha256::State>,
}

impl State {
    /// Before the first block.
    pub(super) fn new(with_sha256: bool) -> Self {
        Self { md5: md5::INITIAL, sha256: with_sha256.then_some(sha256::INITIAL) }
    }

    /// Takes whole blocks of a single stream.
    pub(super) fn take(&mut self, blocks: &[Block]) {
        match &mut self.sha256 {
            #[cfg(target_arch = "x86_64")]
            Some(sha256) if let Some(instructions) = sha_ni::Instructions::here() => {
                instructions.with_md5(&mut self.md5, sha256, blocks);
            }
            Some(sha256) => {
                md5::one(&mut self.md5, blocks);
                sha256::one(sha256, blocks);
            }
            None => md5::one(&mut self.md5, blocks),
        }
    }

    /// The digests of a stream of `length` bytes whose last, unfinished block is `tail`.
    pub(super) fn finish(self, length: u64, tail: &[u8]) -> Digests {
        Digests {
            md5: md5::digest(self.md5, length, tail),
            sha256: self.sha256.map(|state| sha256::digest(state, length, tail)),
        }
    }
}

/// Takes as many blocks of each stream into its SHA-256, where one is wanted.
pub(super) fn sha256_of_each<'a>(streams: impl Iterator<Item = (&'a mut State, &'a [Block])>) {
    let mut wanted = streams.filter_map(|(state, blocks)| Some((state.sha256.as_mut()?, blocks)));
    while let Some((state, blocks)) = wanted.next() {
        match wanted.next() {
            Some((other, others)) => sha256::two(state, blocks, other, others),
            None => sha256::one(state, blocks),
        }
    }
}

/// The padding after a stream: one or two blocks that hold `tail`, a mark, and the length in bits.
fn last_blocks(tail: &[u8], length: [u8; 8]) -> ([Block; 2], usize) {
    const LENGTH_AT: usize = BLOCK_BYTES - size_of::<u64>();
    let mut last = [[0; BLOCK_BYTES]; 2];
    last[0][..tail.len()].copy_from_slice(tail);
    last[0][tail.len()] = 0x80;
    let used = if tail.len() < LENGTH_AT { 1 } else { 2 };
    last[used - 1][LENGTH_AT..].copy_from_slice(&length);
    (last, used)
}
