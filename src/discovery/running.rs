//! The sources at work: one task per source and one that joins what they say.
//!
//! What comes in are sources and the ids of peers that could not be dialled; what goes out are the merged
//! events and a status per source. A source that ends or panics is noted in its status, what it said last
//! stays, and the others go on.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use peat_mesh_core::id::EndpointId;
use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::merge::Merged;
use super::{Context, Discovery, DiscoveryError, DiscoveryEvent, EventSender, SourceStatus, StatusReporter};

/// Events that wait for the node. A source that fills it waits; nothing is dropped.
const EVENTS_COUNT_MAX: usize = 64;
/// Failed dials that wait for a source. More are dropped: the next failed dial says it again.
const FAILED_COUNT_MAX: usize = 64;
/// How long the sources may take to say goodbye, in milliseconds.
const GOODBYE_MS_MAX: u64 = 800;
/// How long [`Running::shutdown`] may take as a whole, in milliseconds.
const SHUTDOWN_MS_MAX: u64 = 950;

/// Several sources running as one view.
///
/// Dropping it stops the sources at once; [`Running::shutdown`] lets them say goodbye first.
#[derive(Debug)]
pub struct Running {
    /// What changed, each peer once for all sources. Ends when discovery has stopped.
    pub events: mpsc::Receiver<DiscoveryEvent>,
    failed: Vec<mpsc::Sender<EndpointId>>,
    statuses: Vec<watch::Receiver<SourceStatus>>,
    listed: watch::Receiver<bool>,
    cancel: CancellationToken,
    task: JoinSet<()>,
}

/// Starts `sources`; `own` is this node, which is never reported as a peer.
///
/// Sources earlier in the list have precedence when two give a peer different names, or together more
/// addresses than fit. Must be called inside a Tokio runtime.
#[must_use]
pub fn start(sources: Vec<Box<dyn Discovery>>, own: EndpointId) -> Running {
    let cancel = CancellationToken::new();
    let (out, events) = mpsc::channel(EVENTS_COUNT_MAX);
    let (inbox_sender, inbox) = mpsc::channel(EVENTS_COUNT_MAX);
    let mut failed = Vec::new();
    let mut statuses = Vec::new();
    let mut workers = Workers::default();
    for (index, source) in sources.into_iter().enumerate() {
        let (failed_sender, failed_receiver) = mpsc::channel(FAILED_COUNT_MAX);
        let (status_sender, status_receiver) = watch::channel(SourceStatus {
            name: source.name(),
            running: false,
            worked: false,
            complete: false,
            detail: "starting".to_owned(),
        });
        let status = StatusReporter(status_sender);
        let context = Context {
            events: EventSender { index, inbox: inbox_sender.clone() },
            failed: failed_receiver,
            status: status.clone(),
            cancel: cancel.child_token(),
        };
        failed.push(failed_sender);
        statuses.push(status_receiver);
        workers.spawn(source, context, status);
    }
    let mut task = JoinSet::new();
    let (listed_sender, listed) = watch::channel(false);
    let join = Join { workers, inbox, out, listed: listed_sender, statuses: statuses.clone() };
    task.spawn(join.run(Merged::new(own), cancel.clone()));
    Running { events, failed, statuses, listed, cancel, task }
}

impl Running {
    /// Tells the sources that a peer could not be reached at the addresses they gave.
    pub fn dial_failed(&self, endpoint: EndpointId) {
        for sender in &self.failed {
            // A full channel already makes the source look again.
            let _ = sender.try_send(endpoint);
        }
    }

    /// How each source is doing, for whoever asks later.
    #[must_use]
    pub fn statuses(&self) -> Vec<watch::Receiver<SourceStatus>> {
        self.statuses.clone()
    }

    /// How each source is doing, in the order they were given.
    #[must_use]
    pub fn status(&self) -> Vec<SourceStatus> {
        self.statuses.iter().map(|status| status.borrow().clone()).collect()
    }

    /// Waits until [`Running::status`] says something new; for ever when there is no source.
    pub async fn status_changed(&mut self) {
        let mut changes: FuturesUnordered<_> =
            self.statuses.iter_mut().map(|status| status.changed()).collect();
        // A status without a writer never changes again.
        while let Some(change) = changes.next().await {
            if change.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Becomes true when every source has told its first full list of peers, and all of it has been given to
    /// `events`. A source that has ended is not waited for.
    #[must_use]
    pub fn listed(&self) -> watch::Receiver<bool> {
        self.listed.clone()
    }

    /// Lets the sources say goodbye and stops them, within a second.
    pub async fn shutdown(mut self) {
        self.cancel.cancel();
        let deadline = Duration::from_millis(SHUTDOWN_MS_MAX);
        if timeout(deadline, self.task.join_next()).await.is_err() {
            warn!("discovery did not stop in time and was cut off");
        }
    }
}

/// The tasks of the sources.
#[derive(Default)]
struct Workers {
    tasks: JoinSet<Result<(), DiscoveryError>>,
    statuses: HashMap<task::Id, StatusReporter>,
}

impl Workers {
    fn spawn(&mut self, source: Box<dyn Discovery>, context: Context, status: StatusReporter) {
        let handle = self.tasks.spawn(source.run(context));
        self.statuses.insert(handle.id(), status);
    }

    /// Waits for the next source to end and notes it; for ever when there is none.
    async fn ended(&mut self) {
        let (id, reason) = match self.tasks.join_next_with_id().await {
            None => return std::future::pending().await,
            Some(Ok((id, Ok(()) | Err(DiscoveryError::Closed)))) => (id, "it has stopped".to_owned()),
            Some(Ok((id, Err(failed)))) => (id, failed.to_string()),
            Some(Err(panic)) => (panic.id(), format!("it broke down: {panic}")),
        };
        if let Some(status) = self.statuses.remove(&id) {
            warn!(source = status.0.borrow().name, reason, "a source of discovery ended");
            status.ended(reason);
        }
    }

    async fn stop(mut self) {
        let all_done = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(Duration::from_millis(GOODBYE_MS_MAX), all_done).await.is_err() {
            warn!("a source of discovery took too long to say goodbye");
        }
        self.tasks.shutdown().await;
    }
}

/// Joins what the sources say.
struct Join {
    workers: Workers,
    inbox: mpsc::Receiver<(usize, DiscoveryEvent)>,
    out: mpsc::Sender<DiscoveryEvent>,
    listed: watch::Sender<bool>,
    statuses: Vec<watch::Receiver<SourceStatus>>,
}

impl Join {
    async fn run(self, mut merged: Merged, cancel: CancellationToken) {
        let Self { mut workers, mut inbox, out, listed, statuses } = self;
        let mut complete = std::pin::pin!(all_complete(statuses));
        let (mut is_complete, mut refused_seen) = (false, false);
        loop {
            // A source is complete after its events are in the inbox.
            if is_complete && inbox.is_empty() {
                listed.send_replace(true);
            }
            let (index, event) = tokio::select! {
                // First, so that a source that ends because we stop is not reported as ended.
                biased;
                () = cancel.cancelled() => break,
                () = workers.ended() => continue,
                () = &mut complete, if !is_complete => {
                    is_complete = true;
                    continue;
                }
                Some(numbered) = inbox.recv() => numbered,
            };
            for event in merged.apply(index, event) {
                debug!(?event, "discovery");
                // The node may have stopped reading before it shuts us down.
                let sent = tokio::select! {
                    () = cancel.cancelled() => break,
                    sent = out.send(event) => sent,
                };
                if sent.is_err() {
                    break;
                }
            }
            if merged.refused_count() > 0 && !refused_seen {
                refused_seen = true;
                warn!("there are more peers than the table holds; the newest are left out");
            }
        }
        // Sources that wait for room in the inbox must notice the end too.
        drop(inbox);
        cancel.cancel();
        workers.stop().await;
    }
}

/// Waits until every source has told its first full list, or has ended.
async fn all_complete(statuses: Vec<watch::Receiver<SourceStatus>>) {
    for mut status in statuses {
        // A status without a writer is the last word of a source that has ended.
        let _ = status.wait_for(|status| status.complete).await;
    }
}

#[cfg(test)]
mod tests;
