//! Real nodes over real QUIC on loopback.

#![cfg(feature = "automerge-backend")]

mod common;

use common::{TestNode, doc, secret};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_on_one_node_is_read_on_the_other() {
    let alice = TestNode::start(secret(1), "alice", &[]).await;
    let bob = TestNode::start(secret(1), "bob", &[&alice]).await;
    alice.until_connected_to(&["bob"]).await;
    bob.until_connected_to(&["alice"]).await;
    alice.put("c/x", json!({"from": "alice"})).await;
    bob.until_equal("c/x", json!({"from": "alice"})).await;
    bob.put("c/x", json!({"from": "bob", "n": 1})).await;
    alice.until_equal("c/x", json!({"from": "bob", "n": 1})).await;
    bob.handle().delete(doc("c/x")).await.unwrap();
    alice.until("c/x", |now| now.is_none()).await;
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_meet_late_exchange_what_they_wrote_alone() {
    let alice = TestNode::start(secret(1), "alice", &[]).await;
    for number in 0..300 {
        alice.put(&format!("c/a{number}"), json!({"n": number})).await;
    }
    alice.put("c/both", json!({"a": {"x": 1}, "only_alice": true})).await;
    let folder = {
        let bob = TestNode::start(secret(1), "bob", &[]).await;
        bob.put("c/both", json!({"a": {"y": 2}, "only_bob": true})).await;
        bob.put("c/b", json!({"n": 1})).await;
        bob.stop().await
    };
    let bob = TestNode::start_in(folder, secret(1), "bob", &[&alice]).await;
    bob.until_equal("c/a299", json!({"n": 299})).await;
    alice.until_equal("c/b", json!({"n": 1})).await;
    let merged = json!({"a": {"x": 1, "y": 2}, "only_alice": true, "only_bob": true});
    alice.until_equal("c/both", merged.clone()).await;
    bob.until_equal("c/both", merged).await;
    for number in 0..300 {
        bob.until_equal(&format!("c/a{number}"), json!({"n": number})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_whose_ends_cannot_reach_each_other_converges() {
    let middle = TestNode::start(secret(1), "middle", &[]).await;
    let left = TestNode::start(secret(1), "left", &[&middle]).await;
    let right = TestNode::start(secret(1), "right", &[&middle]).await;
    middle.until_connected_to(&["left", "right"]).await;
    left.put("c/l", json!({"n": 1})).await;
    right.put("c/r", json!({"n": 2})).await;
    right.until_equal("c/l", json!({"n": 1})).await;
    left.until_equal("c/r", json!({"n": 2})).await;
    left.until_connected_to(&["middle"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_leaves_says_goodbye_and_is_found_again() {
    let alice = TestNode::start(secret(1), "alice", &[]).await;
    let bob = TestNode::start(secret(1), "bob", &[&alice]).await;
    alice.until_connected_to(&["bob"]).await;
    let folder = bob.stop().await;
    alice.until_connected_to(&[]).await;
    let last_error = alice.handle().peers()[0].view.last_error.clone();
    assert_eq!(last_error.as_deref(), Some("it said goodbye"));
    alice.put("c/x", json!({"while": "away"})).await;
    let bob = TestNode::start_in(folder, secret(1), "bob", &[&alice]).await;
    bob.until_equal("c/x", json!({"while": "away"})).await;
}
