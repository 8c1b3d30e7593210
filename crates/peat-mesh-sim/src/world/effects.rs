//! What the nodes want done: effects in, events on the agenda and entries in the ledger out.

use peat_mesh_core::io::{CloseReason, Closed, Effect, Event as News, Input};
use peat_mesh_core::replica::{Job, Outcome, Source, Work, WriteError};
use peat_mesh_core::wire::{Changes, Frame, HEADER_BYTES};
use peat_mesh_core::{ConnId, EndpointId, NodeName, limits};
use peat_mesh_overlay::Topic;
use rand::RngExt;

use super::run::Event;
use super::{Reply, World};
use crate::network::{EndState, Happening, unsent_bytes_max};
use crate::site::{Ask, BEGINNING_MS, Finished, Op, Planned, Site};

/// Effects.
impl World {
    pub(super) fn perform(&mut self, site: Site, effect: Effect) {
        let (now_ms, epoch) = (self.agenda.now_ms(), self.machines[site.0].epoch);
        match effect {
            Effect::Dial { peer, addresses } => self.dial(site, peer, &addresses),
            Effect::Send { conn, frame } => self.send(site, conn, &frame),
            Effect::Close { conn, reason } => {
                let said = match reason {
                    CloseReason::Duplicate => Closed::Duplicate,
                    CloseReason::NotNeeded => Closed::NotNeeded,
                    CloseReason::IdentityElsewhere => Closed::IdentityElsewhere,
                    CloseReason::BrokenRule(rule) => {
                        self.ledger.violations.push(format!("{} broke a rule: {rule}", self.name(site)));
                        Closed::Lost(rule)
                    }
                };
                let plan = self.net.close(&mut self.rng, now_ms, conn, Some(said));
                self.plan(plan);
            }
            Effect::Merge { conn, from, changes } => self.merge(site, conn, &from, changes),
            Effect::Answer { conn, requests } => {
                let after_ms = self.rng.random_range(0..=self.answer_ms_max);
                self.agenda.at(now_ms + after_ms, Event::Answer { site, epoch, conn, requests });
            }
            // The mesh keeps these to itself.
            Effect::Gossip { .. } | Effect::Broadcast { .. } => {}
            Effect::Notify(News::SelfElsewhere { detail }) => {
                let line = format!("{} believes that it runs elsewhere: {detail}", self.name(site));
                self.ledger.violations.push(line);
            }
            Effect::Notify(news) => {
                self.note(site, &format!("{news:?}"));
                self.news.push((site, now_ms, news));
            }
        }
    }

    fn dial(&mut self, site: Site, peer: EndpointId, addresses: &[std::net::SocketAddr]) {
        let now_ms = self.agenda.now_ms();
        let from = (site, self.machines[site.0].epoch);
        let target = self.machines.iter().position(|machine| machine.id == peer).map(Site);
        let is_there = |to: &Site| {
            let machine = &self.machines[to.0];
            machine.process.is_some() && addresses.contains(&machine.address) && self.net.reaches(site, *to)
        };
        match target.filter(is_there) {
            Some(to) if !self.rng.random_bool(self.net.weather.dial_fails) => {
                let to = (to, self.machines[to.0].epoch);
                let plan = self.net.dial(&mut self.rng, now_ms, from, to).1;
                self.plan(plan);
            }
            _ => {
                let after_ms = self.rng.random_range(1..=3_000);
                self.agenda.at(now_ms + after_ms, Event::DialFails { site, epoch: from.1, peer });
            }
        }
    }

    fn send(&mut self, site: Site, conn: ConnId, frame: &[u8]) {
        let Some(end) = self.net.end(conn) else { return };
        if end.state != EndState::Open {
            return;
        }
        let cost = limits::frame_cost_bytes(frame.len());
        let unsent = end.unsent_bytes + cost;
        self.peak_unsent_bytes = self.peak_unsent_bytes.max(unsent);
        let limit = unsent_bytes_max(self.largest_document_bytes);
        if unsent > limit {
            let line = format!("{} has {unsent} bytes unsent, more than {limit}", self.name(site));
            self.ledger.violations.push(line);
        }
        self.count(site, conn, frame);
        self.trace.note_bytes(frame);
        let plan = self.net.send(&mut self.rng, self.agenda.now_ms(), conn, frame, cost);
        self.plan(plan);
    }

    fn count(&mut self, site: Site, conn: ConnId, frame: &[u8]) {
        let decoded = Frame::decode(frame[0], frame[HEADER_BYTES..].to_vec().into());
        let Ok(decoded) = decoded else {
            self.ledger.violations.push("a node sends what is no frame".to_owned());
            return;
        };
        self.traffic.count(decoded.name(), frame.len());
        let Some(to) = self.net.far_end(conn).map(|far| far.site) else { return };
        if let Frame::Gossip { bytes, .. } = &decoded
            && Topic::of(bytes) == Topic::Update
        {
            self.traffic.count_gossiped();
        }
        if let Frame::Changes(changes) = decoded {
            self.worked_ms = self.agenda.now_ms();
            for (doc, chunks) in &changes.documents {
                self.traffic.count_document(to, doc);
                self.ledger.sent(&self.machines[site.0].name, doc, chunks);
                self.largest_document_bytes = self.largest_document_bytes.max(chunks.len());
            }
        }
    }

    fn merge(&mut self, site: Site, conn: ConnId, from: &NodeName, changes: Changes) {
        let Changes { repair, audience, documents } = changes;
        let source = Source::Peer { conn, name: from.clone(), audience: audience.into(), repair };
        for (doc, chunks) in documents {
            let job = Job { doc, work: Work::Merge(chunks), source: source.clone() };
            self.enqueue(site, Ask::Merge(job));
        }
    }

    pub(super) fn plan(&mut self, plan: Vec<(u64, Happening)>) {
        for (at_ms, happening) in plan {
            self.agenda.at(at_ms, Event::Net(happening));
        }
    }

    /// Lets discovery of one node find another one.
    pub(super) fn discover(&mut self, site: Site, peer: Site, after_ms: u64) {
        let epoch = self.machines[site.0].epoch;
        self.agenda.at(self.agenda.now_ms() + after_ms, Event::Seen { site, epoch, peer });
    }
}

/// Writing.
impl World {
    pub(super) fn enqueue(&mut self, site: Site, ask: Ask) {
        let now_ms = self.agenda.now_ms();
        self.worked_ms = now_ms;
        let epoch = self.machines[site.0].epoch;
        let Some(process) = self.machines[site.0].process.as_mut() else { return };
        process.waiting.push_back(ask);
        if !process.committing {
            process.committing = true;
            let after_ms = self.rng.random_range(1..=self.commit_ms_max.max(1));
            self.agenda.at(now_ms + after_ms, Event::Commit { site, epoch });
        }
    }

    pub(super) fn commit_due(&mut self, site: Site, epoch: u64) {
        let now_ms = self.agenda.now_ms();
        let machine = &mut self.machines[site.0];
        let Some(process) = machine.process.as_mut().filter(|_| machine.epoch == epoch) else { return };
        let (jobs, plans) = process.take_batch(&machine.disk.store);
        let more = !process.waiting.is_empty();
        let told_ms = process.told_ms.max(now_ms + self.rng.random_range(0..=2));
        let finished = self.commit(site, jobs, plans);
        if let Some(process) = self.machines[site.0].process.as_mut() {
            process.finished.push_back(finished);
            process.told_ms = told_ms;
            process.committing = more;
        }
        self.agenda.at(told_ms, Event::Tell { site, epoch });
        if more {
            let after_ms = self.rng.random_range(1..=self.commit_ms_max.max(1));
            self.agenda.at(now_ms + after_ms, Event::Commit { site, epoch });
        }
    }

    /// Runs a batch and enters it in the ledger.
    pub(super) fn commit(&mut self, site: Site, jobs: Vec<Job>, plans: Vec<Option<Planned>>) -> Finished {
        self.record_requests(site, &jobs, &plans);
        let wall_ms = BEGINNING_MS + self.agenda.now_ms();
        let machine = &mut self.machines[site.0];
        let process = machine.process.as_mut().expect("a commit belongs to a process that runs");
        let outcomes = process.replica.run(&machine.disk.store, jobs, wall_ms);
        for (outcome, plan) in outcomes.iter().zip(&plans) {
            let Ok(written) = &outcome.result else { continue };
            if written.seq.is_some() {
                self.touched.insert((site, outcome.doc.clone()));
                let known = machine.disk.known.entry(outcome.doc.clone()).or_default();
                let is_local = outcome.source == Source::Client;
                self.ledger.committed(&machine.name, &outcome.doc, known, written, plan.as_ref(), is_local);
            }
        }
        Finished { ops: plans.iter().map(|plan| plan.as_ref().map(|plan| plan.op)).collect(), outcomes }
    }

    /// Tells clients and the hub of a commit.
    pub(super) fn tell(&mut self, site: Site, epoch: u64) {
        self.worked_ms = self.agenda.now_ms();
        let machine = &mut self.machines[site.0];
        let Some(process) = machine.process.as_mut().filter(|_| machine.epoch == epoch) else { return };
        let Some(Finished { ops, outcomes }) = process.finished.pop_front() else { return };
        for (op, outcome) in ops.into_iter().zip(&outcomes) {
            match op {
                Some(op) => self.answer_client(op, outcome),
                None => self.check_merge(site, outcome),
            }
        }
        self.feed(site, epoch, Input::Committed(outcomes));
    }

    fn answer_client(&mut self, op: Op, outcome: &Outcome) {
        let reply = match &outcome.result {
            Ok(_) => {
                self.ledger.acknowledge(&outcome.doc, op);
                Reply::Done
            }
            Err(problem) => Reply::Failed(problem.to_string()),
        };
        self.record_answer(op, outcome, &reply);
        self.asked[op.0].reply = reply;
    }

    fn check_merge(&mut self, site: Site, outcome: &Outcome) {
        if let Err(problem @ (WriteError::Refused { .. } | WriteError::Damaged { .. })) = &outcome.result {
            self.ledger.violations.push(format!("{} refused a peer's changes: {problem}", self.name(site)));
        }
    }
}
