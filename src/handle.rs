//! The face of a running node: what programs that embed it, and the broker, can ask of it.
//!
//! Reads go straight to the store. Writes go to the one writer and are answered after they are on disk.

mod blobs;
mod sync;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use peat_mesh_core::hub::{Faults, PeerView};
use peat_mesh_core::io::Event;
use peat_mesh_core::presence::{Measure, Topology};
use peat_mesh_core::replica::{Job, Outcome, Source, Work, WriteError, Written};
use peat_mesh_core::store::{Change, Page, Store, StoreError, StoredDocument};
use peat_mesh_core::{ConnId, DocId, EndpointId, NodeName};
use serde_json::{Map, Value};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use sync::{Acknowledged, Concern, DocumentSync, SyncState};
pub(crate) use sync::{Found, Question};

pub use blobs::{
    Blob, BlobCounts, BlobError, BlobHash, BlobHashError, BlobPage, BlobState, Blobs, Content, FetchStep,
    Fetching, Holder, Kept, Reading,
};

/// A running node. Clones are cheap and all speak of the same node.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// What a handle is made of; the node puts it together.
pub(crate) struct Shared {
    pub(crate) name: NodeName,
    pub(crate) endpoint: EndpointId,
    pub(crate) device_id: String,
    pub(crate) started: Instant,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) writes: mpsc::Sender<WriteRequest>,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) news: broadcast::Sender<Event>,
    pub(crate) peers: watch::Receiver<Arc<Vec<PeerView>>>,
    pub(crate) topology: watch::Receiver<Arc<Topology>>,
    pub(crate) faults: watch::Receiver<Arc<Faults>>,
    pub(crate) probes: Arc<dyn Probes>,
    pub(crate) stopping: CancellationToken,
}

/// What clients have for the writer.
#[derive(Debug)]
pub(crate) enum WriteRequest {
    /// A job, and where its outcome goes.
    Client { job: Job, reply: oneshot::Sender<Outcome> },
    /// A question for the mesh, to be passed on behind the commits before it.
    Ask(Question),
    /// Finish and end.
    Stop,
}

/// What only the rooms themselves know at the moment of asking.
pub(crate) trait Probes: Send + Sync {
    /// The path of a connection.
    fn path(&self, conn: ConnId) -> Option<Path>;
    /// What discovery says about a peer.
    fn said(&self, peer: EndpointId) -> Said;
    /// The sockets of the node.
    fn bound_addresses(&self) -> Vec<SocketAddr>;
    /// Every condition of being ready.
    fn checks(&self) -> Vec<Check>;
}

/// How packets reach a peer now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The way, its round-trip time and loss.
    pub measure: Measure,
    /// Bytes that went out over the connection, in UDP datagrams.
    pub bytes_sent: u64,
    /// Bytes that came in.
    pub bytes_received: u64,
}

/// What discovery says about a peer beyond its addresses. It is shown, and not used to connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Words of an operator about the peer, by key.
    pub metadata: BTreeMap<String, String>,
    /// The relay at which the peer is said to be reached.
    pub relay_url: Option<String>,
}

/// A peer, the path to it, and what is said about it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What the mesh knows of it. Times in it are in milliseconds since the node started.
    pub view: PeerView,
    /// The path, when it is connected.
    pub path: Option<Path>,
    /// What discovery says about it.
    pub said: Said,
}

/// One condition of being ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is checked, in one word.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was found; when it does not hold, what to do.
    pub detail: String,
}

/// Why a request to the node failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The write was refused or failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node is shutting down.
    #[error("this node is shutting down")]
    Stopping,
}

impl Handle {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.shared.name
    }

    /// The node's public key.
    #[must_use]
    pub fn endpoint_id(&self) -> EndpointId {
        self.shared.endpoint
    }

    /// 32 hex digits that name the device; the same after every restart.
    #[must_use]
    pub fn device_id(&self) -> &str {
        &self.shared.device_id
    }

    /// How long the node has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// The UDP sockets the node is bound to.
    #[must_use]
    pub fn bound_addresses(&self) -> Vec<SocketAddr> {
        self.shared.probes.bound_addresses()
    }

    /// Every condition of being ready, with what was found.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.shared.probes.checks()
    }

    /// Ends when the node shuts down; streams that would last for ever stop then.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.shared.stopping
    }

    /// Makes a document equal to `object`, on disk when this returns.
    ///
    /// # Errors
    /// When the object is refused, the store fails, or the node is shutting down.
    pub async fn put(&self, doc: DocId, object: Map<String, Value>) -> Result<Written, RequestError> {
        self.write(doc, Work::Put(object)).await
    }

    /// Deletes a document, on disk when this returns.
    ///
    /// # Errors
    /// When there is no such document, the store fails, or the node is shutting down.
    pub async fn delete(&self, doc: DocId) -> Result<Written, RequestError> {
        self.write(doc, Work::Delete).await
    }

    async fn write(&self, doc: DocId, work: Work) -> Result<Written, RequestError> {
        let (reply, answer) = oneshot::channel();
        let job = Job { doc, work, source: Source::Client };
        let request = WriteRequest::Client { job, reply };
        self.shared.writes.send(request).await.map_err(|_| RequestError::Stopping)?;
        let outcome = answer.await.map_err(|_| RequestError::Stopping)?;
        Ok(outcome.result?)
    }

    /// A document; `None` when it does not exist or is deleted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn document(&self, doc: &DocId) -> Result<Option<StoredDocument>, RequestError> {
        Ok(self.shared.store.document(doc)?)
    }

    /// Up to `limit` documents of a collection with ids after `after`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(
        &self,
        collection: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, RequestError> {
        let (collection, after) = (collection.to_owned(), after.map(str::to_owned));
        self.read(move |store| store.list(&collection, after.as_deref(), limit)).await
    }

    /// The collections, with how many documents each has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn collections(&self) -> Result<Vec<(String, u64)>, RequestError> {
        self.read(|store| store.collections()).await
    }

    /// Up to `limit` entries of the change index after `seq`: for each document its newest change.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn changes_since(&self, seq: u64, limit: usize) -> Result<Vec<Change>, RequestError> {
        self.read(move |store| store.changes_since(seq, limit)).await
    }

    /// The sequence number of the newest change.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn last_seq(&self) -> Result<u64, RequestError> {
        Ok(self.shared.store.last_seq()?)
    }

    /// Every change from now on, after it is on disk. A receiver that falls behind is told so and
    /// continues with [`Handle::changes_since`].
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    /// Peers that connect and go, from now on.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<Event> {
        self.shared.news.subscribe()
    }

    /// Every known peer, as it is on the wire now.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        let views = Arc::clone(&self.shared.peers.borrow());
        let with_path = |view: &PeerView| Peer {
            path: view.conn.and_then(|conn| self.shared.probes.path(conn)),
            said: self.shared.probes.said(view.peer),
            view: view.clone(),
        };
        views.iter().map(with_path).collect()
    }

    /// Tells when [`Handle::peers`] has changed.
    #[must_use]
    pub fn watch_peers(&self) -> watch::Receiver<Arc<Vec<PeerView>>> {
        self.shared.peers.clone()
    }

    /// Every node that the formation knows, as it looks from here. Times in it are in milliseconds since this
    /// node started; see [`Handle::wall_clock_ms`].
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.shared.topology.borrow())
    }

    /// Rules that peers broke, and documents that they send in a form that is refused here.
    #[must_use]
    pub fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.shared.faults.borrow())
    }

    /// Tells when [`Handle::topology`] has changed.
    #[must_use]
    pub fn watch_topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.shared.topology.clone()
    }

    /// What this machine's clock shows, or showed, so many milliseconds after this node started: in milliseconds
    /// since 1970.
    #[must_use]
    pub fn wall_clock_ms(&self, since_start_ms: i64) -> i64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let uptime = self.shared.started.elapsed();
        now.as_millis() as i64 - uptime.as_millis() as i64 + since_start_ms
    }

    /// The node's blobs.
    #[must_use]
    pub fn blobs(&self) -> &dyn Blobs {
        &*self.shared.blobs
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let store = Arc::clone(&self.shared.store);
        let done = tokio::task::spawn_blocking(move || read(&*store)).await;
        Ok(done.map_err(|_| RequestError::Stopping)??)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
