//! peat-mesh keeps JSON documents in step between machines with no server in the middle.

#[cfg(feature = "broker")]
pub mod broker;
pub mod config;
#[cfg(feature = "automerge-backend")]
pub mod connection;
#[cfg(feature = "node")]
pub mod demo;
pub mod discovery;
#[cfg(feature = "node")]
pub mod environment;
#[cfg(feature = "automerge-backend")]
pub mod handle;
pub mod identity;
#[cfg(feature = "automerge-backend")]
pub mod node;
#[cfg(feature = "broker")]
pub mod service;
#[cfg(feature = "automerge-backend")]
pub mod store;
#[cfg(feature = "node")]
pub mod telemetry;
