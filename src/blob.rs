//! Blobs: files and other bytes, each named by the BLAKE3 hash of its content.
//!
//! In: content to keep, connections of admitted peers that ask for blobs, and a way to such peers. Out:
//! content, checked piece by piece against its hash. The store is iroh-blobs' one on disk, and a blob is on
//! this node when it has its tag: `blob:<hash>` for one that is whole, `partial:<hash>` for one of which a
//! fetch has brought a part. What has no tag is collected with the next delete.
//!
//! - `open`: the folder, and why it cannot be used.
//! - `face`, `own`: what may be asked, and what is here.
//! - `upload`, `fetch`, `background`: how a blob gets here, from a client and from peers.
//! - `find`, `ways`: who has a blob, and connections to them.
//! - `read`: how it goes to a client.
//! - `serve`: what admitted peers may ask.
//! - `chunks`: how content is counted.
//! - `pace`: how fast blobs may go.
//! - `damage`: bytes that have changed on the disk, and how they are mended.
//! - `references`, `keeper`: which blobs documents name, what is fetched for that, and what may go.
//! - `collect`, `leftovers`, `sweep`: how space is given back.
//! - `space`: how much of the disk blobs take.

mod background;
mod chunks;
mod collect;
mod damage;
mod face;
mod fetch;
mod find;
mod keeper;
mod leftovers;
mod open;
mod own;
mod pace;
mod read;
mod references;
mod serve;
mod space;
mod sweep;
mod upload;
mod ways;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU64};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use iroh::endpoint::Connection;
use iroh_blobs::api::RequestError;
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::store::fs::options::PathOptions;
use iroh_blobs::{Hash, HashAndFormat};
use peat_mesh_core::store::Store;
use tokio::sync::{RwLock, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

pub use find::{FIND_ALPN, QUESTIONS_COUNT_MAX};
pub use iroh_blobs::ALPN;
pub use keeper::Keeper;
pub use open::OpenError;
pub use serve::STREAMS_COUNT_MAX;
pub use ways::{Providers, Way};

use crate::config::{Attachments, BlobLimits};
use crate::handle::{BlobError, BlobHash};

/// Connections of peers that may wait to be served.
pub const WAITING_CONNECTIONS_COUNT_MAX: usize = 16;
/// Blobs that come at once; more wait.
const FETCHES_COUNT_MAX: usize = 8;
/// How long a blob is waited for that is just being mended or let go of, in milliseconds.
const TURN_MS_MAX: u64 = 5_000;
/// How long the store may take to close, in milliseconds.
const CLOSE_MS_MAX: u64 = 3_000;

/// The blobs of a node.
#[derive(Debug, Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: FsStore,
    paths: PathOptions,
    space: Arc<space::Space>,
    collector: collect::Collector,
    /// Held for reading from the time a tag is set until it no longer matters whether the collector saw it.
    tagging: Arc<RwLock<()>>,
    leftovers: Arc<leftovers::Leftovers>,
    references: Arc<references::References>,
    ways: ways::Ways,
    jobs: fetch::Jobs,
    damage: damage::Damage,
    pace_in: Arc<pace::Pace>,
    pace_out: pace::Pace,
    /// Requests of peers that are being answered.
    serving: AtomicU16,
    counts: Counts,
    fetches: Arc<Semaphore>,
    starts: Semaphore,
    passed_on: Semaphore,
    passing: Arc<Semaphore>,
    /// The blobs that are being fetched, mended or deleted: one of that at a time for each.
    turns: Mutex<HashMap<BlobHash, Weak<tokio::sync::Mutex<()>>>>,
}

/// What has happened since the start.
#[derive(Debug, Default)]
struct Counts {
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    /// Blobs that were mended.
    repaired: AtomicU64,
    /// Blobs that were dropped because nothing referred to them.
    collected: AtomicU64,
    collected_bytes: AtomicU64,
}

/// The task that serves peers and fetches, to be stopped and waited for.
#[derive(Debug)]
pub struct Server {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
    cancel: DropGuard,
}

/// Opens the store in a folder, which is made if need be. `documents` say which blobs are kept.
///
/// # Errors
/// When the folder cannot be used, or what is in it is no store of blobs.
pub async fn open(
    folder: &Path,
    documents: Arc<dyn Store>,
    attachments: Attachments,
) -> Result<Opened, OpenError> {
    open::open(folder, documents, attachments).await
}

/// A store that is open and not yet in use.
#[derive(Debug)]
pub struct Opened {
    store: FsStore,
    folder: PathBuf,
    paths: PathOptions,
    collector: collect::Collector,
    tagging: Arc<RwLock<()>>,
    references: references::References,
    /// What is here, with its bytes.
    held: Vec<(BlobHash, u64)>,
}

impl Opened {
    /// Takes the store into use: `connections` are of admitted peers and are served from now on.
    #[must_use]
    pub fn start(
        self,
        providers: Arc<dyn Providers>,
        connections: mpsc::Receiver<Connection>,
        limits: BlobLimits,
    ) -> (BlobStore, Server) {
        let (starts, fetches) = mpsc::channel(fetch::STARTS_COUNT_MAX);
        let (repair, repairs) = mpsc::channel(damage::REPAIRS_COUNT_MAX);
        let space = space::Space::new(self.folder, limits.bytes_max);
        for (hash, bytes) in self.held {
            space.keep(hash, bytes);
        }
        let inner = Arc::new(Inner {
            leftovers: Arc::new(leftovers::Leftovers::new(self.paths.temp_path.clone())),
            references: Arc::new(self.references),
            space: Arc::new(space),
            store: self.store,
            paths: self.paths,
            collector: self.collector,
            tagging: self.tagging,
            ways: ways::Ways::new(providers),
            jobs: fetch::Jobs::new(starts),
            damage: damage::Damage::new(repair),
            pace_in: Arc::new(pace::Pace::new(limits.bytes_per_second_max)),
            pace_out: pace::Pace::new(limits.bytes_per_second_max),
            serving: AtomicU16::new(0),
            counts: Counts::default(),
            fetches: Arc::new(Semaphore::new(FETCHES_COUNT_MAX)),
            passed_on: Semaphore::new(find::PASSED_ON_COUNT_MAX),
            passing: Arc::new(Semaphore::new(find::PASSING_COUNT_MAX)),
            starts: Semaphore::new(read::STARTS_COUNT_MAX),
            turns: Mutex::default(),
        });
        let cancel = CancellationToken::new();
        let wants = serve::Wants { fetches, repairs };
        let serving = serve::run(Arc::clone(&inner), connections, wants, cancel.clone());
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
        self.inner.references.close();
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
/// Of a blob that is to be fetched in the background, also after a restart.
const WANTED: &str = "wanted:";

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
