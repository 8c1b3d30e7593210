//! The command line for blobs: processes that talk to a node, or to something that only looks like one.

#![cfg(feature = "node")]
#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "../common/process.rs"]
mod common;

mod broken;
mod rig;
mod round_trips;
mod words;
