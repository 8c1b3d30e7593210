//! What an update costs in bytes when more nodes are there.

use crate::figure::Figure;
use crate::fill::AT_ONCE_COUNT;
use crate::nodes::{Failed, Formation, Node};
use crate::report::Report;

/// Nodes of the formations.
const NODES: [usize; 3] = [2, 4, 8];

pub(crate) async fn run(updates: usize) -> Result<Report, Failed> {
    let mut report = Report::new(
        "fanout",
        format!("{updates} updates on one node, one after the other; 2, 4 and 8 nodes"),
    );
    for count in NODES {
        let formation = Formation::new()?;
        let mut nodes: Vec<Node> = Vec::new();
        for number in 0..count {
            let known: Vec<&Node> = nodes.iter().collect();
            nodes.push(formation.start(&format!("node-{number}"), &known).await?);
        }
        let writer = nodes.first().ok_or("there is no node")?;
        writer.fill(updates, 1, 0, AT_ONCE_COUNT).await?;
        for node in &nodes {
            node.holds(updates as u64).await?;
            node.in_step(count - 1).await?;
        }
        let before = sent(&nodes).await?;
        let (changes, _) = writer.fill(updates, 1, 1, 1).await?;
        for node in &nodes {
            node.holds(2 * updates as u64).await?;
        }
        let after = sent(&nodes).await?;
        let pairs = (updates * (count - 1)) as f64;
        let change = changes / updates as f64;
        for (what, then, now) in [
            ("the writer", before.0, after.0),
            ("all nodes", before.1, after.1),
            ("all, in UDP", before.2, after.2),
        ] {
            let what = format!("{count} nodes: bytes sent by {what} per update and receiver");
            report.add(Figure::new(what, (now - then) / pairs, "B").limit(change, "the change itself"));
        }
        for node in nodes.into_iter().rev() {
            node.stop().await?;
        }
    }
    Ok(report)
}

/// Bytes of frames of the first, of all, and bytes of UDP of all.
async fn sent(nodes: &[Node]) -> Result<(f64, f64, f64), Failed> {
    let mut all = Vec::new();
    for node in nodes {
        all.push(node.traffic().await?);
    }
    let first = all.first().map_or(0.0, |traffic| traffic.frame_bytes);
    Ok((
        first,
        all.iter().map(|traffic| traffic.frame_bytes).sum(),
        all.iter().map(|traffic| traffic.udp_sent_bytes).sum(),
    ))
}
