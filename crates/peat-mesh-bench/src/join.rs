//! An empty node joins; both are equal and meet again; some documents differ.

use std::time::{Duration, Instant};

use peat_mesh::service::Service;
use peat_mesh_core::hub::PeerState;
use serde_json::{Value, json};

use crate::figure::Figure;
use crate::nodes::{Failed, Formation, until};
use crate::{fill, machine};

/// Documents that differ in the third part, of a hundred.
const DIFFERENT_PERCENT: usize = 1;

pub(crate) async fn run(docs: usize) -> Result<Value, Failed> {
    println!("join: {docs} documents of about 200 bytes on one node, another one joins\n");
    let formation = Formation::new()?;
    let first = formation.start("first", None).await?;
    let begun = Instant::now();
    fill::write(first.handle(), 0..docs, 0).await?;
    let filled = begun.elapsed();
    let stream = machine::iroh_stream().await?;
    let fsync_ms = machine::fsync(&formation.folder("first"))?.median_ms();

    let mut figures = vec![Figure::new("the machine: one fdatasync of 4 KiB", fsync_ms, "ms")];
    figures.push(Figure::new("the machine: one stream of bare iroh", stream.bytes_per_s / 1e6, "MB/s"));
    figures.push(Figure::new("the machine: a round trip over bare iroh", stream.round_trip_ms, "ms"));
    figures.push(Figure::new("filling the first node, without HTTP", rate(docs, filled), "documents/s"));

    let second = formation.start("second", Some(&first)).await?;
    until(&second, |peer| peer.state == PeerState::Connected).await?;
    let begun = Instant::now();
    holds(&second, docs as u64).await?;
    let joined = begun.elapsed();
    let sent = bytes_sent(&first, &second);
    figures.push(Figure::new("cold join", rate(docs, joined), "documents/s").budget_least(20_000.0));
    figures.push(Figure::new(
        "cold join: bytes of frames for each document",
        sent as f64 / docs as f64,
        "bytes",
    ));
    until(&second, |peer| peer.in_step).await?;
    second.shutdown().await;

    let second = formation.start("second", Some(&first)).await?;
    figures.push(meet(&first, &second).await?.budget_most(100.0).limit(stream.round_trip_ms));
    let sent = bytes_sent(&first, &second) as f64;
    figures
        .push(Figure::new("reconnect of equal sets: bytes of frames", sent, "bytes").budget_most(10_000.0));
    second.shutdown().await;

    let different = (docs * DIFFERENT_PERCENT / 100).max(1);
    let step = docs / different;
    let changes = fill::write(first.handle(), (0..different).map(|number| number * step), 1).await?;
    let second = formation.start("second", Some(&first)).await?;
    let equal = meet(&first, &second).await?;
    figures.push(Figure::new("reconnect with 1 % different", equal.value, "ms").budget_most(500.0));
    let ratio = bytes_sent(&first, &second) as f64 / changes as f64;
    figures.push(
        Figure::new("reconnect with 1 % different: bytes, as a multiple of the changes", ratio, "x")
            .budget_most(3.0),
    );
    first.shutdown().await;
    second.shutdown().await;
    let results: Vec<Value> = figures.iter().map(Figure::report).collect();
    Ok(json!({"scenario": "join", "docs": docs, "results": results}))
}

/// From the connection until both are known to be equal, by the clock of the second node.
async fn meet(first: &Service, second: &Service) -> Result<Figure, Failed> {
    until(first, |peer| peer.state == PeerState::Connected && peer.in_step).await?;
    let peer = until(second, |peer| peer.state == PeerState::Connected && peer.in_step).await?;
    let at_ms = peer.in_step_at_ms.unwrap_or(peer.since_ms);
    Ok(Figure::new("reconnect of equal sets", at_ms.saturating_sub(peer.since_ms) as f64, "ms"))
}

fn bytes_sent(first: &Service, second: &Service) -> u64 {
    let sent = |node: &Service| node.handle().peers().iter().map(|peer| peer.view.bytes_sent).sum::<u64>();
    sent(first) + sent(second)
}

async fn holds(node: &Service, docs: u64) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(600);
    while node.handle().last_seq()? < docs {
        if Instant::now() > deadline {
            return Err("the documents did not come".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
