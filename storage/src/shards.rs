//! How the rows of a huge container are spread over several: by ranges of names, each kept by a *shard*, which is a
//! container of a system account. Until it is split a container keeps its rows itself.
//!
//! The map of a container's shards is an object, replaced by conditional writes; what is in force of it is published
//! as metadata of the container, so that whoever looks the container up has it. See `docs/adr/0024-sharding.md`.

use std::collections::BTreeSet;

use anello_base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{ListQuery, Metadata};

/// Items of a container's metadata with this prefix are the engine's own; nobody else sees them.
const ITEMS: &str = "anello-shard-";

/// The map in force, of a container that has shards.
pub(crate) const MAP_ITEM: &str = "anello-shard-map";

/// Rows that come by an older map than this version are refused.
pub(crate) const FENCE_ITEM: &str = "anello-shard-fence";

/// Objects and bytes of the shards that are read, together; and whether the container's own rows are, too.
pub(crate) const TOTALS_ITEM: &str = "anello-shard-totals";

/// The system account that keeps the shards of an account's containers begins with this.
const ACCOUNTS: &str = ".shards/";

/// The container itself, among the numbers of its shards.
pub(crate) const ITSELF: u64 = 0;

/// Which shard keeps which names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardMap {
    /// What is in force. The first range begins with the empty name.
    pub(crate) ranges: Vec<ShardRange>,
    /// What follows it: writes go to both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Vec<ShardRange>>,
    /// What follows has all the rows, and is read.
    #[serde(default)]
    pub(crate) is_sealed: bool,
    /// Nothing is to be written, nor read: the container is being deleted.
    #[serde(default)]
    pub(crate) is_closed: bool,
    /// Shards that keep nothing any more and are to be emptied.
    #[serde(default)]
    pub(crate) leaving: Vec<u64>,
    /// When the map was written; later ones have later versions. Zero where there is none.
    #[serde(skip)]
    pub(crate) version: Timestamp,
}

/// Names from `lower` to the next range's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardRange {
    /// The first name.
    pub(crate) lower: String,
    /// Who keeps them: [`ITSELF`], or a shard's number, which no other ever has.
    pub(crate) shard: u64,
}

impl Default for ShardMap {
    /// That of a container which keeps its rows itself.
    fn default() -> Self {
        Self {
            ranges: vec![ShardRange { lower: String::new(), shard: ITSELF }],
            next: None,
            is_sealed: false,
            is_closed: false,
            leaving: Vec::new(),
            version: Timestamp::ZERO,
        }
    }
}

impl ShardMap {
    pub(crate) fn encode(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::Message(format!("map of shards: {error}")))
    }

    pub(crate) fn decode(text: &str, version: Timestamp) -> Result<Self> {
        let map: Self =
            serde_json::from_str(text).map_err(|error| Error::Message(format!("map of shards: {error}")))?;
        let is_whole = |ranges: &[ShardRange]| {
            ranges.first().is_some_and(|range| range.lower.is_empty())
                && ranges.is_sorted_by(|one, next| one.lower < next.lower)
        };
        if !is_whole(&map.ranges) || !map.next.as_deref().is_none_or(is_whole) {
            return Err(Error::Message("map of shards: its ranges are not in order".to_owned()));
        }
        Ok(Self { version, ..map })
    }

    /// The map that a container's metadata tell, where it has shards.
    pub(crate) fn published(items: &Metadata) -> Result<Option<Self>> {
        let (Some(version), Some(text)) = (fence(items), item(items, MAP_ITEM)) else { return Ok(None) };
        Self::decode(text, version).map(Some)
    }

    /// Who keeps the rows of this name, or is to.
    pub(crate) fn writes(&self, name: &str) -> Vec<u64> {
        let mut shards = vec![keeper(&self.ranges, name)];
        shards.extend(self.next.as_deref().map(|next| keeper(next, name)));
        shards.dedup();
        shards
    }

    /// The ranges that are read.
    pub(crate) fn reads(&self) -> &[ShardRange] {
        self.next.as_deref().filter(|_| self.is_sealed).unwrap_or(&self.ranges)
    }

    /// The ranges that a listing has to look at, in its order.
    pub(crate) fn listed(&self, query: &ListQuery) -> Vec<u64> {
        let ranges = self.reads();
        let (after, before) = match query.reverse {
            false => (&query.marker, &query.end_marker),
            true => (&query.end_marker, &query.marker),
        };
        let concerns = |at: usize| {
            let (lower, upper) = (ranges[at].lower.as_str(), ranges.get(at + 1).map(|next| next.lower.as_str()));
            let prefix = query.prefix.as_str();
            let is_behind = lower > prefix && !lower.starts_with(prefix);
            let is_ahead = upper.is_some_and(|upper| upper <= prefix);
            !is_behind
                && !is_ahead
                && after.as_deref().is_none_or(|after| upper.is_none_or(|upper| upper > after))
                && before.as_deref().is_none_or(|before| before.is_empty() || lower < before)
        };
        let mut shards: Vec<u64> = (0..ranges.len()).filter(|at| concerns(*at)).map(|at| ranges[at].shard).collect();
        if query.reverse {
            shards.reverse();
        }
        shards
    }

    /// Shards, the container itself among them, that keep what others have taken over or are to: rows that come to them
    /// by an older map are refused.
    pub(crate) fn fenced(&self) -> Vec<u64> {
        let of = |ranges: &[ShardRange]| ranges.iter().map(|range| range.shard).collect::<Vec<_>>();
        let mut shards = match &self.next {
            next if self.is_closed => [of(&self.ranges), next.as_deref().map(of).unwrap_or_default()].concat(),
            Some(next) => {
                let stay = of(next);
                of(&self.ranges).into_iter().filter(|shard| !stay.contains(shard)).collect()
            }
            None => Vec::new(),
        };
        shards.extend(&self.leaving);
        shards
    }

    /// All that it tells of, the container itself among them where it keeps rows.
    pub(crate) fn shards(&self) -> BTreeSet<u64> {
        let ranges = self.ranges.iter().chain(self.next.iter().flatten()).map(|range| range.shard);
        ranges.chain(self.leaving.iter().copied()).collect()
    }

    /// The same with other ranges to follow.
    pub(crate) fn announce(&self, next: Vec<ShardRange>) -> Self {
        Self { next: Some(next), is_sealed: false, ..self.clone() }
    }

    /// The same once what follows has all the rows.
    pub(crate) fn seal(&self) -> Self {
        Self { is_sealed: true, ..self.clone() }
    }

    /// The same once nobody reads what was in force before.
    pub(crate) fn finish(&self) -> Self {
        let leaving = self.fenced();
        let ranges = self.next.clone().unwrap_or_else(|| self.ranges.clone());
        Self { ranges, next: None, is_sealed: false, leaving, ..self.clone() }
    }
}

/// Who keeps a name.
pub(crate) fn keeper(ranges: &[ShardRange], name: &str) -> u64 {
    let behind = ranges.partition_point(|range| range.lower.as_str() <= name);
    ranges[behind.saturating_sub(1)].shard
}

/// The account of a shard, and its name there.
pub(crate) fn shard_of(account: &str, container: &str, shard: u64) -> (String, String) {
    (shards_of(account), format!("{}{shard:016x}", shards_begin(container)))
}

/// What the names of a container's shards begin with.
pub(crate) fn shards_begin(container: &str) -> String {
    format!("{container}/")
}

/// The number that a shard's name tells.
pub(crate) fn number_of(container: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(&shards_begin(container))?, 16).ok()
}

/// The account that keeps the shards of an account's containers.
pub(crate) fn shards_of(account: &str) -> String {
    format!("{ACCOUNTS}{account}")
}

/// The version before which rows are refused.
pub(crate) fn fence(items: &Metadata) -> Option<Timestamp> {
    fence_of(item(items, FENCE_ITEM)?)
}

/// The same from its item's value.
pub(crate) fn fence_of(value: &str) -> Option<Timestamp> {
    Timestamp::from_bits(value.parse().ok()?)
}

/// The item that makes a version the fence.
pub(crate) fn fence_item(version: Timestamp) -> (String, String) {
    (FENCE_ITEM.to_owned(), version.to_bits().to_string())
}

/// What a container and its shards come to, given what it counts itself.
pub(crate) fn totals(item: Option<&str>, own: (u64, u64)) -> (u64, u64) {
    let Some(item) = item.filter(|item| !item.is_empty()) else { return own };
    let mut numbers = item.split(' ').map(|number| number.parse::<u64>().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    let (objects, bytes, counts_itself) = (next(), next(), next());
    let own = if counts_itself == 1 { own } else { (0, 0) };
    (objects.saturating_add(own.0), bytes.saturating_add(own.1))
}

/// See [`TOTALS_ITEM`].
pub(crate) fn totals_item(objects: u64, bytes: u64, counts_itself: bool) -> String {
    format!("{objects} {bytes} {}", u8::from(counts_itself))
}

/// Whether these are the engine's own items alone, which make no container.
pub(crate) fn are_engines(items: &Metadata) -> bool {
    !items.is_empty() && items.iter().all(|(name, _)| name.starts_with(ITEMS))
}

/// Whether rows that come by an older map are refused once these are set.
pub(crate) fn has_fence(items: &Metadata) -> bool {
    item(items, FENCE_ITEM).is_some()
}

/// Takes the engine's own items out of what others are shown.
pub(crate) fn hide(items: &mut Metadata) {
    items.retain(|(name, _)| !name.starts_with(ITEMS));
}

fn item<'a>(items: &'a Metadata, name: &str) -> Option<&'a str> {
    items.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(&str, u64)]) -> Vec<ShardRange> {
        of.iter().map(|(lower, shard)| ShardRange { lower: (*lower).to_owned(), shard: *shard }).collect()
    }

    fn map(of: &[(&str, u64)]) -> ShardMap {
        ShardMap { ranges: ranges(of), ..ShardMap::default() }
    }

    #[test]
    fn writes_go_to_both_while_ranges_change_and_reads_to_what_has_all_rows() {
        let whole = ShardMap::default();
        let announced = whole.announce(ranges(&[("", 1), ("m", 2)]));
        assert_eq!((announced.writes("a"), announced.writes("m")), (vec![0, 1], vec![0, 2]));
        assert_eq!((announced.reads(), announced.fenced()), (&whole.ranges[..], vec![0]));
        let sealed = announced.seal();
        assert_eq!(sealed.reads(), ranges(&[("", 1), ("m", 2)]));
        assert_eq!((sealed.writes("z"), sealed.fenced()), (vec![0, 2], vec![0]));
        let done = sealed.finish();
        assert_eq!((done.writes("z"), done.leaving.clone(), done.fenced()), (vec![2], vec![0], vec![0]));
        // One of two is split: the other stays as it is.
        let split = ShardMap { leaving: Vec::new(), ..done }.announce(ranges(&[("", 1), ("m", 3), ("s", 4)]));
        assert_eq!((split.writes("b"), split.writes("n"), split.fenced()), (vec![1], vec![2, 3], vec![2]));
        assert_eq!(split.seal().finish().leaving, [2]);
    }

    #[test]
    fn a_listing_looks_at_no_more_than_it_has_to() {
        let map = map(&[("", 1), ("b", 2), ("b/m", 3), ("d", 4)]);
        let list = |query: ListQuery| map.listed(&query);
        let query = ListQuery::default();
        assert_eq!(list(query.clone()), [1, 2, 3, 4]);
        assert_eq!(list(ListQuery { reverse: true, ..query.clone() }), [4, 3, 2, 1]);
        assert_eq!(list(ListQuery { prefix: "b/".into(), ..query.clone() }), [2, 3]);
        assert_eq!(list(ListQuery { prefix: "c".into(), ..query.clone() }), [3]);
        assert_eq!(list(ListQuery { marker: Some("b".into()), ..query.clone() }), [2, 3, 4]);
        assert_eq!(list(ListQuery { marker: Some("b/z".into()), end_marker: Some("d".into()), ..query.clone() }), [3]);
        let backwards = ListQuery { reverse: true, marker: Some("d".into()), end_marker: Some("b/n".into()), ..query };
        assert_eq!(list(backwards), [3]);
    }

    #[test]
    fn a_map_is_read_as_it_was_written_and_nonsense_is_refused() {
        let map = map(&[("", 1), ("m", 2)]).announce(ranges(&[("", 1), ("m", 3), ("\u{10ffff}", 4)]));
        let version = Timestamp::from_seconds(7);
        let read = ShardMap::decode(&map.encode().expect("encodes"), version).expect("decodes");
        assert_eq!(read, ShardMap { version, ..map });
        for ranges in [r"[]", r#"[{"lower":"a","shard":1}]"#, r#"[{"lower":"","shard":1},{"lower":"","shard":2}]"#] {
            let text = format!(r#"{{"ranges":{ranges}}}"#);
            assert!(ShardMap::decode(&text, version).is_err(), "{ranges}");
        }
    }

    #[test]
    fn totals_are_those_of_the_shards_and_where_it_is_read_of_the_container() {
        assert_eq!(totals(None, (3, 4)), (3, 4));
        assert_eq!(totals(Some(&totals_item(10, 20, true)), (3, 4)), (13, 24));
        assert_eq!(totals(Some(&totals_item(10, 20, false)), (3, 4)), (10, 20));
        assert_eq!(totals(Some(""), (3, 4)), (3, 4));
    }
}
