//! What a peer was offered, so that one that answers much more than that is noticed.
//!
//! A comparison needs no memory: each answer is about ranges that the other side named, and an answer that comes twice,
//! late or out of nowhere does no harm but to cost a little. So nothing is remembered but numbers: each range, document
//! or change that is named to the peer lets it name one back. Who goes far beyond that does not compare.

use crate::limits;
use crate::wire::Frame;

/// The numbers of one connection.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// Ranges that it may go into.
    ranges: u64,
    /// Documents that it may fetch.
    positions: u64,
    /// Documents that it may want to have more of.
    wants: u64,
    /// What it named beyond that since this node last asked.
    beyond: u64,
}

impl Offered {
    /// A frame is on its way to the peer.
    pub(super) fn sent(&mut self, frame: &Frame) {
        match frame {
            Frame::Probe { .. } => {
                self.ranges += 1;
                self.beyond = 0;
            }
            Frame::Ranges(groups) => self.ranges += 16 * groups.len() as u64,
            Frame::Items(ranges) => {
                let items = ranges.iter().map(|range| range.items.len() as u64).sum::<u64>();
                // Of a scoped link: what may not be asked for is shown instead, each a range of one.
                self.ranges += items;
                self.positions += items;
                self.wants += items;
            }
            Frame::Want(wants) => self.wants += wants.len() as u64,
            Frame::Changes(changes) => self.wants += changes.documents.len() as u64,
            Frame::Gossip { .. } => self.wants += limits::CHANGES_PER_FRAME_MAX as u64,
            _ => {}
        }
    }

    /// A frame came from the peer; what is wrong with it, in words.
    pub(super) fn received(&mut self, frame: &Frame) -> Option<String> {
        let (left, named) = match frame {
            Frame::Ranges(groups) => (&mut self.ranges, groups.len()),
            Frame::Items(ranges) => (&mut self.ranges, ranges.len()),
            Frame::Fetch(positions) => (&mut self.positions, positions.len()),
            Frame::Want(wants) => (&mut self.wants, wants.len()),
            _ => return None,
        };
        let named = named as u64;
        self.beyond += named.saturating_sub(*left);
        *left = left.saturating_sub(named);
        (self.beyond > limits::UNOFFERED_COUNT_MAX).then(|| {
            format!(
                "its {} frames name {} ranges or documents more than it was offered in this comparison, at most {} \
                 are borne",
                frame.name(),
                self.beyond,
                limits::UNOFFERED_COUNT_MAX
            )
        })
    }
}

/// How often a peer compared while nothing moved.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Rounds that it has left.
    left: u32,
    /// Since when the next one to come is counted.
    since_ms: u64,
    has_moved: bool,
    last_ms: Option<u64>,
}

impl Rounds {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { left: limits::ROUNDS_FUTILE_COUNT_MAX, since_ms: now_ms, has_moved: true, last_ms: None }
    }

    /// Something of which both may be nearer to each other: a document that came or went, or a change here.
    pub(super) fn moved(&mut self) {
        self.has_moved = true;
    }

    /// The peer asked, and there was a difference. `is_excused` when a difference that stays is normal and it has
    /// another state than last time. What is wrong with that, in words.
    pub(super) fn round(&mut self, now_ms: u64, is_excused: bool) -> Option<String> {
        let again = (now_ms - self.since_ms) / limits::ROUND_FUTILE_EVERY_MS;
        self.since_ms += again * limits::ROUND_FUTILE_EVERY_MS;
        self.left = self.left.saturating_add(again as u32).min(limits::ROUNDS_FUTILE_COUNT_MAX);
        let is_slow = self.last_ms.replace(now_ms).is_none_or(|last| now_ms >= last + ROUND_MS_MIN);
        if std::mem::take(&mut self.has_moved) || is_excused && is_slow {
            return None;
        }
        if self.left == 0 {
            return Some(format!(
                "it compared more than {} times in a row without anything to show for it",
                limits::ROUNDS_FUTILE_COUNT_MAX
            ));
        }
        self.left -= 1;
        None
    }
}

/// Nobody has a reason to ask more often, in milliseconds.
const ROUND_MS_MIN: u64 = 40;
