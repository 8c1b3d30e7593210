//! A document that is new here, read and checked apart from the store, so that many can be at once.

use bytes::Bytes;

use crate::document::{ActorId, Document, Fresh};
use crate::guard;
use crate::heads::Heads;

/// What a whole document says of which nothing is here. See [`prepare`].
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    pub(super) heads: Heads,
    /// Its JSON; `None` when it is deleted.
    pub(super) json: Option<String>,
    /// Its changes, one after the other.
    pub(super) new: Bytes,
}

impl From<Fresh> for Prepared {
    fn from(fresh: Fresh) -> Self {
        Self { heads: fresh.heads, json: Some(fresh.json), new: fresh.chunk }
    }
}

/// Reads and checks what a peer shipped, as [`Work::Merge`](super::Work::Merge) does for a document of which
/// nothing is here, without a store.
///
/// `None` when it is not a whole document or is refused: merging it says what is wrong.
#[must_use]
pub fn prepare(chunks: &Bytes) -> Option<Prepared> {
    guard::caught(|| Fresh::read(chunks).map(Prepared::from).or_else(|| whole(chunks))).ok().flatten()
}

fn whole(chunks: &[u8]) -> Option<Prepared> {
    // Nothing is written to this copy, so the actor is never used.
    let mut document = Document::new(&ActorId::from([0; 16]));
    let merged = document.merge(chunks).ok()?;
    if merged.missing || merged.new.is_empty() {
        return None;
    }
    let json = if document.is_deleted() { None } else { Some(document.to_json().ok()?) };
    Some(Prepared { heads: document.heads(), json, new: merged.new })
}
