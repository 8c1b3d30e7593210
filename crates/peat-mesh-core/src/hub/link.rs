//! One live connection: what is on its way, what is waiting, and when to compare again.

use rand::{Rng, RngExt};

use super::confirm::Questions;
use super::offered::{Offered, Rounds};
use super::patience::Patience;
use super::peers::PeerView;
use super::presence::LinkPresence;
use super::queue::{Held, Queue};
use super::reconcile::{Reply, compare_all};
use super::scope::Crossing;
use super::steps::Steps;
use crate::answer::Request;
use crate::catalog::{Catalog, Prefix, Summary};
use crate::id::{EndpointId, NodeName};
use crate::limits;
use crate::wire::{Changes, Frame};

/// After the last sign of a reconciliation, both sides are compared again this much later, in ms.
const SETTLE_MS: u64 = 100;
/// Doublings of that wait while nothing changes.
const FUTILE_MAX: u32 = 6;
/// Changes that came by reconciliation are offered to other peers after this much quiet, in ms …
const NUDGE_MS: u64 = 50;
/// … but no later than this, in ms.
const NUDGE_MS_MAX: u64 = 2_000;

/// How far this node has come with the changes of one peer, over all connections to it in turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Inbound {
    /// Changes that came in.
    pub(super) received: u64,
    /// Those of them that a commit is over for.
    pub(super) merged: u64,
}

impl Inbound {
    pub(super) fn is_idle(self) -> bool {
        self.merged >= self.received
    }
}

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
    /// What may cross.
    pub(super) crossing: Crossing,
    /// Whether this link is kept in any case and the overlay does not use it.
    pub(super) is_kept: bool,
    /// Whether both ends use the overlay: then updates go over it as the overlay wants only.
    pub(super) gossips: bool,
    /// Since when nobody needs it, as far as this node knows.
    pub(super) unneeded_since_ms: Option<u64>,
    queue: Queue,
    /// Answers that wait until little is unsent.
    pub(super) held: Held,
    /// What it cannot be sent, in words.
    pub(super) unsendable: Option<String>,
    offered: Offered,
    rounds: Rounds,
    pub(super) patience: Patience,
    /// What the peer last said that it has.
    theirs: Option<Summary>,
    answers_in_flight: usize,
    /// The peer's probe: its round, what it said, and the number of changes that came before it. It is
    /// answered when those are on disk, so that nothing is asked for twice.
    waiting_probe: Option<(u32, Summary, u64)>,
    probe_at_ms: u64,
    /// Changes that had come in when this node's own probe was due; it is sent when they are on disk.
    probe_after: Option<u64>,
    nudged_since_ms: Option<u64>,
    round: u32,
    /// What this node had when it last asked.
    asked_with: Option<Summary>,
    /// How many times in a row it asked with the same and the answer changed nothing.
    futile: u32,
    in_step: bool,
    in_step_at_ms: Option<u64>,
    received_documents: u64,
    repaired_documents: u64,
    /// Bytes of frames given to the connection.
    pub(super) sent_bytes: u64,
    /// When the last document that the peer asked for was on its way out …
    owed_at_ms: u64,
    /// … and whether one still is.
    answer_unsent: bool,
    pub(super) presence: LinkPresence,
    pub(super) steps: Steps,
    /// What the peer wants to be told.
    pub(super) questions: Questions,
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
            crossing: Crossing::Open,
            is_kept: false,
            gossips: false,
            unneeded_since_ms: None,
            queue: Queue::default(),
            held: Held::default(),
            unsendable: None,
            offered: Offered::default(),
            rounds: Rounds::new(now_ms),
            patience: Patience::default(),
            theirs: None,
            answers_in_flight: 0,
            waiting_probe: None,
            // One side asks first; the other follows only if nothing came.
            probe_at_ms: if dialed { now_ms } else { now_ms + limits::RECONCILE_EVERY_MS },
            probe_after: None,
            nudged_since_ms: None,
            round: 0,
            asked_with: None,
            futile: 0,
            in_step: false,
            in_step_at_ms: None,
            received_documents: 0,
            repaired_documents: 0,
            sent_bytes: 0,
            owed_at_ms: now_ms,
            answer_unsent: false,
            presence: LinkPresence::default(),
            steps: Steps::default(),
            questions: Questions::default(),
        }
    }

    /// When this link needs the time next. A probe that waits for the disk needs a commit instead.
    pub(super) fn next_wakeup(&self) -> Option<u64> {
        let probe = (self.probe_after.is_none() && self.crossing.is_settled()).then_some(self.probe_at_ms);
        probe.into_iter().chain(self.patience.until_ms()).min()
    }

    pub(super) fn describe(&self, inbound: Inbound, view: &mut PeerView) {
        view.in_step = self.in_step && inbound.is_idle() && !self.is_answering();
        view.documents_to_merge = inbound.received - inbound.merged;
        view.in_step_at_ms = self.in_step_at_ms;
        view.documents_to_send = self.queue.len() as u64;
        view.documents_received = self.received_documents;
        view.documents_repaired = self.repaired_documents;
        view.bytes_sent = self.sent_bytes;
        view.bytes_unsent = (self.unsent_bytes + self.held.bytes) as u64;
        view.silent_since_ms = self.presence.silent_since_ms;
        view.scope = self.crossing.describe();
        view.last_error = self.crossing.complaint().or(self.unsendable.clone()).or(view.last_error.take());
    }

    /// Whether not everything may cross. Such a link is no way for what others pass on.
    #[must_use]
    pub(super) fn is_scoped(&self) -> bool {
        !matches!(self.crossing, Crossing::Open)
    }

    /// Whether it is no part of the overlay.
    pub(super) fn is_apart(&self) -> bool {
        self.is_kept || self.is_scoped()
    }

    /// What is compared is another set from now on.
    pub(super) fn begin_again(&mut self, now_ms: u64) {
        self.waiting_probe = None;
        self.asked_with = None;
        self.steps.begin_again();
        self.in_step_at_ms = None;
        self.futile = 0;
        self.round = self.round.wrapping_add(1);
        self.queue = Queue::default();
        self.compare_now(if self.dialed { now_ms } else { now_ms + SETTLE_MS });
    }

    pub(super) fn is_answering(&self) -> bool {
        self.answers_in_flight > 0 || self.queue.len() > 0 || !self.held.is_empty()
    }

    /// A difference was seen: compare again once it is dealt with.
    pub(super) fn touch(&mut self, now_ms: u64) {
        self.in_step = false;
        self.probe_after = None;
        // One side is enough to ask again; the other steps in if that is lost.
        let settle = if self.dialed { SETTLE_MS } else { 5 * SETTLE_MS };
        self.probe_at_ms = now_ms + (settle << self.futile).min(limits::RECONCILE_EVERY_MS);
    }

    /// Something came from elsewhere that this peer may lack.
    pub(super) fn nudge(&mut self, now_ms: u64) {
        self.in_step = false;
        let since = *self.nudged_since_ms.get_or_insert(now_ms);
        self.probe_at_ms = (now_ms + NUDGE_MS).min(since + NUDGE_MS_MAX);
        self.probe_after = None;
    }

    /// Compares as soon as the disk has what came in.
    pub(super) fn compare_now(&mut self, now_ms: u64) {
        self.in_step = false;
        self.probe_at_ms = now_ms;
        self.probe_after = None;
    }

    /// Whether the last comparison was equal and with all that is here now, and nothing is on its way to the disk.
    pub(super) fn is_strictly_in_step(&self, all: Summary, inbound: Inbound) -> bool {
        self.crossing.is_settled() && self.steps.is_equal_with(all) && inbound.is_idle()
    }

    /// Somebody waits until both are equal: compares as soon as that may be, once for each answer.
    pub(super) fn hurry(&mut self, now_ms: u64, inbound: Inbound) {
        if self.is_answering() || !inbound.is_idle() || self.unsent_bytes >= limits::SEND_WINDOW_BYTES {
            return;
        }
        if let Some(at_ms) = self.steps.may_ask_at(self.futile) {
            self.probe_at_ms = self.probe_at_ms.min(at_ms.max(now_ms));
            self.probe_after = None;
        }
    }

    pub(super) fn is_equal(&self) -> bool {
        self.in_step
    }

    /// Until when something was owed to the peer; `None` while it still is.
    pub(super) fn owed_until_ms(&self) -> Option<u64> {
        let owes = self.unsent_bytes > 0 || self.skipped || self.is_answering();
        (!owes).then_some(self.owed_at_ms)
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.queue.push(request);
    }

    /// The next documents to read for this peer, if its window has room.
    pub(super) fn next_requests(&mut self) -> Option<Vec<Request>> {
        if !self.queue.is_ready()
            || self.answers_in_flight >= limits::ANSWERS_IN_FLIGHT_MAX
            || self.unsent_bytes + self.held.bytes >= limits::SEND_WINDOW_BYTES / 2
        {
            return None;
        }
        self.answers_in_flight += 1;
        Some(self.queue.take())
    }

    pub(super) fn answered(&mut self, now_ms: u64, rest: Vec<Request>, is_begun: bool, bytes: usize) {
        self.answers_in_flight = self.answers_in_flight.saturating_sub(1);
        self.owed_at_ms = now_ms;
        self.answer_unsent = true;
        self.queue.put_back(rest, is_begun, bytes);
        if self.answers_in_flight == 0 {
            self.queue.nothing_is_read();
        }
        self.touch(now_ms);
    }

    pub(super) fn sent(&mut self, now_ms: u64, bytes: usize) {
        self.unsent_bytes = self.unsent_bytes.saturating_sub(bytes);
        self.patience.left(now_ms, self.unsent_bytes);
        if self.unsent_bytes == 0 && std::mem::take(&mut self.answer_unsent) {
            self.owed_at_ms = now_ms;
        }
        if self.skipped && self.unsent_bytes < limits::SEND_WINDOW_BYTES / 4 {
            self.skipped = false;
            self.touch(now_ms);
        }
    }

    pub(super) fn receiving(&mut self, now_ms: u64, changes: &Changes) {
        self.received_documents += changes.documents.len() as u64;
        if changes.repair {
            self.touch(now_ms);
        }
    }

    /// A comparison brought a change that was not here.
    pub(super) fn repaired(&mut self) {
        self.repaired_documents += 1;
    }

    pub(super) fn in_step(&mut self, now_ms: u64, round: u32) {
        if round == self.round {
            self.in_step = true;
            self.futile = 0;
            self.in_step_at_ms = Some(now_ms);
            self.steps.equal(now_ms, self.asked_with, true);
        }
    }

    /// A frame is on its way out that the peer's comparisons may refer to.
    pub(super) fn said(&mut self, now_ms: u64, frame: &Frame) {
        self.offered.sent(frame);
        match frame {
            Frame::Changes(_) => self.rounds.moved(),
            Frame::Probe { .. } | Frame::Scope(_) => self.patience.asked(now_ms),
            _ => {}
        }
    }

    /// A frame came in; what is wrong with it, in words.
    pub(super) fn hear(&mut self, frame: &Frame) -> Option<String> {
        if !matches!(frame, Frame::Presence(_) | Frame::Gossip { .. }) {
            self.patience.heard();
        }
        if self.crossing.is_settled() { self.offered.received(frame) } else { None }
    }

    /// Something was written here.
    pub(super) fn moved(&mut self) {
        self.rounds.moved();
    }

    /// The peer began a comparison that finds a difference; what is wrong with that, in words.
    pub(super) fn compared(
        &mut self,
        now_ms: u64,
        theirs: Summary,
        inbound: Inbound,
        may_differ: bool,
    ) -> Option<String> {
        if !inbound.is_idle() {
            self.rounds.moved();
        }
        let is_other = self.theirs.replace(theirs) != Some(theirs);
        self.rounds.round(now_ms, may_differ && is_other)
    }

    pub(super) fn probed(&mut self, round: u32, all: Summary, inbound: Inbound) {
        self.waiting_probe = Some((round, all, inbound.received));
    }

    /// The question "is this all you have?", when it is time for it.
    pub(super) fn probe(
        &mut self,
        now_ms: u64,
        catalog: &Catalog,
        inbound: Inbound,
        rng: &mut impl Rng,
    ) -> Option<Reply> {
        if now_ms < self.probe_at_ms {
            return None;
        }
        if self.is_answering() {
            self.probe_at_ms = now_ms + SETTLE_MS;
            return None;
        }
        if inbound.merged < *self.probe_after.get_or_insert(inbound.received) {
            return None;
        }
        let every = limits::RECONCILE_EVERY_MS;
        self.probe_at_ms = now_ms + every - every / 10 + rng.random_range(0..every / 5);
        self.probe_after = None;
        self.nudged_since_ms = None;
        let all = catalog.summary(Prefix::ALL);
        // A difference that stays (a document that cannot be read, a full disk) is looked at less often.
        let is_same = self.asked_with.replace(all) == Some(all);
        self.futile = if is_same && !self.in_step { (self.futile + 1).min(FUTILE_MAX) } else { 0 };
        self.round = self.round.wrapping_add(1);
        self.steps.asked(now_ms);
        Some(Reply::frame(Frame::Probe { round: self.round, all }))
    }

    /// The answer to the peer's probe, when everything that came before it is on disk.
    pub(super) fn answer_probe(&mut self, now_ms: u64, catalog: &Catalog, inbound: Inbound) -> Option<Reply> {
        let (round, theirs, _) = self.waiting_probe.take_if(|(_, _, after)| inbound.merged >= *after)?;
        let reply = compare_all(catalog, round, theirs);
        if !reply.moves() {
            self.in_step = true;
            self.futile = 0;
            self.in_step_at_ms = Some(now_ms);
            self.steps.equal(now_ms, Some(theirs), false);
            if !self.dialed {
                self.probe_at_ms = now_ms + 2 * limits::RECONCILE_EVERY_MS;
                self.probe_after = None;
            }
        }
        Some(reply)
    }
}
