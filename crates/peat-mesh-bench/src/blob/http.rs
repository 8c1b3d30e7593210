//! What a client asks a node about blobs.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::disk::PIECE_BYTES;
use crate::http::{Client, is_success};
use crate::nodes::{Failed, Node, number};

/// Pause between two questions how a blob is getting on.
const PAUSE: Duration = Duration::from_millis(10);
/// Longest wait until a blob is whole.
const PATIENCE: Duration = Duration::from_secs(900);

/// The contents of a file, in pieces.
pub(super) fn contents(file: &Path) -> Result<impl Iterator<Item = Result<Vec<u8>, Failed>>, Failed> {
    let mut file = File::open(file)?;
    Ok(std::iter::from_fn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        match file.read(&mut piece) {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some(Ok(piece))
            }
            Err(problem) => Some(Err(problem.into())),
        }
    }))
}

/// Sends a blob to a node; returns its hash.
pub(super) async fn send(
    node: &Node,
    bytes: u64,
    pieces: impl Iterator<Item = Result<Vec<u8>, Failed>>,
) -> Result<String, Failed> {
    let (status, answer) = Client::connect(node.http).await?.post("/api/v1/blobs", bytes, pieces).await?;
    hash_of(status, &answer)
}

/// The hash in the answer to a blob that was sent.
pub(super) fn hash_of(status: u16, answer: &[u8]) -> Result<String, Failed> {
    if !is_success(status) {
        let reason = String::from_utf8_lossy(answer);
        return Err(format!("a blob was answered with {status}: {reason}").into());
    }
    let answer: Value = serde_json::from_slice(answer)?;
    Ok(answer["hash"].as_str().ok_or("the node did not say the hash")?.to_owned())
}

/// Has a node fetch a blob in the background, and waits until it is whole; returns the seconds.
pub(super) async fn fetch(node: &Node, hash: &str) -> Result<f64, Failed> {
    number(&node.order(format!("fetch {hash}")).await?["s"])
}

/// Reads a blob through a node to nowhere, and waits until the node says that it is whole there; returns the seconds.
pub(super) async fn read(node: &Node, hash: &str) -> Result<f64, Failed> {
    let path = format!("/api/v1/blobs/{hash}");
    let mut client = Client::connect(node.http).await?;
    let begun = Instant::now();
    client.drain(&path).await?;
    loop {
        let status: Value = serde_json::from_slice(&client.get(&format!("{path}/status")).await?)?;
        if status["state"] == "complete" {
            return Ok(begun.elapsed().as_secs_f64());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("a blob is not whole after {} s: {status}", PATIENCE.as_secs()).into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Bytes of blobs that came to a node from others since it started.
pub(super) async fn received_bytes(node: &Node) -> Result<f64, Failed> {
    const NAME: &str = "peat_blob_received_bytes_total ";
    let metrics = Client::connect(node.http).await?.get("/metrics").await?;
    let metrics = String::from_utf8(metrics)?;
    let value = metrics.lines().find_map(|line| line.strip_prefix(NAME));
    Ok(value.ok_or_else(|| format!("/metrics has no {NAME}"))?.trim().parse()?)
}

/// Drops a blob from a node.
pub(super) async fn delete(node: &Node, hash: &str) -> Result<(), Failed> {
    Client::connect(node.http).await?.delete(&format!("/api/v1/blobs/{hash}")).await
}
