//! The contract of a document store, and the twin of it that lives in memory.
//!
//! A store keeps, for each document, its Automerge chunks (a snapshot and the increments after it) and
//! beside them what reading needs without loading a CRDT: heads, version, JSON. It also keeps a change
//! index with one entry per document, its newest, ordered by sequence number.
//!
//! Reads may come from any thread and see only what was committed. [`Store::commit`] is called by one
//! writer; it returns after everything in it is on disk, or fails and leaves all as it was.
//! `conformance::check` says the same as a program, and every store runs it.

mod conformance;
mod memory;

use bytes::Bytes;

pub use conformance::check as check_conformance;
pub use memory::MemoryStore;

use crate::heads::{Heads, Version};
use crate::id::{DocId, NodeName};

/// What is known of a document without reading its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The sequence number of its newest change here.
    pub seq: u64,
    /// Its heads.
    pub heads: Heads,
    /// Whether it is deleted (a tombstone covers all of its heads).
    pub deleted: bool,
    /// When its newest change was committed here, in milliseconds since 1970.
    pub changed_ms: u64,
    /// Bytes of its snapshot chunk.
    pub snapshot_bytes: u64,
    /// Bytes of the increments after the snapshot.
    pub increments_bytes: u64,
    /// How many increments there are.
    pub increments_count: u32,
}

/// A document as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// Its address.
    pub doc: DocId,
    /// Its version.
    pub version: Version,
    /// Its content: a JSON object as text.
    pub json: String,
}

/// One page of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// How many documents the collection has in all.
    pub count: u64,
    /// The documents of this page, in the order of their ids.
    pub documents: Vec<StoredDocument>,
    /// The id after which the next page starts; `None` when this was the last.
    pub next: Option<String>,
}

/// What happened to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was created or changed.
    Put,
    /// It was deleted.
    Delete,
}

impl Action {
    /// `put` or `delete`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Put => "put",
            Action::Delete => "delete",
        }
    }
}

/// Where a change came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A client of this node.
    Local,
    /// The peer that sent it here (not always the one where it was made).
    Peer(NodeName),
}

/// An entry of the change index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its place in the order of commits here; starts at 1.
    pub seq: u64,
    /// The document.
    pub doc: DocId,
    /// What happened.
    pub action: Action,
    /// Where it came from.
    pub origin: Origin,
    /// The version of the document after it.
    pub version: Version,
}

/// How the chunks of a document change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkWrite {
    /// One more increment after those that are there. The first chunk of a document is its snapshot,
    /// also when it is appended.
    Append(Bytes),
    /// This snapshot instead of all that was there.
    Replace(Bytes),
}

/// One document's part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocWrite {
    /// Which document.
    pub doc: DocId,
    /// Its new sequence number: larger than any before it.
    pub seq: u64,
    /// Its heads after the change.
    pub heads: Heads,
    /// Its content as JSON text; `None` when it is deleted now.
    pub json: Option<String>,
    /// What happens to its chunks.
    pub chunk: ChunkWrite,
    /// Where the change came from.
    pub origin: Origin,
    /// Wall-clock time of the commit, in milliseconds since 1970.
    pub changed_ms: u64,
}

/// A read or a commit that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk or the file system said no: out of space, an I/O fault.
    #[error("the store could not {operation}: {reason}")]
    Io {
        /// What was tried, for example "commit 12 documents".
        operation: String,
        /// The cause in words.
        reason: String,
    },
    /// There is no space left. Reads go on; writes work again when some is freed.
    #[error(
        "the store could not {operation}, its disk is full: {reason}. Free some space; nothing has to be restarted"
    )]
    Full {
        /// What was tried.
        operation: String,
        /// The cause in words.
        reason: String,
    },
    /// What is stored cannot be understood.
    #[error("the store holds something it cannot read: {reason}")]
    Corrupt {
        /// Which table and key, and what is wrong.
        reason: String,
    },
    /// A commit that does not come after those before it. The writer gave out a number twice.
    #[error("{doc} was to be committed with sequence number {seq}, but {last_seq} was given out before")]
    OutOfOrder {
        /// The document of the write.
        doc: DocId,
        /// Its sequence number.
        seq: u64,
        /// The largest number so far, earlier writes of the same commit included.
        last_seq: u64,
    },
}

/// A place for documents. See the module's text for the contract.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// The record of a document, deleted ones included.
    fn record(&self, doc: &DocId) -> Result<Option<Record>, StoreError>;
    /// The document as a reader sees it: `None` when it does not exist or is deleted.
    fn document(&self, doc: &DocId) -> Result<Option<StoredDocument>, StoreError>;
    /// Calls `visit` with each of these documents, by its place among them, as [`Store::document`] gives it. Cheaper than
    /// asking for one after the other.
    fn visit_documents(
        &self,
        docs: &[&DocId],
        visit: &mut dyn FnMut(usize, Option<StoredDocument>),
    ) -> Result<(), StoreError> {
        for (place, doc) in docs.iter().enumerate() {
            visit(place, self.document(doc)?);
        }
        Ok(())
    }
    /// The Automerge chunks of a document in the order in which they load; empty when there are none.
    fn chunks(&self, doc: &DocId) -> Result<Vec<Bytes>, StoreError>;
    /// Up to `limit` documents of a collection with ids after `after`, deleted ones left out.
    ///
    /// A page ends early when its JSON reaches [`PAGE_JSON_BYTES_TARGET`]; [`Page::next`] says whether
    /// there is more. With a limit of 0 only the count is read.
    ///
    /// [`PAGE_JSON_BYTES_TARGET`]: crate::limits::PAGE_JSON_BYTES_TARGET
    fn list(&self, collection: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError>;
    /// The collections that have documents, with how many, in the order of their names.
    fn collections(&self) -> Result<Vec<(String, u64)>, StoreError>;
    /// Up to `limit` entries of the change index with a sequence number above `seq`, in order.
    fn changes_since(&self, seq: u64, limit: usize) -> Result<Vec<Change>, StoreError>;
    /// The largest sequence number ever given out; 0 for a new store.
    fn last_seq(&self) -> Result<u64, StoreError>;
    /// Calls `visit` with every document's heads, deleted ones included.
    fn for_each_heads(&self, visit: &mut dyn FnMut(DocId, Heads)) -> Result<(), StoreError>;
    /// Writes all of it in the given order, durably, or nothing.
    ///
    /// Several writes of one document are allowed. The sequence numbers must rise from write to write
    /// and start above [`Store::last_seq`].
    fn commit(&self, writes: &[DocWrite]) -> Result<(), StoreError>;
    /// The mark that was left last; 0 for a store without one.
    fn mark(&self) -> Result<u64, StoreError>;
    /// Leaves a mark, durably, instead of the one before. Who keeps something beside the store that follows its
    /// changes leaves the same random mark in both at each start: they are of one time only if the marks are equal, however
    /// much the sequence numbers of a copy, or of another store, look alike.
    fn set_mark(&self, mark: u64) -> Result<(), StoreError>;
    /// Does what commits have put off, if there is much of it; to be called when nobody waits. What was committed is on
    /// disk with or without it, also when it fails.
    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
