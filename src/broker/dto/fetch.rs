//! Shapes of what concerns the fetching of blobs: how it goes, and who has what.

use peat_mesh_core::EndpointId;
use serde::Serialize;

use super::{BlobKept, BlobStatus};
use crate::handle::{self, BlobState, FetchStep, Fetching, Handle};

/// How a fetch goes.
#[derive(Debug, Serialize)]
pub(in crate::broker) struct Fetch {
    hash: String,
    state: &'static str,
    /// Null when it is not known.
    size: Option<u64>,
    have_bytes: u64,
    from: Vec<Sender>,
    /// Why it waits or has ended.
    reason: Option<String>,
}

/// A peer that a blob comes from.
#[derive(Debug, Serialize)]
struct Sender {
    peer: String,
    bytes: u64,
}

impl Fetch {
    pub(in crate::broker) fn new(handle: &Handle, fetching: &Fetching) -> Self {
        let (state, reason) = match &fetching.step {
            FetchStep::Looking => ("looking", None),
            FetchStep::Coming => ("fetching", None),
            FetchStep::Waiting { reason } => ("waiting", Some(reason.clone())),
            FetchStep::Complete => ("complete", None),
            FetchStep::Ended { reason } => ("ended", Some(reason.clone())),
        };
        let from = fetching.from.iter();
        let from = from.map(|(peer, bytes)| Sender { peer: name(handle, *peer), bytes: *bytes }).collect();
        Self {
            hash: fetching.hash.to_string(),
            state,
            size: fetching.size,
            have_bytes: fetching.have_bytes,
            from,
            reason,
        }
    }
}

/// One event of a stream of progress.
#[derive(Debug, Serialize)]
pub(in crate::broker) struct Progress {
    #[serde(flatten)]
    pub(in crate::broker) fetch: Fetch,
    /// Null when it is not known yet.
    pub(in crate::broker) bytes_per_second: Option<u64>,
    /// Null when nobody can tell.
    pub(in crate::broker) seconds_left: Option<u64>,
}

/// What this node has of a blob, the fetch that is under way, and what peers have when that was asked for.
#[derive(Debug, Serialize)]
pub(in crate::broker) struct BlobAnswer {
    #[serde(flatten)]
    pub(in crate::broker) status: BlobStatus,
    #[serde(flatten)]
    pub(in crate::broker) kept: Option<BlobKept>,
    /// Whether bytes of it on the disk are known not to be those that were written.
    pub(in crate::broker) damaged: bool,
    pub(in crate::broker) fetch: Option<Fetch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::broker) holders: Option<Vec<BlobHolder>>,
}

/// What a peer has of a blob.
#[derive(Debug, Serialize)]
pub(in crate::broker) struct BlobHolder {
    peer: String,
    state: &'static str,
    have_bytes: u64,
    size: Option<u64>,
}

impl BlobHolder {
    pub(in crate::broker) fn new(handle: &Handle, holder: &handle::Holder) -> Self {
        let (state, size, have_bytes) = parts(holder.state);
        Self { peer: name(handle, holder.peer), state, have_bytes, size }
    }
}

/// The name, the length and the bytes at hand of a state.
pub(super) fn parts(state: BlobState) -> (&'static str, Option<u64>, u64) {
    match state {
        BlobState::Complete { size } => ("complete", Some(size), size),
        BlobState::Partial { size, have_bytes } => ("partial", size, have_bytes),
        BlobState::Absent => ("absent", None, 0),
    }
}

/// The name of a peer, or the short form of its endpoint id while it has none.
fn name(handle: &Handle, peer: EndpointId) -> String {
    let peers = handle.watch_peers();
    let peers = peers.borrow();
    let name = peers.iter().find(|view| view.peer == peer).and_then(|view| view.name.as_ref());
    name.map_or_else(|| peer.short(), ToString::to_string)
}
