//! Loaded documents, bounded by bytes; the least recently used go first.

use lru::LruCache;

use crate::document::{ActorId, Document};
use crate::heads::Heads;
use crate::id::DocId;
use crate::limits;
use crate::store::ChunkWrite;

/// A document in memory, with what the store has of it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) document: Document,
    /// Its heads on disk (or in the batch under way).
    pub(super) heads: Heads,
    pub(super) deleted: bool,
    pub(super) snapshot_bytes: u64,
    pub(super) increments_bytes: u64,
    pub(super) increments_count: u32,
}

impl Loaded {
    /// A document that does not exist yet.
    pub(super) fn default_for(actor: &ActorId) -> Self {
        Self {
            document: Document::new(actor),
            heads: Heads::none(),
            deleted: false,
            snapshot_bytes: 0,
            increments_bytes: 0,
            increments_count: 0,
        }
    }

    /// Keeps the sizes in step with a chunk that is being written.
    pub(super) fn count(&mut self, chunk: &ChunkWrite) {
        match chunk {
            ChunkWrite::Append(bytes) => {
                self.increments_bytes += bytes.len() as u64;
                self.increments_count += 1;
            }
            ChunkWrite::Replace(bytes) => {
                self.snapshot_bytes = bytes.len() as u64;
                self.increments_bytes = 0;
                self.increments_count = 0;
            }
        }
    }

    /// Whether the next increment should fold all of them into a snapshot: when together they outgrow
    /// it, so that the work of folding stays in proportion to what was written.
    pub(super) fn wants_fold(&self, next_bytes: usize) -> bool {
        self.increments_count + 1 > limits::INCREMENTS_COUNT_MIN
            && self.increments_bytes + next_bytes as u64
                > self.snapshot_bytes * limits::INCREMENTS_TO_SNAPSHOT_RATIO
    }

    fn weight_bytes(&self) -> usize {
        self.document.weight_bytes() + 256
    }
}

#[derive(Debug)]
pub(super) struct Cache {
    documents: LruCache<DocId, (usize, Loaded)>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { documents: LruCache::unbounded(), bytes: 0, bytes_max }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn take(&mut self, doc: &DocId) -> Option<Loaded> {
        let (bytes, loaded) = self.documents.pop(doc)?;
        self.bytes -= bytes;
        Some(loaded)
    }

    pub(super) fn contains(&self, doc: &DocId) -> bool {
        self.documents.contains(doc)
    }

    pub(super) fn insert(&mut self, doc: DocId, loaded: Loaded) {
        let bytes = loaded.weight_bytes();
        // One large document does not drive out all the others.
        if bytes > self.bytes_max / limits::DOCUMENT_CACHE_PART_MAX {
            return;
        }
        if let Some((_, (old, _))) = self.documents.push(doc, (bytes, loaded)) {
            self.bytes -= old;
        }
        self.bytes += bytes;
        while self.bytes > self.bytes_max {
            let Some((_, (bytes, _))) = self.documents.pop_lru() else {
                break;
            };
            self.bytes -= bytes;
        }
    }
}
