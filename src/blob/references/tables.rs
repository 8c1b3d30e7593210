//! The tables of the index, and how one document's part of them changes.
//!
//! Numbers in packed values are little endian.

use std::collections::BTreeSet;

use ::redb::{Error, ReadableTable, Table, TableDefinition, WriteTransaction};
use peat_mesh_core::DocId;
use peat_mesh_core::attachment::{Policies, Policy};

use super::idle::Worn;
use crate::handle::BlobHash;

pub(super) type Raw = &'static [u8; 32];

/// `format` → its number (u32); `cursor`, see [`Cursor`]; `worn`, see [`Worn`]; `mark`, the same as in the store of
/// documents (u64).
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta_v1");
/// Document → the hashes that it names, 32 bytes each; no row when it names none.
pub(super) const DOCUMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("documents_v1");
/// Blob and collection → how many documents of it name it; no row when none does.
pub(super) const NAMED: TableDefinition<(Raw, &str), u64> = TableDefinition::new("named_v1");
/// A blob that is here, that nothing refers to → when that was noticed, see [`Worn`].
pub(super) const IDLE: TableDefinition<Raw, &[u8]> = TableDefinition::new("idle_v1");
/// A blob that is kept until somebody deletes it.
pub(super) const PINS: TableDefinition<Raw, ()> = TableDefinition::new("pins_v1");
/// A blob that is fetched in the background for a document.
pub(super) const WANTED: TableDefinition<Raw, ()> = TableDefinition::new("wanted_v1");

const FORMAT: &str = "format";
const CURSOR: &str = "cursor";
const WORN: &str = "worn";
const MARK: &str = "mark";

/// What the program understands.
pub(super) const FORMAT_NUMBER: u32 = 1;

/// Up to where in the store's change index the documents were looked at, and the newest change there, by which a
/// store that was replaced is known.
///
/// ```text
///  0     8         24
/// +-----+---------+---------------+
/// | seq | version | collection/id |
/// +-----+---------+---------------+
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) seq: u64,
    pub(super) version: [u8; 16],
    pub(super) doc: DocId,
}

impl Cursor {
    fn pack(&self) -> Vec<u8> {
        let doc = self.doc.as_str().as_bytes();
        [&self.seq.to_le_bytes()[..], &self.version, doc].concat()
    }

    fn unpack(bytes: &[u8]) -> Option<Self> {
        let (seq, rest) = bytes.split_first_chunk()?;
        let (version, doc) = rest.split_first_chunk()?;
        let doc = str::from_utf8(doc).ok()?.parse().ok()?;
        Some(Self { seq: u64::from_le_bytes(*seq), version: *version, doc })
    }
}

/// Makes what is not there yet. The number of the format that is found when it is one that is not known.
pub(super) fn create(transaction: &WriteTransaction) -> Result<Option<u32>, Error> {
    let mut meta = transaction.open_table(META)?;
    let found = meta.get(FORMAT)?.map(|value| value.value().to_vec());
    if let Some(found) = found {
        let number = found.try_into().map(u32::from_le_bytes).unwrap_or(u32::MAX);
        return Ok((number != FORMAT_NUMBER).then_some(number));
    }
    meta.insert(FORMAT, FORMAT_NUMBER.to_le_bytes().as_slice())?;
    transaction.open_table(DOCUMENTS)?;
    transaction.open_table(NAMED)?;
    transaction.open_table(IDLE)?;
    transaction.open_table(PINS)?;
    transaction.open_table(WANTED)?;
    Ok(None)
}

pub(super) fn cursor(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Option<Cursor>, Error> {
    Ok(meta.get(CURSOR)?.and_then(|value| Cursor::unpack(value.value())))
}

pub(super) fn set_cursor(transaction: &WriteTransaction, cursor: &Cursor) -> Result<(), Error> {
    transaction.open_table(META)?.insert(CURSOR, cursor.pack().as_slice())?;
    Ok(())
}

/// The mark that was left with the last look at the store; 0 before the first.
pub(super) fn mark(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, Error> {
    let mark = meta.get(MARK)?.and_then(|value| <[u8; 8]>::try_from(value.value()).ok());
    Ok(mark.map_or(0, u64::from_le_bytes))
}

pub(super) fn set_mark(transaction: &WriteTransaction, mark: u64) -> Result<(), Error> {
    transaction.open_table(META)?.insert(MARK, mark.to_le_bytes().as_slice())?;
    Ok(())
}

/// What was written of the clock, and what the wall clock showed then, in milliseconds.
pub(super) fn worn(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Option<(Worn, u64)>, Error> {
    let unpacked = meta.get(WORN)?.and_then(|value| {
        let (worn, wall_ms) = value.value().split_at_checked(16)?;
        Some((Worn::unpack(worn)?, u64::from_le_bytes(wall_ms.try_into().ok()?)))
    });
    Ok(unpacked)
}

pub(super) fn set_worn(transaction: &WriteTransaction, worn: Worn, wall_ms: u64) -> Result<(), Error> {
    let packed = [&worn.pack()[..], &wall_ms.to_le_bytes()].concat();
    transaction.open_table(META)?.insert(WORN, packed.as_slice())?;
    Ok(())
}

/// Forgets what documents name, to find it anew.
pub(super) fn clear(transaction: &WriteTransaction) -> Result<(), Error> {
    transaction.open_table(META)?.remove(CURSOR)?;
    transaction.delete_table(DOCUMENTS)?;
    transaction.delete_table(NAMED)?;
    transaction.open_table(DOCUMENTS)?;
    transaction.open_table(NAMED)?;
    Ok(())
}

/// The hashes in a packed row of [`DOCUMENTS`].
pub(super) fn hashes(packed: &[u8]) -> BTreeSet<[u8; 32]> {
    packed.as_chunks().0.iter().copied().collect()
}

/// How many documents name a blob, by collection.
pub(super) fn naming(
    named: &impl ReadableTable<(Raw, &'static str), u64>,
    hash: &[u8; 32],
) -> Result<Vec<(String, u64)>, Error> {
    let mut all = Vec::new();
    for row in named.range((hash, "")..)? {
        let (key, count) = row?;
        let (of, collection) = key.value();
        if of != hash {
            break;
        }
        all.push((collection.to_owned(), count.value()));
    }
    Ok(all)
}

/// The tables that change with a document.
pub(super) struct Batch<'txn> {
    documents: Table<'txn, &'static str, &'static [u8]>,
    named: Table<'txn, (Raw, &'static str), u64>,
    idle: Table<'txn, Raw, &'static [u8]>,
    pins: Table<'txn, Raw, ()>,
    wanted: Table<'txn, Raw, ()>,
    policies: &'txn Policies,
    /// Blobs that a document wants, or no document of a collection names any more.
    pub(super) touched: BTreeSet<BlobHash>,
}

impl<'txn> Batch<'txn> {
    pub(super) fn new(transaction: &'txn WriteTransaction, policies: &'txn Policies) -> Result<Self, Error> {
        Ok(Self {
            documents: transaction.open_table(DOCUMENTS)?,
            named: transaction.open_table(NAMED)?,
            idle: transaction.open_table(IDLE)?,
            pins: transaction.open_table(PINS)?,
            wanted: transaction.open_table(WANTED)?,
            policies,
            touched: BTreeSet::new(),
        })
    }

    /// Makes a document name exactly these blobs.
    pub(super) fn set(&mut self, doc: &DocId, now: &BTreeSet<[u8; 32]>) -> Result<(), Error> {
        let before = self.documents.get(doc.as_str())?.map(|row| hashes(row.value())).unwrap_or_default();
        let collection = doc.collection();
        for hash in before.difference(now) {
            let count = self.named.get((hash, collection))?.map_or(0, |count| count.value());
            match count.saturating_sub(1) {
                0 => {
                    self.named.remove((hash, collection))?;
                    self.touched.insert(BlobHash(*hash));
                }
                left => _ = self.named.insert((hash, collection), left)?,
            }
        }
        for hash in now.difference(&before) {
            let count = self.named.get((hash, collection))?.map_or(0, |count| count.value());
            self.named.insert((hash, collection), count + 1)?;
            self.idle.remove(hash)?;
            self.want(hash, self.policies.of(collection))?;
        }
        if now.is_empty() {
            self.documents.remove(doc.as_str())?;
        } else {
            self.documents
                .insert(doc.as_str(), now.iter().flatten().copied().collect::<Vec<_>>().as_slice())?;
        }
        Ok(())
    }

    /// Does for a blob what the policy of a collection that names it says.
    pub(super) fn want(&mut self, hash: &[u8; 32], policy: Policy) -> Result<(), Error> {
        if policy == Policy::Pinned {
            self.pins.insert(hash, ())?;
        }
        if policy.is_fetched() {
            self.wanted.insert(hash, ())?;
            self.touched.insert(BlobHash(*hash));
        }
        Ok(())
    }
}
