//! Crashes and cuts: what was acknowledged is there afterwards, on every node.

use std::thread;

use serde_json::json;

use crate::common::{Load, Pair, check_nothing_is_missing};

/// 1,000 PUTs by 8 clients.
const CLIENTS: usize = 8;
const EACH: usize = 125;

#[test]
fn after_kill_9_of_the_writing_node_every_answered_write_is_on_both() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let load = Load::start(alice.broker(), "first", CLIENTS, EACH);
    load.until_answered(300);
    alice.kill();
    let (mut answered, refused) = load.finish();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(answered.len() < CLIENTS * EACH, "the node was killed too late to show anything");

    let alice = pair.alice.serve();
    check_nothing_is_missing(&alice, &answered);
    let load = Load::start(alice.broker(), "second", CLIENTS, EACH);
    let (more, refused) = load.finish();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(more.len(), CLIENTS * EACH);
    answered.extend(more);
    check_nothing_is_missing(&alice, &answered);
    let all = alice.collection("load");
    bob.until("it has all that alice has", |bob| bob.collection("load") == all);
}

#[test]
fn after_kill_9_of_both_nodes_every_answered_write_is_on_both() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let on_alice = Load::start(alice.broker(), "alice", CLIENTS / 2, EACH);
    let on_bob = Load::start(bob.broker(), "bob", CLIENTS / 2, EACH);
    on_bob.until_answered(100);
    bob.kill();
    on_alice.until_answered(200);
    alice.kill();
    let (mut answered, _) = on_alice.finish();
    let (by_bob, _) = on_bob.finish();

    let (alice, bob) = (pair.alice.serve(), pair.bob.serve());
    check_nothing_is_missing(&alice, &answered);
    check_nothing_is_missing(&bob, &by_bob);
    answered.extend(by_bob);
    for node in [&alice, &bob] {
        node.until("every answered write is there", |node| {
            let there = node.collection("load");
            answered.iter().all(|(id, value)| there.get(id) == Some(value))
        });
    }
    // A write that was not answered may be there or not, but then on both.
    alice.until("both have the same", |alice| alice.collection("load") == bob.collection("load"));
}

#[test]
fn two_nodes_that_edit_the_same_documents_while_cut_apart_agree_afterwards() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    assert_eq!(alice.put("c/both", &json!({"a": 0, "b": 0})).0, 201);
    bob.until_document("c/both", &json!({"a": 0, "b": 0}));

    bob.freeze();
    let seen = alice.lines_count();
    // A request that waits in the stopped process's socket is an edit before it learns anything new.
    let broker = bob.broker();
    let edit = thread::spawn(move || {
        let mut http = crate::common::Http::connect(broker).unwrap();
        let path = "/api/v1/documents/c/both";
        http.request("PUT", path, Some(&json!({"a": 0, "b": 2, "list": ["bob"]}))).unwrap().0
    });
    alice.line_after(seen, |line| {
        line.contains("Peer disconnected peer=bob") && line.contains("no sign of life")
    });
    assert_eq!(alice.put("c/both", &json!({"a": 1, "b": 0})).0, 200);
    assert_eq!(alice.put("c/alone", &json!({"by": "alice"})).0, 201);

    let seen = alice.lines_count();
    bob.signal("CONT");
    assert_eq!(edit.join().unwrap(), 200);
    // Bob may not have noticed: its clock stood still too.
    alice.connected_after(seen, "bob");
    let merged = json!({"a": 1, "b": 2, "list": ["bob"]});
    for node in [&alice, &bob] {
        node.until_document("c/both", &merged);
        node.until_document("c/alone", &json!({"by": "alice"}));
    }
}
