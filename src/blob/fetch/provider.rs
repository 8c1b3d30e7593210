//! A peer that has some of a blob: what it has, how fast it is, and whether it is to be asked.

use std::time::Duration;

use bao_tree::ChunkRanges;
use peat_mesh_core::EndpointId;
use tokio::time::Instant;

use crate::blob::find::{Found, Has};

/// Parts that one provider is asked for at once, so that it never waits for the next question.
const PARTS_COUNT_MAX: usize = 2;
/// Of the first part, in chunks of 1 KiB.
const FIRST_PART_CHUNKS: u64 = 4 * 1024;
/// Of any part, in chunks.
pub(super) const PART_CHUNKS_MIN: u64 = 64;
const PART_CHUNKS_MAX: u64 = 16 * 1024;
/// A part is about as long as a provider needs so long for.
const PART: Duration = Duration::from_millis(500);
/// What a relay on the way counts for.
const RELAYED: Duration = Duration::from_millis(500);
/// A provider is far when its way is so many times as long as the nearest one's, and by at least [`FAR_MIN`].
const FAR: u32 = 8;
const FAR_MIN: Duration = Duration::from_millis(50);
/// Waits after a provider has failed: the first one, doubled each time, and the longest.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A provider.
#[derive(Debug)]
pub(super) struct Provider {
    found: Found,
    pub(super) has: ChunkRanges,
    /// What it has brought in this fetch, in bytes.
    pub(super) bytes: u64,
    pub(super) asked: usize,
    bytes_per_second: Option<f64>,
    failures: u32,
    wait_until: Option<Instant>,
}

impl Provider {
    pub(super) fn new(found: Found) -> Self {
        let has = match found.answer.has {
            Has::Whole => ChunkRanges::all(),
            _ => ChunkRanges::empty(),
        };
        Self { found, has, bytes: 0, asked: 0, bytes_per_second: None, failures: 0, wait_until: None }
    }

    pub(super) fn peer(&self) -> EndpointId {
        self.found.way.peer
    }

    /// Whether it has to be asked what it has.
    pub(super) fn is_partial(&self) -> bool {
        self.found.answer.has != Has::Whole
    }

    /// The length of the blob, as it says.
    pub(super) fn size(&self) -> Option<u64> {
        self.found.answer.size
    }

    /// Whether it may have more later, or again.
    pub(super) fn may_bring_more(&self) -> bool {
        self.found.answer.has == Has::Growing || self.failures > 0
    }

    /// Takes what it said when it was asked again.
    pub(super) fn found_again(&mut self, found: Found) {
        if found.answer.has == Has::Whole {
            self.has = ChunkRanges::all();
        }
        self.found = found;
    }

    /// Notes what else it has. Whether it has grown since it was first heard of.
    pub(super) fn note(&mut self, has: ChunkRanges) -> bool {
        let has_grown = !self.has.is_empty() && !has.is_subset(&self.has);
        self.has |= has;
        has_grown
    }

    /// How long it takes to reach it, as far as that is known.
    pub(super) fn distance(&self) -> Duration {
        self.found.way.rtt + if self.found.way.is_relayed { RELAYED } else { Duration::ZERO }
    }

    /// Near and idle ones have a low cost.
    pub(super) fn cost(&self) -> Duration {
        (self.distance() + Duration::from_millis(1)) * (1 + u32::from(self.found.answer.busy))
    }

    pub(super) fn is_far(&self, nearest: Duration) -> bool {
        let distance = self.distance();
        distance > nearest * FAR && distance > nearest + FAR_MIN
    }

    pub(super) fn may_be_asked(&self, now: Instant) -> bool {
        self.wait_until.is_none_or(|until| until <= now)
    }

    pub(super) fn has_room(&self) -> bool {
        self.asked < PARTS_COUNT_MAX
    }

    pub(super) fn part_chunks(&self) -> u64 {
        let Some(rate) = self.bytes_per_second else {
            return FIRST_PART_CHUNKS;
        };
        ((rate * PART.as_secs_f64()) as u64 / 1024).clamp(PART_CHUNKS_MIN, PART_CHUNKS_MAX)
    }

    /// A part has come.
    pub(super) fn succeeded(&mut self, bytes: u64, took: Duration) {
        self.failures = 0;
        self.wait_until = None;
        let rate = bytes as f64 * self.asked.max(1) as f64 / took.as_secs_f64().max(0.001);
        self.bytes_per_second = Some(self.bytes_per_second.map_or(rate, |old| (old + rate) / 2.0));
    }

    /// A part has not.
    pub(super) fn failed(&mut self, now: Instant) {
        let wait = WAIT * 2_u32.saturating_pow(self.failures.min(10));
        self.failures += 1;
        self.wait_until = Some(now + wait.min(WAIT_MAX));
    }
}
