//! What is in step: which nodes hold a document on disk, and whether this node and its peers are equal.
//!
//! Questions go the way of writes, through the writer to the mesh. So each is looked at after every write that was
//! acknowledged before it was asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use peat_mesh_core::hub::{Holding, PeerState, PeerView};
use peat_mesh_core::io::About;
use peat_mesh_core::replica::{Work, Written};
use peat_mesh_core::{DocId, NodeName, Version};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::{Handle, RequestError, WriteRequest};

/// How much longer than it asks for somebody waits for the mesh, in milliseconds. More means that a commit takes
/// that long.
const MESH_MS_MAX: u64 = 1_000;

/// Something that is asked of the mesh.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) about: About,
    /// How many peers have to hold the document; `None` for all that are connected.
    pub(crate) peers: Option<usize>,
    /// When it is to be answered at the latest.
    pub(crate) until: Instant,
    pub(crate) reply: oneshot::Sender<Found>,
}

/// The answer to a question.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) is_enough: bool,
    pub(crate) documents: u64,
    /// The peers that hold the document, connected or not.
    pub(crate) holders: Vec<NodeName>,
    /// Every known peer, and whether it holds the document; none when so many peers were asked for.
    pub(crate) peers: Vec<(PeerView, Holding)>,
}

/// How many nodes have to hold a write on disk before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concern {
    /// How many; this node is one of them.
    pub nodes: usize,
    /// How long to wait for them, from the request on.
    pub within: Duration,
}

/// A write that is on this node's disk, and the nodes that are known to hold it.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// What was written.
    pub written: Written,
    /// The nodes, this one first.
    pub holders: Vec<NodeName>,
    /// Whether they are as many as were wanted. If not, the write stays all the same.
    pub is_enough: bool,
}

/// How far this node and its peers are in step.
#[derive(Debug, Clone)]
pub struct SyncState {
    /// Whether this node and every connected peer are equal.
    pub in_step: bool,
    /// Documents of this node, deleted ones with a tombstone included; `None` when the mesh does not answer, since a
    /// commit takes very long. Then what is said of the peers may be old.
    pub documents: Option<u64>,
    /// Every known peer, and whether it and this node are equal. Times are in milliseconds since the node started.
    pub peers: Vec<(PeerView, bool)>,
}

/// Which nodes hold a document as it is on this one.
#[derive(Debug, Clone)]
pub struct DocumentSync {
    /// Its version.
    pub version: Version,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Whether every connected peer that may have it holds it.
    pub is_held_by_all: bool,
    /// Every known peer, and whether it holds it.
    pub peers: Vec<(PeerView, Holding)>,
}

impl Handle {
    /// Makes a document equal to `object` and waits until so many nodes hold that on disk, or the time is over.
    ///
    /// # Errors
    /// As [`Handle::put`]. That too few nodes hold it is no error, see [`Acknowledged::is_enough`].
    pub async fn put_with(
        &self,
        doc: DocId,
        object: Map<String, Value>,
        concern: Concern,
    ) -> Result<Acknowledged, RequestError> {
        self.write_with(doc, Work::Put(object), concern).await
    }

    /// Deletes a document and waits until so many nodes hold that on disk, or the time is over.
    ///
    /// # Errors
    /// As [`Handle::delete`]. That too few nodes hold it is no error, see [`Acknowledged::is_enough`].
    pub async fn delete_with(&self, doc: DocId, concern: Concern) -> Result<Acknowledged, RequestError> {
        self.write_with(doc, Work::Delete, concern).await
    }

    async fn write_with(
        &self,
        doc: DocId,
        work: Work,
        concern: Concern,
    ) -> Result<Acknowledged, RequestError> {
        let until = Instant::now() + concern.within;
        let written = self.write(doc.clone(), work).await?;
        Ok(self.until_held(doc, written, concern.nodes, until).await)
    }

    /// Waits until so many nodes, this one included, hold a write on disk, or the time is over.
    pub async fn until_held(
        &self,
        doc: DocId,
        written: Written,
        nodes: usize,
        until: Instant,
    ) -> Acknowledged {
        let mut holders = vec![self.name().clone()];
        let peers = nodes.saturating_sub(1);
        if peers == 0 {
            return Acknowledged { written, holders, is_enough: true };
        }
        let about = About::Document { doc, heads: written.heads.clone() };
        // It is on disk here whatever becomes of the question.
        let found = self.ask(about, Some(peers), until).await;
        let is_enough = found.as_ref().is_some_and(|found| found.is_enough);
        holders.extend(found.into_iter().flat_map(|found| found.holders));
        Acknowledged { written, holders, is_enough }
    }

    /// How far this node and its peers are in step. Waits until it is so with every connected peer by a comparison
    /// that began after the call, or the time is over.
    ///
    /// # Errors
    /// When the node is shutting down.
    pub async fn sync(&self, within: Duration) -> Result<SyncState, RequestError> {
        let found = self.ask(About::Step, None, Instant::now() + within).await;
        if self.stopping().is_cancelled() {
            return Err(RequestError::Stopping);
        }
        Ok(match found {
            Some(Found { is_enough, documents, peers, .. }) => SyncState {
                in_step: is_enough,
                documents: Some(documents),
                peers: peers.into_iter().map(|(view, it)| (view, it == Holding::Yes)).collect(),
            },
            None => {
                let peers = self.views().into_iter().map(|view| (view, false)).collect();
                SyncState { in_step: false, documents: None, peers }
            }
        })
    }

    /// Which nodes hold a document as it is here; `None` when it never existed. Waits until every connected peer holds
    /// it, or the time is over.
    ///
    /// # Errors
    /// When the store cannot be read, or the node is shutting down.
    pub async fn holders(&self, doc: &DocId, within: Duration) -> Result<Option<DocumentSync>, RequestError> {
        let Some(record) = self.shared.store.record(doc)? else { return Ok(None) };
        let about = About::Document { doc: doc.clone(), heads: record.heads.clone() };
        let found = self.ask(about, None, Instant::now() + within).await;
        if self.stopping().is_cancelled() {
            return Err(RequestError::Stopping);
        }
        let (is_held_by_all, peers) = match found {
            Some(found) => (found.is_enough, found.peers),
            None => {
                let unknown = |view: PeerView| match view.state {
                    PeerState::Connected => (view, Holding::NotYet),
                    _ => (view, Holding::NotConnected),
                };
                (false, self.views().into_iter().map(unknown).collect())
            }
        };
        Ok(Some(DocumentSync {
            version: record.heads.version(),
            deleted: record.deleted,
            is_held_by_all,
            peers,
        }))
    }

    fn views(&self) -> Vec<PeerView> {
        Vec::clone(&Arc::clone(&self.shared.peers.borrow()))
    }

    /// Asks the mesh; `None` when it does not answer or the node is shutting down.
    async fn ask(&self, about: About, peers: Option<usize>, until: Instant) -> Option<Found> {
        let (reply, answer) = oneshot::channel();
        let question = WriteRequest::Ask(Question { about, peers, until, reply });
        let asked = async {
            self.shared.writes.send(question).await.ok()?;
            answer.await.ok()
        };
        let latest = until + Duration::from_millis(MESH_MS_MAX);
        tokio::select! {
            found = tokio::time::timeout_at(latest.into(), asked) => found.ok().flatten(),
            () = self.stopping().cancelled() => None,
        }
    }
}
