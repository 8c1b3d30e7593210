//! One JSON document as an Automerge CRDT.
//!
//! In come JSON objects from clients ([`Document::put`]) and changes from disk and peers
//! ([`Document::load`], [`Document::merge`]); out go the bytes of new changes, JSON text, and what a peer
//! lacks. There is no clock and no randomness: time and actor are given.
//!
//! # Types
//!
//! Strings, numbers, booleans and null are registers: of two concurrent writes one wins, the same on
//! every replica. Objects merge field by field and lists element by element. Four objects with one key
//! stand for other types: `{"$counter": 5}` adds up, `{"$text": "…"}` merges character by character,
//! `{"$bytes": "<base64>"}` and `{"$timestamp": "<RFC 3339>"}` are registers. They come out as they went
//! in; a timestamp in UTC with milliseconds. A write that changes the type of a value
//! replaces it, and so does one that takes very much out of a list or text at once.
//!
//! # Objects that were created apart
//!
//! Two replicas that do not know of each other may both create an object under the same key. Automerge
//! keeps both maps, shows one and hides the other. Here they are read as one object, at every depth: it
//! has the fields of all the maps, and where several have the same field, the value with the greatest
//! operation id (Lamport counter, then actor) wins. If the value that wins is an object, all objects
//! among the values are merged in turn. So nobody's field is lost.
//!
//! Hidden maps stay where they are: a change to a field is written into the map that holds it. Moving
//! the fields into the map that is shown would lose what a replica that has not heard of the move still
//! writes into the hidden one. Automerge changes hidden maps like any others.
//!
//! Lists, texts and counters that were created apart under one key are not merged: the one with the
//! greatest operation id is read and written, as for any other value.
//!
//! # Deletion
//!
//! A deletion is a change without operations that carries [`TOMBSTONE`] as its message and builds on the
//! heads that it saw. A document is deleted when all of its heads are tombstones. An edit that the
//! deletion did not see is a head of its own, so the document is back with everything in it; a stale
//! copy lies behind the tombstone and changes nothing.

mod chunks;
mod edit;
mod fresh;
mod json;
mod list;
mod parse;
mod sync;
mod text;
mod time;
mod value;
mod view;

#[cfg(test)]
mod tests;

pub use automerge::ActorId;
use automerge::transaction::CommitOptions;
use automerge::{Automerge, AutomergeError, ChangeHash, ReadDoc};
use bytes::Bytes;
use serde_json::{Map, Value};

pub(crate) use self::fresh::Fresh;
pub use self::parse::{ParseError, parse_object};
pub use self::sync::Merged;
pub use self::time::print as print_moment;
pub use self::value::ValueError;
use crate::heads::Heads;

/// The message of a change that deletes. It is part of the format: never change it.
pub const TOMBSTONE: &str = "peat:tombstone";

/// Why a document could not be read, changed or merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// What a client wants to write cannot be stored.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The bytes are damaged or were never Automerge chunks, or contradict what is here.
    #[error("the changes cannot be taken: {reason}")]
    Chunk {
        /// What is wrong.
        reason: String,
    },
    /// Objects and lists lie too deep in each other to be read.
    #[error("the document is nested deeper than {levels_max} levels")]
    TooDeep {
        /// The limit.
        levels_max: usize,
    },
    /// Automerge refused an operation.
    #[error("Automerge could not do it: {reason}")]
    Automerge {
        /// What it said.
        reason: String,
    },
}

impl From<AutomergeError> for DocumentError {
    fn from(error: AutomergeError) -> Self {
        DocumentError::Automerge { reason: error.to_string() }
    }
}

/// A document in memory. See the module's text.
#[derive(Debug)]
pub struct Document {
    automerge: Automerge,
    actor: ActorId,
    /// Bytes of the chunks that went in, for [`Document::weight_bytes`].
    bytes: usize,
}

impl Document {
    /// A document without changes. `actor` signs the changes that are made here; it must never sign two
    /// different changes with the same number, so it is random per store.
    #[must_use]
    pub fn new(actor: &ActorId) -> Self {
        Self {
            automerge: Automerge::new_with_encoding(value::TEXT_ENCODING).with_actor(actor.clone()),
            actor: actor.clone(),
            bytes: 0,
        }
    }

    /// Loads what a store keeps: a snapshot, then increments. Without chunks, an empty document.
    ///
    /// # Errors
    /// When the chunks are damaged or not complete.
    pub fn load<'a>(
        chunks: impl IntoIterator<Item = &'a [u8]>,
        actor: &ActorId,
    ) -> Result<Self, DocumentError> {
        let mut chunks = chunks.into_iter();
        let Some(first) = chunks.next() else {
            return Ok(Self::new(actor));
        };
        let (bytes, automerge) = match chunks.next() {
            None => (first.len(), chunks::document(first)?),
            Some(second) => {
                let mut all = [first, second].concat();
                chunks.for_each(|chunk| all.extend_from_slice(chunk));
                (all.len(), chunks::document(&all)?)
            }
        };
        Ok(Self { automerge: automerge.with_actor(actor.clone()), actor: actor.clone(), bytes })
    }

    /// Makes the document equal to `object` with the fewest operations. Returns the bytes of the new
    /// change, or `None` when nothing changes and the document is alive.
    ///
    /// # Errors
    /// When a tagged value has the wrong type, the object is nested too deep, or what is there cannot be
    /// read. Then nothing was changed.
    pub fn put(&mut self, object: &Map<String, Value>, now_ms: u64) -> Result<Option<Bytes>, DocumentError> {
        let want = value::root(object)?;
        let have = view::read(&self.automerge)?;
        if !have.is(&want) {
            let is_new = self.automerge.is_empty();
            let mut tx = self.automerge.transaction();
            if is_new {
                edit::first(&mut tx, &want)?;
            } else {
                edit::map(&mut tx, &have, &want)?;
            }
            if let (Some(_), _) = tx.commit_with(options(now_ms)) {
                return Ok(self.last_change());
            }
        }
        if !self.is_deleted() {
            return Ok(None);
        }
        // The same content again, but alive.
        self.automerge.empty_commit(options(now_ms));
        Ok(self.last_change())
    }

    /// Deletes the document: a tombstone over all that is known here. Returns its bytes, or `None` when
    /// the document is already deleted or has no changes at all.
    pub fn delete(&mut self, now_ms: u64) -> Option<Bytes> {
        if self.is_deleted() {
            return None;
        }
        self.automerge.empty_commit(options(now_ms).with_message(TOMBSTONE));
        self.last_change()
    }

    /// The hashes of the newest changes.
    #[must_use]
    pub fn heads(&self) -> Heads {
        Heads::new(self.automerge.get_heads())
    }

    /// Whether all heads are tombstones; also true for a document without changes.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.automerge.get_heads().iter().all(|head| self.is_tombstone(head))
    }

    /// The content as JSON text, whether deleted or not: keys sorted, tagged values as they came in.
    ///
    /// # Errors
    /// When a peer's changes nest deeper than the limit.
    pub fn to_json(&self) -> Result<String, DocumentError> {
        Ok(json::map(&view::read(&self.automerge)?))
    }

    /// The whole document as one chunk.
    #[must_use]
    pub fn save(&self) -> Bytes {
        self.automerge.save().into()
    }

    /// About how much memory the document takes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let stats = self.automerge.stats();
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        WEIGHT_BYTES_MIN
            .saturating_add(count(stats.num_ops).saturating_mul(OP_WEIGHT_BYTES))
            .saturating_add(count(stats.num_changes).saturating_mul(CHANGE_WEIGHT_BYTES))
            .saturating_add(self.bytes)
    }

    fn is_tombstone(&self, hash: &ChangeHash) -> bool {
        self.automerge.get_change_meta_by_hash(hash).is_some_and(|change| {
            change.message.as_deref() == Some(TOMBSTONE) && change.max_op < change.start_op
        })
    }

    fn last_change(&mut self) -> Option<Bytes> {
        let change = self.automerge.get_last_local_change()?;
        self.bytes += change.raw_bytes().len();
        Some(Bytes::copy_from_slice(change.raw_bytes()))
    }
}

/// Memory of a small document.
const WEIGHT_BYTES_MIN: usize = 16 * 1024;
/// Memory of an operation, without its value.
const OP_WEIGHT_BYTES: usize = 16;
/// Memory of a change in the graph of changes.
const CHANGE_WEIGHT_BYTES: usize = 232;

/// Automerge counts time in seconds and uses it for nothing; it is there for people.
fn options(now_ms: u64) -> CommitOptions {
    CommitOptions::default().with_time(seconds(now_ms))
}

fn seconds(now_ms: u64) -> i64 {
    i64::try_from(now_ms / 1000).unwrap_or(i64::MAX)
}
