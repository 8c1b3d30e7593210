use super::super::conformance;
use super::super::conformance::writes::{delete, doc, put};
use super::*;

#[test]
fn the_memory_store_keeps_the_contract() {
    conformance::check(&mut || Box::new(MemoryStore::new()));
}

#[test]
fn a_failed_commit_writes_nothing_and_the_next_one_succeeds() {
    let store = MemoryStore::new();
    store.fail_next_commit("no space left on device");
    let error = store.commit(&[put("a/1", 1)]).unwrap_err().to_string();
    assert_eq!(error, "the store could not commit 1 documents: no space left on device");
    assert_eq!(store.last_seq().unwrap(), 0);
    assert_eq!(store.record(&doc("a/1")).unwrap(), None);
    store.commit(&[put("a/1", 1)]).unwrap();
}

#[test]
fn a_clone_is_the_same_store() {
    let store = MemoryStore::new();
    let disk = store.clone();
    store.commit(&[put("a/1", 1)]).unwrap();
    drop(store);
    assert!(disk.document(&doc("a/1")).unwrap().is_some());
}

#[test]
fn a_snapshot_keeps_what_was_there_while_the_store_goes_on() {
    let store = MemoryStore::new();
    store.commit(&[put("a/1", 1), put("a/2", 2)]).unwrap();
    let backup = store.snapshot();
    store.commit(&[delete("a/1", 3), put("a/3", 4)]).unwrap();

    assert_eq!(backup.last_seq().unwrap(), 2);
    assert_eq!(backup.list("a", None, 10).unwrap().count, 2);
    assert!(backup.document(&doc("a/1")).unwrap().is_some());
    assert_eq!(backup.chunks(&doc("a/1")).unwrap().len(), 1);

    backup.commit(&[put("a/9", 3)]).unwrap();
    assert!(store.document(&doc("a/9")).unwrap().is_none());
}

#[test]
fn a_visitor_of_heads_may_use_the_store() {
    let store = MemoryStore::new();
    store.commit(&[put("a/1", 1)]).unwrap();
    let mut seen = 0;
    store
        .for_each_heads(&mut |doc, _| {
            assert!(store.record(&doc).unwrap().is_some());
            seen += 1;
        })
        .unwrap();
    assert_eq!(seen, 1);
}
