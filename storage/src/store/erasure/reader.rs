//! Reading an object from its fragments: from the data fragments alone while they are there, of which a range needs
//! only those that it touches; else from any that are enough, whole stripes at a time.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;

use super::coder::Coder;
use super::layout::Layout;
use crate::error::{Error, Result};
use crate::node::{Data, Source};
use crate::store::Store;
use crate::store::placement::Slot;
use crate::store::streams::join;

/// How long a reader that has enough fragments waits for the data fragments, which cost no computing.
const GRACE: Duration = Duration::from_millis(20);

/// See the module.
pub(in super::super) struct FragmentsReader {
    store: Store,
    layout: Layout,
    coder: Coder,
    range: Range<u64>,
    /// By index, where they were found and have not failed.
    sources: Vec<Option<Source>>,
    /// By index, at the byte that is needed next.
    streams: Vec<Option<Stream>>,
    /// By index, those that could not be read.
    has_failed: Vec<bool>,
    failure: Option<Error>,
    ready: VecDeque<Bytes>,
}

struct Stream {
    data: Data,
    /// Offset in the fragment of the next byte, and behind the last one that was asked for.
    at: u64,
    end: u64,
    rest: Bytes,
}

/// What went wrong with which fragment.
struct Failed(usize, Error);

impl FragmentsReader {
    /// A reader that does not count on fragment `index`.
    pub(super) fn without(store: &Store, layout: Layout, index: usize) -> Self {
        let mut reader = Self::new(store, layout);
        reader.has_failed[index] = true;
        reader
    }

    pub(in super::super) fn new(store: &Store, layout: Layout) -> Self {
        let count = layout.fragments();
        Self {
            store: store.clone(),
            layout,
            coder: Coder::new(&layout),
            range: 0..layout.length,
            sources: (0..count).map(|_| None).collect(),
            streams: (0..count).map(|_| None).collect(),
            has_failed: vec![false; count],
            failure: None,
            ready: VecDeque::new(),
        }
    }

    /// Before the first [`FragmentsReader::next`].
    pub(in super::super) fn set_range(&mut self, range: Range<u64>) {
        let end = range.end.min(self.layout.length);
        self.range = range.start.min(end)..end;
    }

    pub(in super::super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            if self.range.is_empty() {
                return Ok(None);
            }
            let stripe = self.layout.stripe_of(self.range.start);
            self.gather(stripe).await?;
        }
    }

    /// Makes what is wanted of a stripe ready, whatever fails as long as enough are left.
    async fn gather(&mut self, stripe: u64) -> Result<()> {
        let wanted = self.range.start..self.range.end.min(self.layout.stripe(stripe).end);
        loop {
            self.look().await?;
            let read = if self.has_data(stripe, &wanted) {
                self.read_data(stripe, &wanted).await.map(|pieces| (pieces, wanted.end))
            } else {
                self.read_computed(stripe).await
            };
            match read {
                Ok((pieces, end)) => {
                    self.ready.extend(pieces.into_iter().filter(|piece| !piece.is_empty()));
                    self.range.start = end;
                    return Ok(());
                }
                Err(Failed(index, error)) => self.leave(index, error),
            }
        }
    }

    /// What fragment `index` has of some [stripes](Layout::together), made from the others.
    pub(super) async fn unit(&mut self, stripes: Range<u64>, index: usize) -> Result<Bytes> {
        let mut units = loop {
            self.look().await?;
            match self.read_stripes(&stripes).await {
                Ok(units) => break units,
                Err(Failed(index, error)) => self.leave(index, error),
            }
        };
        let Some(parity) = index.checked_sub(self.needed()) else { return Ok(units.swap_remove(index)) };
        let mut made = self.coder.encode(units.iter().map(|unit| &unit[..]), units[0].len())?;
        Ok(made.swap_remove(parity).into())
    }

    fn leave(&mut self, index: usize, error: Error) {
        tracing::warn!(%error, index, "a fragment can't be read, going on with others");
        self.sources[index] = None;
        self.streams[index] = None;
        self.has_failed[index] = true;
        self.failure = Some(error);
    }

    fn needed(&self) -> usize {
        usize::from(self.layout.data)
    }

    fn found(&self) -> usize {
        self.sources.iter().flatten().count()
    }

    fn too_few(&self) -> Error {
        let cause = Box::new(self.failure.clone().unwrap_or(Error::Missing("object")));
        Error::NoQuorum { done: self.found(), wanted: self.needed(), cause }
    }

    /// Sees to it that enough fragments are known: asks the devices until there are, and again where one has failed.
    async fn look(&mut self) -> Result<()> {
        if self.found() >= self.needed() {
            return Ok(());
        }
        let placement = self.store.placement();
        let fragments = self.layout.keyed(&self.store);
        let ask = |(slot, _): (Slot, _)| {
            let node = placement.node(slot).clone();
            async move { node.object(fragments.hash).await }
        };
        let mut asked: FuturesUnordered<_> = placement.object_alone(fragments).into_iter().map(ask).collect();
        let grace = tokio::time::sleep(GRACE);
        tokio::pin!(grace);
        let mut is_enough = false;
        loop {
            let answer = tokio::select! {
                biased;
                answer = asked.next() => answer,
                () = &mut grace, if is_enough => break,
            };
            match answer {
                Some(Ok(found)) => self.note(found.into_live()),
                Some(Err(error)) => drop(self.failure.get_or_insert(error)),
                None => break,
            }
            if self.sources[..self.needed()].iter().all(Option::is_some) {
                break;
            }
            if !is_enough && self.found() >= self.needed() {
                is_enough = true;
                grace.as_mut().reset(tokio::time::Instant::now() + GRACE);
            }
        }
        if self.found() >= self.needed() { Ok(()) } else { Err(self.too_few()) }
    }

    fn note(&mut self, source: Option<Source>) {
        let Some(source) = source else { return };
        match Layout::of_items(&source.info().metadata) {
            Ok((index, layout)) if layout == self.layout => {
                self.sources[index] = Some(source).filter(|_| !self.has_failed[index]);
            }
            Ok(_) => tracing::error!("a fragment is one of another object"),
            Err(error) => tracing::error!(%error, "a fragment is none"),
        }
    }

    /// The units of a stripe that `wanted` touches, and what of each, in bytes of the unit.
    fn touched(&self, stripe: u64, wanted: &Range<u64>) -> Vec<(usize, Range<u64>)> {
        let (start, unit) = (self.layout.stripe(stripe).start, self.layout.unit(stripe));
        let of = |index: usize| {
            let begins = start + index as u64 * unit;
            let part =
                wanted.start.clamp(begins, begins + unit) - begins..wanted.end.clamp(begins, begins + unit) - begins;
            (index, part)
        };
        (0..self.needed()).map(of).filter(|(_, part)| !part.is_empty()).collect()
    }

    fn has_data(&self, stripe: u64, wanted: &Range<u64>) -> bool {
        self.touched(stripe, wanted).iter().all(|(index, _)| self.sources[*index].is_some())
    }

    async fn read_data(&mut self, stripe: u64, wanted: &Range<u64>) -> Result<Vec<Bytes>, Failed> {
        let last = self.layout.stripe_of(self.range.end - 1);
        let last_wanted = self.layout.stripe(last).start..self.range.end;
        let ends = self.touched(last, &last_wanted);
        let touched = self.touched(stripe, wanted);
        let end_of = |index: usize| {
            let end = ends.iter().find(|(known, _)| *known == index).map_or(0, |(_, part)| part.end);
            Layout::unit_start(last) + end
        };
        let starts = Layout::unit_start(stripe);
        let pieces = pull(&self.sources, &mut self.streams, |index| {
            let (_, part) = touched.iter().find(|(known, _)| *known == index)?;
            Some((starts + part.start..starts + part.end, end_of(index)))
        })
        .await?;
        Ok(pieces.into_iter().flat_map(|(_, pieces)| pieces).collect())
    }

    /// What is wanted of a stripe, and of those behind it that are computed with it; and up to which byte that is.
    async fn read_computed(&mut self, stripe: u64) -> Result<(Vec<Bytes>, u64), Failed> {
        let stripes = self.layout.together(stripe, self.layout.stripe_of(self.range.end - 1) + 1);
        let units = self.read_stripes(&stripes).await?;
        let wanted = self.range.start..self.range.end.min(self.layout.stripe(stripes.end - 1).end);
        let piece = |at: u64, (index, part): (usize, Range<u64>)| {
            let start = Layout::unit_start(at - stripe);
            units[index].slice((start + part.start) as usize..(start + part.end) as usize)
        };
        let of = |at: u64| self.touched(at, &wanted).into_iter().map(move |part| (at, part));
        Ok((stripes.flat_map(of).map(|(at, part)| piece(at, part)).collect(), wanted.end))
    }

    /// The data units of some stripes, padding included; those of one index stand behind each other.
    async fn read_stripes(&mut self, stripes: &Range<u64>) -> Result<Vec<Bytes>, Failed> {
        let there = self.sources.iter().enumerate().filter(|(_, source)| source.is_some());
        let chosen: Vec<usize> = there.map(|(index, _)| index).take(self.needed()).collect();
        let last = stripes.end - 1;
        let range = Layout::unit_start(stripes.start)..Layout::unit_start(last) + self.layout.unit(last);
        let end = self.layout.fragment_bytes();
        let wanted = |index: usize| chosen.contains(&index).then_some((range.clone(), end));
        let pieces = pull(&self.sources, &mut self.streams, wanted).await?;
        let units = pieces.into_iter().map(|(index, pieces)| (index, join(pieces))).collect();
        let first = chosen.first().copied().unwrap_or(0);
        self.coder.decode(units).map_err(|error| Failed(first, error))
    }
}

/// Reads from several fragments at once. `wanted` tells which bytes of a fragment are needed now, and up to where
/// they will be; the pieces come in the order of the fragments.
async fn pull(
    sources: &[Option<Source>],
    streams: &mut [Option<Stream>],
    wanted: impl Fn(usize) -> Option<(Range<u64>, u64)>,
) -> Result<Vec<(usize, Vec<Bytes>)>, Failed> {
    let pulls = sources.iter().zip(streams).enumerate().filter_map(|(index, (source, stream))| {
        let (source, (range, end)) = (source.as_ref()?, wanted(index)?);
        Some(async move {
            let pieces = pull_one(source, stream, range, end).await;
            pieces.map(|pieces| (index, pieces)).map_err(|error| Failed(index, error))
        })
    });
    try_join_all(pulls).await
}

async fn pull_one(source: &Source, stream: &mut Option<Stream>, range: Range<u64>, end: u64) -> Result<Vec<Bytes>> {
    // While it is read it is nobody's: where this is given up, what was read so far is not taken for the rest.
    let mut open = match stream.take().filter(|stream| stream.at == range.start && stream.end >= range.end) {
        Some(open) => open,
        None => {
            let end = end.max(range.end);
            Stream { data: source.open(range.start..end).await?, at: range.start, end, rest: Bytes::new() }
        }
    };
    let mut pieces = Vec::new();
    while open.at < range.end {
        if open.rest.is_empty() {
            open.rest = open.data.next().await?.ok_or(Error::Truncated { missing: range.end - open.at })?;
        }
        let piece = open.rest.split_to(open.rest.len().min((range.end - open.at) as usize));
        open.at += piece.len() as u64;
        pieces.push(piece);
    }
    *stream = Some(open);
    Ok(pieces)
}

impl std::fmt::Debug for FragmentsReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FragmentsReader")
            .field("layout", &self.layout)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
