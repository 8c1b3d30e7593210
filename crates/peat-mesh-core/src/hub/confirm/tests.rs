use bytes::{Bytes, BytesMut};
use serde_json::json;

use super::*;
use crate::answer::answer;
use crate::catalog::Catalog;
use crate::document::{ActorId, Document};
use crate::heads::ChangeHash;
use crate::id::{EndpointId, NodeName};
use crate::io::Input;
use crate::replica::{Job, Replica, Source, Work};
use crate::scope::{LinkScopes, Scope};
use crate::store::{MemoryStore, Store};
use crate::wire::{Changes, Decoder, Hello};

const CONN: ConnId = ConnId(1);

/// A node with a peer that asks it.
struct Asked {
    hub: Hub,
    store: MemoryStore,
    replica: Replica,
}

impl Asked {
    fn new(scopes: &str) -> Self {
        let store = MemoryStore::default();
        let replica = Replica::new(&store, [1; 16]).unwrap();
        Self::with(scopes, store, replica)
    }

    fn with(scopes: &str, store: MemoryStore, replica: Replica) -> Self {
        let mut hub = Hub::new(EndpointId([5; 32]), Catalog::load(&store).unwrap(), 7);
        hub.set_link_scopes(LinkScopes::parse(scopes).unwrap());
        let hello = Hello { name: NodeName::new("b/0").unwrap(), incarnation: 1 };
        let peer = EndpointId([9; 32]);
        hub.handle(0, Input::Admitted { conn: CONN, peer, hello, dialed: true, address: None });
        Self { hub, store, replica }
    }

    fn run(&mut self, doc: &str, work: Work, source: Source) -> Vec<Effect> {
        let job = Job { doc: doc.parse().unwrap(), work, source };
        let outcomes = self.replica.run(&self.store, vec![job], 0);
        assert!(outcomes[0].result.is_ok(), "{outcomes:?}");
        self.hub.handle(1, Input::Committed(outcomes))
    }

    fn put(&mut self, doc: &str, n: u64) -> Vec<Effect> {
        self.run(doc, Work::Put(json!({ "n": n }).as_object().unwrap().clone()), Source::Client)
    }

    fn heads(&self, doc: &str) -> Heads {
        self.store.record(&doc.parse().unwrap()).unwrap().unwrap().heads
    }

    fn asks(&mut self, id: u64, doc: &str, heads: &Heads) -> Vec<Effect> {
        let frame = Frame::Confirm { id, doc: doc.parse().unwrap(), heads: heads.clone() };
        self.hub.handle(1, Input::Received { conn: CONN, frame })
    }

    /// Does the reads that are ordered, and what follows from them.
    fn read(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut all = Vec::new();
        for effect in effects {
            if let Effect::Answer { conn, requests } = effect {
                let answer = answer(&self.store, requests);
                all.extend(self.hub.handle(2, Input::Answered { conn, answer }));
            } else {
                all.push(effect);
            }
        }
        all
    }
}

fn confirmed(effects: &[Effect]) -> Vec<u64> {
    let id = |effect: &Effect| match effect {
        Effect::Send { frame, .. } => {
            match Decoder::default().take(&mut BytesMut::from(&frame[..])).unwrap().unwrap() {
                Frame::Confirmed { id } => Some(id),
                _ => None,
            }
        }
        _ => None,
    };
    effects.iter().filter_map(id).collect()
}

fn reads(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Answer { .. })).count()
}

/// A document of another node: its changes one by one, and its heads after each.
fn elsewhere(count: u64) -> Vec<(Bytes, Heads)> {
    let mut document = Document::new(&ActorId::from([9; 16]));
    let edit = |n: u64| {
        let chunks = document.put(json!({ "theirs": n }).as_object().unwrap(), 0).unwrap().unwrap();
        (chunks, document.heads())
    };
    (0..count).map(edit).collect()
}

fn from_peer() -> Source {
    Source::Peer { conn: CONN, name: NodeName::new("b/0").unwrap(), audience: [].into(), repair: false }
}

#[test]
fn heads_that_are_on_disk_are_confirmed_at_once_and_without_reading() {
    let mut node = Asked::new("");
    node.put("c/x", 1);
    let effects = node.asks(7, "c/x", &node.heads("c/x"));
    assert_eq!((confirmed(&effects), reads(&effects)), (vec![7], 0));
}

#[test]
fn a_change_that_came_right_before_the_question_is_confirmed_after_its_commit_and_not_read() {
    let mut node = Asked::new("");
    let theirs = elsewhere(2);
    node.run("c/x", Work::Merge(theirs[0].0.clone()), from_peer());
    let documents = vec![("c/x".parse().unwrap(), theirs[1].0.clone())];
    let frame = Frame::Changes(Changes { repair: false, audience: vec![], documents });
    node.hub.handle(1, Input::Received { conn: CONN, frame });
    let effects = node.asks(7, "c/x", &theirs[1].1);
    assert_eq!((confirmed(&effects), reads(&effects)), (vec![], 0), "it is on its way to the disk");
    let effects = node.run("c/x", Work::Merge(theirs[1].0.clone()), from_peer());
    assert_eq!((confirmed(&effects), reads(&effects)), (vec![7], 0));
}

#[test]
fn heads_that_a_concurrent_edit_has_joined_or_covered_are_confirmed() {
    let mut node = Asked::new("");
    let theirs = elsewhere(1).remove(0);
    node.put("c/x", 1);
    // Beside the own head.
    let effects = node.asks(7, "c/x", &theirs.1);
    let effects = node.read(effects);
    assert!(confirmed(&effects).is_empty());
    let effects = node.run("c/x", Work::Merge(theirs.0), from_peer());
    assert_eq!(confirmed(&effects), [7]);
    // In the past of it.
    node.put("c/x", 2);
    assert_eq!(node.heads("c/x").as_slice().len(), 1);
    let effects = node.asks(8, "c/x", &theirs.1);
    assert_eq!((confirmed(&effects), reads(&effects)), (vec![], 1), "the catalog cannot tell");
    assert_eq!(confirmed(&node.read(effects)), [8]);
}

#[test]
fn a_document_that_changes_while_it_is_read_is_read_again() {
    let mut node = Asked::new("");
    let theirs = elsewhere(1).remove(0);
    node.put("c/x", 1);
    let asked = node.asks(7, "c/x", &theirs.1);
    let Some(Effect::Answer { conn, requests }) =
        asked.into_iter().find(|it| matches!(it, Effect::Answer { .. }))
    else {
        panic!("it is to be read")
    };
    let before = answer(&node.store, requests);
    // One batch brings the change and covers it.
    let put = Work::Put(json!({ "n": 2 }).as_object().unwrap().clone());
    let job = |work, source| Job { doc: "c/x".parse().unwrap(), work, source };
    let jobs = vec![job(Work::Merge(theirs.0), from_peer()), job(put, Source::Client)];
    let outcomes = node.replica.run(&node.store, jobs, 0);
    let effects = node.hub.handle(1, Input::Committed(outcomes));
    assert_eq!((confirmed(&effects), reads(&effects)), (vec![], 0), "one read at a time");
    let effects = node.hub.handle(2, Input::Answered { conn, answer: before });
    assert_eq!((confirmed(&effects), reads(&effects)), (vec![], 1));
    assert_eq!(confirmed(&node.read(effects)), [7]);
}

#[test]
fn a_commit_of_another_document_reads_nothing() {
    let mut node = Asked::new("");
    node.put("c/x", 1);
    let effects = node.asks(7, "c/x", &elsewhere(1).remove(0).1);
    node.read(effects);
    assert_eq!(reads(&node.put("c/y", 1)), 0);
    assert_eq!(reads(&node.put("c/x", 2)), 1);
}

#[test]
fn of_more_questions_than_a_link_may_have_the_oldest_are_dropped() {
    let mut node = Asked::new("");
    for id in 0..=limits::CONFIRMS_PER_LINK_MAX as u64 {
        node.asks(id, &format!("c/{id}"), &Heads::new(vec![ChangeHash([1; 32])]));
    }
    let questions = &node.hub.links[&CONN].questions;
    assert_eq!((questions.waiting.len(), questions.waiting[0].id), (limits::CONFIRMS_PER_LINK_MAX, 1));
    // Few questions about many heads are bounded, too.
    let many = |n: usize| Heads::new((0..n).map(|at| ChangeHash([at as u8; 32])).collect());
    for id in 0..32 {
        node.asks(id, "c/many", &many(limits::HEADS_COUNT_MAX));
    }
    let questions = &node.hub.links[&CONN].questions;
    assert_eq!(questions.heads_count, limits::CONFIRM_HEADS_PER_LINK_MAX);
    assert_eq!(questions.waiting.len(), limits::CONFIRM_HEADS_PER_LINK_MAX / limits::HEADS_COUNT_MAX);
}

#[test]
fn what_may_not_come_in_over_a_link_is_not_told_over_it() {
    let mut node = Asked::new("b/*: receive=orders");
    node.hub.handle(1, Input::Received { conn: CONN, frame: Frame::Scope(Scope::ALL) });
    node.put("secrets/x", 1);
    node.put("orders/x", 1);
    assert!(confirmed(&node.asks(1, "secrets/x", &node.heads("secrets/x"))).is_empty());
    assert_eq!(confirmed(&node.asks(2, "orders/x", &node.heads("orders/x"))), [2]);
    assert_eq!(node.hub.links[&CONN].questions.waiting.len(), 0);
}

#[test]
fn a_node_that_restarted_confirms_what_its_disk_has() {
    let mut node = Asked::new("");
    node.put("c/x", 1);
    let heads = node.heads("c/x");
    node.put("c/x", 2);
    let replica = Replica::new(&node.store, [2; 16]).unwrap();
    let mut node = Asked::with("", node.store, replica);
    let effects = node.asks(7, "c/x", &heads);
    assert_eq!(confirmed(&node.read(effects)), [7]);
}
