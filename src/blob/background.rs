//! Blobs that somebody has asked to be fetched in the background. A tag remembers them over a restart.

use std::sync::Arc;

use futures_util::StreamExt;
use tracing::warn;

use super::sweep::blocking;
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

    /// Ends the fetch of a blob, whoever wanted it, and takes the mark off that documents have left. `false` when there
    /// was none.
    pub(super) async fn cancel(&self, hash: BlobHash) -> Result<bool, BlobError> {
        // The mark first: whoever begins fetches for documents looks at it once more after that.
        let references = Arc::clone(&self.references);
        let was_marked = blocking(move || references.unwant(hash)).await;
        let was = self.end_fetch(hash).await?;
        Ok(was_marked? || was)
    }

    /// Ends the fetch of a blob, whoever wanted it.
    pub(super) async fn end_fetch(&self, hash: BlobHash) -> Result<bool, BlobError> {
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
