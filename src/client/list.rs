//! What is on a node, and what goes from it.

use std::io::{self, Write};

use axum::body::Body;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::error::ClientError;
use super::http::Client;
use crate::handle::BlobHash;

/// Blobs that are asked for at once.
const PAGE_BLOBS: u64 = 1000;
/// Digits that sizes are brought to.
const SIZE_WIDTH: usize = 15;

/// A blob, as the node tells of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Blob {
    pub(super) hash: String,
    pub(super) size: u64,
}

#[derive(Deserialize)]
struct Page {
    blobs: Vec<Blob>,
    next: Option<String>,
}

pub(super) async fn list(client: &Client, json: bool) -> Result<(), ClientError> {
    let mut count = 0;
    let mut after = String::new();
    loop {
        let answer = client.get(&format!("/blobs?limit={PAGE_BLOBS}{after}")).await?.good().await?;
        let page: Page = answer.json().await?;
        let mut lines = Vec::new();
        for blob in &page.blobs {
            line(&mut lines, blob, count, json).map_err(|problem| ClientError::output(&problem))?;
            count += 1;
        }
        let is_last = page.next.is_none();
        if json && is_last {
            lines.extend_from_slice(if count == 0 { b"[]\n" } else { b"\n]\n" });
        }
        print(&lines)?;
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    if count == 0 && !json {
        eprintln!("peat-mesh-node: there is no blob on this node");
    }
    Ok(())
}

fn line(lines: &mut Vec<u8>, blob: &Blob, count: u64, json: bool) -> io::Result<()> {
    if !json {
        return writeln!(lines, "{}  {:>SIZE_WIDTH$}", blob.hash, blob.size);
    }
    lines.extend_from_slice(if count == 0 { b"[\n" } else { b",\n" });
    Ok(serde_json::to_writer(lines, blob)?)
}

/// Writes to standard output.
pub(super) fn print(text: &[u8]) -> Result<(), ClientError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.flush());
    written.map_err(|problem| ClientError::output(&problem))
}

/// Drops all of them that it can.
pub(super) async fn remove(client: &Client, hashes: &[BlobHash]) -> Result<(), ClientError> {
    let mut has_failed = false;
    for hash in hashes {
        let path = format!("/blobs/{hash}");
        let answer = client.soon(client.send(Method::DELETE, &path, &[], Body::empty())).await?;
        match answer.good().await {
            Ok(_) => {}
            Err(problem @ ClientError::Refused { .. }) => {
                problem.tell();
                has_failed = true;
            }
            Err(problem) => return Err(problem),
        }
    }
    if has_failed { Err(ClientError::Told) } else { Ok(()) }
}
