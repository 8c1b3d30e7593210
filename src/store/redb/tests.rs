use std::fs;

use peat_mesh_core::heads::ChangeHash;
use peat_mesh_core::store::{ChunkWrite, Origin, check_conformance};
use tempfile::TempDir;

use super::*;

/// A document of about 200 bytes of JSON.
pub(in crate::store) fn put(text: &str, seq: u64) -> DocWrite {
    let mut hash = [1; 32];
    hash[..8].copy_from_slice(&seq.to_be_bytes());
    DocWrite {
        doc: text.parse().unwrap(),
        seq,
        heads: Heads::new(vec![ChangeHash(hash)]),
        json: Some(format!(r#"{{"seq":{seq},"text":"{}"}}"#, "x".repeat(180))),
        chunk: ChunkWrite::Replace(vec![7; 277].into()),
        origin: Origin::Local,
        changed_ms: seq,
    }
}

pub(in crate::store) fn many(range: std::ops::Range<u64>) -> Vec<DocWrite> {
    range.map(|seq| put(&format!("things/{seq:08}"), seq)).collect()
}

/// A commit that fails when its record is in the log.
pub(in crate::store) fn append_only(store: &RedbStore, after: u64, writes: &[DocWrite]) {
    match &*store.current() {
        Current::Open(opened) => assert!(opened.log().append(after, writes).unwrap()),
        other => panic!("the store is {other:?}"),
    }
}

/// What is done after a failure: the next call opens the files again.
pub(in crate::store) fn drop_database(store: &RedbStore) {
    *store.current() = Current::Dropped;
}

/// What a killed process leaves: the files as they are, and nobody who closes them.
pub(in crate::store) fn killed(store: &RedbStore) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in [open::FILE, log::FILE] {
        fs::copy(store.path().with_file_name(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn the_redb_store_keeps_the_contract() {
    let mut folders: Vec<TempDir> = Vec::new();
    check_conformance(&mut || {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path()).unwrap();
        folders.push(folder);
        Box::new(store)
    });
}

#[test]
fn a_store_that_was_closed_opens_with_all_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("data/node-1");
    let store = RedbStore::open(&folder).unwrap();
    store.commit(&many(1..100)).unwrap();
    let page = store.list("things", None, 200).unwrap();
    drop(store);
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["documents.redb", "documents.wal"]);
    // A store that was closed has nothing in its log.
    fs::remove_file(folder.join("documents.wal")).unwrap();

    let store = RedbStore::open(&folder).unwrap();
    assert_eq!(store.list("things", None, 200).unwrap(), page);
    assert_eq!(store.last_seq().unwrap(), 99);
    store.commit(&many(100..101)).unwrap();
    assert_eq!(store.list("things", None, 0).unwrap().count, 100);
}

#[test]
fn a_store_copied_in_mid_life_opens_with_all_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    for round in 0..20 {
        let from = round * 50 + 1;
        store.commit(&many(from..from + 50)).unwrap();
        let crashed = killed(&store);
        let reopened = RedbStore::open(crashed.path()).unwrap();
        assert_eq!(reopened.last_seq().unwrap(), from + 49);
        assert_eq!(reopened.collections().unwrap(), store.collections().unwrap());
        reopened.commit(&many(from + 50..from + 60)).unwrap();
    }
}

#[test]
fn readers_go_on_while_a_commit_runs() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    store.commit(&many(1..10)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    // A page and its count come from one moment.
                    let page = store.list("things", None, 10_000).unwrap();
                    assert_eq!(page.count, page.documents.len() as u64);
                }
            });
        }
        for round in 1..20 {
            store.commit(&many(round * 10..round * 10 + 10)).unwrap();
        }
    });
    assert_eq!(store.last_seq().unwrap(), 199);
}

#[test]
fn the_heads_of_a_hundred_thousand_documents_are_visited() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    store.commit(&many(1..100_001)).unwrap();
    let mut seen = 0;
    store.for_each_heads(&mut |_, heads| seen += heads.as_slice().len()).unwrap();
    assert_eq!(seen, 100_000);
    assert_eq!(store.collections().unwrap(), [("things".to_owned(), 100_000)]);
}

pub(in crate::store) fn fill_disk(store: &RedbStore) {
    match &*store.current() {
        Current::Open(opened) => opened.held.fail_writes(true),
        other => panic!("the store is {other:?}"),
    }
    fail_log(store);
}

pub(in crate::store) fn fail_log(store: &RedbStore) {
    match &*store.current() {
        Current::Open(opened) => opened.log().fail_writes(),
        other => panic!("the store is {other:?}"),
    }
}

#[test]
fn a_full_disk_fails_the_commit_and_the_store_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    store.commit(&many(1..100)).unwrap();
    fill_disk(&store);
    let error = store.commit(&many(100..1_000)).unwrap_err();
    assert!(
        matches!(&error, StoreError::Full { operation, .. } if operation == "commit 900 documents"),
        "{error:?}"
    );

    // The next calls open the file again, on a disk that has space by then.
    assert_eq!(store.last_seq().unwrap(), 99);
    assert_eq!(store.list("things", None, 0).unwrap().count, 99);
    store.commit(&many(100..1_000)).unwrap();
    assert_eq!(store.list("things", None, 0).unwrap().count, 999);
}

#[test]
fn a_store_whose_file_went_away_says_so_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    store.commit(&many(1..100)).unwrap();
    let away = folder.path().join("away");
    fs::rename(store.path(), &away).unwrap();
    fill_disk(&store);
    store.commit(&many(100..200)).unwrap_err();

    let error = store.last_seq().unwrap_err().to_string();
    assert!(error.contains("documents.redb could not be opened"), "{error}");
    assert!(!store.path().exists(), "a lost file is not made anew");

    fs::rename(&away, store.path()).unwrap();
    assert!(store.last_seq().is_err(), "it waits before it tries again");
    drop_database(&store);
    assert_eq!(store.last_seq().unwrap(), 99);
}

#[test]
fn damage_found_by_a_read_is_an_error_and_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    store.commit(&many(1..2_000)).unwrap();
    let path = store.path().to_owned();
    drop(store);

    // All pages but the first, in which the header is, one at a time.
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for page in (1..whole.len() / 4096).step_by(7) {
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        match RedbStore::open(folder.path()) {
            Ok(store) => {
                let read = store.for_each_heads(&mut |_, _| {});
                let listed = store.list("things", None, 10_000);
                let changes = store.changes_since(0, 10_000);
                refused += usize::from(read.is_err() || listed.is_err() || changes.is_err());
            }
            Err(OpenError::Damaged { .. }) => {
                refused += 1;
                assert!(fs::read(&path).unwrap() == bytes, "page {page}: the file was changed");
            }
            Err(other) => panic!("page {page}: {other}"),
        }
    }
    assert!(refused > 0);
}

/// Prints what a commit and a scan cost: `cargo test --release … -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_the_store_costs() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    let timed = |what: &str, per: u32, work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        let all = start.elapsed();
        eprintln!("{what}: {all:?}, {:?} each", all / per);
    };
    let single: Vec<_> = (1..1_001).map(|seq| put(&format!("one/{seq:06}"), seq)).collect();
    timed("1,000 commits of one document", 1_000, &mut || {
        for write in &single {
            store.commit(std::slice::from_ref(write)).unwrap();
        }
    });
    let bulk = many(1_001..101_001);
    timed("100,000 documents in commits of 1,000", 100_000, &mut || {
        for writes in bulk.chunks(1_000) {
            store.commit(writes).unwrap();
        }
    });
    timed("for_each_heads", 101_000, &mut || {
        store.for_each_heads(&mut |_, _| {}).unwrap();
    });
    timed("10,000 documents read", 10_000, &mut || {
        for write in &bulk[..10_000] {
            store.document(&write.doc).unwrap().unwrap();
        }
    });
    let size = fs::metadata(store.path()).unwrap().len();
    eprintln!("file: {size} bytes, {} each", size / 101_000);
    let crashed = killed(&store);
    timed("close", 1, &mut || drop_database(&store));
    timed("clean open", 1, &mut || {
        store.last_seq().unwrap();
    });
    let mut reopened = None;
    timed("open after a crash", 1, &mut || {
        reopened = Some(RedbStore::open(crashed.path()).unwrap());
    });
}

#[test]
#[should_panic(expected = "the visitor's own")]
fn a_panic_of_a_visitor_is_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    store.commit(&many(1..3)).unwrap();
    let _ = store.for_each_heads(&mut |_, _| panic!("the visitor's own"));
}
