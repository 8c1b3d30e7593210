//! Who is there, who lacks what, and what to do about it.
//!
//! [`Hub::handle`] takes one [`Input`] and the time, and returns [`Effect`]s. It holds the catalog, the
//! peer table and one `Link` per live connection; it has no documents, no sockets and no clock.

mod arrival;
mod asks;
mod audience;
mod confirm;
mod exchange;
#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod hostile_tests;
mod leaving;
mod link;
mod neighbours;
mod offered;
mod patience;
mod peers;
mod presence;
mod quarantine;
#[cfg(test)]
mod quarantine_tests;
mod queue;
mod reconcile;
#[cfg(test)]
mod redial_tests;
#[cfg(test)]
mod rig;
mod rules;
mod scope;
mod steps;
#[cfg(test)]
mod tests;
mod unsendable;

use std::collections::{BTreeMap, HashMap};

use arrival::Arrival;
use bytes::Bytes;
use link::{Inbound, Link};
use peers::PeerTable;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use asks::Holding;
pub use peers::{PeerState, PeerView};
pub use quarantine::Quarantined;
pub use rules::{Faults, Rule};
pub use steps::{LinkSync, Reconciliation};

use crate::catalog::{Catalog, Prefix};
use crate::id::{ConnId, EndpointId, NodeName};
use crate::io::{CloseReason, Closed, Effect, Event, Input};
use crate::limits;
use crate::wire::Frame;

/// One node's view of its mesh.
#[derive(Debug)]
pub struct Hub {
    me: EndpointId,
    rng: StdRng,
    catalog: Catalog,
    peers: PeerTable,
    links: BTreeMap<ConnId, Link>,
    /// Changes of peers on their way to the disk; peers without any are left out.
    inbound: HashMap<NodeName, Inbound>,
    /// Peers that gave up one of two connections while the other is not admitted here yet: until when that
    /// is no news, and their names.
    switching: BTreeMap<EndpointId, (u64, NodeName)>,
    leaving: leaving::Leaving,
    presence: presence::Presence,
    scopes: scope::Scopes,
    broken_rules: rules::Counts,
    quarantine: quarantine::Quarantine,
    unsendable: unsendable::Unsendable,
    asks: asks::Asks,
    effects: Vec<Effect>,
}

impl Hub {
    /// A hub with nobody connected. `catalog` is what the store holds; `seed` makes the jitter of
    /// retries differ between nodes.
    #[must_use]
    pub fn new(me: EndpointId, catalog: Catalog, seed: u64) -> Self {
        Self {
            me,
            rng: StdRng::seed_from_u64(seed),
            catalog,
            peers: PeerTable::new(me),
            links: BTreeMap::new(),
            inbound: HashMap::new(),
            switching: BTreeMap::new(),
            leaving: leaving::Leaving::default(),
            presence: presence::Presence::default(),
            scopes: scope::Scopes::default(),
            broken_rules: rules::Counts::default(),
            quarantine: quarantine::Quarantine::default(),
            unsendable: unsendable::Unsendable::default(),
            asks: asks::Asks::default(),
            effects: Vec::new(),
        }
    }

    /// Says whether peers can be reached without an address of their own, over relays. Then a discovered
    /// peer without any is dialled, too.
    pub fn set_relayed(&mut self, is_relayed: bool) {
        self.peers.set_relayed(is_relayed);
    }

    /// Takes in what happened at `now_ms` and says what is to be done, in this order.
    pub fn handle(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        self.leaving.now_ms = now_ms;
        match input {
            Input::Tick => {}
            Input::PeerSeen { peer, name, addresses } => self.peers.seen(now_ms, peer, name, addresses),
            Input::PeerGone { peer } => self.peers.gone(peer),
            Input::AddressLost => self.peers.address_lost(now_ms),
            Input::DialFailed { peer, reason } => {
                self.peers.dial_failed(now_ms, peer, reason, &mut self.rng);
            }
            Input::Admitted { conn, peer, hello, dialed, address } => {
                self.admitted(now_ms, Arrival { conn, peer, hello, dialed, address });
            }
            Input::Received { conn, frame } => self.received(now_ms, conn, frame),
            Input::Sent { conn, bytes } => self.sent(now_ms, conn, bytes),
            Input::Closed { conn, why: Closed::Broke { rule, reason } } => {
                self.ended_broken(now_ms, conn, rule, reason);
            }
            Input::Closed { conn, why } => self.closed(now_ms, conn, why),
            Input::Committed(outcomes) => self.committed(now_ms, outcomes),
            Input::Answered { conn, answer } => self.answered(now_ms, conn, answer),
            Input::Silent { conn } => self.silent(now_ms, conn),
            Input::Heard { conn } => self.heard(now_ms, conn),
            Input::Measured { conn, measure } => self.measured(now_ms, conn, measure),
            Input::Neighbours { wanted, neighbours, is_large } => {
                self.peers.want(now_ms, wanted, is_large);
                self.neighbours_are(now_ms, neighbours);
            }
            Input::PeerHeard { peer, addresses } => self.peers.heard(now_ms, peer, addresses),
            Input::Tell { peer, bytes } => self.tell(peer, bytes),
            Input::Delivered { peer, frame } => self.delivered(now_ms, peer, frame),
            Input::NotBroadcast => self.links.values_mut().for_each(|link| link.nudge(now_ms)),
            Input::Broke { peer, rule } => self.broke(now_ms, peer, rule),
            Input::Ask { ask, about } => self.ask(ask, about),
            Input::AskOver { ask } => self.ask_over(ask),
            Input::Leaving => self.leave(now_ms),
        }
        self.due(now_ms);
        std::mem::take(&mut self.effects)
    }

    /// When to call [`Hub::handle`] with [`Input::Tick`] at the latest.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<u64> {
        let links = self.links.values().filter_map(Link::next_wakeup);
        let switches = self.switching.values().map(|(until, _)| *until);
        let others =
            [self.peers.next_wakeup(), self.leave_wakeup(), self.presence_wakeup(), self.let_go_wakeup()];
        links.chain(switches).chain(others.into_iter().flatten()).min()
    }

    /// All known peers, in the order of their names.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        let mut views = self.peers.views();
        let all = self.catalog.summary(Prefix::ALL);
        for view in &mut views {
            if let Some(link) = view.conn.and_then(|conn| self.links.get(&conn)) {
                let inbound = self.inbound_of(link);
                link.describe(inbound, view);
                let compared = if link.is_scoped() { self.summary_for(link) } else { all };
                view.sync = link.steps.view(link.is_strictly_in_step(compared, inbound));
            }
        }
        views
    }

    /// The documents known here.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn send(&mut self, conn: ConnId, frame: Bytes) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.patience.gave(self.leaving.now_ms);
            link.unsent_bytes += limits::frame_cost_bytes(frame.len());
            link.sent_bytes += frame.len() as u64;
            link.steps.went(self.leaving.now_ms, &frame);
            self.effects.push(Effect::Send { conn, frame });
        }
    }

    /// Sends a frame that a comparison may refer to.
    fn say(&mut self, conn: ConnId, frame: &Frame) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.said(self.leaving.now_ms, frame);
            self.send(conn, frame.encode());
        }
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.links.remove(&conn);
        self.asks.note_change();
        self.forget_scopes();
        self.effects.push(Effect::Close { conn, reason });
    }

    fn notify(&mut self, event: Event) {
        self.effects.push(Effect::Notify(event));
    }

    /// What time alone makes necessary.
    fn due(&mut self, now_ms: u64) {
        while let Some((peer, addresses)) = self.peers.next_dial(now_ms) {
            self.effects.push(Effect::Dial { peer, addresses });
        }
        while let Some((peer, _)) = self.switching.iter().find(|(_, (until, _))| *until <= now_ms) {
            let peer = *peer;
            if let Some((_, name)) = self.switching.remove(&peer) {
                self.links_changed(now_ms);
                let reason = "it gave up the connection for another one that never came".to_owned();
                self.notify(Event::PeerDisconnected { peer, name, reason });
            }
        }
        self.let_go(now_ms);
        self.lose_patience(now_ms);
        self.hurry(now_ms);
        let mut replies = Vec::new();
        for (conn, link) in self.links.iter_mut().filter(|(_, link)| link.crossing.is_settled()) {
            let inbound = self.inbound.get(&link.name).copied().unwrap_or_default();
            let catalog = self.scopes.catalog(&self.catalog, &link.crossing);
            replies.extend(link.answer_probe(now_ms, catalog, inbound).map(|reply| (*conn, reply)));
            replies.extend(link.probe(now_ms, catalog, inbound, &mut self.rng).map(|reply| (*conn, reply)));
        }
        for (conn, reply) in replies {
            self.reply(now_ms, conn, reply);
        }
        self.ask_due();
        self.presence_due(now_ms);
    }

    fn sent(&mut self, now_ms: u64, conn: ConnId, bytes: usize) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.sent(now_ms, bytes);
            self.pump(conn);
        }
    }

    fn received(&mut self, now_ms: u64, conn: ConnId, frame: Frame) {
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        if let Some(reason) = link.hear(&frame) {
            return self.close_broken(now_ms, conn, Rule::Unoffered, reason);
        }
        link.steps.came(now_ms, &frame);
        match frame {
            Frame::Hello(_) => {
                let reason = "a second hello on one connection".to_owned();
                self.close_broken(now_ms, conn, Rule::Opening, reason);
            }
            Frame::Scope(scope) => self.scope_said(now_ms, conn, &scope),
            // Sent before the peer knew that this link has bounds: it begins again when it knows.
            Frame::Probe { .. }
            | Frame::InStep { .. }
            | Frame::Ranges(_)
            | Frame::Items(_)
            | Frame::Fetch(_)
                if !link.crossing.is_settled() => {}
            Frame::Probe { round, all } => {
                let inbound = self.inbound.get(&link.name).copied().unwrap_or_default();
                let mine = self.scopes.catalog(&self.catalog, &link.crossing).summary(Prefix::ALL);
                let may_differ = link.is_scoped() || self.quarantine.has_any(&link.name);
                if all != mine
                    && let Some(reason) = link.compared(now_ms, all, inbound, may_differ)
                {
                    return self.close_broken(now_ms, conn, Rule::Rounds, reason);
                }
                link.probed(round, all, inbound);
            }
            Frame::InStep { round } => link.in_step(now_ms, round),
            Frame::Ranges(groups) => {
                link.touch(now_ms);
                let catalog = self.scopes.catalog(&self.catalog, &link.crossing);
                let reply = reconcile::compare_groups(catalog, &groups);
                self.reply(now_ms, conn, reply);
            }
            Frame::Items(ranges) => {
                link.touch(now_ms);
                let catalog = self.scopes.catalog(&self.catalog, &link.crossing);
                let mut reply = reconcile::compare_items(catalog, &ranges);
                link.crossing.cut(now_ms, &self.catalog, &ranges, &mut reply);
                self.quarantine.cut(now_ms, &link.name, &ranges, &mut reply);
                self.reply(now_ms, conn, reply);
            }
            Frame::Fetch(positions) => {
                link.touch(now_ms);
                let reply = reconcile::fetch(&self.catalog, &positions);
                self.reply(now_ms, conn, reply);
            }
            Frame::Want(wants) => {
                link.touch(now_ms);
                self.wanted(now_ms, conn, wants);
            }
            Frame::Gossip { is_large, bytes } => {
                // What is no part of the overlay is not let into it.
                if link.is_apart() {
                    return;
                }
                link.gossips = true;
                let peer = link.peer;
                self.effects.push(Effect::Gossip { peer, is_large, bytes });
            }
            Frame::Changes(mut changes) => {
                link.crossing.admit(&mut changes.documents);
                self.quarantine.filter(now_ms, &link.name, &mut changes);
                if changes.documents.is_empty() {
                    return;
                }
                link.receiving(now_ms, &changes);
                let from = link.name.clone();
                self.inbound.entry(from.clone()).or_default().received += changes.documents.len() as u64;
                self.effects.push(Effect::Merge { conn, from, changes });
            }
            Frame::Presence(records) => self.presence_received(now_ms, conn, records),
            Frame::Confirm { id, doc, heads } => self.confirm_asked(conn, id, doc, heads),
            Frame::Confirmed { id } => self.confirmed(conn, id),
        }
    }
}
