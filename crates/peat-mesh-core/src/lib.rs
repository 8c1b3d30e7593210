//! The sans-io core of peat-mesh.
//!
//! No socket, no disk, no clock and no source of randomness: time, ids and random numbers come in as
//! arguments, and what is to be done comes out as values. So a whole mesh runs in one thread from one
//! seed (`peat-mesh-sim`), and the same code runs on real QUIC and a real disk (`peat-mesh`).

pub mod document;
pub mod heads;
pub mod id;
pub mod limits;
pub mod store;

pub use heads::{ChangeHash, Heads, Version};
pub use id::{ConnId, DocId, EndpointId, NodeName};
