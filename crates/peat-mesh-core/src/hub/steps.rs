//! How far the two ends of a link have come in being equal: comparisons, what they cost, and with what they ended.
//!
//! A reconciliation begins with a probe and ends when one end says that both are equal.

use super::Hub;
use super::link::{Inbound, Link};
use crate::catalog::{Prefix, Summary};
use crate::wire::{Changes, Frame, HEADER_BYTES, Want};

/// While somebody waits, the next comparison comes this long after the last one at the earliest, in milliseconds …
const HURRY_MS: u64 = 20;
/// … doubled for each one in a row that changed nothing, up to so many times.
const HURRY_DOUBLINGS_MAX: u32 = 6;

/// A comparison of two nodes and the exchange of what it found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciliation {
    /// When its first frame came or went, on the hub's clock.
    pub began_ms: u64,
    /// When both ends were found equal; `None` while it is under way.
    pub ended_ms: Option<u64>,
    /// How many times the peer answered.
    pub rounds: u32,
    /// Bytes of the frames that went to the peer.
    pub bytes_sent: u64,
    /// Bytes of the frames that came from the peer.
    pub bytes_received: u64,
}

/// How far a link has come in being equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkSync {
    /// Whether the last comparison was equal, with exactly what is here now, and nothing is on its way to the disk.
    pub in_step: bool,
    /// The reconciliation that is under way.
    pub current: Option<Reconciliation>,
    /// The last one that ended.
    pub last: Option<Reconciliation>,
    /// Documents that this node asked the peer for and that have not come yet.
    pub documents_to_receive: u64,
    /// When this node asked whether both are equal, if the peer has not answered yet.
    pub asked_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Steps {
    current: Option<Reconciliation>,
    last: Option<Reconciliation>,
    /// Whether the last frame of the comparison was ours.
    is_our_turn_over: bool,
    documents_to_receive: u64,
    /// What both had when they were last found equal, unless a difference was seen since.
    equal_with: Option<Summary>,
    /// Comparisons that this node began, and the number of the last one that found both equal.
    asked: u64,
    equal: u64,
    asked_at_ms: u64,
    is_waiting: bool,
}

impl Steps {
    pub(super) fn view(&self, in_step: bool) -> LinkSync {
        LinkSync {
            in_step,
            current: self.current,
            last: self.last,
            documents_to_receive: self.documents_to_receive,
            asked_ms: self.is_waiting.then_some(self.asked_at_ms),
        }
    }

    /// Comparisons that this node began so far.
    pub(super) fn asked_count(&self) -> u64 {
        self.asked
    }

    /// Whether a comparison that began after so many found both equal.
    pub(super) fn was_equal_after(&self, asked: u64) -> bool {
        self.equal > asked
    }

    pub(super) fn is_equal_with(&self, all: Summary) -> bool {
        self.equal_with == Some(all)
    }

    /// When the next comparison may begin for somebody who waits; `None` before the last one is answered.
    pub(super) fn may_ask_at(&self, futile: u32) -> Option<u64> {
        let wait = HURRY_MS << futile.min(HURRY_DOUBLINGS_MAX);
        (!self.is_waiting).then_some(if self.asked == 0 { 0 } else { self.asked_at_ms + wait })
    }

    /// What is compared is another set from now on.
    pub(super) fn begin_again(&mut self) {
        *self = Self { asked: self.asked, equal: self.equal, last: self.last, ..Self::default() };
    }

    /// This node asks whether both are equal.
    pub(super) fn asked(&mut self, now_ms: u64) {
        self.asked += 1;
        (self.asked_at_ms, self.is_waiting) = (now_ms, true);
    }

    /// Both are equal, by the answer to this node's question (`is_ours`) or to the peer's.
    pub(super) fn equal(&mut self, now_ms: u64, with: Option<Summary>, is_ours: bool) {
        self.equal_with = with;
        self.documents_to_receive = 0;
        if is_ours {
            self.equal = self.asked;
        }
        if let Some(mut done) = self.current.take() {
            done.ended_ms = Some(now_ms);
            self.last = Some(done);
        }
    }

    /// A frame came in.
    pub(super) fn came(&mut self, now_ms: u64, frame: &Frame) {
        match frame {
            Frame::Probe { all, .. } if self.equal_with == Some(*all) => {}
            Frame::InStep { .. } => {}
            Frame::Probe { .. } | Frame::Ranges(_) | Frame::Items(_) | Frame::Fetch(_) | Frame::Want(_) => {
                self.equal_with = None;
            }
            Frame::Changes(changes) if changes.repair => {
                let count = changes.documents.len() as u64;
                self.documents_to_receive = self.documents_to_receive.saturating_sub(count);
            }
            _ => return,
        }
        self.is_waiting &= matches!(frame, Frame::Probe { .. });
        let is_answer = std::mem::take(&mut self.is_our_turn_over);
        let current = self.current(now_ms);
        current.bytes_received += frame_bytes(frame) as u64;
        current.rounds += u32::from(is_answer || current.rounds == 0);
    }

    /// A frame goes out.
    pub(super) fn went(&mut self, now_ms: u64, frame: &[u8]) {
        let kind = frame.first().copied().unwrap_or_default();
        let body = frame.get(HEADER_BYTES..).unwrap_or_default();
        let bytes = frame.len() as u64;
        match kind {
            2 => {}
            // It ends a reconciliation, which is noted already.
            3 => {
                if let Some(last) = &mut self.last {
                    last.bytes_sent += bytes;
                }
                return;
            }
            4..=7 => self.equal_with = None,
            8 if body.first() == Some(&1) => {}
            _ => return,
        }
        if matches!(kind, 6 | 7) {
            self.documents_to_receive += leading_count(body);
        }
        self.is_our_turn_over = true;
        self.current(now_ms).bytes_sent += bytes;
    }

    fn current(&mut self, now_ms: u64) -> &mut Reconciliation {
        self.current.get_or_insert(Reconciliation { began_ms: now_ms, ..Reconciliation::default() })
    }
}

impl Hub {
    pub(super) fn inbound_of(&self, link: &Link) -> Inbound {
        self.inbound.get(&link.name).copied().unwrap_or_default()
    }

    /// All that is compared on a link.
    pub(super) fn summary_for(&self, link: &Link) -> Summary {
        self.scopes.catalog(&self.catalog, &link.crossing).summary(Prefix::ALL)
    }
}

/// The number at the beginning of a body.
fn leading_count(body: &[u8]) -> u64 {
    let end = body.iter().position(|byte| byte & 0x80 == 0).unwrap_or(0);
    body.iter().take(end + 1).rev().take(4).fold(0, |count, byte| (count << 7) | u64::from(byte & 0x7f))
}

/// What a frame of a comparison takes on the wire, give or take a few bytes for counts.
fn frame_bytes(frame: &Frame) -> usize {
    let sparse = |parts: &[Option<[u8; 4]>]| 2 + 4 * parts.iter().flatten().count();
    let want =
        |want: &Want| 4 + want.doc.as_str().len() + 32 * (want.heads.as_slice().len() + want.have.len());
    let prefix = |prefix: Prefix| 2 + usize::from(prefix.depth()).div_ceil(2);
    HEADER_BYTES
        + match frame {
            Frame::Probe { .. } => 18,
            Frame::InStep { .. } => 4,
            Frame::Ranges(groups) => groups.iter().map(|it| prefix(it.prefix) + sparse(&it.parts)).sum(),
            Frame::Items(ranges) => ranges.iter().map(|it| prefix(it.prefix) + 24 * it.items.len()).sum(),
            Frame::Fetch(positions) => 2 + 16 * positions.len(),
            Frame::Want(wants) => wants.iter().map(want).sum(),
            Frame::Changes(Changes { documents, .. }) => {
                documents.iter().map(|(doc, chunks)| 4 + doc.as_str().len() + chunks.len()).sum()
            }
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Position;

    #[test]
    fn the_count_of_a_frame_is_read_from_its_bytes() {
        for count in [0usize, 1, 127, 128, 300, 1024] {
            let frame = Frame::Fetch(vec![Position(7); count]).encode();
            assert_eq!(leading_count(&frame[HEADER_BYTES..]), count as u64);
        }
        assert_eq!(leading_count(&[]), 0);
    }

    #[test]
    fn a_difference_that_is_seen_later_takes_being_equal_back() {
        let all = Summary { count: 1, ..Summary::EMPTY };
        let mut steps = Steps::default();
        steps.asked(0);
        steps.equal(1, Some(all), true);
        assert!(steps.is_equal_with(all) && steps.was_equal_after(0));
        steps.came(2, &Frame::Probe { round: 1, all });
        assert!(steps.is_equal_with(all));
        steps.came(3, &Frame::Probe { round: 2, all: Summary::EMPTY });
        assert!(!steps.is_equal_with(all));
    }
}
