//! Two clusters that share nothing but the link between their gateways.

#![cfg(feature = "node")]
#![allow(clippy::unwrap_used)]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{Cluster, slice};
use common::{PATIENCE, TestNode, config, secret};
use peat_mesh::config::{Config, Source};
use peat_mesh_core::scope::LinkScopes;
use serde_json::json;

/// Two pods of a cluster that find each other by its API server. The first one is the gateway.
struct Site {
    pods: [TestNode; 2],
    _cluster: Cluster,
}

impl Site {
    /// With static peers and scopes for the gateway alone.
    async fn start(name: &str, peers: &[String], scopes: &str) -> Self {
        let cluster = Cluster::start().await;
        let mut pods = Vec::new();
        for number in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let peers = if number == 0 { peers } else { &[] };
            let mut config = config(secret(1), &format!("{name}/peat-mesh-{number}"), folder.path(), peers);
            config.discovery = vec![Source::Kubernetes, Source::Static];
            config.kubernetes = Some(cluster.settings());
            config.link_scopes = LinkScopes::parse(scopes).unwrap();
            pods.push(TestNode::with(folder, config).await);
        }
        for (number, pod) in pods.iter().enumerate() {
            let host = format!("peat-mesh-{number}");
            cluster.put(slice(&format!("of-{host}"), &[(&host, "127.0.0.1")], pod.address().port()));
        }
        let Ok(pods) = <[TestNode; 2]>::try_from(pods) else { unreachable!() };
        Self { pods, _cluster: cluster }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_any_pod_of_one_cluster_writes_is_read_on_any_pod_of_the_other() {
    let alpha = Site::start("alpha", &[], "").await;
    let bravo = Site::start("bravo", &[alpha.pods[0].entry()], "").await;
    // Both clusters have pods of the same names, and only the gateways know each other.
    alpha.pods[0].until_connected_to(&["alpha/peat-mesh-1", "bravo/peat-mesh-0"]).await;
    bravo.pods[0].until_connected_to(&["alpha/peat-mesh-0", "bravo/peat-mesh-1"]).await;
    alpha.pods[1].until_connected_to(&["alpha/peat-mesh-0"]).await;
    alpha.pods[1].put("c/from-alpha", json!({"n": 1})).await;
    bravo.pods[1].put("c/from-bravo", json!({"n": 2})).await;
    bravo.pods[1].until_equal("c/from-alpha", json!({"n": 1})).await;
    alpha.pods[1].until_equal("c/from-bravo", json!({"n": 2})).await;
    // And back again, on the same document.
    bravo.pods[1].put("c/from-alpha", json!({"n": 1, "seen": true})).await;
    alpha.pods[1].until_equal("c/from-alpha", json!({"n": 1, "seen": true})).await;
    alpha.pods[0].handle().delete(common::doc("c/from-bravo")).await.unwrap();
    bravo.pods[1].until("c/from-bravo", |now| now.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_at_one_gateway_keeps_the_rest_in_its_cluster() {
    let alpha = Site::start("alpha", &[], "bravo/*: send=tracks receive=orders").await;
    let bravo = Site::start("bravo", &[alpha.pods[0].entry()], "").await;
    for collection in ["private", "orders", "tracks"] {
        alpha.pods[1].put(&format!("{collection}/a"), json!({"from": "alpha"})).await;
        alpha.pods[0].until_equal(&format!("{collection}/a"), json!({"from": "alpha"})).await;
    }
    for collection in ["private", "tracks", "orders"] {
        bravo.pods[1].put(&format!("{collection}/b"), json!({"from": "bravo"})).await;
    }
    bravo.pods[1].until_equal("tracks/a", json!({"from": "alpha"})).await;
    alpha.pods[1].until_equal("orders/b", json!({"from": "bravo"})).await;
    // A change that crosses after all these shows that they had their time.
    alpha.pods[0].put("tracks/last", json!({"n": 1})).await;
    bravo.pods[0].until_equal("tracks/last", json!({"n": 1})).await;
    bravo.pods[0].put("orders/last", json!({"n": 1})).await;
    alpha.pods[0].until_equal("orders/last", json!({"n": 1})).await;
    for (gateway, kept) in [(&bravo.pods[0], "a"), (&alpha.pods[0], "b")] {
        let wrong = if kept == "a" { ["private", "orders"] } else { ["private", "tracks"] };
        for collection in wrong {
            assert_eq!(gateway.get(&format!("{collection}/{kept}")), None, "{collection}");
        }
    }
    let peers = alpha.pods[0].handle().peers();
    let link = peers.iter().find(|peer| peer.view.scope.is_some()).unwrap();
    assert_eq!(link.view.scope.as_deref(), Some("send=tracks receive=orders"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_without_names_of_their_own_are_told_which_variable_is_missing() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [first, second, third] = folders;
    let one = TestNode::start_in(first, secret(1), "peat-mesh-1", &[]).await;
    let gateway = TestNode::start_in(second, secret(1), "peat-mesh-0", &[&one]).await;
    one.until_connected_to(&["peat-mesh-0"]).await;
    // The other cluster's pod of the same name dials the same gateway.
    let config = Config { ..config(secret(1), "peat-mesh-1", third.path(), &[gateway.entry()]) };
    let other = TestNode::with(third, config).await;
    let is_told = |node: &TestNode| {
        let checks = node.handle().checks();
        checks.into_iter().find(|check| check.name == "identity" && !check.ok).map(|check| check.detail)
    };
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(detail) = is_told(&one).or_else(|| is_told(&other)) {
                return detail;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let detail = told.await.expect("nobody was told");
    assert!(detail.contains("give each cluster its own PEAT_CLUSTER (here not set)"), "{detail}");
    assert!(detail.contains("HOSTNAME (here peat-mesh-1)"), "{detail}");
}
