//! Blobs that documents name, through the front door: when they come, how long they stay, and when they go.

#![cfg(feature = "node")]
#![allow(unreachable_pub, dead_code, clippy::unwrap_used)]

#[path = "../common/process.rs"]
mod common;
#[path = "../blobs/rig.rs"]
mod rig;

mod between;
mod keeping;
mod many;
mod races;

use crate::common::{Process, Setup};
use crate::rig::status;
use serde_json::{Value, json};

/// A node that drops what nothing has referred to for a second.
fn forgetful(setup: &Setup) -> Setup {
    setup.clone().set("PEAT_BLOB_GRACE_SECS", "1")
}

/// A document that names these blobs, at some depth.
fn naming(hashes: &[&str]) -> Value {
    let attachment = |hash: &&str| json!({"$blob": hash, "size": 3, "name": "map.bin", "type": "x/y"});
    json!({"title": "a map", "parts": [{"files": hashes.iter().map(attachment).collect::<Vec<_>>()}]})
}

fn delete(node: &Process, doc: &str) {
    let path = format!("/api/v1/documents/{doc}");
    assert_eq!(node.http().request("DELETE", &path, None).unwrap().0, 204, "{doc}");
}

fn references(node: &Process, hash: &str) -> u64 {
    status(node, hash)["references"].as_u64().unwrap()
}
