//! Which documents exist here and in what state, with fingerprints of every range.
//!
//! A document sits at a [`Position`], the hash of its address, so documents spread evenly and a peer
//! learns nothing from the order. The positions form a tree with sixteen branches a level. Each node of
//! the tree carries the sum (mod 2²⁵⁶) of its documents' hashes, kept up as documents change, so the
//! fingerprint of a range costs a walk down the tree and never a scan. A sum, unlike XOR, is not undone
//! by sending a thing twice, and it is hashed together with the count before it is shown
//! (range-based set reconciliation: A. Meyer, arXiv 2212.13567; the sum: negentropy).

#[cfg(test)]
mod tests;
mod tree;

use std::fmt;

use tree::Node;

use crate::heads::Heads;
use crate::id::DocId;
use crate::store::{Store, StoreError};
use crate::wire::Digest;

/// Where a document sits: the first 16 bytes of the BLAKE3 hash of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u128);

impl Position {
    /// The position of a document.
    #[must_use]
    pub fn of(doc: &DocId) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(doc.as_str().as_bytes()).as_bytes()[..16]);
        Self(u128::from_be_bytes(bytes))
    }

    fn nibble(self, depth: u8) -> usize {
        (self.0 >> (124 - 4 * u32::from(depth))) as usize & 0xf
    }
}

/// A range of positions: all that start with the same `depth` half-bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    first: Position,
    depth: u8,
}

impl Prefix {
    /// Everything.
    pub const ALL: Self = Self { first: Position(0), depth: 0 };
    /// The depth of a range of one position.
    pub const DEPTH_MAX: u8 = 32;

    /// The range of `depth` (at most 32) that a position is in.
    #[must_use]
    pub fn of(position: Position, depth: u8) -> Self {
        let depth = depth.min(Self::DEPTH_MAX);
        let mask = match depth {
            0 => 0,
            _ => u128::MAX << (128 - 4 * u32::from(depth)),
        };
        Self { first: Position(position.0 & mask), depth }
    }

    /// How many half-bytes are fixed.
    #[must_use]
    pub fn depth(self) -> u8 {
        self.depth
    }

    /// The smallest position in it.
    #[must_use]
    pub fn first(self) -> Position {
        self.first
    }

    /// The largest position in it.
    #[must_use]
    pub fn last(self) -> Position {
        let rest = u128::MAX.checked_shr(4 * u32::from(self.depth)).unwrap_or(0);
        Position(self.first.0 | rest)
    }

    /// Whether a position is in it.
    #[must_use]
    pub fn contains(self, position: Position) -> bool {
        Self::of(position, self.depth) == self
    }

    /// The sixteenth of it with this number (0 to 15); itself when it cannot be split.
    #[must_use]
    pub fn part(self, number: usize) -> Self {
        if self.depth >= Self::DEPTH_MAX {
            return self;
        }
        let shift = 124 - 4 * u32::from(self.depth);
        let first = Position(self.first.0 | ((number as u128 & 0xf) << shift));
        Self { first, depth: self.depth + 1 }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.first.0);
        write!(f, "{}*", &digits[..usize::from(self.depth)])
    }
}

/// Twelve bytes that are equal for equal sets of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 12]);

/// How many documents a range has, and their fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// The fingerprint; all zero when there are none.
    pub fingerprint: Fingerprint,
}

/// One document in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its address.
    pub doc: DocId,
    /// Its heads.
    pub heads: Heads,
}

impl Entry {
    fn hash(position: Position, heads: &Heads) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&position.0.to_be_bytes());
        for hash in heads.as_slice() {
            hasher.update(&hash.0);
        }
        *hasher.finalize().as_bytes()
    }

    /// The bytes that tell its state from another one at the same position.
    #[must_use]
    pub fn digest(&self, position: Position) -> Digest {
        let mut digest = [0; 8];
        digest.copy_from_slice(&Self::hash(position, &self.heads)[..8]);
        Digest(digest)
    }
}

/// The documents of one node, deleted ones with a tombstone included.
#[derive(Debug, Default)]
pub struct Catalog {
    root: Node,
}

impl Catalog {
    /// The catalog of what a store holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let mut catalog = Self::default();
        store.for_each_heads(&mut |doc, heads| {
            catalog.set(doc, heads);
        })?;
        Ok(catalog)
    }

    /// Notes a document's heads. Returns whether that changed anything.
    pub fn set(&mut self, doc: DocId, heads: Heads) -> bool {
        let position = Position::of(&doc);
        let hash = Entry::hash(position, &heads);
        self.root.set(0, position, Entry { doc, heads }, &hash)
    }

    /// Forgets a document. Returns whether it was there.
    pub fn remove(&mut self, doc: &DocId) -> bool {
        self.root.remove(0, Position::of(doc))
    }

    /// The heads of a document.
    #[must_use]
    pub fn heads(&self, doc: &DocId) -> Option<&Heads> {
        self.at(Position::of(doc)).map(|entry| &entry.heads)
    }

    /// The document at a position.
    #[must_use]
    pub fn at(&self, position: Position) -> Option<&Entry> {
        self.root.get(0, position)
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.root.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Count and fingerprint of a range.
    #[must_use]
    pub fn summary(&self, range: Prefix) -> Summary {
        self.root.summary(0, range)
    }

    /// Calls `visit` with every document of a range in the order of their positions.
    pub fn for_each(&self, range: Prefix, visit: &mut dyn FnMut(Position, &Entry)) {
        self.root.for_each(0, range, visit);
    }
}
