//! Fetches for documents: a few at once. Which blobs are wanted is in the index, so nothing is written when one begins,
//! and after a crash all of them are found there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use peat_mesh_core::EndpointId;
use tokio::time::Instant;
use tracing::debug;

use super::Work;
use super::queue::{PAGE_COUNT_MAX, Queue};
use crate::blob::fetch::{End, Job, Want};
use crate::blob::sweep::blocking;
use crate::handle::{BlobError, BlobHash, BlobState, Blobs, FetchStep};

/// Blobs that are looked for and fetched at once because documents want them. More wait in the index.
const FETCHES_COUNT_MAX: usize = 64;
/// While more wait, it is looked so often whether one that nobody has is to give up its place.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What has come is written so often, and when it is so many blobs: it need not be, but is looked at again after a start.
const SETTLE_EVERY: Duration = Duration::from_secs(1);
const SETTLE_COUNT: usize = 256;

/// The fetches for documents.
#[derive(Debug)]
pub(super) struct Fetches {
    queue: Queue,
    live: BTreeMap<BlobHash, Fetch>,
    /// The one that gives up its place.
    leaving: Option<Arc<Job>>,
    /// The peers there were at the last look.
    peers: BTreeSet<EndpointId>,
    /// What has come, and what no document wants any more, to be noted in the index.
    here: Vec<BlobHash>,
    given_up: Vec<BlobHash>,
    settled_at: Instant,
}

#[derive(Debug)]
struct Fetch {
    job: Arc<Job>,
    /// Since when nobody has it.
    waits_since: Option<Instant>,
}

impl Fetches {
    pub(super) fn new() -> Self {
        Self {
            queue: Queue::new(),
            live: BTreeMap::new(),
            leaving: None,
            peers: BTreeSet::new(),
            here: Vec::new(),
            given_up: Vec::new(),
            settled_at: Instant::now(),
        }
    }

    fn has_place(&self) -> bool {
        self.live.len() + usize::from(self.leaving.is_some()) < FETCHES_COUNT_MAX
    }

    /// The fetch that has been waiting for the longest time.
    fn longest(&self) -> Option<(BlobHash, Instant)> {
        let waiting = self.live.iter().filter(|(_, fetch)| fetch.is_waiting());
        waiting.filter_map(|(hash, fetch)| Some((*hash, fetch.waits_since?))).min_by_key(|(_, since)| *since)
    }

    /// For how long a place has been taken in vain; `None` when one is free.
    fn waited(&self) -> Option<Duration> {
        if self.has_place() {
            return None;
        }
        // One at a time; and without peers it does not matter who waits.
        if self.leaving.is_some() || self.peers.is_empty() {
            return Some(Duration::ZERO);
        }
        Some(self.longest().map_or(Duration::ZERO, |(_, since)| since.elapsed()))
    }
}

impl Fetch {
    fn is_waiting(&self) -> bool {
        matches!(self.job.step(), FetchStep::Waiting { .. })
    }

    /// Notes whether it is in vain.
    fn look(&mut self) {
        match self.job.step() {
            FetchStep::Waiting { .. } => _ = self.waits_since.get_or_insert_with(Instant::now),
            FetchStep::Looking => {}
            _ => self.waits_since = None,
        }
    }
}

impl Work {
    /// Does for some blobs what documents that have just changed want.
    pub(super) async fn attend(&mut self, touched: &BTreeSet<BlobHash>) -> Result<(), BlobError> {
        let mut result = Ok(());
        for hash in touched {
            let judged = self.judge(*hash).await;
            match judged {
                Ok(true) => self.fetches.queue.add(*hash),
                Ok(false) => {}
                Err(problem) => {
                    // It is marked in the index.
                    self.fetches.queue.look_through();
                    result = Err(problem);
                }
            }
        }
        self.settle().await.and(result)
    }

    /// Gives free places to blobs that documents want. Returns when it is to be done again at the latest.
    pub(super) async fn fetch(&mut self) -> Result<Option<Instant>, BlobError> {
        let mut result = self.look();
        let mut is_through = false;
        for _ in 0..PAGE_COUNT_MAX {
            if self.cancel.is_cancelled() {
                return Ok(None);
            }
            if let Some(after) = self.fetches.queue.wants_page() {
                let references = Arc::clone(&self.blobs.inner.references);
                let page = blocking(move || references.wanted_after(after, PAGE_COUNT_MAX)).await?;
                self.fetches.queue.read(page);
                continue;
            }
            let waited = self.fetches.waited();
            let Some(hash) = self.fetches.queue.take(waited) else {
                is_through = true;
                break;
            };
            // One that cannot be begun is no reason to leave the others.
            if let Err(problem) = self.place(hash).await {
                self.fetches.queue.look_through();
                result = Err(problem);
            }
        }
        let is_crowded = !self.fetches.queue.is_empty();
        self.blobs.inner.jobs.is_crowded.store(is_crowded, Ordering::Relaxed);
        let is_due = self.fetches.settled_at.elapsed() >= SETTLE_EVERY;
        if is_due || !self.fetches.given_up.is_empty() || self.fetches.here.len() >= SETTLE_COUNT {
            self.settle().await?;
        }
        result?;
        let settle_at = (!self.fetches.here.is_empty()).then(|| self.fetches.settled_at + SETTLE_EVERY);
        let now = Instant::now();
        let look_at = match (is_crowded, is_through) {
            (true, true) => Some(now + LOOK_EVERY),
            (true, false) => Some(now),
            (false, _) => None,
        };
        Ok(settle_at.into_iter().chain(look_at).min())
    }

    /// Looks at the fetches there are.
    fn look(&mut self) -> Result<(), BlobError> {
        let inner = &self.blobs.inner;
        let Fetches { queue, live, leaving, peers, here, .. } = &mut self.fetches;
        let now_peers = inner.ways.all().iter().map(|way| way.peer).collect();
        if *peers != now_peers {
            *peers = now_peers;
            queue.hurry();
        }
        // Somebody else may want it; then it goes on without a place here.
        leaving.take_if(|job| job.is_wanted() || !inner.jobs.is_live(job));
        let mut result = Ok(());
        live.retain(|hash, fetch| {
            let job = &fetch.job;
            if inner.jobs.is_live(job) {
                fetch.look();
                return fetch.job.is_for_document();
            }
            match job.here.borrow().end.clone() {
                Some(End::Whole) => {
                    here.push(*hash);
                    queue.hurry();
                }
                // Whoever has ended it has taken its mark off.
                None | Some(End::NotWanted | End::SetAside) => queue.look_through(),
                Some(other) => {
                    queue.look_through();
                    result = Err(other.error(*hash));
                }
            }
            false
        });
        result
    }

    /// Whether a blob is to be fetched now. If not, what was begun is ended.
    async fn judge(&mut self, hash: BlobHash) -> Result<bool, BlobError> {
        let references = Arc::clone(&self.blobs.inner.references);
        match references.is_wanted(hash)? {
            // Nothing stays pinned that never came. Whether it was given up does not matter: documents named it.
            None if references.is_only_pinned(hash)? && self.blobs.progress(hash).is_none() => {
                if !matches!(self.blobs.state(hash).await?, BlobState::Complete { .. }) {
                    self.fetches.given_up.push(hash);
                }
                Ok(false)
            }
            None => Ok(false),
            Some(true) if self.fetches.live.contains_key(&hash) => Ok(false),
            Some(is_wanted) => match self.blobs.state(hash).await? {
                BlobState::Complete { .. } => {
                    self.fetches.here.push(hash);
                    Ok(false)
                }
                _ if is_wanted => Ok(true),
                _ => {
                    self.blobs.inner.end_fetch(hash).await?;
                    self.fetches.live.remove(&hash);
                    debug!(%hash, "no document wants this blob any more; it is not fetched on");
                    self.fetches.given_up.push(hash);
                    Ok(false)
                }
            },
        }
    }

    /// Begins a fetch, or clears a place for it.
    async fn place(&mut self, hash: BlobHash) -> Result<(), BlobError> {
        if !self.judge(hash).await? {
            return Ok(());
        }
        if !self.fetches.has_place() {
            if let Some(fetch) =
                self.fetches.longest().and_then(|(longest, _)| self.fetches.live.remove(&longest))
            {
                fetch.job.set_aside();
                self.fetches.leaving = Some(fetch.job);
            }
            self.fetches.queue.put_back(hash);
            return Ok(());
        }
        let inner = &self.blobs.inner;
        let joined = tokio::select! {
            joined = inner.join(hash, Want::Document) => joined?,
            () = self.cancel.cancelled() => return Ok(()),
        };
        // Somebody may have deleted it, or ended its fetch, a moment before.
        if inner.references.is_wanted(hash)?.is_none() {
            joined.job.set_aside();
            return Ok(());
        }
        debug!(%hash, "a document names this blob; it is fetched");
        self.fetches.live.insert(hash, Fetch { job: Arc::clone(&joined.job), waits_since: None });
        Ok(())
    }

    /// Notes in the index what is done.
    async fn settle(&mut self) -> Result<(), BlobError> {
        let references = Arc::clone(&self.blobs.inner.references);
        let here = std::mem::take(&mut self.fetches.here);
        let given_up = std::mem::take(&mut self.fetches.given_up);
        self.fetches.settled_at = Instant::now();
        let settled = blocking(move || references.settle(&here, &given_up)).await;
        if settled.is_err() {
            self.fetches.queue.look_through();
        }
        settled
    }
}
