use std::fs;

use peat_mesh_core::NodeName;
use peat_mesh_core::heads::ChangeHash;
use peat_mesh_core::store::{Origin, Store};
use tempfile::TempDir;

use super::super::RedbStore;
use super::super::open;
use super::super::redb::tests::{append_only, fail_log, fill_disk, killed, many, put};
use super::*;

/// A store with one small commit for each of these numbers.
fn with(folder: &TempDir, seqs: std::ops::Range<u64>) -> RedbStore {
    let store = RedbStore::open(folder.path()).unwrap();
    one_by_one(&store, seqs);
    store
}

fn one_by_one(store: &RedbStore, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        store.commit(&many(seq..seq + 1)).unwrap();
    }
}

/// The files of a store that was killed, with its log changed.
fn with_log(store: &RedbStore, change: impl FnOnce(&mut Vec<u8>)) -> TempDir {
    let folder = killed(store);
    let path = folder.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    folder
}

/// Opens a folder whose log has to be refused, and left alone with the file beside it.
fn refused(folder: &TempDir) -> OpenError {
    let read = || [FILE, open::FILE].map(|name| fs::read(folder.path().join(name)).unwrap());
    let before = read();
    let error = RedbStore::open(folder.path()).unwrap_err();
    assert!(read() == before, "a file was changed");
    assert!(error.to_string().contains("documents.wal"), "{error}");
    error
}

/// What only the database has.
fn without_log(store: &RedbStore) -> u64 {
    let folder = killed(store);
    fs::remove_file(folder.path().join(FILE)).unwrap();
    RedbStore::open(folder.path()).unwrap().last_seq().unwrap()
}

#[test]
fn small_commits_are_in_the_log_and_a_killed_store_opens_with_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    for seq in 1..=600 {
        one_by_one(&store, seq..seq + 1);
        if seq % 37 == 0 {
            let copy = killed(&store);
            for _ in 0..2 {
                // It is killed once more before anything is written.
                let reopened = RedbStore::open(copy.path()).unwrap();
                assert_eq!(reopened.last_seq().unwrap(), seq);
                assert_eq!(reopened.list("things", None, 0).unwrap().count, seq);
                let again = killed(&reopened);
                assert_eq!(RedbStore::open(again.path()).unwrap().last_seq().unwrap(), seq);
            }
            let reopened = RedbStore::open(copy.path()).unwrap();
            one_by_one(&reopened, seq + 1..seq + 4);
            let again = RedbStore::open(killed(&reopened).path()).unwrap();
            assert_eq!(again.changes_since(0, 1000).unwrap().len() as u64, seq + 3);
        }
        if seq % 101 == 0 {
            store.settle().unwrap();
            assert_eq!(without_log(&store), seq);
        }
    }
}

#[test]
fn the_database_takes_over_when_it_is_asked_to_and_there_is_much() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..SETTLE_RECORDS_COUNT as u64);
    store.settle().unwrap();
    assert_eq!(without_log(&store), 0);
    one_by_one(&store, 64..65);
    store.settle().unwrap();
    assert_eq!(without_log(&store), 64);
}

#[test]
fn a_commit_that_is_large_or_finds_the_log_full_goes_to_the_database_with_all_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..6);
    store.commit(&many(6..1_000)).unwrap();
    assert_eq!(without_log(&store), 999);
    let full = 1_000 + (FILE_BYTES / BLOCK_BYTES) as u64;
    one_by_one(&store, 1_000..full);
    assert_eq!(without_log(&store), 999);
    one_by_one(&store, full..full + 1);
    assert_eq!(without_log(&store), full);
    one_by_one(&store, full + 1..full + 3);
    assert_eq!(RedbStore::open(killed(&store).path()).unwrap().last_seq().unwrap(), full + 2);
}

#[test]
fn a_half_written_last_record_is_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..6);
    let last = 4 * BLOCK_BYTES;
    for at in [last, last + 5, last + 20, last + 30, last + 200, last + 500] {
        let copy = with_log(&store, |bytes| bytes[at] ^= 0x10);
        let reopened = RedbStore::open(copy.path()).unwrap();
        assert_eq!(reopened.last_seq().unwrap(), 4, "a bit at {at}");
        one_by_one(&reopened, 5..9);
        assert_eq!(RedbStore::open(killed(&reopened).path()).unwrap().last_seq().unwrap(), 8);
    }
}

#[test]
fn a_damaged_record_before_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..6);
    for block in 0..4 {
        for at in [0, 5, 20, 30, 200, 500] {
            let copy = with_log(&store, |bytes| bytes[block * BLOCK_BYTES + at] ^= 0x10);
            let error = refused(&copy);
            assert!(matches!(error, OpenError::LogDamaged { .. }), "{error:?}");
            assert!(error.to_string().contains(&format!("byte {}", block * BLOCK_BYTES)), "{error}");
        }
    }
    let swapped = with_log(&store, |bytes| {
        let first = bytes[..BLOCK_BYTES].to_vec();
        bytes.copy_within(BLOCK_BYTES..2 * BLOCK_BYTES, 0);
        bytes[BLOCK_BYTES..2 * BLOCK_BYTES].copy_from_slice(&first);
    });
    assert!(matches!(refused(&swapped), OpenError::LogDamaged { .. }));
}

#[test]
fn a_log_that_was_cut_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..6);
    for len in [0, 1, BLOCK_BYTES, 5 * BLOCK_BYTES, FILE_BYTES - 1] {
        let copy = with_log(&store, |bytes| bytes.truncate(len));
        assert!(matches!(refused(&copy), OpenError::LogDamaged { .. }));
    }
}

#[test]
fn a_log_without_its_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..6);
    let before = killed(&store);
    one_by_one(&store, 6..70);
    store.settle().unwrap();
    one_by_one(&store, 70..72);

    let other = tempfile::tempdir().unwrap();
    drop(with(&other, 1..6));
    for database in [&before, &other] {
        let mixed = killed(&store);
        fs::copy(database.path().join(open::FILE), mixed.path().join(open::FILE)).unwrap();
        assert!(matches!(refused(&mixed), OpenError::LogOfAnother { .. }));
    }
    let empty = killed(&store);
    fs::remove_file(empty.path().join(open::FILE)).unwrap();
    let error = RedbStore::open(empty.path()).unwrap_err();
    assert!(matches!(error, OpenError::LogOfAnother { .. }), "{error:?}");
    fs::remove_file(empty.path().join(FILE)).unwrap();
    assert_eq!(RedbStore::open(empty.path()).unwrap().last_seq().unwrap(), 0);
}

#[test]
fn a_log_that_the_disk_refuses_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..6);
    fail_log(&store);
    one_by_one(&store, 6..9);
    assert_eq!(without_log(&store), 8);
}

#[test]
fn a_full_disk_takes_nothing_from_what_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..6);
    for _ in 0..3 {
        fill_disk(&store);
        let error = store.commit(&many(6..7)).unwrap_err();
        assert!(error.to_string().contains("disk is full"), "{error}");
        assert_eq!(store.list("things", None, 0).unwrap().count, 5);
    }
    one_by_one(&store, 6..9);
    assert_eq!(RedbStore::open(killed(&store).path()).unwrap().last_seq().unwrap(), 8);
}

#[test]
fn writes_come_back_as_they_went_in() {
    let mut peer = put("c/peer", 7);
    peer.origin = Origin::Peer(NodeName::new("cluster/node").unwrap());
    peer.heads = peat_mesh_core::Heads::new((0..40).map(|byte| ChangeHash([byte; 32])).collect());
    let mut gone = put("c/gone", 8);
    gone.json = None;
    gone.chunk = peat_mesh_core::store::ChunkWrite::Append(vec![1, 2, 3].into());
    let writes = vec![put("c/a", 6), peer, gone];
    let bytes = record::encode(&writes, RECORD_BYTES_MAX).unwrap();
    assert_eq!(record::decode(&bytes).unwrap(), writes);
    assert_eq!(record::encode(&writes, bytes.len() - 1), None);
    for end in 0..bytes.len() {
        // A cut between two writes is one write less.
        if let Some(found) = record::decode(&bytes[..end]) {
            assert!(found.len() < writes.len() && writes.starts_with(&found), "cut at {end}");
        }
    }
}

#[test]
fn a_record_has_the_bytes_that_are_drawn() {
    let write = DocWrite {
        doc: "c/a".parse().unwrap(),
        seq: 9,
        heads: peat_mesh_core::Heads::new(vec![ChangeHash([5; 32])]),
        json: Some("{}".to_owned()),
        chunk: peat_mesh_core::store::ChunkWrite::Replace(vec![7, 7].into()),
        origin: Origin::Peer(NodeName::new("bob").unwrap()),
        changed_ms: 0x0102,
    };
    let mut golden = vec![9, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 3];
    golden.extend(b"\x03\0\0\0c/a\x03\0\0\0bob\x20\0\0\0");
    golden.extend([5; 32]);
    golden.extend(b"\x02\0\0\0\x07\x07\x02\0\0\0{}");
    assert_eq!(record::encode(&[write], RECORD_BYTES_MAX).unwrap(), golden);
}

#[test]
fn a_log_that_was_moved_away_is_refused_when_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    drop(with(&folder, 1..6));
    let crashed = killed(&with(&folder, 6..10));
    let aside = tempfile::tempdir().unwrap();
    fs::rename(crashed.path().join(FILE), aside.path().join(FILE)).unwrap();
    let store = RedbStore::open(crashed.path()).unwrap();
    store.commit(&[put("other/a", 6)]).unwrap();
    drop(store);
    fs::copy(aside.path().join(FILE), crashed.path().join(FILE)).unwrap();
    assert!(matches!(refused(&crashed), OpenError::LogOfAnother { .. }));
}

#[test]
fn a_log_of_another_store_is_refused_also_when_its_beginning_is_damaged() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(with(&one, 1..6));
    let log = with_log(&with(&two, 1..20), |bytes| bytes[5] ^= 1);
    fs::copy(log.path().join(FILE), one.path().join(FILE)).unwrap();
    assert!(matches!(refused(&one), OpenError::LogOfAnother { .. }));
}

#[test]
fn a_log_that_goes_away_while_the_store_is_open_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..6);
    fs::remove_file(folder.path().join(FILE)).unwrap();
    fill_disk(&store);
    store.commit(&many(6..7)).unwrap_err();
    let error = store.last_seq().unwrap_err().to_string();
    assert!(error.contains("documents.wal could not be opened"), "{error}");
}

#[test]
fn a_commit_that_fails_after_it_was_logged_is_not_found_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(&folder, 1..6);
    append_only(&store, 5, &many(6..7));
    assert_eq!(RedbStore::open(killed(&store).path()).unwrap().last_seq().unwrap(), 5);
    one_by_one(&store, 6..9);
    assert_eq!(RedbStore::open(killed(&store).path()).unwrap().last_seq().unwrap(), 8);
}
