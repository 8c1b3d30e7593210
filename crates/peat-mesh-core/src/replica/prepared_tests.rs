//! A prepared document ends up as a merged one does.

use serde_json::{Value, json};

use super::*;
use crate::id::{ConnId, NodeName};
use crate::store::MemoryStore;

const NOW_MS: u64 = 1_000;

fn doc(text: &str) -> DocId {
    text.parse().unwrap()
}

/// A document as a peer ships it.
fn shipped(edits: &[Option<Value>]) -> Bytes {
    let mut document = Document::new(&ActorId::from([7; 16]));
    for edit in edits {
        match edit {
            Some(value) => _ = document.put(value.as_object().unwrap(), 0).unwrap(),
            None => _ = document.delete(0),
        }
    }
    document.save()
}

fn job(address: &str, work: Work) -> Job {
    let source = Source::Peer {
        conn: ConnId(1),
        name: NodeName::new("peer").unwrap(),
        audience: [].into(),
        repair: true,
    };
    Job { doc: doc(address), work, source }
}

fn adopt(chunks: &Bytes) -> Work {
    Work::Adopt { chunks: chunks.clone(), prepared: prepare(chunks).unwrap() }
}

/// What is written of a document, by way of both kinds of work.
fn both(before: Option<Value>, chunks: &Bytes) -> [(Written, MemoryStore); 2] {
    [Work::Merge(chunks.clone()), adopt(chunks)].map(|work| {
        let store = MemoryStore::default();
        let mut replica = Replica::new(&store, [1; 16]).unwrap();
        if let Some(before) = &before {
            let work = Work::Put(before.as_object().unwrap().clone());
            replica.run(&store, vec![Job { doc: doc("c/x"), work, source: Source::Client }], NOW_MS);
        }
        let outcome = replica.run(&store, vec![job("c/x", work)], NOW_MS).remove(0);
        (outcome.result.unwrap(), store)
    })
}

fn assert_same([(merged, one), (adopted, other)]: [(Written, MemoryStore); 2]) {
    let doc = doc("c/x");
    assert_eq!(merged, adopted);
    assert_eq!(one.record(&doc).unwrap(), other.record(&doc).unwrap());
    assert_eq!(one.document(&doc).unwrap(), other.document(&doc).unwrap());
    assert_eq!(one.chunks(&doc).unwrap(), other.chunks(&doc).unwrap());
}

#[test]
fn a_new_document_is_the_same_prepared_or_not() {
    let chunks = shipped(&[Some(json!({"n": 1, "deep": {"list": [1, "two"]}})), Some(json!({"n": 2}))]);
    assert_same(both(None, &chunks));
}

#[test]
fn a_deleted_document_is_the_same_prepared_or_not() {
    let chunks = shipped(&[Some(json!({"n": 1})), None]);
    let [merged, adopted] = both(None, &chunks);
    assert_eq!((adopted.0.action, adopted.0.created), (Action::Delete, false));
    assert_same([merged, adopted]);
}

#[test]
fn a_document_that_came_to_be_in_the_meantime_is_merged() {
    let chunks = shipped(&[Some(json!({"theirs": 1}))]);
    let store = MemoryStore::default();
    let mut replica = Replica::new(&store, [1; 16]).unwrap();
    let mine = json!({"mine": 1}).as_object().unwrap().clone();
    let put = Job { doc: doc("c/x"), work: Work::Put(mine), source: Source::Client };
    let outcomes = replica.run(&store, vec![put, job("c/x", adopt(&chunks))], NOW_MS);
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    let both: Value = serde_json::from_str(&store.document(&doc("c/x")).unwrap().unwrap().json).unwrap();
    assert_eq!(both, json!({"mine": 1, "theirs": 1}));
}

#[test]
fn a_document_that_comes_twice_is_written_once() {
    let chunks = shipped(&[Some(json!({"n": 1}))]);
    let store = MemoryStore::default();
    let mut replica = Replica::new(&store, [1; 16]).unwrap();
    let jobs = vec![job("c/x", adopt(&chunks)), job("c/x", adopt(&chunks))];
    let outcomes = replica.run(&store, jobs, NOW_MS);
    let seqs: Vec<Option<u64>> =
        outcomes.iter().map(|outcome| outcome.result.as_ref().unwrap().seq).collect();
    assert_eq!(seqs, [Some(1), None]);
    let again = replica.run(&store, vec![job("c/x", adopt(&chunks))], NOW_MS).remove(0);
    assert_eq!(again.result.unwrap().seq, None);
}

#[test]
fn what_is_no_whole_document_is_not_prepared() {
    assert!(prepare(&Bytes::from_static(b"no chunk at all")).is_none());
    assert!(prepare(&Bytes::new()).is_none());
    let mut document = Document::new(&ActorId::from([7; 16]));
    document.put(json!({"n": 1}).as_object().unwrap(), 0).unwrap();
    let change = document.put(json!({"n": 2}).as_object().unwrap(), 0).unwrap().unwrap();
    assert!(prepare(&change).is_none(), "what it builds on is not there");
}
