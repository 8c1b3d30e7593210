//! Letting time pass: events come off the agenda and go into the nodes as facts.

use peat_mesh_core::answer::{Request, answer};
use peat_mesh_core::io::{Closed, Input};
use peat_mesh_core::wire::{Frame, HEADER_BYTES, Hello};
use peat_mesh_core::{ConnId, EndpointId};

use super::World;
use crate::checks;
use crate::network::{EndState, Happening};
use crate::site::Site;

/// Nothing but probes for so long is quiet, in milliseconds.
const QUIET_MS: u64 = 3_000;
/// How often convergence is looked at, in milliseconds.
const LOOK_MS: u64 = 50;

/// What happens at some time. What belongs to a process names its epoch.
#[derive(Debug)]
pub(super) enum Event {
    Net(Happening),
    Tick { site: Site, epoch: u64 },
    Seen { site: Site, epoch: u64, peer: Site },
    Gone { site: Site, epoch: u64, peer: EndpointId },
    DialFails { site: Site, epoch: u64, peer: EndpointId },
    Commit { site: Site, epoch: u64 },
    Tell { site: Site, epoch: u64 },
    Answer { site: Site, epoch: u64, conn: ConnId, requests: Vec<Request> },
}

/// Time.
impl World {
    /// Lets some time pass.
    pub fn run_for(&mut self, ms: u64) {
        self.run_until(self.agenda.now_ms() + ms);
    }

    fn run_until(&mut self, until_ms: u64) {
        while let Some(event) = self.agenda.next(until_ms) {
            self.happen(event);
        }
        self.agenda.advance(until_ms);
    }

    /// Lets time pass until nobody has anything to do but to compare fingerprints now and then.
    ///
    /// # Panics
    /// When that takes more than ten minutes.
    pub fn run_until_quiet(&mut self) {
        let limit_ms = self.agenda.now_ms() + 600_000;
        self.worked_ms = self.agenda.now_ms();
        while self.agenda.now_ms() < self.worked_ms + QUIET_MS || self.agenda.any(is_work) {
            self.run_for(LOOK_MS);
            assert!(self.agenda.now_ms() < limit_ms, "the mesh does not come to rest");
        }
    }

    /// Lets time pass until all nodes hold the same. Returns how long that took.
    ///
    /// # Errors
    /// When it takes longer than `limit_ms`, or a rule was broken on the way; says what differs.
    pub fn run_until_converged(&mut self, limit_ms: u64) -> Result<u64, String> {
        let start_ms = self.agenda.now_ms();
        loop {
            if !self.ledger.violations.is_empty() {
                return Err(self.ledger.violations.join("\n"));
            }
            match checks::difference(self) {
                None => return Ok(self.agenda.now_ms() - start_ms),
                Some(what) if self.agenda.now_ms() - start_ms >= limit_ms => {
                    return Err(format!("not converged after {limit_ms} ms: {what}"));
                }
                Some(_) => self.run_for(LOOK_MS),
            }
        }
    }

    /// Heals all links, lets the nodes come to rest and checks everything.
    ///
    /// # Panics
    /// When something does not hold.
    #[track_caller]
    pub fn come_together(&mut self) {
        self.heal_all();
        let together = self.run_until_converged(60_000).and_then(|_| {
            self.run_until_quiet();
            checks::check(self)
        });
        if let Err(problem) = together {
            panic!("{problem}");
        }
    }

    /// Whether jobs wait, commits are under way or edits are not answered.
    pub(crate) fn is_writing(&self) -> bool {
        self.agenda.any(|event| matches!(event, Event::Commit { .. } | Event::Tell { .. }))
    }
}

fn is_work(event: &Event) -> bool {
    !matches!(event, Event::Tick { .. } | Event::Net(Happening::Deliver { .. } | Happening::Left { .. }))
}

/// Events.
impl World {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Net(happening) => self.net_happens(happening),
            Event::Tick { site, epoch } => {
                let machine = &mut self.machines[site.0];
                if machine.epoch == epoch
                    && let Some(process) = machine.process.as_mut()
                    && process.tick_ms == Some(self.agenda.now_ms())
                {
                    process.tick_ms = None;
                    self.feed(site, epoch, Input::Tick);
                }
            }
            Event::Seen { site, epoch, peer } => {
                let peer = &self.machines[peer.0];
                let name = Some(peer.name.clone());
                let input = Input::PeerSeen { peer: peer.id, name, addresses: vec![peer.address] };
                self.feed(site, epoch, input);
            }
            Event::Gone { site, epoch, peer } => self.feed(site, epoch, Input::PeerGone { peer }),
            Event::DialFails { site, epoch, peer } => {
                self.feed(site, epoch, Input::DialFailed { peer, reason: "no answer".to_owned() });
            }
            Event::Commit { site, epoch } => self.commit_due(site, epoch),
            Event::Tell { site, epoch } => self.tell(site, epoch),
            Event::Answer { site, epoch, conn, requests } => {
                self.worked_ms = self.agenda.now_ms();
                let answer = answer(&self.machines[site.0].disk.store, requests);
                for (doc, problem) in &answer.failed {
                    self.ledger.violations.push(format!("{doc} could not be read: {problem}"));
                }
                self.feed(site, epoch, Input::Answered { conn, answer });
            }
        }
    }

    fn net_happens(&mut self, happening: Happening) {
        let (Happening::Admit { conn }
        | Happening::Deliver { conn, .. }
        | Happening::Left { conn, .. }
        | Happening::Silence { conn }
        | Happening::Sound { conn }
        | Happening::Close { conn, .. }) = &happening;
        let conn = *conn;
        let Some(end) = self.net.end(conn) else { return };
        let (site, epoch, state) = (end.site, end.epoch, end.state);
        match (happening, state) {
            (_, EndState::Closed) => {}
            (Happening::Admit { .. }, _) => self.admit(conn),
            (Happening::Left { bytes, .. }, EndState::Open) => {
                self.net.left(conn, bytes);
                self.feed(site, epoch, Input::Sent { conn, bytes });
            }
            (Happening::Deliver { frame, .. }, EndState::Open) if self.net.is_through(conn) => {
                self.deliver(conn, frame);
            }
            (Happening::Silence { .. }, EndState::Open) if !self.net.is_through(conn) => {
                self.feed(site, epoch, Input::Silent { conn });
            }
            (Happening::Sound { .. }, EndState::Open) if self.net.is_through(conn) => {
                self.feed(site, epoch, Input::Heard { conn });
            }
            (Happening::Close { why, sure, .. }, _) if sure || !self.net.is_through(conn) => {
                self.close_end(conn, why);
            }
            _ => {}
        }
    }

    fn admit(&mut self, conn: ConnId) {
        let dialed = conn.0.is_multiple_of(2);
        let (Some(end), Some(far)) = (self.net.end(conn), self.net.far_end(conn)) else { return };
        let (site, epoch, peer) = (end.site, end.epoch, far.site);
        let is_same_run = self.machines[peer.0].epoch == far.epoch;
        match &self.machines[peer.0].process {
            Some(process) if is_same_run && self.net.is_through(conn) => {
                let hello =
                    Hello { name: self.machines[peer.0].name.clone(), incarnation: process.incarnation };
                let (peer, address) = (self.machines[peer.0].id, Some(self.machines[peer.0].address));
                self.net.open(conn);
                self.feed(site, epoch, Input::Admitted { conn, peer, hello, dialed, address });
            }
            _ => {
                // The proof comes to nothing.
                let peer = self.machines[peer.0].id;
                let plan = self.net.close(&mut self.rng, self.agenda.now_ms(), conn, None);
                self.plan(plan);
                if dialed {
                    self.feed(site, epoch, Input::DialFailed { peer, reason: "no proof".to_owned() });
                }
            }
        }
    }

    fn deliver(&mut self, conn: ConnId, frame: Vec<u8>) {
        let Some(end) = self.net.end(conn) else { return };
        let (site, epoch) = (end.site, end.epoch);
        let mut body = frame;
        let rest = body.split_off(HEADER_BYTES);
        match Frame::decode(body[0], rest.into()) {
            Ok(frame) => {
                let is_idle_talk =
                    matches!(frame, Frame::Probe { .. } | Frame::InStep { .. } | Frame::Presence(_));
                if !is_idle_talk && !matches!(frame, Frame::Gossip { .. }) {
                    self.worked_ms = self.agenda.now_ms();
                }
                self.feed(site, epoch, Input::Received { conn, frame });
            }
            Err(problem) => self.ledger.violations.push(format!("a frame does not decode: {problem}")),
        }
    }

    fn close_end(&mut self, conn: ConnId, why: Closed) {
        let (Some(end), Some(far)) = (self.net.end(conn), self.net.far_end(conn)) else { return };
        let (site, epoch, state) = (end.site, end.epoch, end.state);
        let peer = self.machines[far.site.0].id;
        let plan = self.net.close(&mut self.rng, self.agenda.now_ms(), conn, None);
        self.plan(plan);
        match state {
            EndState::Open => self.feed(site, epoch, Input::Closed { conn, why }),
            EndState::Proving if conn.0.is_multiple_of(2) => {
                self.feed(site, epoch, Input::DialFailed { peer, reason: "no proof".to_owned() });
            }
            _ => {}
        }
    }

    /// Gives a fact to a node, if the process that it belongs to still runs.
    pub(super) fn feed(&mut self, site: Site, epoch: u64, input: Input) {
        let now_ms = self.agenda.now_ms();
        if self.machines[site.0].epoch != epoch {
            return;
        }
        let name = self.machines[site.0].name.clone();
        let Some(process) = self.machines[site.0].process.as_mut() else { return };
        self.trace.note(now_ms, &format!("{name} {}", describe(&input)));
        for effect in process.mesh.handle(now_ms, input) {
            self.perform(site, effect);
        }
        self.wake(site);
    }

    /// Sees to it that the node's timer rings when it wants it to.
    pub(super) fn wake(&mut self, site: Site) {
        let (now_ms, epoch) = (self.agenda.now_ms(), self.machines[site.0].epoch);
        let Some(process) = self.machines[site.0].process.as_mut() else { return };
        let Some(at_ms) = process.mesh.next_wakeup() else { return };
        let at_ms = at_ms.max(now_ms + 1);
        if process.tick_ms.is_none_or(|set_ms| at_ms < set_ms) {
            process.tick_ms = Some(at_ms);
            self.agenda.at(at_ms, Event::Tick { site, epoch });
        }
    }
}

fn describe(input: &Input) -> String {
    match input {
        Input::Received { conn, frame } => format!("receives {} on {conn}", frame.name()),
        Input::Sent { conn, bytes } => format!("has sent {bytes} on {conn}"),
        Input::Committed(outcomes) => format!("has committed {} jobs", outcomes.len()),
        Input::Answered { conn, answer } => format!("answers {} on {conn}", answer.changes.len()),
        other => format!("{other:?}"),
    }
}
