use serde_json::{Value, json};

use super::*;
use crate::heads::Heads;
use crate::id::{ConnId, NodeName};
use crate::store::MemoryStore;

fn doc(text: &str) -> DocId {
    text.parse().unwrap()
}

fn put(address: &str, value: Value) -> Job {
    Job { doc: doc(address), work: Work::Put(value.as_object().unwrap().clone()), source: Source::Client }
}

fn delete(address: &str) -> Job {
    Job { doc: doc(address), work: Work::Delete, source: Source::Client }
}

fn merge(address: &str, chunks: Bytes) -> Job {
    let source = Source::Peer {
        conn: ConnId(1),
        name: NodeName::new("peer").unwrap(),
        audience: [].into(),
        repair: false,
    };
    Job { doc: doc(address), work: Work::Merge(chunks), source }
}

struct Rig {
    store: MemoryStore,
    replica: Replica,
}

impl Rig {
    fn new(actor: u8) -> Self {
        let store = MemoryStore::default();
        let replica = Replica::new(&store, [actor; 16]).unwrap();
        Self { store, replica }
    }

    fn run(&mut self, jobs: Vec<Job>) -> Vec<Result<Written, WriteError>> {
        self.replica.run(&self.store, jobs, 1_000).into_iter().map(|outcome| outcome.result).collect()
    }

    fn one(&mut self, job: Job) -> Result<Written, WriteError> {
        self.run(vec![job]).remove(0)
    }

    fn json(&self, address: &str) -> Option<Value> {
        let stored = self.store.document(&doc(address)).unwrap()?;
        Some(serde_json::from_str(&stored.json).unwrap())
    }
}

#[test]
fn a_write_says_whether_the_document_is_new_and_what_changed() {
    let mut rig = Rig::new(1);
    let first = rig.one(put("c/x", json!({"n": 1}))).unwrap();
    assert!(first.created && first.seq == Some(1) && !first.new.is_empty());
    let second = rig.one(put("c/x", json!({"n": 2}))).unwrap();
    assert!(!second.created && second.seq == Some(2) && second.heads != first.heads);
    assert_eq!(rig.json("c/x"), Some(json!({"n": 2})));
}

#[test]
fn writing_what_is_there_already_writes_nothing() {
    let mut rig = Rig::new(1);
    let first = rig.one(put("c/x", json!({"n": 1}))).unwrap();
    let again = rig.one(put("c/x", json!({"n": 1}))).unwrap();
    assert_eq!((again.seq, again.heads), (None, first.heads));
    assert_eq!(rig.replica.last_seq(), 1);
}

#[test]
fn jobs_of_one_batch_see_each_other() {
    let mut rig = Rig::new(1);
    let results = rig.run(vec![
        put("c/x", json!({"n": 1})),
        put("c/x", json!({"n": 1, "m": 2})),
        delete("c/x"),
        delete("c/x"),
        put("c/x", json!({"back": true})),
    ]);
    let seqs: Vec<_> = results.iter().map(|result| result.as_ref().ok().and_then(|done| done.seq)).collect();
    assert_eq!(seqs, [Some(1), Some(2), Some(3), None, Some(4)]);
    assert!(matches!(results[3], Err(WriteError::NotFound { .. })));
    assert!(results[4].as_ref().unwrap().created, "it was deleted before");
    assert_eq!(rig.json("c/x"), Some(json!({"back": true})));
}

#[test]
fn a_commit_that_fails_fails_all_its_writes_and_leaves_nothing_in_memory() {
    let mut rig = Rig::new(1);
    rig.one(put("c/x", json!({"n": 1}))).unwrap();
    rig.store.fail_next_commit("the disk is full");
    let results = rig.run(vec![put("c/x", json!({"n": 2})), put("c/y", json!({"n": 2}))]);
    assert!(results.iter().all(|result| matches!(result, Err(WriteError::Store(_)))));
    assert_eq!((rig.json("c/x"), rig.json("c/y")), (Some(json!({"n": 1})), None));
    let next = rig.one(put("c/x", json!({"n": 1, "later": true}))).unwrap();
    assert_eq!(next.seq, Some(2));
    assert_eq!(rig.json("c/x"), Some(json!({"n": 1, "later": true})));
}

#[test]
fn what_a_peer_ships_is_stored_once_and_what_is_known_changes_nothing() {
    let (mut alice, mut bob) = (Rig::new(1), Rig::new(2));
    let made = alice.one(put("c/x", json!({"n": 1}))).unwrap();
    let taken = bob.one(merge("c/x", made.new.clone())).unwrap();
    assert_eq!(taken.heads, made.heads);
    assert!(taken.created && !taken.missing);
    let again = bob.one(merge("c/x", made.new)).unwrap();
    assert_eq!(again.seq, None);
    assert_eq!(bob.json("c/x"), Some(json!({"n": 1})));
}

#[test]
fn a_change_whose_past_is_missing_is_left_out_and_reported() {
    let (mut alice, mut bob) = (Rig::new(1), Rig::new(2));
    alice.one(put("c/x", json!({"n": 1}))).unwrap();
    let second = alice.one(put("c/x", json!({"n": 2}))).unwrap();
    let taken = bob.one(merge("c/x", second.new)).unwrap();
    assert!(taken.missing && taken.seq.is_none());
    assert_eq!(bob.json("c/x"), None);
    assert!(bob.store.record(&doc("c/x")).unwrap().is_none());
}

#[test]
fn garbage_from_a_peer_is_refused_and_harms_nothing() {
    let mut rig = Rig::new(1);
    rig.one(put("c/x", json!({"n": 1}))).unwrap();
    let results = rig.run(vec![
        merge("c/x", Bytes::from_static(b"not a chunk")),
        put("c/x", json!({"n": 2})),
        merge("c/y", Bytes::from_static(&[0x85, 0x6f, 0x4a, 0x83])),
    ]);
    assert!(matches!(results[0], Err(WriteError::Refused { .. })));
    assert!(results[1].is_ok());
    assert!(matches!(results[2], Err(WriteError::Refused { .. })));
    assert_eq!((rig.json("c/x"), rig.json("c/y")), (Some(json!({"n": 2})), None));
}

#[test]
fn increments_are_folded_when_they_outgrow_the_snapshot() {
    let mut rig = Rig::new(1);
    let mut counts = Vec::new();
    for n in 0..200 {
        rig.one(put("c/x", json!({"n": n}))).unwrap();
        counts.push(rig.store.record(&doc("c/x")).unwrap().unwrap().increments_count);
    }
    let folds = counts.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!((2..=12).contains(&folds), "{folds} folds in 200 changes: {counts:?}");
    let mut reopened = Rig { replica: Replica::new(&rig.store, [9; 16]).unwrap(), store: rig.store };
    let after = reopened.one(put("c/x", json!({"n": 199, "m": 1}))).unwrap();
    assert_eq!(after.seq, Some(201));
    assert_eq!(reopened.json("c/x"), Some(json!({"n": 199, "m": 1})));
}

#[test]
fn a_delete_that_did_not_see_an_edit_loses_to_it() {
    let (mut alice, mut bob) = (Rig::new(1), Rig::new(2));
    let made = alice.one(put("c/x", json!({"a": 1}))).unwrap();
    bob.one(merge("c/x", made.new)).unwrap();
    let deleted = alice.one(delete("c/x")).unwrap();
    let edited = bob.one(put("c/x", json!({"a": 1, "b": 2}))).unwrap();
    let on_alice = alice.one(merge("c/x", edited.new)).unwrap();
    let on_bob = bob.one(merge("c/x", deleted.new)).unwrap();
    assert_eq!(on_alice.heads, on_bob.heads);
    assert!(on_alice.created, "it is there again");
    assert_eq!(
        (alice.json("c/x"), bob.json("c/x")),
        (Some(json!({"a": 1, "b": 2})), Some(json!({"a": 1, "b": 2})))
    );
}

#[test]
fn a_repeated_write_in_a_failed_commit_is_not_acknowledged_either() {
    let mut rig = Rig::new(1);
    rig.one(put("c/there", json!({"n": 1}))).unwrap();
    rig.store.fill_before_next_commit();
    let results = rig.run(vec![
        put("c/x", json!({"n": 1})),
        put("c/x", json!({"n": 1})),
        delete("c/there"),
        delete("c/there"),
    ]);
    assert!(results.iter().all(|result| matches!(result, Err(WriteError::Store(_)))), "{results:?}");
    assert_eq!((rig.json("c/x"), rig.json("c/there")), (None, Some(json!({"n": 1}))));
}

/// A disk that writes everything and then says that it failed.
#[derive(Debug)]
struct Liar(MemoryStore);

impl Store for Liar {
    fn record(&self, doc: &DocId) -> Result<Option<crate::store::Record>, StoreError> {
        self.0.record(doc)
    }
    fn document(&self, doc: &DocId) -> Result<Option<crate::store::StoredDocument>, StoreError> {
        self.0.document(doc)
    }
    fn chunks(&self, doc: &DocId) -> Result<Vec<Bytes>, StoreError> {
        self.0.chunks(doc)
    }
    fn list(&self, c: &str, after: Option<&str>, limit: usize) -> Result<crate::store::Page, StoreError> {
        self.0.list(c, after, limit)
    }
    fn collections(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.0.collections()
    }
    fn changes_since(&self, seq: u64, limit: usize) -> Result<Vec<crate::store::Change>, StoreError> {
        self.0.changes_since(seq, limit)
    }
    fn last_seq(&self) -> Result<u64, StoreError> {
        self.0.last_seq()
    }
    fn for_each_heads(&self, visit: &mut dyn FnMut(DocId, Heads)) -> Result<(), StoreError> {
        self.0.for_each_heads(visit)
    }
    fn mark(&self) -> Result<u64, StoreError> {
        self.0.mark()
    }
    fn set_mark(&self, mark: u64) -> Result<(), StoreError> {
        self.0.set_mark(mark)
    }
    fn commit(&self, writes: &[DocWrite]) -> Result<(), StoreError> {
        self.0.commit(writes)?;
        Err(StoreError::Io { operation: "commit".to_owned(), reason: "fsync failed".to_owned() })
    }
}

#[test]
fn a_commit_that_took_effect_although_it_failed_does_not_stop_later_writes() {
    let mut rig = Rig::new(1);
    let liar = Liar(rig.store.clone());
    let failed = rig.replica.run(&liar, vec![put("c/x", json!({"n": 1}))], 0).remove(0);
    assert!(matches!(failed.result, Err(WriteError::Store(_))));
    let next = rig.one(put("c/x", json!({"n": 1, "m": 2}))).unwrap();
    assert_eq!(next.seq, Some(2));
    assert_eq!(rig.json("c/x"), Some(json!({"n": 1, "m": 2})));
}
