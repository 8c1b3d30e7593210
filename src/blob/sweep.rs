//! Dropping blobs to which nothing refers: here is what makes that safe against whatever happens meanwhile.
//!
//! - An upload or a fetch gives a blob its tag, and begins its grace time anew, with `tagging` held for reading. Here
//!   it is held for writing from before the last look at the references until the tags are gone. So an upload of the
//!   same content comes before it, and the blob stays; or after it, finds no tag, and sets one.
//! - A fetch has the blob's `turn`, as has whoever drops it.
//! - Documents that were stored before the last look are in it; for later ones the blob is not here any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use tracing::info;

use super::references::Followed;
use super::{Inner, PARTIAL, WANTED, WHOLE, failed, rpc_failed, tag};
use crate::handle::{BlobError, BlobHash, BlobState, Kept};

/// Blobs that are dropped in one go, while uploads wait to be answered.
pub(super) const DROPS_COUNT_MAX: usize = 256;

impl Inner {
    pub(super) async fn kept(&self, hash: BlobHash) -> Result<Kept, BlobError> {
        let is_here = self.state(hash).await? != BlobState::Absent;
        self.references.kept(hash, is_here)
    }

    /// Begins the grace time of a blob anew, with `tagging` held for reading.
    pub(super) async fn renew(&self, hash: BlobHash) -> Result<(), BlobError> {
        if self.references.is_idle(hash)? {
            let references = Arc::clone(&self.references);
            blocking(move || references.renew(hash)).await?;
        }
        Ok(())
    }

    /// The blobs of which something is here.
    pub(super) async fn here(&self, kinds: &[&str]) -> Result<BTreeSet<BlobHash>, BlobError> {
        let mut here = BTreeSet::new();
        for kind in kinds {
            let mut tags = self.store.tags().list_prefix(kind).await.map_err(rpc_failed)?;
            while let Some(tag) = tags.next().await {
                here.insert(BlobHash(*tag.map_err(rpc_failed)?.hash.as_bytes()));
            }
        }
        Ok(here)
    }

    /// Drops those of up to [`DROPS_COUNT_MAX`] blobs to which still nothing refers. Called by whoever follows the
    /// changes.
    pub(super) async fn drop_unreferenced(
        self: &Arc<Self>,
        due: &[BlobHash],
        followed: &mut Followed,
    ) -> Result<(), BlobError> {
        let mut turns = Vec::new();
        let mut free = Vec::new();
        for hash in due {
            if let Ok(turn) = self.turn(*hash).try_lock_owned() {
                turns.push(turn);
                free.push(*hash);
            }
        }
        let dropped = self.drop_tags(free, followed).await?;
        if !dropped.is_empty() {
            self.collector.collect().await?;
            let bytes: u64 = dropped.iter().map(|(_, bytes)| bytes).sum();
            self.counts.collected.fetch_add(dropped.len() as u64, Ordering::Relaxed);
            self.counts.collected_bytes.fetch_add(bytes, Ordering::Relaxed);
            info!(
                blobs = dropped.len(),
                bytes, "Dropped blobs that nothing has referred to for the grace time"
            );
        }
        Ok(())
    }

    /// Takes the tags off those that go, and returns them with their bytes.
    async fn drop_tags(
        self: &Arc<Self>,
        free: Vec<BlobHash>,
        followed: &mut Followed,
    ) -> Result<Vec<(BlobHash, u64)>, BlobError> {
        let _tagging = self.tagging.write().await;
        let references = Arc::clone(&self.references);
        let (due, more) = blocking(move || references.still_due(&free)).await?;
        followed.touched.extend(more.touched);
        let mut dropped = Vec::new();
        for hash in due {
            if self.has_tag(WANTED, hash).await? {
                continue;
            }
            let bytes = match self.state(hash).await? {
                BlobState::Complete { size } => size,
                BlobState::Partial { have_bytes, .. } => have_bytes,
                BlobState::Absent => 0,
            };
            for kind in [WHOLE, PARTIAL] {
                self.store.tags().delete(tag(kind, hash)).await.map_err(failed)?;
            }
            self.space.gone(hash);
            self.damage.forget(hash);
            dropped.push((hash, bytes));
        }
        Ok(dropped)
    }
}

/// Does what waits for the disk, off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(rpc_failed)?
}
