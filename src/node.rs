//! A running node: the one place where the rooms meet.
//!
//! ```text
//! discovery ──┐                          ┌── store
//!             ├─▶ driver (owns the hub) ─┤
//! connection ─┘          ▲               └── writer (owns the replica)
//!                        └── committed ──────┘
//! ```
//!
//! Reads of clients go straight to the store; writes of clients and of peers meet in the writer.

mod answers;
mod driver;
mod folder;
mod joining;
mod preparing;
mod presence;
mod probes;
mod providers;
mod sources;
mod waits;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use iroh::endpoint::Connection;
use peat_mesh_core::catalog::Catalog;
use peat_mesh_core::hub::Hub;
use peat_mesh_core::replica::Replica;
use peat_mesh_core::store::{Store, StoreError};
use peat_mesh_overlay::Mesh;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

pub use folder::FolderError;

use crate::blob;
use crate::config::Config;
use crate::connection::{BindError, Guest, Network, Settings};
use crate::discovery;
use crate::handle::{Handle, Peer, Shared};
use crate::identity::Identity;
use crate::store::{OpenError, RedbStore};

/// Events of connections that may wait for the driver.
const CONNECTION_EVENTS_COUNT_MAX: usize = 1024;
/// Changes that a slow reader of the feed may be behind before it continues from the store.
const CHANGES_COUNT_MAX: usize = 4096;
/// News of peers that a slow reader may be behind.
const NEWS_COUNT_MAX: usize = 256;
/// How long a node that stops waits for its peers to take what they lack, in milliseconds.
const LEAVE_MS_MAX: u64 = 10_000;

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blobs cannot be opened.
    #[error(transparent)]
    Blobs(#[from] blob::OpenError),
    /// The sockets cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Kubernetes discovery is asked for and the cluster is not given.
    #[error("Kubernetes discovery is asked for, but the configuration has no cluster (`Config::kubernetes`)")]
    NoCluster,
    /// The operating system gave no thread.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// A node that runs until [`Node::shutdown`]. Dropping it stops it without goodbyes.
#[derive(Debug)]
pub struct Node {
    handle: Handle,
    driver: Option<JoinHandle<()>>,
    writer: writer::Writer,
    leave: oneshot::Sender<oneshot::Sender<()>>,
    blobs: blob::Server,
    keeper: blob::Keeper,
    _stop_on_drop: DropGuard,
}

impl Node {
    /// Opens the store, binds the sockets and starts to look for peers. Has to be called in a Tokio
    /// runtime with more than one thread.
    ///
    /// # Errors
    /// When the data folder, the store or a socket cannot be had. Nothing runs then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let started = Instant::now();
        let identity = Identity::new(config.secret.clone(), config.name.clone());
        let incarnation = rand::random();
        let folder = folder::prepare(&config.data_folder)?;
        let store: Arc<dyn Store> = Arc::new(RedbStore::open(&folder.join("automerge"))?);
        let catalog = Catalog::load(&*store)?;
        let replica = Replica::new(&*store, rand::random())?.with_cache_bytes(config.cache_bytes);
        debug!(documents = catalog.len(), ms = started.elapsed().as_millis() as u64, "store opened");

        let documents = Arc::clone(&store);
        let blobs = blob::open(&folder.join("blobs"), documents, config.attachments.clone()).await?;

        if !config.is_gateway {
            info!("This node is not in PEAT_GATEWAYS: it leaves PEAT_STATIC_PEERS to those that are");
        }
        let (events, connection_events) = mpsc::channel(CONNECTION_EVENTS_COUNT_MAX);
        let (blob_connections, asked_for_blobs) = mpsc::channel(blob::WAITING_CONNECTIONS_COUNT_MAX);
        let settings = Settings {
            identity: identity.clone(),
            incarnation,
            bind: config.iroh_bind.clone(),
            port: config.iroh_port,
            relays: config.relays.clone(),
            external: config.external_addresses.clone(),
            guests: blob_protocols(&blob_connections),
        };
        let rooms = async {
            let network = Network::bind(settings, events).await?;
            let sources = sources::make(&config, &identity, incarnation, &network.bound_addresses())?;
            Ok((network, sources))
        };
        let (network, sources) = match rooms.await {
            Ok(rooms) => rooms,
            Err(problem) => {
                blobs.close().await;
                return Err(problem);
            }
        };
        let providers = Arc::new(providers::Connected(network.opener()));
        let (blob_store, blobs) = blobs.start(providers, asked_for_blobs, config.blob_limits);
        info!(
            iroh_endpoint_id = %identity.endpoint_id().short(),
            "Iroh blob store ready (blobs + automerge sync)"
        );
        let discovery = discovery::start(sources, identity.endpoint_id());

        let changes = broadcast::Sender::new(CHANGES_COUNT_MAX);
        let news = broadcast::Sender::new(NEWS_COUNT_MAX);
        let (peers, peers_seen) = watch::channel(Arc::default());
        let (topology, topology_seen) = watch::channel(Arc::default());
        let (faults, faults_seen) = watch::channel(Arc::default());
        let stopping = CancellationToken::new();
        let stop = CancellationToken::new();
        let (leave, leaving) = oneshot::channel();
        let probes = Arc::new(probes::NodeProbes::new(
            network.bound_addresses(),
            network.live(),
            network.relays(),
            discovery.statuses(),
        ));
        let (writer, ways) =
            writer::start(Arc::clone(&store), replica, changes.clone(), probes.store_problem())
                .map_err(StartError::Thread)?;
        let handle = Handle::new(Shared {
            name: identity.name().clone(),
            endpoint: identity.endpoint_id(),
            device_id: identity.device_id(),
            started,
            store: Arc::clone(&store),
            blobs: Arc::new(blob_store.clone()),
            writes: ways.writes,
            changes,
            news: news.clone(),
            peers: peers_seen,
            topology: topology_seen,
            faults: faults_seen,
            probes: Arc::clone(&probes) as Arc<_>,
            stopping: stopping.clone(),
        });
        let keeper = blob_store.keep(handle.clone());
        let me = identity.endpoint_id();
        let mut hub = Hub::new(me, catalog, rand::random()).announcing(presence::me(&config, incarnation));
        hub.set_relayed(!config.relays.is_empty());
        hub.set_link_scopes(config.link_scopes.clone());
        hub.keep(sources::kept(&config, &identity));
        let driver = driver::Driver {
            name: identity.name().clone(),
            mesh: Mesh::new(me, hub, config.max_peers, rand::random()),
            started,
            network,
            discovery,
            merges: ways.merges,
            store,
            probes,
            news,
            peers,
            topology,
            faults,
        };
        let orders = driver::Orders { leaving, stop: stop.clone() };
        let driver = tokio::spawn(driver.run(connection_events, ways.committed, orders));
        info!(node_id = %identity.name(), device_id = %identity.device_id(), "Mesh started");
        let _stop_on_drop = stop.drop_guard();
        Ok(Self { handle, driver: Some(driver), writer, leave, blobs, keeper, _stop_on_drop })
    }

    /// The way to use the node.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until the node ends by itself, which it does only when it is broken.
    pub async fn broken(&mut self) -> String {
        let Some(driver) = &mut self.driver else {
            return std::future::pending().await;
        };
        let ended = driver.await;
        self.driver = None;
        match ended {
            Ok(()) => "the writer has ended, this is a bug; the log says why".to_owned(),
            Err(problem) => format!("the driver of the mesh has ended, this is a bug: {problem}"),
        }
    }

    /// Stops: no more requests are taken, all that was accepted is on disk, connected peers get what they
    /// lack within 10 s and are told goodbye.
    pub async fn shutdown(self) {
        self.handle.stopping().cancel();
        self.keeper.shutdown().await;
        let (done, peers_have_it) = oneshot::channel();
        // A driver that has ended already has nobody to give anything to.
        if self.leave.send(done).is_ok() {
            let time = Duration::from_millis(LEAVE_MS_MAX);
            if tokio::time::timeout(time, peers_have_it).await.is_err() {
                let behind: Vec<_> = self.handle.peers().into_iter().filter(lacks).collect();
                let names: Vec<_> = behind.iter().filter_map(|peer| peer.view.name.as_ref()).collect();
                warn!(
                    "Some peers did not take all they lack within {} s: {names:?}. What is only in this \
                     node's store reaches them when it runs again",
                    time.as_secs()
                );
            }
        }
        // The driver ends after the writer, so that peers get what was acknowledged last.
        self.writer.stop().await;
        if let Some(driver) = self.driver
            && let Err(problem) = driver.await
            && problem.is_panic()
        {
            tracing::error!("the driver of the mesh has panicked; this is a bug: {problem}");
        }
        // Nobody can ask for blobs any more.
        self.blobs.shutdown().await;
        info!("Mesh stopped node_id={}", self.handle.name());
    }
}

/// What peers may speak beside documents.
fn blob_protocols(connections: &mpsc::Sender<Connection>) -> Vec<Guest> {
    let guest = |alpn, streams_count_max| Guest { alpn, connections: connections.clone(), streams_count_max };
    vec![guest(blob::ALPN, blob::STREAMS_COUNT_MAX), guest(blob::FIND_ALPN, blob::QUESTIONS_COUNT_MAX)]
}

fn lacks(peer: &Peer) -> bool {
    peer.view.conn.is_some() && !peer.view.in_step
}
