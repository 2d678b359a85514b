//! Where dead records of a name still lie. A tombstone may be dropped only when no volume of the log
//! holds an older record of its name any more: a rebuild from the log would bring the name back.

use std::collections::BTreeMap;

use super::codec::{Reader, Writer};
use super::limits::SHADOWS_MAX;
use crate::error::Result;

/// Dead bytes per log volume; a volume that is not in it holds nothing dead, or is gone.
pub(super) type DeadBytes = BTreeMap<u32, u64>;

/// Log volumes, in order. Past [`SHADOWS_MAX`] of them only the first and the last are kept, and stand
/// for all between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shadows {
    volumes: Vec<u32>,
    is_range: bool,
}

impl Shadows {
    pub(super) fn is_empty(&self) -> bool {
        self.volumes.is_empty()
    }

    /// A dead record lies in `volume`.
    pub(super) fn add(&mut self, volume: u32) {
        if let Err(place) = self.volumes.binary_search(&volume) {
            self.volumes.insert(place, volume);
        }
        if self.volumes.len() > if self.is_range { 2 } else { SHADOWS_MAX } {
            self.volumes.drain(1..self.volumes.len() - 1);
            self.is_range = true;
        }
    }

    /// Forgets volumes in which nothing dead is left.
    pub(super) fn prune(&mut self, dead: &[&DeadBytes]) {
        if self.is_range {
            if let [first, last] = self.volumes[..]
                && dead.iter().all(|dead| dead.range(first..=last).next().is_none())
            {
                *self = Self::default();
            }
        } else {
            self.volumes.retain(|volume| dead.iter().any(|dead| dead.contains_key(volume)));
        }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.number((self.volumes.len() as u64) << 1 | u64::from(self.is_range));
        for volume in &self.volumes {
            out.number(u64::from(*volume));
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let head = reader.number()?;
        let (count, is_range) = (head >> 1, head & 1 == 1);
        let allowed = if is_range { 2..=2 } else { 1..=SHADOWS_MAX as u64 };
        if !allowed.contains(&count) {
            return Err(reader.corrupt(*allowed.end(), count));
        }
        let volumes = (0..count).map(|_| reader.small()).collect::<Result<Vec<_>>>()?;
        if !volumes.is_sorted_by(|a, b| a < b) {
            return Err(reader.corrupt(0, u64::from(volumes[0])));
        }
        Ok(Self { volumes, is_range })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(shadows: &Shadows) -> Shadows {
        let mut writer = Writer::default();
        shadows.encode(&mut writer);
        let mut reader = Reader::new("shadows", &writer.0);
        let back = Shadows::decode(&mut reader).expect("decodes");
        reader.finish().expect("all of it");
        back
    }

    #[test]
    fn a_volume_is_forgotten_when_nothing_dead_is_in_it() {
        let mut shadows = Shadows::default();
        for volume in [7, 3, 7] {
            shadows.add(volume);
        }
        assert_eq!(round_trip(&shadows), shadows);
        shadows.prune(&[&DeadBytes::from([(3, 10), (7, 1)])]);
        assert_eq!(shadows.volumes, [3, 7]);
        shadows.prune(&[&DeadBytes::from([(7, 1), (8, 1)])]);
        assert_eq!(shadows.volumes, [7]);
        shadows.prune(&[&DeadBytes::new()]);
        assert!(shadows.is_empty());
    }

    #[test]
    fn many_volumes_become_a_range_that_forgets_none_of_them() {
        let mut shadows = Shadows::default();
        for volume in 0..100 {
            shadows.add(volume * 2);
        }
        assert_eq!((&shadows.volumes[..], shadows.is_range), (&[0, 198][..], true));
        assert_eq!(round_trip(&shadows), shadows);
        shadows.prune(&[&DeadBytes::from([(66, 1)])]);
        assert!(!shadows.is_empty());
        shadows.prune(&[&DeadBytes::from([(199, 1)])]);
        assert!(shadows.is_empty());
    }
}
