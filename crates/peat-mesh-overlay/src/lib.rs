//! Large formations: which few neighbours a node keeps, and how an update reaches all the others.
//!
//! The protocol is that of `iroh-gossip`: HyParView keeps a small, random, connected set of neighbours, and
//! PlumTree sends an update along a tree of them at once (eager push) and only its hash along all other links
//! (lazy push), from which a broken tree is mended. This crate holds its state machine without any I/O:
//!
//! - [`Overlay`] is one node's part in it: bytes of neighbours go in, bytes for neighbours and updates come out.
//! - [`Mesh`] is a [`Hub`](peat_mesh_core::hub::Hub) that uses an [`Overlay`] once the formation has more nodes
//!   than it is to connect to. It takes the hub's inputs and returns the hub's effects, so whoever drives a hub
//!   can drive a mesh.
//!
//! Time comes in as milliseconds, randomness as a seed: the same inputs give the same outputs.

pub mod limits;
mod mesh;
mod missing;
mod overlay;
mod recent;
mod settings;
mod wire;

pub use mesh::Mesh;
pub use overlay::{Output, Overlay};
pub use settings::Settings;
pub use wire::{GossipError, Topic};
