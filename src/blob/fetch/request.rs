//! One part of a blob, asked of one provider: pieces are checked against the hash and kept as they come.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bao_tree::io::BaoContentItem;
use iroh_blobs::get::StreamPair;
use iroh_blobs::get::fsm::{AtConnected, BlobContentNext, ConnectedNext};
use iroh_blobs::protocol::GetRequest;
use peat_mesh_core::EndpointId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::plan::{PartEnd, PartId};
use crate::blob::pace::{Held, Paced};
use crate::blob::space::LOOK_EVERY_BYTES;
use crate::blob::{Inner, chunks, rpc_failed, store_hash};
use crate::handle::{BlobError, BlobHash};

/// After so many bytes the job is told, or after so long.
const TELL_EVERY_BYTES: u64 = 256 * 1024;
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Pieces that may wait for the disk, of up to 16 KiB each.
const PIECES_COUNT_MAX: usize = 64;

/// How asking one provider ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The part has come.
    All,
    /// It did not, for a reason that has to do with the provider; in words.
    Broken(String),
    /// This node cannot keep it.
    Failed(BlobError),
}

/// A part that was asked for, and what became of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) part: PartId,
    pub(super) provider: EndpointId,
    pub(super) outcome: Outcome,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// So many bytes of a part have come.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) part: PartId,
    pub(super) provider: EndpointId,
    /// Of the part in all.
    pub(super) bytes: u64,
    /// Since the last time.
    pub(super) more: u64,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) hash: BlobHash,
    pub(super) part: PartId,
    pub(super) provider: EndpointId,
    pub(super) chunks: Range<u64>,
    pub(super) end: PartEnd,
    pub(super) held: Held,
}

/// How far a request is.
struct Progress<'a> {
    request: &'a Request,
    inner: &'a Inner,
    came: mpsc::Sender<Came>,
    bytes: u64,
    told: u64,
    told_at: Instant,
    looked_at: u64,
}

impl Request {
    pub(super) async fn run(self, inner: Arc<Inner>, came: mpsc::Sender<Came>) -> Done {
        let start = Instant::now();
        let mut progress =
            Progress { request: &self, inner: &inner, came, bytes: 0, told: 0, told_at: start, looked_at: 0 };
        let outcome = self.ask(&mut progress).await.unwrap_or_else(Outcome::Failed);
        progress.tell().await;
        let bytes = progress.bytes;
        let Self { part, provider, .. } = self;
        Done { part, provider, outcome, bytes, took: start.elapsed() }
    }

    async fn ask(&self, progress: &mut Progress<'_>) -> Result<Outcome, BlobError> {
        let inner = progress.inner;
        inner.space.check(0)?;
        let (connection, send, stream) = match inner.ways.stream(self.provider, iroh_blobs::ALPN).await {
            Ok(opened) => opened,
            Err(reason) => return Ok(Outcome::Broken(reason)),
        };
        let broken = |problem: &dyn std::fmt::Display| {
            let reason = connection.close_reason().map(|reason| reason.to_string());
            Ok(Outcome::Broken(reason.unwrap_or_else(|| problem.to_string())))
        };
        let recv = Paced { stream, pace: Arc::clone(&inner.pace_in), held: Arc::clone(&self.held) };
        let pair = StreamPair::new(connection.stable_id() as u64, recv, send);
        let request = GetRequest::blob_ranges(store_hash(self.hash), chunks::set(self.chunks.clone()));
        let connected = AtConnected::new(pair.t0, pair.recv, pair.send, request, Default::default());
        let start = match connected.next().await {
            Ok(ConnectedNext::StartRoot(start)) => start,
            Ok(_) => return broken(&"it answered something else"),
            Err(problem) => return broken(&problem),
        };
        let (mut content, size) = match start.next().next().await {
            Ok(begun) => begun,
            // Where the length should be there is an end.
            Err(_) => return broken(&"it does not have it any more"),
        };
        let Some(size) = NonZeroU64::new(size) else {
            return broken(&"it says that the blob has no bytes");
        };
        let keeping = inner.store.import_bao(store_hash(self.hash), size, PIECES_COUNT_MAX).await;
        let keeping = keeping.map_err(rpc_failed)?;
        let outcome = loop {
            let item = match content.next().await {
                BlobContentNext::More((next, item)) => {
                    content = next;
                    item
                }
                BlobContentNext::Done(_) => break Outcome::All,
            };
            let item = match item {
                Ok(item) => item,
                Err(problem) => break broken(&problem)?,
            };
            if let BaoContentItem::Leaf(leaf) = &item {
                if leaf.offset / 1024 >= self.end.load(Ordering::Relaxed) {
                    // Somebody else brings the rest.
                    break Outcome::All;
                }
                progress.more(leaf.data.len() as u64).await?;
            }
            if keeping.tx.send(item).await.is_err() {
                break Outcome::All;
            }
        };
        drop(keeping.tx);
        match keeping.rx.await {
            Ok(Ok(())) => Ok(outcome),
            // A piece that proves nothing ends what is kept, too; whoever sent it is to blame.
            _ if matches!(outcome, Outcome::Broken(_)) => Ok(outcome),
            Ok(Err(problem)) => {
                inner.space.check(0)?;
                Err(BlobError::Store(problem.to_string()))
            }
            Err(problem) => Err(rpc_failed(problem)),
        }
    }
}

impl Progress<'_> {
    async fn more(&mut self, bytes: u64) -> Result<(), BlobError> {
        self.bytes += bytes;
        if self.bytes >= self.looked_at + LOOK_EVERY_BYTES {
            self.looked_at = self.bytes;
            self.inner.space.check(0)?;
        }
        if self.bytes >= self.told + TELL_EVERY_BYTES || self.told_at.elapsed() >= TELL_EVERY {
            self.tell().await;
        }
        Ok(())
    }

    async fn tell(&mut self) {
        let more = self.bytes - self.told;
        if more > 0 {
            self.told = self.bytes;
            self.told_at = Instant::now();
            self.inner.counts.received_bytes.fetch_add(more, Ordering::Relaxed);
            let Request { part, provider, .. } = *self.request;
            // The job may have ended.
            let _ = self.came.send(Came { part, provider, bytes: self.bytes, more }).await;
        }
    }
}
