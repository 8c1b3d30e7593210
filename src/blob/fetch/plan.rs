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

use crate::blob::chunks::{GROUP_CHUNKS, of_bytes, run, set};

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
        let mut count = 0;
        let mut from = 0;
        while let Some(chunks) = run(&left, from) {
            count += chunks.end - chunks.start;
            from = chunks.end;
        }
        count
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
        let mut bytes = 0;
        let mut from = 0;
        while let Some(chunks) = run(&have, from) {
            bytes += (chunks.end * 1024).min(self.size).saturating_sub(chunks.start * 1024);
            from = chunks.end;
        }
        bytes
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
        let id = self.next_id;
        self.next_id += 1;
        let end: PartEnd = Arc::new(AtomicU64::new(chunks.end));
        let (start, at) = (chunks.start, chunks.start);
        let part = Part { provider, start, end: Arc::clone(&end), at, age: 0, idle: 0, is_doubled: false };
        self.parts.insert(id, part);
        Some(Next { id, chunks, end })
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

    /// A second has passed. Returns the parts of which nothing has come for so many of them.
    pub(super) fn tick(&mut self, stalled_ticks: u32) -> Vec<(PartId, EndpointId)> {
        for part in self.parts.values_mut() {
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
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const A: EndpointId = EndpointId([1; 32]);
    const B: EndpointId = EndpointId([2; 32]);
    const C: EndpointId = EndpointId([3; 32]);

    fn plan(size: u64) -> Plan {
        let mut plan = Plan::new(size, ChunkRanges::empty());
        plan.want(None);
        plan
    }

    fn next(
        plan: &mut Plan,
        provider: EndpointId,
        front: u64,
        chunks_max: u64,
    ) -> Option<(PartId, Range<u64>)> {
        plan.next(provider, &ChunkRanges::all(), front, chunks_max).map(|next| (next.id, next.chunks))
    }

    #[test]
    fn a_blob_is_cut_into_parts_that_cover_it_once() {
        for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 5 * MIB + 7] {
            let mut plan = plan(size);
            let mut at = 0;
            while let Some((id, chunks)) = next(&mut plan, A, 0, 1024) {
                assert_eq!(chunks.start, at, "{size}");
                assert!(chunks.end - chunks.start <= 1024 && chunks.end % GROUP_CHUNKS == 0);
                at = chunks.end;
                plan.came(id, (chunks.end - chunks.start) * 1024);
                plan.ended(id, true);
            }
            assert!(plan.is_done() && plan.is_complete() && plan.parts.is_empty(), "{size}");
            assert_eq!(plan.have_bytes(), size);
        }
    }

    #[test]
    fn what_a_reader_waits_for_comes_first_and_the_beginning_after_it() {
        let mut plan = plan(4 * MIB);
        assert_eq!(next(&mut plan, A, 3 * MIB + 5, 2048).unwrap().1, 3072..4096);
        assert_eq!(next(&mut plan, A, 3 * MIB + 5, 2048).unwrap().1, 0..2048);
    }

    #[test]
    fn only_what_is_wanted_is_asked_for() {
        let mut plan = Plan::new(100 * MIB, ChunkRanges::empty());
        plan.want(Some(vec![10 * MIB + 1..10 * MIB + 2, 100 * MIB - 1..200 * MIB]));
        let (one, chunks) = next(&mut plan, A, 0, 1024).unwrap();
        assert_eq!(chunks, 10 * 1024..10 * 1024 + 16);
        let (two, chunks) = next(&mut plan, A, 0, 1024).unwrap();
        assert_eq!(chunks, 100 * 1024 - 16..100 * 1024);
        assert_eq!(next(&mut plan, A, 0, 1024), None);
        plan.ended(one, true);
        plan.ended(two, true);
        assert!(plan.is_done() && !plan.is_complete());
    }

    #[test]
    fn a_provider_is_asked_only_for_what_it_has() {
        let mut plan = plan(MIB);
        let has = set(512..768);
        assert_eq!(plan.next(A, &has, 0, 1024).unwrap().chunks, 512..768);
        assert!(plan.next(A, &has, 0, 1024).is_none());
        assert!(plan.next(A, &ChunkRanges::empty(), 0, 1024).is_none());
    }

    #[test]
    fn a_part_that_broke_off_is_asked_for_again() {
        let mut plan = plan(MIB);
        let (id, chunks) = next(&mut plan, A, 0, 1024).unwrap();
        plan.came(id, 100 * 1024);
        plan.ended(id, false);
        // The store says what of it has been kept.
        plan.have(&set(0..96));
        assert_eq!(next(&mut plan, A, 0, 1024).unwrap().1, 96..chunks.end);
    }

    #[test]
    fn an_idle_provider_takes_over_the_second_half_of_a_slow_part() {
        let mut plan = plan(4 * MIB);
        let slow = plan.next(A, &ChunkRanges::all(), 0, 4096).unwrap();
        plan.came(slow.id, MIB);
        assert_eq!(next(&mut plan, B, 0, 4096), None, "it may be fast");
        for _ in 0..SLOW_TICKS {
            plan.came(slow.id, MIB);
            plan.tick(99);
            plan.came(slow.id, MIB);
        }
        assert_eq!(next(&mut plan, A, 0, 4096), None, "it does not help itself");
        let (other, half) = next(&mut plan, B, 0, 4096).unwrap();
        assert_eq!(half, 2560..4096);
        assert_eq!(slow.end.load(Ordering::Relaxed), 2560, "each half comes once");
        plan.ended(other, true);
        plan.ended(slow.id, true);
        assert!(plan.is_complete());
    }

    #[test]
    fn what_does_not_come_is_asked_of_another_and_of_one_only() {
        let mut plan = plan(MIB / 2);
        let stuck = plan.next(A, &ChunkRanges::all(), 0, 4096).unwrap();
        plan.came(stuck.id, 100 * 1024);
        plan.tick(99);
        assert_eq!(next(&mut plan, B, 0, 4096), None);
        assert_eq!(plan.tick(2), [(stuck.id, A)]);
        let (other, rest) = next(&mut plan, B, 0, 4096).unwrap();
        assert_eq!(rest, 96..512);
        assert_eq!(next(&mut plan, C, 0, 4096), None);
        plan.ended(other, true);
        plan.came(stuck.id, 101 * 1024);
        assert_eq!(stuck.end.load(Ordering::Relaxed), 101, "the rest is here");
    }

    #[test]
    fn random_losses_never_leave_a_hole() {
        for seed in 0..200_u64 {
            let mut state = seed * 2 + 1;
            let mut random = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let mut plan = plan(random(3 * MIB));
            let mut asked = Vec::new();
            for step in 0.. {
                assert!(step < 100_000, "seed {seed} does not end: {plan:?}");
                if plan.is_done() {
                    break;
                }
                match random(5) {
                    0 | 1 => {
                        let provider = [A, B, C][random(3) as usize];
                        let next = next(&mut plan, provider, random(3 * MIB), 1 + random(700));
                        asked.extend(next.map(|(id, _)| id));
                    }
                    2 => drop(plan.tick(99)),
                    _ if !asked.is_empty() => {
                        let id = asked.swap_remove(random(asked.len() as u64) as usize);
                        plan.came(id, random(MIB));
                        plan.ended(id, random(3) > 0);
                    }
                    _ => {}
                }
            }
            assert!(plan.here.is_superset(&plan.wanted), "seed {seed}");
        }
    }
}
