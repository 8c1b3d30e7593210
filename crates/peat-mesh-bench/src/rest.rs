//! What two connected nodes send each other when nothing happens: bytes in UDP datagrams per minute.

use std::time::Duration;

use peat_mesh::handle::{Handle, Path};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::nodes::{self, Failed};

/// After this long a new connection has found its path and the size of its packets.
const SETTLED: Duration = Duration::from_secs(20);

pub(crate) async fn run(secs: u64) -> Result<Value, Failed> {
    let (_formation, first, second) = nodes::pair().await?;
    sleep(SETTLED).await;
    let began = Instant::now();
    let path = look(first.handle())?;
    sleep(Duration::from_secs(secs)).await;
    let later = look(first.handle())?;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let per_minute = |bytes: u64| (bytes as f64 / minutes).round();
    let report = json!({
        "secs": secs,
        "bytes_sent_per_minute": per_minute(later.bytes_sent - path.bytes_sent),
        "bytes_received_per_minute": per_minute(later.bytes_received - path.bytes_received),
    });
    println!("{report:#}");
    second.shutdown().await;
    first.shutdown().await;
    Ok(report)
}

/// The path to the only peer.
fn look(handle: &Handle) -> Result<Path, Failed> {
    let peer = handle.peers().into_iter().next().ok_or("the peer is gone")?;
    Ok(peer.path.ok_or("the peer is not connected")?)
}
