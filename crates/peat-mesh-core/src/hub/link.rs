//! One live connection: what is on its way, what is waiting, and when to compare again.

use rand::{Rng, RngExt};

use super::peers::PeerView;
use super::reconcile::{Queue, Reply, compare_all};
use crate::answer::Request;
use crate::catalog::{Catalog, Summary};
use crate::id::{EndpointId, NodeName};
use crate::limits;
use crate::wire::{Changes, Frame};

/// After the last sign of a reconciliation, both sides are compared again this much later, in ms.
const SETTLE_MS: u64 = 100;
/// Changes that came by reconciliation are offered to other peers after this much quiet, in ms …
const NUDGE_MS: u64 = 50;
/// … but no later than this, in ms.
const NUDGE_MS_MAX: u64 = 2_000;
/// A probe is answered when all changes that came before it are on disk, or after this long, in ms.
const PROBE_WAIT_MS_MAX: u64 = 2_000;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: EndpointId,
    pub(super) name: NodeName,
    pub(super) incarnation: u64,
    pub(super) dialed: bool,
    pub(super) since_ms: u64,
    /// Bytes given to the connection that have not left yet.
    pub(super) unsent_bytes: usize,
    /// Whether changes were not pushed because the window was full.
    pub(super) skipped: bool,
    queue: Queue,
    answers_in_flight: usize,
    /// Changes from this peer that are not on disk yet.
    merging: usize,
    /// A probe that waits for `merging` to become 0: its round, what it said, when it came.
    waiting_probe: Option<(u32, Summary, u64)>,
    probe_at_ms: u64,
    nudged_since_ms: Option<u64>,
    round: u32,
    in_step: bool,
    in_step_at_ms: Option<u64>,
    received_documents: u64,
    sent_bytes: u64,
}

impl Link {
    pub(super) fn new(now_ms: u64, peer: EndpointId, name: NodeName, incarnation: u64, dialed: bool) -> Self {
        Self {
            peer,
            name,
            incarnation,
            dialed,
            since_ms: now_ms,
            unsent_bytes: 0,
            skipped: false,
            queue: Queue::default(),
            answers_in_flight: 0,
            merging: 0,
            waiting_probe: None,
            // One side asks first; the other follows only if nothing came.
            probe_at_ms: if dialed { now_ms } else { now_ms + limits::RECONCILE_EVERY_MS },
            nudged_since_ms: None,
            round: 0,
            in_step: false,
            in_step_at_ms: None,
            received_documents: 0,
            sent_bytes: 0,
        }
    }

    pub(super) fn next_wakeup(&self) -> u64 {
        let waiting = self.waiting_probe.map(|(_, _, since)| since + PROBE_WAIT_MS_MAX);
        self.probe_at_ms.min(waiting.unwrap_or(u64::MAX))
    }

    pub(super) fn describe(&self, view: &mut PeerView) {
        view.in_step = self.in_step && !self.busy();
        view.in_step_at_ms = self.in_step_at_ms;
        view.documents_to_send = self.queue.len() as u64;
        view.documents_received = self.received_documents;
        view.bytes_sent = self.sent_bytes;
        view.bytes_unsent = self.unsent_bytes as u64;
    }

    fn busy(&self) -> bool {
        self.merging > 0 || self.answers_in_flight > 0 || self.queue.len() > 0
    }

    /// A difference was seen: compare again once it is dealt with.
    pub(super) fn touch(&mut self, now_ms: u64) {
        self.in_step = false;
        // One side is enough to ask again; the other steps in if that is lost.
        self.probe_at_ms = now_ms + if self.dialed { SETTLE_MS } else { 5 * SETTLE_MS };
    }

    /// Something came from elsewhere that this peer may lack.
    pub(super) fn nudge(&mut self, now_ms: u64) {
        self.in_step = false;
        let since = *self.nudged_since_ms.get_or_insert(now_ms);
        self.probe_at_ms = (now_ms + NUDGE_MS).min(since + NUDGE_MS_MAX);
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.queue.push(request);
    }

    /// The next documents to read for this peer, if its window has room.
    pub(super) fn next_requests(&mut self) -> Option<Vec<Request>> {
        if self.queue.len() == 0
            || self.answers_in_flight >= limits::ANSWERS_IN_FLIGHT_MAX
            || self.unsent_bytes >= limits::SEND_WINDOW_BYTES / 2
        {
            return None;
        }
        self.answers_in_flight += 1;
        Some(self.queue.take(limits::ANSWER_BATCH_DOCUMENTS_MAX))
    }

    pub(super) fn answered(&mut self, now_ms: u64, rest: Vec<Request>) {
        self.answers_in_flight = self.answers_in_flight.saturating_sub(1);
        self.queue.put_back(rest);
        self.touch(now_ms);
    }

    pub(super) fn sent(&mut self, now_ms: u64, bytes: usize) {
        self.unsent_bytes = self.unsent_bytes.saturating_sub(bytes);
        self.sent_bytes += bytes as u64;
        if self.skipped && self.unsent_bytes < limits::SEND_WINDOW_BYTES / 4 {
            self.skipped = false;
            self.touch(now_ms);
        }
    }

    pub(super) fn receiving(&mut self, now_ms: u64, changes: &Changes) {
        self.merging += changes.documents.len();
        self.received_documents += changes.documents.len() as u64;
        if changes.repair {
            self.touch(now_ms);
        }
    }

    pub(super) fn merged(&mut self) {
        self.merging = self.merging.saturating_sub(1);
    }

    pub(super) fn in_step(&mut self, now_ms: u64, round: u32) {
        if round == self.round {
            self.in_step = true;
            self.in_step_at_ms = Some(now_ms);
        }
    }

    pub(super) fn probed(&mut self, now_ms: u64, round: u32, all: Summary) {
        self.waiting_probe = Some((round, all, now_ms));
    }

    pub(super) fn probe_waited_too_long(&self, now_ms: u64) -> bool {
        self.waiting_probe.is_some_and(|(_, _, since)| now_ms >= since + PROBE_WAIT_MS_MAX)
    }

    /// The question "is this all you have?", when it is time for it.
    pub(super) fn probe(&mut self, now_ms: u64, all: Summary, rng: &mut impl Rng) -> Option<Reply> {
        if now_ms < self.probe_at_ms {
            return None;
        }
        if self.busy() || self.unsent_bytes > 0 {
            self.probe_at_ms = now_ms + SETTLE_MS;
            return None;
        }
        let every = limits::RECONCILE_EVERY_MS;
        self.probe_at_ms = now_ms + every - every / 10 + rng.random_range(0..every / 5);
        self.nudged_since_ms = None;
        self.round = self.round.wrapping_add(1);
        Some(Reply::frame(Frame::Probe { round: self.round, all }))
    }
}

/// The peer's probe, and the answer to it.
impl Link {
    pub(super) fn take_probe_if_idle(&mut self, now_ms: u64, catalog: &Catalog) -> Option<Reply> {
        if self.merging > 0 { None } else { self.take_probe(now_ms, catalog) }
    }

    pub(super) fn take_probe(&mut self, now_ms: u64, catalog: &Catalog) -> Option<Reply> {
        let (round, theirs, _) = self.waiting_probe.take()?;
        let reply = compare_all(catalog, round, theirs);
        if !reply.moves() {
            self.in_step = true;
            self.in_step_at_ms = Some(now_ms);
            if !self.dialed {
                self.probe_at_ms = now_ms + 2 * limits::RECONCILE_EVERY_MS;
            }
        }
        Some(reply)
    }
}
