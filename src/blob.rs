//! Blobs: files and other bytes, each named by the BLAKE3 hash of its content.
//!
//! In: content to keep, connections of admitted peers that ask for blobs, and a way to such peers. Out:
//! content, checked piece by piece against its hash. The store is iroh-blobs' one on disk, and a blob is on
//! this node when it has its tag: `blob:<hash>` for one that is whole, `partial:<hash>` for one of which a
//! fetch has brought a part. What has no tag is collected with the next delete.
//!
//! - `open`: the folder, and why it cannot be used.
//! - `upload`, `fetch`: how a blob gets here, from a client and from peers.
//! - `read`: how it goes to a client.
//! - `serve`: what admitted peers may ask.
//! - `collect`, `leftovers`: how space is given back.
//! - `space`: how much of the disk blobs leave alone.

mod collect;
mod fetch;
mod leftovers;
mod open;
mod read;
mod serve;
mod space;
mod upload;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use iroh::endpoint::Connection;
use iroh_blobs::api::RequestError;
use iroh_blobs::api::blobs::BlobStatus;
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::store::fs::options::PathOptions;
use iroh_blobs::{Hash, HashAndFormat};
use peat_mesh_core::EndpointId;
use tokio::sync::{RwLock, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

pub use iroh_blobs::ALPN;
pub use open::OpenError;

use crate::handle::{Blob, BlobError, BlobHash, BlobPage, BlobState, Content};

/// Connections of peers that may wait to be served.
pub const WAITING_CONNECTIONS_COUNT_MAX: usize = 16;
/// Blobs that are fetched at once; more wait. Half of the connections that a peer takes from this node, since
/// a peer sees the end of one a little later.
const FETCHES_COUNT_MAX: usize = 4;
/// How long the store may take to close, in milliseconds.
const CLOSE_MS_MAX: u64 = 3_000;

/// The way to peers that may have a blob.
pub trait Providers: Send + Sync + std::fmt::Debug {
    /// The peers that are connected and admitted now.
    fn peers(&self) -> Vec<EndpointId>;
    /// Opens a connection for blobs to one of them; why that fails, in words.
    fn open(&self, peer: EndpointId) -> BoxFuture<'_, Result<Connection, String>>;
}

/// The blobs of a node.
#[derive(Debug, Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: FsStore,
    paths: PathOptions,
    space: space::Space,
    collector: collect::Collector,
    /// Held for reading from the time a tag is set until it no longer matters whether the collector saw it.
    tagging: Arc<RwLock<()>>,
    leftovers: Arc<leftovers::Leftovers>,
    providers: Arc<dyn Providers>,
    fetches: Semaphore,
    starts: Semaphore,
    /// The blobs that are being fetched: one fetch at a time for each.
    turns: Mutex<HashMap<BlobHash, Weak<tokio::sync::Mutex<()>>>>,
}

/// The task that serves peers, to be stopped and waited for.
#[derive(Debug)]
pub struct Server {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
    cancel: DropGuard,
}

/// Opens the store in a folder, which is made if need be.
///
/// # Errors
/// When the folder cannot be used, or what is in it is no store of blobs.
pub async fn open(folder: &Path) -> Result<Opened, OpenError> {
    open::open(folder).await
}

/// A store that is open and not yet in use.
#[derive(Debug)]
pub struct Opened {
    store: FsStore,
    folder: PathBuf,
    paths: PathOptions,
    collector: collect::Collector,
    tagging: Arc<RwLock<()>>,
}

impl Opened {
    /// Takes the store into use: `connections` are of admitted peers and are served from now on.
    #[must_use]
    pub fn start(
        self,
        providers: Arc<dyn Providers>,
        connections: mpsc::Receiver<Connection>,
    ) -> (BlobStore, Server) {
        let inner = Arc::new(Inner {
            leftovers: Arc::new(leftovers::Leftovers::new(self.paths.temp_path.clone())),
            space: space::Space::new(self.folder),
            store: self.store,
            paths: self.paths,
            collector: self.collector,
            tagging: self.tagging,
            providers,
            fetches: Semaphore::new(FETCHES_COUNT_MAX),
            starts: Semaphore::new(read::STARTS_COUNT_MAX),
            turns: Mutex::default(),
        });
        let cancel = CancellationToken::new();
        let serving = serve::run(Arc::clone(&inner), connections, cancel.clone());
        let task = tokio::spawn(serving);
        let store = BlobStore { inner: Arc::clone(&inner) };
        (store, Server { inner, task, cancel: cancel.drop_guard() })
    }

    /// Closes the store again, when the node cannot start for another reason.
    pub async fn close(self) {
        close(&self.store, &self.collector).await;
    }
}

impl Server {
    /// Stops serving and closes the store. Requests after that fail.
    pub async fn shutdown(self) {
        drop(self.cancel);
        if let Err(problem) = self.task.await
            && problem.is_panic()
        {
            warn!("the task that serves blobs has panicked; this is a bug: {problem}");
        }
        close(&self.inner.store, &self.inner.collector).await;
    }
}

async fn close(store: &FsStore, collector: &collect::Collector) {
    let closed = tokio::time::timeout(Duration::from_millis(CLOSE_MS_MAX), store.shutdown()).await;
    collector.end();
    match closed {
        Ok(Ok(())) => debug!("blob store closed"),
        Ok(Err(problem)) => warn!("the blob store was not open any more when it was to be closed: {problem}"),
        Err(_) => {
            warn!("the blob store did not close within {CLOSE_MS_MAX} ms; it is checked when it is opened")
        }
    }
}

fn store_hash(hash: BlobHash) -> Hash {
    Hash::from_bytes(hash.0)
}

fn raw(hash: BlobHash) -> HashAndFormat {
    HashAndFormat::raw(store_hash(hash))
}

const WHOLE: &str = "blob:";
const PARTIAL: &str = "partial:";

fn tag(kind: &str, hash: BlobHash) -> String {
    format!("{kind}{hash}")
}

fn failed(problem: RequestError) -> BlobError {
    match problem {
        RequestError::Inner { source: iroh_blobs::api::Error::Io(problem), .. } => io_failed(&problem),
        other => BlobError::Store(format!("{other:#}")),
    }
}

fn rpc_failed(problem: impl std::fmt::Display) -> BlobError {
    BlobError::Store(problem.to_string())
}

fn io_failed(problem: &io::Error) -> BlobError {
    if matches!(problem.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        space::full()
    } else {
        BlobError::Store(problem.to_string())
    }
}

impl Inner {
    async fn has_tag(&self, kind: &str, hash: BlobHash) -> Result<bool, BlobError> {
        Ok(self.store.tags().get(tag(kind, hash)).await.map_err(failed)?.is_some())
    }

    /// The length of a blob that is whole in the store, with a tag or without.
    async fn whole(&self, hash: BlobHash) -> Result<Option<u64>, BlobError> {
        match self.store.status(store_hash(hash)).await.map_err(rpc_failed)? {
            BlobStatus::Complete { size } => Ok(Some(size)),
            _ => Ok(None),
        }
    }

    async fn state(&self, hash: BlobHash) -> Result<BlobState, BlobError> {
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
    async fn keep(&self, hash: BlobHash) -> Result<(Blob, bool), BlobError> {
        let lost = || BlobError::Store(format!("blob {hash} was deleted at the same time; try again"));
        let size = self.whole(hash).await?.ok_or_else(lost)?;
        let files = upload::Files::new(&self.paths, hash, size);
        files.sync().await.map_err(|problem| io_failed(&problem))?;
        let _tagging = self.tagging.read().await;
        let is_new = !self.has_tag(WHOLE, hash).await?;
        if is_new {
            self.store.tags().set(tag(WHOLE, hash), raw(hash)).await.map_err(failed)?;
        }
        self.store.tags().delete(tag(PARTIAL, hash)).await.map_err(failed)?;
        self.store.sync_db().await.map_err(failed)?;
        Ok((Blob { hash, size }, is_new))
    }

    /// The turn to fetch or delete a blob.
    fn turn(&self, hash: BlobHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&hash).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(hash, Arc::downgrade(&turn));
        turn
    }

    async fn delete(&self, hash: BlobHash) -> Result<bool, BlobError> {
        let turn = self.turn(hash);
        let Ok(_turn) = turn.try_lock() else {
            return Err(BlobError::InFetch { hash });
        };
        let tags = self.store.tags();
        let mut dropped = 0;
        for kind in [WHOLE, PARTIAL] {
            dropped += tags.delete(tag(kind, hash)).await.map_err(failed)?;
        }
        if dropped > 0 {
            self.collector.collect().await?;
        }
        Ok(dropped > 0)
    }

    async fn list(&self, after: Option<BlobHash>, limit: usize) -> Result<BlobPage, BlobError> {
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

    fn fetch(&self, hash: BlobHash) -> BoxFuture<'_, Result<Blob, BlobError>> {
        Box::pin(self.inner.fetch(hash))
    }

    fn read(&self, hash: BlobHash, range: Range<u64>) -> Content {
        self.inner.read(hash, range)
    }

    fn delete(&self, hash: BlobHash) -> BoxFuture<'_, Result<bool, BlobError>> {
        Box::pin(self.inner.delete(hash))
    }

    fn list(&self, after: Option<BlobHash>, limit: usize) -> BoxFuture<'_, Result<BlobPage, BlobError>> {
        Box::pin(self.inner.list(after, limit))
    }
}
