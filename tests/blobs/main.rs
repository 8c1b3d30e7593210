//! Blobs through the front door: real processes, HTTP, and real QUIC between them.

#![cfg(feature = "node")]
#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "../common/process.rs"]
mod common;

mod background;
mod between;
mod crashes;
mod disk;
mod local;
mod mesh;
mod rig;
