//! Short ways to write the commits of the checks, and to read what came of them.

use bytes::Bytes;

use super::super::{Change, ChunkWrite, DocWrite, Origin, Page, Record, Store, StoreError, StoredDocument};
use crate::heads::{ChangeHash, Heads};
use crate::id::DocId;

/// The address in `text`.
pub(in super::super) fn doc(text: &str) -> DocId {
    text.parse().expect("the checks use good names")
}

/// Heads that no other sequence number has.
pub(in super::super) fn heads(seq: u64) -> Heads {
    let mut hash = [0xa5; 32];
    hash[..8].copy_from_slice(&seq.to_be_bytes());
    Heads::new(vec![ChangeHash(hash)])
}

/// The JSON that [`put`] writes.
pub(in super::super) fn json(seq: u64) -> String {
    format!(r#"{{"seq":{seq}}}"#)
}

/// A snapshot of a live document by a client of this node.
pub(in super::super) fn put(text: &str, seq: u64) -> DocWrite {
    DocWrite {
        doc: doc(text),
        seq,
        heads: heads(seq),
        json: Some(json(seq)),
        chunk: ChunkWrite::Replace(Bytes::from(format!("snapshot {seq}"))),
        origin: Origin::Local,
        changed_ms: seq.saturating_add(1_000),
    }
}

/// A deletion: an increment that leaves no JSON.
pub(in super::super) fn delete(text: &str, seq: u64) -> DocWrite {
    DocWrite { json: None, ..append(text, seq, &format!("tombstone {seq}")) }
}

/// A change that comes as an increment.
pub(in super::super) fn append(text: &str, seq: u64, chunk: &str) -> DocWrite {
    DocWrite { chunk: ChunkWrite::Append(Bytes::from(chunk.to_owned())), ..put(text, seq) }
}

/// Reads that stop the check when the store fails.
pub(super) trait Reading {
    fn write(&self, writes: &[DocWrite]);
    fn refuse(&self, writes: &[DocWrite]) -> StoreError;
    fn get(&self, text: &str) -> Option<StoredDocument>;
    fn known(&self, text: &str) -> Option<Record>;
    fn loaded(&self, text: &str) -> Vec<Bytes>;
    fn page(&self, collection: &str, after: Option<&str>, limit: usize) -> Page;
    fn counts(&self) -> Vec<(String, u64)>;
    fn changes(&self, seq: u64, limit: usize) -> Vec<Change>;
    fn newest(&self) -> u64;
    fn all_heads(&self) -> Vec<(DocId, Heads)>;
}

impl Reading for dyn Store + '_ {
    fn write(&self, writes: &[DocWrite]) {
        self.commit(writes).expect("the commit succeeds");
    }

    fn refuse(&self, writes: &[DocWrite]) -> StoreError {
        self.commit(writes).expect_err("the commit is refused")
    }

    fn get(&self, text: &str) -> Option<StoredDocument> {
        self.document(&doc(text)).expect("a document is read")
    }

    fn known(&self, text: &str) -> Option<Record> {
        self.record(&doc(text)).expect("a record is read")
    }

    fn loaded(&self, text: &str) -> Vec<Bytes> {
        self.chunks(&doc(text)).expect("chunks are read")
    }

    fn page(&self, collection: &str, after: Option<&str>, limit: usize) -> Page {
        self.list(collection, after, limit).expect("a page is read")
    }

    fn counts(&self) -> Vec<(String, u64)> {
        self.collections().expect("collections are read")
    }

    fn changes(&self, seq: u64, limit: usize) -> Vec<Change> {
        self.changes_since(seq, limit).expect("changes are read")
    }

    fn newest(&self) -> u64 {
        self.last_seq().expect("the last sequence number is read")
    }

    fn all_heads(&self) -> Vec<(DocId, Heads)> {
        let mut all = Vec::new();
        self.for_each_heads(&mut |doc, heads| all.push((doc, heads))).expect("heads are read");
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}
