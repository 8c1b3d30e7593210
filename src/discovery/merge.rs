//! The merged view: what several sources say, as one list of peers.
//!
//! What comes in are the events of numbered sources; what goes out are the events of the union. No I/O.

use std::collections::BTreeMap;

use peat_mesh_core::id::EndpointId;
use peat_mesh_core::limits::PEERS_COUNT_MAX;

use super::{Details, DiscoveryEvent, PeerInfo, in_turn};

/// What each source says about each peer, and what was told about it.
#[derive(Debug)]
pub struct Merged {
    own: EndpointId,
    peers: BTreeMap<EndpointId, Peer>,
    refused_count: u64,
}

#[derive(Debug)]
struct Peer {
    /// By source; never empty.
    said: BTreeMap<usize, PeerInfo>,
    told: PeerInfo,
}

impl Merged {
    /// An empty view that leaves out `own`.
    #[must_use]
    pub fn new(own: EndpointId) -> Self {
        Self { own, peers: BTreeMap::new(), refused_count: 0 }
    }

    /// Takes what `source` says and returns what that changes in the union.
    ///
    /// Found and updated mean the same here: what the source knows now. A peer beyond
    /// [`PEERS_COUNT_MAX`] is left out and counted.
    pub fn apply(&mut self, source: usize, event: DiscoveryEvent) -> Vec<DiscoveryEvent> {
        match event {
            DiscoveryEvent::PeerFound(info) | DiscoveryEvent::PeerUpdated(info) => {
                self.heard(source, info).into_iter().collect()
            }
            DiscoveryEvent::PeerLost(endpoint) => self.lost(source, endpoint).into_iter().collect(),
            notice @ DiscoveryEvent::SelfElsewhere { .. } => vec![notice],
        }
    }

    /// How many times a new peer was left out because the view was full.
    #[must_use]
    pub fn refused_count(&self) -> u64 {
        self.refused_count
    }

    fn heard(&mut self, source: usize, info: PeerInfo) -> Option<DiscoveryEvent> {
        let endpoint = info.endpoint;
        if endpoint == self.own {
            return None;
        }
        let info = PeerInfo::new(endpoint, info.name, info.addresses).with(&info.details);
        if let Some(peer) = self.peers.get_mut(&endpoint) {
            peer.said.insert(source, info);
            return peer.tell();
        }
        if self.peers.len() >= PEERS_COUNT_MAX {
            self.refused_count += 1;
            return None;
        }
        let peer = Peer { said: BTreeMap::from([(source, info.clone())]), told: info.clone() };
        self.peers.insert(endpoint, peer);
        Some(DiscoveryEvent::PeerFound(info))
    }

    fn lost(&mut self, source: usize, endpoint: EndpointId) -> Option<DiscoveryEvent> {
        let peer = self.peers.get_mut(&endpoint)?;
        peer.said.remove(&source)?;
        if peer.said.is_empty() {
            self.peers.remove(&endpoint);
            return Some(DiscoveryEvent::PeerLost(endpoint));
        }
        peer.tell()
    }
}

impl Peer {
    /// The update, when the union is other than what was told last.
    fn tell(&mut self) -> Option<DiscoveryEvent> {
        let name = self.said.values().find_map(|info| info.name.clone());
        let lists: Vec<_> = self.said.values().map(|info| &info.addresses[..]).collect();
        let mut details = Details::default();
        self.said.values().for_each(|info| details.add(&info.details));
        let union = PeerInfo::new(self.told.endpoint, name, in_turn(&lists)).with(&details);
        if union == self.told {
            return None;
        }
        self.told = union.clone();
        Some(DiscoveryEvent::PeerUpdated(union))
    }
}

#[cfg(test)]
mod tests;
