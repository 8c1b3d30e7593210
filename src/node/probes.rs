//! What the rooms know at the moment of asking: paths of connections, and whether the node is ready.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use peat_mesh_core::{ConnId, EndpointId};
use tokio::sync::watch;

use crate::connection::{Live, Standing};
use crate::discovery::{Details, SourceStatus};
use crate::handle::{Check, Path, Probes, Said};

pub(super) struct NodeProbes {
    bound: Vec<SocketAddr>,
    live: Live,
    relays: Option<watch::Receiver<Standing>>,
    store_problem: watch::Sender<Option<String>>,
    sources: Vec<watch::Receiver<SourceStatus>>,
    self_elsewhere: Mutex<Option<String>>,
    sync: Mutex<Check>,
    /// What discovery knows about each peer it has. Bounded, as the merged view of the sources is.
    details: Mutex<BTreeMap<EndpointId, Details>>,
}

impl NodeProbes {
    pub(super) fn new(
        bound: Vec<SocketAddr>,
        live: Live,
        relays: Option<watch::Receiver<Standing>>,
        sources: Vec<watch::Receiver<SourceStatus>>,
    ) -> Self {
        Self {
            bound,
            live,
            relays,
            store_problem: watch::Sender::new(None),
            sources,
            self_elsewhere: Mutex::default(),
            sync: Mutex::new(Check { name: "sync", ok: false, detail: "the node is starting".to_owned() }),
            details: Mutex::default(),
        }
    }

    /// Where the writer says why it cannot write.
    pub(super) fn store_problem(&self) -> watch::Sender<Option<String>> {
        self.store_problem.clone()
    }

    pub(super) fn set_self_elsewhere(&self, detail: String) {
        *self.self_elsewhere.lock().unwrap_or_else(PoisonError::into_inner) = Some(detail);
    }

    pub(super) fn set_sync(&self, check: Check) {
        *self.sync.lock().unwrap_or_else(PoisonError::into_inner) = check;
    }

    fn sync_check(&self) -> Check {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What discovery knows about a peer; `None` when it has the peer no more.
    pub(super) fn set_details(&self, peer: EndpointId, details: Option<Details>) {
        let mut all = self.details.lock().unwrap_or_else(PoisonError::into_inner);
        match details {
            Some(details) if details != Details::default() => _ = all.insert(peer, details),
            _ => _ = all.remove(&peer),
        }
    }

    fn store_check(&self) -> Check {
        let problem = self.store_problem.borrow().clone();
        Check {
            name: "store",
            ok: problem.is_none(),
            detail: problem.unwrap_or_else(|| "open, the last write worked".to_owned()),
        }
    }

    fn sockets_check(&self) -> Check {
        let addresses: Vec<String> = self.bound.iter().map(ToString::to_string).collect();
        Check {
            name: "sockets",
            ok: !addresses.is_empty(),
            detail: format!("QUIC is bound to {}", addresses.join(", ")),
        }
    }

    fn discovery_check(&self) -> Check {
        let sources: Vec<SourceStatus> = self.sources.iter().map(|source| source.borrow().clone()).collect();
        let details: Vec<String> = sources.iter().map(ToString::to_string).collect();
        Check {
            name: "discovery",
            // A source that has worked and now waits for its network keeps no node from serving: its peers are
            // known, and an outage of one API server must not take all nodes out of service at once.
            ok: sources.is_empty() || sources.iter().any(|source| source.worked),
            detail: if details.is_empty() {
                "no source is configured".to_owned()
            } else {
                details.join("; ")
            },
        }
    }

    /// Only when there are relays. It never fails: a node without its relay has its direct paths, and whether
    /// they do is what the other checks say.
    fn relay_check(&self) -> Option<Check> {
        let standing = self.relays.as_ref()?.borrow().to_string();
        Some(Check { name: "relay", ok: true, detail: standing })
    }

    fn identity_check(&self) -> Check {
        let elsewhere = self.self_elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Check {
            name: "identity",
            ok: elsewhere.is_none(),
            detail: elsewhere.map_or_else(
                || "no other process with this node's name was met".to_owned(),
                |detail| format!("{detail}. Give each node its own HOSTNAME, or each cluster a PEAT_CLUSTER, and restart"),
            ),
        }
    }
}

impl Probes for NodeProbes {
    fn path(&self, conn: ConnId) -> Option<Path> {
        self.live.path(conn).map(|(address, rtt_ms)| Path { address, rtt_ms })
    }

    fn said(&self, peer: EndpointId) -> Said {
        let all = self.details.lock().unwrap_or_else(PoisonError::into_inner);
        let Details { metadata, relay } = all.get(&peer).cloned().unwrap_or_default();
        Said { metadata, relay_url: relay }
    }

    fn bound_addresses(&self) -> Vec<SocketAddr> {
        self.bound.clone()
    }

    fn checks(&self) -> Vec<Check> {
        let rooms = [self.store_check(), self.sockets_check(), self.discovery_check()];
        rooms
            .into_iter()
            .chain(self.relay_check())
            .chain([self.identity_check(), self.sync_check()])
            .collect()
    }
}
