//! What is on this node: how much of a blob, keeping it, dropping it, listing all.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use iroh_blobs::api::blobs::BlobStatus;

use super::space::Reservation;
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
        self.keep_in(hash, None).await
    }

    /// The same, of a blob for which room was reserved.
    pub(super) async fn keep_in(
        &self,
        hash: BlobHash,
        room: Option<Reservation>,
    ) -> Result<(Blob, bool), BlobError> {
        // Most of the work is done before others have to wait for the lock.
        self.on_disk(hash).await?;
        let _tagging = self.tagging.read().await;
        // A run of the collector that was under way may have removed the files that it found without a tag, although
        // the index has them as whole again. Now there is no run.
        let size = self.on_disk(hash).await?;
        self.renew(hash).await?;
        let is_new = !self.has_tag(WHOLE, hash).await?;
        if is_new {
            self.store.tags().set(tag(WHOLE, hash), raw(hash)).await.map_err(failed)?;
        }
        for kind in [PARTIAL, WANTED] {
            self.store.tags().delete(tag(kind, hash)).await.map_err(failed)?;
        }
        match room {
            Some(room) => room.keep(hash, size),
            None => self.space.keep(hash, size),
        }
        self.store.sync_db().await.map_err(failed)?;
        Ok((Blob { hash, size }, is_new))
    }

    /// Brings the files of a blob that is whole in the store to disk. Returns its length.
    async fn on_disk(&self, hash: BlobHash) -> Result<u64, BlobError> {
        let lost = || BlobError::Store(format!("blob {hash} was deleted at the same time; try again"));
        let size = self.whole(hash).await?.ok_or_else(lost)?;
        match upload::Files::new(&self.paths, hash, size).sync().await {
            Ok(()) => Ok(size),
            Err(problem) if problem.kind() == ErrorKind::NotFound => Err(lost()),
            Err(problem) => Err(io_failed(&problem)),
        }
    }

    /// The turn to fetch or delete a blob.
    pub(super) fn turn(&self, hash: BlobHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&hash).and_then(Weak::upgrade) {
            return turn;
        }
        // Those that are over go before the map grows, so that the look at all of them is rare.
        if turns.len() == turns.capacity() {
            turns.retain(|_, turn| turn.strong_count() > 0);
            let live = turns.len();
            turns.reserve(live + 1);
        }
        let turn = Arc::default();
        turns.insert(hash, Arc::downgrade(&turn));
        turn
    }

    pub(super) async fn delete(&self, hash: BlobHash) -> Result<bool, BlobError> {
        let in_fetch = || BlobError::InFetch { hash };
        // First: a DELETE that is refused ends nothing.
        if self.jobs.is_read(hash) {
            return Err(in_fetch());
        }
        let was_wanted = self.cancel(hash).await?;
        let turn = self.turn(hash);
        let patience = Duration::from_millis(TURN_MS_MAX);
        let _turn = tokio::time::timeout(patience, turn.lock()).await.map_err(|_| in_fetch())?;
        let references = Arc::clone(&self.references);
        blocking(move || references.forget(hash)).await?;
        let tagging = self.tagging.write().await;
        let was_here = self.untag(hash).await?;
        // The collector needs it.
        drop(tagging);
        if was_here {
            self.collector.collect().await?;
        }
        Ok(was_here || was_wanted)
    }

    /// Takes the tags off a blob, so that it is not here any more; with `tagging` held for writing, so that it counts
    /// for whoever stores it anew after that. `false` when it had none.
    pub(super) async fn untag(&self, hash: BlobHash) -> Result<bool, BlobError> {
        let mut dropped = 0;
        let mut result = Ok(());
        for kind in [WHOLE, PARTIAL] {
            match self.store.tags().delete(tag(kind, hash)).await {
                Ok(count) => dropped += count,
                // One that is off already is off.
                Err(problem) => result = Err(failed(problem)),
            }
        }
        if dropped > 0 {
            self.space.gone(hash);
            self.damage.forget(hash);
        }
        result.map(|()| dropped > 0)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::future::BoxFuture;
    use iroh::endpoint::Connection;
    use peat_mesh_core::EndpointId;
    use peat_mesh_core::store::MemoryStore;
    use tokio::sync::mpsc;

    use super::*;
    use crate::blob::{Providers, Way};
    use crate::config::{Attachments, BlobLimits};

    #[derive(Debug)]
    struct Nobody;

    impl Providers for Nobody {
        fn ways(&self) -> Vec<Way> {
            Vec::new()
        }

        fn open(&self, _: EndpointId, _: &'static [u8]) -> BoxFuture<'_, Result<Connection, String>> {
            Box::pin(async { Err("nobody is there".to_owned()) })
        }
    }

    #[tokio::test]
    async fn a_blob_whose_files_the_collector_has_removed_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let documents = Arc::new(MemoryStore::default());
        let opened = crate::blob::open(folder.path(), documents, Attachments::default()).await.unwrap();
        let (_connections, connections) = mpsc::channel(1);
        let (store, server) = opened.start(Arc::new(Nobody), connections, BlobLimits::default());
        let inner = &store.inner;
        let held = inner.store.blobs().add_bytes(vec![7; 8 * 1024 * 1024]).temp_tag().await.unwrap();
        let hash = BlobHash(*held.hash().as_bytes());
        let [data, outboard] = [inner.paths.data_path(&held.hash()), inner.paths.outboard_path(&held.hash())];
        for path in [outboard, data] {
            let away = folder.path().join("away");
            fs::rename(&path, &away).unwrap();
            assert!(inner.whole(hash).await.unwrap().is_some(), "the index has it");
            let problem = inner.keep(hash).await.unwrap_err().to_string();
            assert!(problem.contains("was deleted at the same time"), "{problem}");
            assert!(!inner.has_tag(WHOLE, hash).await.unwrap());
            fs::rename(&away, &path).unwrap();
        }
        assert!(inner.keep(hash).await.unwrap().1);
        server.shutdown().await;
    }
}
