//! SHA-256 by the instructions that most x86-64 processors have for it.
//!
//! Each of them waits for the one before, so that a single stream leaves the processor idle for more than
//! half of the time. [`Instructions::two`] fills it with a second stream, and [`Instructions::with_md5`] with
//! the MD5 of the same one, whose steps are a chain, too, but of other instructions: MD5 takes no longer, and
//! SHA-256 costs nothing beside it.
//!
//! Loops, not closures: the compiler does not reliably put a closure that uses these instructions into a
//! library function that knows nothing of them, and then calls it for every block.

#![expect(unsafe_code, reason = "what not every processor has is called behind a look at what this one has")]

use std::arch::{asm, x86_64::*};

use super::md5::{self, SHIFTS, SINES, word_of};
use super::{Block, sha256};

/// The round constants, by fours.
#[rustfmt::skip]
const CONSTANTS: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5], [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3], [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc], [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7], [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13], [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3], [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5], [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208], [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// Proof that this processor has the instructions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instructions(());

impl Instructions {
    /// If it has them.
    pub(super) fn here() -> Option<Self> {
        let has_all = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("avx")
            && is_x86_feature_detected!("bmi1");
        has_all.then_some(Self(()))
    }

    /// Takes as many blocks of each of two streams into their SHA-256.
    pub(super) fn two(
        self,
        first: &mut sha256::State,
        firsts: &[Block],
        second: &mut sha256::State,
        seconds: &[Block],
    ) {
        // SAFETY: `here` has found everything that the function wants.
        unsafe { two(first, firsts, second, seconds) }
    }

    /// Takes blocks of one stream into its MD5 and its SHA-256.
    pub(super) fn with_md5(self, md5: &mut md5::State, sha256: &mut sha256::State, blocks: &[Block]) {
        // SAFETY: as above.
        unsafe { with_md5(md5, sha256, blocks) }
    }
}

/// Calls `$do!(group)` for the sixteen groups of four rounds. The groups are written out, since the words must
/// stay in registers.
macro_rules! for_each_group {
    ($do:ident) => {
        $do!(0);
        $do!(1);
        $do!(2);
        $do!(3);
        $do!(4);
        $do!(5);
        $do!(6);
        $do!(7);
        $do!(8);
        $do!(9);
        $do!(10);
        $do!(11);
        $do!(12);
        $do!(13);
        $do!(14);
        $do!(15);
    };
}

#[target_feature(enable = "sha,sse4.1,ssse3,avx,bmi1")]
fn two(first: &mut sha256::State, firsts: &[Block], second: &mut sha256::State, seconds: &[Block]) {
    let (mut one, mut other) = (Stream::load(first), Stream::load(second));
    for (block, others) in firsts.iter().zip(seconds) {
        let before = (one, other);
        let (mut words, mut other_words) = (words(block), words(others));
        macro_rules! group {
            ($group:literal) => {
                one.rounds::<$group>(&mut words);
                other.rounds::<$group>(&mut other_words);
            };
        }
        for_each_group!(group);
        one.add(before.0);
        other.add(before.1);
    }
    one.store(first);
    other.store(second);
}

#[target_feature(enable = "sha,sse4.1,ssse3,avx,bmi1")]
fn with_md5(md5: &mut md5::State, sha256: &mut sha256::State, blocks: &[Block]) {
    let mut stream = Stream::load(sha256);
    for block in blocks {
        let before = stream;
        let mut words = words(block);
        let mut plain = [0; 16];
        for (word, bytes) in plain.iter_mut().zip(block.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let mut state = *md5;
        macro_rules! group {
            ($group:literal) => {
                stream.rounds::<$group>(&mut words);
                state = md5_quad::<$group>(state, &plain);
            };
        }
        for_each_group!(group);
        stream.add(before);
        for (before, after) in md5.iter_mut().zip(state) {
            *before = before.wrapping_add(after);
        }
    }
    stream.store(sha256);
}

/// A state as the instructions want it: the eight words, crosswise.
#[derive(Clone, Copy)]
struct Stream {
    abef: __m128i,
    cdgh: __m128i,
}

impl Stream {
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3,avx")]
    fn load(state: &sha256::State) -> Self {
        let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
        Self { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3,avx")]
    fn store(self, state: &mut sha256::State) {
        let Self { abef, cdgh } = self;
        let words = [
            _mm_extract_epi32(abef, 3),
            _mm_extract_epi32(abef, 2),
            _mm_extract_epi32(cdgh, 3),
            _mm_extract_epi32(cdgh, 2),
            _mm_extract_epi32(abef, 1),
            _mm_extract_epi32(abef, 0),
            _mm_extract_epi32(cdgh, 1),
            _mm_extract_epi32(cdgh, 0),
        ];
        *state = words.map(i32::cast_unsigned);
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3,avx")]
    fn add(&mut self, before: Self) {
        self.abef = _mm_add_epi32(self.abef, before.abef);
        self.cdgh = _mm_add_epi32(self.cdgh, before.cdgh);
    }

    /// Four rounds, behind the words that they take, from the fourth group on.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3,avx")]
    fn rounds<const GROUP: usize>(&mut self, words: &mut [__m128i; 4]) {
        let [now, next, after, last] = [GROUP % 4, (GROUP + 1) % 4, (GROUP + 2) % 4, (GROUP + 3) % 4];
        if GROUP >= 4 {
            let sum = _mm_sha256msg1_epu32(words[now], words[next]);
            let sum = _mm_add_epi32(sum, _mm_alignr_epi8(words[last], words[after], 4));
            words[now] = _mm_sha256msg2_epu32(sum, words[last]);
        }
        let [k0, k1, k2, k3] = CONSTANTS[GROUP].map(u32::cast_signed);
        let input = _mm_add_epi32(words[now], _mm_set_epi32(k3, k2, k1, k0));
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, input);
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32(input, 0b1110));
    }
}

/// A block's sixteen words by fours. (Reading each as a number and joining them would take thrice as long as
/// hashing them.)
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,avx")]
fn words(block: &Block) -> [__m128i; 4] {
    let reversed = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    let mut words = [reversed; 4];
    for (words, bytes) in words.iter_mut().zip(block.as_chunks().0) {
        let four = u128::from_le_bytes(*bytes);
        *words = _mm_shuffle_epi8(_mm_set_epi64x((four >> 64) as i64, four as i64), reversed);
    }
    words
}

/// Steps `4 * GROUP..4 * GROUP + 4` of MD5, which write a, d, c, b in this order.
#[inline]
#[target_feature(enable = "bmi1")]
fn md5_quad<const GROUP: usize>(state: md5::State, words: &[u32; 16]) -> md5::State {
    let round = GROUP / 4;
    let step = |of: usize, a: u32, b: u32, c: u32, d: u32| {
        let step = 4 * GROUP + of;
        let sum = fixed(a.wrapping_add(words[word_of(step)]).wrapping_add(SINES[step]));
        let mixed = match round {
            0 => sum.wrapping_add(d ^ (b & (c ^ d))),
            // The parts have no bit in common, so that they may be added one after the other, which takes
            // the word that is ready last in two steps instead of three.
            1 => fixed(sum.wrapping_add(c & !d)).wrapping_add(b & d),
            2 => sum.wrapping_add(b ^ (c ^ d)),
            _ => sum.wrapping_add(c ^ (b | !d)),
        };
        mixed.rotate_left(SHIFTS[round][of]).wrapping_add(b)
    };
    let [mut a, mut b, mut c, mut d] = state;
    a = step(0, a, b, c, d);
    d = step(1, d, a, b, c);
    c = step(2, c, d, a, b);
    b = step(3, b, c, d, a);
    [a, b, c, d]
}

/// The same value, behind which the compiler does not look: it would add up in another order and make every
/// step wait for one instruction more.
#[inline]
fn fixed(mut value: u32) -> u32 {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0:e} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}
