//! What admitted peers may ask: bytes of one blob, or how much of it is here; several at once on each connection.
//!
//! Nobody can put anything here: requests to push, or for several blobs at once, are refused.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bao_tree::ChunkRanges;
use bao_tree::io::EncodeError;
use bytes::Bytes;
use futures_util::StreamExt;
use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use iroh_blobs::api::blobs::EncodedItem;
use iroh_blobs::protocol::{ObserveRequest, Request};
use iroh_blobs::provider::events::{EventMask, EventSender, RequestMode};
use iroh_blobs::provider::{self, StreamPair};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::fetch::{self, Job};
use super::{Inner, chunks, find, store_hash};
use crate::handle::BlobHash;

/// How long a request may take to come.
const REQUEST: Duration = Duration::from_secs(5);
/// How long a request may be, in bytes.
const REQUEST_BYTES_MAX: usize = 4 * 1024;
/// Most ends of runs of chunks in a request; nodes ask for one run.
const BOUNDARIES_COUNT_MAX: usize = 256;
/// How long a connection may be there without a request.
pub(super) const IDLE: Duration = Duration::from_secs(30);
/// How long a peer may take nothing of what it asked for.
const STALL: Duration = Duration::from_secs(30);
/// Requests on one connection that may be open at once.
pub const STREAMS_COUNT_MAX: u32 = 16;
/// Close codes, as in `docs/protocol.md`.
pub(super) const GOODBYE: u32 = 0;
pub(super) const BROKEN_RULE: u32 = 3;
/// A stream that ends with this did not bring what was asked for.
const NOT_TO_BE_HAD: u32 = 3;

/// What the tasks of the store are asked to do.
#[derive(Debug)]
pub(super) struct Wants {
    pub(super) fetches: mpsc::Receiver<Arc<Job>>,
    /// A blob, and the first of its bytes that is not as it was written.
    pub(super) repairs: mpsc::Receiver<(BlobHash, u64)>,
}

/// Runs what the store does for others, until it is told to stop: connections of peers, and fetches.
pub(super) async fn run(
    inner: Arc<Inner>,
    mut connections: mpsc::Receiver<Connection>,
    mut wants: Wants,
    cancel: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let this = Arc::clone(&inner);
    tasks.spawn(async move { this.resume().await });
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            Some(connection) = connections.recv() => {
                tasks.spawn(serve(Arc::clone(&inner), connection));
            }
            Some(job) = wants.fetches.recv() => {
                tasks.spawn(fetch::run(Arc::clone(&inner), job));
            }
            Some((hash, position)) = wants.repairs.recv() => {
                let this = Arc::clone(&inner);
                tasks.spawn(async move { drop(this.repair(hash, position).await) });
            }
            () = inner.leftovers.wanted() => {
                let leftovers = Arc::clone(&inner.leftovers);
                tasks.spawn(async move { leftovers.sweep().await });
            }
            Some(ended) = tasks.join_next() => {
                if let Err(problem) = ended && problem.is_panic() {
                    warn!("a task that moved blobs has panicked; this is a bug: {problem}");
                }
            }
        }
    }
    tasks.shutdown().await;
}

async fn serve(inner: Arc<Inner>, connection: Connection) {
    let (code, reason) = match connection.alpn() == find::FIND_ALPN {
        true => find::serve(inner, connection.clone()).await,
        false => requests(inner, &connection).await,
    };
    connection.close(VarInt::from_u32(code), reason.as_bytes());
}

/// Answers requests until there is a reason to end the connection.
async fn requests(inner: Arc<Inner>, connection: &Connection) -> (u32, &'static str) {
    let id = connection.stable_id() as u64;
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((send, recv)) = stream else {
                    return (GOODBYE, "");
                };
                answers.spawn(answer(Arc::clone(&inner), id, send, recv));
            }
            Some(answered) = answers.join_next() => match answered {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => return (BROKEN_RULE, reason),
                Err(problem) => warn!("answering a request for a blob has panicked; this is a bug: {problem}"),
            },
            () = tokio::time::sleep(IDLE), if answers.is_empty() => return (GOODBYE, "idle"),
        }
    }
}

/// Answers a request. An error is a rule that the peer has broken.
async fn answer(inner: Arc<Inner>, id: u64, send: SendStream, recv: RecvStream) -> Result<(), &'static str> {
    let mask =
        EventMask { get_many: RequestMode::Disabled, push: RequestMode::Disabled, ..EventMask::DEFAULT };
    let (events, _) = EventSender::channel(1, mask);
    let mut pair = StreamPair::new(id, Short(recv), send, events);
    let Ok(Ok(request)) = tokio::time::timeout(REQUEST, pair.read_request()).await else {
        return Err("that is no request for a blob");
    };
    match request {
        Request::Get(request) if request.ranges.is_blob() => {
            let ranges = request.ranges.iter().next().cloned().unwrap_or_default();
            if ranges.boundaries().len() > BOUNDARIES_COUNT_MAX {
                return Err("that is too much to ask for at once");
            }
            let hash = BlobHash(*request.hash.as_bytes());
            let allowed = pair.get_request(|| request).await;
            let writer = match allowed {
                Ok(tracker) => pair.into_writer(tracker).await.map_err(|_| "a request for a blob goes on"),
                Err(_) => return Ok(()),
            };
            let mut send = writer?.inner;
            let _busy = Busy::new(&inner);
            match inner.send(hash, ranges, &mut send).await {
                // What is on its way arrives without us.
                Ok(()) => drop(send.finish()),
                Err(problem) => {
                    debug!(%hash, "a request for a blob was not answered to its end: {problem}");
                    drop(send.reset(VarInt::from_u32(NOT_TO_BE_HAD)));
                }
            }
            Ok(())
        }
        Request::Observe(request) => {
            // It is kept for as long as the peer listens; the ranges mean nothing.
            let request = ObserveRequest::new(request.hash);
            if let Err(problem) = provider::handle_observe(pair, (*inner.store).clone(), request).await {
                debug!("a peer is told no more of what is here of a blob: {problem}");
            }
            Ok(())
        }
        _ => Err("only single blobs can be asked for"),
    }
}

/// A stream on which a request comes that is not long.
struct Short(RecvStream);

impl iroh_blobs::util::RecvStream for Short {
    async fn recv_bytes(&mut self, len: usize) -> io::Result<Bytes> {
        iroh_blobs::util::RecvStream::recv_bytes(&mut self.0, len.min(REQUEST_BYTES_MAX)).await
    }

    async fn recv_bytes_exact(&mut self, len: usize) -> io::Result<Bytes> {
        if len > REQUEST_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        iroh_blobs::util::RecvStream::recv_bytes_exact(&mut self.0, len).await
    }

    async fn recv_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
        iroh_blobs::util::RecvStream::recv_exact(&mut self.0, target).await
    }

    fn stop(&mut self, code: VarInt) -> io::Result<()> {
        Ok(self.0.stop(code)?)
    }

    fn id(&self) -> u64 {
        self.0.id().index()
    }
}

/// A request that is being answered.
struct Busy<'a>(&'a Inner);

impl<'a> Busy<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.serving.fetch_add(1, Ordering::Relaxed);
        Self(inner)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    /// Requests for blobs that are being answered.
    pub(super) fn busy(&self) -> u16 {
        self.serving.load(Ordering::Relaxed)
    }

    /// Sends these chunks of a blob with what proves them.
    async fn send(&self, hash: BlobHash, ranges: ChunkRanges, to: &mut SendStream) -> Result<(), String> {
        let mut position = chunks::run(&ranges, 0).map_or(0, |run| run.start * 1024);
        let (first, mut items) = {
            let _turn = self.starts.acquire().await.map_err(|problem| problem.to_string())?;
            let mut items = Box::pin(self.store.export_bao(store_hash(hash), ranges).stream());
            (items.next().await, items)
        };
        let mut item = first;
        // Small pieces wait for the next large one.
        let mut small = Vec::new();
        while let Some(now) = item {
            match now {
                EncodedItem::Size(size) => small.extend(size.to_le_bytes()),
                EncodedItem::Parent(parent) => {
                    small.extend(parent.pair.0.as_bytes());
                    small.extend(parent.pair.1.as_bytes());
                }
                EncodedItem::Leaf(leaf) => {
                    let bytes = leaf.data.len();
                    position = leaf.offset + bytes as u64;
                    self.pace_out.pass(bytes).await;
                    let mut pieces = [Bytes::from(std::mem::take(&mut small)), leaf.data];
                    let writing = tokio::time::timeout(STALL, to.write_all_chunks(&mut pieces)).await;
                    let written = writing.map_err(|_| "the peer takes nothing of it".to_owned())?;
                    written.map_err(|problem| problem.to_string())?;
                    self.counts.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                }
                EncodedItem::Error(problem) => {
                    // What is only partly here has holes.
                    if is_damage(&problem) && self.whole(hash).await.is_ok_and(|size| size.is_some()) {
                        self.damage.found(hash, position, &problem);
                    }
                    return Err(problem.to_string());
                }
                EncodedItem::Done => break,
            }
            item = items.next().await;
        }
        if !small.is_empty() {
            to.write_all(&small).await.map_err(|problem| problem.to_string())?;
        }
        Ok(())
    }
}

/// Whether bytes on the disk are not those that were written, or cannot be read.
pub(super) fn is_damage(problem: &EncodeError) -> bool {
    match problem {
        EncodeError::ParentHashMismatch(_) | EncodeError::LeafHashMismatch(_) | EncodeError::SizeMismatch => {
            true
        }
        EncodeError::Io(problem) => {
            // The store says so when the file of a blob is not there.
            let is_poisoned = problem.kind() == ErrorKind::Other && problem.to_string() == "poisoned storage";
            is_poisoned || matches!(problem.kind(), ErrorKind::UnexpectedEof | ErrorKind::NotFound)
        }
        _ => false,
    }
}
