//! The task that does for blobs what documents say: it follows the changes, has blobs fetched that collections with
//! a policy name, and drops those to which nothing has referred for the grace time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use super::references::Followed;
use super::sweep::blocking;
use super::{BlobStore, PARTIAL, WHOLE};
use crate::handle::{BlobError, BlobHash, BlobState, Blobs, Handle};

/// Changes within so many milliseconds are looked at together.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);
/// After a failure, and while blobs are wanted that have not come, it is tried again after so long.
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
        let work = Work { blobs, handle, cancel: token, is_failing: false, wants: false, waits_for: None };
        Keeper { task: tokio::spawn(work.run()), cancel: cancel.drop_guard() }
    }
}

struct Work {
    blobs: BlobStore,
    handle: Handle,
    cancel: CancellationToken,
    /// Whether the log has said that it does not work.
    is_failing: bool,
    /// Whether blobs are wanted that have not come.
    wants: bool,
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
        let mut retry_at = Instant::now();
        while !cancel.is_cancelled() {
            let mut done = self.follow().await;
            let is_time = Instant::now() >= retry_at;
            if done.is_ok() && (!is_reviewed || (self.wants && is_time)) {
                done = self.review(!is_reviewed).await;
                is_reviewed |= done.is_ok();
                retry_at = Instant::now() + RETRY;
            }
            if done.is_ok() && sweep_at.is_some_and(|at| Instant::now() >= at) {
                done = self.sweep().await;
                sweep_at = every.map(|every| Instant::now() + every);
            }
            self.note(&done);
            let next = match (&done, sweep_at) {
                (Err(_), _) => Instant::now() + RETRY,
                (Ok(()), Some(at)) if self.wants => at.min(retry_at),
                (Ok(()), at) if self.wants => at.unwrap_or(retry_at),
                (Ok(()), at) => at.unwrap_or(Instant::now() + SWEEP_EVERY_MAX),
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep_until(next) => {}
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
            // Should it fail, it is done with the next review.
            self.wants |= !followed.touched.is_empty();
            self.attend(&followed.touched).await?;
            if !followed.more || self.cancel.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Goes through all that is wanted, and at a start through all that documents name.
    async fn review(&mut self, is_start: bool) -> Result<(), BlobError> {
        let here = if is_start { self.blobs.inner.here(&[WHOLE]).await? } else { BTreeSet::new() };
        let references = Arc::clone(&self.blobs.inner.references);
        let wanted =
            blocking(move || if is_start { references.review(&here) } else { references.wanted() }).await?;
        self.wants = false;
        self.attend(&wanted).await
    }

    /// Begins and ends fetches, as documents want it now.
    async fn attend(&mut self, hashes: &BTreeSet<BlobHash>) -> Result<(), BlobError> {
        let references = Arc::clone(&self.blobs.inner.references);
        let (mut here, mut given_up, mut problem) = (Vec::new(), Vec::new(), None);
        for hash in hashes {
            let Some(is_wanted) = references.is_wanted(*hash)? else { continue };
            if self.cancel.is_cancelled() {
                return Ok(());
            }
            match (self.blobs.state(*hash).await?, is_wanted) {
                (BlobState::Complete { .. }, _) => here.push(*hash),
                (_, true) => {
                    self.wants = true;
                    // One that cannot be begun is no reason to leave the others.
                    problem = self.request(*hash).await.err().or(problem);
                }
                (_, false) => {
                    self.blobs.cancel(*hash).await?;
                    debug!(%hash, "no document wants this blob any more; it is not fetched on");
                    given_up.push(*hash);
                }
            }
        }
        blocking(move || references.settle(&here, &given_up)).await?;
        problem.map_or(Ok(()), Err)
    }

    /// Begins a fetch, unless there is one.
    async fn request(&self, hash: BlobHash) -> Result<(), BlobError> {
        if self.blobs.progress(hash).is_some() {
            return Ok(());
        }
        tokio::select! {
            requested = self.blobs.request(hash) => requested?,
            () = self.cancel.cancelled() => return Ok(()),
        };
        debug!(%hash, "a document names this blob; it is fetched");
        Ok(())
    }

    /// Drops what may go.
    async fn sweep(&mut self) -> Result<(), BlobError> {
        let inner = Arc::clone(&self.blobs.inner);
        let here = inner.here(&[WHOLE, PARTIAL]).await?;
        let references = Arc::clone(&inner.references);
        let mut due = blocking(move || references.look(&here)).await?;
        due.retain(|hash| self.blobs.progress(*hash).is_none());
        if due.is_empty() {
            return Ok(());
        }
        if let Some(why) = self.may_miss_documents().await {
            if self.waits_for.as_ref() != Some(&why) {
                info!(blobs = due.len(), "Blobs that nothing refers to stay for now: {why}");
            }
            self.waits_for = Some(why);
            return Ok(());
        }
        self.waits_for = None;
        let mut followed = Followed::default();
        let dropped = inner.drop_unreferenced(&due, &mut followed).await;
        self.wants |= !followed.touched.is_empty();
        self.attend(&followed.touched).await?;
        dropped
    }

    /// Why documents may still be on their way to this node, in words.
    async fn may_miss_documents(&self) -> Option<String> {
        if self.handle.checks().iter().any(|check| check.name == "sync" && !check.ok) {
            return Some("this node has not caught up with its peers yet".to_owned());
        }
        let Ok(state) = self.handle.sync(IN_STEP_WITHIN).await else {
            return Some("this node is shutting down".to_owned());
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
