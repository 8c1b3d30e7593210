//! Nodes that know only each other's names and reach each other over a relay, all on loopback.

#![cfg(feature = "node")]
#![allow(clippy::unwrap_used)]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use bytes::Bytes;
use common::{PATIENCE, TestNode, config, secret};
use futures_util::StreamExt;
use peat_mesh::identity::FormationSecret;
use peat_mesh::relay::{Relay, Settings};
use serde_json::json;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn relay(secret: FormationSecret, port: u16, tls: bool) -> (Relay, String) {
    peat_mesh::tls::use_one_provider();
    let relay = Relay::start(Settings { secret, bind: Some(LOOPBACK), port, tls }).await.unwrap();
    let url = relay.url_of(LOOPBACK);
    (relay, url)
}

/// A node with one relay that takes QUIC at this address only and knows these names.
async fn node(secret: FormationSecret, name: &str, bind: IpAddr, relay: &str, peers: &[&str]) -> TestNode {
    let folder = tempfile::tempdir().unwrap();
    let peers: Vec<String> = peers.iter().map(|peer| format!("{peer}@relay")).collect();
    let mut config = config(secret, name, folder.path(), &peers);
    config.relays = vec![relay.to_owned()];
    config.iroh_bind = vec![bind];
    TestNode::with(folder, config).await
}

/// What the check `relay` says.
fn standing(node: &TestNode) -> String {
    let checks = node.handle().checks();
    let check = checks.into_iter().find(|check| check.name == "relay").unwrap();
    assert!(check.ok, "a relay alone makes no node unready");
    check.detail
}

/// Asks again and again: there is no event for a path or for what a check says.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE * 2, async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} did not come");
}

/// The address of the direct path to the only peer; `None` while it is reached over the relay.
fn direct(node: &TestNode) -> Option<SocketAddr> {
    node.handle().peers()[0].path.as_ref()?.measure.address
}

async fn check_they_exchange(alice: &TestNode, bob: &TestNode) {
    alice.until_connected_to(&["bob"]).await;
    bob.until_connected_to(&["alice"]).await;
    alice.put("c/a", json!({"from": "alice"})).await;
    bob.put("c/b", json!({"from": "bob"})).await;
    bob.until_equal("c/a", json!({"from": "alice"})).await;
    alice.until_equal("c/b", json!({"from": "bob"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_know_only_names_meet_over_the_relay_and_move_to_a_direct_path() {
    for tls in [true, false] {
        let (relay, url) = relay(secret(1), 0, tls).await;
        let alice = node(secret(1), "alice", LOOPBACK, &url, &[]).await;
        let bob = node(secret(1), "bob", LOOPBACK, &url, &["alice"]).await;
        check_they_exchange(&alice, &bob).await;
        until("a direct path", || direct(&alice).is_some() && direct(&bob).is_some()).await;
        assert!(standing(&alice).contains(&format!("connected to {url}")), "{}", standing(&alice));
        // What has a direct path needs no relay any more.
        relay.shutdown().await;
        alice.put("c/x", json!({"relay": "gone"})).await;
        bob.until_equal("c/x", json!({"relay": "gone"})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_without_a_direct_path_stay_on_the_relay() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if UdpSocket::bind((v6, 0)).is_err() {
        return println!("skipped: this machine has no IPv6");
    }
    let (_relay, url) = relay(secret(1), 0, true).await;
    // One has IPv4 and the other IPv6 alone.
    let alice = node(secret(1), "alice", LOOPBACK, &url, &[]).await;
    let bob = node(secret(1), "bob", v6, &url, &["alice"]).await;
    check_they_exchange(&alice, &bob).await;
    assert_eq!((direct(&alice), direct(&bob)), (None, None));
    for number in 0..100 {
        alice.put(&format!("c/{number}"), json!({"n": number})).await;
    }
    bob.until_equal("c/99", json!({"n": 99})).await;
    // Blobs go the same way.
    let (content, taken) = tokio::sync::mpsc::channel(1);
    content.send(Ok(Bytes::from(vec![7; 300_000]))).await.unwrap();
    drop(content);
    let (blob, _) = alice.handle().blobs().add(taken, None).await.unwrap();
    let opened = tokio::time::timeout(PATIENCE, bob.handle().blobs().open(blob.hash)).await;
    let reading = opened.unwrap().unwrap();
    assert_eq!(reading.blob.size, 300_000);
    let content: Vec<_> = (reading.content)(0..300_000).collect().await;
    assert_eq!(content.iter().map(|piece| piece.as_ref().unwrap().len()).sum::<usize>(), 300_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_of_another_formation_is_not_used() {
    let (_relay, url) = relay(secret(2), 0, true).await;
    let alice = node(secret(1), "alice", LOOPBACK, &url, &[]).await;
    assert!(standing(&alice).contains("no answer from https://127.0.0.1"), "{}", standing(&alice));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_lets_no_stranger_in_and_the_stranger_learns_why() {
    let (_relay, url) = relay(secret(2), 0, false).await;
    let alice = node(secret(1), "alice", LOOPBACK, &url, &[]).await;
    until("the refusal", || standing(&alice).contains("refuses this node")).await;
    assert!(standing(&alice).contains("another formation secret"), "{}", standing(&alice));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_come_back_to_a_relay_that_was_away() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if UdpSocket::bind((v6, 0)).is_err() {
        return println!("skipped: this machine has no IPv6");
    }
    let (first, url) = relay(secret(1), 0, true).await;
    let alice = node(secret(1), "alice", LOOPBACK, &url, &[]).await;
    let bob = node(secret(1), "bob", v6, &url, &["alice"]).await;
    check_they_exchange(&alice, &bob).await;
    let port = first.address().port();
    first.shutdown().await;
    until("the loss", || standing(&alice).contains("not connected")).await;
    alice.put("c/while", json!({"relay": "away"})).await;
    let (_relay, _) = relay(secret(1), port, true).await;
    bob.until_equal("c/while", json!({"relay": "away"})).await;
}
