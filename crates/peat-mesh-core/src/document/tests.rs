//! Behaviour of the document, seen from outside: JSON and bytes in, JSON and bytes out.

mod editing;
mod exchange;
mod fresh;
mod laws;
mod merging;

use serde_json::{Map, Value};

use super::*;

/// An actor that sorts by its number.
fn actor(number: u8) -> ActorId {
    ActorId::from([number; 16])
}

fn object(json: &str) -> Map<String, Value> {
    parse_object(json.as_bytes()).unwrap()
}

/// A replica with its actor.
fn new(number: u8) -> Document {
    Document::new(&actor(number))
}

/// A replica that was made by one put.
fn with(number: u8, json: &str) -> Document {
    let mut doc = new(number);
    doc.put(&object(json), 1_000).unwrap();
    doc
}

/// Another replica with the same changes.
fn copy(doc: &Document, number: u8) -> Document {
    Document::load([&*doc.save()], &actor(number)).unwrap()
}

fn put(doc: &mut Document, json: &str) -> Option<Bytes> {
    doc.put(&object(json), 2_000).unwrap()
}

fn all(doc: &Document) -> Vec<u8> {
    doc.changes_since(&[], usize::MAX).concat()
}

/// Both replicas hear of everything that the other knows, and must agree then.
fn meet(one: &mut Document, other: &mut Document) {
    let (from_one, from_other) = (all(one), all(other));
    assert!(!one.merge(&from_other).unwrap().missing);
    assert!(!other.merge(&from_one).unwrap().missing);
    check_same(one, other);
}

fn check_same(one: &Document, other: &Document) {
    assert_eq!(one.heads(), other.heads());
    assert_eq!(one.to_json().unwrap(), other.to_json().unwrap());
    assert_eq!(one.is_deleted(), other.is_deleted());
}

/// The document reads as this, and also after a round trip through its saved form.
#[track_caller]
fn check_reads(doc: &Document, json: &str) {
    let want: Value = serde_json::from_str(json).unwrap();
    let read: Value = serde_json::from_str(&doc.to_json().unwrap()).unwrap();
    assert_eq!(read, want);
    let loaded = copy(doc, 99);
    assert_eq!(loaded.to_json().unwrap(), doc.to_json().unwrap());
    assert_eq!(loaded.heads(), doc.heads());
}

/// How many operations a change has.
fn operations(change: &[u8]) -> usize {
    automerge::Change::try_from(change).unwrap().len()
}
