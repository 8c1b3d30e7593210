//! Which bytes of a blob are asked of whom: what is wanted, here, and on its way goes in; the next part for a
//! provider comes out. No clock and no network.
//!
//! Positions are chunks of 1 KiB, as in BLAKE3. Parts begin and end at groups of 16 chunks, which is how much the
//! store keeps at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bao_tree::ChunkRanges;
use peat_mesh_core::EndpointId;

use crate::blob::chunks::{GROUP_CHUNKS, of_bytes, run, runs, set};
use crate::blob::pace::Held;

/// A part that has been on its way for so many ticks is slow: parts are made for half a second.
const SLOW_TICKS: u32 = 3;
/// A part of which nothing has come for so many ticks is asked for a second time.
const IDLE_TICKS: u32 = 2;
/// The second half of a slow part is asked of another provider when so much of it is left, in chunks.
const SPLIT_CHUNKS_MIN: u64 = 64;

/// The name of a part that was asked for.
pub(super) type PartId = u64;

/// Where a part ends, for whoever brings it: others may be asked for the rest of it in the meantime.
pub(super) type PartEnd = Arc<AtomicU64>;

/// A part that is on its way.
#[derive(Debug)]
struct Part {
    provider: EndpointId,
    start: u64,
    end: PartEnd,
    /// It waits for this node's own limit on bytes per second.
    held: Held,
    /// The chunks before this one have come.
    at: u64,
    /// Ticks since it was asked for, and since some of it came.
    age: u32,
    idle: u32,
    /// All that is left of it was asked of another provider as well.
    is_doubled: bool,
}

impl Part {
    fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    fn left(&self) -> u64 {
        self.end().saturating_sub(self.at)
    }
}

/// A part to be asked for.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) id: PartId,
    pub(super) chunks: Range<u64>,
    pub(super) end: PartEnd,
    pub(super) held: Held,
}

/// What is to be fetched of one blob.
#[derive(Debug)]
pub(super) struct Plan {
    size: u64,
    wanted: ChunkRanges,
    here: ChunkRanges,
    parts: BTreeMap<PartId, Part>,
    next_id: PartId,
}

impl Plan {
    /// A blob of so many bytes, of which something is here.
    pub(super) fn new(size: u64, here: ChunkRanges) -> Self {
        Self { size, wanted: ChunkRanges::empty(), here, parts: BTreeMap::new(), next_id: 0 }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// All chunks of the blob. One of no bytes has one.
    fn all(&self) -> Range<u64> {
        0..of_bytes(0..self.size.max(1)).end
    }

    /// Sets what is wanted: these bytes and nothing else, or all of them.
    pub(super) fn want(&mut self, wanted: Option<Vec<Range<u64>>>) {
        let Some(wanted) = wanted else {
            self.wanted = set(self.all());
            return;
        };
        self.wanted = ChunkRanges::empty();
        for bytes in wanted {
            let end = bytes.end.min(self.size);
            if bytes.start < end {
                self.wanted |= set(of_bytes(bytes.start..end));
            }
        }
    }

    /// Notes that something is here.
    pub(super) fn have(&mut self, here: &ChunkRanges) {
        self.here |= here.clone();
    }

    pub(super) fn here(&self) -> &ChunkRanges {
        &self.here
    }

    /// Whether all that is wanted is here.
    pub(super) fn is_done(&self) -> bool {
        self.wanted.is_subset(&self.here)
    }

    /// Whether the end of the blob is in a set.
    pub(super) fn has_end(&self, has: &ChunkRanges) -> bool {
        let end = self.all().end;
        set(end - GROUP_CHUNKS..end).is_subset(has)
    }

    /// How much of what is wanted is neither here nor on its way, in chunks.
    pub(super) fn left_chunks(&self) -> u64 {
        let mut left = &self.wanted - &self.here;
        for part in self.parts.values() {
            left -= set(part.start..part.end());
        }
        runs(&left).map(|chunks| chunks.end - chunks.start).sum()
    }

    /// Whether all of the blob is here.
    pub(super) fn is_complete(&self) -> bool {
        set(self.all()).is_subset(&self.here)
    }

    /// Bytes that are here, with those of parts on their way.
    pub(super) fn have_bytes(&self) -> u64 {
        let mut have = &self.here & set(self.all());
        for part in self.parts.values() {
            have |= set(part.start..part.at.min(part.end()));
        }
        let bytes =
            |chunks: Range<u64>| (chunks.end * 1024).min(self.size).saturating_sub(chunks.start * 1024);
        runs(&have).map(bytes).sum()
    }

    /// The next part for a provider that has `has`: at most `chunks_max` chunks, of what nobody was asked for the
    /// first at or after the byte `front`, else the first of all. When everything has been asked for: of a slow part
    /// of another provider the second half, which that one does not bring any more, or all that is left of one
    /// that does not come.
    pub(super) fn next(
        &mut self,
        provider: EndpointId,
        has: &ChunkRanges,
        front: u64,
        chunks_max: u64,
    ) -> Option<Next> {
        let mut free = &(&self.wanted - &self.here) & has;
        for part in self.parts.values() {
            free -= set(part.start..part.end());
        }
        let found = run(&free, of_bytes(front..front).start).or_else(|| run(&free, 0));
        let chunks = match found {
            Some(found) => {
                let start = found.start / GROUP_CHUNKS * GROUP_CHUNKS;
                let end = start.saturating_add(chunks_max.max(GROUP_CHUNKS)).next_multiple_of(GROUP_CHUNKS);
                start..found.end.min(end)
            }
            None => self.rest_of_another(provider, has)?,
        };
        Some(self.part(provider, chunks))
    }

    /// What does not come from another provider, as in [`Plan::next`], and nothing else.
    pub(super) fn again(&mut self, provider: EndpointId, has: &ChunkRanges) -> Option<Next> {
        let chunks = self.rest_of_another(provider, has)?;
        Some(self.part(provider, chunks))
    }

    fn part(&mut self, provider: EndpointId, chunks: Range<u64>) -> Next {
        let id = self.next_id;
        self.next_id += 1;
        let next = Next {
            id,
            chunks: chunks.clone(),
            end: Arc::new(AtomicU64::new(chunks.end)),
            held: Held::default(),
        };
        let (start, at) = (chunks.start, chunks.start);
        let (end, held) = (Arc::clone(&next.end), Arc::clone(&next.held));
        self.parts.insert(id, Part { provider, start, end, held, at, age: 0, idle: 0, is_doubled: false });
        next
    }

    fn rest_of_another(&mut self, provider: EndpointId, has: &ChunkRanges) -> Option<Range<u64>> {
        let others = self.parts.values_mut().filter(|part| part.provider != provider && part.left() > 0);
        let late = others.filter(|part| {
            let is_slow = part.age >= SLOW_TICKS && part.left() >= SPLIT_CHUNKS_MIN;
            is_slow || part.idle >= IDLE_TICKS && !part.is_doubled
        });
        let late = late.max_by_key(|part| (part.idle >= IDLE_TICKS && !part.is_doubled, part.left()))?;
        let is_stuck = late.idle >= IDLE_TICKS && !late.is_doubled;
        let kept = if is_stuck { 0 } else { late.left() / 2 };
        let middle = (late.at + kept) / GROUP_CHUNKS * GROUP_CHUNKS;
        let rest = middle..late.end();
        if rest.is_empty() || !set(rest.clone()).is_subset(has) {
            return None;
        }
        match is_stuck {
            true => late.is_doubled = true,
            false => late.end.store(middle, Ordering::Relaxed),
        }
        Some(rest)
    }

    /// Notes how many bytes of a part have come. When the rest of it is here already, it ends there.
    pub(super) fn came(&mut self, id: PartId, bytes: u64) {
        let Some(part) = self.parts.get_mut(&id) else {
            return;
        };
        part.idle = 0;
        part.at = (part.start + bytes / 1024).max(part.at);
        if part.left() > 0 && set(part.at..part.end()).is_subset(&self.here) {
            part.end.store(part.at, Ordering::Relaxed);
        }
    }

    /// A second has passed. Returns the parts of which nothing has come for so many of them. Those that wait for
    /// this node do not grow older.
    pub(super) fn tick(&mut self, stalled_ticks: u32) -> Vec<(PartId, EndpointId)> {
        for part in self.parts.values_mut().filter(|part| !part.held.load(Ordering::Relaxed)) {
            part.age += 1;
            part.idle += 1;
        }
        let stalled = self.parts.iter().filter(|(_, part)| part.idle >= stalled_ticks);
        stalled.map(|(id, part)| (*id, part.provider)).collect()
    }

    /// Notes that a part is on its way no longer; whether it is here up to its end.
    pub(super) fn ended(&mut self, id: PartId, is_here: bool) {
        if let Some(part) = self.parts.remove(&id)
            && is_here
        {
            self.here |= set(part.start..part.end());
        }
    }
}

#[cfg(test)]
mod tests;
