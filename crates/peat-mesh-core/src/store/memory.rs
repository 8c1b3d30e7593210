//! A store in memory: the disk of a simulated node, and the model that other stores are held against.
//!
//! Commits come in and are kept until the last handle is dropped. A clone is one more handle to the same
//! store, so a simulated node can be stopped and started again on its disk; [`MemoryStore::snapshot`] is
//! a backup of it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Action, Change, ChunkWrite, DocWrite, Page, Record, Store, StoreError, StoredDocument};
use crate::heads::Heads;
use crate::id::DocId;
use crate::limits;

/// Documents in memory. Its clones share one store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
}

/// How a commit fails when it is told to.
#[derive(Debug, Clone)]
enum Failure {
    Io(String),
    Full,
}

/// All that would be in the file. Entries are shared with the snapshots and copied when they change.
#[derive(Debug, Clone, Default)]
struct Disk {
    documents: BTreeMap<String, Arc<Entry>>,
    changes: BTreeMap<u64, Change>,
    live: BTreeMap<String, u64>,
    mark: u64,
    fail_next_commit: Option<Failure>,
}

#[derive(Debug, Clone)]
struct Entry {
    doc: DocId,
    record: Record,
    json: Option<Arc<str>>,
    chunks: Vec<Bytes>,
}

impl Entry {
    fn stored(&self) -> Option<StoredDocument> {
        self.json.as_ref().map(|json| StoredDocument {
            doc: self.doc.clone(),
            version: self.record.heads.version(),
            json: json.to_string(),
        })
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of its own with what this one holds now. Content is shared until either side changes it.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let mut disk = self.disk().clone();
        disk.fail_next_commit = None;
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Makes the next commit fail for this reason and write nothing, as a broken disk would.
    pub fn fail_next_commit(&self, reason: &str) {
        self.disk().fail_next_commit = Some(Failure::Io(reason.to_owned()));
    }

    /// Makes the next commit fail and write nothing because the disk is full.
    pub fn fill_before_next_commit(&self) {
        self.disk().fail_next_commit = Some(Failure::Full);
    }

    /// A panic elsewhere cannot leave half a commit: nothing in [`Disk::apply`] can fail.
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn last_seq(&self) -> u64 {
        self.changes.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    fn check_order(&self, writes: &[DocWrite]) -> Result<(), StoreError> {
        let mut last_seq = self.last_seq();
        for write in writes {
            if write.seq <= last_seq {
                return Err(StoreError::OutOfOrder { doc: write.doc.clone(), seq: write.seq, last_seq });
            }
            last_seq = write.seq;
        }
        Ok(())
    }

    fn apply(&mut self, write: &DocWrite) {
        let before = self.documents.remove(write.doc.as_str());
        let was_live = before.as_ref().is_some_and(|entry| !entry.record.deleted);
        if let Some(before) = &before {
            self.changes.remove(&before.record.seq);
        }
        let mut chunks = match (&write.chunk, before) {
            (ChunkWrite::Append(_), Some(before)) => {
                Arc::try_unwrap(before).map_or_else(|shared| shared.chunks.clone(), |entry| entry.chunks)
            }
            _ => Vec::new(),
        };
        let (ChunkWrite::Append(chunk) | ChunkWrite::Replace(chunk)) = &write.chunk;
        chunks.push(chunk.clone());

        let deleted = write.json.is_none();
        self.count(write.doc.collection(), was_live, !deleted);
        self.changes.insert(
            write.seq,
            Change {
                seq: write.seq,
                doc: write.doc.clone(),
                action: if deleted { Action::Delete } else { Action::Put },
                origin: write.origin.clone(),
                version: write.heads.version(),
            },
        );
        let bytes = |chunks: &[Bytes]| chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        let record = Record {
            seq: write.seq,
            heads: write.heads.clone(),
            deleted,
            changed_ms: write.changed_ms,
            snapshot_bytes: bytes(&chunks[..1]),
            increments_bytes: bytes(&chunks[1..]),
            increments_count: u32::try_from(chunks.len() - 1).unwrap_or(u32::MAX),
        };
        let entry =
            Entry { doc: write.doc.clone(), record, json: write.json.as_deref().map(Arc::from), chunks };
        self.documents.insert(write.doc.as_str().to_owned(), Arc::new(entry));
    }

    fn count(&mut self, collection: &str, was_live: bool, is_live: bool) {
        match (was_live, is_live) {
            (false, true) => *self.live.entry(collection.to_owned()).or_default() += 1,
            (true, false) => {
                if let Some(count) = self.live.get_mut(collection) {
                    *count -= 1;
                    if *count == 0 {
                        self.live.remove(collection);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Store for MemoryStore {
    fn record(&self, doc: &DocId) -> Result<Option<Record>, StoreError> {
        let disk = self.disk();
        Ok(disk.documents.get(doc.as_str()).map(|entry| entry.record.clone()))
    }

    fn document(&self, doc: &DocId) -> Result<Option<StoredDocument>, StoreError> {
        let disk = self.disk();
        Ok(disk.documents.get(doc.as_str()).and_then(|entry| entry.stored()))
    }

    fn chunks(&self, doc: &DocId) -> Result<Vec<Bytes>, StoreError> {
        let disk = self.disk();
        let entry = disk.documents.get(doc.as_str());
        Ok(entry.map(|entry| entry.chunks.clone()).unwrap_or_default())
    }

    fn list(&self, collection: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let disk = self.disk();
        let mut page =
            Page { count: disk.live.get(collection).copied().unwrap_or_default(), ..Page::default() };
        if limit == 0 {
            return Ok(page);
        }
        let first = format!("{collection}/{}", after.unwrap_or_default());
        let end = format!("{collection}0"); // '0' is the character after '/'
        let range = (Bound::Excluded(first.as_str()), Bound::Excluded(end.as_str()));
        let mut json_bytes = 0;
        for (_, entry) in disk.documents.range::<str, _>(range) {
            let Some(stored) = entry.stored() else { continue };
            if page.documents.len() == limit || json_bytes >= limits::PAGE_JSON_BYTES_TARGET {
                page.next = page.documents.last().map(|last| last.doc.key().to_owned());
                break;
            }
            json_bytes += stored.json.len();
            page.documents.push(stored);
        }
        Ok(page)
    }

    fn collections(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let disk = self.disk();
        Ok(disk.live.iter().map(|(name, count)| (name.clone(), *count)).collect())
    }

    fn changes_since(&self, seq: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        let disk = self.disk();
        let range = (Bound::Excluded(seq), Bound::Unbounded);
        Ok(disk.changes.range(range).take(limit).map(|(_, change)| change.clone()).collect())
    }

    fn last_seq(&self) -> Result<u64, StoreError> {
        Ok(self.disk().last_seq())
    }

    /// Visits what was there at the call; `visit` may use the store.
    fn for_each_heads(&self, visit: &mut dyn FnMut(DocId, Heads)) -> Result<(), StoreError> {
        let entries: Vec<_> = self.disk().documents.values().cloned().collect();
        for entry in entries {
            visit(entry.doc.clone(), entry.record.heads.clone());
        }
        Ok(())
    }

    fn mark(&self) -> Result<u64, StoreError> {
        Ok(self.disk().mark)
    }

    fn set_mark(&self, mark: u64) -> Result<(), StoreError> {
        self.disk().mark = mark;
        Ok(())
    }

    fn commit(&self, writes: &[DocWrite]) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.check_order(writes)?;
        if let Some(failure) = disk.fail_next_commit.take() {
            let operation = format!("commit {} documents", writes.len());
            return Err(match failure {
                Failure::Io(reason) => StoreError::Io { operation, reason },
                Failure::Full => StoreError::Full { operation, reason: "no space left".to_owned() },
            });
        }
        for write in writes {
            disk.apply(write);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
