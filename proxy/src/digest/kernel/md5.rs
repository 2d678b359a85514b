//! The MD5 block function (RFC 1321) over several streams in lock step: one vector lane per stream.
//!
//! Written once over the vector width; the caller picks the narrowest that holds its streams. Which
//! instructions carry it (AVX-512, AVX2, SSE, NEON) is decided when the process runs, not when it is
//! built. A single stream goes through the scalar block function, whose hand-ordered steps beat one lane.
//!
//! Invariant: lanes never mix. A lane without a stream of its own repeats another lane's blocks, and its
//! state is thrown away, so that no step has to ask which lanes are in use.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u32x4, u32x8, u32x16};

use super::{Block, LANES, last_blocks};

/// The chaining value between two blocks.
pub(in crate::digest) type State = [u32; 4];

/// The chaining value before the first block.
pub(super) const INITIAL: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// A block function over `L` streams.
pub(in crate::digest) type Kernel<const L: usize> = fn(Level, &mut [State; L], &[&[Block]; L], usize);

const _: () = assert!(LANES == 16, "`sixteen` takes every lane");
const _: () = assert!(cfg!(target_endian = "little"), "message words are read as the machine's own");

/// The sine table: `floor(2^32 * abs(sin(step + 1)))`.
#[rustfmt::skip]
pub(super) const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// The rotation of each step within a quad, per round.
pub(super) const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The message word of a step.
pub(super) const fn word_of(step: usize) -> usize {
    match step / 16 {
        0 => step % 16,
        1 => (5 * step + 1) % 16,
        2 => (3 * step + 5) % 16,
        _ => (7 * step) % 16,
    }
}

#[inline(always)]
fn rotate<S: Simd, V: SimdInt<S, Element = u32>>(value: V, bits: u32) -> V {
    (value << bits) | (value >> (32 - bits))
}

#[inline(always)]
fn mix<S: Simd, V: SimdInt<S, Element = u32>>(round: usize, x: V, y: V, z: V) -> V {
    match round {
        0 => z ^ (x & (y ^ z)),
        1 => y ^ (z & (x ^ y)),
        2 => x ^ y ^ z,
        _ => y ^ (x | !z),
    }
}

/// Steps `first..first + 4`, which write a, d, c, b in this order.
#[inline(always)]
fn quad<S: Simd, V: SimdInt<S, Element = u32>>(first: usize, state: [V; 4], words: &[V; 16]) -> [V; 4] {
    let round = first / 16;
    let shift = SHIFTS[round];
    let input = |step: usize| words[word_of(step)] + SINES[step];
    let [mut a, mut b, mut c, mut d] = state;
    a = b + rotate(a + input(first) + mix(round, b, c, d), shift[0]);
    d = a + rotate(d + input(first + 1) + mix(round, a, b, c), shift[1]);
    c = d + rotate(c + input(first + 2) + mix(round, d, a, b), shift[2]);
    b = c + rotate(b + input(first + 3) + mix(round, c, d, a), shift[3]);
    [a, b, c, d]
}

#[inline(always)]
fn compress<S: Simd, V: SimdInt<S, Element = u32>>(start: [V; 4], words: &[V; 16]) -> [V; 4] {
    let mut state = start;
    state = quad(0, state, words);
    state = quad(4, state, words);
    state = quad(8, state, words);
    state = quad(12, state, words);
    state = quad(16, state, words);
    state = quad(20, state, words);
    state = quad(24, state, words);
    state = quad(28, state, words);
    state = quad(32, state, words);
    state = quad(36, state, words);
    state = quad(40, state, words);
    state = quad(44, state, words);
    state = quad(48, state, words);
    state = quad(52, state, words);
    state = quad(56, state, words);
    state = quad(60, state, words);
    [start[0] + state[0], start[1] + state[1], start[2] + state[2], start[3] + state[3]]
}

/// The sixteen message words of each lane's block, word by word instead of block by block.
///
/// `L` rows of `L` words are transposed by log2 `L` perfect shuffles: each stage interleaves a row of the
/// upper half with its fellow of the lower one, which rotates the bits of (row, column) by one.
#[inline(always)]
fn gather<S: Simd, V: SimdInt<S, Element = u32>, const L: usize>(
    simd: S,
    blocks: &[&[Block]; L],
    at: usize,
) -> [V; 16] {
    let mut words = [V::splat(simd, 0); 16];
    for part in 0..16 / L {
        let mut rows = [V::splat(simd, 0); L];
        for lane in 0..L {
            let bytes = &blocks[lane][at][part * 4 * L..(part + 1) * 4 * L];
            rows[lane] = V::ByteVector::from_slice(simd, bytes).bitcast();
        }
        let mut width = 1;
        while width < L {
            let from = rows;
            for pair in 0..L / 2 {
                rows[2 * pair] = from[pair].zip_low(from[pair + L / 2]);
                rows[2 * pair + 1] = from[pair].zip_high(from[pair + L / 2]);
            }
            width *= 2;
        }
        words[part * L..(part + 1) * L].copy_from_slice(&rows);
    }
    words
}

#[inline(always)]
fn run<S: Simd, V: SimdInt<S, Element = u32>, const L: usize>(
    simd: S,
    states: &mut [State; L],
    blocks: &[&[Block]; L],
    count: usize,
) {
    let blocks: [&[Block]; L] = blocks.map(|lane| &lane[..count]);
    let mut vectors = [V::splat(simd, 0); 4];
    for part in 0..4 {
        for lane in 0..L {
            vectors[part][lane] = states[lane][part];
        }
    }
    for at in 0..count {
        let words = gather::<S, V, L>(simd, &blocks, at);
        vectors = compress(vectors, &words);
    }
    for part in 0..4 {
        for lane in 0..L {
            states[lane][part] = vectors[part][lane];
        }
    }
}

/// Takes the first `count` blocks of every lane into the lanes' states, four streams at once.
pub(in crate::digest) fn four(level: Level, states: &mut [State; 4], blocks: &[&[Block]; 4], count: usize) {
    dispatch!(level, simd => run::<_, u32x4<_>, 4>(simd, states, blocks, count));
}

/// As [`four`], eight streams at once.
pub(in crate::digest) fn eight(level: Level, states: &mut [State; 8], blocks: &[&[Block]; 8], count: usize) {
    dispatch!(level, simd => run::<_, u32x8<_>, 8>(simd, states, blocks, count));
}

/// As [`four`], sixteen streams at once.
pub(in crate::digest) fn sixteen(level: Level, states: &mut [State; 16], blocks: &[&[Block]; 16], count: usize) {
    dispatch!(level, simd => run::<_, u32x16<_>, 16>(simd, states, blocks, count));
}

/// Takes whole blocks of a single stream into its state.
pub(super) fn one(state: &mut State, blocks: &[Block]) {
    md5_simd::hazmat::compress_blocks(state, blocks.as_flattened());
}

/// The digest of a stream of `length` bytes whose whole blocks are in `state` and whose last, unfinished
/// block is `tail` (fewer than [`BLOCK_BYTES`]).
pub(super) fn digest(mut state: State, length: u64, tail: &[u8]) -> [u8; 16] {
    let (last, used) = last_blocks(tail, length.wrapping_mul(8).to_le_bytes());
    one(&mut state, &last[..used]);
    let mut digest = [0; 16];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_le_bytes();
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every instruction set that this machine has, not only the best.
    fn levels() -> Vec<Level> {
        let best = Level::new();
        let mut levels = vec![best, Level::baseline()];
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(best.as_avx2().map(Simd::level));
            levels.extend(best.as_sse4_2().map(Simd::level));
        }
        levels
    }

    fn check<const L: usize>(kernel: Kernel<L>) {
        let streams: [Vec<Block>; L] = std::array::from_fn(|lane| {
            (0..7u8)
                .map(|at| std::array::from_fn(|byte| (byte as u8).wrapping_mul(31) ^ (lane as u8 * 8 + at)))
                .collect()
        });
        let expected = streams.each_ref().map(|blocks| {
            let mut state = INITIAL;
            one(&mut state, blocks);
            state
        });
        for level in levels() {
            let mut states = [INITIAL; L];
            kernel(level, &mut states, &streams.each_ref().map(|blocks| &blocks[..3]), 3);
            kernel(level, &mut states, &streams.each_ref().map(|blocks| &blocks[3..]), 4);
            assert_eq!(states, expected, "{level:?}, {L} lanes");
        }
    }

    #[test]
    fn every_width_on_every_instruction_set_agrees_with_the_scalar_block_function() {
        check(four);
        check(eight);
        check(sixteen);
    }
}
