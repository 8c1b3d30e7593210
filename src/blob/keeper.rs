//! The task that does for blobs what documents say: it follows the changes, has blobs fetched that collections with
//! a policy name, and drops those to which nothing has referred for the grace time.

mod fetches;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use self::fetches::Fetches;
use super::references::Followed;
use super::sweep::{DROPS_COUNT_MAX, blocking};
use super::{BlobStore, PARTIAL, WHOLE};
use crate::handle::{BlobError, BlobHash, Blobs, Handle};

/// Changes within so many milliseconds are looked at together.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);
/// After a failure it is tried again after so long.
const RETRY: Duration = Duration::from_secs(60);
/// How long peers have to say that they are in step.
const IN_STEP_WITHIN: Duration = Duration::from_secs(5);
/// Blobs are looked through in every tenth of the grace time, within these bounds.
const SWEEPS_PER_GRACE: u32 = 10;
const SWEEP_EVERY_MIN: Duration = Duration::from_millis(100);
const SWEEP_EVERY_MAX: Duration = Duration::from_secs(600);

/// The task, to be stopped and waited for.
#[derive(Debug)]
pub struct Keeper {
    task: JoinHandle<()>,
    cancel: DropGuard,
}

impl Keeper {
    /// Ends the task after what it is doing.
    pub async fn shutdown(self) {
        drop(self.cancel);
        if let Err(problem) = self.task.await
            && problem.is_panic()
        {
            warn!("the task that keeps and drops blobs has panicked; this is a bug: {problem}");
        }
    }
}

impl BlobStore {
    /// Starts to follow the documents of a node.
    #[must_use]
    pub fn keep(&self, handle: Handle) -> Keeper {
        let cancel = CancellationToken::new();
        let (blobs, token) = (self.clone(), cancel.clone());
        let work = Work {
            blobs,
            handle,
            cancel: token,
            fetches: Fetches::new(),
            due: Vec::new(),
            is_failing: false,
            waits_for: None,
        };
        Keeper { task: tokio::spawn(work.run()), cancel: cancel.drop_guard() }
    }
}

struct Work {
    blobs: BlobStore,
    handle: Handle,
    cancel: CancellationToken,
    fetches: Fetches,
    /// Blobs whose time was over at the last look, and that were not dropped yet.
    due: Vec<BlobHash>,
    /// Whether the log has said that it does not work.
    is_failing: bool,
    /// Why blobs that nothing refers to have to stay, as the log has said.
    waits_for: Option<String>,
}

impl Work {
    async fn run(mut self) {
        let cancel = self.cancel.clone();
        let mut changes = self.handle.changes();
        let every = self.sweep_every();
        let mut sweep_at = every.map(|every| Instant::now() + every);
        let mut is_reviewed = false;
        while !cancel.is_cancelled() {
            let mut done = self.follow().await;
            if done.is_ok() && !is_reviewed {
                done = self.review().await;
                is_reviewed = done.is_ok();
            }
            let mut fetch_at = None;
            if done.is_ok() {
                match self.fetch().await {
                    Ok(at) => fetch_at = at,
                    Err(problem) => done = Err(problem),
                }
                if sweep_at.is_some_and(|at| Instant::now() >= at) {
                    done = self.sweep().await.and(done);
                    // What is left of it goes on at once, after a look at everything else.
                    let wait = every.filter(|_| self.due.is_empty()).unwrap_or_default();
                    sweep_at = Some(Instant::now() + wait);
                }
            }
            self.note(&done);
            let at_the_latest = match done {
                Ok(()) => Instant::now() + SWEEP_EVERY_MAX,
                Err(_) => Instant::now() + RETRY,
            };
            let next = fetch_at
                .into_iter()
                .chain(sweep_at.filter(|_| done.is_ok()))
                .fold(at_the_latest, Instant::min);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep_until(next) => {}
                () = self.blobs.inner.jobs.over.notified() => {}
                // How many there were does not matter: they are read from the index.
                _ = changes.recv() => tokio::select! {
                    () = cancel.cancelled() => return,
                    () = sleep(FOLLOW_EVERY) => changes = self.handle.changes(),
                },
            }
        }
    }

    fn sweep_every(&self) -> Option<Duration> {
        let grace = Duration::from_millis(self.blobs.inner.references.grace_ms()?);
        Some((grace / SWEEPS_PER_GRACE).clamp(SWEEP_EVERY_MIN, SWEEP_EVERY_MAX))
    }

    /// Says once that it does not work, and once that it does again.
    fn note(&mut self, done: &Result<(), BlobError>) {
        match done {
            Err(problem) if !self.is_failing && !self.cancel.is_cancelled() => warn!(
                "the blobs that documents name cannot all be fetched, nor others be dropped: {problem}; tried again \
                 every {} s",
                RETRY.as_secs()
            ),
            Ok(()) if self.is_failing => debug!("the blobs that documents name are looked at again"),
            _ => {}
        }
        self.is_failing = done.is_err();
    }

    /// Reads all changes there are.
    async fn follow(&mut self) -> Result<(), BlobError> {
        loop {
            let references = Arc::clone(&self.blobs.inner.references);
            let followed = blocking(move || references.follow()).await?;
            self.attend(&followed.touched).await?;
            if !followed.more || self.cancel.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Marks at a start what documents want and is not here.
    async fn review(&mut self) -> Result<(), BlobError> {
        let here = self.blobs.inner.here(&[WHOLE]).await?;
        let references = Arc::clone(&self.blobs.inner.references);
        blocking(move || references.review(&here).map(drop)).await
    }

    /// Drops some of what may go. The others are left in `due`: while some are dropped, other peers and documents may
    /// come.
    async fn sweep(&mut self) -> Result<(), BlobError> {
        let inner = Arc::clone(&self.blobs.inner);
        if self.due.is_empty() {
            let here = inner.here(&[WHOLE, PARTIAL]).await?;
            let references = Arc::clone(&inner.references);
            self.due = blocking(move || references.look(&here)).await?;
        }
        let mut some = self.due.split_off(self.due.len().saturating_sub(DROPS_COUNT_MAX));
        some.retain(|hash| self.blobs.progress(*hash).is_none());
        if some.is_empty() {
            return Ok(());
        }
        if let Some(why) = self.may_miss_documents().await {
            if !self.cancel.is_cancelled() && self.waits_for.as_ref() != Some(&why) {
                let blobs = self.due.len() + some.len();
                info!(blobs, "Blobs that nothing refers to stay for now: {why}");
            }
            self.waits_for = Some(why);
            self.due.clear();
            return Ok(());
        }
        self.waits_for = None;
        let mut followed = Followed::default();
        let dropped = inner.drop_unreferenced(&some, &mut followed).await;
        if dropped.is_err() {
            self.due.clear();
        }
        self.attend(&followed.touched).await?;
        dropped
    }

    /// Why documents may still be on their way to this node, in words.
    async fn may_miss_documents(&self) -> Option<String> {
        if self.handle.checks().iter().any(|check| check.name == "sync" && !check.ok) {
            return Some("this node has not caught up with its peers yet".to_owned());
        }
        let stopping = || "this node is shutting down".to_owned();
        let state = tokio::select! {
            () = self.cancel.cancelled() => return Some(stopping()),
            state = self.handle.sync(IN_STEP_WITHIN) => state,
        };
        let Ok(state) = state else {
            return Some(stopping());
        };
        if state.in_step {
            return None;
        }
        let behind = state.peers.iter().filter(|(view, is_equal)| view.conn.is_some() && !is_equal);
        let names: Vec<_> = behind
            .map(|(view, _)| view.name.as_ref().map_or_else(|| view.peer.short(), ToString::to_string))
            .collect();
        Some(format!("this node is not in step with {}", names.join(", ")))
    }
}
