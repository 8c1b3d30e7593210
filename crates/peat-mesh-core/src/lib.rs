//! The sans-io core of peat-mesh.
//!
//! No socket, no disk, no clock and no source of randomness: time, ids and random numbers come in as
//! arguments, and what is to be done comes out as values. So a whole mesh runs in one thread from one
//! seed (`peat-mesh-sim`), and the same code runs on real QUIC and a real disk (`peat-mesh`).
//!
//! Two state machines do the work. A [`replica::Replica`] turns jobs into changes and one commit. A
//! [`hub::Hub`] takes [`io::Input`]s and gives [`io::Effect`]s. Whoever drives them carries what comes out
//! of one into the other, and frames to other nodes:
//!
//! ```
//! use peat_mesh_core::catalog::Catalog;
//! use peat_mesh_core::hub::Hub;
//! use peat_mesh_core::io::{Effect, Input};
//! use peat_mesh_core::replica::{Job, Replica, Source, Work};
//! use peat_mesh_core::store::{MemoryStore, Store};
//! use peat_mesh_core::wire::Hello;
//! use peat_mesh_core::{ConnId, DocId, EndpointId, NodeName};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (store, now_ms) = (MemoryStore::default(), 0);
//! let mut replica = Replica::new(&store, [1; 16])?; // a real actor is random
//! let mut hub = Hub::new(EndpointId([1; 32]), Catalog::load(&store)?, 42);
//!
//! // A peer has connected and passed the proof: it is asked whether it has the same.
//! let hello = Hello { name: NodeName::new("bob")?, incarnation: 7 };
//! let effects = hub.handle(now_ms, Input::Admitted {
//!     conn: ConnId(1), peer: EndpointId([2; 32]), hello, dialed: true, address: None,
//! });
//! assert!(effects.iter().any(|effect| matches!(effect, Effect::Send { .. })));
//!
//! // A client writes: first to disk, then to the hub, which says to whom it goes.
//! let object = serde_json::Map::from_iter([("n".to_owned(), 1.into())]);
//! let doc = DocId::new("notes", "one")?;
//! let job = Job { doc: doc.clone(), work: Work::Put(object), source: Source::Client };
//! let outcomes = replica.run(&store, vec![job], 1_700_000_000_000);
//! assert_eq!(store.document(&doc)?.ok_or("not there")?.json, r#"{"n":1}"#);
//! let effects = hub.handle(now_ms, Input::Committed(outcomes));
//! assert!(matches!(effects[..], [Effect::Send { conn: ConnId(1), .. }]));
//! # Ok(())
//! # }
//! ```

pub mod answer;
pub mod attachment;
pub mod catalog;
pub mod document;
pub mod guard;
pub mod heads;
pub mod hub;
pub mod id;
pub mod io;
pub mod limits;
pub mod presence;
pub mod proof;
pub mod replica;
pub mod scope;
pub mod store;
pub mod wire;

pub use heads::{ChangeHash, Heads, Version};
pub use id::{ConnId, DocId, EndpointId, NodeName};
