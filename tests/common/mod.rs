//! Real nodes on loopback, and waiting for events instead of for time.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use peat_mesh::config::Config;
use peat_mesh::discovery::fixed::StaticPeer;
use peat_mesh::handle::Handle;
use peat_mesh::identity::FormationSecret;
use peat_mesh::node::Node;
use peat_mesh_core::hub::PeerState;
use peat_mesh_core::{DocId, NodeName};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// The longest any single thing may take. Far more than it needs: a time-out here means "never".
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn secret(byte: u8) -> FormationSecret {
    use base64::Engine as _;
    FormationSecret::parse(&base64::engine::general_purpose::STANDARD.encode([byte; 32])).unwrap()
}

pub fn doc(text: &str) -> DocId {
    text.parse().unwrap()
}

pub fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub fn config(secret: FormationSecret, name: &str, data: &std::path::Path, peers: &[String]) -> Config {
    let peers = StaticPeer::parse_list(&peers.join(",")).unwrap();
    Config::on_loopback(secret, NodeName::new(name).unwrap(), data.to_owned(), peers)
}

/// A node with a folder of its own.
pub struct TestNode {
    pub node: Node,
    pub folder: TempDir,
    secret: FormationSecret,
    name: String,
}

impl TestNode {
    pub async fn start(secret: FormationSecret, name: &str, peers: &[&TestNode]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, secret, name, peers).await
    }

    pub async fn start_in(folder: TempDir, secret: FormationSecret, name: &str, peers: &[&TestNode]) -> Self {
        let peers: Vec<String> = peers.iter().map(|peer| peer.entry()).collect();
        let config = config(secret, name, folder.path(), &peers);
        Self::with(folder, config).await
    }

    pub async fn with(folder: TempDir, config: Config) -> Self {
        let (secret, name) = (config.secret.clone(), config.name.to_string());
        let node = Node::start(config).await.unwrap();
        Self { node, folder, secret, name }
    }

    pub fn address(&self) -> SocketAddr {
        self.handle().bound_addresses()[0]
    }

    /// How another node names this one in its list of static peers.
    pub fn entry(&self) -> String {
        format!("{}@{}", self.name, self.address())
    }

    pub fn handle(&self) -> &Handle {
        self.node.handle()
    }

    pub async fn put(&self, address: &str, value: Value) {
        self.handle().put(doc(address), object(value)).await.unwrap();
    }

    pub fn get(&self, address: &str) -> Option<Value> {
        let stored = self.handle().document(&doc(address)).unwrap()?;
        Some(serde_json::from_str(&stored.json).unwrap())
    }

    /// Waits until the document is as the condition says.
    pub async fn until(&self, address: &str, condition: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        let mut changes = self.handle().changes();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let now = self.get(address);
                if condition(now.as_ref()) {
                    return now;
                }
                let _ = changes.recv().await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{}: {address} stayed {:?}", self.name, self.get(address)))
    }

    pub async fn until_equal(&self, address: &str, value: Value) {
        self.until(address, |now| now == Some(&value)).await;
    }

    /// Waits until this node is connected to exactly these peers.
    pub async fn until_connected_to(&self, names: &[&str]) {
        let mut peers = self.handle().watch_peers();
        let connected = |views: &[peat_mesh_core::hub::PeerView]| {
            let mut connected: Vec<String> = views
                .iter()
                .filter(|view| view.state == PeerState::Connected)
                .map(|view| view.name.as_ref().unwrap().to_string())
                .collect();
            connected.sort();
            connected == names
        };
        let waited = tokio::time::timeout(PATIENCE, peers.wait_for(|views| connected(views))).await;
        assert!(
            waited.is_ok(),
            "{} never was connected to {names:?}: {:?}",
            self.name,
            self.handle().peers()
        );
    }

    /// Stops the node and gives its folder back.
    pub async fn stop(self) -> TempDir {
        self.node.shutdown().await;
        self.folder
    }
}
