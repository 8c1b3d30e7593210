//! The peer table: who was found, who is connected, whom to dial when.
//!
//! Whoever finds a peer may dial it. Of a pair, the node with the smaller id does so at once and the
//! other after [`limits::DIAL_GRACE_MS`], so that a pair that found each other makes one connection and
//! a peer that only one side knows of is dialled all the same. A peer is dialled for ever, with waits
//! that grow to [`limits::DIAL_RETRY_MS_MAX`] and are shaken so that nodes do not beat in time.

mod view;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use rand::{Rng, RngExt};

use super::rules::Account;
use crate::id::{ConnId, EndpointId, NodeName};
use crate::io::Closed;
use crate::limits;

pub use view::{PeerState, PeerView};

/// A connection that lasted this long, in milliseconds, was a good one.
const STEADY_MS: u64 = 10_000;

#[derive(Debug)]
struct Peer {
    name: Option<NodeName>,
    discovered: Vec<SocketAddr>,
    is_discovered: bool,
    /// Where others say that it is.
    heard: Vec<SocketAddr>,
    /// Where it connected from.
    reached: Option<SocketAddr>,
    status: Status,
    /// When to dial although a dial is under way or a connection is in use.
    dial_anew_at_ms: Option<u64>,
    since_ms: u64,
    failures: u32,
    /// Until when it counts as one that was here a moment ago.
    recent_until_ms: u64,
    last_error: Option<String>,
    /// Rules that it broke.
    account: Account,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Idle { dial_at_ms: u64 },
    Dialing,
    Live(ConnId),
}

#[derive(Debug)]
pub(super) struct PeerTable {
    me: EndpointId,
    peers: BTreeMap<EndpointId, Peer>,
    /// Whether a peer can be reached without an address of its own.
    is_relayed: bool,
    /// Those to be connected to; all of them unless this is set.
    wanted: Option<BTreeSet<EndpointId>>,
    /// Those of them that stay.
    neighbours: BTreeSet<EndpointId>,
    /// Those to be connected to in any case, and that are no part of the overlay.
    kept: BTreeSet<EndpointId>,
    /// Whether there are more than this node may connect to.
    pub(super) is_large: bool,
}

impl PeerTable {
    pub(super) fn new(me: EndpointId) -> Self {
        Self {
            me,
            peers: BTreeMap::new(),
            is_relayed: false,
            wanted: None,
            neighbours: BTreeSet::new(),
            kept: BTreeSet::new(),
            is_large: false,
        }
    }

    pub(super) fn set_relayed(&mut self, is_relayed: bool) {
        self.is_relayed = is_relayed;
    }

    pub(super) fn conn(&self, peer: EndpointId) -> Option<ConnId> {
        match self.peers.get(&peer)?.status {
            Status::Live(conn) => Some(conn),
            _ => None,
        }
    }

    fn entry(&mut self, now_ms: u64, id: EndpointId) -> Option<&mut Peer> {
        if !self.peers.contains_key(&id) && self.peers.len() >= limits::PEERS_COUNT_MAX {
            let lost = |peer: &Peer| !peer.is_discovered && !matches!(peer.status, Status::Live(_));
            let oldest =
                self.peers.iter().filter(|(_, peer)| lost(peer)).min_by_key(|(_, peer)| peer.since_ms);
            let oldest = *oldest?.0;
            self.peers.remove(&oldest);
        }
        Some(self.peers.entry(id).or_insert_with(|| Peer {
            name: None,
            discovered: Vec::new(),
            is_discovered: false,
            heard: Vec::new(),
            reached: None,
            status: Status::Idle { dial_at_ms: now_ms },
            dial_anew_at_ms: None,
            since_ms: now_ms,
            failures: 0,
            recent_until_ms: 0,
            last_error: None,
            account: Account::default(),
        }))
    }

    pub(super) fn seen(
        &mut self,
        now_ms: u64,
        id: EndpointId,
        name: Option<NodeName>,
        mut addresses: Vec<SocketAddr>,
    ) {
        if id == self.me {
            return;
        }
        let grace = if self.me < id { 0 } else { limits::DIAL_GRACE_MS };
        addresses.truncate(limits::PEER_ADDRESSES_COUNT_MAX);
        let Some(peer) = self.entry(now_ms, id) else {
            return;
        };
        peer.name = name.or(peer.name.take());
        let moved = !peer.is_discovered || peer.discovered != addresses;
        let is_elsewhere = addresses.iter().any(|address| !peer.discovered.contains(address));
        peer.is_discovered = true;
        peer.discovered = addresses;
        match &mut peer.status {
            Status::Idle { dial_at_ms } if moved => {
                peer.failures = 0;
                *dial_at_ms = now_ms + grace;
            }
            // A dial to where the peer was would take its time to fail.
            Status::Dialing if is_elsewhere => peer.dial_anew_at_ms = Some(now_ms),
            _ => {}
        }
    }

    /// This node lost an address: connections that used it are dead, and only this side knows.
    pub(super) fn address_lost(&mut self, now_ms: u64) {
        for peer in self.peers.values_mut().filter(|peer| matches!(peer.status, Status::Live(_))) {
            peer.dial_anew_at_ms = Some(now_ms);
        }
    }

    pub(super) fn gone(&mut self, id: EndpointId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.is_discovered = false;
            peer.discovered.clear();
        }
    }

    pub(super) fn next_dial(&mut self, now_ms: u64) -> Option<(EndpointId, Vec<SocketAddr>)> {
        let is_relayed = self.is_relayed;
        let is_due = |peer: &Peer| peer.dial_at_ms(is_relayed).is_some_and(|at| at <= now_ms);
        let id = match &self.wanted {
            None => *self.peers.iter().find(|(_, peer)| is_due(peer))?.0,
            Some(wanted) => {
                let mut all = wanted.iter().chain(&self.kept);
                *all.find(|id| self.peers.get(id).is_some_and(is_due))?
            }
        };
        let peer = self.peers.get_mut(&id)?;
        peer.dial_anew_at_ms = None;
        if let Status::Live(_) = peer.status {
            return Some((id, peer.addresses()));
        }
        peer.status = Status::Dialing;
        peer.since_ms = now_ms;
        Some((id, peer.dialable().to_vec()))
    }

    pub(super) fn next_wakeup(&self) -> Option<u64> {
        let due = |peer: &Peer| peer.dial_at_ms(self.is_relayed);
        match &self.wanted {
            None => self.peers.values().filter_map(due).min(),
            Some(wanted) => {
                let all = wanted.iter().chain(&self.kept);
                all.filter_map(|id| self.peers.get(id).and_then(due)).min()
            }
        }
    }

    pub(super) fn dial_failed(&mut self, now_ms: u64, id: EndpointId, reason: String, rng: &mut impl Rng) {
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.status == Status::Dialing
        {
            peer.wait(now_ms, rng);
            peer.last_error = Some(reason);
            // What others say is not worth a second try.
            peer.heard.clear();
        }
    }

    /// Returns the addresses of the peer.
    pub(super) fn connected(
        &mut self,
        now_ms: u64,
        id: EndpointId,
        conn: ConnId,
        name: NodeName,
        address: Option<SocketAddr>,
    ) -> Vec<SocketAddr> {
        let Some(peer) = self.entry(now_ms, id) else {
            return address.into_iter().collect();
        };
        peer.name = Some(name);
        peer.reached = address;
        peer.status = Status::Live(conn);
        peer.dial_anew_at_ms = None;
        peer.since_ms = now_ms;
        peer.last_error = None;
        peer.addresses()
    }

    pub(super) fn disconnected(
        &mut self,
        now_ms: u64,
        id: EndpointId,
        why: &Closed,
        reason: String,
        rng: &mut impl Rng,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if *why == Closed::NotNeeded {
            // Nothing went wrong. Should it be wanted again, it is dialled at once.
            (peer.failures, peer.status, peer.since_ms) = (0, Status::Idle { dial_at_ms: now_ms }, now_ms);
            return;
        }
        peer.last_error = Some(reason);
        if now_ms >= peer.since_ms + STEADY_MS {
            // Connections that end as soon as they are made keep their growing waits.
            peer.failures = 0;
            peer.recent_until_ms = now_ms + limits::DIAL_RECENT_MS;
        }
        if *why == Closed::IdentityElsewhere {
            // Two processes would push each other out for ever: give way for a while.
            peer.failures = 16;
            peer.recent_until_ms = 0;
        }
        peer.dial_anew_at_ms = None;
        peer.wait(now_ms, rng);
    }

    pub(super) fn broke_rule(&mut self, now_ms: u64, id: EndpointId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.account.add(now_ms);
        }
    }

    /// What to tell a peer that broke rules and comes too early.
    pub(super) fn refusal(&self, now_ms: u64, id: EndpointId) -> Option<String> {
        self.peers.get(&id)?.account.refusal(now_ms)
    }

    pub(super) fn views(&self) -> Vec<PeerView> {
        let mut views: Vec<PeerView> = self
            .peers
            .iter()
            .map(|(id, peer)| {
                let mut view = peer.view(*id, self.is_relayed);
                if view.state == PeerState::Waiting && !self.is_wanted(*id) {
                    (view.state, view.next_dial_ms) = (PeerState::Known, None);
                }
                view
            })
            .collect();
        views.sort_by(|a, b| (&a.name, a.peer).cmp(&(&b.name, b.peer)));
        views
    }
}

impl Peer {
    fn is_reachable(&self, is_relayed: bool) -> bool {
        self.can_be_dialed(is_relayed) || matches!(self.status, Status::Live(_))
    }

    fn can_be_dialed(&self, is_relayed: bool) -> bool {
        is_relayed && self.is_discovered || !self.dialable().is_empty()
    }

    fn dialable(&self) -> &[SocketAddr] {
        if self.discovered.is_empty() { &self.heard } else { &self.discovered }
    }

    /// When it is to be dialled next.
    fn dial_at_ms(&self, is_relayed: bool) -> Option<u64> {
        match self.status {
            Status::Idle { dial_at_ms } if self.can_be_dialed(is_relayed) => {
                Some(dial_at_ms.max(self.account.until_ms))
            }
            Status::Idle { .. } => None,
            Status::Dialing | Status::Live(_) => self.dial_anew_at_ms,
        }
    }

    fn wait(&mut self, now_ms: u64, rng: &mut impl Rng) {
        let doubled = limits::DIAL_RETRY_MS_MIN << self.failures.min(16);
        // Who was here a moment ago is most likely behind a cut that heals.
        let is_recent = now_ms < self.recent_until_ms;
        let max = if is_recent { limits::DIAL_RETRY_RECENT_MS_MAX } else { limits::DIAL_RETRY_MS_MAX };
        let wait = doubled.min(max);
        let wait = wait * 3 / 4 + rng.random_range(0..=wait / 2);
        self.failures = self.failures.saturating_add(1);
        self.status = Status::Idle { dial_at_ms: now_ms + wait };
        self.since_ms = now_ms;
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = self.discovered.clone();
        if let Some(reached) = self.reached
            && !addresses.contains(&reached)
        {
            addresses.insert(0, reached);
        }
        addresses
    }
}
