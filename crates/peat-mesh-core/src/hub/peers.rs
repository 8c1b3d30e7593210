//! The peer table: who was found, who is connected, whom to dial when.
//!
//! Whoever finds a peer may dial it. Of a pair, the node with the smaller id does so at once and the
//! other after [`limits::DIAL_GRACE_MS`], so that a pair that found each other makes one connection and
//! a peer that only one side knows of is dialled all the same. A peer is dialled for ever, with waits
//! that grow to [`limits::DIAL_RETRY_MS_MAX`] and are shaken so that nodes do not beat in time.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Not connected because the formation is large and others are this node's neighbours.
    Known,
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
            Self::Known => "known",
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
}

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
    since_ms: u64,
    failures: u32,
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
    /// Those to be connected to; all of them unless this is set.
    wanted: Option<BTreeSet<EndpointId>>,
    /// Whether there are more than this node may connect to.
    pub(super) is_large: bool,
}

impl PeerTable {
    pub(super) fn new(me: EndpointId) -> Self {
        Self { me, peers: BTreeMap::new(), wanted: None, is_large: false }
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
            since_ms: now_ms,
            failures: 0,
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
        peer.is_discovered = true;
        peer.discovered = addresses;
        if let (true, Status::Idle { dial_at_ms }) = (moved, &mut peer.status) {
            peer.failures = 0;
            *dial_at_ms = now_ms + grace;
        }
    }

    pub(super) fn gone(&mut self, id: EndpointId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.is_discovered = false;
            peer.discovered.clear();
        }
    }

    pub(super) fn next_dial(&mut self, now_ms: u64) -> Option<(EndpointId, Vec<SocketAddr>)> {
        let is_due = |peer: &Peer| {
            matches!(peer.status, Status::Idle { dial_at_ms } if dial_at_ms <= now_ms) && peer.can_be_dialed()
        };
        let id = match &self.wanted {
            None => *self.peers.iter().find(|(_, peer)| is_due(peer))?.0,
            Some(wanted) => *wanted.iter().find(|id| self.peers.get(id).is_some_and(is_due))?,
        };
        let peer = self.peers.get_mut(&id)?;
        peer.status = Status::Dialing;
        peer.since_ms = now_ms;
        Some((id, peer.dialable().to_vec()))
    }

    pub(super) fn next_wakeup(&self) -> Option<u64> {
        let due = |peer: &Peer| match peer.status {
            Status::Idle { dial_at_ms } if peer.can_be_dialed() => Some(dial_at_ms),
            _ => None,
        };
        match &self.wanted {
            None => self.peers.values().filter_map(due).min(),
            Some(wanted) => wanted.iter().filter_map(|id| self.peers.get(id).and_then(due)).min(),
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
        }
        if *why == Closed::IdentityElsewhere {
            // Two processes would push each other out for ever: give way for a while.
            peer.failures = 16;
        }
        peer.wait(now_ms, rng);
    }

    /// Sets who is to be connected to; those that are new in it are dialled at once.
    pub(super) fn want(&mut self, now_ms: u64, wanted: Option<BTreeSet<EndpointId>>, is_large: bool) {
        self.is_large = is_large;
        let is_new =
            |id: &EndpointId| self.wanted.as_ref().is_none_or(|old| !old.contains(id)) && wanted.is_some();
        for id in wanted.iter().flatten().filter(|id| is_new(id)) {
            if let Some(peer) = self.peers.get_mut(id)
                && let Status::Idle { dial_at_ms } = &mut peer.status
            {
                *dial_at_ms = now_ms;
            }
        }
        self.wanted = wanted;
    }

    pub(super) fn heard(&mut self, now_ms: u64, id: EndpointId, mut addresses: Vec<SocketAddr>) {
        addresses.truncate(limits::PEER_ADDRESSES_COUNT_MAX);
        if id != self.me
            && let Some(peer) = self.entry(now_ms, id)
        {
            peer.heard = addresses;
        }
    }

    pub(super) fn keeps_neighbours(&self) -> bool {
        self.wanted.is_some()
    }

    pub(super) fn is_wanted(&self, id: EndpointId) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&id))
    }

    /// Peers that are connected, or that this node's own discovery knows.
    pub(super) fn known(&self) -> usize {
        let is_known = |peer: &&Peer| peer.is_discovered || matches!(peer.status, Status::Live(_));
        self.peers.values().filter(is_known).count()
    }

    /// Peers that are connected or can be dialled.
    pub(super) fn reachable(&self) -> impl Iterator<Item = EndpointId> {
        self.peers.iter().filter(|(_, peer)| peer.is_reachable()).map(|(id, _)| *id)
    }

    pub(super) fn is_reachable(&self, id: EndpointId) -> bool {
        self.peers.get(&id).is_some_and(Peer::is_reachable)
    }

    pub(super) fn addresses(&self, id: EndpointId) -> Vec<SocketAddr> {
        self.peers.get(&id).map(Peer::addresses).unwrap_or_default()
    }

    pub(super) fn views(&self) -> Vec<PeerView> {
        let mut views: Vec<PeerView> = self
            .peers
            .iter()
            .map(|(id, peer)| {
                let mut view = peer.view(*id);
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
    fn is_reachable(&self) -> bool {
        self.can_be_dialed() || matches!(self.status, Status::Live(_))
    }

    fn can_be_dialed(&self) -> bool {
        !self.dialable().is_empty()
    }

    fn dialable(&self) -> &[SocketAddr] {
        if self.discovered.is_empty() { &self.heard } else { &self.discovered }
    }

    fn wait(&mut self, now_ms: u64, rng: &mut impl Rng) {
        let doubled = limits::DIAL_RETRY_MS_MIN << self.failures.min(16);
        let wait = doubled.min(limits::DIAL_RETRY_MS_MAX);
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

    fn view(&self, id: EndpointId) -> PeerView {
        let (state, conn, next_dial_ms) = match self.status {
            Status::Live(conn) => (PeerState::Connected, Some(conn), None),
            Status::Dialing => (PeerState::Dialing, None, None),
            Status::Idle { dial_at_ms } if self.can_be_dialed() => {
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
            in_step: false,
            in_step_at_ms: None,
            documents_to_send: 0,
            documents_to_merge: 0,
            documents_received: 0,
            documents_repaired: 0,
            bytes_sent: 0,
            bytes_unsent: 0,
        }
    }
}
