//! What is read of one document after what was committed of it.

use super::super::{ChunkWrite, DocWrite, Record, Store, StoreError};
use super::Check;
use super::writes::{Reading, append, delete, doc, heads, json, put};
use crate::heads::Heads;

pub(super) const CHECKS: &[Check] = &[
    an_empty_store_has_nothing,
    a_committed_document_is_read_back,
    chunks_load_in_order,
    the_first_append_is_the_snapshot,
    a_snapshot_replaces_all_chunks,
    chunks_of_documents_stay_apart,
    writes_of_one_document_apply_in_order,
    a_deleted_document_leaves_a_record,
    a_deleted_document_comes_back,
    a_tombstone_of_an_unknown_document,
    many_heads_and_large_content,
    a_number_is_given_out_once,
    an_empty_commit_changes_nothing,
    heads_of_all_documents_are_visited,
];

fn an_empty_store_has_nothing(store: &dyn Store) {
    assert_eq!(store.get("a/1"), None);
    assert_eq!(store.known("a/1"), None);
    assert!(store.loaded("a/1").is_empty());
    assert!(store.counts().is_empty());
    assert!(store.changes(0, 10).is_empty());
    assert!(store.all_heads().is_empty());
    assert_eq!(store.newest(), 0);
}

fn a_committed_document_is_read_back(store: &dyn Store) {
    store.write(&[put("a/1", 7)]);
    let read = store.get("a/1").expect("the document is there");
    assert_eq!(read.doc, doc("a/1"));
    assert_eq!(read.json, json(7));
    assert_eq!(read.version, heads(7).version());
    assert_eq!(
        store.known("a/1"),
        Some(Record {
            seq: 7,
            heads: heads(7),
            deleted: false,
            changed_ms: 1_007,
            snapshot_bytes: "snapshot 7".len() as u64,
            increments_bytes: 0,
            increments_count: 0,
        })
    );
    assert_eq!(store.loaded("a/1"), ["snapshot 7"]);
    assert_eq!(store.get("a/2"), None);
    assert_eq!(store.newest(), 7);
}

fn chunks_load_in_order(store: &dyn Store) {
    store.write(&[put("a/1", 1)]);
    for seq in 2..=300 {
        store.write(&[append("a/1", seq, &format!("{seq:03}"))]);
    }
    let mut expected = vec!["snapshot 1".to_owned()];
    expected.extend((2..=300).map(|seq| format!("{seq:03}")));
    assert_eq!(store.loaded("a/1"), expected);
    let record = store.known("a/1").expect("the document is there");
    assert_eq!(record.snapshot_bytes, 10);
    assert_eq!(record.increments_count, 299);
    assert_eq!(record.increments_bytes, 299 * 3);
    assert_eq!(record.heads, heads(300));
}

fn the_first_append_is_the_snapshot(store: &dyn Store) {
    store.write(&[append("a/1", 1, "first"), append("a/1", 2, "next")]);
    assert_eq!(store.loaded("a/1"), ["first", "next"]);
    let record = store.known("a/1").expect("the document is there");
    assert_eq!(record.snapshot_bytes, 5);
    assert_eq!(record.increments_bytes, 4);
    assert_eq!(record.increments_count, 1);
}

fn a_snapshot_replaces_all_chunks(store: &dyn Store) {
    store.write(&[put("a/1", 1), append("a/1", 2, "two"), append("a/1", 3, "three")]);
    store.write(&[put("a/1", 4)]);
    assert_eq!(store.loaded("a/1"), ["snapshot 4"]);
    let record = store.known("a/1").expect("the document is there");
    assert_eq!((record.increments_bytes, record.increments_count), (0, 0));
    store.write(&[append("a/1", 5, "five")]);
    assert_eq!(store.loaded("a/1"), ["snapshot 4", "five"]);
}

fn chunks_of_documents_stay_apart(store: &dyn Store) {
    store.write(&[put("a/1", 1), put("a/10", 2), put("a/1.", 3), put("b/1", 4)]);
    store.write(&[append("a/10", 5, "x"), append("a/1", 6, "y"), put("a/1.", 7)]);
    assert_eq!(store.loaded("a/1"), ["snapshot 1", "y"]);
    assert_eq!(store.loaded("a/10"), ["snapshot 2", "x"]);
    assert_eq!(store.loaded("a/1."), ["snapshot 7"]);
    assert_eq!(store.loaded("b/1"), ["snapshot 4"]);
}

fn writes_of_one_document_apply_in_order(store: &dyn Store) {
    store.write(&[
        append("a/1", 1, "one"),
        put("a/2", 2),
        append("a/1", 3, "three"),
        delete("a/2", 4),
        put("a/1", 5),
        append("a/1", 6, "six"),
        put("a/2", 7),
    ]);
    assert_eq!(store.loaded("a/1"), ["snapshot 5", "six"]);
    assert_eq!(store.get("a/1").expect("it is there").json, json(6));
    assert_eq!(store.get("a/2").expect("it is there").json, json(7));
    assert_eq!(store.counts(), [("a".to_owned(), 2)]);
    let seqs: Vec<u64> = store.changes(0, 10).iter().map(|change| change.seq).collect();
    assert_eq!(seqs, [6, 7], "the change index has only the newest of a document");
}

fn a_deleted_document_leaves_a_record(store: &dyn Store) {
    store.write(&[put("a/1", 1), put("a/2", 2)]);
    store.write(&[delete("a/1", 3)]);
    assert_eq!(store.get("a/1"), None);
    let record = store.known("a/1").expect("the record stays");
    assert!(record.deleted);
    assert_eq!((record.seq, record.heads), (3, heads(3)));
    assert_eq!(store.loaded("a/1"), ["snapshot 1", "tombstone 3"]);
    let page = store.page("a", None, 10);
    assert_eq!(page.count, 1);
    assert_eq!(page.documents.len(), 1);
    assert_eq!(store.counts(), [("a".to_owned(), 1)]);

    store.write(&[delete("a/1", 4), delete("a/2", 5)]);
    assert!(store.counts().is_empty(), "an empty collection is not listed");
    assert_eq!(store.page("a", None, 10).count, 0);
}

fn a_deleted_document_comes_back(store: &dyn Store) {
    store.write(&[put("a/1", 1)]);
    store.write(&[delete("a/1", 2)]);
    store.write(&[append("a/1", 3, "again")]);
    assert_eq!(store.get("a/1").expect("it is back").json, json(3));
    assert!(!store.known("a/1").expect("it is back").deleted);
    assert_eq!(store.loaded("a/1"), ["snapshot 1", "tombstone 2", "again"]);
    assert_eq!(store.counts(), [("a".to_owned(), 1)]);
    assert_eq!(store.changes(0, 10).len(), 1);
}

fn a_tombstone_of_an_unknown_document(store: &dyn Store) {
    store.write(&[delete("a/1", 1)]);
    assert_eq!(store.get("a/1"), None);
    assert!(store.known("a/1").expect("it is known").deleted);
    assert!(store.counts().is_empty());
    assert_eq!(store.all_heads(), [(doc("a/1"), heads(1))]);
}

fn many_heads_and_large_content(store: &dyn Store) {
    let many: Vec<_> = (0..500).flat_map(|seq| heads(seq).as_slice().to_vec()).collect();
    let many = Heads::new(many);
    let large = "x".repeat(3_000_000);
    store.write(&[DocWrite {
        heads: many.clone(),
        json: Some(large.clone()),
        chunk: ChunkWrite::Replace(large.clone().into()),
        ..put("a/1", 1)
    }]);
    let read = store.get("a/1").expect("the document is there");
    assert_eq!(read.json.len(), large.len());
    assert_eq!(read.version, many.version());
    assert_eq!(store.known("a/1").expect("it is known").heads, many);
    assert_eq!(store.loaded("a/1"), [large]);

    store.write(&[DocWrite { heads: Heads::none(), ..put("a/2", 2) }]);
    assert_eq!(store.known("a/2").expect("it is known").heads, Heads::none());
}

fn a_number_is_given_out_once(store: &dyn Store) {
    store.write(&[put("a/1", 5)]);
    for late in [0, 4, 5] {
        let error = store.refuse(&[put("a/2", late)]);
        assert!(
            matches!(&error, StoreError::OutOfOrder { doc, seq, last_seq: 5 }
                if *doc == self::doc("a/2") && *seq == late),
            "{error:?}"
        );
    }
    // The first writes of these are good, and are not kept either.
    store.refuse(&[put("a/2", 6), put("b/1", 7), put("a/3", 7)]);
    store.refuse(&[put("a/1", 6), delete("a/1", 8), put("a/3", 3)]);
    assert_eq!(store.newest(), 5);
    assert_eq!(store.known("a/2"), None);
    assert_eq!(store.loaded("a/1"), ["snapshot 5"]);
    assert_eq!(store.counts(), [("a".to_owned(), 1)]);
    assert_eq!(store.changes(0, 10).len(), 1);
    store.write(&[put("a/2", 6)]);
    assert_eq!(store.newest(), 6);
}

fn an_empty_commit_changes_nothing(store: &dyn Store) {
    store.write(&[put("a/1", 1)]);
    store.write(&[]);
    assert_eq!(store.newest(), 1);
    assert_eq!(store.changes(0, 10).len(), 1);
}

fn heads_of_all_documents_are_visited(store: &dyn Store) {
    store.write(&[put("b/1", 1), put("a/1", 2), put("a/2", 3)]);
    store.write(&[delete("a/1", 4), put("b/1", 5)]);
    assert_eq!(store.all_heads(), [(doc("a/1"), heads(4)), (doc("a/2"), heads(3)), (doc("b/1"), heads(5))]);
}
