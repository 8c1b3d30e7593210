//! The task that fetches one blob: it asks who has it, asks the near and idle ones for parts, several at once, and
//! asks others for what did not come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bao_tree::ChunkRanges;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use peat_mesh_core::EndpointId;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::debug;

use super::news::News;
use super::plan::{PartId, Plan};
use super::provider::Provider;
use super::request::{Came, Done};
use super::{End, Job};
use crate::blob::find::HOPS_COUNT_MAX;
use crate::blob::space::Reservation;
use crate::blob::{Inner, failed, raw, rpc_failed, store_hash};
use crate::handle::FetchStep;

/// How long a fetch that has begun goes on without a byte before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks for providers, when there are none and when there are some.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const LOOK_FOR_MORE: Duration = Duration::from_secs(10);
/// In the background, between two attempts: the first wait and the longest.
const WAIT_SECS: u64 = 1;
const WAIT_SECS_MAX: u64 = 30;
/// News that may wait for the task.
const NEWS_COUNT_MAX: usize = 64;

/// Fetches what a job is for, and ends it.
pub(in crate::blob) async fn run(inner: Arc<Inner>, job: Arc<Job>) {
    let start = Instant::now();
    let mut over = Over { inner: Arc::clone(&inner), job: Arc::clone(&job), end: None };
    let mut run = Run::new(inner, job);
    let end = run.go().await;
    let (hash, bytes, ms) = (run.job.hash, run.bytes, start.elapsed().as_millis() as u64);
    debug!(%hash, bytes, ms, "fetched what was missing of a blob, until: {end:?}");
    over.end = Some(end);
}

/// Ends a job with its task, however that ends, so that nobody waits for one that is gone.
struct Over {
    inner: Arc<Inner>,
    job: Arc<Job>,
    end: Option<End>,
}

impl Drop for Over {
    fn drop(&mut self) {
        let broken = || End::Interrupted { reason: "the fetch has ended before its time".to_owned() };
        self.job.end(self.end.take().unwrap_or_else(broken));
        self.inner.jobs.remove(&self.job);
    }
}

/// Waiting for a place among the fetches.
type Place = BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>;

async fn taken(place: &mut Option<Place>) -> Option<OwnedSemaphorePermit> {
    match place {
        Some(place) => place.await.ok(),
        None => std::future::pending().await,
    }
}

pub(super) struct Run {
    pub(super) inner: Arc<Inner>,
    pub(super) job: Arc<Job>,
    pub(super) plan: Option<Plan>,
    /// The length of the plan is proven.
    pub(super) is_proven: bool,
    /// The end of the blob was asked for, which proves its length.
    pub(super) end_asked: bool,
    pub(super) providers: BTreeMap<EndpointId, Provider>,
    pub(super) requests: JoinSet<Done>,
    pub(super) parts: HashMap<PartId, AbortHandle>,
    pub(super) writing: JoinSet<()>,
    pub(super) written_at: u64,
    pub(super) came: (mpsc::Sender<Came>, mpsc::Receiver<Came>),
    pub(super) observers: JoinSet<()>,
    pub(super) news: (mpsc::Sender<News>, mpsc::Receiver<News>),
    pub(super) place: Option<OwnedSemaphorePermit>,
    pub(super) reservation: Option<Reservation>,
    pub(super) asked: BTreeSet<EndpointId>,
    pub(super) reason: Option<String>,
    pub(super) is_tagged: bool,
    pub(super) is_on_disk: bool,
    pub(super) unread_bytes: u64,
    /// What has come in all.
    pub(super) bytes: u64,
    /// Something has come in this attempt.
    pub(super) has_begun: bool,
    pub(super) last_byte: Instant,
}

impl Run {
    fn new(inner: Arc<Inner>, job: Arc<Job>) -> Self {
        Self {
            inner,
            job,
            plan: None,
            is_proven: false,
            end_asked: false,
            providers: BTreeMap::new(),
            requests: JoinSet::new(),
            parts: HashMap::new(),
            writing: JoinSet::new(),
            written_at: 0,
            came: mpsc::channel(NEWS_COUNT_MAX),
            observers: JoinSet::new(),
            news: mpsc::channel(NEWS_COUNT_MAX),
            place: None,
            reservation: None,
            asked: BTreeSet::new(),
            reason: None,
            is_tagged: false,
            is_on_disk: false,
            unread_bytes: 0,
            bytes: 0,
            has_begun: false,
            last_byte: Instant::now(),
        }
    }

    async fn go(&mut self) -> End {
        let hash = self.job.hash;
        let turn = self.inner.turn(hash);
        let _turn = turn.lock().await;
        // Keeps what comes until it has a tag.
        let held = match self.inner.store.tags().temp_tag(raw(hash)).await {
            Ok(held) => held,
            Err(problem) => return End::of(rpc_failed(problem)),
        };
        let mut wait_secs = WAIT_SECS;
        let end = loop {
            let begun = Instant::now();
            let end = match self.attempt().await {
                Ok(()) => match self.inner.keep(hash).await {
                    Ok(_) => break End::Whole,
                    Err(problem) => End::of(problem),
                },
                // A reader may be gone a moment before the last of it is noted.
                Err(End::NotWanted) if self.is_whole().await == Ok(true) => match self.inner.keep(hash).await
                {
                    Ok(_) => break End::Whole,
                    Err(problem) => End::of(problem),
                },
                Err(end) => end,
            };
            self.let_go();
            if end == End::NotWanted || !self.job.is_lasting() {
                break end;
            }
            if self.last_byte > begun {
                wait_secs = WAIT_SECS;
            }
            if !self.wait(end, wait_secs).await {
                break End::NotWanted;
            }
            wait_secs = (wait_secs * 2).min(WAIT_SECS_MAX);
        };
        drop(held);
        end
    }

    /// Lets go of whatever is not needed while nothing can be done.
    fn let_go(&mut self) {
        self.requests = JoinSet::new();
        self.observers = JoinSet::new();
        self.parts.clear();
        self.providers.clear();
        self.place = None;
        self.reservation = None;
        // What has come takes space, also while nothing comes.
        if let Some(plan) = self.plan.take().filter(|_| self.is_tagged) {
            self.inner.space.keep(self.job.hash, plan.have_bytes());
        }
        self.is_proven = false;
        self.end_asked = false;
        self.has_begun = false;
    }

    /// Waits until it is worth another attempt. `false` when nobody wants it any more.
    async fn wait(&self, end: End, secs: u64) -> bool {
        let reason = end.error(self.job.hash).to_string();
        self.job.progress.send_modify(|progress| {
            progress.step = FetchStep::Waiting { reason };
            progress.from.clear();
        });
        let peers = || self.inner.ways.all().iter().map(|way| way.peer).collect::<Vec<_>>();
        let before = peers();
        // When others wait for their turn, this one has had its own.
        let is_crowded = self.inner.jobs.is_crowded.load(Ordering::Relaxed);
        let secs = if is_crowded && !self.job.is_background() { WAIT_SECS_MAX } else { secs };
        for _ in 0..secs {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = self.job.changed.notified() => {}
            }
            if self.job.end_unwanted() {
                return false;
            }
            if peers() != before {
                break;
            }
        }
        true
    }

    /// Brings all that is wanted, which is whole in the store then.
    async fn attempt(&mut self) -> Result<(), End> {
        let hash = self.job.hash;
        self.job.progress.send_modify(|progress| progress.step = FetchStep::Looking);
        if self.is_whole().await? {
            return Ok(());
        }
        self.refresh().await?;
        let mut asks = self.inner.ask_all(hash, 0, &BTreeSet::new());
        let mut hops = 0;
        let mut looked_at = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let mut place: Option<Place> = None;
        loop {
            self.wish();
            if self.is_waiting() && self.requests.is_empty() {
                // Others may fetch while a reader is slow.
                self.place = None;
                place = None;
            } else if self.place.is_none() && place.is_none() && !self.providers.is_empty() {
                place = Some(Box::pin(Arc::clone(&self.inner.fetches).acquire_owned()));
            }
            self.fill()?;
            self.publish();
            if self.plan.as_ref().is_some_and(Plan::is_complete) {
                if self.is_whole().await? {
                    return Ok(());
                }
                if self.requests.is_empty() {
                    self.plan_anew().await?;
                }
            }
            let is_idle = self.requests.is_empty() && asks.is_empty() && place.is_none();
            if is_idle && !self.is_waiting() {
                if hops == 0 && !self.asked.is_empty() {
                    // Perhaps somebody knows somebody who has it.
                    hops = HOPS_COUNT_MAX;
                    asks = self.inner.ask_all(hash, hops, &BTreeSet::new());
                    looked_at = Instant::now();
                    continue;
                }
                self.give_up()?;
            }
            tokio::select! {
                Some(asked) = asks.next(), if !asks.is_empty() => self.answered(asked),
                Some(Ok(done)) = self.requests.join_next(), if !self.requests.is_empty() => self.done(done).await?,
                Some(came) = self.came.1.recv() => self.came(came).await?,
                Some((peer, has)) = self.news.1.recv() => self.heard(peer, has),
                permit = taken(&mut place), if place.is_some() => {
                    self.place = permit;
                    place = None;
                }
                () = self.job.changed.notified() => {
                    if self.job.end_unwanted() {
                        return Err(End::NotWanted);
                    }
                }
                _ = ticks.tick() => {
                    self.tick();
                    let again = if self.requests.is_empty() { LOOK_AGAIN } else { LOOK_FOR_MORE };
                    // Nobody has to be found while there is somebody, and no place yet.
                    let is_queued = place.is_some() && !self.providers.is_empty();
                    if asks.is_empty() && !is_queued && !self.is_waiting() && looked_at.elapsed() >= again {
                        looked_at = Instant::now();
                        let hops = if self.requests.is_empty() { hops } else { 0 };
                        asks = self.inner.ask_all(hash, hops, &BTreeSet::new());
                    }
                }
            }
        }
    }

    /// Whether all that is wanted is here, and more may be wanted later.
    fn is_waiting(&self) -> bool {
        self.plan.as_ref().is_some_and(Plan::is_done)
    }

    /// Ends when nobody is there who could bring anything.
    fn give_up(&mut self) -> Result<(), End> {
        // Somebody who has failed may come back, and a part may grow.
        let is_hopeful = self.has_begun || self.providers.values().any(Provider::may_bring_more);
        if is_hopeful && self.last_byte.elapsed() < PATIENCE {
            return Ok(());
        }
        let asked = self.asked.len();
        Err(match self.reason.take() {
            Some(reason) => End::Interrupted { reason },
            None if self.providers.is_empty() => End::NotFound { asked },
            None => End::Interrupted { reason: "those who have some of it have no more".to_owned() },
        })
    }

    async fn is_whole(&self) -> Result<bool, End> {
        Ok(self.inner.whole(self.job.hash).await.map_err(End::of)?.is_some())
    }

    /// Looks at what the store has.
    pub(super) async fn refresh(&mut self) -> Result<(), End> {
        let observed = self.inner.store.observe(store_hash(self.job.hash)).await;
        let bits = observed.map_err(failed).map_err(End::of)?;
        if let Some(size) = bits.validated_size() {
            if self.plan.as_ref().is_none_or(|plan| plan.size() != size) {
                self.begin(size, bits.ranges.clone());
            }
            if !self.is_proven {
                self.is_proven = true;
                let missing = self.plan.as_ref().map_or(0, |plan| size.saturating_sub(plan.have_bytes()));
                self.reservation = Some(self.inner.space.reserve(missing).map_err(End::of)?);
            }
        }
        if let Some(plan) = &mut self.plan {
            plan.have(&bits.ranges);
        }
        self.unread_bytes = 0;
        Ok(())
    }

    /// Makes a plan for a length.
    pub(super) fn begin(&mut self, size: u64, here: ChunkRanges) {
        self.requests = JoinSet::new();
        self.parts.clear();
        for provider in self.providers.values_mut() {
            provider.asked = 0;
        }
        self.plan = Some(Plan::new(size, here));
    }
}
