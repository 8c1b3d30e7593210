//! What is on this node: how much of a blob, keeping it, dropping it, listing all.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use iroh_blobs::api::blobs::BlobStatus;

use super::sweep::blocking;
use super::{
    Inner, PARTIAL, TURN_MS_MAX, WANTED, WHOLE, failed, io_failed, raw, rpc_failed, store_hash, tag, upload,
};
use crate::handle::{Blob, BlobCounts, BlobError, BlobHash, BlobPage, BlobState};

impl Inner {
    pub(super) async fn has_tag(&self, kind: &str, hash: BlobHash) -> Result<bool, BlobError> {
        Ok(self.store.tags().get(tag(kind, hash)).await.map_err(failed)?.is_some())
    }

    /// The length of a blob that is whole in the store, with a tag or without.
    pub(super) async fn whole(&self, hash: BlobHash) -> Result<Option<u64>, BlobError> {
        match self.store.status(store_hash(hash)).await.map_err(rpc_failed)? {
            BlobStatus::Complete { size } => Ok(Some(size)),
            _ => Ok(None),
        }
    }

    pub(super) async fn state(&self, hash: BlobHash) -> Result<BlobState, BlobError> {
        let size = match self.store.status(store_hash(hash)).await.map_err(rpc_failed)? {
            BlobStatus::NotFound => return Ok(BlobState::Absent),
            BlobStatus::Complete { size } if self.has_tag(WHOLE, hash).await? => {
                return Ok(BlobState::Complete { size });
            }
            BlobStatus::Complete { size } => Some(size),
            BlobStatus::Partial { size } => size,
        };
        if !self.has_tag(PARTIAL, hash).await? {
            return Ok(BlobState::Absent);
        }
        let bitfield = self.store.observe(store_hash(hash)).await.map_err(failed)?;
        Ok(BlobState::Partial {
            size: size.or(bitfield.validated_size()),
            have_bytes: bitfield.total_bytes(),
        })
    }

    /// Brings a blob that is whole in the store to disk and gives it its tag. Whoever calls this holds a
    /// temporary tag of it. `true` when it had none before.
    pub(super) async fn keep(&self, hash: BlobHash) -> Result<(Blob, bool), BlobError> {
        let lost = || BlobError::Store(format!("blob {hash} was deleted at the same time; try again"));
        let size = self.whole(hash).await?.ok_or_else(lost)?;
        let files = upload::Files::new(&self.paths, hash, size);
        files.sync().await.map_err(|problem| io_failed(&problem))?;
        let _tagging = self.tagging.read().await;
        self.renew(hash).await?;
        let is_new = !self.has_tag(WHOLE, hash).await?;
        if is_new {
            self.store.tags().set(tag(WHOLE, hash), raw(hash)).await.map_err(failed)?;
        }
        for kind in [PARTIAL, WANTED] {
            self.store.tags().delete(tag(kind, hash)).await.map_err(failed)?;
        }
        self.space.keep(hash, size);
        self.store.sync_db().await.map_err(failed)?;
        Ok((Blob { hash, size }, is_new))
    }

    /// The turn to fetch or delete a blob.
    pub(super) fn turn(&self, hash: BlobHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&hash).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(hash, Arc::downgrade(&turn));
        turn
    }

    pub(super) async fn delete(&self, hash: BlobHash) -> Result<bool, BlobError> {
        let in_fetch = || BlobError::InFetch { hash };
        let was_wanted = self.cancel(hash).await?;
        if self.jobs.is_read(hash) {
            return Err(in_fetch());
        }
        let turn = self.turn(hash);
        let patience = Duration::from_millis(TURN_MS_MAX);
        let _turn = tokio::time::timeout(patience, turn.lock()).await.map_err(|_| in_fetch())?;
        let references = Arc::clone(&self.references);
        blocking(move || references.forget(hash)).await?;
        let tags = self.store.tags();
        let mut dropped = 0;
        for kind in [WHOLE, PARTIAL] {
            dropped += tags.delete(tag(kind, hash)).await.map_err(failed)?;
        }
        if dropped > 0 {
            self.collector.collect().await?;
            self.space.gone(hash);
            self.damage.forget(hash);
        }
        Ok(dropped > 0 || was_wanted)
    }

    pub(super) fn counts(&self) -> BlobCounts {
        let counts = &self.counts;
        let [sent_bytes, received_bytes, repaired, collected, collected_bytes] = [
            &counts.sent_bytes,
            &counts.received_bytes,
            &counts.repaired,
            &counts.collected,
            &counts.collected_bytes,
        ]
        .map(|count| count.load(Ordering::Relaxed));
        let fetches = self.jobs.len() as u64;
        let damaged = self.damage.len() as u64;
        BlobCounts {
            fetches,
            damaged,
            repaired,
            sent_bytes,
            received_bytes,
            collected,
            collected_bytes,
            ..self.space.counts()
        }
    }

    pub(super) async fn list(&self, after: Option<BlobHash>, limit: usize) -> Result<BlobPage, BlobError> {
        let tags = self.store.tags().list_prefix(WHOLE).await.map_err(rpc_failed)?;
        let all: Vec<_> = tags.collect().await;
        let count = all.len() as u64;
        let mut page = BlobPage { count, blobs: Vec::new(), next: None };
        for tag in all {
            let tag = tag.map_err(|problem| BlobError::Store(problem.to_string()))?;
            let hash = BlobHash(*tag.hash.as_bytes());
            if after.is_some_and(|after| hash <= after) {
                continue;
            }
            if page.blobs.len() == limit {
                page.next = page.blobs.last().map(|blob| blob.hash);
                break;
            }
            if let Some(size) = self.whole(hash).await? {
                page.blobs.push(Blob { hash, size });
            }
        }
        Ok(page)
    }
}
