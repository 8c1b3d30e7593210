//! What the tests of blobs share.

use std::fs;
use std::path::Path;
use std::time::Instant;

use iroh_blobs::Hash;
use serde_json::Value;

use crate::common::{Answer, PATIENCE, Process};

/// Bytes without a pattern, the same in every run.
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(next());
    }
    bytes.truncate(length);
    bytes
}

/// What the hash of this content has to be.
pub fn hash(content: &[u8]) -> String {
    Hash::new(content).to_hex()
}

pub fn ask(node: &Process, method: &str, path: &str, lines: &str) -> Answer {
    node.http().exchange(method, &format!("/api/v1/blobs{path}"), lines, b"").unwrap()
}

pub fn get(node: &Process, hash: &str) -> Answer {
    ask(node, "GET", &format!("/{hash}"), "")
}

pub fn send(node: &Process, content: &[u8]) -> Answer {
    node.http().exchange("POST", "/api/v1/blobs", "", content).unwrap()
}

/// Sends a blob that is new, and returns its hash.
pub fn add(node: &Process, content: &[u8]) -> String {
    let answer = send(node, content);
    assert_eq!(answer.status, 201, "{answer:?}");
    let hash = hash(content);
    assert_eq!(answer.json(), serde_json::json!({"hash": hash, "size": content.len()}));
    hash
}

pub fn status(node: &Process, hash: &str) -> Value {
    let answer = ask(node, "GET", &format!("/{hash}/status"), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

pub fn state(node: &Process, hash: &str) -> String {
    status(node, hash)["state"].as_str().unwrap().to_owned()
}

/// The names of the files in a folder.
pub fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Asks again and again until it is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}
