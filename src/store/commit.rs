//! One commit: what its writes change in the tables.
//!
//! The writes come in one by one, in order, within one transaction; [`Batch::finish`] writes what is
//! summed up over all of them. Nothing is kept unless the caller commits the transaction.

use std::collections::BTreeMap;

use ::redb::{ReadableTable, Table, WriteTransaction};
use peat_mesh_core::store::{Action, Change, ChunkWrite, DocWrite, Record, StoreError};

use super::redb::Fault;
use super::tables::{self, CHANGES, CHUNKS, COLLECTIONS, DOCUMENTS, JSON};

/// The tables of a write transaction, open once for all writes.
pub(super) struct Batch<'txn> {
    documents: Table<'txn, &'static str, &'static [u8]>,
    json: Table<'txn, &'static str, &'static [u8]>,
    chunks: Table<'txn, (&'static str, u32), &'static [u8]>,
    changes: Table<'txn, u64, &'static [u8]>,
    collections: Table<'txn, &'static str, u64>,
    last_seq: u64,
    /// Live documents more or less, by collection.
    counted: BTreeMap<String, i64>,
}

impl<'txn> Batch<'txn> {
    pub(super) fn new(transaction: &'txn WriteTransaction) -> Result<Self, Fault> {
        let changes = transaction.open_table(CHANGES)?;
        let last_seq = changes.last()?.map_or(0, |(seq, _)| seq.value());
        Ok(Self {
            documents: transaction.open_table(DOCUMENTS)?,
            json: transaction.open_table(JSON)?,
            chunks: transaction.open_table(CHUNKS)?,
            changes,
            collections: transaction.open_table(COLLECTIONS)?,
            last_seq,
            counted: BTreeMap::new(),
        })
    }

    /// The sequence number of the newest write.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(super) fn apply(&mut self, write: &DocWrite) -> Result<(), Fault> {
        if write.seq <= self.last_seq {
            return Err(Fault::Store(StoreError::OutOfOrder {
                doc: write.doc.clone(),
                seq: write.seq,
                last_seq: self.last_seq,
            }));
        }
        self.last_seq = write.seq;
        let doc = write.doc.as_str();
        let before = match self.documents.get(doc)? {
            Some(packed) => Some(tables::unpack_record(doc, packed.value())?),
            None => None,
        };
        if let Some(before) = &before {
            self.changes.remove(before.seq)?;
        }
        let was_live = before.as_ref().is_some_and(|before| !before.deleted);
        let record = self.write_chunk(write, before)?;
        self.documents.insert(doc, tables::pack_record(&record).as_slice())?;

        let version = write.heads.version();
        if let Some(json) = &write.json {
            self.json.insert(doc, tables::pack_json(version, json).as_slice())?;
        } else if was_live {
            self.json.remove(doc)?;
        }
        let change = Change {
            seq: write.seq,
            doc: write.doc.clone(),
            action: if record.deleted { Action::Delete } else { Action::Put },
            origin: write.origin.clone(),
            version,
        };
        self.changes.insert(write.seq, tables::pack_change(&change).as_slice())?;

        let difference = i64::from(!record.deleted) - i64::from(was_live);
        if difference != 0 {
            *self.counted.entry(write.doc.collection().to_owned()).or_default() += difference;
        }
        Ok(())
    }

    /// Writes the chunk and gives the record with the sizes after it.
    fn write_chunk(&mut self, write: &DocWrite, before: Option<Record>) -> Result<Record, Fault> {
        let doc = write.doc.as_str();
        let record = |snapshot_bytes, increments_bytes, increments_count| Record {
            seq: write.seq,
            heads: write.heads.clone(),
            deleted: write.json.is_none(),
            changed_ms: write.changed_ms,
            snapshot_bytes,
            increments_bytes,
            increments_count,
        };
        match (&write.chunk, before) {
            (ChunkWrite::Append(chunk), Some(before)) => {
                let number = before.increments_count.saturating_add(1);
                self.chunks.insert((doc, number), chunk.as_ref())?;
                let bytes = before.increments_bytes + chunk.len() as u64;
                Ok(record(before.snapshot_bytes, bytes, number))
            }
            (ChunkWrite::Append(chunk) | ChunkWrite::Replace(chunk), before) => {
                for number in 1..=before.map_or(0, |before| before.increments_count) {
                    self.chunks.remove((doc, number))?;
                }
                self.chunks.insert((doc, 0), chunk.as_ref())?;
                Ok(record(chunk.len() as u64, 0, 0))
            }
        }
    }

    /// Writes the counts of the collections.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        for (collection, difference) in self.counted {
            let name = collection.as_str();
            let before = self.collections.get(name)?.map_or(0, |count| count.value());
            match before.checked_add_signed(difference) {
                Some(0) => {
                    self.collections.remove(name)?;
                }
                Some(count) => {
                    self.collections.insert(name, count)?;
                }
                None => {
                    return Err(Fault::Store(StoreError::Corrupt {
                        reason: format!(
                            "table collections_v1, key {name:?} counts {before}, which is too few"
                        ),
                    }));
                }
            }
        }
        Ok(())
    }
}
