//! The peer table: who was found, who is connected, whom to dial when.
//!
//! Whoever finds a peer may dial it. Of a pair, the node with the smaller id does so at once and the
//! other after [`limits::DIAL_GRACE_MS`], so that a pair that found each other makes one connection and
//! a peer that only one side knows of is dialled all the same. A peer is dialled for ever, with waits
//! that grow to [`limits::DIAL_RETRY_MS_MAX`] and are shaken so that nodes do not beat in time.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::{Rng, RngExt};

use crate::id::{ConnId, EndpointId, NodeName};
use crate::io::Closed;
use crate::limits;

/// A connection that lasted this long, in milliseconds, was a good one.
const STEADY_MS: u64 = 10_000;

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// A connection is in use.
    Connected,
    /// A dial is under way.
    Dialing,
    /// The next dial is waiting for its time.
    Waiting,
    /// Not connected, and discovery does not know it (any more).
    Lost,
}

impl PeerState {
    /// The state in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Dialing => "dialing",
            Self::Waiting => "waiting",
            Self::Lost => "lost",
        }
    }
}

/// What is known of a peer now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerView {
    /// Its endpoint id.
    pub peer: EndpointId,
    /// Its name, once known.
    pub name: Option<NodeName>,
    /// Where it stands.
    pub state: PeerState,
    /// Its connection.
    pub conn: Option<ConnId>,
    /// Addresses it was found or reached at.
    pub addresses: Vec<SocketAddr>,
    /// Since when it is in this state, on the caller's clock.
    pub since_ms: u64,
    /// When it is dialled next, on the caller's clock.
    pub next_dial_ms: Option<u64>,
    /// The last thing that went wrong with it, in words.
    pub last_error: Option<String>,
    /// What may cross its link, in words; `None` without bounds.
    pub scope: Option<String>,
    /// Whether the last comparison found both sides equal and nothing has been on its way since.
    pub in_step: bool,
    /// When both sides were last found equal, on the caller's clock.
    pub in_step_at_ms: Option<u64>,
    /// Documents waiting to be sent to it.
    pub documents_to_send: u64,
    /// Changes that came from it and are not on disk here yet.
    pub documents_to_merge: u64,
    /// Changes that came from it over this connection.
    pub documents_received: u64,
    /// Changes that were lacking here, came by a comparison over this connection, and are on disk.
    pub documents_repaired: u64,
    /// Bytes sent to it over this connection.
    pub bytes_sent: u64,
    /// Bytes on their way to it.
    pub bytes_unsent: u64,
    /// Since when nothing at all has come from it over its connection, on the caller's clock.
    pub silent_since_ms: Option<u64>,
}

#[derive(Debug)]
struct Peer {
    name: Option<NodeName>,
    discovered: Vec<SocketAddr>,
    is_discovered: bool,
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
}

impl PeerTable {
    pub(super) fn new(me: EndpointId) -> Self {
        Self { me, peers: BTreeMap::new(), is_relayed: false }
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
            reached: None,
            status: Status::Idle { dial_at_ms: now_ms },
            dial_anew_at_ms: None,
            since_ms: now_ms,
            failures: 0,
            recent_until_ms: 0,
            last_error: None,
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
        let (id, peer) = self.peers.iter_mut().find(|(_, peer)| is_due(peer))?;
        peer.dial_anew_at_ms = None;
        if let Status::Live(_) = peer.status {
            return Some((*id, peer.addresses()));
        }
        peer.status = Status::Dialing;
        peer.since_ms = now_ms;
        Some((*id, peer.discovered.clone()))
    }

    pub(super) fn next_wakeup(&self) -> Option<u64> {
        self.peers.values().filter_map(|peer| peer.dial_at_ms(self.is_relayed)).min()
    }

    pub(super) fn dial_failed(&mut self, now_ms: u64, id: EndpointId, reason: String, rng: &mut impl Rng) {
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.status == Status::Dialing
        {
            peer.wait(now_ms, rng);
            peer.last_error = Some(reason);
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

    pub(super) fn views(&self) -> Vec<PeerView> {
        let mut views: Vec<PeerView> =
            self.peers.iter().map(|(id, peer)| peer.view(*id, self.is_relayed)).collect();
        views.sort_by(|a, b| (&a.name, a.peer).cmp(&(&b.name, b.peer)));
        views
    }
}

impl Peer {
    fn can_be_dialed(&self, is_relayed: bool) -> bool {
        self.is_discovered && (is_relayed || !self.discovered.is_empty())
    }

    /// When it is to be dialled next.
    fn dial_at_ms(&self, is_relayed: bool) -> Option<u64> {
        match self.status {
            Status::Idle { dial_at_ms } if self.can_be_dialed(is_relayed) => Some(dial_at_ms),
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

    fn view(&self, id: EndpointId, is_relayed: bool) -> PeerView {
        let (state, conn, next_dial_ms) = match self.status {
            Status::Live(conn) => (PeerState::Connected, Some(conn), None),
            Status::Dialing => (PeerState::Dialing, None, None),
            Status::Idle { dial_at_ms } if self.can_be_dialed(is_relayed) => {
                (PeerState::Waiting, None, Some(dial_at_ms))
            }
            Status::Idle { .. } => (PeerState::Lost, None, None),
        };
        PeerView {
            peer: id,
            name: self.name.clone(),
            state,
            conn,
            addresses: self.addresses(),
            since_ms: self.since_ms,
            next_dial_ms,
            last_error: self.last_error.clone(),
            scope: None,
            in_step: false,
            in_step_at_ms: None,
            documents_to_send: 0,
            documents_to_merge: 0,
            documents_received: 0,
            documents_repaired: 0,
            bytes_sent: 0,
            bytes_unsent: 0,
            silent_since_ms: None,
        }
    }
}
