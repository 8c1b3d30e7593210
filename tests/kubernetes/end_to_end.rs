//! Nodes that know nothing but an API server.

use std::time::Duration;

use peat_mesh::config::{Config, Source};
use peat_mesh::handle::Check;
use peat_mesh::service::Service;
use serde_json::json;
use tokio::time::timeout;

use super::name;
use crate::cluster::{Cluster, slice};
use crate::common::{PATIENCE, TestNode, config, doc, object, secret};

fn in_cluster(cluster: &Cluster, config: Config) -> Config {
    Config { discovery: vec![Source::Kubernetes], kubernetes: Some(cluster.settings()), ..config }
}

async fn start(cluster: &Cluster, name: &str) -> TestNode {
    let folder = tempfile::tempdir().unwrap();
    let config = in_cluster(cluster, config(secret(1), name, folder.path(), &[]));
    TestNode::with(folder, config).await
}

/// Puts a node in the cluster, as the pod of that name.
fn enter(cluster: &Cluster, pod: &str, node: &TestNode) {
    cluster.put(slice(&format!("slice-of-{pod}"), &[(pod, "127.0.0.1")], node.address().port()));
}

fn check(checks: &[Check], name: &str) -> Check {
    checks.iter().find(|check| check.name == name).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_find_each_other_in_slices_and_a_new_one_is_dialled_when_its_slice_comes() {
    let cluster = Cluster::start().await;
    let (alice, bob) = (start(&cluster, "alice").await, start(&cluster, "bob").await);
    enter(&cluster, "alice", &alice);
    enter(&cluster, "bob", &bob);
    alice.until_connected_to(&["bob"]).await;
    alice.put("c/x", json!({"from": "alice"})).await;
    bob.until_equal("c/x", json!({"from": "alice"})).await;

    // Carol looks at another cluster, where nobody is: she can only be dialled.
    let nowhere = Cluster::start().await;
    let carol = start(&nowhere, "carol").await;
    enter(&cluster, "carol", &carol);
    carol.until_connected_to(&["alice", "bob"]).await;
    carol.until_equal("c/x", json!({"from": "alice"})).await;
    for node in [alice, bob, carol] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_one_kubernetes_cluster_share_the_cluster_in_their_names() {
    let cluster = Cluster::start().await;
    let (alice, bob) = (start(&cluster, "alpha/pod-0").await, start(&cluster, "alpha/pod-1").await);
    enter(&cluster, "pod-0", &alice);
    enter(&cluster, "pod-1", &bob);
    alice.until_connected_to(&["alpha/pod-1"]).await;
    bob.until_connected_to(&["alpha/pod-0"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_last_while_the_api_server_is_of_no_use_and_the_node_stays_ready() {
    let cluster = Cluster::start().await;
    let (alice, bob) = (start(&cluster, "alice").await, start(&cluster, "bob").await);
    enter(&cluster, "alice", &alice);
    enter(&cluster, "bob", &bob);
    alice.until_connected_to(&["bob"]).await;
    assert!(check(&alice.handle().checks(), "discovery").ok);
    cluster.demand("another token");
    // Both have been refused more than twice, so both have said so.
    let before = cluster.requests().len();
    cluster.until_asked("tried again", |requests| requests.len() >= before + 8).await;
    let found = check(&alice.handle().checks(), "discovery");
    assert!(found.ok && found.detail.contains("kubernetes is not running: "), "{found:?}");
    assert!(found.detail.contains("does not accept the token"), "{found:?}");
    alice.put("c/x", json!({"n": 1})).await;
    bob.until_equal("c/x", json!({"n": 1})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_not_list_is_not_ready_and_says_why_and_serves_all_the_same() {
    let cluster = Cluster::start().await;
    cluster.forbid(Some("list"));
    let alice = start(&cluster, "alice").await;
    // When it asks again, it has dealt with the first refusal.
    cluster.until_asked("tried again", |requests| requests.len() >= 2).await;
    let found = check(&alice.handle().checks(), "discovery");
    assert!(!found.ok && found.detail.contains("not allowed to list endpointslices"), "{found:?}");
    alice.put("c/x", json!({"n": 1})).await;
    assert_eq!(alice.get("c/x"), Some(json!({"n": 1})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotations_of_a_slice_are_seen_in_the_list_of_peers() {
    let cluster = Cluster::start().await;
    let mut annotated = slice("one", &[("bob", "127.0.0.1")], 9);
    annotated["metadata"]["annotations"] =
        json!({"peat.site": "harbour", "peat.relay_url": "https://relay.example", "other": "x"});
    cluster.put(annotated.clone());
    let folder = tempfile::tempdir().unwrap();
    let config = in_cluster(&cluster, config(secret(1), "alice", folder.path(), &[]));
    let service = Service::start(config, Duration::from_secs(1)).await.unwrap();
    let mut peers = service.handle().watch_peers();
    timeout(PATIENCE, peers.wait_for(|peers| !peers.is_empty())).await.unwrap().unwrap();
    let peer = service.handle().peers().swap_remove(0);
    assert_eq!(peer.view.name, Some(name("bob")));
    for path in ["/api/v1/peers/bob", "/api/v1/peers"] {
        let answer = get(&service, path).await;
        let peer = if answer["peers"].is_array() { &answer["peers"][0] } else { &answer };
        assert_eq!(peer["metadata"], json!({"site": "harbour"}), "{answer}");
        assert_eq!(peer["relay_url"], "https://relay.example");
    }
    service.handle().put(doc("c/x"), object(json!({"n": 1}))).await.unwrap();
    service.shutdown().await;
}

async fn get(service: &Service, path: &str) -> serde_json::Value {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(service.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
