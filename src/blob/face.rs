//! What the rest of the node may ask of its blobs.

use std::io;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::BlobStore;
use crate::handle::{
    Blob, BlobCounts, BlobError, BlobHash, BlobPage, BlobState, Fetching, Holder, Kept, Reading,
};

impl crate::handle::Blobs for BlobStore {
    fn add(
        &self,
        content: mpsc::Receiver<io::Result<Bytes>>,
        size: Option<u64>,
    ) -> BoxFuture<'_, Result<(Blob, bool), BlobError>> {
        Box::pin(self.inner.add(content, size))
    }

    fn state(&self, hash: BlobHash) -> BoxFuture<'_, Result<BlobState, BlobError>> {
        Box::pin(self.inner.state(hash))
    }

    fn holders(&self, hash: BlobHash) -> BoxFuture<'_, Vec<Holder>> {
        Box::pin(self.inner.holders(hash))
    }

    fn request(&self, hash: BlobHash) -> BoxFuture<'_, Result<BlobState, BlobError>> {
        Box::pin(self.inner.request(hash))
    }

    fn cancel(&self, hash: BlobHash) -> BoxFuture<'_, Result<bool, BlobError>> {
        Box::pin(self.inner.cancel(hash))
    }

    fn progress(&self, hash: BlobHash) -> Option<watch::Receiver<Fetching>> {
        self.inner.jobs.progress(hash)
    }

    fn open(&self, hash: BlobHash) -> BoxFuture<'_, Result<Reading, BlobError>> {
        Box::pin(self.inner.open(hash))
    }

    fn is_damaged(&self, hash: BlobHash) -> bool {
        self.inner.damage.is_known(hash)
    }

    fn counts(&self) -> BlobCounts {
        self.inner.counts()
    }

    fn kept(&self, hash: BlobHash) -> BoxFuture<'_, Result<Kept, BlobError>> {
        Box::pin(self.inner.kept(hash))
    }

    fn delete(&self, hash: BlobHash) -> BoxFuture<'_, Result<bool, BlobError>> {
        Box::pin(self.inner.delete(hash))
    }

    fn list(&self, after: Option<BlobHash>, limit: usize) -> BoxFuture<'_, Result<BlobPage, BlobError>> {
        Box::pin(self.inner.list(after, limit))
    }
}
