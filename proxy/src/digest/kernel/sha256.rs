//! The SHA-256 block function (FIPS 180-4): by `sha2`, or for two streams at a time by the processor's own
//! instructions, which then need not wait for each other's results.

use sha2::block_api::compress256;

use super::{Block, last_blocks};

/// The chaining value between two blocks.
pub(super) type State = [u32; 8];

/// The chaining value before the first block.
pub(super) const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Takes whole blocks of a single stream into its state.
pub(super) fn one(state: &mut State, blocks: &[Block]) {
    compress256(state, blocks);
}

/// Takes as many blocks of each of two streams into their states.
pub(super) fn two(first: &mut State, firsts: &[Block], second: &mut State, seconds: &[Block]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(instructions) = super::sha_ni::Instructions::here() {
        return instructions.two(first, firsts, second, seconds);
    }
    one(first, firsts);
    one(second, seconds);
}

/// The digest of a stream of `length` bytes whose whole blocks are in `state` and whose last, unfinished
/// block is `tail`.
pub(super) fn digest(mut state: State, length: u64, tail: &[u8]) -> [u8; 32] {
    let (last, used) = last_blocks(tail, length.wrapping_mul(8).to_be_bytes());
    one(&mut state, &last[..used]);
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}
