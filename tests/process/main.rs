//! The node as a program: real processes with an environment made from nothing, judged by what they
//! print, answer and leave behind.

#![cfg(feature = "node")]
#![allow(clippy::unwrap_used)]

#[path = "../common/cluster.rs"]
mod cluster;
#[path = "../common/process.rs"]
mod common;

mod bulk;
mod crashes;
mod disk;
mod environment;
mod kubernetes;
mod log;
mod starting;
mod stopping;
mod sync;
mod topology;
mod twins;
