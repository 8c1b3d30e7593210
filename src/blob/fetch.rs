//! How blobs of peers get here. A blob that somebody wants has one [`Job`], which ends when nobody wants it any
//! more, when it is whole, or when it cannot be had. Whoever wants it holds an [`Interest`].
//!
//! - `plan`: which bytes are asked of whom.
//! - `provider`: a peer that has some of it, and how it does.
//! - `request`: one part, from one provider.
//! - `run`: the task that fetches; `parts` and `news` are what happens in it.

mod news;
mod parts;
mod plan;
mod provider;
mod request;
mod run;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bao_tree::ChunkRanges;
use tokio::sync::{Notify, mpsc, watch};

use super::{Inner, space};
use crate::handle::{BlobError, BlobHash, FetchStep, Fetching};

pub(super) use run::run;

/// Readers are told of so many bytes at a time, and smaller blobs are fetched whole.
const READABLE_BYTES: u64 = 1024 * 1024;
/// Jobs that may wait to be begun.
pub(super) const STARTS_COUNT_MAX: usize = 256;

/// What somebody wants of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// It is to be whole here, however long that takes.
    Background,
    /// A document wants it. Whoever keeps blobs for documents may set it aside for a while, see [`Job::set_aside`].
    Document,
    /// It is fetched for a peer that has no way to those who have it.
    Passing,
    /// It is read. The reader says what it waits for.
    Reading,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    NotFound {
        asked: usize,
    },
    Interrupted {
        reason: String,
    },
    Full,
    Quota {
        max_bytes: u64,
    },
    Store(String),
    /// Nobody wanted it any more.
    NotWanted,
    /// A document wants it, but it is the turn of others.
    SetAside,
}

impl End {
    pub(super) fn error(self, hash: BlobHash) -> BlobError {
        match self {
            Self::NotFound { asked } => BlobError::NotFound { hash, asked },
            Self::Interrupted { reason } => BlobError::Interrupted { hash, reason },
            Self::Full => space::full(),
            Self::Quota { max_bytes } => BlobError::Quota { max_bytes },
            Self::Store(reason) => BlobError::Store(reason),
            Self::SetAside => BlobError::Interrupted {
                hash,
                reason: "nobody has it; it is looked for again later, by turns with others".to_owned(),
            },
            Self::NotWanted | Self::Whole => BlobError::Interrupted {
                hash,
                reason: "the fetch was ended, by a request or because the blob was deleted".to_owned(),
            },
        }
    }

    fn of(problem: BlobError) -> Self {
        match problem {
            BlobError::Full { .. } => Self::Full,
            BlobError::Quota { max_bytes } => Self::Quota { max_bytes },
            other => Self::Store(other.to_string()),
        }
    }
}

/// What is here of a blob that is being fetched.
#[derive(Debug, Clone, Default)]
pub(super) struct Here {
    /// Its length, when that is proven.
    pub(super) size: Option<u64>,
    /// The chunks that can be read.
    pub(super) chunks: ChunkRanges,
    /// Set when the job has ended.
    pub(super) end: Option<End>,
}

#[derive(Debug, Default)]
struct Wants {
    background: bool,
    document: bool,
    is_set_aside: bool,
    passing: usize,
    /// What readers wait for, in bytes. One that has not said so waits for the length.
    readers: HashMap<u64, Option<Range<u64>>>,
    next_reader: u64,
    ended: bool,
}

impl Wants {
    fn any(&self) -> bool {
        self.background || self.document || self.passing > 0 || !self.readers.is_empty()
    }
}

/// A blob that somebody wants.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) hash: BlobHash,
    wants: Mutex<Wants>,
    changed: Notify,
    pub(super) here: watch::Sender<Here>,
    progress: watch::Sender<Fetching>,
}

impl Job {
    fn new(hash: BlobHash) -> Self {
        let fetching =
            Fetching { hash, step: FetchStep::Looking, size: None, have_bytes: 0, from: Vec::new() };
        Self {
            hash,
            wants: Mutex::default(),
            changed: Notify::new(),
            here: watch::Sender::default(),
            progress: watch::Sender::new(fetching),
        }
    }

    fn wants(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when the job has ended.
    fn add(self: &Arc<Self>, want: Want) -> Option<Interest> {
        let mut wants = self.wants();
        if wants.ended {
            return None;
        }
        let reader = wants.next_reader;
        match want {
            Want::Background => wants.background = true,
            Want::Document => (wants.document, wants.is_set_aside) = (true, false),
            Want::Passing => wants.passing += 1,
            Want::Reading => {
                wants.next_reader += 1;
                wants.readers.insert(reader, None);
            }
        }
        drop(wants);
        self.changed.notify_one();
        Some(Interest { job: Arc::clone(self), want, reader })
    }

    /// Ends the job, if nobody wants it any more.
    fn end_unwanted(&self) -> bool {
        let mut wants = self.wants();
        wants.ended = !wants.any();
        wants.ended
    }

    /// Whether it is to be tried again and again.
    fn is_lasting(&self) -> bool {
        let wants = self.wants();
        wants.background || wants.document
    }

    /// Whether somebody has asked for it to be fetched in the background.
    fn is_background(&self) -> bool {
        self.wants().background
    }

    /// Whether a document wants it now.
    pub(super) fn is_for_document(&self) -> bool {
        self.wants().document
    }

    /// Whether somebody still wants it.
    pub(super) fn is_wanted(&self) -> bool {
        self.wants().any()
    }

    /// Where the fetch is.
    pub(super) fn step(&self) -> FetchStep {
        self.progress.borrow().step.clone()
    }

    /// Ends the wish that a document has for now, so that others have their turn.
    pub(super) fn set_aside(&self) {
        let mut wants = self.wants();
        (wants.document, wants.is_set_aside) = (false, true);
        drop(wants);
        self.changed.notify_one();
    }

    fn is_read(&self) -> bool {
        let wants = self.wants();
        wants.passing > 0 || !wants.readers.is_empty()
    }

    /// What is wanted of so many bytes (`None` is all of it), and where the first reader waits.
    fn ranges(&self, size: u64) -> (Option<Vec<Range<u64>>>, u64) {
        let wants = self.wants();
        let front = wants.readers.values().flatten().map(|range| range.start).min();
        // The end proves the length. Of a small blob everything does, at the same price.
        let is_all = wants.background || wants.document || wants.passing > 0 || size <= READABLE_BYTES;
        let of_reader = |range: &Option<Range<u64>>| range.clone().unwrap_or(size.saturating_sub(1)..size);
        let ranges = (!is_all).then(|| wants.readers.values().map(of_reader).collect());
        (ranges, front.unwrap_or_default())
    }

    fn end(&self, end: End) {
        let is_set_aside = {
            let mut wants = self.wants();
            wants.ended = true;
            wants.is_set_aside
        };
        let end = if end == End::NotWanted && is_set_aside { End::SetAside } else { end };
        let step = match &end {
            End::Whole => FetchStep::Complete,
            other => FetchStep::Ended { reason: other.clone().error(self.hash).to_string() },
        };
        self.progress.send_modify(|progress| {
            progress.step = step;
            progress.from.clear();
        });
        self.here.send_modify(|here| here.end = Some(end));
    }
}

/// Somebody wants a blob, until this is dropped. One in the background, or for a document, lasts.
#[derive(Debug)]
pub(super) struct Interest {
    pub(super) job: Arc<Job>,
    want: Want,
    reader: u64,
}

impl Interest {
    /// Says what a reader waits for, in bytes.
    pub(super) fn read(&self, range: Range<u64>) {
        let mut wants = self.job.wants();
        let old = wants.readers.insert(self.reader, Some(range.clone()));
        drop(wants);
        if old != Some(Some(range)) {
            self.job.changed.notify_one();
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut wants = self.job.wants();
        match self.want {
            Want::Background | Want::Document => {}
            Want::Passing => wants.passing -= 1,
            Want::Reading => {
                wants.readers.remove(&self.reader);
            }
        }
        drop(wants);
        self.job.changed.notify_one();
    }
}

/// The jobs there are.
#[derive(Debug)]
pub(super) struct Jobs {
    all: Mutex<HashMap<BlobHash, Arc<Job>>>,
    starts: mpsc::Sender<Arc<Job>>,
    /// Told when a job is over.
    pub(super) over: Notify,
    /// Whether documents want more blobs than may be fetched for them at once.
    pub(super) is_crowded: AtomicBool,
}

impl Jobs {
    /// With the way to whoever runs them.
    pub(super) fn new(starts: mpsc::Sender<Arc<Job>>) -> Self {
        Self { all: Mutex::default(), starts, over: Notify::new(), is_crowded: AtomicBool::new(false) }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<BlobHash, Arc<Job>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, hash: BlobHash) -> Option<Arc<Job>> {
        self.all().get(&hash).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether some of it comes at the moment.
    pub(super) fn is_coming(&self, hash: BlobHash) -> bool {
        self.get(hash).is_some_and(|job| job.progress.borrow().step == FetchStep::Coming)
    }

    pub(super) fn progress(&self, hash: BlobHash) -> Option<watch::Receiver<Fetching>> {
        self.get(hash).map(|job| job.progress.subscribe())
    }

    /// Ends the wish for it in the background, also for documents. `false` when there was none.
    pub(super) fn cancel(&self, hash: BlobHash) -> bool {
        let Some(job) = self.get(hash) else {
            return false;
        };
        let was = {
            let mut wants = job.wants();
            std::mem::take(&mut wants.background) | std::mem::take(&mut wants.document)
        };
        job.changed.notify_one();
        was
    }

    /// Whether a job goes on.
    pub(super) fn is_live(&self, job: &Arc<Job>) -> bool {
        self.get(job.hash).is_some_and(|other| Arc::ptr_eq(&other, job))
    }

    /// Whether somebody reads it, here or at a peer.
    pub(super) fn is_read(&self, hash: BlobHash) -> bool {
        self.get(hash).is_some_and(|job| {
            let wants = job.wants();
            !wants.ended && (wants.passing > 0 || !wants.readers.is_empty())
        })
    }

    fn remove(&self, job: &Arc<Job>) {
        let mut all = self.all();
        if all.get(&job.hash).is_some_and(|other| Arc::ptr_eq(other, job)) {
            all.remove(&job.hash);
        }
        drop(all);
        self.over.notify_one();
    }
}

impl Inner {
    /// Takes part in the fetch of a blob, which begins if there is none.
    pub(super) async fn join(&self, hash: BlobHash, want: Want) -> Result<Interest, BlobError> {
        let stopping = || BlobError::Store("this node is shutting down".to_owned());
        // Before the job can be found: one whose start is given up half-way would keep all later ones waiting.
        let start = self.jobs.starts.reserve().await.map_err(|_| stopping())?;
        let mut all = self.jobs.all();
        if let Some(interest) = all.get(&hash).and_then(|job| job.add(want)) {
            return Ok(interest);
        }
        let job = Arc::new(Job::new(hash));
        let interest = job.add(want).ok_or_else(stopping)?;
        all.insert(hash, Arc::clone(&job));
        start.send(job);
        Ok(interest)
    }
}
