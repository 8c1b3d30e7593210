//! Real nodes in a formation larger than each connects to.
#![cfg(feature = "automerge-backend")]
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{PATIENCE, TestNode, config, secret};
use peat_mesh_core::hub::{PeerState, PeerView};
use serde_json::json;

const MAX_PEERS: usize = 3;

/// Nodes of which each knows those that started before it.
async fn formation(count: usize) -> Vec<TestNode> {
    let mut nodes: Vec<TestNode> = Vec::new();
    for number in 0..count {
        let folder = tempfile::tempdir().unwrap();
        let peers: Vec<String> = nodes.iter().map(TestNode::entry).collect();
        let mut config = config(secret(1), &format!("node-{number}"), folder.path(), &peers);
        config.max_peers = MAX_PEERS;
        nodes.push(TestNode::with(folder, config).await);
    }
    nodes
}

async fn until(node: &TestNode, what: &str, is_so: impl FnMut(&std::sync::Arc<Vec<PeerView>>) -> bool) {
    let mut peers = node.handle().watch_peers();
    // Letting go of connections takes its time, and there are many of them.
    let waited = tokio::time::timeout(PATIENCE * 4, peers.wait_for(is_so)).await;
    assert!(waited.is_ok(), "{what}: {:#?}", node.handle().peers());
}

fn connected(views: &[PeerView]) -> usize {
    views.iter().filter(|view| view.state == PeerState::Connected).count()
}

async fn write_and_read_everywhere(nodes: &[TestNode], key: &str) {
    for (number, node) in nodes.iter().enumerate() {
        node.put(&format!("d/{key}-{number}"), json!({ "n": number })).await;
    }
    for node in nodes {
        for number in 0..nodes.len() {
            node.until_equal(&format!("d/{key}-{number}"), json!({ "n": number })).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_nodes_that_may_have_three_neighbours_each_hold_the_same_also_after_two_are_killed() {
    let mut nodes = formation(8).await;
    write_and_read_everywhere(&nodes, "first").await;
    for node in &nodes {
        until(node, "few neighbours", |views| (1..=MAX_PEERS).contains(&connected(views))).await;
    }
    let known = nodes[7].handle().peers().iter().filter(|peer| peer.view.state == PeerState::Known).count();
    assert!(known > 0, "the last node knows of more than it is connected to");
    write_and_read_everywhere(&nodes, "second").await;

    // Without a goodbye, and one of them is the only one that all others were told of.
    drop(nodes.remove(5));
    drop(nodes.remove(0));
    write_and_read_everywhere(&nodes, "third").await;
    for node in &nodes {
        until(node, "a neighbour", |views| connected(views) > 0).await;
    }
    for node in nodes {
        tokio::time::timeout(Duration::from_secs(60), node.stop()).await.unwrap();
    }
}
