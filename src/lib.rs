//! peat-mesh keeps JSON documents in step between machines with no server in the middle.
//!
//! Nodes that share a secret are a formation. They find each other, connect over QUIC, prove the secret to
//! each other, and merge what they have. Every node takes reads and writes while it is cut off, and
//! nobody's work is lost when they meet again. The program `peat-mesh-node` is such a node with an HTTP
//! API; with this library a program of yours can be one itself:
//!
//! ```no_run
//! # #[cfg(feature = "automerge-backend")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::net::{IpAddr, Ipv4Addr};
//!
//! use peat_mesh::config::{Config, DataFolder, Source};
//! use peat_mesh::discovery::fixed::StaticPeer;
//! use peat_mesh::identity::FormationSecret;
//! use peat_mesh::node::Node;
//! use peat_mesh_core::{DocId, NodeName};
//!
//! let node = Node::start(Config {
//!     secret: FormationSecret::parse("kYwk3yXQmKcsEBqDpe2CjvUObEqbBVQkBmVZrjJrZPk=")?,
//!     name: NodeName::new("vehicle-7")?,
//!     discovery: vec![Source::Static],
//!     static_peers: StaticPeer::parse_list("base@base.example:11204").map_err(|all| all.join("; "))?,
//!     mdns_interfaces: None,
//!     kubernetes: None,
//!     data_folder: DataFolder { path: "/var/lib/vehicle".into(), fallback: None },
//!     broker_bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
//!     broker_port: 8081,
//!     iroh_port: 11204,
//!     relays: Vec::new(),
//!     is_gateway: true,
//!     external_addresses: Vec::new(),
//!     link_scopes: Default::default(),
//!     iroh_bind: Vec::new(),
//!     max_peers: peat_mesh::config::MAX_PEERS_DEFAULT,
//!     cache_bytes: peat_mesh::config::CACHE_BYTES_DEFAULT,
//!     blob_limits: Default::default(),
//!     attachments: Default::default(),
//! })
//! .await?;
//!
//! let doc = DocId::new("positions", "vehicle-7")?;
//! let object = serde_json::json!({"lat": 50.03, "lon": 8.56});
//! let Some(object) = object.as_object() else { unreachable!() };
//! let written = node.handle().put(doc.clone(), object.clone()).await?; // on disk when this returns
//! println!("version {}", written.heads.version());
//!
//! let mut changes = node.handle().changes();
//! while let Ok(change) = changes.recv().await {
//!     println!("{} {} from {:?}", change.action.as_str(), change.doc, change.origin);
//! }
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | none | configuration, identity, discovery by static list and mDNS |
//! | `store` | the store of documents (redb) |
//! | `automerge-backend` | connections (iroh), the stores (redb, iroh-blobs), `node` |
//! | `broker` | the HTTP, SSE and WebSocket API, `service` |
//! | `kubernetes` | discovery by the EndpointSlices of a cluster |
//! | `node` | all of them and what the program needs |

#[cfg(feature = "automerge-backend")]
pub mod blob;
#[cfg(feature = "broker")]
pub mod broker;
#[cfg(feature = "node")]
pub mod client;
pub mod config;
#[cfg(feature = "automerge-backend")]
pub mod connection;
#[cfg(feature = "node")]
pub mod demo;
pub mod discovery;
#[cfg(feature = "node")]
pub mod environment;
#[cfg(feature = "automerge-backend")]
mod flood;
#[cfg(feature = "automerge-backend")]
pub mod handle;
pub mod identity;
#[cfg(feature = "automerge-backend")]
pub mod node;
#[cfg(feature = "node")]
pub mod relay;
#[cfg(feature = "broker")]
pub mod service;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "node")]
pub mod telemetry;
#[cfg(feature = "node")]
pub mod tls;
