//! What a node says of itself in the formation, and what its log says of nodes that are lost and found.

use std::time::SystemTime;

use peat_mesh_core::io::{Event, NodeRef};
use peat_mesh_core::presence::{Label, Me};
use tracing::{debug, info, warn};

use crate::config::Config;

/// What this node knows of itself when it starts.
pub(super) fn me(config: &Config, incarnation: u64) -> Me {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Me {
        name: config.name.clone(),
        role: Label::new(role(config)).unwrap_or_default(),
        version: Label::new(env!("CARGO_PKG_VERSION")).unwrap_or_default(),
        epoch: now.as_millis() as u64,
        incarnation,
        started_ms: 0,
    }
}

/// `gateway`: it finds the peers of its own cluster or network, and knows others elsewhere by their addresses.
fn role(config: &Config) -> &'static str {
    let has_cluster = config.name.as_str().contains('/');
    let knows_others = !config.static_peers.is_empty();
    if knows_others && (config.finds_peers() || has_cluster) { "gateway" } else { "node" }
}

/// Writes news of the formation to the log.
pub(super) fn tell(event: &Event, now_ms: u64) {
    match event {
        Event::Partition { nodes, count, since_ms, reachable, unreachable } => {
            let secs = now_ms.saturating_sub(*since_ms) as f64 / 1_000.0;
            warn!(
                reachable,
                unreachable,
                "Partition: {} cannot be reached since {secs:.1} s. Off, or the network is cut; both sides go on",
                names(nodes, *count)
            );
        }
        Event::Healed { nodes, count, after_ms, reachable, unreachable } => {
            let secs = *after_ms as f64 / 1_000.0;
            info!(
                reachable,
                unreachable,
                "Healed: {} can be reached again after {secs:.1} s",
                names(nodes, *count)
            );
        }
        Event::Quarantined { peer, document, reason, bytes } => warn!(
            %peer,
            %document,
            bytes,
            "Quarantined a document as this peer sends it: {reason}. All else of the peer is taken, and the document \
             comes from any other peer that has it. If no other has it, look at the peer's store and log, and write \
             the document there again"
        ),
        Event::Unsendable { peer, document, reason } => warn!(
            %peer,
            %document,
            "A document cannot be sent to this peer, all others are: {reason}. If a change of it is too large, write \
             it under another name in parts; if it cannot be read, restore this node's store"
        ),
        Event::NodeLeft { node } => debug!(node = %node.name, "Node left the formation"),
        Event::NodeReachable { node, after_ms: None } => {
            debug!(node = %node.name, "Node known in the formation")
        }
        _ => {}
    }
}

fn names(nodes: &[NodeRef], count: usize) -> String {
    const SHOWN_MAX: usize = 8;
    let shown: Vec<&str> = nodes.iter().take(SHOWN_MAX).map(|node| node.name.as_str()).collect();
    let more = count.saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
