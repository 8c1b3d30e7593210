//! The writer: a thread that owns the replica and gives every commit as many jobs as are waiting.
//!
//! Clients come first and peers get a share of every commit, so that a client does not wait behind all
//! that a peer has to send, and a peer is not shut out by busy clients.

use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use peat_mesh_core::replica::{Job, Outcome, Replica, WriteError};
use peat_mesh_core::store::{Change, Store};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::handle::{Question, WriteRequest};

/// Requests that may wait for the writer; whoever brings more waits.
const WAITING_COUNT_MAX: usize = 1024;
/// Jobs of clients that share one commit.
const CLIENT_JOBS_MAX: usize = 1024;
/// A commit takes no more frames of peers when it has this many of their jobs, if clients wait for it …
const PEER_JOBS_MAX: usize = 256;
/// … and this many if none does.
const PEER_JOBS_ALONE_MAX: usize = 1024;
/// Commits whose outcomes may wait for the driver.
const COMMITTED_COUNT_MAX: usize = 64;

/// The thread, to be stopped and waited for.
#[derive(Debug)]
pub(super) struct Writer {
    writes: mpsc::Sender<WriteRequest>,
    thread: thread::JoinHandle<()>,
}

impl Writer {
    /// Finishes what is waiting and ends the thread.
    pub(super) async fn stop(self) {
        let _ = self.writes.send(WriteRequest::Stop).await;
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            error!("the writer has panicked; this is a bug");
        }
    }
}

/// A frame of changes from a peer, and the memory it takes of what its connection may take.
#[derive(Debug)]
pub(super) struct Merge {
    pub(super) jobs: Vec<Job>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// What the writer tells the driver, in the order in which it happened.
#[derive(Debug)]
pub(super) enum Told {
    /// A commit is over.
    Committed(Vec<Outcome>),
    /// Somebody asked, and everything acknowledged before has been told.
    Asked(Question),
}

/// The ways to and from the writer.
pub(super) struct Ways {
    pub(super) writes: mpsc::Sender<WriteRequest>,
    pub(super) merges: mpsc::Sender<Merge>,
    pub(super) committed: mpsc::Receiver<Told>,
}

/// Starts the thread. Has to be called in a Tokio runtime.
pub(super) fn start(
    store: Arc<dyn Store>,
    replica: Replica,
    changes: broadcast::Sender<Change>,
    problem: watch::Sender<Option<String>>,
) -> std::io::Result<(Writer, Ways)> {
    let (writes, clients) = mpsc::channel(WAITING_COUNT_MAX);
    let (merges, peers) = mpsc::channel(WAITING_COUNT_MAX);
    let (outcomes, committed) = mpsc::channel(COMMITTED_COUNT_MAX);
    let desk = Desk { store, replica, changes, outcomes, problem };
    let runtime = Handle::current();
    let thread = thread::Builder::new()
        .name("peat-writer".to_owned())
        .spawn(move || desk.run(&runtime, clients, peers))?;
    Ok((Writer { writes: writes.clone(), thread }, Ways { writes, merges, committed }))
}

struct Desk {
    store: Arc<dyn Store>,
    replica: Replica,
    changes: broadcast::Sender<Change>,
    outcomes: mpsc::Sender<Told>,
    problem: watch::Sender<Option<String>>,
}

/// Jobs for one commit, and who waits for them.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    replies: Vec<(usize, oneshot::Sender<Outcome>)>,
    /// The memory that the peers' frames take.
    permits: Vec<OwnedSemaphorePermit>,
    questions: Vec<Question>,
    stop: bool,
}

impl Batch {
    fn add(&mut self, request: WriteRequest) {
        match request {
            WriteRequest::Client { job, reply } => {
                self.replies.push((self.jobs.len(), reply));
                self.jobs.push(job);
            }
            WriteRequest::Ask(question) => self.questions.push(question),
            WriteRequest::Stop => self.stop = true,
        }
    }

    fn merge(&mut self, merge: Merge) {
        self.jobs.extend(merge.jobs);
        self.permits.extend(merge.permit);
    }
}

impl Desk {
    fn run(
        mut self,
        runtime: &Handle,
        mut clients: mpsc::Receiver<WriteRequest>,
        mut peers: mpsc::Receiver<Merge>,
    ) {
        loop {
            let mut batch = Batch::default();
            runtime.block_on(async {
                tokio::select! {
                    Some(request) = clients.recv() => batch.add(request),
                    Some(merge) = peers.recv() => batch.merge(merge),
                    else => batch.stop = true,
                }
            });
            while batch.replies.len() + batch.questions.len() < CLIENT_JOBS_MAX && !batch.stop {
                let Ok(request) = clients.try_recv() else { break };
                batch.add(request);
            }
            let jobs_max = if batch.replies.is_empty() { PEER_JOBS_ALONE_MAX } else { PEER_JOBS_MAX };
            while batch.jobs.len() - batch.replies.len() < jobs_max {
                let Ok(merge) = peers.try_recv() else { break };
                batch.merge(merge);
            }
            let stop = batch.stop;
            let questions = std::mem::take(&mut batch.questions);
            self.commit(batch);
            for question in questions {
                let _ = self.outcomes.blocking_send(Told::Asked(question));
            }
            if clients.is_empty()
                && peers.is_empty()
                && let Err(problem) = self.store.settle()
            {
                // Nothing is lost by it; the next commit says whether writing still fails.
                warn!("{problem}");
            }
            if stop {
                return;
            }
        }
    }

    fn commit(&mut self, batch: Batch) {
        if batch.jobs.is_empty() {
            return;
        }
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let outcomes = self.replica.run(&*self.store, batch.jobs, now_ms);
        drop(batch.permits);
        self.note_problems(&outcomes);
        let changes: Vec<_> = outcomes.iter().filter_map(change).collect();
        let answers: Vec<_> =
            batch.replies.into_iter().map(|(index, reply)| (reply, outcomes[index].clone())).collect();
        // First to the peers, who have the longest way, unless the driver is busy.
        let untold = self.outcomes.try_send(Told::Committed(outcomes)).err();
        for change in changes {
            // Nobody may be listening.
            let _ = self.changes.send(change);
        }
        for (reply, outcome) in answers {
            // The client may have gone.
            let _ = reply.send(outcome);
        }
        if let Some(TrySendError::Full(told)) = untold {
            // The driver has ended only when the node is shutting down.
            let _ = self.outcomes.blocking_send(told);
        }
    }

    /// Says once when writing begins to fail and once when it works again.
    fn note_problems(&self, outcomes: &[Outcome]) {
        let failed = |outcome: &Outcome| match &outcome.result {
            Err(WriteError::Store(problem)) => Some(problem.to_string()),
            _ => None,
        };
        let problem = outcomes.iter().find_map(failed);
        let worked = outcomes.iter().any(|outcome| matches!(&outcome.result, Ok(done) if done.seq.is_some()));
        match (&problem, self.problem.borrow().is_some()) {
            (Some(problem), false) => {
                error!("Writing fails, nothing more is acknowledged until it works again: {problem}")
            }
            (None, true) if worked => info!("Writing works again"),
            _ => {}
        }
        if problem.is_some() || worked {
            self.problem.send_replace(problem);
        }
        for outcome in outcomes {
            if let Err(problem @ WriteError::Damaged { .. }) = &outcome.result {
                warn!("{problem}");
            }
        }
    }
}

fn change(outcome: &Outcome) -> Option<Change> {
    let written = outcome.result.as_ref().ok()?;
    Some(Change {
        seq: written.seq?,
        doc: outcome.doc.clone(),
        action: written.action,
        origin: outcome.source.origin(),
        version: written.heads.version(),
    })
}
