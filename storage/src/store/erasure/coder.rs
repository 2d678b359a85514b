//! Reed-Solomon over the units of a stripe.

use bytes::Bytes;
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

    /// The parity units of a stripe's data units. All units are of one length; several stripes' may stand behind each
    /// other where that is a multiple of 64 bytes for each: they are computed 64 bytes by 64.
    pub(super) fn encode<'a>(&mut self, units: impl Iterator<Item = &'a [u8]>, length: usize) -> Result<Vec<Vec<u8>>> {
        let mut encoder = match self.encoder.take() {
            Some(mut encoder) => {
                encoder.reset(self.data, self.parity, length).map_err(refused)?;
                encoder
            }
            None => ReedSolomonEncoder::new(self.data, self.parity, length).map_err(refused)?,
        };
        for unit in units {
            encoder.add_original_shard(unit).map_err(refused)?;
        }
        let parity = encoder.encode().map_err(refused)?.recovery_iter().map(<[u8]>::to_vec).collect();
        self.encoder = Some(encoder);
        Ok(parity)
    }

    /// The data units in order, from as many units of any index.
    pub(super) fn decode(&mut self, mut units: Vec<(usize, Bytes)>) -> Result<Vec<Bytes>> {
        let data = self.data;
        if units.iter().any(|(index, _)| *index >= data) {
            let restored = self.restored(&units)?;
            units.retain(|(index, _)| *index < data);
            units.extend(restored);
        }
        units.sort_unstable_by_key(|(index, _)| *index);
        Ok(units.into_iter().map(|(_, unit)| unit).collect())
    }

    /// The data units that are not among these.
    fn restored(&mut self, units: &[(usize, Bytes)]) -> Result<Vec<(usize, Bytes)>> {
        let length = units.first().map_or(0, |(_, unit)| unit.len());
        let mut decoder = match self.decoder.take() {
            Some(mut decoder) => {
                decoder.reset(self.data, self.parity, length).map_err(refused)?;
                decoder
            }
            None => ReedSolomonDecoder::new(self.data, self.parity, length).map_err(refused)?,
        };
        for (index, unit) in units {
            let added = match index.checked_sub(self.data) {
                None => decoder.add_original_shard(*index, unit),
                Some(index) => decoder.add_recovery_shard(index, unit),
            };
            added.map_err(refused)?;
        }
        let copied = |(index, unit)| (index, Bytes::copy_from_slice(unit));
        let restored = decoder.decode().map_err(refused)?.restored_original_iter().map(copied).collect();
        self.decoder = Some(decoder);
        Ok(restored)
    }
}

fn refused(error: reed_solomon_simd::Error) -> Error {
    Error::Message(format!("fragments can't be computed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyHash;

    fn coder(data: u8, parity: u8) -> Coder {
        Coder::new(&Layout { policy: 1, data, parity, length: 0, object: KeyHash([0; 16]), id: [0; 16] })
    }

    fn data_units(data: u8, length: usize) -> Vec<Bytes> {
        let unit = |unit: usize| (0..length).map(|at| ((at + unit * length) * 7 % 251) as u8).collect();
        (0..usize::from(data)).map(unit).collect()
    }

    fn parity_of(coder: &mut Coder, units: &[Bytes]) -> Vec<Bytes> {
        let parity = coder.encode(units.iter().map(|unit| &unit[..]), units[0].len()).expect("encodes");
        parity.into_iter().map(Bytes::from).collect()
    }

    #[test]
    fn any_units_that_are_enough_give_the_stripe_back() {
        for (data, parity) in [(1, 1), (2, 1), (4, 2), (3, 3), (8, 4)] {
            let mut coder = coder(data, parity);
            for length in [2, 66, 4096] {
                let stripe = data_units(data, length);
                let all = [stripe.clone(), parity_of(&mut coder, &stripe)].concat();
                assert_eq!(all.len(), usize::from(data + parity));
                for missing in (0..1u32 << all.len()).filter(|missing| missing.count_ones() == u32::from(parity)) {
                    let left = all.iter().cloned().enumerate().filter(|(at, _)| missing & (1 << at) == 0);
                    let decoded = coder.decode(left.collect()).expect("decodes");
                    assert_eq!(decoded, stripe, "{data}+{parity} without {missing:b}");
                }
            }
        }
    }

    /// Without this what is computed of several stripes at once is something else than was written one by one.
    #[test]
    fn stripes_that_are_computed_together_are_what_each_is_alone() {
        let (mut coder, length) = (coder(4, 2), 64 * 5);
        let stripes = data_units(12, length);
        let parity: Vec<_> = stripes.chunks(4).map(|stripe| parity_of(&mut coder, stripe)).collect();
        let unit = |index: usize| -> Bytes {
            let of = |stripe: usize| match index.checked_sub(4) {
                None => &stripes[stripe * 4 + index],
                Some(index) => &parity[stripe][index],
            };
            (0..3).flat_map(of).copied().collect()
        };
        let units: Vec<Bytes> = (0..4).map(unit).collect();
        assert_eq!(parity_of(&mut coder, &units), [unit(4), unit(5)]);
        let left = [1, 3, 4, 5].map(|index| (index, unit(index)));
        assert_eq!(coder.decode(left.into()).expect("decodes"), units);
    }
}
