//! What the fuzz targets do with their bytes. A broken property panics.
//!
//! The targets in `fuzz/` are thin shells around these functions, so that ordinary tests replay the kept inputs.
//! Bytes are read from the front and never run out: behind the end all are zero.

mod frames;
mod handshake;
mod input;
mod peers;
mod reconciliation;
mod recovery;

pub use frames::{allocated_bytes_max, frames};
pub use handshake::handshake;
pub use peers::peers;
pub use reconciliation::reconciliation;
pub use recovery::{Open, recovery};
