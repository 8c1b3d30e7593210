//! Virtual networks: namespaces, switches and cables, slow wires, routers that hide what is behind them.

mod lan;
mod nat;
mod space;
mod wire;

pub use lan::{Cable, Lan, Port};
pub use nat::{Nat, Ports};
pub use space::{Space, missing, sweep};
pub use wire::{Manners, Wire};
