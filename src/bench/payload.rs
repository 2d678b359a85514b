//! What objects contain: pseudo-random bytes that follow from the seed and the key's number, so that any
//! run can check what it reads. A few variants exist, and an object is the beginning of one of them; the
//! hash that a signature needs is computed once per variant and size.

use sha2::{Digest, Sha256};

/// Bytes of all variants together; large objects have fewer of them.
const MEMORY_BYTES: u64 = 256 * anello_base::units::MIB;

/// Variants at least, so that a server which mixes two objects up is found out; and at most.
const VARIANTS: std::ops::RangeInclusive<u64> = 2..=16;

/// All contents.
pub(crate) struct Payloads {
    variants: Vec<Vec<u8>>,
    sizes: Vec<u64>,
    // Of variant v and size s at [v * sizes + s], lower-case hex.
    hashes: Vec<String>,
    seed: u64,
}

/// One object's content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) bytes: &'a [u8],
    /// SHA-256, lower-case hex.
    pub(crate) sha256: &'a str,
}

impl Payloads {
    /// Contents of these sizes.
    pub(crate) fn new(sizes: &[u64], seed: u64) -> Self {
        let largest = sizes.iter().copied().max().unwrap_or(0).max(1);
        let count = (MEMORY_BYTES / largest).clamp(*VARIANTS.start(), *VARIANTS.end());
        let variants: Vec<Vec<u8>> = (0..count).map(|variant| fill(seed ^ (variant << 32), largest)).collect();
        let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let hashes = variants.iter().flat_map(|bytes| sizes.iter().map(move |size| hash(&bytes[..*size as usize])));
        Self { hashes: hashes.collect(), sizes: sizes.to_vec(), variants, seed }
    }

    /// The content of the key with this number.
    pub(crate) fn of(&self, key: u64) -> Payload<'_> {
        let mixed = mix(key ^ self.seed.rotate_left(17));
        let variant = (mixed % self.variants.len() as u64) as usize;
        let size = ((mixed >> 32) % self.sizes.len() as u64) as usize;
        let bytes = &self.variants[variant][..self.sizes[size] as usize];
        Payload { bytes, sha256: &self.hashes[variant * self.sizes.len() + size] }
    }
}

/// SplitMix64's output function: every bit of the input reaches every bit of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn fill(seed: u64, length: u64) -> Vec<u8> {
    let words = (0..length.div_ceil(8)).map(|word| mix(seed.wrapping_add(word.wrapping_mul(0x2545_f491_4f6c_dd1d))));
    let mut bytes = Vec::with_capacity(length as usize + 8);
    words.for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    bytes.truncate(length as usize);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_content_follows_from_the_seed_alone() {
        let (one, two) = (Payloads::new(&[10, 4096], 7), Payloads::new(&[10, 4096], 7));
        let other_seed = Payloads::new(&[10, 4096], 8);
        let mut sizes = std::collections::BTreeSet::new();
        for key in 0..100 {
            let payload = one.of(key);
            assert_eq!(payload.bytes, two.of(key).bytes);
            assert_ne!(payload.bytes, other_seed.of(key).bytes);
            assert_eq!(payload.sha256, hex::encode(Sha256::digest(payload.bytes)));
            sizes.insert(payload.bytes.len());
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [10, 4096]);
    }
}
