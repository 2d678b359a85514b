//! Reed-Solomon over the units of a stripe.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use super::layout::Layout;
use crate::error::{Error, Result};

/// Computes what stripes lack. Keeps its working memory from one stripe to the next.
pub(super) struct Coder {
    data: usize,
    parity: usize,
    encoder: Option<ReedSolomonEncoder>,
    decoder: Option<ReedSolomonDecoder>,
}

impl Coder {
    pub(super) fn new(layout: &Layout) -> Self {
        let (data, parity) = (usize::from(layout.data), usize::from(layout.parity));
        Self { data, parity, encoder: None, decoder: None }
    }

    /// The parity units of a stripe; `stripe` is its data units one behind the other.
    pub(super) fn encode(&mut self, stripe: &[u8], unit: usize) -> Result<Vec<Vec<u8>>> {
        let (data, parity) = (self.data, self.parity);
        let mut encoder = match self.encoder.take() {
            Some(mut encoder) => {
                encoder.reset(data, parity, unit).map_err(refused)?;
                encoder
            }
            None => ReedSolomonEncoder::new(data, parity, unit).map_err(refused)?,
        };
        stripe.chunks(unit).try_for_each(|unit| encoder.add_original_shard(unit)).map_err(refused)?;
        let units = encoder.encode().map_err(refused)?.recovery_iter().map(<[u8]>::to_vec).collect();
        self.encoder = Some(encoder);
        Ok(units)
    }

    /// A stripe's data units one behind the other, from as many units of any index.
    pub(super) fn decode(&mut self, units: &[(usize, Vec<u8>)], unit: usize) -> Result<Vec<u8>> {
        let (data, parity) = (self.data, self.parity);
        let mut stripe = vec![0; data * unit];
        let is_data = |index: usize| index < data;
        for (index, bytes) in units.iter().filter(|(index, _)| is_data(*index)) {
            stripe[index * unit..][..unit].copy_from_slice(bytes);
        }
        if units.iter().all(|(index, _)| is_data(*index)) {
            return Ok(stripe);
        }
        let mut decoder = match self.decoder.take() {
            Some(mut decoder) => {
                decoder.reset(data, parity, unit).map_err(refused)?;
                decoder
            }
            None => ReedSolomonDecoder::new(data, parity, unit).map_err(refused)?,
        };
        for (index, bytes) in units {
            let added = match index.checked_sub(data) {
                None => decoder.add_original_shard(*index, bytes),
                Some(index) => decoder.add_recovery_shard(index, bytes),
            };
            added.map_err(refused)?;
        }
        for (index, bytes) in decoder.decode().map_err(refused)?.restored_original_iter() {
            stripe[index * unit..][..unit].copy_from_slice(bytes);
        }
        self.decoder = Some(decoder);
        Ok(stripe)
    }
}

fn refused(error: reed_solomon_simd::Error) -> Error {
    Error::Message(format!("fragments can't be computed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyHash;

    #[test]
    fn any_units_that_are_enough_give_the_stripe_back() {
        for (data, parity) in [(1, 1), (2, 1), (4, 2), (3, 3), (8, 4)] {
            let layout = Layout { policy: 1, data, parity, length: 0, object: KeyHash([0; 16]), id: [0; 16] };
            let mut coder = Coder::new(&layout);
            for unit in [2, 66, 4096] {
                let stripe: Vec<u8> = (0..usize::from(data) * unit).map(|at| (at * 7 % 251) as u8).collect();
                let all: Vec<Vec<u8>> = stripe
                    .chunks(unit)
                    .map(<[u8]>::to_vec)
                    .chain(coder.encode(&stripe, unit).expect("encodes"))
                    .collect();
                assert_eq!(all.len(), layout.fragments());
                for missing in 0..1u32 << layout.fragments() {
                    if missing.count_ones() != u32::from(parity) {
                        continue;
                    }
                    let left: Vec<_> =
                        all.iter().cloned().enumerate().filter(|(at, _)| missing & (1 << at) == 0).collect();
                    assert_eq!(
                        coder.decode(&left, unit).expect("decodes"),
                        stripe,
                        "{data}+{parity} without {missing:b}"
                    );
                }
            }
        }
    }
}
