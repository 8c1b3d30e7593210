//! The JSON shapes of the API, and nothing else. Core types change freely; these change with `docs/http.md`.

mod fetch;
mod kept;
mod sync;
mod topology;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use peat_mesh_core::hub::PeerState;
use peat_mesh_core::io::Event;
use peat_mesh_core::store::{self, Action, Origin, StoredDocument};
use serde::Serialize;

pub(super) use self::fetch::{BlobAnswer, BlobHolder, Fetch, Progress};
pub(super) use self::kept::BlobKept;
pub(super) use self::sync::{Acknowledged, Holders, Sync};
pub(super) use self::topology::{FormationNews, Topology};

use crate::handle::{self, Handle};

/// Every failed request.
#[derive(Debug, Serialize)]
pub(super) struct Error<'a> {
    pub(super) error: &'a str,
    pub(super) status: u16,
}

#[derive(Debug, Serialize)]
pub(super) struct Health<'a> {
    pub(super) status: &'static str,
    pub(super) node_id: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct Ready<'a> {
    pub(super) ready: bool,
    pub(super) node_id: &'a str,
    pub(super) checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
pub(super) struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

impl From<handle::Check> for Check {
    fn from(check: handle::Check) -> Self {
        Self { name: check.name, ok: check.ok, detail: check.detail }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Node<'a> {
    node_id: &'a str,
    uptime_secs: u64,
    version: &'static str,
    endpoint_id: String,
    device_id: &'a str,
    addresses: Vec<SocketAddr>,
}

impl<'a> Node<'a> {
    pub(super) fn new(handle: &'a Handle) -> Self {
        Self {
            node_id: handle.name().as_str(),
            uptime_secs: handle.uptime().as_secs(),
            version: env!("CARGO_PKG_VERSION"),
            endpoint_id: handle.endpoint_id().to_string(),
            device_id: handle.device_id(),
            addresses: handle.bound_addresses(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Peers {
    pub(super) count: usize,
    pub(super) peers: Vec<Peer>,
}

#[derive(Debug, Serialize)]
pub(super) struct Peer {
    /// The name, or the endpoint id while the name is not known.
    id: String,
    endpoint_id: String,
    connected: bool,
    state: &'static str,
    since_secs: u64,
    /// Since when nothing at all comes from it, over a connection that is still there.
    silent_secs: Option<u64>,
    rtt_ms: Option<f64>,
    /// The share of packets to it that were lost, lately.
    loss: Option<f64>,
    /// The address that packets go to now.
    path: Option<SocketAddr>,
    /// `direct` or `relay`.
    path_kind: Option<&'static str>,
    addresses: Vec<SocketAddr>,
    last_error: Option<String>,
    scope: Option<String>,
    next_dial_ms: Option<u64>,
    in_step: bool,
    in_step_secs_ago: Option<u64>,
    documents_to_send: u64,
    documents_to_merge: u64,
    documents_received: u64,
    bytes_sent: u64,
    /// All of the connection, in UDP datagrams.
    udp_bytes_sent: Option<u64>,
    udp_bytes_received: Option<u64>,
    /// What discovery says about it: `peat.<key>` of its EndpointSlice.
    metadata: BTreeMap<String, String>,
    relay_url: Option<String>,
}

impl Peer {
    pub(super) fn new(peer: handle::Peer, uptime: Duration) -> Self {
        let handle::Peer { view, path, said } = peer;
        let now_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        let secs_ago = |then_ms: u64| now_ms.saturating_sub(then_ms) / 1000;
        let endpoint_id = view.peer.to_string();
        Self {
            id: view.name.map_or_else(|| endpoint_id.clone(), |name| name.to_string()),
            endpoint_id,
            connected: view.state == PeerState::Connected,
            state: view.state.as_str(),
            since_secs: secs_ago(view.since_ms),
            silent_secs: view.silent_since_ms.map(secs_ago),
            rtt_ms: path.as_ref().and_then(|path| topology::rtt_ms(&path.measure)),
            loss: path.as_ref().map(|path| topology::loss(&path.measure)),
            path_kind: path.as_ref().map(|path| path.measure.path.as_str()),
            path: path.as_ref().and_then(|path| path.measure.address),
            udp_bytes_sent: path.as_ref().map(|path| path.bytes_sent),
            udp_bytes_received: path.as_ref().map(|path| path.bytes_received),
            addresses: view.addresses,
            last_error: view.last_error,
            scope: view.scope,
            next_dial_ms: view.next_dial_ms.map(|then_ms| then_ms.saturating_sub(now_ms)),
            in_step: view.in_step,
            in_step_secs_ago: view.in_step_at_ms.map(secs_ago),
            documents_to_send: view.documents_to_send,
            documents_to_merge: view.documents_to_merge,
            documents_received: view.documents_received,
            bytes_sent: view.bytes_sent,
            metadata: said.metadata,
            relay_url: said.relay_url,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Collections {
    pub(super) count: usize,
    pub(super) collections: Vec<Collection>,
}

#[derive(Debug, Serialize)]
pub(super) struct Collection {
    pub(super) collection: String,
    pub(super) count: u64,
}

/// A document after a write.
#[derive(Debug, Serialize)]
pub(super) struct Written<'a> {
    pub(super) collection: &'a str,
    pub(super) id: &'a str,
    pub(super) version: &'a str,
}

/// `{"collection","id","version","document"}`, with the document's text as it is stored.
pub(super) fn document(stored: &StoredDocument) -> Vec<u8> {
    let version = stored.version.to_string();
    let head = Written { collection: stored.doc.collection(), id: stored.doc.key(), version: &version };
    let mut json = open_object(&head, stored.json.len() + 16);
    member(&mut json, "document", &stored.json);
    json.push(b'}');
    json
}

/// `{"collection","count","next","documents":[{"id","version","document"}]}`.
pub(super) fn page(collection: &str, page: &store::Page) -> Vec<u8> {
    #[derive(Serialize)]
    struct Head<'a> {
        collection: &'a str,
        count: u64,
        next: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Item<'a> {
        id: &'a str,
        version: String,
    }
    let bytes: usize = page.documents.iter().map(|stored| stored.json.len() + 256).sum();
    let head = Head { collection, count: page.count, next: page.next.as_deref() };
    let mut json = open_object(&head, bytes);
    json.extend_from_slice(b",\"documents\":[");
    for (index, stored) in page.documents.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        let item = Item { id: stored.doc.key(), version: stored.version.to_string() };
        json.extend(open_object(&item, 0));
        member(&mut json, "document", &stored.json);
        json.push(b'}');
    }
    json.extend_from_slice(b"]}");
    json
}

/// The JSON of `head` without its last brace, so that members can follow whose text is JSON already.
/// `head` is a struct with at least one field.
fn open_object(head: &impl Serialize, more_bytes: usize) -> Vec<u8> {
    let mut json = Vec::with_capacity(128 + more_bytes);
    // Structs of strings and numbers always serialize, and a Vec takes all that is written to it.
    if serde_json::to_writer(&mut json, head).is_ok() {
        json.pop();
    }
    json
}

fn member(json: &mut Vec<u8>, name: &'static str, value: &str) {
    json.extend_from_slice(b",\"");
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(b"\":");
    json.extend_from_slice(value.as_bytes());
}

/// A blob that is whole on this node.
#[derive(Debug, Serialize)]
pub(super) struct Blob {
    hash: String,
    size: u64,
}

impl From<handle::Blob> for Blob {
    fn from(blob: handle::Blob) -> Self {
        Self { hash: blob.hash.to_string(), size: blob.size }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Blobs {
    count: u64,
    blobs: Vec<Blob>,
    next: Option<String>,
}

impl From<handle::BlobPage> for Blobs {
    fn from(page: handle::BlobPage) -> Self {
        let blobs = page.blobs.into_iter().map(Blob::from).collect();
        Self { count: page.count, blobs, next: page.next.map(|hash| hash.to_string()) }
    }
}

/// What this node has of a blob.
#[derive(Debug, Serialize)]
pub(super) struct BlobStatus {
    hash: String,
    state: &'static str,
    /// Null when it is not known.
    size: Option<u64>,
    have_bytes: u64,
}

impl BlobStatus {
    pub(super) fn new(hash: handle::BlobHash, state: handle::BlobState) -> Self {
        let (state, size, have_bytes) = fetch::parts(state);
        Self { hash: hash.to_string(), state, size, have_bytes }
    }
}

/// One change of a document, as an event.
#[derive(Debug, Serialize)]
pub(super) struct Change<'a> {
    /// `change` on a WebSocket; SSE events have no type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    seq: u64,
    collection: &'a str,
    id: &'a str,
    action: &'static str,
    /// `local` or the name of the peer that sent it here.
    origin: &'a str,
    version: String,
}

impl<'a> Change<'a> {
    pub(super) fn new(change: &'a store::Change) -> Self {
        Self {
            kind: None,
            seq: change.seq,
            collection: change.doc.collection(),
            id: change.doc.key(),
            action: match change.action {
                Action::Put => "put",
                Action::Delete => "delete",
            },
            origin: match &change.origin {
                Origin::Local => "local",
                Origin::Peer(name) => name.as_str(),
            },
            version: change.version.to_string(),
        }
    }

    pub(super) fn typed(change: &'a store::Change) -> Self {
        Self { kind: Some("change"), ..Self::new(change) }
    }
}

/// The reader was too slow: what follows comes from the change index, the newest change per document.
#[derive(Debug, Serialize)]
pub(super) struct Resync {
    /// `resync` on a WebSocket.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    since: u64,
}

impl Resync {
    pub(super) fn new(since: u64) -> Self {
        Self { kind: None, since }
    }

    pub(super) fn typed(since: u64) -> Self {
        Self { kind: Some("resync"), since }
    }
}

/// A peer that came or went, on a WebSocket.
#[derive(Debug, Serialize)]
pub(super) struct PeerNews {
    #[serde(rename = "type")]
    kind: &'static str,
    peer: String,
    endpoint_id: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl PeerNews {
    /// `None` for news that are not of peers.
    pub(super) fn new(event: Event) -> Option<Self> {
        let (peer, name, state, reason) = match event {
            Event::PeerConnected { peer, name, .. } => (peer, name, "connected", None),
            Event::PeerDisconnected { peer, name, reason } => (peer, name, "disconnected", Some(reason)),
            _ => return None,
        };
        let endpoint_id = peer.to_string();
        Some(Self { kind: "peer", peer: name.to_string(), endpoint_id, state, reason })
    }

    /// Where a peer stands now, for a reader that missed how it came to that.
    pub(super) fn of(peer: handle::Peer) -> Self {
        let Peer { id, endpoint_id, connected, last_error, .. } = Peer::new(peer, Duration::ZERO);
        let state = if connected { "connected" } else { "disconnected" };
        Self { kind: "peer", peer: id, endpoint_id, state, reason: last_error.filter(|_| !connected) }
    }
}
