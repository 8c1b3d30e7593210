//! What the writer is asked to do, and what became of it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Chunks, Prepared};
use crate::document::DocumentError;
use crate::heads::Heads;
use crate::id::{ConnId, DocId, NodeName, NodeTag};
use crate::store::{Action, Origin, StoreError};

/// What is to be done to a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Make it equal to this object.
    Put(Map<String, Value>),
    /// Delete it.
    Delete,
    /// Apply these Automerge chunks.
    Merge(Bytes),
    /// The same with chunks that [`prepare`](super::prepare) has read: when nothing of the document is here, it is taken as
    /// it was read.
    Adopt {
        /// The chunks.
        chunks: Bytes,
        /// What they say.
        prepared: Prepared,
    },
}

/// Who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A client of this node.
    Client,
    /// A peer that sent changes.
    Peer {
        /// On this connection.
        conn: ConnId,
        /// Its name.
        name: NodeName,
        /// Nodes that the same changes are being sent to.
        audience: Arc<[NodeTag]>,
        /// Whether they answer a reconciliation.
        repair: bool,
    },
}

impl Source {
    /// Where a change of this source comes from, for the change index.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Source::Client => Origin::Local,
            Source::Peer { name, .. } => Origin::Peer(name.clone()),
        }
    }
}

/// One change to one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Which document.
    pub doc: DocId,
    /// What to do.
    pub work: Work,
    /// For whom.
    pub source: Source,
}

impl Job {
    pub(super) fn refused(&self, problem: &DocumentError) -> WriteError {
        WriteError::Refused {
            doc: self.doc.clone(),
            reason: problem.to_string(),
            chunks: match &self.work {
                Work::Merge(chunks) | Work::Adopt { chunks, .. } => Some(Chunks::of(chunks)),
                Work::Put(_) | Work::Delete => None,
            },
        }
    }
}

/// What became of a job.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which document.
    pub doc: DocId,
    /// For whom.
    pub source: Source,
    /// What was written.
    pub result: Result<Written, WriteError>,
}

/// A document after a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its heads.
    pub heads: Heads,
    /// The sequence number of the commit for this document; `None` when there was nothing to change.
    pub seq: Option<u64>,
    /// Whether it is there or deleted now.
    pub action: Action,
    /// Whether it was absent or deleted before and is there now.
    pub created: bool,
    /// The changes that are new here, as Automerge chunks; empty when there were none.
    pub new: Bytes,
    /// Whether some changes were left out because what they build on is not here.
    pub missing: bool,
}

/// Why a job was not done.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// There is no such document to delete.
    #[error("document {doc} does not exist")]
    NotFound {
        /// Which.
        doc: DocId,
    },
    /// The document or the change was refused.
    #[error("document {doc}: {reason}")]
    Refused {
        /// Which.
        doc: DocId,
        /// Why, in words.
        reason: String,
        /// What was refused, when it came as chunks.
        chunks: Option<Chunks>,
    },
    /// What is stored of the document does not load.
    #[error("document {doc} is damaged in this node's store: {reason}")]
    Damaged {
        /// Which.
        doc: DocId,
        /// Why, in words.
        reason: String,
    },
    /// The store failed; nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
