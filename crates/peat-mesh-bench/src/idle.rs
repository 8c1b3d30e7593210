//! What a node costs when nothing happens.

use std::time::Duration;

use tokio::time::sleep;

use crate::figure::Figure;
use crate::join;
use crate::machine::Machine;
use crate::nodes::{Failed, Formation, Node};
use crate::report::Report;

const PEERS_COUNT: usize = 3;

pub(crate) async fn run(docs: usize, secs: u64) -> Result<Report, Failed> {
    let mut report =
        Report::new("idle", format!("{docs} documents on a node with {PEERS_COUNT} peers, over {secs} s"));
    let formation = Formation::new()?;
    Machine::measure(formation.path(), &mut report).await?;
    let empty = Formation::new()?;
    let (first, peers) = around(&empty, empty.start("first", &[]).await?, 0).await?;
    let floor = percent(&first, secs).await?;
    stop(first, peers).await?;

    let (first, _) = join::full(&formation, docs, &mut report).await?;
    let (first, peers) = around(&formation, first, docs).await?;
    let before = first.traffic().await?;
    let busy = percent(&first, secs).await?;
    let after = first.traffic().await?;
    report.add(Figure::new("idle: CPU with no documents", floor, "% of a core"));
    report.add(
        Figure::new("idle: CPU", busy, "% of a core")
            .budget_most(1.0)
            .limit(floor, "the same without documents"),
    );
    let per_minute = 60.0 / secs as f64;
    let udp = (after.udp_sent_bytes - before.udp_sent_bytes) * per_minute / PEERS_COUNT as f64;
    report.add(Figure::new("idle: bytes of UDP sent to each peer, per minute", udp, "B"));
    let frames = (after.frame_bytes - before.frame_bytes) * per_minute / PEERS_COUNT as f64;
    report.add(Figure::new("idle: bytes of frames sent to each peer, per minute", frames, "B"));
    report.add(Figure::new("idle: RSS", first.usage()?.rss_bytes as f64 / 1e6, "MB"));
    stop(first, peers).await?;
    Ok(report)
}

/// Gives a node its peers, all in step.
async fn around(formation: &Formation, first: Node, docs: usize) -> Result<(Node, Vec<Node>), Failed> {
    let mut peers: Vec<Node> = Vec::new();
    for number in 0..PEERS_COUNT {
        let known: Vec<&Node> = std::iter::once(&first).chain(&peers).collect();
        let peer = formation.start(&format!("peer-{number}"), &known).await?;
        peer.holds(docs as u64).await?;
        peer.in_step(number + 1).await?;
        peers.push(peer);
    }
    first.in_step(PEERS_COUNT).await?;
    first.compared(PEERS_COUNT).await?;
    Ok((first, peers))
}

async fn percent(node: &Node, secs: u64) -> Result<f64, Failed> {
    let before = node.usage()?;
    sleep(Duration::from_secs(secs)).await;
    Ok(node.usage()?.cpu_percent_since(&before))
}

async fn stop(first: Node, peers: Vec<Node>) -> Result<(), Failed> {
    for peer in peers {
        peer.stop().await?;
    }
    first.stop().await
}
