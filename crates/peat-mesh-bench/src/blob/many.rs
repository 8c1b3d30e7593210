//! Many small blobs: sent to one node, and read through another that has none of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::disk::fill;
use super::http::hash_of;
use crate::figure::Figure;
use crate::http::Client;
use crate::machine::Machine;
use crate::nodes::{Failed, Formation, pair};
use crate::report::Report;

const CLIENTS_COUNT: usize = 16;
const BLOB_BYTES: usize = 10_000;
/// Status of a node that has enough to do.
const BUSY: u16 = 503;
/// How long a client waits before it asks such a node again.
const PAUSE: Duration = Duration::from_millis(5);

/// What one client did: hashes of blobs, and how often it was told to come again.
type Done = (Vec<String>, usize);

pub(super) async fn run(count: usize, machine: &Machine, report: &mut Report) -> Result<(), Failed> {
    let formation = Formation::new()?;
    let (first, second) = pair(&formation).await?;
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for number in 0..CLIENTS_COUNT {
        clients.spawn(send(first.http, (number..count).step_by(CLIENTS_COUNT)));
    }
    let (mut hashes, mut refused) = (Vec::new(), 0);
    while let Some(done) = clients.join_next().await {
        let (named, told) = done??;
        hashes.extend(named);
        refused += told;
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let at_once = CLIENTS_COUNT as f64;
    let what = format!("{count} blobs of 10 kB, {CLIENTS_COUNT} clients");
    report.add(
        Figure::new(format!("{what}: sent"), rate, "/s")
            .rate()
            .limit(at_once / machine.fsync_ms * 1e3, "all clients in each fsync"),
    );
    report.add(Figure::new(format!("{what}: refused for a while (503) and sent again"), refused as f64, ""));

    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for number in 0..CLIENTS_COUNT {
        let own = hashes.iter().skip(number).step_by(CLIENTS_COUNT).cloned().collect();
        clients.spawn(read(second.http, own));
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    report.add(Figure::new(format!("{what}: read through another node"), rate, "/s").rate().limit(
        at_once / (machine.fsync_ms + machine.round_trip_ms) * 1e3,
        "round trip and fsync, shared by all clients",
    ));
    second.stop().await?;
    first.stop().await
}

async fn send(node: SocketAddr, numbers: impl Iterator<Item = usize>) -> Result<Done, Failed> {
    let mut client = Client::connect(node).await?;
    let (mut hashes, mut refused) = (Vec::new(), 0);
    for number in numbers {
        let mut content = vec![0; BLOB_BYTES];
        fill(&mut content, number as u64);
        loop {
            let piece = std::iter::once(Ok(content.clone()));
            let (status, answer) = client.post("/api/v1/blobs", BLOB_BYTES as u64, piece).await?;
            if status != BUSY {
                hashes.push(hash_of(status, &answer)?);
                break;
            }
            refused += 1;
            tokio::time::sleep(PAUSE).await;
            client = Client::connect(node).await?;
        }
    }
    Ok((hashes, refused))
}

async fn read(node: SocketAddr, hashes: Vec<String>) -> Result<(), Failed> {
    let mut client = Client::connect(node).await?;
    for hash in hashes {
        let bytes = client.drain(&format!("/api/v1/blobs/{hash}")).await?;
        if bytes != BLOB_BYTES as u64 {
            return Err(format!("blob {hash} has {bytes} bytes instead of {BLOB_BYTES}").into());
        }
    }
    Ok(())
}
