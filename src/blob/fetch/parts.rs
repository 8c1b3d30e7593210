//! Parts of a blob: asking for them, and what becomes of them.

use std::fs::File;
use std::sync::Arc;

use bao_tree::ChunkRanges;
use peat_mesh_core::EndpointId;
use tokio::time::Instant;
use tracing::info;

use super::plan::{Next, PartId};
use super::provider::{PART_CHUNKS_MIN, Provider};
use super::request::{Came, Done, Outcome, Request};
use super::run::Run;
use super::{End, READABLE_BYTES};
use crate::blob::{PARTIAL, failed, raw, store_hash, tag};

/// Providers that are asked for parts at once.
const PROVIDERS_COUNT_MAX: usize = 4;
/// After so many bytes the disk is told to write what has come.
const WRITE_EVERY_BYTES: u64 = 64 * 1024 * 1024;
/// How long a provider may send nothing of a part, in seconds.
const STALL_TICKS: u32 = 20;

impl Run {
    /// Notes in the plan what is wanted now. Returns where the first reader waits.
    pub(super) fn wish(&mut self) -> u64 {
        let Some(plan) = &mut self.plan else { return 0 };
        let (wanted, front) = self.job.ranges(plan.size());
        plan.want(wanted);
        front
    }

    /// Asks for as many parts as may be on their way.
    pub(super) fn fill(&mut self) -> Result<(), End> {
        if self.place.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        if self.plan.is_none() {
            // It is proven later; one who says otherwise does not bring anything.
            let usable = self.providers.values().filter(|provider| provider.may_be_asked(now));
            let Some(size) = usable.filter_map(Provider::size).next() else {
                return Ok(());
            };
            if size <= READABLE_BYTES {
                self.reservation = Some(self.inner.space.reserve(size).map_err(End::of)?);
            }
            self.begin(size, ChunkRanges::empty());
        }
        let front = self.wish();
        let Some(plan) = &mut self.plan else { return Ok(()) };
        let mut usable: Vec<&mut Provider> =
            self.providers.values_mut().filter(|provider| provider.may_be_asked(now)).collect();
        let nearest = usable.iter().map(|provider| provider.distance()).min().unwrap_or_default();
        usable.retain(|provider| provider.asked > 0 || !provider.is_far(nearest));
        usable.sort_by_key(|provider| (provider.asked == 0, provider.cost()));
        usable.truncate(PROVIDERS_COUNT_MAX);
        // So that all of them are busy until the end.
        let share = plan.left_chunks() / (2 * usable.len().max(1) as u64);
        let share = if usable.len() > 1 { share.max(PART_CHUNKS_MIN) } else { u64::MAX };
        for provider in usable {
            while provider.has_room() {
                let peer = provider.peer();
                let has = &provider.has;
                let next = match self.is_proven || plan.size() <= READABLE_BYTES {
                    true => plan.next(peer, has, front, provider.part_chunks().min(share)),
                    // The end proves the length, and nothing else is asked for before that.
                    false if self.end_asked => plan.again(peer, has),
                    false if plan.has_end(has) => plan.next(peer, has, plan.size() - 1, 1),
                    false => None,
                };
                let Some(Next { id: part, chunks, end, held }) = next else {
                    break;
                };
                self.end_asked = true;
                provider.asked += 1;
                let request = Request { hash: self.job.hash, part, provider: peer, chunks, end, held };
                let task = self.requests.spawn(request.run(Arc::clone(&self.inner), self.came.0.clone()));
                self.parts.insert(part, task);
            }
        }
        Ok(())
    }

    pub(super) async fn came(&mut self, came: Came) -> Result<(), End> {
        self.last_byte = Instant::now();
        self.has_begun = true;
        if !self.is_tagged {
            let hash = self.job.hash;
            self.inner
                .store
                .tags()
                .set(tag(PARTIAL, hash), raw(hash))
                .await
                .map_err(failed)
                .map_err(End::of)?;
            self.is_tagged = true;
        }
        if !self.is_on_disk && self.bytes >= READABLE_BYTES {
            // After a crash the fetch goes on from what the index knows of.
            self.is_on_disk = true;
            self.inner.store.sync_db().await.map_err(failed).map_err(End::of)?;
        }
        if let Some(provider) = self.providers.get_mut(&came.provider) {
            provider.bytes += came.more;
        }
        if let Some(plan) = &mut self.plan {
            plan.came(came.part, came.bytes);
        }
        self.bytes += came.more;
        self.unread_bytes += came.more;
        if self.bytes >= self.written_at + WRITE_EVERY_BYTES && self.is_not_writing() {
            self.written_at = self.bytes;
            let path = self.inner.paths.data_path(&store_hash(self.job.hash));
            // Only so that less is left to do at the end, where an error is told.
            self.writing.spawn_blocking(move || drop(File::open(path).and_then(|file| file.sync_data())));
        }
        if self.unread_bytes >= READABLE_BYTES && self.job.is_read() {
            self.refresh().await?;
        }
        Ok(())
    }

    fn is_not_writing(&mut self) -> bool {
        while self.writing.try_join_next().is_some() {}
        self.writing.is_empty()
    }

    /// A second has passed.
    pub(super) fn tick(&mut self) {
        let stalled = self.plan.as_mut().map(|plan| plan.tick(STALL_TICKS)).unwrap_or_default();
        for (part, peer) in stalled {
            if let Some(task) = self.parts.remove(&part) {
                task.abort();
                info!(hash = %self.job.hash, from = %peer.short(), "a provider of a blob sent nothing for {STALL_TICKS} s");
            }
            self.forget(part, peer, false);
            self.reason = Some(format!("{} sent nothing for {STALL_TICKS} s", peer.short()));
            self.end_asked = self.is_proven;
            if let Some(provider) = self.providers.get_mut(&peer) {
                provider.failed(Instant::now());
            }
        }
    }

    pub(super) fn forget(&mut self, part: PartId, provider: EndpointId, is_here: bool) {
        if let Some(plan) = &mut self.plan {
            plan.ended(part, is_here);
        }
        if let Some(provider) = self.providers.get_mut(&provider) {
            provider.asked = provider.asked.saturating_sub(1);
        }
    }

    /// When what should be the end of the blob is here and proves nothing, the blob has another length: those who
    /// said this one are to blame.
    fn refute(&mut self) {
        let Some(plan) = self.plan.take_if(|plan| !self.is_proven && plan.has_end(plan.here())) else {
            return;
        };
        let (hash, size, now) = (self.job.hash, plan.size(), Instant::now());
        for provider in self.providers.values_mut().filter(|provider| provider.size() == Some(size)) {
            let from = provider.peer();
            info!(%hash, from = %from.short(), size, "a provider of a blob says a length that it does not have");
            self.reason = Some(format!("{} says a wrong length", from.short()));
            provider.failed(now);
        }
    }

    /// Begins again with what the store has, when all seems to be here and the store says otherwise.
    pub(super) async fn plan_anew(&mut self) -> Result<(), End> {
        self.plan = None;
        self.is_proven = false;
        self.end_asked = false;
        self.refresh().await
    }

    pub(super) async fn done(&mut self, done: Done) -> Result<(), End> {
        let Done { part, provider: peer, outcome, bytes, took } = done;
        // One that was ended may have come to its end by itself.
        if self.parts.remove(&part).is_none() {
            return Ok(());
        }
        match outcome {
            Outcome::All => {
                if let Some(provider) = self.providers.get_mut(&peer) {
                    provider.succeeded(bytes, took);
                }
                self.forget(part, peer, true);
                if !self.is_proven {
                    self.end_asked = false;
                    self.refresh().await?;
                    self.refute();
                }
            }
            Outcome::Broken(reason) => {
                let hash = self.job.hash;
                info!(%hash, from = %peer.short(), bytes, "a fetch broke off: {reason}. Others are asked for the rest");
                self.forget(part, peer, false);
                if let Some(provider) = self.providers.get_mut(&peer) {
                    provider.failed(Instant::now());
                    if provider.is_partial() || !self.inner.ways.all().iter().any(|way| way.peer == peer) {
                        self.providers.remove(&peer);
                    }
                }
                self.reason = Some(reason);
                self.end_asked = false;
                self.refresh().await?;
                if !self.is_proven {
                    // Perhaps its length was wrong; another one says a better one.
                    self.plan = None;
                }
            }
            Outcome::Failed(problem) => return Err(End::of(problem)),
        }
        Ok(())
    }
}
