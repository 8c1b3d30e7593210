//! Kubernetes discovery against an API server in the test, over real HTTPS.

#![cfg(feature = "node")]
#![allow(clippy::unwrap_used)]

#[path = "../common/cluster.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;

mod end_to_end;
mod trouble;
mod watching;

use std::sync::Arc;

use cluster::Cluster;
use common::PATIENCE;
use peat_mesh::config::KubernetesSettings;
use peat_mesh::discovery::kubernetes::Kubernetes;
use peat_mesh::discovery::{self, DiscoveryEvent, EndpointOf, PeerInfo, Running, SourceStatus};
use peat_mesh_core::{EndpointId, NodeName};
use tokio::time::timeout;

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn id(text: &str) -> EndpointId {
    let mut bytes = [0; 32];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    EndpointId(bytes)
}

fn found(who: &str, address: &str) -> DiscoveryEvent {
    DiscoveryEvent::PeerFound(info(who, address))
}

fn info(who: &str, address: &str) -> PeerInfo {
    PeerInfo::new(id(who), Some(name(who)), vec![address.parse().unwrap()])
}

/// The source at work.
struct Watcher(Running);

impl Watcher {
    fn start(cluster: &Cluster) -> Self {
        Self::with(cluster.settings())
    }

    fn with(settings: KubernetesSettings) -> Self {
        let endpoint_of: EndpointOf = Arc::new(|name| id(name.as_str()));
        let source = Kubernetes::new(settings, id("me"), &name("me"), endpoint_of);
        Self(discovery::start(vec![Box::new(source)], id("me")))
    }

    async fn next(&mut self) -> DiscoveryEvent {
        let next = timeout(PATIENCE, self.0.events.recv()).await;
        let Ok(event) = next else { panic!("no event came: {:?}", self.0.status()) };
        event.unwrap()
    }

    async fn status(&mut self, wanted: impl Fn(&SourceStatus) -> bool) -> SourceStatus {
        let wait = async {
            loop {
                let status = self.0.status().swap_remove(0);
                if wanted(&status) {
                    return status;
                }
                self.0.status_changed().await;
            }
        };
        let status = timeout(PATIENCE, wait).await;
        status.unwrap_or_else(|_| panic!("never so: {:?}", self.0.status()))
    }

    async fn waits_with(&mut self, words: &str) -> SourceStatus {
        self.status(|status| !status.running && status.detail.contains(words)).await
    }

    async fn works(&mut self) -> SourceStatus {
        self.status(|status| status.running).await
    }
}
