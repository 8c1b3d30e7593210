//! Blobs that are fetched in the background. A tag remembers them over a restart.

use futures_util::StreamExt;
use tracing::warn;

use super::{Inner, WANTED, failed, fetch, raw, tag};
use crate::handle::{BlobError, BlobHash, BlobState};

impl Inner {
    /// Fetches it in the background, also after a restart.
    pub(super) async fn request(&self, hash: BlobHash) -> Result<BlobState, BlobError> {
        let state = self.state(hash).await?;
        if !matches!(state, BlobState::Complete { .. }) {
            self.store.tags().set(tag(WANTED, hash), raw(hash)).await.map_err(failed)?;
            self.store.sync_db().await.map_err(failed)?;
            self.join(hash, fetch::Want::Background).await?;
        }
        Ok(state)
    }

    pub(super) async fn cancel(&self, hash: BlobHash) -> Result<bool, BlobError> {
        let was = self.store.tags().delete(tag(WANTED, hash)).await.map_err(failed)? > 0;
        Ok(self.jobs.cancel(hash) || was)
    }

    /// Goes on with what was to be fetched in the background before the last stop.
    pub(super) async fn resume(&self) {
        let tags = match self.store.tags().list_prefix(WANTED).await {
            Ok(tags) => tags.collect::<Vec<_>>().await,
            Err(problem) => return warn!("fetches of before the start do not go on: {problem}"),
        };
        for tag in tags.into_iter().flatten() {
            // Fails when the node stops again.
            let _ = self.join(BlobHash(*tag.hash.as_bytes()), fetch::Want::Background).await;
        }
    }
}
