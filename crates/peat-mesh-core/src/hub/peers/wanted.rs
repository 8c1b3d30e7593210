//! Peers of a large formation: who of them is to be connected to.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{Peer, PeerTable, Status};
use crate::id::EndpointId;
use crate::limits;

impl PeerTable {
    /// Sets who is to be connected to in any case. They are no part of the overlay.
    pub(in crate::hub) fn keep(&mut self, kept: BTreeSet<EndpointId>) {
        self.kept = kept;
    }

    /// Sets who of those that are wanted stays. Returns whether that is news.
    pub(in crate::hub) fn set_neighbours(&mut self, neighbours: BTreeSet<EndpointId>) -> bool {
        let is_news = self.neighbours != neighbours;
        self.neighbours = neighbours;
        is_news
    }

    /// Whether a connection of the overlay is there for a message or two only.
    pub(in crate::hub) fn is_passing(&self, id: EndpointId) -> bool {
        self.wanted.is_some() && !self.neighbours.contains(&id)
    }

    pub(in crate::hub) fn is_kept(&self, id: EndpointId) -> bool {
        self.kept.contains(&id)
    }

    /// Sets who is to be connected to; those that are new in it are dialled at once.
    pub(in crate::hub) fn want(&mut self, now_ms: u64, wanted: Option<BTreeSet<EndpointId>>, is_large: bool) {
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

    pub(in crate::hub) fn heard(&mut self, now_ms: u64, id: EndpointId, mut addresses: Vec<SocketAddr>) {
        addresses.truncate(limits::PEER_ADDRESSES_COUNT_MAX);
        if id != self.me
            && let Some(peer) = self.entry(now_ms, id)
        {
            peer.heard = addresses;
        }
    }

    pub(in crate::hub) fn keeps_neighbours(&self) -> bool {
        self.wanted.is_some()
    }

    pub(in crate::hub) fn is_wanted(&self, id: EndpointId) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&id)) || self.is_kept(id)
    }

    /// Peers that are connected, or that this node's own discovery knows.
    pub(in crate::hub) fn known(&self) -> usize {
        let is_known = |peer: &&Peer| peer.is_discovered || matches!(peer.status, Status::Live(_));
        self.peers.values().filter(is_known).count()
    }

    /// Peers that are connected or can be dialled, without those that are no part of the overlay.
    pub(in crate::hub) fn reachable(&self) -> impl Iterator<Item = EndpointId> {
        let is_relayed = self.is_relayed;
        let is_one = move |id: &EndpointId, peer: &Peer| !self.is_kept(*id) && peer.is_reachable(is_relayed);
        self.peers.iter().filter(move |(id, peer)| is_one(id, peer)).map(|(id, _)| *id)
    }

    pub(in crate::hub) fn is_reachable(&self, id: EndpointId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.is_reachable(self.is_relayed))
    }

    pub(in crate::hub) fn addresses(&self, id: EndpointId) -> Vec<SocketAddr> {
        self.peers.get(&id).map(Peer::addresses).unwrap_or_default()
    }
}
