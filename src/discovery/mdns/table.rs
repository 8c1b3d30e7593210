//! Who was heard on the local network.
//!
//! What comes in are announcements and the instances that left; what goes out are the events of the peers.
//! No I/O. A node that was killed and started again is announced twice until its old record expires, and a
//! forged announcement looks like that too: a peer has the addresses of all processes with its name, so
//! that neither hides where it really is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use peat_mesh_core::id::{EndpointId, NodeName};
use peat_mesh_core::limits::PEERS_COUNT_MAX;

use super::announcement::{Announcement, Incarnation};
use crate::discovery::{DiscoveryEvent, EndpointOf, PeerInfo, in_turn};

/// Most processes remembered; more are ignored until some leave.
const INSTANCES_COUNT_MAX: usize = PEERS_COUNT_MAX;
/// Other processes with our name that were already reported.
const REPORTED_COUNT_MAX: usize = 16;

/// The processes heard, and the peers they make.
pub(super) struct Table {
    source: &'static str,
    own_name: NodeName,
    own_incarnation: Incarnation,
    endpoint_of: EndpointOf,
    /// By service instance.
    processes: HashMap<String, Process>,
    peers: BTreeMap<NodeName, Peer>,
    reported: VecDeque<Incarnation>,
    next_order: u64,
}

struct Process {
    name: NodeName,
    addresses: Vec<SocketAddr>,
    /// Counts up as processes are first heard.
    order: u64,
}

struct Peer {
    endpoint: EndpointId,
    told: PeerInfo,
}

/// What an announcement came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It was our own, so multicast works where these addresses are.
    Ourselves(Vec<SocketAddr>),
    /// It was somebody else's.
    Others(Vec<DiscoveryEvent>),
}

impl Table {
    pub(super) fn new(
        source: &'static str,
        own_name: NodeName,
        own_incarnation: Incarnation,
        endpoint_of: EndpointOf,
    ) -> Self {
        Self {
            source,
            own_name,
            own_incarnation,
            endpoint_of,
            processes: HashMap::new(),
            peers: BTreeMap::new(),
            reported: VecDeque::new(),
            next_order: 0,
        }
    }

    pub(super) fn peers_count(&self) -> usize {
        self.peers.len()
    }

    /// Takes an announcement, new or changed.
    pub(super) fn heard(&mut self, announcement: Announcement) -> Heard {
        let Announcement { instance, name, incarnation, addresses } = announcement;
        if name == self.own_name {
            return self.heard_own_name(incarnation, addresses);
        }
        let full = self.processes.len() >= INSTANCES_COUNT_MAX;
        if full && !self.processes.contains_key(&instance) {
            return Heard::Others(Vec::new());
        }
        let mut events = Vec::new();
        if self.processes.get(&instance).is_some_and(|process| process.name != name) {
            events.extend(self.left(&instance));
        }
        let next_order = &mut self.next_order;
        let process = self.processes.entry(instance).or_insert_with(|| {
            *next_order += 1;
            Process { name: name.clone(), addresses: Vec::new(), order: *next_order }
        });
        process.addresses = addresses;
        events.extend(self.tell(&name));
        Heard::Others(events)
    }

    /// An instance said goodbye, expired, or turned into something that is no announcement.
    pub(super) fn left(&mut self, instance: &str) -> Option<DiscoveryEvent> {
        let process = self.processes.remove(instance)?;
        self.tell(&process.name)
    }

    /// Forgets everybody.
    pub(super) fn clear(&mut self) -> Vec<DiscoveryEvent> {
        self.processes.clear();
        let peers = std::mem::take(&mut self.peers);
        peers.into_values().map(|peer| DiscoveryEvent::PeerLost(peer.endpoint)).collect()
    }

    fn heard_own_name(&mut self, incarnation: Incarnation, addresses: Vec<SocketAddr>) -> Heard {
        if incarnation == self.own_incarnation {
            return Heard::Ourselves(addresses);
        }
        if self.reported.contains(&incarnation) {
            return Heard::Others(Vec::new());
        }
        if self.reported.len() >= REPORTED_COUNT_MAX {
            self.reported.pop_front();
        }
        self.reported.push_back(incarnation);
        Heard::Others(vec![DiscoveryEvent::SelfElsewhere { source: self.source, addresses }])
    }

    /// The event that brings the peer `name` from what was told to what is known.
    fn tell(&mut self, name: &NodeName) -> Option<DiscoveryEvent> {
        let mut processes: Vec<_> = self.processes.values().filter(|process| process.name == *name).collect();
        if processes.is_empty() {
            let peer = self.peers.remove(name)?;
            return Some(DiscoveryEvent::PeerLost(peer.endpoint));
        }
        // The newest first: of a node that was started again, its addresses are the good ones.
        processes.sort_unstable_by_key(|process| Reverse(process.order));
        let lists: Vec<_> = processes.iter().map(|process| &process.addresses[..]).collect();
        let addresses = in_turn(&lists);
        if let Some(peer) = self.peers.get_mut(name) {
            let info = PeerInfo::new(peer.endpoint, Some(name.clone()), addresses);
            if info == peer.told {
                return None;
            }
            peer.told = info.clone();
            return Some(DiscoveryEvent::PeerUpdated(info));
        }
        let endpoint = (self.endpoint_of)(name);
        let told = PeerInfo::new(endpoint, Some(name.clone()), addresses);
        let peer = Peer { endpoint, told: told.clone() };
        self.peers.insert(name.clone(), peer);
        Some(DiscoveryEvent::PeerFound(told))
    }
}

#[cfg(test)]
mod tests;
