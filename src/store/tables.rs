//! The tables, each declared once, and the bytes of their values.
//!
//! A table's name carries a version; a table with another layout gets another name and a migration.
//! Numbers are little endian. Every packed value starts with the version of its layout.

use ::redb::TableDefinition;
use peat_mesh_core::heads::{Heads, Version};
use peat_mesh_core::id::{DocId, NodeName};
use peat_mesh_core::store::{Action, Change, Origin, Record, StoreError, StoredDocument};

/// Facts about the file itself: `format` → its number (u32).
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta_v1");
/// Document → its record, see [`pack_record`].
pub(super) const DOCUMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("documents_v1");
/// Live document → its version and JSON, see [`pack_json`].
pub(super) const JSON: TableDefinition<&str, &[u8]> = TableDefinition::new("json_v1");
/// Document and number → Automerge chunk: 0 is the snapshot, 1 and up are the increments after it.
pub(super) const CHUNKS: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("chunks_v1");
/// Sequence number → change, see [`pack_change`]; one entry per document, its newest.
pub(super) const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes_v1");
/// Collection → how many live documents it has; absent when it has none.
pub(super) const COLLECTIONS: TableDefinition<&str, u64> = TableDefinition::new("collections_v1");

const LAYOUT: u8 = 1;
const DELETED: u8 = 1;
const RECORD_FIXED_BYTES: usize = 38;
const CHANGE_FIXED_BYTES: usize = 19;
const VERSION_BYTES: usize = 16;

/// ```text
///  0        1        2      10            18               26                 34
/// +--------+--------+------+-------------+----------------+------------------+------------------+
/// | layout | flags  | seq  | changed_ms  | snapshot_bytes | increments_bytes | increments_count |
/// | 1      | 1=dele-| u64  | u64         | u64            | u64              | u32              |
/// |        | ted    |      |             |                |                  |                  |
/// +--------+--------+------+-------------+----------------+------------------+------------------+
/// 38: heads, 32 bytes each
/// ```
pub(super) fn pack_record(record: &Record) -> Vec<u8> {
    let heads = record.heads.as_slice();
    let mut bytes = Vec::with_capacity(RECORD_FIXED_BYTES + 32 * heads.len());
    bytes.extend([LAYOUT, if record.deleted { DELETED } else { 0 }]);
    bytes.extend(record.seq.to_le_bytes());
    bytes.extend(record.changed_ms.to_le_bytes());
    bytes.extend(record.snapshot_bytes.to_le_bytes());
    bytes.extend(record.increments_bytes.to_le_bytes());
    bytes.extend(record.increments_count.to_le_bytes());
    for head in heads {
        bytes.extend(head.0);
    }
    bytes
}

/// The reverse of [`pack_record`].
pub(super) fn unpack_record(doc: &str, bytes: &[u8]) -> Result<Record, StoreError> {
    let corrupt = |what| corrupt(&DOCUMENTS, doc, what);
    let (fixed, heads) =
        bytes.split_first_chunk::<RECORD_FIXED_BYTES>().ok_or_else(|| corrupt("is too short"))?;
    if fixed[0] != LAYOUT {
        return Err(corrupt("has an unknown layout"));
    }
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&fixed[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    Ok(Record {
        seq: number(2),
        heads: Heads::from_bytes(heads).ok_or_else(|| corrupt("has a part of a head"))?,
        deleted: fixed[1] & DELETED != 0,
        changed_ms: number(10),
        snapshot_bytes: number(18),
        increments_bytes: number(26),
        increments_count: u32::from_le_bytes([fixed[34], fixed[35], fixed[36], fixed[37]]),
    })
}

/// ```text
///  0         16
/// +---------+---------------+
/// | version | JSON, UTF-8   |
/// +---------+---------------+
/// ```
/// Without a layout byte: it is read as often as anything, and its name has a version.
pub(super) fn pack_json(version: Version, json: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(VERSION_BYTES + json.len());
    bytes.extend(version.0);
    bytes.extend(json.as_bytes());
    bytes
}

/// The reverse of [`pack_json`], with the address.
pub(super) fn unpack_json(doc: DocId, bytes: &[u8]) -> Result<StoredDocument, StoreError> {
    let corrupt = |what| corrupt(&JSON, doc.as_str(), what);
    let (version, json) =
        bytes.split_first_chunk::<VERSION_BYTES>().ok_or_else(|| corrupt("is too short"))?;
    let json = str::from_utf8(json).map_err(|_| corrupt("is not UTF-8"))?;
    Ok(StoredDocument { version: Version(*version), json: json.to_owned(), doc })
}

/// ```text
///  0        1               2               3         19
/// +--------+---------------+---------------+---------+-----------+-----------------+
/// | layout | action        | bytes of peer | version | peer name | collection/id   |
/// | 1      | 0 put         | 0 = a client  | 16      |           |                 |
/// |        | 1 delete      | of this node  |         |           |                 |
/// +--------+---------------+---------------+---------+-----------+-----------------+
/// ```
pub(super) fn pack_change(change: &Change) -> Vec<u8> {
    let peer = match &change.origin {
        Origin::Local => "",
        Origin::Peer(name) => name.as_str(),
    };
    let doc = change.doc.as_str();
    let mut bytes = Vec::with_capacity(CHANGE_FIXED_BYTES + peer.len() + doc.len());
    bytes.extend([LAYOUT, u8::from(change.action == Action::Delete)]);
    bytes.push(u8::try_from(peer.len()).expect("limits.rs keeps node names below 256 bytes"));
    bytes.extend(change.version.0);
    bytes.extend(peer.as_bytes());
    bytes.extend(doc.as_bytes());
    bytes
}

/// The reverse of [`pack_change`].
pub(super) fn unpack_change(seq: u64, bytes: &[u8]) -> Result<Change, StoreError> {
    let corrupt = |what| corrupt(&CHANGES, &seq.to_string(), what);
    let (fixed, names) =
        bytes.split_first_chunk::<CHANGE_FIXED_BYTES>().ok_or_else(|| corrupt("is too short"))?;
    if fixed[0] != LAYOUT {
        return Err(corrupt("has an unknown layout"));
    }
    let action = match fixed[1] {
        0 => Action::Put,
        1 => Action::Delete,
        _ => return Err(corrupt("has an unknown action")),
    };
    let mut version = [0; VERSION_BYTES];
    version.copy_from_slice(&fixed[3..]);
    let names = str::from_utf8(names).map_err(|_| corrupt("is not UTF-8"))?;
    let (peer, doc) = names
        .split_at_checked(usize::from(fixed[2]))
        .ok_or_else(|| corrupt("is too short for the name of its peer"))?;
    let origin = match peer {
        "" => Origin::Local,
        name => Origin::Peer(NodeName::new(name).map_err(|_| corrupt("has a bad peer name"))?),
    };
    Ok(Change {
        seq,
        doc: doc.parse().map_err(|_| corrupt("has a bad document name"))?,
        action,
        origin,
        version: Version(version),
    })
}

/// A key of a table that should be the address of a document.
pub(super) fn parse_doc(table: &impl ::redb::TableHandle, key: &str) -> Result<DocId, StoreError> {
    key.parse().map_err(|_| corrupt(table, key, "is not an address"))
}

fn corrupt(table: &impl ::redb::TableHandle, key: &str, what: &str) -> StoreError {
    StoreError::Corrupt { reason: format!("table {}, key {key:?} {what}", table.name()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peat_mesh_core::heads::ChangeHash;

    fn record() -> Record {
        Record {
            seq: 0x0102,
            heads: Heads::new(vec![ChangeHash([7; 32]), ChangeHash([9; 32])]),
            deleted: true,
            changed_ms: 3,
            snapshot_bytes: 4,
            increments_bytes: 5,
            increments_count: 6,
        }
    }

    #[test]
    fn a_record_has_the_bytes_that_are_drawn() {
        let bytes = pack_record(&record());
        let mut golden = vec![1, 1, 2, 1, 0, 0, 0, 0, 0, 0];
        golden.extend([3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0]);
        golden.extend([7; 32]);
        golden.extend([9; 32]);
        assert_eq!(bytes, golden);
        assert_eq!(unpack_record("a/1", &bytes).unwrap(), record());
    }

    #[test]
    fn a_change_has_the_bytes_that_are_drawn() {
        let change = Change {
            seq: 9,
            doc: "a/1".parse().unwrap(),
            action: Action::Delete,
            origin: Origin::Peer(NodeName::new("bob").unwrap()),
            version: Version([8; 16]),
        };
        let bytes = pack_change(&change);
        let mut golden = vec![1, 1, 3];
        golden.extend([8; 16]);
        golden.extend(b"boba/1");
        assert_eq!(bytes, golden);
        assert_eq!(unpack_change(9, &bytes).unwrap(), change);
    }

    #[test]
    fn cut_or_foreign_values_are_errors_that_name_the_key() {
        let bytes = pack_record(&record());
        for end in (0..bytes.len()).filter(|end| *end != 38 && *end != 70) {
            assert!(unpack_record("a/1", &bytes[..end]).is_err(), "{end} bytes");
        }
        let mut newer = bytes;
        newer[0] = 2;
        let error = unpack_record("a/1", &newer).unwrap_err().to_string();
        assert!(error.contains("documents_v1") && error.contains("a/1"), "{error}");

        for bytes in [&[][..], &[1; 18], &[1; 19], &[1; 25], &[0xff; 40]] {
            assert!(unpack_change(1, bytes).is_err(), "{bytes:?}");
        }
        assert!(unpack_json("a/1".parse().unwrap(), &[0xff; 20]).is_err());
        assert!(unpack_json("a/1".parse().unwrap(), &[0; 15]).is_err());
    }
}
