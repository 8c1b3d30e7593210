//! The change index: one entry per document, its newest, in the order of commits.

use super::super::{Action, Change, DocWrite, Origin, Store};
use super::Check;
use super::writes::{Reading, delete, doc, heads, put};
use crate::id::NodeName;

pub(super) const CHECKS: &[Check] = &[
    a_change_says_what_happened,
    a_reader_resumes_where_it_stopped,
    a_document_has_one_change,
    the_newest_number_survives_a_rewrite,
    numbers_may_have_gaps_and_be_large,
];

fn seqs(changes: &[Change]) -> Vec<u64> {
    changes.iter().map(|change| change.seq).collect()
}

fn a_change_says_what_happened(store: &dyn Store) {
    let peer = Origin::Peer(NodeName::new("alpha/node-1").expect("a good name"));
    store.write(&[
        put("a/1", 1),
        DocWrite { origin: peer.clone(), ..put("b/2", 2) },
        DocWrite { origin: peer.clone(), ..delete("a/3", 3) },
    ]);
    let change = |seq, text: &str, action, origin: &Origin| Change {
        seq,
        doc: doc(text),
        action,
        origin: origin.clone(),
        version: heads(seq).version(),
    };
    assert_eq!(
        store.changes(0, 10),
        [
            change(1, "a/1", Action::Put, &Origin::Local),
            change(2, "b/2", Action::Put, &peer),
            change(3, "a/3", Action::Delete, &peer),
        ]
    );
}

fn a_reader_resumes_where_it_stopped(store: &dyn Store) {
    let writes: Vec<DocWrite> = (1..=10).map(|seq| put(&format!("a/{seq}"), seq)).collect();
    store.write(&writes);
    assert_eq!(seqs(&store.changes(0, 4)), [1, 2, 3, 4]);
    assert_eq!(seqs(&store.changes(4, 4)), [5, 6, 7, 8]);
    assert_eq!(seqs(&store.changes(8, 4)), [9, 10]);
    assert!(store.changes(10, 4).is_empty());
    assert!(store.changes(u64::MAX, 4).is_empty());
    assert!(store.changes(0, 0).is_empty());
    store.write(&[put("a/3", 11)]);
    assert_eq!(seqs(&store.changes(10, 4)), [11]);
    assert_eq!(seqs(&store.changes(1, 2)), [2, 4], "the older change of a/3 is gone");
    assert_eq!(store.changes(0, usize::MAX).len(), 10);
}

fn a_document_has_one_change(store: &dyn Store) {
    for seq in 1..=20 {
        store.write(&[put("a/1", seq)]);
        assert_eq!(seqs(&store.changes(0, 100)), [seq]);
    }
    store.write(&[delete("a/1", 21)]);
    let changes = store.changes(0, 100);
    assert_eq!(seqs(&changes), [21]);
    assert_eq!(changes[0].action, Action::Delete);
}

fn the_newest_number_survives_a_rewrite(store: &dyn Store) {
    store.write(&[put("a/1", 1), put("a/2", 2)]);
    store.write(&[put("a/2", 3)]);
    assert_eq!(store.newest(), 3);
    store.write(&[delete("a/2", 4)]);
    assert_eq!(store.newest(), 4);
    store.write(&[put("a/2", 5), put("a/1", 6)]);
    assert_eq!(store.newest(), 6);
}

fn numbers_may_have_gaps_and_be_large(store: &dyn Store) {
    store.write(&[put("a/1", 255), put("a/2", 256), put("a/3", 65_536)]);
    store.write(&[put("a/4", u64::from(u32::MAX) + 1), put("a/5", u64::MAX - 1)]);
    assert_eq!(seqs(&store.changes(0, 10)), [255, 256, 65_536, 1 << 32, u64::MAX - 1]);
    assert_eq!(store.newest(), u64::MAX - 1);
}
