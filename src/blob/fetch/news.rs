//! News of a fetch: what peers say that they have, and what those who wait are told.

use std::sync::Arc;

use bao_tree::ChunkRanges;
use futures_util::StreamExt;
use iroh_blobs::protocol::ObserveRequest;
use peat_mesh_core::EndpointId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::provider::Provider;
use super::run::Run;
use crate::blob::find::{Asked, Has};
use crate::blob::{Inner, store_hash};
use crate::handle::{BlobHash, FetchStep};

/// Most ends of runs in what a provider has of a blob, 8 bytes each. One with more holes is not used until it has
/// all of it.
const BOUNDARIES_COUNT_MAX: usize = 4096;

/// What a peer that has a part of a blob has of it; `None` when it says no more.
pub(super) type News = (EndpointId, Option<ChunkRanges>);

impl Run {
    pub(super) fn answered(&mut self, (peer, found): Asked) {
        self.asked.insert(peer);
        let found = match found {
            Ok(found) if found.answer.has != Has::Nothing => found,
            Ok(_) => return,
            Err(reason) => {
                debug!(hash = %self.job.hash, from = %peer.short(), "asked for a blob: {reason}");
                return;
            }
        };
        if let Some(known) = self.providers.get_mut(&peer) {
            known.found_again(found);
            return;
        }
        let provider = Provider::new(found);
        if provider.is_partial() {
            let (inner, hash, news) = (Arc::clone(&self.inner), self.job.hash, self.news.0.clone());
            self.observers.spawn(async move { observe(&inner, hash, peer, news).await });
        }
        self.providers.insert(peer, provider);
    }

    pub(super) fn heard(&mut self, peer: EndpointId, has: Option<ChunkRanges>) {
        let Some(provider) = self.providers.get_mut(&peer) else { return };
        let is_kept = match has {
            Some(has) => {
                // The first news are what it had before.
                if provider.note(has) {
                    self.last_byte = Instant::now();
                }
                provider.has.boundaries().len() <= BOUNDARIES_COUNT_MAX
            }
            None => false,
        };
        if !is_kept {
            self.providers.remove(&peer);
        }
    }

    /// Tells whoever looks how far it is.
    pub(super) fn publish(&self) {
        let Some(plan) = &self.plan else { return };
        let size = Some(plan.size());
        self.job.here.send_if_modified(|here| {
            let proven = size.filter(|_| self.is_proven);
            let is_new = here.size != proven || here.chunks != *plan.here();
            if is_new {
                here.size = proven;
                here.chunks = plan.here().clone();
            }
            is_new
        });
        let providers = self.providers.values().filter(|provider| provider.asked > 0 || provider.bytes > 0);
        let from: Vec<_> = providers.map(|provider| (provider.peer(), provider.bytes)).collect();
        let have_bytes = plan.have_bytes();
        self.job.progress.send_if_modified(|progress| {
            let step = if self.requests.is_empty() { progress.step.clone() } else { FetchStep::Coming };
            let is_new = progress.step != step
                || progress.have_bytes != have_bytes
                || progress.size != size
                || progress.from != from;
            if is_new {
                progress.step = step;
                progress.size = size;
                progress.have_bytes = have_bytes;
                progress.from = from;
            }
            is_new
        });
    }
}

/// Listens to what a peer that has a part of a blob says about it.
async fn observe(inner: &Inner, hash: BlobHash, peer: EndpointId, news: mpsc::Sender<News>) {
    if let Ok(connection) = inner.ways.connection_to(peer).await {
        let request = ObserveRequest::new(store_hash(hash));
        let mut bits = Box::pin(inner.store.remote().observe(connection, request));
        while let Some(Ok(bits)) = bits.next().await {
            if bits.ranges.boundaries().len() > BOUNDARIES_COUNT_MAX {
                debug!(%hash, from = %peer.short(), "a provider of a blob has it in too many pieces");
                break;
            }
            if news.send((peer, Some(bits.ranges))).await.is_err() {
                return;
            }
        }
    }
    // The task that listens may have ended.
    let _ = news.send((peer, None)).await;
}
