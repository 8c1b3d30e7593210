//! EndpointSlices to peers. What comes in are slices as the API server tells them; what goes out are the
//! events of discovery. No I/O.
//!
//! A service has several slices, one or more for each address type, and a pod may be in slices of several
//! services: a peer has the addresses of all of them. Endpoints that are not ready are peers like the others,
//! because a mesh that waits for readiness to find its peers never becomes ready. Endpoints that terminate are
//! no longer offered: connections to them last until they say goodbye, and nobody dials them any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use peat_mesh_core::id::{EndpointId, NodeName};
use peat_mesh_core::limits::PEER_ADDRESSES_COUNT_MAX;

use crate::discovery::limits::{ENDPOINTS_PER_SLICE_COUNT_MAX, RELAY_URL_BYTES_MAX, SLICES_COUNT_MAX};
use crate::discovery::{Details, DiscoveryEvent, EndpointOf, PeerInfo, in_turn, is_dialable};

/// The name of the port that takes QUIC.
pub const PORT_NAME: &str = "quic";
/// Annotations of a slice that begin with this are metadata of its peers.
const METADATA_PREFIX: &str = "peat.";
/// The annotation that names the relay of a slice's peers; it is not metadata.
const RELAY: &str = "peat.relay_url";

/// All slices that are known, as peers.
pub struct Index {
    own: EndpointId,
    /// What stands before a pod's name in its node name, with the slash; may be empty.
    prefix: String,
    endpoint_of: EndpointOf,
    slices: BTreeMap<String, Slice>,
    told: BTreeMap<EndpointId, PeerInfo>,
    /// Whether a slice was left out because there were too many; a full list tells anew.
    is_full: bool,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("prefix", &self.prefix)
            .field("slices", &self.slices)
            .finish_non_exhaustive()
    }
}

/// What one slice says.
#[derive(Debug, Default)]
struct Slice {
    peers: BTreeMap<EndpointId, (NodeName, Vec<SocketAddr>)>,
    details: Details,
    left_out: LeftOut,
}

/// What of one slice was left out, and why.
#[derive(Debug, Default, Clone, Copy)]
struct LeftOut {
    /// The whole slice: its addresses are none that can be dialled.
    type_unknown: bool,
    /// The whole slice: nothing says which port is that of QUIC.
    no_port: bool,
    /// Endpoints without a pod's name, or with one that no node can have.
    unnamed_count: usize,
    /// Endpoints beyond the bound.
    beyond_count: usize,
}

impl Index {
    /// An empty index of the node `own` with the name `name`: all pods share what stands before the slash in
    /// its name.
    #[must_use]
    pub fn new(own: EndpointId, name: &NodeName, endpoint_of: EndpointOf) -> Self {
        let prefix =
            name.as_str().rsplit_once('/').map_or_else(String::new, |(cluster, _)| format!("{cluster}/"));
        Self { own, prefix, endpoint_of, slices: BTreeMap::new(), told: BTreeMap::new(), is_full: false }
    }

    /// Takes a slice that is new or has changed. One beyond [`SLICES_COUNT_MAX`] is left out.
    pub fn apply(&mut self, slice: &EndpointSlice) -> Vec<DiscoveryEvent> {
        self.put(slice);
        self.tell()
    }

    /// Forgets a slice.
    pub fn delete(&mut self, name: &str) -> Vec<DiscoveryEvent> {
        self.slices.remove(name);
        self.tell()
    }

    /// Takes the full list of slices and forgets all others.
    pub fn replace(&mut self, slices: &[EndpointSlice]) -> Vec<DiscoveryEvent> {
        self.slices.clear();
        self.is_full = false;
        slices.iter().for_each(|slice| self.put(slice));
        self.tell()
    }

    /// How many peers and slices there are and what was left out, in words.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut words = format!(
            "{} in {}",
            counted(self.told.len(), "peer", "peers"),
            counted(self.slices.len(), "slice", "slices")
        );
        let slices = |is_left_out: fn(&LeftOut) -> bool| {
            self.slices.values().filter(|slice| is_left_out(&slice.left_out)).count()
        };
        let endpoints = |count: fn(&LeftOut) -> usize| -> usize {
            self.slices.values().map(|slice| count(&slice.left_out)).sum()
        };
        let mut add = |count: usize, one: &str, many: &str, why: &str| {
            if count > 0 {
                words.push_str(&format!("; {} left out: {why}", counted(count, one, many)));
            }
        };
        add(slices(|out| out.no_port), "slice", "slices", "no port is named quic and not just one is UDP");
        add(slices(|out| out.type_unknown), "slice", "slices", "the address type is neither IPv4 nor IPv6");
        let unnamed = endpoints(|out| out.unnamed_count);
        add(unnamed, "endpoint", "endpoints", "no pod's name that a node can have");
        add(endpoints(|out| out.beyond_count), "endpoint", "endpoints", "too many in one slice");
        if self.is_full {
            words.push_str(&format!("; slices beyond {SLICES_COUNT_MAX} left out"));
        }
        words
    }

    fn put(&mut self, slice: &EndpointSlice) {
        let Some(name) = &slice.metadata.name else {
            return;
        };
        if self.slices.len() >= SLICES_COUNT_MAX && !self.slices.contains_key(name) {
            self.is_full = true;
            return;
        }
        let read = self.read(slice);
        self.slices.insert(name.clone(), read);
    }

    fn read(&self, slice: &EndpointSlice) -> Slice {
        let mut read = Slice { details: details(slice), ..Slice::default() };
        let Some(is_usable) = family(&slice.address_type) else {
            read.left_out.type_unknown = true;
            return read;
        };
        let Some(port) = port(slice) else {
            read.left_out.no_port = true;
            return read;
        };
        read.left_out.beyond_count = slice.endpoints.len().saturating_sub(ENDPOINTS_PER_SLICE_COUNT_MAX);
        for endpoint in slice.endpoints.iter().take(ENDPOINTS_PER_SLICE_COUNT_MAX) {
            let Some(name) = self.name(endpoint) else {
                read.left_out.unnamed_count += 1;
                continue;
            };
            let terminates = endpoint.conditions.as_ref().and_then(|conditions| conditions.terminating);
            if terminates == Some(true) {
                continue;
            }
            let ips = endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok());
            let addresses = ips.filter(is_usable).map(|ip| SocketAddr::new(ip, port)).filter(is_dialable);
            let (_, all) = read.peers.entry((self.endpoint_of)(&name)).or_insert((name, Vec::new()));
            for address in addresses.take(PEER_ADDRESSES_COUNT_MAX) {
                if all.len() < PEER_ADDRESSES_COUNT_MAX && !all.contains(&address) {
                    all.push(address);
                }
            }
        }
        read.peers.retain(|endpoint, (_, addresses)| *endpoint != self.own && !addresses.is_empty());
        read
    }

    /// The name of the node in the pod that an endpoint stands for.
    fn name(&self, endpoint: &Endpoint) -> Option<NodeName> {
        let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
        let pod = target.and_then(|target| target.name.as_ref()).or(endpoint.hostname.as_ref())?;
        // A slash would make it a pod of another cluster.
        if pod.is_empty() || pod.contains('/') {
            return None;
        }
        NodeName::new(&format!("{}{pod}", self.prefix)).ok()
    }

    /// What is other than what was told last. What is lost comes first and makes room.
    fn tell(&mut self) -> Vec<DiscoveryEvent> {
        let now = self.peers();
        let lost = self.told.keys().filter(|endpoint| !now.contains_key(endpoint));
        let mut events: Vec<_> = lost.copied().map(DiscoveryEvent::PeerLost).collect();
        for (endpoint, info) in &now {
            match self.told.get(endpoint) {
                None => events.push(DiscoveryEvent::PeerFound(info.clone())),
                Some(told) if told != info => events.push(DiscoveryEvent::PeerUpdated(info.clone())),
                Some(_) => {}
            }
        }
        self.told = now;
        events
    }

    /// The peers of all slices together. Where slices say different things, the first by name has precedence.
    fn peers(&self) -> BTreeMap<EndpointId, PeerInfo> {
        let endpoints: BTreeSet<_> = self.slices.values().flat_map(|slice| slice.peers.keys()).collect();
        let peer = |endpoint: &EndpointId| {
            let mut lists = Vec::new();
            let (mut named, mut details) = (None, Details::default());
            for slice in self.slices.values() {
                let Some((name, addresses)) = slice.peers.get(endpoint) else { continue };
                lists.push(&addresses[..]);
                named = named.or(Some(name));
                details.add(&slice.details);
            }
            let info = PeerInfo::new(*endpoint, named.cloned(), in_turn(&lists)).with(&details);
            (*endpoint, info)
        };
        endpoints.into_iter().map(peer).collect()
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Which addresses belong to an address type; `None` for a type whose addresses cannot be dialled.
fn family(address_type: &str) -> Option<fn(&IpAddr) -> bool> {
    match address_type {
        "IPv4" => Some(IpAddr::is_ipv4),
        "IPv6" => Some(IpAddr::is_ipv6),
        _ => None,
    }
}

/// The port named `quic`, or else the UDP port when there is just one.
fn port(slice: &EndpointSlice) -> Option<u16> {
    let ports = slice.ports.as_deref().unwrap_or_default();
    let named = ports.iter().find(|port| port.name.as_deref() == Some(PORT_NAME));
    let found = named.or_else(|| {
        let mut udp = ports.iter().filter(|port| port.protocol.as_deref() == Some("UDP"));
        udp.next().filter(|_| udp.next().is_none())
    });
    found.and_then(|port| u16::try_from(port.port?).ok()).filter(|port| *port != 0)
}

fn details(slice: &EndpointSlice) -> Details {
    let mut all = Details::default();
    let annotations = slice.metadata.annotations.iter().flatten();
    for (key, value) in annotations {
        if key == RELAY {
            let is_url = value.starts_with("https://") || value.starts_with("http://");
            let is_clean = !value.chars().any(|c| c.is_whitespace() || c.is_control());
            if is_url && is_clean && value.len() <= RELAY_URL_BYTES_MAX {
                all.relay = Some(value.clone());
            }
        } else if let Some(key) = key.strip_prefix(METADATA_PREFIX) {
            all.metadata.insert(key.to_owned(), value.clone());
        }
    }
    let mut bounded = Details::default();
    bounded.add(&all);
    bounded
}

#[cfg(test)]
mod tests;
