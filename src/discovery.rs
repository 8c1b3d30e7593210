//! Discovery: which peers there are and where they can be reached.
//!
//! What comes in is what the sources say: a list from the configuration ([`fixed`]), announcements on the
//! local network ([`mdns`]), the EndpointSlices of a cluster (`kubernetes`, with the feature of that name),
//! and whatever else implements [`Discovery`]. What goes out of [`start`] is one
//! stream of [`DiscoveryEvent`]s in which each peer appears once, with the addresses of all sources.
//!
//! Nothing here is proof of anything: anybody on the network can announce any name. An address from
//! discovery is a place to dial, and who answers there is decided by the handshake.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use peat_mesh_core::id::{EndpointId, NodeName};
use peat_mesh_core::limits::PEER_ADDRESSES_COUNT_MAX;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub mod fixed;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod limits;
pub mod mdns;
pub mod merge;
mod running;

pub use running::{Running, start};

/// Derives the endpoint id of a node from its name and the formation secret.
pub type EndpointOf = Arc<dyn Fn(&NodeName) -> EndpointId + Send + Sync>;

/// What a source says about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who it is.
    pub endpoint: EndpointId,
    /// Its name, when the source knows it.
    pub name: Option<NodeName>,
    /// Where it can be reached: sorted, each once, at most [`PEER_ADDRESSES_COUNT_MAX`].
    pub addresses: Vec<SocketAddr>,
    /// What the source knows about it beyond that.
    pub details: Details,
}

/// What a source knows about a peer beyond where it is, for whoever looks. Nothing here is used to connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Words of an operator about the peer, within the bounds of [`limits`].
    pub metadata: BTreeMap<String, String>,
    /// The relay at which the peer is said to be reached: `http://…` or `https://…`.
    pub relay: Option<String>,
}

impl Details {
    /// Adds what `other` knows and this does not, within the bounds of [`limits`].
    pub fn add(&mut self, other: &Self) {
        for (key, value) in &other.metadata {
            let fits = !key.is_empty()
                && key.len() <= limits::METADATA_KEY_BYTES_MAX
                && value.len() <= limits::METADATA_VALUE_BYTES_MAX
                && self.metadata.len() < limits::METADATA_COUNT_MAX;
            if fits && !self.metadata.contains_key(key) {
                self.metadata.insert(key.clone(), value.clone());
            }
        }
        if self.relay.is_none() {
            self.relay = other.relay.clone().filter(|relay| relay.len() <= limits::RELAY_URL_BYTES_MAX);
        }
    }
}

impl PeerInfo {
    /// Puts the addresses in order and keeps the limit.
    #[must_use]
    pub fn new(endpoint: EndpointId, name: Option<NodeName>, mut addresses: Vec<SocketAddr>) -> Self {
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(PEER_ADDRESSES_COUNT_MAX);
        Self { endpoint, name, addresses, details: Details::default() }
    }

    /// The same peer with these details, as far as they are within the bounds.
    #[must_use]
    pub fn with(mut self, details: &Details) -> Self {
        self.details = Details::default();
        self.details.add(details);
        self
    }
}

/// Addresses from several lists within [`PEER_ADDRESSES_COUNT_MAX`]: one of each list in turn, so that no
/// list crowds out another.
fn in_turn(lists: &[&[SocketAddr]]) -> Vec<SocketAddr> {
    let mut taken = Vec::new();
    let turns = lists.iter().map(|list| list.len()).max().unwrap_or(0);
    for turn in 0..turns {
        for address in lists.iter().filter_map(|list| list.get(turn)) {
            if taken.len() == PEER_ADDRESSES_COUNT_MAX {
                return taken;
            }
            if !taken.contains(address) {
                taken.push(*address);
            }
        }
    }
    taken
}

/// Whether a peer can be there at all: not `0.0.0.0`, `::`, a multicast group or port 0.
fn is_dialable(address: &SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryEvent {
    /// A peer that was not known before.
    PeerFound(PeerInfo),
    /// A known peer has other addresses or details, or its name became known.
    PeerUpdated(PeerInfo),
    /// No source has the peer any more.
    PeerLost(EndpointId),
    /// Another process announces this node's own name: two machines share a host name, or an old copy of
    /// the node still runs. Said once per such process. The announcement carries no proof, so this is
    /// for the operator's eyes and changes nothing else.
    SelfElsewhere {
        /// The source that saw it.
        source: &'static str,
        /// Where the other process says it is.
        addresses: Vec<SocketAddr>,
    },
}

/// Why a source ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// Nobody takes the events any more; the source can only stop.
    #[error("nobody reads the events of discovery any more")]
    Closed,
    /// The source cannot go on; the sentence says why and what to do.
    #[error("{reason}")]
    Failed {
        /// Why, in words for an operator.
        reason: String,
    },
}

/// One way to find peers.
pub trait Discovery: Send {
    /// A short name for logs and status: `static`, `mdns`, `kubernetes`.
    fn name(&self) -> &'static str;

    /// Finds peers until `context.cancel` is cancelled. What can be cured by waiting is not an `Err`: the
    /// source says it through `context.status` and tries again.
    fn run(self: Box<Self>, context: Context) -> BoxFuture<'static, Result<(), DiscoveryError>>;
}

/// What a source works with.
#[derive(Debug)]
pub struct Context {
    /// Where its events go.
    pub events: EventSender,
    /// Peers whose dial just failed. Bounded: what does not fit is dropped, and a source may ignore it.
    pub failed: mpsc::Receiver<EndpointId>,
    /// How it tells an operator how it is doing.
    pub status: StatusReporter,
    /// Cancelled when it has to stop; it has most of a second to say goodbye.
    pub cancel: CancellationToken,
}

/// The events of one source on their way to the merged view.
#[derive(Debug, Clone)]
pub struct EventSender {
    index: usize,
    inbox: mpsc::Sender<(usize, DiscoveryEvent)>,
}

impl EventSender {
    /// Waits until there is room, then hands the event over.
    ///
    /// # Errors
    /// [`DiscoveryError::Closed`] when discovery is stopping.
    pub async fn send(&self, event: DiscoveryEvent) -> Result<(), DiscoveryError> {
        let numbered = (self.index, event);
        self.inbox.send(numbered).await.map_err(|_| DiscoveryError::Closed)
    }

    /// The same for several events, in order.
    ///
    /// # Errors
    /// [`DiscoveryError::Closed`] when discovery is stopping.
    pub async fn send_all(&self, events: Vec<DiscoveryEvent>) -> Result<(), DiscoveryError> {
        for event in events {
            self.send(event).await?;
        }
        Ok(())
    }
}

/// How one source is doing, as `/ready` and the logs show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// [`Discovery::name`].
    pub name: &'static str,
    /// Whether it is doing its work now.
    pub running: bool,
    /// Whether it has worked since the node started and may work again: one that waits for its network
    /// after that takes nobody's peers away. False again when it has ended for good.
    pub worked: bool,
    /// Whether the first full list of peers has been told. An empty list is one too: there are no peers.
    pub complete: bool,
    /// What it does, or why it does not and what helps, in words.
    pub detail: String,
}

impl fmt::Display for SourceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.running { "running" } else { "not running" };
        write!(f, "{} is {state}: {}", self.name, self.detail)
    }
}

/// Where a source writes its [`SourceStatus`].
#[derive(Debug, Clone)]
pub struct StatusReporter(watch::Sender<SourceStatus>);

impl StatusReporter {
    /// The source does its work.
    pub fn running(&self, detail: impl Into<String>) {
        let detail = detail.into();
        self.set(|status| SourceStatus { running: true, worked: true, detail, ..status });
    }

    /// The source does not work now; `detail` says why and what helps.
    pub fn waiting(&self, detail: impl Into<String>) {
        let detail = detail.into();
        self.set(|status| SourceStatus { running: false, detail, ..status });
    }

    /// The first full list of peers has been told: to be called after the last of its events was sent.
    pub fn complete(&self) {
        self.set(|status| SourceStatus { complete: true, ..status });
    }

    /// The source has ended and does not come back.
    fn ended(&self, detail: String) {
        self.set(|status| SourceStatus { running: false, worked: false, detail, ..status });
    }

    fn set(&self, change: impl FnOnce(SourceStatus) -> SourceStatus) {
        self.0.send_if_modified(|status| {
            let new = change(status.clone());
            let changed = *status != new;
            *status = new;
            changed
        });
    }
}
