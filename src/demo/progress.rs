//! A progress bar per node, fed by the node's own change events.

use std::collections::HashSet;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use peat_mesh_core::store::Change;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinSet;

use crate::handle::Handle;

/// How many documents of one collection each node has.
#[derive(Debug)]
pub(super) struct Progress {
    nodes: JoinSet<()>,
}

impl Progress {
    /// Starts to count towards `count` documents on every node.
    pub(super) fn start(handles: &[Handle], collection: &'static str, count: u64) -> Self {
        let bars = MultiProgress::new();
        let style = ProgressStyle::with_template("  {prefix:<8} {bar:40} {pos:>4}/{len} {elapsed_precise}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let mut nodes = JoinSet::new();
        for handle in handles {
            let bar =
                ProgressBar::new(count).with_style(style.clone()).with_prefix(handle.name().to_string());
            let changes = handle.changes();
            nodes.spawn(follow(handle.clone(), changes, bars.add(bar), collection, count));
        }
        Self { nodes }
    }

    /// Waits until every node has all of them.
    pub(super) async fn all_arrived(&mut self) {
        while self.nodes.join_next().await.is_some() {}
    }
}

async fn follow(
    handle: Handle,
    mut changes: broadcast::Receiver<Change>,
    bar: ProgressBar,
    collection: &'static str,
    count: u64,
) {
    let mut seen = HashSet::new();
    while (seen.len() as u64) < count {
        match changes.recv().await {
            Ok(change) if change.doc.collection() == collection => _ = seen.insert(change.doc),
            Ok(_) => {}
            // Too slow for the feed: count what is there.
            Err(RecvError::Lagged(_)) => {
                if let Ok(found) = handle.changes_since(0, count as usize).await {
                    seen.extend(found.into_iter().map(|change| change.doc));
                }
            }
            Err(RecvError::Closed) => return,
        }
        bar.set_position(seen.len() as u64);
    }
    bar.finish();
}
