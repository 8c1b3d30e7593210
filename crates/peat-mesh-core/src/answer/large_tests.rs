//! Documents larger than an answer, and changes larger than a frame.

use serde_json::json;

use super::*;
use crate::replica::{Job, Replica, Source, Work};
use crate::store::MemoryStore;

fn text(number: u64, bytes: usize) -> String {
    let mut state = number;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:08x}", state >> 32)
    };
    (0..bytes / 8).map(|_| word()).collect()
}

/// A document with so many changes of so many bytes each.
fn store_with(doc: &DocId, changes: u64, bytes: usize) -> MemoryStore {
    let store = MemoryStore::default();
    let mut replica = Replica::new(&store, [9; 16]).unwrap();
    for number in 0..changes {
        let value = json!({ "n": number, "text": text(number, bytes) });
        let work = Work::Put(value.as_object().unwrap().clone());
        let job = Job { doc: doc.clone(), work, source: Source::Client };
        assert!(replica.run(&store, vec![job], 0)[0].result.is_ok());
    }
    store
}

fn merge(store: &MemoryStore, doc: &DocId, chunks: Bytes) {
    let mut replica = Replica::new(store, [8; 16]).unwrap();
    let job = Job { doc: doc.clone(), work: Work::Merge(chunks), source: Source::Client };
    let outcome = &replica.run(store, vec![job], 0)[0];
    let written = outcome.result.as_ref().unwrap();
    assert!(!written.missing && written.seq.is_some(), "each piece is new and builds on those before it");
}

#[test]
fn a_document_of_many_megabytes_is_read_piece_by_piece_and_each_piece_can_be_taken() {
    let doc: DocId = "c/large".parse().unwrap();
    let (from, to) = (store_with(&doc, 60, 200_000), MemoryStore::default());
    let (mut requests, mut answers) = (vec![Request::Whole(doc.clone())], 0);
    while !requests.is_empty() {
        let part = answer(&from, requests);
        answers += 1;
        assert!(part.failed.is_empty());
        let bytes: usize = part.changes.iter().map(|(_, piece)| piece.len()).sum();
        assert!(bytes <= limits::LARGE_ANSWER_BYTES_TARGET + limits::CHANGES_FRAME_BYTES_TARGET, "{bytes}");
        assert_eq!(part.is_begun, answers > 1);
        part.changes.into_iter().for_each(|(doc, piece)| merge(&to, &doc, piece));
        if answers == 2 {
            // It changes in the meantime.
            let work = Work::Put(json!({ "n": "late" }).as_object().unwrap().clone());
            let job = Job { doc: doc.clone(), work, source: Source::Client };
            Replica::new(&from, [7; 16]).unwrap().run(&from, vec![job], 0);
        }
        requests = part.rest;
    }
    assert!(answers >= 4, "{answers}");
    assert_eq!(to.record(&doc).unwrap().unwrap().heads, from.record(&doc).unwrap().unwrap().heads);
    assert_eq!(to.document(&doc).unwrap().unwrap().json, r#"{"n":"late"}"#);
}

#[test]
fn a_single_change_above_the_frame_limit_is_an_error_that_names_its_size() {
    let doc: DocId = "c/huge".parse().unwrap();
    let store = store_with(&doc, 2, limits::FRAME_BYTES_MAX * 2);
    let answer = answer(&store, vec![Request::Whole(doc.clone())]);
    assert!(answer.changes.is_empty() && answer.rest.is_empty());
    let [(failed, problem @ AnswerError::TooLarge { .. })] = &answer.failed[..] else {
        panic!("{:?}", answer.failed)
    };
    assert_eq!(failed, &doc);
    assert!(problem.to_string().contains("does not fit a frame"), "{problem}");
}
