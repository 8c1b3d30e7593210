//! How far nodes are in step, as JSON.

use peat_mesh_core::hub::{self, Holding, PeerState, PeerView};
use peat_mesh_core::replica::Written;
use peat_mesh_core::{DocId, NodeName};
use serde::Serialize;

use super::topology::moment;
use crate::broker::why::{self, count};
use crate::handle::{DocumentSync, Handle, SyncState};

#[derive(Debug, Serialize)]
pub(in crate::broker) struct Sync {
    in_step: bool,
    /// The whole of it in one sentence.
    summary: String,
    node_id: String,
    as_of: String,
    documents: Option<u64>,
    connected: usize,
    peers: Vec<Peer>,
    /// What peers sent and could not be used.
    quarantined: Vec<Quarantined>,
    waited_ms: u64,
    /// Only with an error.
    #[serde(flatten)]
    error: Option<TimeOut>,
}

/// What a body gets beside its fields when the time was over.
#[derive(Debug, Serialize)]
struct TimeOut {
    error: String,
    status: u16,
}

impl TimeOut {
    fn new(error: String) -> Self {
        Self { error, status: 504 }
    }
}

/// A document that is refused here as a peer sends it.
#[derive(Debug, Serialize)]
struct Quarantined {
    collection: String,
    id: String,
    peer: String,
    reason: String,
    since: String,
    last: String,
    times: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Peer {
    name: String,
    endpoint_id: String,
    state: &'static str,
    since_secs: u64,
    in_step: bool,
    /// Why it is not in step.
    why: Option<String>,
    in_step_secs_ago: Option<u64>,
    last_reconciliation: Option<Reconciliation>,
    /// The one that is under way.
    reconciliation: Option<Reconciliation>,
    documents_to_send: u64,
    bytes_to_send: u64,
    documents_to_receive: u64,
    documents_to_merge: u64,
    last_error: Option<String>,
    next_dial_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Reconciliation {
    at: String,
    duration_ms: u64,
    rounds: u32,
    bytes_sent: u64,
    bytes_received: u64,
}

impl Reconciliation {
    fn new(handle: &Handle, now_ms: u64, it: &hub::Reconciliation) -> Self {
        Self {
            at: moment(handle, it.began_ms as i64),
            duration_ms: it.ended_ms.unwrap_or(now_ms).saturating_sub(it.began_ms),
            rounds: it.rounds,
            bytes_sent: it.bytes_sent,
            bytes_received: it.bytes_received,
        }
    }
}

fn name(view: &PeerView) -> String {
    view.name.as_ref().map_or_else(|| view.peer.to_string(), NodeName::to_string)
}

impl Peer {
    fn new(handle: &Handle, now_ms: u64, (view, in_step): &(PeerView, bool)) -> Self {
        let secs_ago = |then_ms: u64| now_ms.saturating_sub(then_ms) / 1000;
        let shown =
            |it: &Option<hub::Reconciliation>| it.as_ref().map(|it| Reconciliation::new(handle, now_ms, it));
        Self {
            name: name(view),
            endpoint_id: view.peer.to_string(),
            state: view.state.as_str(),
            since_secs: secs_ago(view.since_ms),
            in_step: *in_step,
            why: (!in_step).then(|| why::not_in_step(view, now_ms)),
            in_step_secs_ago: view.in_step_at_ms.map(secs_ago),
            last_reconciliation: shown(&view.sync.last),
            reconciliation: shown(&view.sync.current),
            documents_to_send: view.documents_to_send,
            bytes_to_send: view.bytes_unsent,
            documents_to_receive: view.sync.documents_to_receive,
            documents_to_merge: view.documents_to_merge,
            last_error: view.last_error.clone(),
            next_dial_ms: view.next_dial_ms.map(|then_ms| then_ms.saturating_sub(now_ms)),
        }
    }
}

impl Sync {
    /// With an error when it was waited for until the time was over.
    pub(in crate::broker) fn new(handle: &Handle, state: SyncState, waited_ms: u64, is_late: bool) -> Self {
        let now_ms = handle.uptime().as_millis() as u64;
        let peers: Vec<_> = state.peers.iter().map(|peer| Peer::new(handle, now_ms, peer)).collect();
        let summary = summary(&state, &peers);
        let late = || TimeOut::new(format!("not in step after {waited_ms} ms: {summary}"));
        let error = is_late.then(late);
        Self {
            in_step: state.in_step,
            node_id: handle.name().to_string(),
            as_of: moment(handle, now_ms as i64),
            documents: state.documents,
            connected: peers.iter().filter(|peer| peer.is_connected()).count(),
            peers,
            quarantined: handle
                .faults()
                .quarantined
                .iter()
                .map(|one| Quarantined::new(handle, one))
                .collect(),
            waited_ms,
            error,
            summary,
        }
    }
}

impl Quarantined {
    fn new(handle: &Handle, quarantined: &hub::Quarantined) -> Self {
        Self {
            collection: quarantined.document.collection().to_owned(),
            id: quarantined.document.key().to_owned(),
            peer: quarantined.peer.to_string(),
            reason: quarantined.reason.clone(),
            since: moment(handle, quarantined.since_ms as i64),
            last: moment(handle, quarantined.last_ms as i64),
            times: quarantined.times,
            bytes: quarantined.bytes,
        }
    }
}

impl Peer {
    fn is_connected(&self) -> bool {
        self.state == PeerState::Connected.as_str()
    }
}

fn summary(state: &SyncState, peers: &[Peer]) -> String {
    let connected = peers.iter().filter(|peer| peer.is_connected()).count() as u64;
    let behind: Vec<&Peer> = peers.iter().filter(|peer| peer.is_connected() && !peer.in_step).collect();
    // Peers that are known only are none of this node's business.
    let is_away = |peer: &&Peer| !peer.is_connected() && peer.state != PeerState::Known.as_str();
    let away: Vec<&Peer> = peers.iter().filter(is_away).collect();
    let mut summary = match (state.in_step, connected) {
        _ if state.documents.is_none() => {
            "this node's store does not finish a write, look at its disk; what is said of the peers may be old"
                .to_owned()
        }
        (_, 0) if peers.is_empty() => "no peer is known".to_owned(),
        (_, 0) => "there is nobody to be in step with".to_owned(),
        (true, _) => format!("in step with {}", count(connected, "connected peer")),
        (false, _) => match &behind[..] {
            [] => format!("in step with {} a moment ago", count(connected, "connected peer")),
            [one] => format!("not in step with {}: {}", one.name, one.why.as_deref().unwrap_or_default()),
            many => format!("not in step with {} of {connected} connected: {}", many.len(), listed(many)),
        },
    };
    match &away[..] {
        [] => {}
        [one] => summary.push_str(&format!("; {} is {}", one.name, one.why.as_deref().unwrap_or_default())),
        many => summary.push_str(&format!("; {} are not connected: {}", many.len(), listed(many))),
    }
    summary
}

/// Names, the first few of them.
fn listed(peers: &[&Peer]) -> String {
    names(&peers.iter().map(|peer| &*peer.name).collect::<Vec<_>>())
}

fn names(names: &[&str]) -> String {
    const NAMES_MAX: usize = 5;
    let more = names.len().saturating_sub(NAMES_MAX);
    let first = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// Which nodes hold a document.
#[derive(Debug, Serialize)]
pub(in crate::broker) struct Holders {
    collection: String,
    id: String,
    version: String,
    deleted: bool,
    all_connected_hold: bool,
    holders: Vec<String>,
    peers: Vec<Holder>,
    waited_ms: u64,
    #[serde(flatten)]
    error: Option<TimeOut>,
}

#[derive(Debug, Serialize)]
struct Holder {
    name: String,
    holds: Option<bool>,
    why: Option<String>,
}

impl Holders {
    pub(in crate::broker) fn new(
        handle: &Handle,
        doc: &DocId,
        found: DocumentSync,
        waited_ms: u64,
        is_late: bool,
    ) -> Self {
        let now_ms = handle.uptime().as_millis() as u64;
        let holder = |(view, holding): &(PeerView, Holding)| Holder {
            name: name(view),
            holds: match holding {
                Holding::Yes => Some(true),
                Holding::NotYet => Some(false),
                _ => None,
            },
            why: why::not_held(view, *holding, now_ms),
        };
        let peers: Vec<Holder> = found.peers.iter().map(holder).collect();
        let held = peers.iter().filter(|peer| peer.holds == Some(true)).map(|peer| peer.name.clone());
        let missing: Vec<&str> =
            peers.iter().filter(|peer| peer.holds == Some(false)).map(|peer| &*peer.name).collect();
        let late = || {
            let behind = names(&missing);
            TimeOut::new(format!("not every connected peer holds {doc} after {waited_ms} ms: {behind}"))
        };
        let error = is_late.then(late);
        Self {
            collection: doc.collection().to_owned(),
            id: doc.key().to_owned(),
            version: found.version.to_string(),
            deleted: found.deleted,
            all_connected_hold: found.is_held_by_all,
            holders: std::iter::once(handle.name().to_string()).chain(held).collect(),
            peers,
            waited_ms,
            error,
        }
    }
}

/// A write that other nodes were to hold, too.
#[derive(Debug, Serialize)]
pub(in crate::broker) struct Acknowledged {
    collection: String,
    id: String,
    version: String,
    /// How many nodes hold it on disk …
    acks: usize,
    /// … which ones …
    nodes: Vec<String>,
    /// … and how many were wanted.
    wanted: usize,
    #[serde(flatten)]
    error: Option<TimeOut>,
}

impl Acknowledged {
    pub(in crate::broker) fn new(
        doc: &DocId,
        written: &Written,
        holders: &[NodeName],
        wanted: usize,
    ) -> Self {
        Self {
            collection: doc.collection().to_owned(),
            id: doc.key().to_owned(),
            version: written.heads.version().to_string(),
            acks: holders.len(),
            nodes: holders.iter().map(NodeName::to_string).collect(),
            wanted,
            error: None,
        }
    }

    /// The time was over, or the node is shutting down.
    pub(in crate::broker) fn late(self, because: &str) -> Self {
        let (acks, wanted) = (self.acks, self.wanted);
        let error = format!(
            "{acks} of {wanted} nodes hold this write on disk {because}. It is not taken back: it stays on this \
             node and reaches the others as soon as they can be reached"
        );
        Self { error: Some(TimeOut::new(error)), ..self }
    }
}
