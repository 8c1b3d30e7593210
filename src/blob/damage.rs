//! Blobs of which bytes on the disk are not those that were written: they are told of, and mended with the bytes of
//! a peer that has them.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bao_tree::io::{BaoContentItem, EncodeError};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use futures_util::StreamExt;
use iroh_blobs::api::blobs::EncodedItem;
use iroh_blobs::get::StreamPair;
use iroh_blobs::get::fsm::{AtConnected, BlobContentNext, ConnectedNext};
use iroh_blobs::protocol::GetRequest;
use peat_mesh_core::EndpointId;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::find::{HOPS_COUNT_MAX, Has};
use super::pace::Paced;
use super::{Inner, chunks, store_hash, upload};
use crate::handle::{BlobError, BlobHash, BlobState};

/// Damage that may wait to be mended.
pub(super) const REPAIRS_COUNT_MAX: usize = 64;
/// How long a peer may take for the bytes that are missing.
const BYTES: Duration = Duration::from_secs(30);
/// The store keeps bytes in groups of 16 KiB.
pub(super) const GROUP: BlockSize = BlockSize::from_chunk_log(4);
const GROUP_BYTES: u64 = 16 * 1024;

/// The blobs that are known to be damaged.
#[derive(Debug)]
pub(super) struct Damage {
    known: Mutex<HashSet<BlobHash>>,
    /// Those that wait for their repair; one more request of each would only do the same again.
    waiting: Mutex<HashSet<BlobHash>>,
    repairs: mpsc::Sender<(BlobHash, u64)>,
}

impl Damage {
    pub(super) fn new(repairs: mpsc::Sender<(BlobHash, u64)>) -> Self {
        Self { known: Mutex::default(), waiting: Mutex::default(), repairs }
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<BlobHash>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<BlobHash>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_known(&self, hash: BlobHash) -> bool {
        self.known().contains(&hash)
    }

    pub(super) fn len(&self) -> usize {
        self.known().len()
    }

    /// Notes that it is gone.
    pub(super) fn forget(&self, hash: BlobHash) -> bool {
        self.known().remove(&hash)
    }

    /// Tells of damage at this byte, and has it mended.
    pub(super) fn found(&self, hash: BlobHash, position: u64, problem: &impl std::fmt::Display) {
        if self.known().insert(hash) {
            error!(
                %hash,
                "a blob is damaged on the disk of this node, at byte {position} ({problem}): the disk is failing, or \
                 something else writes to the folder for blobs. It is not given to anybody; peers are asked for the \
                 bytes"
            );
        }
        // When many wait, it is found again.
        if self.waiting().insert(hash) && self.repairs.try_send((hash, position)).is_err() {
            self.waiting().remove(&hash);
        }
    }
}

impl Inner {
    /// Mends a blob from this byte on. `Err` says in words why that cannot be.
    pub(super) async fn repair(self: &Arc<Self>, hash: BlobHash, position: u64) -> Result<(), String> {
        let turn = self.turn(hash);
        let _turn = turn.lock().await;
        self.damage.waiting().remove(&hash);
        let mut from = position / GROUP_BYTES * GROUP_BYTES;
        let mut mended_at = None;
        let mut mended = 0_u64;
        let result = loop {
            match self.damaged_at(hash, from).await {
                Ok(None) => break Ok(()),
                Ok(Some(at)) if mended_at == Some(at) => break Err("it stays damaged".to_owned()),
                Ok(Some(at)) => {
                    if let Err(reason) = self.mend(hash, at).await {
                        break Err(reason);
                    }
                    mended += 1;
                    mended_at = Some(at);
                    from = at;
                }
                Err(reason) => break Err(self.replace(hash, &reason).await),
            }
        };
        match &result {
            Ok(()) => match (self.damage.forget(hash), mended) {
                (false, _) => {}
                (true, 0) => info!(%hash, "a blob that could not be read can be read again"),
                (true, groups) => {
                    self.counts.repaired.fetch_add(1, Ordering::Relaxed);
                    info!(%hash, groups, "a damaged blob is whole again, with the bytes of a peer");
                }
            },
            Err(reason) => warn!(
                %hash,
                "a damaged blob could not be mended: {reason}. It is tried again when somebody reads it; DELETE \
                 drops it"
            ),
        }
        result
    }

    /// The first byte at or after `from` that cannot be read, in a whole group; `None` when all can.
    async fn damaged_at(&self, hash: BlobHash, from: u64) -> Result<Option<u64>, String> {
        let ranges = ChunkRanges::from(ChunkNum(from / 1024)..);
        let mut items = Box::pin(self.store.export_bao(store_hash(hash), ranges).stream());
        let mut position = from;
        while let Some(item) = items.next().await {
            match item {
                EncodedItem::Leaf(leaf) => position = leaf.offset + leaf.data.len() as u64,
                EncodedItem::Error(EncodeError::Io(problem))
                    if problem.kind() != ErrorKind::UnexpectedEof =>
                {
                    return Err(problem.to_string());
                }
                EncodedItem::Error(_) => return Ok(Some(position / GROUP_BYTES * GROUP_BYTES)),
                EncodedItem::Done => break,
                _ => {}
            }
        }
        Ok(None)
    }

    /// Drops a blob whose files are gone, and has it fetched again, if somebody has it. Why it cannot be read now, in
    /// words.
    async fn replace(self: &Arc<Self>, hash: BlobHash, reason: &str) -> String {
        match self.try_replace(hash).await {
            Ok(()) => format!("its files are gone ({reason}); it is fetched again from a peer"),
            Err(problem) => format!("its files cannot be read now ({reason}), and {problem}"),
        }
    }

    async fn try_replace(self: &Arc<Self>, hash: BlobHash) -> Result<(), String> {
        let failed = |problem: BlobError| format!("it cannot be fetched again: {problem}");
        let BlobState::Complete { size } = self.state(hash).await.map_err(failed)? else {
            return Err("it is not here any more".to_owned());
        };
        self.must_be_lost(hash, size).await?;
        // The word of a peer is not enough: one with the same trouble also says that it has the blob. The end proves
        // the length too.
        self.group_of_any(hash, size.saturating_sub(1)).await?;
        let tagging = self.tagging.write().await;
        // Somebody may have stored it anew.
        self.must_be_lost(hash, size).await?;
        self.untag(hash).await.map_err(failed)?;
        // The collector needs it.
        drop(tagging);
        self.collector.collect().await.map_err(failed)?;
        self.request(hash).await.map_err(failed)?;
        Ok(())
    }

    /// `Err` in words, unless files of a blob of this length are certainly gone or cut. Anything else may pass, such as
    /// too many open files.
    async fn must_be_lost(&self, hash: BlobHash, size: u64) -> Result<(), String> {
        match upload::Files::new(&self.paths, hash, size).are_lost().await {
            Ok(true) => Ok(()),
            Ok(false) => Err("nothing is dropped, because they are there".to_owned()),
            Err(problem) => Err(format!("nothing is dropped, because they may be there: {problem}")),
        }
    }

    /// Writes one group of a peer over the one that is here.
    async fn mend(self: &Arc<Self>, hash: BlobHash, at: u64) -> Result<(), String> {
        let (size, items) = self.group_of_any(hash, at).await?;
        self.write(hash, size, items).await
    }

    /// What a group holds, from the first peer that can prove it, with the length of the blob.
    async fn group_of_any(
        self: &Arc<Self>,
        hash: BlobHash,
        at: u64,
    ) -> Result<(u64, Vec<BaoContentItem>), String> {
        let mut reason = "no connected node has it whole".to_owned();
        for hops in [0, HOPS_COUNT_MAX] {
            let mut asked = self.ask_all(hash, hops, &BTreeSet::new());
            while let Some((peer, found)) = asked.next().await {
                if !found.is_ok_and(|found| found.answer.has == Has::Whole) {
                    continue;
                }
                match tokio::time::timeout(BYTES, self.group_of(hash, peer, at)).await {
                    Ok(Ok(proven)) => return Ok(proven),
                    Ok(Err(problem)) => reason = format!("{} did not give it: {problem}", peer.short()),
                    Err(_) => reason = format!("{} did not give it in time", peer.short()),
                }
            }
        }
        Err(reason)
    }

    /// What a peer says that a group holds, checked against the hash, with the length of the blob.
    async fn group_of(
        &self,
        hash: BlobHash,
        peer: EndpointId,
        at: u64,
    ) -> Result<(u64, Vec<BaoContentItem>), String> {
        let words = |problem: &dyn std::fmt::Display| problem.to_string();
        let (connection, send, stream) = self.ways.stream(peer, iroh_blobs::ALPN).await?;
        let recv = Paced { stream, pace: Arc::clone(&self.pace_in), held: Arc::default() };
        let pair = StreamPair::new(connection.stable_id() as u64, recv, send);
        let ranges = chunks::set(chunks::of_bytes(at..at + 1));
        let request = GetRequest::blob_ranges(store_hash(hash), ranges);
        let connected = AtConnected::new(pair.t0, pair.recv, pair.send, request, Default::default());
        let ConnectedNext::StartRoot(start) = connected.next().await.map_err(|problem| words(&problem))?
        else {
            return Err("it answered something else".to_owned());
        };
        let (mut content, size) = start.next().next().await.map_err(|problem| words(&problem))?;
        let mut items = Vec::new();
        loop {
            match content.next().await {
                BlobContentNext::More((next, item)) => {
                    items.push(item.map_err(|problem| words(&problem))?);
                    content = next;
                }
                BlobContentNext::Done(_) => return Ok((size, items)),
            }
        }
    }

    async fn write(&self, hash: BlobHash, size: u64, items: Vec<BaoContentItem>) -> Result<(), String> {
        let data = self.paths.data_path(&store_hash(hash));
        let outboard = self.paths.outboard_path(&store_hash(hash));
        let work = move || write_items(&data, &outboard, size, &items);
        let written = tokio::task::spawn_blocking(work).await.map_err(|problem| problem.to_string())?;
        written.map_err(|problem| format!("its files cannot be written: {problem}"))
    }
}

fn write_items(data: &Path, outboard: &Path, size: u64, items: &[BaoContentItem]) -> io::Result<()> {
    let open = |path: &Path| OpenOptions::new().write(true).open(path);
    let data = open(data)?;
    // Small trees are in the index.
    let outboard: Option<File> = open(outboard).ok();
    let tree = BaoTree::new(size, GROUP);
    for item in items {
        match item {
            BaoContentItem::Leaf(leaf) => data.write_all_at(&leaf.data, leaf.offset)?,
            BaoContentItem::Parent(parent) => {
                if let (Some(outboard), Some(at)) = (&outboard, tree.pre_order_offset(parent.node)) {
                    let pair = [*parent.pair.0.as_bytes(), *parent.pair.1.as_bytes()].concat();
                    outboard.write_all_at(&pair, at * 64)?;
                }
            }
        }
    }
    data.sync_all()?;
    outboard.map_or(Ok(()), |outboard| outboard.sync_all())
}
