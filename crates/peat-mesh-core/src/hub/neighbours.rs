//! Large formations: this node is connected to some peers only, and an overlay carries updates to the rest.
//!
//! Who these neighbours are comes in as [`Input::Neighbours`](crate::io::Input::Neighbours), and messages of the
//! overlay pass through here. Comparing goes on over each connection as ever, so whatever the overlay loses is
//! found.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;

use super::link::Link;
use super::{Hub, Rule};
use crate::id::{ConnId, EndpointId};
use crate::io::CloseReason;
use crate::limits;
use crate::wire::Frame;

impl Hub {
    /// Whether a peer has a connection in use.
    #[must_use]
    pub fn is_linked(&self, peer: EndpointId) -> bool {
        self.conn_of(peer).is_some()
    }

    /// Whether a peer is connected, or where it can be dialled is known.
    #[must_use]
    pub fn is_reachable(&self, peer: EndpointId) -> bool {
        self.peers.is_reachable(peer)
    }

    /// Peers that are connected or can be dialled, in the order of their ids.
    pub fn reachable(&self) -> impl Iterator<Item = EndpointId> {
        self.peers.reachable()
    }

    /// How many peers are connected or known by this node's own discovery.
    #[must_use]
    pub fn known_count(&self) -> usize {
        self.peers.known()
    }

    /// Where a peer is reached, as far as it is known.
    #[must_use]
    pub fn addresses(&self, peer: EndpointId) -> Vec<SocketAddr> {
        self.peers.addresses(peer)
    }

    /// Peers to be connected to in any case. In a large formation they are no part of the overlay: this node
    /// passes everything between them and its neighbours, like a gateway between two clusters.
    pub fn keep(&mut self, peers: BTreeSet<EndpointId>) {
        self.peers.keep(peers);
    }

    pub(super) fn neighbours_are(&mut self, now_ms: u64, neighbours: BTreeSet<EndpointId>) {
        if self.peers.set_neighbours(neighbours) {
            self.links_changed(now_ms);
        }
    }

    fn conn_of(&self, peer: EndpointId) -> Option<ConnId> {
        self.peers.conn(peer).filter(|conn| self.links.contains_key(conn))
    }

    /// A message of the overlay. What does not fit into the window is left out: comparing finds what it was
    /// about.
    pub(super) fn tell(&mut self, peer: EndpointId, bytes: Bytes) {
        let Some(conn) = self.conn_of(peer) else { return };
        let Some(link) = self.links.get_mut(&conn) else { return };
        if link.is_apart() {
            return;
        }
        // It is told by this that the formation is large, and follows.
        link.gossips |= self.peers.is_large;
        if link.unsent_bytes + bytes.len() > limits::SEND_WINDOW_BYTES {
            link.skipped = true;
            return;
        }
        self.say(conn, &Frame::Gossip { is_large: self.peers.is_large, bytes });
    }

    /// A frame that the overlay brought, as if the neighbour had sent it itself.
    pub(super) fn delivered(&mut self, now_ms: u64, peer: EndpointId, frame: Frame) {
        if let Some(conn) = self.conn_of(peer) {
            self.received(now_ms, conn, frame);
        }
    }

    pub(super) fn broke(&mut self, now_ms: u64, peer: EndpointId, rule: String) {
        if let Some(conn) = self.conn_of(peer) {
            self.close_broken(now_ms, conn, Rule::Overlay, rule);
        }
    }

    /// Whether one more connection may be taken.
    pub(super) fn has_room_for(&self, peer: EndpointId) -> bool {
        !self.peers.is_large
            || self.peers.is_wanted(peer)
            || self.is_linked(peer)
            || self.links.len() < limits::LINKS_COUNT_MAX
    }

    /// Ends connections that nobody has needed for a while.
    pub(super) fn let_go(&mut self, now_ms: u64) {
        if !self.peers.is_large {
            self.links.values_mut().for_each(|link| link.unneeded_since_ms = None);
            return;
        }
        let mut unneeded = Vec::new();
        for (conn, link) in &mut self.links {
            if link.is_apart() || self.peers.is_wanted(link.peer) {
                link.unneeded_since_ms = None;
                continue;
            }
            let since_ms = *link.unneeded_since_ms.get_or_insert(now_ms);
            if let_go_at(link, since_ms) <= now_ms {
                unneeded.push(*conn);
            }
        }
        for conn in unneeded {
            // As if the peer had said so, so that nothing is noted as a failure.
            self.closed(now_ms, conn, crate::io::Closed::NotNeeded);
            self.close(conn, CloseReason::NotNeeded);
        }
    }

    pub(super) fn let_go_wakeup(&self) -> Option<u64> {
        let at = |link: &Link| Some(let_go_at(link, link.unneeded_since_ms?));
        self.links.values().filter_map(at).min()
    }
}

/// When a connection ends that is not needed since then.
fn let_go_at(link: &Link, since_ms: u64) -> u64 {
    let is_busy = link.unsent_bytes > 0 || link.is_answering();
    since_ms + if is_busy { limits::LET_GO_MS_MAX } else { limits::LET_GO_MS }
}

#[cfg(test)]
mod tests;
