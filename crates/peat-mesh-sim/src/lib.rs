//! A whole mesh in one thread, from one seed.
//!
//! A [`World`] holds machines, each with a disk in memory and a node made of the real
//! [`Hub`](peat_mesh_core::hub::Hub) and [`Replica`](peat_mesh_core::replica::Replica), and a network
//! that loses, doubles and reorders frames. Time is virtual; the same seed gives the same run. What
//! clients were told is kept in a ledger, and [`check`] holds the documents against it.
//!
//! ```
//! use peat_mesh_sim::{World, check};
//! use serde_json::json;
//!
//! let mut world = World::new(1);
//! let [alice, bob] = world.nodes(["alice", "bob"]);
//! world.link(alice, bob);
//! world.put(alice, "airports/EDDF", json!({ "name": "Frankfurt" }));
//! world.run_until_quiet();
//! assert_eq!(world.get(bob, "airports/EDDF"), Some(json!({ "name": "Frankfurt" })));
//! check(&world).unwrap();
//! ```

mod authored;
mod checks;
mod clock;
pub mod fuzz;
pub mod history;
mod large;
mod ledger;
mod network;
mod script;
mod site;
pub mod swarm;
mod trace;
mod traffic;
mod weather;
mod world;

pub use checks::{check, difference};
pub use large::large_document;
pub use script::{Report, Script, Step, play, play_recorded};
pub use site::{Edit, Op, Site};
pub use traffic::{Count, Traffic};
pub use weather::Weather;
pub use world::{Reply, World};
