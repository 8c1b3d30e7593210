//! Who may speak to a node and what: raw QUIC endpoints as strangers and as members that misbehave,
//! against real processes. Whatever they do, two honest nodes go on.

#![cfg(feature = "node")]
#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "../common/process.rs"]
mod common;

mod blobs;
mod garbage;
mod hostile;
mod liars;
mod members;
mod raw;
mod strangers;
